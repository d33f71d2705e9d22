//! Load balancing and failover over several servers.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::tls::RootCerts;

use super::stream::{Reply, Server};
use super::{Endpoint, EndpointError, Key, RemoteError};
use crate::generation::local::SamplingOptions;
use crate::prompt::Messages;

/// Pause after the first round; doubles with each round.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum pause, even if a server requests more.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Latency of Ctrl-C during a pause.
const TICK: Duration = Duration::from_millis(20);
/// Time limit for a server to list its models.
const PROBE: Duration = Duration::from_secs(5);

/// A progress event while waiting for an answer.
#[derive(Debug)]
pub enum PoolEvent<'a> {
    /// A piece of the answer.
    Text(&'a str),
    /// A server failed; `next` will be tried after a pause.
    Failed {
        /// The failure.
        error: &'a RemoteError,
        /// `host:port` of the server to try next.
        next: &'a str,
        /// Zero unless every server has been tried in this round.
        pause: Duration,
    },
}

/// The servers of one `--llm` option.
#[derive(Debug)]
pub struct Pool {
    servers: Vec<Endpoint>,
    key: Option<Key>,
    roots: RootCerts,
    patience: Duration,
    next: AtomicUsize,
}

impl Pool {
    /// How many times all servers are tried before giving up.
    pub const ROUNDS: u32 = 3;

    /// Servers with a silence timeout of `patience`. TLS certificates are verified against `roots`.
    /// Does not connect.
    ///
    /// # Errors
    /// Fails if the list is empty.
    pub fn new(
        servers: Vec<Endpoint>,
        key: Option<Key>,
        roots: RootCerts,
        patience: Duration,
    ) -> Result<Self, EndpointError> {
        if servers.is_empty() {
            return Err(EndpointError::NoServer);
        }
        // A random start, so that many users with one question each are spread over the servers
        // too.
        let next = AtomicUsize::new(RandomState::new().hash_one(0) as usize % 0x1_0000);
        Ok(Self { servers, key, roots, patience, next })
    }

    /// Tries the servers in turn until one starts to answer, each at most `rounds` times.
    ///
    /// Servers that are unreachable, overloaded or broken are skipped. Each round is followed by a
    /// pause; after the last round, the last server's error is returned. Errors that another server
    /// would not fix (a wrong key, an unknown model) are returned immediately, and so are answers
    /// that are cut off.
    pub fn ask(
        &self,
        messages: &Messages,
        options: &SamplingOptions,
        rounds: u32,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(PoolEvent),
    ) -> Result<Reply, RemoteError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len();
        let (before, from_turn) = self.servers.split_at(turn);
        let mut endpoint = &self.servers[turn];
        let mut waiting: VecDeque<&Endpoint> = from_turn.iter().chain(before).skip(1).collect();
        let mut again = Vec::new();
        let mut asked_to_wait = None;
        let mut round = 1;
        loop {
            let mut on_text = |text: &str| watch(PoolEvent::Text(text));
            let asked = self.server(endpoint).ask(messages, options, interrupted, &mut on_text);
            let error = match asked {
                Ok(reply) => return Ok(reply),
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) => error,
            };
            if error.is_worth_repeating() {
                again.push(endpoint);
            }
            if let RemoteError::Status { retry_after: Some(seconds), .. } = error {
                asked_to_wait = asked_to_wait.max(Some(Duration::from_secs(seconds)));
            }
            let mut pause = Duration::ZERO;
            if waiting.is_empty() && round < rounds {
                pause = pause_after(round, asked_to_wait.take());
                waiting.extend(again.drain(..));
                round += 1;
            }
            let Some(next) = waiting.pop_front() else { return Err(error) };
            watch(PoolEvent::Failed { error: &error, next: next.host(), pause });
            if !wait(pause, interrupted) {
                return Ok(Reply::interrupted(next));
            }
            endpoint = next;
        }
    }

    /// Every server with its list of models.
    pub fn models(&self) -> Vec<(&Endpoint, Result<Vec<String>, RemoteError>)> {
        let nobody = AtomicBool::new(false);
        let models = |endpoint| {
            let server = Server { patience: PROBE.min(self.patience), ..self.server(endpoint) };
            (endpoint, server.models(&nobody))
        };
        self.servers.iter().map(models).collect()
    }

    /// `remote:HOST:PORT`; several servers are separated by commas.
    pub fn place(&self) -> String {
        let hosts: Vec<&str> = self.servers.iter().map(Endpoint::host).collect();
        format!("remote:{}", hosts.join(","))
    }

    /// The names of the models, without duplicates.
    pub fn model(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for server in &self.servers {
            if !names.contains(&server.model()) {
                names.push(server.model());
            }
        }
        names.join(", ")
    }

    /// `host:port` of the servers to which documents are sent in plain text over a network.
    pub fn readable_by_others(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().filter(|server| server.is_readable_by_others()).map(Endpoint::host)
    }

    fn server<'a>(&'a self, endpoint: &'a Endpoint) -> Server<'a> {
        let key = self.key.as_ref().filter(|key| key.may_go_to(endpoint));
        Server { endpoint, key, roots: &self.roots, patience: self.patience }
    }
}

/// Doubles with each round, unless a server requested more.
fn pause_after(round: u32, asked_to_wait: Option<Duration>) -> Duration {
    let pause = PAUSE * 2_u32.pow(round - 1);
    asked_to_wait.map_or(pause, |asked_for| pause.max(asked_for).min(LONGEST_PAUSE))
}

/// Waits; false if the user interrupts.
fn wait(pause: Duration, interrupted: &AtomicBool) -> bool {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        if interrupted.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(TICK);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression test: asking an empty list looped forever.
    #[test]
    fn a_pool_without_servers_is_refused() {
        let pool = Pool::new(vec![], None, RootCerts::WebPki, Duration::from_secs(1));
        assert_eq!(pool.err(), Some(EndpointError::NoServer));
    }

    #[test]
    fn pauses_double_and_heed_the_servers_up_to_a_limit() {
        let seconds = Duration::from_secs;
        assert_eq!(pause_after(1, None), PAUSE);
        assert_eq!(pause_after(2, None), 2 * PAUSE);
        assert_eq!(pause_after(1, Some(Duration::ZERO)), PAUSE);
        assert_eq!(pause_after(1, Some(seconds(7))), seconds(7));
        assert_eq!(pause_after(1, Some(seconds(3600))), LONGEST_PAUSE);
    }
}
