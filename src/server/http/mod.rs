//! The server over HTTP: an API that OpenAI's clients speak, retrieval, metrics, and a page.
//!
//! docs/server.md describes every endpoint.

mod answer;
mod chat;
mod chat_request;
mod citing;
mod connections;
mod embeddings;
mod failed;
mod guard;
mod request;
mod retrieval;
mod streamed;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

pub use connections::Limits;
pub use guard::Guard;

use super::{Service, mcp, page};
use failed::Failed;

/// Size limit of a request's body in bytes: far more than the longest question, enough for a batch of
/// texts to embed.
const MAX_BODY: usize = 8 << 20;

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    /// Searches at once: each uses all cores, and more would only take memory.
    searches: Arc<Semaphore>,
}

impl Shared {
    /// Runs work that keeps a core busy, when it is its turn.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T> + Send + 'static,
    ) -> Result<T, Failed> {
        let permit = Arc::clone(&self.searches).acquire_owned().await;
        let service = Arc::clone(&self.service);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&service)
        });
        done.await?.map_err(Failed::from)
    }
}

/// The runtime of a server. Answers that wait for the LLM hold a thread each, of which there are
/// `queue`.
///
/// # Errors
/// No thread can be started.
pub fn runtime(queue: usize) -> Result<Runtime> {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    Builder::new_multi_thread()
        .worker_threads(cores.min(4))
        .max_blocking_threads(queue.saturating_add(2 * cores + 16))
        .enable_all()
        .build()
        .context("the server cannot start its threads")
}

/// Serves `service` on `address` until `ending` completes, then lets answers end.
///
/// # Errors
/// The address is in use, or cannot be listened on.
pub async fn serve(
    service: Arc<Service>,
    listener: tokio::net::TcpListener,
    guard: Guard,
    limits: Limits,
    ending: impl Future<Output = ()>,
) {
    let router = router(service, guard);
    connections::serve(listener, router, limits, ending).await;
}

/// Binds `address`.
///
/// # Errors
/// It is in use, or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener> {
    let bound = tokio::net::TcpListener::bind(address).await;
    bound.with_context(|| {
        format!("cannot listen on {address}; `--listen` takes another address or port")
    })
}

fn router(service: Arc<Service>, guard: Guard) -> Router {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let shared = Shared { service, searches: Arc::new(Semaphore::new(cores)) };
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", page::HTML) }))
        .route("/app.js", get(|| async { file("text/javascript; charset=utf-8", page::JS) }))
        .route("/style.css", get(|| async { file("text/css; charset=utf-8", page::CSS) }))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/rerank", post(retrieval::rerank))
        .route("/v1/search", post(retrieval::search))
        .route("/v1/answer", post(answer::answer))
        .route("/v1/source", post(retrieval::source))
        .nest_service("/mcp", mcp::http(&shared.service))
        .fallback(|| async { Failed::not_found("there is no such address; see docs/server.md") })
        .method_not_allowed_fallback(|| async { Failed::wrong_method() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared)
}

/// Counts every response by the endpoint, not by what the client typed.
async fn count(
    State(shared): State<Shared>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Response {
    let endpoint = request.extensions().get::<axum::extract::MatchedPath>();
    let endpoint = endpoint.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    shared.service.metrics.responded(&endpoint, response.status().as_u16());
    response
}

/// A file of the page, which may load nothing but the others, and be in no other site's frame.
fn file(kind: &'static str, content: &'static str) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        ("content-type", kind),
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
    ];
    (headers, content).into_response()
}

async fn health(State(shared): State<Shared>) -> Result<Response, Failed> {
    // It searches nothing, and does not wait for those who do.
    let service = Arc::clone(&shared.service);
    let status = tokio::task::spawn_blocking(move || service.status()).await??;
    Ok(Json(status).into_response())
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, Failed> {
    let in_line = shared.service.llm_status().in_line;
    let text = shared.service.metrics.text(in_line);
    let text = text.map_err(|error| Failed::from(anyhow::Error::from(error)))?;
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([("content-type", format)], text).into_response())
}

async fn models(State(shared): State<Shared>) -> Response {
    let options = &shared.service.options;
    let model = |id: &str, role: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "local", "role": role});
    Json(json!({"object": "list", "data": [
        model(chat_request::MODEL, "answers"),
        model(&options.llm_name, "answers"),
        model(&options.embedder_name, "embeddings"),
        model(&options.reranker_name, "rerank"),
    ]}))
    .into_response()
}
