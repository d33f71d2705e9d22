//! Syncs an index with the documents under some paths: documents → chunks → embeddings → index.
//!
//! All cores read and chunk files ([`files`]), while one thread embeds the results and writes them
//! to the index ([`Indexer`]). The queue between them is bounded, so memory use does not grow with
//! the corpus.

mod account;
mod copy;
mod emptied;
mod explain;
mod files;
mod in_order;
mod indexer;
mod preview;
mod refresh;
mod remove;

pub use account::{FileAccount, LeftOutFiles};
pub use copy::{Copied, copy};
pub use emptied::EmptiedRoot;
pub use explain::{Explained, Reading, explain};
pub use indexer::{Indexer, IndexingProgress, IndexingSummary};
pub use preview::{Previewed, preview};
pub use refresh::{absent, followed, is_current};
pub use remove::remove;
