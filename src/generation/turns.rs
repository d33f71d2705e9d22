//! Whose turn it is to use the LLM: one generation at a time, first come, first served, and no more
//! waiting than a limit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often those who wait look whether they were interrupted.
const LOOK: Duration = Duration::from_millis(100);

/// Too many are waiting already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the LLM is busy, and {0} questions are waiting for it already; ask again later")]
pub struct QueueFull(pub usize);

/// The order of those who use an LLM.
pub struct Turns {
    limit: usize,
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Default)]
struct Line {
    /// Who uses the LLM, then who waits, in order.
    tickets: VecDeque<u64>,
    next: u64,
}

/// The right to use the LLM, until it is dropped.
pub struct Turn<'a>(Option<(&'a Turns, u64)>);

impl Default for Turns {
    /// No limit: the callers' own number is one.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Turns {
    /// At most `limit` callers wait at once.
    pub fn new(limit: usize) -> Self {
        Self { limit, line: Mutex::default(), changed: Condvar::new() }
    }

    /// How many use the LLM or wait for it.
    pub fn in_line(&self) -> usize {
        self.line().tickets.len()
    }

    /// Waits for one's turn, and tells `watch` how many come before it whenever that changes. `None`
    /// if `interrupted` became true meanwhile.
    pub fn wait(
        &self,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Option<Turn<'_>>, QueueFull> {
        let mut line = self.line();
        if line.tickets.len() > self.limit {
            return Err(QueueFull(self.limit));
        }
        let ticket = line.next;
        line.next += 1;
        line.tickets.push_back(ticket);
        drop(line);
        let turn = Turn(Some((self, ticket)));
        let mut told = 0;
        loop {
            let ahead = self.line().tickets.iter().position(|other| *other == ticket).unwrap_or(0);
            if ahead == 0 {
                return Ok(Some(turn));
            }
            if interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if ahead != told {
                told = ahead;
                // Not under the lock: whoever watches may be slow.
                watch(ahead);
            }
            let line = self.line();
            if line.tickets.front() != Some(&ticket) {
                drop(self.changed.wait_timeout(line, LOOK));
            }
        }
    }

    /// The line is whole after each change, so that a panic elsewhere harms nothing.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The right to use what anybody may use at any time.
    pub fn free() -> Self {
        Self(None)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some((turns, own)) = self.0 {
            turns.line().tickets.retain(|ticket| *ticket != own);
            turns.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn one_at_a_time_in_the_order_of_coming() {
        let turns = Turns::default();
        let (told, heard) = mpsc::channel();
        let first = turns.wait(&NEVER, &mut |_| unreachable!("nobody is before it")).unwrap();
        thread::scope(|scope| {
            for name in 1..=3 {
                let (turns, told) = (&turns, told.clone());
                scope.spawn(move || {
                    let mut watch = |ahead| told.send((name, ahead)).unwrap();
                    let turn = turns.wait(&NEVER, &mut watch).unwrap();
                    told.send((name, 0)).unwrap();
                    drop(turn);
                });
                // The next one comes only when this one is in line.
                assert_eq!(heard.recv().unwrap(), (name, name));
            }
            drop(first);
            let rest: Vec<(usize, usize)> = (0..3)
                .map(|_| {
                    loop {
                        let (name, ahead) = heard.recv().unwrap();
                        if ahead == 0 {
                            break (name, ahead);
                        }
                    }
                })
                .collect();
            assert_eq!(rest, [(1, 0), (2, 0), (3, 0)]);
        });
        assert_eq!(turns.in_line(), 0);
    }

    #[test]
    fn who_is_interrupted_leaves_the_line() {
        let turns = Turns::default();
        let first = turns.wait(&NEVER, &mut |_| {}).unwrap().unwrap();
        let interrupted = AtomicBool::new(true);
        assert!(turns.wait(&interrupted, &mut |_| {}).unwrap().is_none());
        assert_eq!(turns.in_line(), 1);
        drop(first);
        assert!(turns.wait(&interrupted, &mut |_| {}).unwrap().is_some());
    }

    #[test]
    fn a_full_line_is_an_error_in_words() {
        let turns = Turns::new(0);
        let first = turns.wait(&NEVER, &mut |_| {}).unwrap();
        let refused = turns.wait(&NEVER, &mut |_| {}).map(drop).unwrap_err();
        assert!(refused.to_string().contains("0 questions are waiting"), "{refused}");
        drop(first);
        assert!(turns.wait(&NEVER, &mut |_| {}).is_ok());
    }
}
