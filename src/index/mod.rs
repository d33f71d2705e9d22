//! The persisted index: chunks in, scored chunks out.
//!
//! A directory. `manifest.json` says what the index was built with and names the generation, a
//! sub-directory with the data:
//!
//! | file | what it holds |
//! |---|---|
//! | `lexical/` | tantivy: terms for BM25, and each chunk's text and place |
//! | `vectors.i8` | one row a chunk: its embedding, the high bytes of 12-bit values |
//! | `vectors.low` | their low bits |
//! | `chunks.bin` | one record a row: the hash of what was embedded, and which tokens it has |
//! | `tokens.i8` | one row a token: its contextual vector, only where the reranker needs it |
//! | `documents-N.log` | which files and documents were read, and what they held |
//!
//! All but tantivy's files are only appended to. What is new is synced first, then tantivy commits
//! with a note of how much of each file is valid: that one commit makes it part of the index, and
//! a crash at any moment leaves the previous state readable. A rebuild or a compaction writes a new
//! generation and then renames its manifest over the old one. Every byte has a checksum, which
//! [`verify`] compares.

mod api;
pub mod directory;
mod ledger;
mod lexical;
mod location;
mod milvus;
mod shard;
pub mod update;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use api::{Index, IndexWriter, Searched, StoredChunk};
pub use directory::manifest::{EmbedderIdentity, Manifest, Settings};
pub use directory::reader::DirectoryIndex;
pub use directory::verify::verify;
pub use directory::writer::{DirectoryWriter, Start};
pub use ledger::{DocumentState, FileState, Ledger, file_of};
pub use lexical::LexicalQuery;
pub use location::{Location, Notice, Notify, Retry};
pub use shard::Shard;

use crate::documents::{Markup, Place};

const CHECKSUM_DIFFERS: &str = "its checksum is not the one it was written with";

/// A chunk of this index: the number of its row in the vector file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub u64);

/// What the index keeps of a chunk, to show it and to give it to the LLM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Absolute path, or `path#id` for a line of a JSONL file.
    pub document: String,
    /// Headings above the chunk, outermost first.
    pub headings: Vec<String>,
    /// Lines or pages, where the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Byte span in the document's text.
    pub span: (usize, usize),
    /// The text itself.
    pub text: String,
    /// How the text is marked up.
    pub format: Markup,
}

impl Passage {
    /// The heading path in one line, `A > B`.
    pub fn heading(&self) -> String {
        self.headings.join(" > ")
    }

    /// What the embedder and the reranker read of it: the headings in one line, then the text.
    pub fn text_to_embed(&self) -> String {
        match self.headings.is_empty() {
            true => self.text.clone(),
            false => format!("{}\n{}", self.heading(), self.text),
        }
    }
}

