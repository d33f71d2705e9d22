//! Work shared among the cores by threads that spin between its pieces: waking sleeping ones costs
//! tens of microseconds, hundreds of times for each token.
//!
//! Nobody waits for a core that other programs hold: a caller does what no worker takes, and waits
//! only for workers that have begun.

mod protocol;
mod slices;
mod sync;

use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;
use std::thread::{self, Thread};

use candle_core::utils::{get_num_threads, set_thread_affinity};

use protocol::{ForkJoin, MAX_WORKERS};

pub use slices::{
    DisjointSlices, Tile, TileMut, map, parallel_for_chunk_pairs, parallel_for_chunks,
    parallel_for_parts, parallel_for_tiles,
};

thread_local! {
    /// Whether this thread works on its part of something.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on parts of `0..items`, on all cores; within such work, and while another thread has
/// the cores, on this one alone. Each item is in one part.
///
/// # Panics
/// When `work` does, once no thread is at it any more.
pub fn parallel_for(items: usize, work: impl Fn(Range<usize>) + Sync) {
    let pool = ThreadPool::get();
    if items > 1 && pool.threads > 1 && !BUSY.get() {
        let _busy = Busy::new();
        if pool.fork_join.try_run(items, pool.workers(), &work) {
            return;
        }
    }
    if items > 0 {
        work(0..items);
    }
}

/// Cores that [`parallel_for`] uses.
pub fn threads() -> usize {
    ThreadPool::get().threads
}

/// Marks this thread as busy until it is dropped, by a panic too.
struct Busy;

impl Busy {
    fn new() -> Self {
        BUSY.set(true);
        Self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

/// The threads of the process that share work.
struct ThreadPool {
    fork_join: ForkJoin,
    /// Workers, and the caller.
    threads: usize,
    workers: OnceLock<Vec<Thread>>,
}

impl ThreadPool {
    /// As many threads as `RAYON_NUM_THREADS` says, or one a core.
    fn get() -> &'static Self {
        static POOL: OnceLock<ThreadPool> = OnceLock::new();
        POOL.get_or_init(|| Self {
            fork_join: ForkJoin::new(),
            threads: get_num_threads().min(MAX_WORKERS),
            workers: OnceLock::new(),
        })
    }

    /// All but the caller, started when they are first needed.
    fn workers(&'static self) -> &'static [Thread] {
        self.workers.get_or_init(|| {
            let worker = |_| {
                let thread = thread::Builder::new().name("worker".into()).spawn(|| {
                    set_thread_affinity();
                    let _busy = Busy::new();
                    self.fork_join.serve(|| false);
                });
                // Fewer do the work too.
                Some(thread.ok()?.thread().clone())
            };
            (1..self.threads).filter_map(worker).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for items in [0, 1, 2, 3, 17, 1000] {
            let mut counts = vec![0u32; items];
            let parts = DisjointSlices::new(&mut counts);
            // Within shared work, more of it is done where it is.
            parallel_for(items, |some| {
                parallel_for(some.len(), |inner| {
                    for i in inner {
                        let item = some.start + i;
                        // SAFETY: no other call has this item.
                        unsafe { parts.part(item..item + 1)[0] += 1 };
                    }
                });
            });
            assert!(counts.iter().all(|&count| count == 1), "{items}");
        }
    }

    /// Many short jobs of several callers: most find the pool taken, and each gets its own sum.
    #[test]
    fn callers_do_not_disturb_each_other() {
        let call = |caller| {
            for round in 0..500 {
                let sum = AtomicUsize::new(0);
                parallel_for(50, |some| {
                    sum.fetch_add(some.map(|i| i + caller).sum(), Ordering::Relaxed);
                });
                assert_eq!(sum.into_inner(), 1225 + 50 * caller, "round {round}");
            }
        };
        thread::scope(|scope| {
            for caller in 0..8 {
                scope.spawn(move || call(caller));
            }
        });
    }

    /// Whoever panics, the caller hears of it once all are done, and the next job runs.
    #[test]
    fn panics_reach_the_caller() {
        for bad in [0, 40, 99] {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                parallel_for(100, |some| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let is_bad = some.contains(&bad);
                    thread::sleep(Duration::from_micros(50));
                    ended.fetch_add(1, Ordering::SeqCst);
                    assert!(!is_bad, "item {bad}");
                });
            }));
            assert!(outcome.is_err(), "{bad}");
            assert_eq!(begun.into_inner(), ended.into_inner());
            let sum = AtomicUsize::new(0);
            parallel_for(100, |some| {
                sum.fetch_add(some.len(), Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 100);
        }
    }

    #[test]
    fn workers_come_back_from_sleep() {
        if threads() == 1 {
            return crate::compute::skipped("workers come back from sleep", "two cores");
        }
        let start = Instant::now();
        let mut helped = false;
        while !helped && start.elapsed() < Duration::from_mins(1) {
            thread::sleep(Duration::from_millis(20));
            let caller = thread::current().id();
            let others = AtomicUsize::new(0);
            parallel_for(100, |some| {
                thread::sleep(Duration::from_micros(20 * some.len() as u64));
                others.fetch_add(usize::from(thread::current().id() != caller), Ordering::Relaxed);
            });
            helped = others.into_inner() > 0;
        }
        assert!(helped, "no worker came");
    }

    /// Workers that do not come, as if other programs had their cores.
    #[test]
    fn a_caller_without_workers_does_it_all() {
        let fork_join = ForkJoin::new();
        let absent = vec![thread::current(); 4];
        for round in 1..4 {
            let done = AtomicUsize::new(0);
            assert!(fork_join.try_run(100, &absent, |some| {
                done.fetch_add(some.len(), Ordering::Relaxed);
            }));
            assert_eq!(done.into_inner(), 100, "round {round}");
        }
    }
}
