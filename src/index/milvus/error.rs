//! Errors of an index on a Milvus server.

use thiserror::Error;

/// Why an index on a Milvus server cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MilvusError {
    /// The server does not respond.
    #[error("cannot {what} on {address}: it does not answer")]
    Unreachable {
        /// Address of the index, without secrets.
        address: String,
        /// The operation that failed.
        what: String,
        /// The client's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something accepts connections, but TLS could not be established in time.
    #[error("something listens at {address}, but no encrypted connection came about")]
    NotEncrypted {
        /// Address of the index, without secrets.
        address: String,
        /// The client's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Authentication or authorization failed.
    #[error("{address} does not let you in")]
    Refused {
        /// Address of the index, without secrets.
        address: String,
        /// The server's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server returned an error.
    #[error("cannot {what} on {address}")]
    Server {
        /// Address of the index, without secrets.
        address: String,
        /// The operation that failed.
        what: String,
        /// The server's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A passage exceeds the size of a text field.
    #[error("a passage of {document} has {bytes} bytes, and Milvus keeps {limit} at most")]
    TooLong {
        /// Id of the passage's document.
        document: String,
        /// Size of the passage in bytes.
        bytes: usize,
        /// Milvus' limit in bytes.
        limit: usize,
    },
    /// The address is not valid.
    #[error("this is no address of an index on Milvus: {0}")]
    BadAddress(String),
    /// This program was built without the `milvus` feature.
    #[error("this rag-query was built without Milvus")]
    NotBuilt,
    /// Another process is writing to the same files of the index.
    #[error("another process is writing to {address}: {writer}")]
    Busy {
        /// Address of the index, without secrets.
        address: String,
        /// Host and process id of the other writer.
        writer: String,
    },
    /// Another process presumed this one dead and took over.
    #[error("this process was not heard of for so long that another took its place at {address}")]
    Overtaken {
        /// Address of the index, without secrets.
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
