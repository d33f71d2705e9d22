//! Makes an index match the documents under some paths: documents → chunks → embeddings → index.
//!
//! Files are read and cut on all cores ([`files`]) while one thread embeds what has been read and
//! hands it to the index ([`Indexer`]). What waits between the two is bounded, so memory does not
//! grow with the corpus.

mod copy;
mod files;
mod in_order;
mod indexer;
mod preview;
mod remove;

pub use copy::{Copied, copy};
pub use indexer::{Indexer, IndexingProgress, IndexingSummary};
pub use preview::preview;
pub use remove::remove;
