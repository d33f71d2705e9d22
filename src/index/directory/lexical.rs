//! Opens tantivy's part of an index.

use std::path::Path;

use super::errors::read_error;
use super::fields::tokenizers;
use super::sealed::SealedDirectory;
use crate::index::IndexError;

/// Opens tantivy's part and checks all of it, as a writer has to: what tantivy merges gets a new
/// checksum, which would hide the damage.
pub(crate) fn open(path: &Path) -> Result<tantivy::Index, IndexError> {
    open_checked(path, u64::MAX)
}

/// Opens tantivy's part, and checks it unless it has more than `limit` bytes.
pub(crate) fn open_checked(path: &Path, limit: u64) -> Result<tantivy::Index, IndexError> {
    let failed = read_error(path);
    let directory = SealedDirectory::open(path)?;
    let mut index = tantivy::Index::open(directory.clone()).map_err(&failed)?;
    index.set_tokenizers(tokenizers());
    directory.check(index.load_metas().map_err(&failed)?.list_segment_files(), limit)?;
    Ok(index)
}
