//! A running server: models and an index stay warm, and whoever asks is served by the same code as the
//! command line.
//!
//! [`Service`] answers and knows nothing of protocols. [`local`] serves this user's own commands over a
//! socket, [`http`] everything that speaks HTTP, [`mcp`] agents.

pub mod http;
mod keep_alive;
pub mod local;
pub mod mcp;
mod metrics;
mod page;
mod running;
mod service;
mod warm_index;

pub use keep_alive::KeepAlive;
pub use service::{Asked, Service, ServiceOptions};
