//! Reads a model's JSON files, up to a size limit.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Error, Result};
use serde::de::DeserializeOwned;

use crate::support::bounded;

/// Size limit in bytes. Llama 3.1's tokenizer takes 9 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a file within the size limit.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    bounded::read(path, MAX_BYTES).map_err(|error| {
        let next = match error.kind() {
            ErrorKind::FileTooLarge => ", which is not what its name says; download it again",
            _ => "",
        };
        Error::new(error).context(format!("cannot read {}{next}", path.display()))
    })
}

/// Reads and deserializes a file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&bytes(path)?)
        .with_context(|| format!("{} is not what its name says", path.display()))
}
