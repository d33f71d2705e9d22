//! How a caller and its workers run one job together: fork and join without a lock.
//!
//! Everything here is built on `super::sync`. That is the standard library in the program, and loom
//! in `ci/loom`, which runs small cases in every order that threads and memory allow.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;
use std::thread;

use super::sync::{
    AtomicU64, AtomicUsize, IDLE_SPINS, JOIN_SPINS, Mutex, Ordering, Thread, UnsafeCell, current,
    fence, park, spin_loop,
};

/// In the state: how many workers are at the job.
const AT_WORK: u64 = OPEN - 1;
/// In the state: workers may still begin.
const OPEN: u64 = 1 << 16;
/// In the state: the caller sleeps until the last worker wakes it.
const JOINING: u64 = 1 << 17;
/// In the state: one job. The bits from here on are the job's number.
const JOB: u64 = 1 << 18;

/// Workers that a [`ForkJoin`] can count.
pub const MAX_WORKERS: usize = AT_WORK as usize;

/// What every thread runs of a job.
type Job = *const (dyn Fn() + Sync);

/// One job at a time, which its caller and whichever workers come in time run together. State and
/// items, which all threads write, share a cache line, so that it moves between cores as a whole.
#[repr(C, align(128))]
pub struct ForkJoin {
    state: AtomicU64,
    /// The first item that nobody has taken.
    next: AtomicUsize,
    /// Written only while no worker is at a job and none may begin.
    job: UnsafeCell<Option<Job>>,
    /// Workers that sleep, or are about to.
    asleep: AtomicUsize,
    /// The caller, while it sleeps.
    caller: Mutex<Option<Thread>>,
    /// The first panic of a worker.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held by the thread whose job it is.
    turn: Mutex<()>,
}

// SAFETY: of all fields only `job` is not `Sync` by itself. It is read by workers that are counted
// in `state`, and written by the holder of `turn` while none is counted and none may begin. What it
// points to is `Sync`.
unsafe impl Sync for ForkJoin {}
// SAFETY: `job` may be run by any thread, because it is `Sync`.
unsafe impl Send for ForkJoin {}

impl ForkJoin {
    pub fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            asleep: AtomicUsize::new(0),
            caller: Mutex::new(None),
            panic: Mutex::new(None),
            turn: Mutex::new(()),
        }
    }

    /// Runs `work` on parts of `0..items`, here and on those of the `workers` that come in time, and
    /// returns when all of it is done; `false`, and nothing is done, while another job runs.
    ///
    /// Parts are large at first and single items in the end: the threads finish together, and where
    /// they wait for memory, each reads on and on for a while (guided self-scheduling, Polychronopoulos
    /// and Kuck 1987).
    ///
    /// # Panics
    /// When `work` does, once no thread is at it any more.
    pub fn try_run(
        &self,
        items: usize,
        workers: &[Thread],
        work: impl Fn(Range<usize>) + Sync,
    ) -> bool {
        let Ok(turn) = self.turn.try_lock() else { return false };
        let threads = workers.len() + 1;
        let take = |start: usize| {
            (start < items).then(|| start + ((items - start) / (2 * threads)).max(1))
        };
        let outcome = self.run(workers, &|| {
            while let Ok(start) = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            {
                work(start..take(start).expect("the update was made"));
            }
        });
        // Before the panic goes on, which would poison the lock.
        drop(turn);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        true
    }

    /// Runs the job here and on workers that come in time. The caller has the turn. An error is the
    /// first panic.
    fn run<'a>(&self, workers: &[Thread], job: &'a (dyn Fn() + Sync + 'a)) -> thread::Result<()> {
        #[expect(clippy::transmute_ptr_to_ptr, reason = "a cast cannot lengthen the lifetime")]
        // SAFETY: only the lifetime changes; `join` waits for all who use the job.
        let job_for_workers: Job = unsafe { std::mem::transmute(&raw const *job) };
        // SAFETY: the last job is over and this thread has the turn, so nobody else is here.
        self.job.with_mut(|slot| unsafe { *slot = Some(job_for_workers) });
        self.next.store(0, Ordering::Relaxed);
        let number = (self.state.load(Ordering::Relaxed) / JOB).wrapping_add(1);
        self.state.store(number.wrapping_mul(JOB) | OPEN, Ordering::Release);
        // Either this sees a worker in `asleep`, or that worker sees the job: see `sleep`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) > 0 {
            workers.iter().for_each(Thread::unpark);
        }
        let outcome = catch_unwind(AssertUnwindSafe(job));
        self.join();
        let workers_panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.and(workers_panic.map_or(Ok(()), Err))
    }

    /// Ends the job: no worker may begin any more, and those who have begun are waited for.
    ///
    /// A caller that has waited for long sleeps rather than yields. A worker that takes so long has
    /// lost its core to another program, and a thread that yields falls behind that program by a
    /// whole slice of time, whereas one that sleeps runs soon after it is woken.
    fn join(&self) {
        let mut at_work = self.state.fetch_and(!OPEN, Ordering::Acquire) & AT_WORK;
        for _ in 0..JOIN_SPINS {
            if at_work == 0 {
                return;
            }
            spin_loop();
            at_work = self.state.load(Ordering::Acquire) & AT_WORK;
        }
        if at_work == 0 {
            return;
        }
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(current());
        at_work = self.state.fetch_or(JOINING, Ordering::Acquire) & AT_WORK;
        while at_work != 0 {
            park();
            at_work = self.state.load(Ordering::Acquire) & AT_WORK;
        }
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes part in jobs until `stop` says so; it is asked whenever there is no job.
    pub fn serve(&self, stop: impl Fn() -> bool) {
        let (mut last, mut spins) = (0, 0);
        loop {
            let state = self.state.load(Ordering::Acquire);
            let number = state / JOB;
            if state & OPEN == 0 || number == last {
                if stop() {
                    return;
                }
                if spins < IDLE_SPINS {
                    spins += 1;
                    spin_loop();
                } else {
                    self.sleep(state);
                    spins = 0;
                }
                continue;
            }
            let begun =
                self.state.compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed);
            if begun.is_ok() {
                self.take_part();
                (last, spins) = (number, 0);
            }
        }
    }

    /// Runs the job on a worker that is counted in the state, and takes it off the count.
    fn take_part(&self) {
        // SAFETY: this worker is counted: the job was written before, and its caller waits.
        let job = self.job.with(|job| unsafe { (*job).map(|job| &*job) });
        if let Some(job) = job
            && let Err(panic) = catch_unwind(AssertUnwindSafe(job))
        {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
        }
        let before = self.state.fetch_sub(1, Ordering::Release);
        if before & JOINING != 0 && before & AT_WORK == 1 {
            // The next caller may be in there by now: it looks again, and sleeps on.
            let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
            caller.iter().for_each(Thread::unpark);
        }
    }

    /// Sleeps until somebody calls, unless something has happened since `state`.
    fn sleep(&self, state: u64) {
        self.asleep.fetch_add(1, Ordering::Relaxed);
        // Either this sees the next job, or its caller sees this worker in `asleep`: see `run`.
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == state {
            park();
        }
        self.asleep.fetch_sub(1, Ordering::Relaxed);
    }
}
