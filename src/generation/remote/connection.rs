//! An HTTP request whose response is streamed and can be abandoned at any time.
//!
//! The HTTP client blocks, so a separate thread reads. Dropping the [`Connection`] closes the
//! socket, which ends that thread and tells the server to stop generating.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::header;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::Key;
use crate::support::proxy::Via;

/// Limit on connecting; slower servers count as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Latency of Ctrl-C.
const TICK: Duration = Duration::from_millis(20);
/// Chunks of the response buffered before the server is throttled.
const MAX_WAITING: usize = 64;

/// Status and headers of a response.
#[derive(Debug)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// `Location`, if it redirects.
    pub location: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// A part of a response.
#[derive(Debug)]
pub enum Incoming {
    /// Always the first part.
    Head(Head),
    /// Bytes of the body.
    Bytes(Vec<u8>),
    /// The body is complete.
    End,
    /// Connecting failed, or the connection broke.
    Failed(Failure),
}

/// Why connecting failed, or the connection broke.
#[derive(Debug)]
pub struct Failure {
    /// The transport's error message.
    pub reason: String,
    /// Whether the server's certificate is not trusted.
    pub untrusted: bool,
}

/// Why no part arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NothingCame {
    /// The user interrupted the run.
    Interrupted,
    /// The deadline passed.
    Silent,
}

/// Where a request goes, and how.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub url: &'a str,
    pub key: Option<&'a Key>,
    /// TLS certificates are verified against these.
    pub roots: &'a RootCerts,
    pub via: Option<&'a Via>,
}

/// A request in progress.
pub struct Connection {
    incoming: Receiver<Incoming>,
    agent: Option<Agent>,
}

impl Connection {
    /// Sends a GET request.
    pub fn get(target: Target) -> Self {
        Self::open(target, None)
    }

    /// Sends a POST request with a JSON body.
    pub fn post(target: Target, json: Vec<u8>) -> Self {
        Self::open(target, Some(json))
    }

    /// Redirects are not followed, so that the key is sent only to this address.
    fn open(target: Target, json: Option<Vec<u8>>) -> Self {
        let Target { url, key, roots, via } = target;
        let config = Agent::config_builder()
            .user_agent(concat!("rag-query/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            // Never what the client finds in the environment by itself.
            .proxy(via.map(|via| via.proxy.clone()))
            .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
            .build();
        let agent = Agent::from(config);
        let (sender, incoming) = sync_channel(MAX_WAITING);
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
            // Fails if the connection was dropped; then nobody needs the result.
            let _ = forward(response, &sender);
        });
        Self { incoming, agent: Some(agent) }
    }

    /// Waits for the next part, until `deadline`.
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

/// Strips the client's error-kind prefix. Certificate errors can only be told by their text.
fn failure(words: &str) -> Failure {
    let words = words.strip_prefix("io: ").unwrap_or(words);
    let certificate = words.split_once("invalid peer certificate: ");
    let reason = certificate.map_or(words, |(_, reason)| reason).to_owned();
    Failure { reason, untrusted: certificate.is_some() }
}
