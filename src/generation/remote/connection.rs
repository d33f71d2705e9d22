//! One request over HTTP, whose answer comes in pieces and can be given up at any moment.
//!
//! The client blocks, so a thread of its own does the reading. Dropping the [`Connection`] closes
//! the socket, which ends that thread and tells the server to stop writing.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::header;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::Key;

/// A server that takes longer to accept a connection is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// How soon Ctrl-C is heard.
const TICK: Duration = Duration::from_millis(20);
/// Pieces of the answer that may wait; then the server has to.
const WAITING: usize = 64;

/// The beginning of an answer.
#[derive(Debug)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// `Location`, where it redirects.
    pub location: Option<String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// Seconds that the server asks to wait before it is asked again.
    pub retry_after: Option<u64>,
}

/// What comes.
#[derive(Debug)]
pub enum Incoming {
    /// First of all.
    Head(Head),
    /// Some bytes of the body.
    Bytes(Vec<u8>),
    /// The body is complete.
    End,
    /// It broke.
    Failed(Failure),
}

/// Why it broke.
#[derive(Debug)]
pub struct Failure {
    /// The transport's own words.
    pub reason: String,
    /// The server's certificate is not trusted.
    pub untrusted: bool,
}

/// Why nothing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NothingCame {
    /// The user does not want it any more.
    Interrupted,
    /// It took too long.
    Silent,
}

/// A request under way.
pub struct Connection {
    incoming: Receiver<Incoming>,
    agent: Option<Agent>,
}

impl Connection {
    /// Sends a request: a GET, or a POST of JSON. Redirects are not followed, so the key goes to
    /// this address only; where it is encrypted, to a server that `roots` vouch for.
    pub fn open(url: &str, key: Option<&Key>, roots: &RootCerts, json: Option<Vec<u8>>) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("rag-query/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
            .build();
        let agent = Agent::from(config);
        let (sender, incoming) = sync_channel(WAITING);
        let (url, authorization) = (url.to_owned(), key.map(Key::header));
        let worker = agent.clone();
        thread::spawn(move || {
            let response = if let Some(json) = json {
                let mut request =
                    worker.post(&url).header(header::CONTENT_TYPE, "application/json");
                if let Some(value) = authorization {
                    request = request.header(header::AUTHORIZATION, value);
                }
                request.header(header::ACCEPT, "text/event-stream").send(&json[..])
            } else {
                let mut request = worker.get(&url);
                if let Some(value) = authorization {
                    request = request.header(header::AUTHORIZATION, value);
                }
                request.call()
            };
            // Nobody may be listening any more.
            let _ = forward(response, &sender);
        });
        Self { incoming, agent: Some(agent) }
    }

    /// What comes next, waited for until `deadline`.
    pub fn next(
        &mut self,
        interrupted: &AtomicBool,
        deadline: Instant,
    ) -> Result<Incoming, NothingCame> {
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Err(NothingCame::Interrupted);
            }
            match self.incoming.recv_timeout(TICK) {
                Ok(incoming) => return Ok(incoming),
                Err(RecvTimeoutError::Disconnected) => return Ok(Incoming::End),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    return Err(NothingCame::Silent);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.shutdown();
        }
    }
}

type Gone = std::sync::mpsc::SendError<Incoming>;

fn forward(
    response: Result<ureq::http::Response<Body>, ureq::Error>,
    sender: &SyncSender<Incoming>,
) -> Result<(), Gone> {
    let response = match response {
        Ok(response) => response,
        Err(error) => return sender.send(Incoming::Failed(failure(&error.to_string()))),
    };
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    sender.send(Incoming::Head(Head {
        status: response.status().as_u16(),
        location: text(header::LOCATION).map(str::to_owned),
        content_type: text(header::CONTENT_TYPE).map(str::to_owned),
        retry_after: text(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
    }))?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 14];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return sender.send(Incoming::End),
            Ok(read) => sender.send(Incoming::Bytes(buffer[..read].to_vec()))?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return sender.send(Incoming::Failed(failure(&error.to_string()))),
        }
    }
}

/// Without the client's own names for the kind of error. That a certificate is at fault, it says in
/// these words alone.
fn failure(words: &str) -> Failure {
    let words = words.strip_prefix("io: ").unwrap_or(words);
    let certificate = words.split_once("invalid peer certificate: ");
    let reason = certificate.map_or(words, |(_, reason)| reason).to_owned();
    Failure { reason, untrusted: certificate.is_some() }
}
