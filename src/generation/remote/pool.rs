//! Load balancing and failover over several servers.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::tls::RootCerts;

use super::mask::Mask;
use super::stream::{Habits, Reply, Server};
use super::{Endpoint, EndpointError, Key, PoolEvent, RemoteError};
use crate::generation::local::SamplingOptions;
use crate::prompt::Messages;
use crate::support::proxy::{self, Via};

/// Pause after the first round; doubles with each round.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum pause, even if a server requests more.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Latency of Ctrl-C during a pause.
const TICK: Duration = Duration::from_millis(20);
/// Time limit for a server to list its models.
const PROBE: Duration = Duration::from_secs(5);

/// The servers of one `--llm` option.
#[derive(Debug)]
pub struct Pool {
    servers: Vec<Member>,
    key: Option<Key>,
    /// Hides the key in what servers say.
    mask: Mask,
    roots: RootCerts,
    patience: Duration,
    next: AtomicUsize,
}

/// A server with what is known about it.
#[derive(Debug)]
struct Member {
    endpoint: Endpoint,
    via: Option<Via>,
    habits: Mutex<Habits>,
}

impl Pool {
    /// How many times all servers are tried before giving up.
    pub const ROUNDS: u32 = 3;

    /// Servers with a silence timeout of `patience`. TLS certificates are verified against `roots`.
    /// Does not connect; names are looked up if the environment names a proxy.
    ///
    /// # Errors
    /// Fails if the list is empty, or if a proxy's address cannot be used.
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
        let member = |endpoint: Endpoint| {
            let via = endpoint.uri().map_or(Ok(None), |uri| proxy::for_address(&uri))?;
            Ok(Member { endpoint, via, habits: Mutex::default() })
        };
        let servers: Result<Vec<Member>, EndpointError> = servers.into_iter().map(member).collect();
        let mask = key.as_ref().map(Key::mask).unwrap_or_default();
        Ok(Self { servers: servers?, key, mask, roots, patience, next })
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
        let mut member = &self.servers[turn];
        let mut waiting: VecDeque<&Member> = from_turn.iter().chain(before).skip(1).collect();
        let mut again = Vec::new();
        let mut asked_to_wait = None;
        let mut round = 1;
        loop {
            let asked = self.server(member).ask(messages, options, interrupted, watch);
            let error = match asked {
                Ok(reply) => return Ok(reply),
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) => error,
            };
            if error.is_worth_repeating() {
                again.push(member);
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
            watch(PoolEvent::Failed { error: &error, next: next.endpoint.host(), pause });
            if !wait(pause, interrupted) {
                return Ok(Reply::interrupted(&next.endpoint));
            }
            member = next;
        }
    }

    /// Every server with its list of models.
    pub fn models(&self) -> Vec<(&Endpoint, Result<Vec<String>, RemoteError>)> {
        let nobody = AtomicBool::new(false);
        let models = |member| {
            let server = Server { patience: PROBE.min(self.patience), ..self.server(member) };
            (server.endpoint, server.models(&nobody))
        };
        self.servers.iter().map(models).collect()
    }

    /// `remote:HOST:PORT`; several servers are separated by commas.
    pub fn place(&self) -> String {
        let hosts: Vec<&str> = self.endpoints().map(Endpoint::host).collect();
        format!("remote:{}", hosts.join(","))
    }

    /// The names of the models, without duplicates.
    pub fn model(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for server in self.endpoints() {
            if !names.contains(&server.model()) {
                names.push(server.model());
            }
        }
        names.join(", ")
    }

    /// `host:port` of the servers to which documents are sent in plain text over a network.
    pub fn readable_by_others(&self) -> impl Iterator<Item = &str> {
        self.endpoints().filter(|server| server.is_readable_by_others()).map(Endpoint::host)
    }

    /// The servers that are asked through a proxy.
    pub fn proxied(&self) -> impl Iterator<Item = Proxied<'_>> {
        self.servers.iter().filter_map(|Member { endpoint, via, .. }| {
            let via = via.as_ref()?;
            let is_readable = endpoint.is_readable_by_others();
            Some(Proxied {
                host: endpoint.host(),
                proxy: &via.host,
                variable: via.variable,
                is_readable,
            })
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.servers.iter().map(|member| &member.endpoint)
    }

    fn server<'a>(&'a self, member: &'a Member) -> Server<'a> {
        let Member { endpoint, via, habits } = member;
        let key = self.key.as_ref().filter(|key| key.may_go_to(endpoint));
        let (mask, roots, patience) = (&self.mask, &self.roots, self.patience);
        Server { endpoint, key, mask, roots, via: via.as_ref(), habits, patience }
    }
}

/// A server that is asked through a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Proxied<'a> {
    /// `host:port` of the server.
    pub host: &'a str,
    /// `host:port` of the proxy.
    pub proxy: &'a str,
    /// The environment variable that names the proxy.
    pub variable: &'static str,
    /// Whether the proxy, too, can read what is sent.
    pub is_readable: bool,
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
