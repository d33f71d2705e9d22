//! Serves this user's own commands over a socket in the runtime directory.
//!
//! One connection is one question. The client sends a `Request` as a line of JSON, and may later send
//! a line `stop`; the server sends lines of JSON, each a `Said`, of which the last is no event.

#[cfg(unix)]
mod client;
#[cfg(not(unix))]
mod disabled;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod wire;

use std::path::{Path, PathBuf};

#[cfg(unix)]
pub use client::Client;
#[cfg(not(unix))]
pub use disabled::{Client, listen};
#[cfg(unix)]
pub use listener::listen;

/// Where servers of this user have their sockets: in the runtime directory, or else in the data folder
/// `data`.
pub fn folder(data: &Path) -> PathBuf {
    dirs::runtime_dir().map_or_else(|| data.join("run"), |runtime| runtime.join("rag-query"))
}
