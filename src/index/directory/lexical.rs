//! Opens tantivy's part of an index.

use std::path::Path;

use super::errors::read_error;
use super::fields::tokenizers;
use super::sealed::SealedDirectory;
use crate::index::IndexError;

/// Opens tantivy's part and verifies all of it. Writers need this: a merge would give corrupt data
/// a fresh checksum and hide the damage.
pub(crate) fn open(path: &Path) -> Result<tantivy::Index, IndexError> {
    open_checked(path, u64::MAX)
}

/// Opens tantivy's part, and verifies it unless it is larger than `limit` bytes.
pub(crate) fn open_checked(path: &Path, limit: u64) -> Result<tantivy::Index, IndexError> {
    let failed = read_error(path);
    let directory = SealedDirectory::open(path)?;
    let mut index = tantivy::Index::open(directory.clone()).map_err(&failed)?;
    index.set_tokenizers(tokenizers());
    directory.check(index.load_metas().map_err(&failed)?.list_segment_files(), limit)?;
    Ok(index)
}
