//! The JSON files of a model, up to a size.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Error, Result};
use serde::de::DeserializeOwned;

use crate::support::bounded;

/// The largest file, in bytes. Llama 3.1's tokenizer has 9 MB.
const MAX_BYTES: u64 = 64 << 20;

/// The contents of a file.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    bounded::read(path, MAX_BYTES).map_err(|error| {
        let next = match error.kind() {
            ErrorKind::FileTooLarge => ", which is not what its name says; download it again",
            _ => "",
        };
        Error::new(error).context(format!("cannot read {}{next}", path.display()))
    })
}

/// The value that a file holds.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&bytes(path)?)
        .with_context(|| format!("{} is not what its name says", path.display()))
}
