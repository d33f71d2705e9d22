//! Why an index cannot be read or written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::milvus::MilvusError;

/// Why an index cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There is no index at this place.
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
    /// A file or a server does not hold what it should.
    #[error("the index is damaged: {}: {what}", path.display())]
    Damaged {
        /// The file, or the server's address.
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
        /// The directory, or the server's address.
        path: PathBuf,
        /// The format of the index.
        found: u32,
        /// The one that this program writes.
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
    /// Another process is writing.
    #[error("another process is writing to the index in {}", .0.display())]
    Locked(PathBuf),
    /// A directory has one writer.
    #[error("{} is a directory, which one process writes at a time; --shard needs an index on Milvus", .0.display())]
    NotShared(PathBuf),
    /// An index on a server cannot be used.
    #[error(transparent)]
    Milvus(#[from] MilvusError),
}

/// What is said of data whose checksum is wrong.
pub(crate) const CHECKSUM_DIFFERS: &str = "its checksum is not the one it was written with";

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
            Self::Locked(_) => "wait until the other `rag-query index` has finished",
            Self::NotShared(_) => {
                "let all parts write to one `--index milvus://host:port/collection`, and take it from \
                 there with `rag-query index copy`; or leave --shard out"
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
