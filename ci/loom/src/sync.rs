//! Loom's types in place of the standard library's: see `src/compute/pool/sync.rs`.

pub use loom::cell::UnsafeCell;
pub use loom::hint::spin_loop;
pub use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
pub use loom::sync::Mutex;
pub use loom::thread::{Thread, current, park};

/// Spinning only repeats states that loom has seen.
pub const IDLE_SPINS: u32 = 0;
pub const JOIN_SPINS: u32 = 0;
