//! An index on a Milvus server: `milvus://host:port/collection`.
//!
//! The server stores chunks and finds candidates by vector and by term. Text is analysed and
//! candidates are scored on the client, with the same code as for a directory index. docs/milvus.md
//! explains what is stored where, and why.
//!
//! Without the `milvus` feature, the same functions return an error that says so.

#![cfg_attr(
    feature = "milvus",
    expect(clippy::result_large_err, reason = "the client's own error type is that large")
)]

mod address;
#[cfg(not(feature = "milvus"))]
mod disabled;
mod error;

#[cfg(feature = "milvus")]
mod bm25;
#[cfg(feature = "milvus")]
mod chunks;
#[cfg(feature = "milvus")]
mod collections;
#[cfg(feature = "milvus")]
mod keys;
#[cfg(feature = "milvus")]
mod lease;
#[cfg(feature = "milvus")]
mod ledger;
#[cfg(feature = "milvus")]
mod names;
#[cfg(feature = "milvus")]
#[cfg(feature = "milvus")]
mod reader;
#[cfg(feature = "milvus")]
mod requests;
#[cfg(feature = "milvus")]
mod server;
#[cfg(feature = "milvus")]
mod statistics;
#[cfg(feature = "milvus")]
mod terms;
#[cfg(feature = "milvus")]
mod verify;
#[cfg(feature = "milvus")]
mod writer;

pub use address::{Address, is_address};
#[cfg(not(feature = "milvus"))]
pub use disabled::{open, verify, write, write_existing};
pub use error::MilvusError;
#[cfg(feature = "milvus")]
pub use reader::open;
#[cfg(feature = "milvus")]
pub use verify::verify;
#[cfg(feature = "milvus")]
pub use writer::{write, write_existing};
