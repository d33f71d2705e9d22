//! A server connection: blocking calls, bounded retries, and actionable errors.

use std::future::Future;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use meaning::is_temporary;
use milvus::v2::ClientV2;
use milvus::v2::error::{Error, Result as Answered};
use milvus::v2::request::collection::LoadCollectionRequest;
use milvus::v2::types::{ConnectConfig, RetryConfig, TelemetryConfig};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::address::Address;
use super::error::MilvusError;
use crate::index::{IndexError, Notice, Notify, Retry};

/// Response timeout, unless `RAG_QUERY_MILVUS_TIMEOUT` sets another, in seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Connection timeout.
const CONNECT: Duration = Duration::from_secs(3);
/// Maximum attempts per call: 6 s including the delays.
const ATTEMPTS: u32 = 6;
/// Maximum connection attempts, each limited to [`CONNECT`].
const CONNECT_ATTEMPTS: u32 = 3;
/// Delay before the second attempt; doubles for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A connected server.
pub struct Server {
    /// The server, and the collection that is the index.
    pub address: Address,
    client: ClientV2,
    notify: Notify,
    timeout: Duration,
    /// Declared last, so that it outlives the client.
    runtime: Runtime,
}

impl Server {
    /// Connects to the server at `address`. Calls `notify` before every retry.
    pub fn connect(address: &Address, notify: &Notify) -> Result<Self, MilvusError> {
        let timeout = timeout();
        let retry = RetryConfig::new().max_attempts(1);
        let mut config = ConnectConfig::new()
            .uri(address.url())
            .connect_timeout(CONNECT.min(timeout))
            .rpc_timeout(timeout)
            .retry(retry)
            .telemetry(TelemetryConfig::new().enabled(false));
        // The environment takes precedence because addresses are visible in process listings.
        let token = std::env::var("RAG_QUERY_MILVUS_TOKEN").ok().or_else(|| address.token.clone());
        if let Some(token) = token {
            config = config.token(token);
        }
        // Given a certificate, the client uses TLS whatever the address says.
        if address.tls
            && let Ok(file) = std::env::var("RAG_QUERY_MILVUS_CA")
        {
            config = config.ca_certificate(file);
        }
        let failed = |error: std::io::Error| MilvusError::Server {
            address: address.to_string(),
            what: "start a runtime for the connection".to_owned(),
            source: error.into(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        let connect = || ClientV2::new(&config);
        let retrying = Retrying { address, notify, timeout, connecting: true };
        let client = runtime.block_on(retrying.call("connect", connect))?;
        Ok(Self { address: address.clone(), client, notify: notify.clone(), timeout, runtime })
    }

    /// Makes a call and waits for its response. `what` describes it, to follow "cannot …".
    pub fn call<T, F>(&self, what: &str, call: impl Fn(ClientV2) -> F) -> Result<T, MilvusError>
    where
        F: Future<Output = Answered<T>>,
    {
        self.runtime.block_on(self.answer(what, call))
    }

    /// The client, for calls that are made once and may fail.
    pub fn client(&self) -> &ClientV2 {
        &self.client
    }

    /// Runs a background task until the server is dropped.
    pub fn spawn<F>(&self, work: impl FnOnce(ClientV2) -> F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work(self.client.clone()))
    }

    pub fn notify(&self, notice: &Notice) {
        (self.notify.0)(notice);
    }

    /// Waits for one or more calls of [`Self::answer`].
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The response to a call, for calls that are awaited together.
    pub async fn answer<T, F>(
        &self,
        what: &str,
        call: impl Fn(ClientV2) -> F,
    ) -> Result<T, MilvusError>
    where
        F: Future<Output = Answered<T>>,
    {
        let Self { address, notify, timeout, .. } = self;
        let retrying = Retrying { address, notify, timeout: *timeout, connecting: false };
        retrying.call(what, || call(self.client.clone())).await
    }

    /// Same as [`Self::answer`] for a call that needs `collection` loaded. Loads it first if it is
    /// not, which happens after a server restart.
    pub async fn answer_from<T, F>(
        &self,
        collection: &str,
        what: &str,
        call: impl Fn(ClientV2) -> F,
    ) -> Result<T, MilvusError>
    where
        F: Future<Output = Answered<T>>,
    {
        match self.answer(what, &call).await {
            Err(MilvusError::Server { source, .. }) if meaning::is_not_loaded(source.as_ref()) => {
                self.load_collection(collection).await?;
                self.answer(what, call).await
            }
            outcome => outcome,
        }
    }

    /// Loads a collection and waits until it is available.
    pub async fn load_collection(&self, collection: &str) -> Result<(), MilvusError> {
        self.answer("load the index", |client| async move {
            let request = LoadCollectionRequest::builder().collection_name(collection);
            client.load_collection(request.build()?).await
        })
        .await
    }

    /// The error for corrupt data on the server.
    pub fn damaged(&self, what: impl Into<String>) -> IndexError {
        IndexError::Damaged { path: self.address.to_string().into(), what: what.into() }
    }
}

/// Whether anything accepts connections at `address`.
fn listens(address: &Address) -> bool {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let connects = |one| TcpStream::connect_timeout(&one, CONNECT).is_ok();
    (host, address.port).to_socket_addrs().is_ok_and(|mut all| all.any(connects))
}

fn timeout() -> Duration {
    let seconds = std::env::var("RAG_QUERY_MILVUS_TIMEOUT").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map_or(TIMEOUT, Duration::from_secs_f64)
}

struct Retrying<'a> {
    address: &'a Address,
    notify: &'a Notify,
    timeout: Duration,
    connecting: bool,
}

