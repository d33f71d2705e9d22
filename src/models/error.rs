//! What can go wrong between a catalogue entry and its files; every error names the next step.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::support::tls::CertificatesError;

/// A file on a hub, as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// `owner/name`.
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The file's name in the repository.
    pub file: String,
}

impl fmt::Display for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of {} (revision {})", self.file, self.repo, self.revision)
    }
}

/// Why the files of a model cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A prepared model is in none of the models folders.
    #[error(
        "the model `{model}` is not prepared: no `{folder}/{file}` in {}; run `models/prepare-demo`",
        folders(searched)
    )]
    NotPrepared {
        /// The model's key.
        model: String,
        /// The folder that `models/prepare-demo` makes.
        folder: String,
        /// The first file missing.
        file: String,
        /// The models folders searched.
        searched: Vec<PathBuf>,
    },
    /// A local model's folder lacks a file.
    #[error("the model `{model}` has no file {}; correct its `path` or `files` in your catalogue", path.display())]
    MissingLocal {
        /// The model's key.
        model: String,
        /// The file missing.
        path: PathBuf,
    },
    /// A file has not the size that was recorded for it.
    #[error("the file {} of the model `{model}` is damaged: {found} bytes instead of {expected}; {next}", path.display())]
    Damaged {
        /// The model's key.
        model: String,
        /// The file.
        path: PathBuf,
        /// Bytes on record.
        expected: u64,
        /// Bytes found.
        found: u64,
        /// How to get it whole.
        next: &'static str,
    },
    /// Code asked for a file that the catalogue does not list.
    #[error(
        "the catalogue lists no file `{file}` for the model `{model}`; add it to the entry's `files`"
    )]
    NotListed {
        /// The model's key.
        model: String,
        /// The file asked for.
        file: String,
    },
    /// Offline, and the file is not in the cache, or not with the size on record.
    #[error("{file} is not in the cache {}, or not whole, and downloads are off (--offline or HF_HUB_OFFLINE); go online and run `rag-query models pull`", cache.display())]
    NotCached {
        /// The first file missing.
        file: Box<RemoteFile>,
        /// The cache folder searched.
        cache: PathBuf,
    },
    /// 401 or 403: gated, private, or not there at all (the hub does not tell strangers which).
    #[error("the hub refuses {file} (HTTP {status}): {}; accept the licence at https://huggingface.co/{}, then set HF_TOKEN to a token from https://huggingface.co/settings/tokens", refusal(*had_token), file.repo)]
    Gated {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// 404.
    #[error(
        "the hub {endpoint} has no {file}; correct `hub`, `revision` or `files` of the model in your catalogue"
    )]
    NotFound {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// The hub's address.
        endpoint: String,
    },
    /// `SSL_CERT_FILE` cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// No connection, or it broke before an answer came.
    #[error(
        "cannot reach the hub {endpoint} for {file}: {reason}; check the network or HF_ENDPOINT, or use --offline with the files already in the cache"
    )]
    Unreachable {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// The hub's address.
        endpoint: String,
        /// The transport's own words.
        reason: String,
    },
    /// Any other status.
    #[error(
        "the hub {endpoint} answered HTTP {status} for {file}; try again later, or check HF_ENDPOINT"
    )]
    Status {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// The hub's address.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// An answer that a hub would not give.
    #[error(
        "the hub {endpoint} gave an answer for {file} that cannot be used: {what}; check HF_ENDPOINT, or try again later"
    )]
    BadAnswer {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// The hub's address.
        endpoint: String,
        /// What is wrong with it.
        what: String,
    },
    /// The body ended early. What came is kept for resuming, under a name that is not the file's.
    #[error(
        "the download of {file} stopped after {received} of {expected} bytes ({reason}); run the command again, it goes on from there"
    )]
    Truncated {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// Bytes on disk.
        received: u64,
        /// Bytes announced.
        expected: u64,
        /// The transport's own words.
        reason: String,
    },
    /// The bytes are not the ones announced. They have been removed.
    #[error(
        "{file} does not match the hub's digest: announced SHA-256 {announced}, downloaded {computed}; the download was removed, run the command again, and check HF_ENDPOINT if it happens twice"
    )]
    DigestMismatch {
        /// The file asked for.
        file: Box<RemoteFile>,
        /// The digest that the hub announced.
        announced: String,
        /// The digest of what came.
        computed: String,
    },
    /// A record of hashes that is not readable.
    #[error("the record of hashes {} is not readable: {reason}; {next}", path.display())]
    Record {
        /// `models.lock.json` or `prepared.json`.
        path: PathBuf,
        /// Why.
        reason: String,
        /// How to get a new one.
        next: &'static str,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}; check permissions and free space", path.display())]
    Io {
        /// "create", "write", "read" and so on.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ModelError {
    /// For `map_err`: names the action and the path of a failed file operation.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn folders(searched: &[PathBuf]) -> String {
    if searched.is_empty() {
        return "any models folder (none is configured)".to_owned();
    }
    searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn refusal(had_token: bool) -> &'static str {
    if had_token {
        "the token in use has no access to this gated or private repository"
    } else {
        "the repository is gated or private, and no token was sent"
    }
}
