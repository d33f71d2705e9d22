//! The persisted index: chunks in, scored chunks out.
//!
//! [`Index`] and [`IndexWriter`] are the interface of all backends. [`directory`] stores an index
//! in local files, `milvus` on a server, and [`Location`] selects one from what the user specified.
//! [`update`] syncs an index with the documents under given paths.

mod api;
pub mod directory;
mod error;
mod ledger;
mod lexical;
mod location;
mod milvus;
mod notify;
mod passage;
mod selection;
mod settings;
mod several;
mod shard;
pub mod update;

pub use api::{Index, IndexWriter, Searched, Start, StoredChunk};
pub use directory::{DirectoryIndex, DirectoryWriter, verify};
pub use error::IndexError;
pub use ledger::{DocumentState, FileState, Ledger, RootState, file_of};
pub use lexical::LexicalQuery;
pub use location::{Location, Stamp};
pub use milvus::MilvusError;
pub use notify::{Notice, Notify, Retry};
pub use passage::{ChunkId, Passage};
pub use selection::{Selection, since};
pub use settings::{EmbedderIdentity, Settings};
pub use shard::Shard;
