//! An index on a Milvus server: `milvus://host:port/collection`.
//!
//! The server stores, and finds candidates by vector and by word; the text is analysed here, and
//! the candidates are scored here, by the same code as those of a directory. docs/milvus.md says
//! what is kept where and why.
// The client's own error type is what it is.
#![allow(clippy::result_large_err)]

mod address;
#[cfg(not(feature = "milvus"))]
mod disabled;
#[cfg(feature = "milvus")]
mod lease;
#[cfg(feature = "milvus")]
mod reader;
#[cfg(feature = "milvus")]
mod schema;
#[cfg(feature = "milvus")]
mod server;
#[cfg(feature = "milvus")]
mod terms;
#[cfg(feature = "milvus")]
mod verify;
#[cfg(feature = "milvus")]
mod writer;

pub use address::{Address, is_address};
#[cfg(not(feature = "milvus"))]
pub use disabled::{open, verify, write, write_existing};
#[cfg(feature = "milvus")]
pub use reader::open;
#[cfg(feature = "milvus")]
pub use verify::verify;
#[cfg(feature = "milvus")]
pub use writer::{write, write_existing};
