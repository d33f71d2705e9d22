//! The bytes of a file, up to a size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::ReadError;

/// All bytes of an open file of at most `limit` bytes. `path` is for messages.
///
/// # Errors
/// It cannot be read, or is larger.
pub(crate) fn bytes_of(file: File, path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(ReadError::io(path))?;
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}
