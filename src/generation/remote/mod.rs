//! An LLM on a server that speaks OpenAI's chat completions: vLLM, Ollama, llama-server.
//!
//! [`Endpoint`] names a server, [`Key`] opens it. A [`connection`] brings bytes, [`sse`] makes
//! events of them, and [`chat`] knows what they say. A [`Pool`] asks several servers in turn.

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
pub use error::{RemoteError, Said};
pub use estimate::estimate;
pub use key::{Key, KeyError};
pub use pool::{Pool, Progress};
pub use stream::Reply;
