//! What is known of a download before it begins.

use std::path::PathBuf;

/// A download that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// `owner/name`.
    pub repo: String,
    /// Number of files.
    pub files: usize,
    /// Bytes to receive.
    pub bytes: u64,
    /// The folder that they go to.
    pub folder: PathBuf,
    /// Bytes free there, if the system tells.
    pub free: Option<u64>,
}
