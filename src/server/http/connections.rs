//! Accepts connections, with limits on their number and patience.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Size limit of a request's headers in bytes.
const MAX_HEADERS: usize = 32 << 10;

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// How long a client may take to send the headers of a request, also of the next one.
    pub headers: Duration,
    /// How long answers under way may take once the server ends.
    pub ending: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 512, headers: Duration::from_secs(15), ending: Duration::from_secs(9) }
    }
}

/// Serves `router` until `ending` completes, then waits for the requests under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    ending: impl Future<Output = ()>,
) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut ending = pin!(ending);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &free) => accepted,
            () = &mut ending => break,
        };
        let Ok((stream, permit)) = accepted else {
            // Too many open files, most likely: some will be closed.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .max_buf_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(limits.ending, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections were cut");
    }
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    let permit = Arc::clone(free).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}
