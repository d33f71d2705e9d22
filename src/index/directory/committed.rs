//! The payload of a commit: the valid extent of each file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::errors::write_error;
use crate::index::IndexError;

/// The valid extent of each file, stored as the payload of tantivy's commit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// Rows in the vector file; also records in the chunk table.
    pub rows: u64,
    /// Rows in the token file.
    pub tokens: u64,
    /// Number of the current log file.
    pub log: u32,
    pub log_bytes: u64,
    /// Documents with at least one chunk.
    pub documents: u64,
}

impl Committed {
    /// Reads the payload of the last commit of `index`, the lexical part at `path`.
    pub(crate) fn read(index: &tantivy::Index, path: &Path) -> Result<Self, IndexError> {
        let damaged = |what: String| IndexError::Damaged { path: path.to_owned(), what };
        let metas = index.load_metas().map_err(write_error(path))?;
        let json = metas.payload.ok_or_else(|| damaged("it has no commit of ours".to_owned()))?;
        serde_json::from_str(&json)
            .map_err(|error| damaged(format!("its last commit cannot be read: {error}")))
    }
}
