//! Syncs an index with the documents under some paths: documents → chunks → embeddings → index.
//!
//! All cores read and chunk files ([`files`]), while one thread embeds the results and writes them
//! to the index ([`Indexer`]). The queue between them is bounded, so memory use does not grow with
//! the corpus.

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
