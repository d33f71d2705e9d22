//! A remote LLM behind OpenAI's chat completions API: vLLM, Ollama, llama-server.
//!
//! An [`Endpoint`] names a server, and a [`Key`] authenticates with it. [`connection`] transfers
//! bytes, [`sse`] splits them into events, [`chat`] parses these, and [`reading`] makes an answer of
//! them. [`request`] has the form of request that each server takes, and [`mask`] hides the key in
//! what they say. A [`Pool`] balances over several servers.

pub mod chat;
pub mod connection;
mod endpoint;
mod error;
mod estimate;
mod event;
mod key;
mod mask;
mod pool;
mod reading;
pub mod request;
pub mod sse;
mod stream;

pub use endpoint::{Endpoint, EndpointError};
pub use error::{RemoteError, ServerMessage};
pub use estimate::estimate;
pub use event::PoolEvent;
pub use key::Key;
pub use pool::{Pool, Proxied};
