//! Why an index on a Milvus server cannot be used.

use thiserror::Error;

/// Why an index on a Milvus server cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MilvusError {
    /// The server does not answer.
    #[error("cannot {what} on {address}: it does not answer")]
    Unreachable {
        /// The index, without secrets.
        address: String,
        /// What was asked.
        what: String,
        /// The client's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something listens, but an encrypted connection was not established in time.
    #[error("something listens at {address}, but no encrypted connection came about")]
    NotEncrypted {
        /// The index, without secrets.
        address: String,
        /// The client's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server does not let this user in.
    #[error("{address} does not let you in")]
    Refused {
        /// The index, without secrets.
        address: String,
        /// The server's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server cannot do what it was asked.
    #[error("cannot {what} on {address}")]
    Server {
        /// The index, without secrets.
        address: String,
        /// What was asked.
        what: String,
        /// The server's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server has no room for a passage as long as this one.
    #[error("a passage of {document} has {bytes} bytes, and Milvus keeps {limit} at most")]
    TooLong {
        /// The document.
        document: String,
        /// The passage's size.
        bytes: usize,
        /// Milvus' limit.
        limit: usize,
    },
    /// The address cannot be read.
    #[error("this is no address of an index on Milvus: {0}")]
    BadAddress(String),
    /// This program was built without the client.
    #[error("this rag-query was built without Milvus")]
    NotBuilt,
    /// Another process is writing to the same files of the index.
    #[error("another process is writing to {address}: {writer}")]
    Busy {
        /// The index, without secrets.
        address: String,
        /// The other process.
        writer: String,
    },
    /// Another process took this one for dead and took over.
    #[error("this process was not heard of for so long that another took its place at {address}")]
    Overtaken {
        /// The index, without secrets.
        address: String,
    },
}

impl MilvusError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
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
            Self::NotBuilt => "build it with `cargo build --release --features milvus`",
            Self::Busy { .. } => {
                "wait until it has finished; to share the work give each process a part of its own, \
                 `--shard 1/N` to `--shard N/N`"
            }
            Self::Overtaken { .. } => {
                "what was written so far stays, and the same command goes on from there"
            }
        }
    }
}
