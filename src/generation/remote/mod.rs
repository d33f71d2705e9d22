//! A remote LLM behind OpenAI's chat completions API: vLLM, Ollama, llama-server.
//!
//! An [`Endpoint`] names a server, and a [`Key`] authenticates with it. [`connection`] transfers
//! bytes, [`sse`] splits them into events, and [`chat`] parses these. A [`Pool`] balances over
//! several servers.

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
