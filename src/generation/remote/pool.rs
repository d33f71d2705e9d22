//! Several servers that take turns, and stand in for each other.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::tls::RootCerts;

use super::stream::{Reply, Server};
use super::{Endpoint, Key, RemoteError};
use crate::generation::local::SamplingOptions;
use crate::prompt::Messages;

/// The pause after the first round; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, also where a server asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How soon Ctrl-C is heard in a pause.
const TICK: Duration = Duration::from_millis(20);
/// How long a server may take to list its models.
const PROBE: Duration = Duration::from_secs(5);

/// Something that happens while a question is asked.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A piece of the answer.
    Text(&'a str),
    /// A server did not answer; `next` is asked after a pause.
    Failed {
        /// Why.
        error: &'a RemoteError,
        /// `host:port`.
        next: &'a str,
        /// Zero but after each of them was asked.
        pause: Duration,
    },
}

/// The servers of one `--llm`.
#[derive(Debug)]
pub struct Pool {
    servers: Vec<Endpoint>,
    key: Option<Key>,
    roots: RootCerts,
    patience: Duration,
    next: AtomicUsize,
}

impl Pool {
    /// How often all servers are asked before a question is given up.
    pub const ROUNDS: u32 = 3;

    /// Servers that may be silent for `patience`; encrypted ones are trusted where `roots` vouch for
    /// them. Connects to none.
    pub fn new(
        servers: Vec<Endpoint>,
        key: Option<Key>,
        roots: RootCerts,
        patience: Duration,
    ) -> Self {
        // Many users with one question each are spread over the servers too.
        let next = AtomicUsize::new(RandomState::new().hash_one(0) as usize % 0x1_0000);
        Self { servers, key, roots, patience, next }
    }

    /// Asks the servers, the next in turn first, until one begins to answer, at most `rounds` times
    /// each.
    ///
    /// A server that cannot be reached, has too much to do or is broken is passed over. After each
    /// was asked there is a pause; after the last round the last one's error is returned. Whatever
    /// the next server cannot do better (a wrong key, a model that it does not know) ends it at
    /// once, as does an answer that breaks off.
    pub fn ask(
        &self,
        messages: &Messages,
        options: &SamplingOptions,
        rounds: u32,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Reply, RemoteError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len().max(1);
        let (before, after) = self.servers.split_at(turn);
        let mut queue: Vec<&Endpoint> = after.iter().chain(before).collect();
        let mut round = 0;
        loop {
            round += 1;
            let mut pause = PAUSE * 2_u32.pow(round - 1);
            let mut again = Vec::new();
            for (i, endpoint) in queue.iter().enumerate() {
                let asked =
                    self.server(endpoint).ask(messages, options, interrupted, &mut |text| {
                        watch(Progress::Text(text));
                    });
                let error = match asked {
                    Ok(reply) => return Ok(reply),
                    Err(error) if !error.may_pass() => return Err(error),
                    Err(error) => error,
                };
                if error.is_worth_repeating() {
                    again.push(*endpoint);
                }
                if let RemoteError::Status { retry_after: Some(seconds), .. } = error {
                    pause = pause.max(Duration::from_secs(seconds)).min(LONGEST_PAUSE);
                }
                if let Some(next) = queue.get(i + 1) {
                    watch(Progress::Failed {
                        error: &error,
                        next: next.host(),
                        pause: Duration::ZERO,
                    });
                    continue;
                }
                let Some(next) = again.first().filter(|_| round < rounds) else {
                    return Err(error);
                };
                watch(Progress::Failed { error: &error, next: next.host(), pause });
                if !wait(pause, interrupted) {
                    return Ok(Reply::interrupted(next));
                }
            }
            queue = again;
        }
    }

    /// Every server, and the models that it says it has.
    pub fn models(&self) -> Vec<(&Endpoint, Result<Vec<String>, RemoteError>)> {
        let nobody = AtomicBool::new(false);
        let models = |endpoint| {
            let server = Server { patience: PROBE.min(self.patience), ..self.server(endpoint) };
            (endpoint, server.models(&nobody))
        };
        self.servers.iter().map(models).collect()
    }

    /// `remote:HOST:PORT` of each, with commas between.
    pub fn place(&self) -> String {
        let hosts: Vec<&str> = self.servers.iter().map(Endpoint::host).collect();
        format!("remote:{}", hosts.join(","))
    }

    /// The names of the models, each once.
    pub fn model(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for server in &self.servers {
            if !names.contains(&server.model()) {
                names.push(server.model());
            }
        }
        names.join(", ")
    }

    /// Servers that get documents which others on the way can read, `host:port`.
    pub fn readable_by_others(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().filter(|server| server.is_readable_by_others()).map(Endpoint::host)
    }

    fn server<'a>(&'a self, endpoint: &'a Endpoint) -> Server<'a> {
        let key = self.key.as_ref().filter(|key| key.may_go_to(endpoint));
        Server { endpoint, key, roots: &self.roots, patience: self.patience }
    }
}

/// Waits; false where the user does not want to.
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