/// Why an index cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The directory holds no index.
    #[error("there is no index in {}", .0.display())]
    Missing(PathBuf),
    /// A file cannot be opened or read.
    #[error("cannot read {} of the index", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be made or written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file ends before the data that the index says it has.
    #[error("the index is damaged: {} is shorter than it should be", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("the index is damaged: {}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Tantivy cannot read or write its part.
    #[error("the lexical part of the index in {} cannot be used", path.display())]
    Lexical {
        /// The directory.
        path: PathBuf,
        /// Tantivy's reason.
        source: Box<tantivy::TantivyError>,
    },
    /// The index was built by a program that writes another format.
    #[error("the index in {} has format {found}, this program reads format {expected}", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// The index' format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The index was built with other settings than those asked for.
    #[error("the index was built with {built}, but {wanted} is configured")]
    Mismatch {
        /// What the index was built with.
        built: String,
        /// What this run is configured with.
        wanted: String,
    },
    /// A server does not answer.
    #[error("cannot {what} on {address}: it does not answer")]
    Unreachable {
        /// The index, without secrets.
        address: String,
        /// What was asked.
        what: String,
        /// The client's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something listens, but no encrypted connection came about in time.
    #[error("something listens at {address}, but no encrypted connection came about")]
    NotEncrypted {
        /// The index, without secrets.
        address: String,
        /// The client's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server does not let this user in.
    #[error("{address} does not let you in")]
    Refused {
        /// The index, without secrets.
        address: String,
        /// The server's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server cannot do what it was asked.
    #[error("cannot {what} on {address}")]
    Server {
        /// The index, without secrets.
        address: String,
        /// What was asked.
        what: String,
        /// The server's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server has no room for a passage as long as this one.
    #[error("a passage of {document} has {bytes} bytes, and Milvus keeps {limit} at most")]
    TooLong {
        /// The document.
        document: String,
        /// The passage's size.
        bytes: usize,
        /// Milvus' limit.
        limit: usize,
    },
    /// An address of a server that cannot be read.
    #[error("this is no address of an index on Milvus: {0}")]
    BadAddress(String),
    /// Whoever reads wants no more.
    #[error("stopped")]
    Stopped,
    /// This program was built without the client.
    #[error("this rag-query was built without Milvus")]
    NoMilvus,
    /// Another process is writing.
    #[error("another process is writing to the index in {}", .0.display())]
    Locked(PathBuf),
    /// Another process is writing to an index on a server.
    #[error("another process is writing to {address}: {writer}")]
    Busy {
        /// The index, without secrets.
        address: String,
        /// Who that is.
        writer: String,
    },
    /// Another process took this one for dead, and its place.
    #[error("this process was not heard of for so long that another took its place at {address}")]
    Overtaken {
        /// The index, without secrets.
        address: String,
    },
    /// A directory has one writer.
    #[error("{} is a directory, which one process writes at a time; --shard needs an index on Milvus", .0.display())]
    NotShared(PathBuf),
}

impl IndexError {
    /// A file that does not match its checksum.
    pub(crate) fn checksum(path: impl Into<PathBuf>) -> Self {
        Self::Damaged { path: path.into(), what: CHECKSUM_DIFFERS.to_owned() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => {
                "build one with `rag-query index PATH…`, or name one with `--index DIR`"
            }
            Self::Unreadable { .. } | Self::Unwritable { .. } => {
                "check the permissions and the free space of that directory"
            }
            Self::Truncated { .. } | Self::Damaged { .. } | Self::Lexical { .. } => {
                "your documents are safe; build the index again with `rag-query index --rebuild PATH…`"
            }
            Self::Format { .. } => "build the index again with `rag-query index --rebuild PATH…`",
            Self::Mismatch { .. } => {
                "run `rag-query index --rebuild PATH…` with the same options, or use the profile that it was built with"
            }
            Self::Unreachable { .. } => {
                "check that the server runs and that host and port are right; what was written so far stays, \
                 and `rag-query index` goes on from there"
            }
            Self::NotEncrypted { .. } => {
                "wait if the server is still starting; name a file with the certificate of the \
                 authority that vouches for it in RAG_QUERY_MILVUS_CA; or write milvus:// if it does \
                 not encrypt"
            }
            Self::Refused { .. } => {
                "give the user in the environment, RAG_QUERY_MILVUS_TOKEN=user:password, or in the \
                 address, milvus://user:password@host:port/collection"
            }
            Self::Server { .. } => {
                "see docs/milvus.md for what the server needs, and its log for more"
            }
            Self::TooLong { .. } => "leave that document out with --exclude, or use a directory",
            Self::BadAddress(_) => {
                "write milvus://host:port/collection, or milvus+tls:// for an encrypted connection"
            }
            Self::Stopped => "the same command goes on from there",
            Self::NoMilvus => "build it with `cargo build --release --features milvus`",
            Self::Locked(_) => "wait until the other `rag-query index` has finished",
            Self::Busy { .. } => {
                "wait until it has finished; to share the work give each process a part of its own, \
                 `--shard 1/N` to `--shard N/N`"
            }
            Self::Overtaken { .. } => {
                "what was written so far stays, and the same command goes on from there"
            }
            Self::NotShared(_) => {
                "let all parts write to one `--index milvus://host:port/collection`, and take it from \
                 there with `rag-query index copy`; or leave --shard out"
            }
        }
    }
}

/// Bytes of the manifest and the data in an index directory, which may hold the user's own files
/// as well.
fn size_of(dir: &Path) -> u64 {
    fn below(path: &Path) -> u64 {
        let Ok(metadata) = path.symlink_metadata() else { return 0 };
        if !metadata.is_dir() {
            return metadata.len();
        }
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| below(&entry.path())).sum()
    }
    directory::manifest::files(dir).iter().map(|path| below(path)).sum()
}

/// The same for a writer: where tantivy only says that one of its threads gave up, no file is
/// damaged, and the system refused to write.
fn lexical_write_error(path: &Path) -> impl Fn(tantivy::TantivyError) -> IndexError + use<> {
    let path = path.to_owned();
    move |source| match source {
        tantivy::TantivyError::ErrorInThread(_) => IndexError::Unwritable {
            path: path.clone(),
            source: io::Error::other("writing failed in the background, as on a full disk"),
        },
        tantivy::TantivyError::IoError(source) => IndexError::Unwritable {
            path: path.clone(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        source => lexical_error(&path)(source),
    }
}

fn lexical_error(path: &Path) -> impl Fn(tantivy::TantivyError) -> IndexError + use<> {
    let path = path.to_owned();
    move |source| IndexError::Lexical { path: path.clone(), source: Box::new(source) }
}
