//! The answers under way, so that they can be stopped when the server ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The flags of answers under way.
#[derive(Default)]
pub struct Running {
    flags: Mutex<Vec<Weak<AtomicBool>>>,
    is_ending: AtomicBool,
}

impl Running {
    /// The flag of a new answer, which stops it; set from the start once the server ends.
    pub fn begin(&self) -> Arc<AtomicBool> {
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that no answer begins between the end of the others and this look.
        let flag = Arc::new(AtomicBool::new(self.is_ending.load(Ordering::SeqCst)));
        flags.retain(|flag| flag.strong_count() > 0);
        flags.push(Arc::downgrade(&flag));
        flag
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        let flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        flags.iter().filter(|flag| flag.strong_count() > 0).count()
    }

    /// Stops all of them, and those to come.
    pub fn stop_all(&self) {
        let flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_ending.store(true, Ordering::SeqCst);
        for flag in flags.iter().filter_map(Weak::upgrade) {
            flag.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_are_stopped_and_none_begins_afterwards() {
        let running = Running::default();
        let (first, second) = (running.begin(), running.begin());
        drop(second);
        assert_eq!(running.count(), 1);
        running.stop_all();
        assert!(first.load(Ordering::SeqCst) && running.begin().load(Ordering::SeqCst));
    }
}
