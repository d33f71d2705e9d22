//! The Model Context Protocol: agents search, read and ask through tools.
//!
//! Of revision 2026-07-28, and for clients of 2025 as before (crate `rmcp`). Over standard input and
//! output, where nothing but the protocol may be printed, and over HTTP beside the other endpoints.

mod results;
mod tools;

use std::sync::Arc;

use anyhow::{Context, Result};
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::Service;
use tools::Tools;

/// Serves one client over standard input and output until it closes them.
///
/// # Errors
/// What it says is not the protocol.
pub async fn serve_stdio(service: Arc<Service>) -> Result<()> {
    let lost = "the client does not speak the Model Context Protocol";
    let running = match Tools::new(service).serve(rmcp::transport::stdio()).await {
        Ok(running) => running,
        // A client that came and left without a word.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(error).context(lost),
    };
    running.waiting().await.context(lost)?;
    Ok(())
}

/// The endpoint for HTTP. Who may ask is decided before.
pub fn http(service: &Arc<Service>) -> StreamableHttpService<Tools, LocalSessionManager> {
    let service = Arc::clone(service);
    // The router's guard checks hosts and origins for all endpoints alike.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts();
    StreamableHttpService::new(
        move || Ok(Tools::new(Arc::clone(&service))),
        Arc::new(LocalSessionManager::default()),
        config,
    )
}
