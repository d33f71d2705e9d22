//! The JSON files of a model, bounded.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

/// JSON files of a model larger than this, in bytes, are none. Llama 3.1's tokenizer has 9 MB.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes of a file of a model.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let unreadable = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let metadata = file.metadata().with_context(unreadable)?;
    ensure!(metadata.is_file(), "{} is not a file", path.display());
    // At once: a vector that grows to 17 MB is copied as often as the file is read.
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_BYTES) as usize + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(unreadable)?;
    ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "{} is larger than {} MiB, and not what its name says; download it again",
        path.display(),
        MAX_BYTES >> 20
    );
    Ok(bytes)
}

/// Reads one value.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&bytes(path)?)
        .with_context(|| format!("{} is not what its name says", path.display()))
}
