//! Work shared among the cores by threads that spin between its pieces: waking sleeping ones costs
//! tens of microseconds, hundreds of times for each token.
//!
//! Nobody waits for a core that other programs hold: a caller does what no worker takes, and waits
//! only for workers that have begun.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};

use candle_core::utils::{get_num_threads, set_thread_affinity};

/// How often a worker looks for work before it sleeps: about a millisecond.
const LOOKS: u32 = 20_000;
/// How often a caller looks whether the last worker is done before it offers its core to others: one
/// that is not running may need it.
const PATIENCE: u32 = 2_000;

/// Of a pool's state: how many workers are at the job.
const AT_WORK: u64 = OPEN - 1;
/// Of a pool's state: whether workers may still begin. The bits above are the job's number.
const OPEN: u64 = 1 << 16;

thread_local! {
    /// Whether this thread works on its part of something.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on parts of `0..items`, on all cores; within such work, and while another thread has
/// the cores, on this one alone.
///
/// DisjointSlices are large at first and single items in the end: the cores finish together, and where they
/// wait for memory, each reads on and on for a while (guided self-scheduling, Polychronopoulos and
/// Kuck 1987).
///
/// # Panics
/// When `work` does, once nobody is at it any more.
pub fn parallel_for(items: usize, work: impl Fn(Range<usize>) + Sync) {
    let pool = pool();
    if items > 1
        && pool.members > 1
        && !BUSY.get()
        && let Some(_turn) = pool.turn()
    {
        let _busy = Busy::new();
        let take = |start: usize| {
            (start < items).then(|| start + ((items - start) / (2 * pool.members)).max(1))
        };
        pool.run(&|| {
            let next = &pool.next;
            while let Ok(start) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                work(start..take(start).expect("the update was made"));
            }
        });
    } else if items > 0 {
        work(0..items);
    }
}

/// What `work` gives for each of `0..items`, in order, made on all cores as [`parallel_for`] does.
pub fn map<T: Send>(items: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut made: Vec<Option<T>> = (0..items).map(|_| None).collect();
    let parts = DisjointSlices::new(&mut made);
    parallel_for(items, |some| {
        // SAFETY: no other call has these items.
        let part = unsafe { parts.part(some.clone()) };
        part.iter_mut().zip(some).for_each(|(made, item)| *made = Some(work(item)));
    });
    made.into_iter().map(|made| made.expect("every item is some core's")).collect()
}

/// Cores that [`parallel_for`] uses.
pub fn threads() -> usize {
    pool().members
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

/// What one thread has for all: a job.
type Job = *const (dyn Fn() + Sync);

/// The threads that share work, and what they work at. State and items, which all write, are in one
/// cache line: it goes to and fro as a whole.
#[repr(C, align(128))]
struct ThreadPool {
    state: AtomicU64,
    /// The first item that nobody has taken.
    next: AtomicUsize,
    /// Written while nobody is at work and no one may begin.
    job: UnsafeCell<Option<Job>>,
    /// Workers that sleep, or are about to.
    asleep: AtomicUsize,
    /// The first panic of a worker.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held by the thread whose job it is.
    turn: Mutex<()>,
    /// Workers, and the caller.
    members: usize,
    workers: OnceLock<Vec<Thread>>,
}

// SAFETY: `job` is read only by workers that have begun, and written only when there are none.
unsafe impl Sync for ThreadPool {}
// SAFETY: a job may be run by any thread.
unsafe impl Send for ThreadPool {}

/// As many threads as `RAYON_NUM_THREADS` says, or one a core.
fn pool() -> &'static ThreadPool {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    let pool = POOL.get_or_init(|| ThreadPool::new(get_num_threads()));
    pool.workers.get_or_init(|| {
        let worker = |_| {
            let thread = thread::Builder::new().name("worker".into()).spawn(|| pool.serve());
            // Fewer do the work too.
            Some(thread.ok()?.thread().clone())
        };
        (1..pool.members).filter_map(worker).collect()
    });
    pool
}

impl ThreadPool {
    fn new(members: usize) -> Self {
        Self {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            asleep: AtomicUsize::new(0),
            panic: Mutex::new(None),
            turn: Mutex::new(()),
            members: members.min(AT_WORK as usize),
            workers: OnceLock::new(),
        }
    }

