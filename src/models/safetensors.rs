//! Opens safetensors files. Headers are untrusted until validated.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use candle_core::safetensors::MmapedSafetensors;

use crate::support::mmap;

/// Header size limit in bytes. Published models need about 100 kB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Maps a file into memory.
///
/// # Errors
/// Fails if the file cannot be read or is damaged: its tensors must cover the data without gaps or
/// overlaps.
pub fn open(path: &Path) -> Result<MmapedSafetensors> {
    let damaged = || format!("{} is damaged or not whole; download it again", path.display());
    let unreadable = || format!("cannot read {}", path.display());
    let mut length = [0; 8];
    let mut file = File::open(path).with_context(unreadable)?;
    let is_file = file.metadata().with_context(unreadable)?.is_file();
    ensure!(is_file, "{} is not a file", path.display());
    file.read_exact(&mut length).with_context(damaged)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(anyhow!("its header has {length} bytes").context(damaged()));
    }
    mmap::safetensors(&[path]).with_context(damaged)
}
