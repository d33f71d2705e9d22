//! Errors of locating and downloading model files; each names the next step.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::download::Download;
use crate::support::proxy::ProxyError;
use crate::support::tls::CertificatesError;

/// A file on a hub, as shown in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// `owner/name`.
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Name of the file in the repository.
    pub file: String,
}

impl fmt::Display for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of {} (revision {})", self.file, self.repo, self.revision)
    }
}

/// Why the files of a model are not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A prepared model is in none of the models folders.
    #[error(
        "the model `{model}` is not prepared: no `{folder}/{file}` in {}; run `models/prepare-demo`",
        folders(searched)
    )]
    NotPrepared {
        /// Key of the model.
        model: String,
        /// Name of the folder that `models/prepare-demo` creates.
        folder: String,
        /// The first missing file.
        file: String,
        /// The models folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// A file is missing from the folder of a local model.
    #[error("the model `{model}` has no file {}; correct its `path` or `files` in your catalogue", path.display())]
    MissingLocal {
        /// Key of the model.
        model: String,
        /// Path of the missing file.
        path: PathBuf,
    },
    /// A file does not have the recorded size.
    #[error("the file {} of the model `{model}` is damaged: {found} bytes instead of {expected}; {next}", path.display())]
    Damaged {
        /// Key of the model.
        model: String,
        /// Path of the file.
        path: PathBuf,
        /// Recorded size in bytes.
        expected: u64,
        /// Actual size in bytes.
        found: u64,
        /// How to restore the file.
        next: &'static str,
    },
    /// A file was requested that the catalogue does not list.
    #[error(
        "the catalogue lists no file `{file}` for the model `{model}`; add it to the entry's `files`"
    )]
    NotListed {
        /// Key of the model.
        model: String,
        /// Name of the requested file.
        file: String,
    },
    /// Offline, and the file is not cached, or not with the recorded size.
    #[error("{file} is not in the cache {}, or not whole, and downloads are off (--offline or HF_HUB_OFFLINE); go online and run `rag-query models pull`", cache.display())]
    NotCached {
        /// The first missing file.
        file: Box<RemoteFile>,
        /// The cache folder that was searched.
        cache: PathBuf,
    },
    /// 401 or 403: gated, private or nonexistent (the hub does not tell unauthorized clients
    /// which).
    #[error("the hub refuses {file} (HTTP {status}): {}; accept the licence at https://huggingface.co/{}, then set HF_TOKEN to a token from https://huggingface.co/settings/tokens", refusal(*had_token), file.repo)]
    Gated {
        /// The requested file.
        file: Box<RemoteFile>,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// The hub answered 404.
    #[error(
        "the hub {endpoint} has no {file}{}; correct the name in `--llm`, or `hub`, `revision` or `files` of the model in your catalogue",
        instead(file, there)
    )]
    NotFound {
        /// The requested file.
        file: Box<RemoteFile>,
        /// Address of the hub.
        endpoint: String,
        /// Files that the repository has; empty if that is not known.
        there: Vec<String>,
    },
    /// The disk is too small for a download.
    #[error(
        "{} needs {} for its download, but {} has {} free; make room, or let HF_HOME name a folder on another disk",
        .0.repo, gigabytes(.0.bytes), .0.folder.display(), gigabytes(.0.free.unwrap_or_default())
    )]
    NoSpace(Box<Download>),
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The certificates named by `SSL_CERT_FILE` cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// The connection failed, or broke before a response arrived.
    #[error(
        "cannot reach the hub {endpoint} for {file}: {reason}; check the network or HF_ENDPOINT, or use --offline with the files already in the cache"
    )]
    Unreachable {
        /// The requested file.
        file: Box<RemoteFile>,
        /// Address of the hub.
        endpoint: String,
        /// The transport's error message.
        reason: String,
    },
    /// Any other HTTP status.
    #[error(
        "the hub {endpoint} answered HTTP {status} for {file}; try again later, or check HF_ENDPOINT"
    )]
    Status {
        /// The requested file.
        file: Box<RemoteFile>,
        /// Address of the hub.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// The response violates the hub's protocol.
    #[error(
        "the hub {endpoint} gave an answer for {file} that cannot be used: {what}; check HF_ENDPOINT, or try again later"
    )]
    BadAnswer {
        /// The requested file.
        file: Box<RemoteFile>,
        /// Address of the hub.
        endpoint: String,
        /// What is wrong with the response.
        what: String,
    },
    /// The body ended early. The partial file is kept under a temporary name, so that it can be
    /// resumed.
    #[error(
        "the download of {file} stopped after {received} of {expected} bytes ({reason}); run the command again, it goes on from there"
    )]
    Truncated {
        /// The requested file.
        file: Box<RemoteFile>,
        /// Bytes on disk.
        received: u64,
        /// Announced size in bytes.
        expected: u64,
        /// The transport's error message.
        reason: String,
    },
    /// The content does not match the announced digest. The download has been deleted.
    #[error(
        "{file} does not match the hub's digest: announced SHA-256 {announced}, downloaded {computed}; the download was removed, run the command again, and check HF_ENDPOINT if it happens twice"
    )]
    DigestMismatch {
        /// The requested file.
        file: Box<RemoteFile>,
        /// SHA-256 announced by the hub.
        announced: String,
        /// SHA-256 of the downloaded content.
        computed: String,
    },
    /// A record of hashes cannot be read.
    #[error("the record of hashes {} is not readable: {reason}; {next}", path.display())]
    Record {
        /// Path of `models.lock.json` or `prepared.json`.
        path: PathBuf,
        /// Why it cannot be read.
        reason: String,
        /// How to recreate it.
        next: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}; check permissions and free space", path.display())]
    Io {
        /// The operation: "create", "write", "read" and so on.
        action: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
}

impl ModelError {
    /// For `map_err`: adds the operation and the path to an I/O error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Names shown of the files that a repository has.
const MAX_SHOWN: usize = 12;

/// What a repository has in place of a file: first of all files of its kind.
fn instead(file: &RemoteFile, there: &[String]) -> String {
    let extension = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = extension(&file.file);
    let (same, others): (Vec<_>, Vec<_>) = there.iter().partition(|name| extension(name) == wanted);
    let names = if same.is_empty() { others } else { same };
    let shown: Vec<&str> = names.iter().take(MAX_SHOWN).map(|name| name.as_str()).collect();
    match (shown.len(), names.len() - shown.len()) {
        (0, _) => String::new(),
        (_, 0) => format!(", but {}", shown.join(", ")),
        (_, more) => format!(", but {} and {more} more", shown.join(", ")),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
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