    /// `None`: another thread has the pool.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            // A caller has panicked; its job is over all the same.
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Runs the job here, and on workers that come in time. The caller has the turn.
    fn run<'a>(&self, job: &'a (dyn Fn() + Sync + 'a)) {
        // SAFETY: only the lifetime changes; whoever uses the job is waited for (see `Over`).
        let job_for_workers: Job = unsafe { std::mem::transmute(&raw const *job) };
        // SAFETY: the last job is over, so nobody reads this.
        unsafe { *self.job.get() = Some(job_for_workers) };
        self.next.store(0, Ordering::Relaxed);
        let number = (self.state.load(Ordering::Relaxed) / OPEN / 2).wrapping_add(1);
        // In one order with `asleep` for all threads: a worker that misses the job is seen here.
        self.state.swap(number * 2 * OPEN + OPEN, Ordering::SeqCst);
        let over = Over(self);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            self.workers.get().into_iter().flatten().for_each(Thread::unpark);
        }
        job();
        drop(over);
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Takes part in jobs, for ever.
    fn serve(&self) {
        set_thread_affinity();
        let _busy = Busy::new();
        let (mut last, mut looks) = (0, 0);
        loop {
            let state = self.state.load(Ordering::Acquire);
            let number = state / OPEN / 2;
            if state & OPEN == 0 || number == last {
                looks += 1;
                if looks < LOOKS {
                    spin_loop();
                } else {
                    self.sleep(state);
                    looks = 0;
                }
                continue;
            }
            let begun =
                self.state.compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed);
            if begun.is_err() {
                continue;
            }
            // SAFETY: this worker has begun: the job was written before, and its caller waits.
            let job = unsafe { (*self.job.get()).map(|job| &*job) };
            if let Some(job) = job
                && let Err(panic) = catch_unwind(AssertUnwindSafe(job))
            {
                let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(panic);
            }
            self.state.fetch_sub(1, Ordering::Release);
            (last, looks) = (number, 0);
        }
    }

    /// Sleeps until somebody calls, unless something has happened.
    fn sleep(&self, state: u64) {
        self.asleep.fetch_add(1, Ordering::SeqCst);
        if self.state.load(Ordering::SeqCst) == state {
            thread::park();
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends a job when it is dropped, by a panic too: nobody may begin, and who has begun is waited for.
struct Over<'a>(&'a ThreadPool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let Self(pool) = self;
        pool.state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut looks = 0;
        while pool.state.load(Ordering::Acquire) & AT_WORK != 0 {
            looks += 1;
            if looks < PATIENCE {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// A slice that several threads write, each its own part.
pub struct DisjointSlices<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out parts of a `&mut [T]`, which is as good as sending them.
unsafe impl<T: Send> Sync for DisjointSlices<'_, T> {}

impl<'a, T> DisjointSlices<'a, T> {
    /// Takes the slice apart.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// One part.
    ///
    /// # Safety
    /// No two parts that live at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    #[inline]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside of the slice, and not shared, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A tile of a matrix whose rows are `stride` long: from its place `at` on, `rows` high and
    /// `columns` wide.
    ///
    /// # Safety
    /// No other part or tile that lives at the same time overlaps one of its rows.
    pub unsafe fn tile(
        &self,
        at: usize,
        rows: usize,
        stride: usize,
        columns: usize,
    ) -> TileMut<'_, T> {
        let last = rows.saturating_sub(1).checked_mul(stride).and_then(|last| last.checked_add(at));
        let end = last.and_then(|last| last.checked_add(columns));
        assert!(columns <= stride && end.is_some_and(|end| end <= self.length));
        // SAFETY: inside of the slice.
        let start = unsafe { self.start.add(at) };
        TileMut { start, rows, stride, columns, parts: PhantomData }
    }
}

/// A tile of a matrix that several threads write.
pub struct TileMut<'a, T> {
    start: *mut T,
    rows: usize,
    stride: usize,
    columns: usize,
    parts: PhantomData<&'a mut [T]>,
}

impl<T> TileMut<'_, T> {
    /// One of its rows.
    #[inline]
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows);
        // SAFETY: whoever made the tile has said that nobody else has it, and all of its rows are
        // inside of the slice.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.columns) }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_is_made_of_items_is_in_their_order() {
        for items in [0, 1, 2, 1000] {
            let expected: Vec<String> = (0..items).map(|item| item.to_string()).collect();
            assert_eq!(map(items, |item| item.to_string()), expected);
        }
    }

    #[test]
    fn a_tile_ends_where_it_ends() {
        let mut matrix = [0u8; 3 * 10];
        let parts = DisjointSlices::new(&mut matrix);
        // SAFETY: there is no other.
        let mut tile = unsafe { parts.tile(14, 2, 10, 4) };
        tile.row(0).fill(1);
        tile.row(1).fill(2);
        assert!(catch_unwind(AssertUnwindSafe(|| tile.row(2).len())).is_err());
        for (at, rows, stride, columns) in
            [(14, 2, 10, 11), (17, 2, 10, 4), (0, usize::MAX, 10, 4), (0, 1, 40, 31)]
        {
            // SAFETY: as above.
            let tile = || drop(unsafe { parts.tile(at, rows, stride, columns) });
            assert!(catch_unwind(AssertUnwindSafe(tile)).is_err());
        }
        assert_eq!(matrix[..14], [0; 14]);
        assert_eq!(matrix[14..], *b"\x01\x01\x01\x01\0\0\0\0\0\0\x02\x02\x02\x02\0\0");
    }

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

    /// Many short jobs of several callers: most find the pool taken, and all their own sums.
    #[test]
    fn callers_do_not_disturb_each_other() {
        thread::scope(|scope| {
            for caller in 0..8 {
                scope.spawn(move || {
                    for round in 0..500 {
                        let sum = AtomicUsize::new(0);
                        parallel_for(50, |some| {
                            sum.fetch_add(some.map(|i| i + caller).sum(), Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 1225 + 50 * caller, "round {round}");
                    }
                });
            }
        });
    }

    /// Whoever panics, the caller hears of it, after all are done; the next job runs as ever.
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

    /// Workers that do not come, as if other programs had their cores.
    #[test]
    fn a_caller_without_workers_does_it_all() {
        let pool = ThreadPool::new(5);
        for round in 1..4 {
            let done = AtomicUsize::new(0);
            pool.run(&|| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 1, "round {round}");
        }
    }

    /// Sleeping workers are woken.
    #[test]
    fn workers_come_back_from_sleep() {
        if threads() == 1 {
            return;
        }
        let start = Instant::now();
        let mut helped = false;
        while !helped && start.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(20));
            let caller = thread::current().id();
            let others = AtomicUsize::new(0);
            parallel_for(100, |some| {
                thread::sleep(Duration::from_micros(20 * some.len() as u64));
                others.fetch_add((thread::current().id() != caller) as usize, Ordering::Relaxed);
            });
            helped = others.into_inner() > 0;
        }
        assert!(helped, "no worker came");
    }
}
