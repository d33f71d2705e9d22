//! An LLM on a server that speaks OpenAI's chat completions: vLLM, Ollama, llama-server.
//!
//! An [`Endpoint`] names a server, and a [`Key`] opens it. A [`connection`] brings bytes, [`sse`] splits
//! them into events, and [`chat`] knows what these say. A [`Pool`] asks several servers in turn.

pub mod chat;
pub mod connection;
mod endpoint;
mod error;
mod estimate;
mod key;
mod pool;
pub mod sse;
mod stream;

pub use endpoint::{Endpoint, EndpointError};
pub use error::{RemoteError, ServerMessage};
pub use estimate::estimate;
pub use key::Key;
pub use pool::{Pool, PoolEvent};
