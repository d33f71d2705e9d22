//! A heavy model that is loaded once, on first use, even under concurrent callers.
//!
//! Creating a [`LazyModel`] does no I/O; the loader runs inside the first [`LazyModel::get`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Result, anyhow};

type Loader<T> = dyn Fn() -> Result<T> + Send + Sync;

/// A model of type `T` that is loaded on first use.
///
/// `OnceLock::get_or_try_init` is not stable, so a mutex serializes initialization: the first
/// caller loads, the others wait. An error leaves the cell empty, and the next caller retries.
pub struct LazyModel<T> {
    model: OnceLock<T>,
    loading: Mutex<()>,
    load: Box<Loader<T>>,
}

impl<T> LazyModel<T> {
    /// Stores the loader without running it.
    pub fn new(load: impl Fn() -> Result<T> + Send + Sync + 'static) -> Self {
        Self { model: OnceLock::new(), loading: Mutex::new(()), load: Box::new(load) }
    }

    /// The model, loading it if necessary.
    ///
    /// # Errors
    /// Returns the loader's error, or a description of its panic. A later call retries.
    pub fn get(&self) -> Result<&T> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        // The mutex guards no data, so poisoning is harmless.
        let _guard = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let model = catch_unwind(AssertUnwindSafe(|| (self.load)()))
            .unwrap_or_else(|panic| Err(anyhow!("the loader panicked: {}", panic_text(&*panic))))?;
        Ok(self.model.get_or_init(|| model))
    }

    /// Takes the model out, if it is loaded, so that its memory is free once the caller drops it; the
    /// next [`Self::get`] loads it anew.
    pub fn unload(&mut self) -> Option<T> {
        self.model.take()
    }

    /// The model if it is already loaded. Never loads it.
    pub fn loaded(&self) -> Option<&T> {
        self.model.get()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;

    use anyhow::bail;

    use super::*;

    #[test]
    fn creating_does_not_load() {
        let lazy = LazyModel::<u32>::new(|| unreachable!("nobody asked for the model"));
        assert!(lazy.loaded().is_none());
    }

    #[test]
    fn concurrent_callers_load_exactly_once() {
        const CALLERS: usize = 16;
        let loads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&loads);
        let lazy = LazyModel::new(move || {
            thread::sleep(Duration::from_millis(50));
            Ok(counter.fetch_add(1, Ordering::SeqCst))
        });
        let barrier = Barrier::new(CALLERS);
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    barrier.wait();
                    assert_eq!(*lazy.get().expect("the loader succeeds"), 0);
                });
            }
        });
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    /// Fails on the first two calls: first with an error, then with a panic.
    fn flaky() -> LazyModel<&'static str> {
        let calls = AtomicUsize::new(0);
        LazyModel::new(move || match calls.fetch_add(1, Ordering::SeqCst) {
            0 => bail!("the file is not there"),
            1 => panic!("a bug in the loader"),
            _ => Ok("loaded"),
        })
    }

    #[test]
    fn a_failed_load_is_an_error_and_can_be_retried() {
        let lazy = flaky();
        assert_eq!(lazy.get().unwrap_err().to_string(), "the file is not there");
        assert!(lazy.loaded().is_none());
        assert!(lazy.get().unwrap_err().to_string().contains("a bug in the loader"));
        assert_eq!(*lazy.get().expect("third time lucky"), "loaded");
        assert_eq!(lazy.loaded(), Some(&"loaded"));
    }

    #[test]
    fn an_unloaded_model_is_loaded_anew() {
        let loads = AtomicUsize::new(0);
        let mut lazy = LazyModel::new(move || Ok(loads.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(lazy.unload(), None);
        assert_eq!(*lazy.get().unwrap(), 0);
        assert_eq!(lazy.unload(), Some(0));
        assert!(lazy.loaded().is_none());
        assert_eq!(*lazy.get().unwrap(), 1);
    }

    #[test]
    fn waiting_callers_retry_after_a_failed_load() {
        let lazy = flaky();
        let loaded = thread::scope(|scope| {
            let callers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| lazy.get().ok().copied())).collect();
            callers
                .into_iter()
                .filter_map(|caller| caller.join().expect("no panic escapes"))
                .count()
        });
        assert_eq!(loaded, 6, "two callers see the failures, the other six share one load");
    }
}
