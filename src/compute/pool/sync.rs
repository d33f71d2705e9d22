//! What [`super::protocol`] is made of: the standard library's types. Under `ci/loom` loom's stand in
//! for them.

pub use std::hint::spin_loop;
pub use std::sync::Mutex;
pub use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
pub use std::thread::{Thread, current, park};

/// How often a worker looks for work before it sleeps: about a millisecond.
pub const IDLE_SPINS: u32 = 20_000;
/// How often a caller looks whether the last worker is done before it sleeps: some tens of
/// microseconds, about what waking a thread takes.
pub const JOIN_SPINS: u32 = 2_000;

/// The standard library's cell with loom's interface.
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
