//! The JSON files of a model, bounded.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Error, Result};
use serde::de::DeserializeOwned;

use crate::support::bounded;

/// JSON files of a model larger than this, in bytes, are none. Llama 3.1's tokenizer has 9 MB.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes of a file of a model.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    bounded::read(path, MAX_BYTES).map_err(|error| {
        let next = match error.kind() {
            ErrorKind::FileTooLarge => ", which is not what its name says; download it again",
            _ => "",
        };
        Error::new(error).context(format!("cannot read {}{next}", path.display()))
    })
}

/// Reads one value.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&bytes(path)?)
        .with_context(|| format!("{} is not what its name says", path.display()))
}
