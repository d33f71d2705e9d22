//! `prepared.json`: records which package `models/prepare-demo` made a folder from, and hashes of
//! the files.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use super::catalogue::Package;
use crate::support::bounded;

/// File name of the record inside the folder.
pub(crate) const NAME: &str = "prepared.json";
const MAX_BYTES: u64 = 1 << 20;

/// The record of a folder. Keys that the program does not use, such as the licence, are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Prepared {
    pub source: PreparedFrom,
    pub files: BTreeMap<String, PreparedFile>,
}

/// The package file that the folder was made from.
#[derive(Debug, Deserialize)]
pub(crate) struct PreparedFrom {
    pub sha256: String,
}

/// A file at the time it was made.
#[derive(Debug, Deserialize)]
pub(crate) struct PreparedFile {
    /// In bytes.
    pub size: u64,
    pub sha256: String,
}

impl Prepared {
    /// Reads a folder's record; `None` if it has none.
    pub fn read(folder: &Path) -> Result<Option<Self>, ModelError> {
        let path = folder.join(NAME);
        let unreadable = |reason: String| ModelError::Record {
            path: path.clone(),
            reason,
            next: "delete the folder and run `models/prepare-demo`",
        };
        let bytes = match bounded::read(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| unreadable(e.to_string()))
    }
}

/// Recorded size and SHA-256 of a file. For the package's own file they come from the catalogue,
/// which cannot be tampered with along with the file; for others, from the folder's record.
pub(crate) fn expected<'a>(
    package: &'a Package,
    prepared: Option<&'a Prepared>,
    file: &str,
) -> Option<(u64, &'a str)> {
    if package.file.rsplit('/').next() == Some(file) {
        return Some((package.size, &package.sha256));
    }
    prepared?.files.get(file).map(|made| (made.size, made.sha256.as_str()))
}
