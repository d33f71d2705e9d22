//! `prepared.json`: what `models/prepare-demo` made the files of a folder from, with their hashes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use super::catalogue::Package;
use crate::support::bounded;

/// The record's name inside the folder.
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

/// One file as it was when it was made.
#[derive(Debug, Deserialize)]
pub(crate) struct PreparedFile {
    /// Bytes.
    pub size: u64,
    pub sha256: String,
}

impl Prepared {
    /// The record of a folder; `None` if it has none.
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

/// Size and SHA-256 on record for a file. For a file of the package itself they are the catalogue's,
/// which cannot be changed together with the file; for others, the folder's.
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
