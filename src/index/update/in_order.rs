//! Runs jobs in parallel and delivers their outcomes in job order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Outcomes buffered per job: one is consumed while the next is produced.
const MAX_WAITING: usize = 2;
/// Jobs per thread that may start ahead of their turn, so that one long job does not stall the
/// other threads.
const MAX_AHEAD: usize = 4;

/// Runs `work` on every job, on `threads` threads, and passes its outcomes to `take` on the calling
/// thread: everything from the first job, then everything from the second, and so on. An error from
/// `take` ends the run; `work` must return once sending fails.
///
/// Buffering is bounded, whichever side is slower.
pub fn in_order<J: Sync, T: Send, E>(
    jobs: &[J],
    threads: usize,
    work: impl Fn(&J, &Outcomes<T>) + Sync,
    mut take: impl FnMut(&J, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, jobs.len().max(1));
    let queue = Queue {
        state: Mutex::new(State {
            next: 0,
            begun: VecDeque::new(),
            workers: threads,
            ended: false,
        }),
        changed: Condvar::new(),
        ahead: threads * MAX_AHEAD,
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _leave = Leave(&queue);
                while let Some((at, outcomes)) = queue.begin(jobs.len()) {
                    work(&jobs[at], &outcomes);
                }
            });
        }
        // A guard, so that no worker waits forever if `take` fails or panics.
        let _end = End(&queue);
        while let Some((at, outcomes)) = queue.next() {
            for outcome in outcomes {
                take(&jobs[at], outcome)?;
            }
        }
        Ok(())
    })
}

/// Where a job sends its outcomes.
pub struct Outcomes<T>(SyncSender<T>);

impl<T> Outcomes<T> {
    /// Sends an outcome; false if outcomes are no longer wanted.
    pub fn send(&self, outcome: T) -> bool {
        self.0.send(outcome).is_ok()
    }
}

struct State<T> {
    next: usize,
    /// Jobs that were started and not yet consumed, in order.
    begun: VecDeque<(usize, Receiver<T>)>,
    workers: usize,
    ended: bool,
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    ahead: usize,
}

impl<T> Queue<T> {
    /// The next job for a worker, once it may start; `None` when there are no more.
    fn begin(&self, jobs: usize) -> Option<(usize, Outcomes<T>)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |state: &mut State<T>| !state.ended && state.begun.len() >= self.ahead;
        let mut state =
            self.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        if state.ended || state.next == jobs {
            return None;
        }
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let at = state.next;
        state.next += 1;
        state.begun.push_back((at, receiver));
        self.changed.notify_all();
        Some((at, Outcomes(sender)))
    }

    /// The next job to consume; `None` when all are done or no worker is left.
    fn next(&self) -> Option<(usize, Receiver<T>)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = |state: &mut State<T>| state.begun.is_empty() && state.workers > 0;
        let mut state =
            self.changed.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
        state.begun.pop_front()
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// Deregisters a worker when it ends, even by a panic.
struct Leave<'a, T>(&'a Queue<T>);

impl<T> Drop for Leave<'_, T> {
    fn drop(&mut self) {
        self.0.change(|state| state.workers -= 1);
    }
}

/// Tells the workers that consumption has ended.
struct End<'a, T>(&'a Queue<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.ended = true;
            state.begun.clear();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn outcomes_come_in_the_order_of_the_jobs() {
        let jobs: Vec<u64> = (0..200).collect();
        let mut taken = Vec::new();
        let outcome: Result<(), ()> = in_order(
            &jobs,
            4,
            |&job, out| {
                thread::sleep(Duration::from_micros(job * 37 % 300));
                for part in 0..job % 5 {
                    assert!(out.send((job, part)));
                }
            },
            |&job, (of, part)| {
                assert_eq!(job, of);
                taken.push((of, part));
                Ok(())
            },
        );
        outcome.unwrap();
        let expected: Vec<(u64, u64)> =
            jobs.iter().flat_map(|&job| (0..job % 5).map(move |part| (job, part))).collect();
        assert_eq!(taken, expected);
        assert_eq!(in_order(&[] as &[u64], 4, |_, _: &Outcomes<()>| (), |_, ()| Err(())), Ok(()));
    }

    #[test]
    fn what_waits_is_bounded() {
        let jobs: Vec<usize> = (0..500).collect();
        let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcome: Result<(), ()> = in_order(
            &jobs,
            3,
            |_, out| {
                let ahead = begun.fetch_add(1, Ordering::SeqCst) - taken.load(Ordering::SeqCst);
                assert!(ahead <= 3 * (MAX_AHEAD + 1), "{ahead} ahead");
                out.send(());
            },
            |_, ()| {
                thread::sleep(Duration::from_micros(50));
                taken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            },
        );
        outcome.unwrap();
    }

    #[test]
    fn an_error_ends_it() {
        let jobs: Vec<usize> = (0..100).collect();
        let endless = |_: &usize, out: &Outcomes<usize>| while out.send(1) {};
        let mut left = 5;
        let outcome = in_order(&jobs, 4, endless, |_, one| {
            left -= one;
            if left == 0 { Err("enough") } else { Ok(()) }
        });
        assert_eq!(outcome, Err("enough"));
    }

    #[test]
    fn a_panic_of_the_work_is_passed_on() {
        let run = || {
            let work = |&job: &usize, out: &Outcomes<usize>| {
                assert!(job < 3, "a job that fails");
                out.send(job);
            };
            in_order(&[1, 2, 3, 4, 5, 6], 2, work, |_, _| Ok::<(), ()>(()))
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
