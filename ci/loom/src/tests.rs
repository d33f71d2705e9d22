use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64 as Counter, Ordering::Relaxed};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle, Thread};

use super::protocol::ForkJoin;

/// Some workers at a [`ForkJoin`].
struct Crew {
    fork_join: Arc<ForkJoin>,
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
    workers: Vec<Thread>,
}

impl Crew {
    fn new(workers: usize) -> Self {
        let (fork_join, stop) = (Arc::new(ForkJoin::new()), Arc::new(AtomicBool::new(false)));
        let spawn = |_| {
            let (fork_join, stop) = (Arc::clone(&fork_join), Arc::clone(&stop));
            thread::spawn(move || fork_join.serve(|| stop.load(Ordering::Acquire)))
        };
        let handles: Vec<_> = (0..workers).map(spawn).collect();
        let workers = handles.iter().map(|handle| handle.thread().clone()).collect();
        Self { fork_join, stop, handles, workers }
    }

    /// Runs a job in which every item is counted, and checks the counts when it returns. They are
    /// relaxed: that the caller sees them shows that it waits for the workers.
    fn count_items(&self, items: usize) {
        let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
        assert!(self.fork_join.try_run(items, &self.workers, |some| {
            some.for_each(|item| assert_eq!(counts[item].fetch_add(1, Ordering::Relaxed), 0));
        }));
        counts.iter().for_each(|count| assert_eq!(count.load(Ordering::Relaxed), 1));
    }

    /// Every worker returns: none sleeps for ever.
    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.workers.iter().for_each(Thread::unpark);
        self.handles.into_iter().for_each(|handle| handle.join().unwrap());
    }
}

/// Runs `case` in every order, of those with up to `preemptions`, and prints how many there were.
fn explore(name: &str, preemptions: Option<usize>, case: impl Fn() + Send + Sync + 'static) {
    let orders = StdArc::new(Counter::new(0));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.max_branches = 100_000;
    let counted = StdArc::clone(&orders);
    model.check(move || {
        counted.fetch_add(1, Relaxed);
        case();
    });
    println!("{name}: {} orders", orders.load(Relaxed));
}

/// A panic that nobody needs to read of.
fn quietly() {
    std::panic::set_hook(Box::new(|_| ()));
}

fn panics(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

#[test]
fn every_item_is_run_once_before_the_caller_returns() {
    explore("one worker, two jobs", Some(4), || {
        let crew = Crew::new(1);
        crew.count_items(2);
        crew.count_items(2);
        crew.end();
    });
    explore("two workers, one job", Some(2), || {
        let crew = Crew::new(2);
        crew.count_items(3);
        crew.end();
    });
}

/// A worker must take part: the caller's own item waits for it.
#[test]
fn a_sleeping_worker_is_woken() {
    explore("a worker that must come", Some(3), || {
        let crew = Crew::new(1);
        let arrived = AtomicUsize::new(0);
        assert!(crew.fork_join.try_run(2, &crew.workers, |_| {
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < 2 {
                thread::yield_now();
            }
        }));
        crew.end();
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_next_job_runs() {
    quietly();
    for bad in [Some(0), Some(1), None] {
        explore(&format!("a panic at {bad:?} (none: everywhere)"), Some(3), move || {
            let crew = Crew::new(1);
            assert!(panics(|| {
                crew.fork_join.try_run(2, &crew.workers, |some| {
                    assert!(bad.is_some_and(|bad| !some.contains(&bad)));
                });
            }));
            crew.count_items(2);
            crew.end();
        });
    }
}

/// Within a job, and beside another caller's, a job is refused; it is then run where it is.
#[test]
fn nested_and_concurrent_jobs_are_refused_and_not_waited_for() {
    explore("a job within a job", Some(3), || {
        let crew = Crew::new(1);
        assert!(crew.fork_join.try_run(2, &crew.workers, |_| {
            assert!(!crew.fork_join.try_run(2, &crew.workers, |_| unreachable!()));
        }));
        crew.end();
    });
    explore("two callers, one worker", Some(2), || {
        let crew = Arc::new(Crew::new(1));
        let count = |crew: &Crew| {
            let done = AtomicUsize::new(0);
            let work = |some: std::ops::Range<usize>| {
                done.fetch_add(some.len(), Ordering::Relaxed);
            };
            if !crew.fork_join.try_run(2, &crew.workers, work) {
                work(0..2);
            }
            assert_eq!(done.load(Ordering::Relaxed), 2);
        };
        let other = thread::spawn({
            let crew = Arc::clone(&crew);
            move || count(&crew)
        });
        count(&crew);
        other.join().unwrap();
        Arc::try_unwrap(crew).unwrap_or_else(|_| panic!("both callers are done")).end();
    });
}
