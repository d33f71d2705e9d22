//! Formats without a reader that people expect to be read: they are named, not passed over.

use std::fs::File;
use std::path::Path;

use crate::documents::contents::Contents;
use crate::documents::error::ReadError;

pub(crate) fn refuse(_file: File, path: &Path) -> Result<Contents, ReadError> {
    Err(ReadError::Legacy { path: path.to_owned() })
}
