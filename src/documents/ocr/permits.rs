//! How many pages are recognized at a time: as many as there are cores, over all files that are read
//! side by side.

use std::num::NonZero;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;

static FREE: LazyLock<Mutex<usize>> =
    LazyLock::new(|| Mutex::new(thread::available_parallelism().map_or(1, NonZero::get)));
static RETURNED: Condvar = Condvar::new();

/// The right to recognize some pages at a time, until it is dropped.
pub(super) struct Permits(usize);

/// Waits for at least one permit; takes `wanted` if there are so many.
pub(super) fn permits(wanted: usize) -> Permits {
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = RETURNED.wait_while(free, |free| *free == 0);
    let mut free = waited.unwrap_or_else(PoisonError::into_inner);
    let taken = wanted.clamp(1, *free);
    *free -= taken;
    Permits(taken)
}

impl Permits {
    pub fn count(&self) -> usize {
        self.0
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        RETURNED.notify_all();
    }
}
