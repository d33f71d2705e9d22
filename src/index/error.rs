//! Errors of reading and writing an index.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::milvus::MilvusError;
use crate::embedding::codes::CodesError;

/// Why an index cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// No index exists at this location.
    #[error("there is no index in {}", .0.display())]
    Missing(PathBuf),
    /// A file cannot be opened or read.
    #[error("cannot read {} of the index", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A file cannot be created or written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// Path of the file or directory.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A file is shorter than the index says.
    #[error("the index is damaged: {} is shorter than it should be", path.display())]
    Truncated {
        /// Path of the file.
        path: PathBuf,
    },
    /// A file or a server holds corrupt data.
    #[error("the index is damaged: {}: {what}", path.display())]
    Damaged {
        /// Path of the file, or the server's address.
        path: PathBuf,
        /// What is wrong with the data.
        what: String,
    },
    /// Tantivy cannot read or write its part.
    #[error("the lexical part of the index in {} cannot be used", path.display())]
    Lexical {
        /// Path of tantivy's directory.
        path: PathBuf,
        /// Tantivy's error.
        source: Box<tantivy::TantivyError>,
    },
    /// The index has a different format version.
    #[error("the index in {} has format {found}, this program reads format {expected}", path.display())]
    Format {
        /// Path of the directory, or the server's address.
        path: PathBuf,
        /// Format version of the index.
        found: u32,
        /// Format version that this program writes.
        expected: u32,
    },
    /// The terms in the index come from another version of the analyzer.
    #[error(
        "the words in the index were taken by version {found} of the analyzer, this program looks \
         for those of version {expected}"
    )]
    Analyzer {
        /// Version of the index.
        found: u32,
        /// Version of this program.
        expected: u32,
    },
    /// Its token vectors are in codes that cannot be read.
    #[error("the index in {} cannot be read", path.display())]
    Codes {
        /// Path of the data, or the server's address.
        path: PathBuf,
        /// What is the matter with the codes.
        source: CodesError,
    },
    /// The index was built with settings other than those requested.
    #[error("the index was built with {built}, but {wanted} is configured")]
    Mismatch {
        /// The settings the index was built with.
        built: String,
        /// The settings of this run.
        wanted: String,
    },
    /// Another process is writing to the index.
    #[error("another process is writing to the index in {}", .0.display())]
    Locked(PathBuf),
    /// Sharded writing was requested, but a directory index allows only one writer.
    #[error("{} is a directory, which one process writes at a time; --shard needs an index on Milvus", .0.display())]
    NotShared(PathBuf),
    /// Several indexes were named where only one can be meant.
    #[error("{0} are several indexes; only questions and searches may name more than one")]
    NotOne(String),
    /// More indexes than can be asked at once, or none.
    #[error("a question can be asked of 1 to {0} indexes at once")]
    TooMany(usize),
    /// An index on a server cannot be used.
    #[error(transparent)]
    Milvus(#[from] MilvusError),
}

/// Description of data that fails its checksum.
pub(crate) const CHECKSUM_DIFFERS: &str = "its checksum is not the one it was written with";

impl IndexError {
    /// The error for a file that fails its checksum.
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
            Self::Analyzer { found, expected } if found > expected => {
                "use the newer version of rag-query that the index comes from"
            }
            Self::Analyzer { .. } => {
                "take its words again with `rag-query index compact`, or, on a server, build it again \
                 with `rag-query index --rebuild PATH…`; `rag-query index copy` to another place does \
                 it too, and embeds nothing"
            }
            Self::Codes { .. } => {
                "use the newer version of rag-query that the index comes from, or build it again with \
                 `rag-query index --rebuild PATH…`"
            }
            Self::Format { .. } => "build the index again with `rag-query index --rebuild PATH…`",
            Self::Mismatch { .. } => {
                "run `rag-query index --rebuild PATH…` with the same options, or use the profile that it was built with"
            }
            Self::Locked(_) => "wait until the other `rag-query index` has finished",
            Self::NotShared(_) => {
                "let all parts write to one `--index milvus://host:port/collection`, and take it from \
                 there with `rag-query index copy`; or leave --shard out"
            }
            Self::NotOne(_) => "name one with `--index`",
            Self::TooMany(_) => {
                "name fewer with `--index`, or bring them together with `rag-query index copy`"
            }
            Self::Milvus(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn an_error_of_a_server_is_shown_once_with_its_own_hint_and_reason() {
        let server = |reason: &str| MilvusError::Server {
            address: "milvus://host/notes".to_owned(),
            what: "search".to_owned(),
            source: reason.into(),
        };
        let error = IndexError::from(server("it is full"));
        assert_eq!(error.to_string(), "cannot search on milvus://host/notes");
        assert_eq!(error.hint(), server("").hint());
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("it is full"));
    }
}