impl Retrying<'_> {
    /// Retries a call while that may help. All calls are idempotent: inserts are keyed, and deletes
    /// can be repeated.
    async fn call<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T, MilvusError>
    where
        F: Future<Output = Answered<T>>,
    {
        let attempts = if self.connecting { CONNECT_ATTEMPTS } else { ATTEMPTS };
        let start = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            // The client has the same limit, but does not enforce it everywhere.
            let limit = self.timeout + FIRST_WAIT;
            let error = match tokio::time::timeout(limit, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => Error::Timeout(format!("no answer within {} s", limit.as_secs_f32())),
            };
            let again =
                is_temporary(&error) && attempt < attempts && start.elapsed() < self.timeout * 2;
            if !again {
                return Err(self.error(what, error));
            }
            attempt += 1;
            (self.notify.0)(&Notice::Retry(Retry {
                address: self.address.to_string(),
                error: meaning::brief(&error),
                attempt,
                attempts,
            }));
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    fn error(&self, what: &str, error: Error) -> MilvusError {
        let address = self.address.to_string();
        let what = what.to_owned();
        if meaning::is_refusal(&error) {
            return MilvusError::Refused { address, source: error.into() };
        }
        // The client also reports a timeout if it does not trust the certificate, or if the server
        // does not use TLS.
        let in_vain = self.connecting && matches!(error, Error::Timeout(_));
        if in_vain && self.address.tls && listens(self.address) {
            return MilvusError::NotEncrypted { address, source: meaning::brief(&error).into() };
        }
        if is_temporary(&error) {
            MilvusError::Unreachable { address, what, source: meaning::brief(&error).into() }
        } else {
            MilvusError::Server { address, what, source: error.into() }
        }
    }
}

/// Classifies the client's errors.
mod meaning {
    use super::Error;

    /// The readable part of an error, without response headers.
    pub fn brief(error: &Error) -> String {
        match error {
            Error::Grpc(status) => format!("{}: {}", status.code().description(), status.message()),
            other => other.to_string(),
        }
    }

    /// Whether retrying soon may succeed.
    pub fn is_temporary(error: &Error) -> bool {
        match error {
            Error::Timeout(_) => true,
            Error::RetryExhausted { source, .. } => is_temporary(source),
            Error::Grpc(status) => matches!(
                status.code() as i32,
                // Cancelled, Unknown, DeadlineExceeded, ResourceExhausted, Aborted, Internal,
                // Unavailable (gRPC status codes).
                1 | 2 | 4 | 8 | 10 | 13 | 14
            ),
            // Rate limit.
            Error::Server(error) => error.code() == 8,
            _ => false,
        }
    }

    /// Whether the server has the collection but has not loaded it.
    pub fn is_not_loaded(error: &(dyn std::error::Error + 'static)) -> bool {
        const NOT_LOADED: i32 = 101;
        match error.downcast_ref() {
            Some(Error::Server(error)) => error.code() == NOT_LOADED,
            _ => false,
        }
    }

    /// Whether authentication or authorization failed.
    pub fn is_refusal(error: &Error) -> bool {
        match error {
            Error::RetryExhausted { source, .. } => is_refusal(source),
            // PermissionDenied, Unauthenticated.
            Error::Grpc(status) => matches!(status.code() as i32, 7 | 16),
            // Milvus' own codes for permission denied and unauthenticated.
            Error::Server(error) => {
                error.code() == 1401 || error.reason().contains("auth check failure")
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_found_by_name_and_by_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let on = |host: &str, port: u16| {
            listens(&Address::parse(&format!("milvus+tls://{host}:{port}/notes")).unwrap())
        };
        assert!(on("127.0.0.1", port) && on("localhost", port));
        let other = TcpListener::bind("[::1]:0").unwrap();
        assert!(on("[::1]", other.local_addr().unwrap().port()));
        drop(listener);
        assert!(!on("127.0.0.1", port));
    }
}
