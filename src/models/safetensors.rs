//! Opens safetensors files. Headers are untrusted until validated.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use candle_core::safetensors::{MmapedSafetensors, SliceSafetensors};
use memmap2::Mmap;

use crate::support::mmap;

/// Header size limit in bytes. Published models need about 100 kB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// A tensor in a file.
pub struct Info {
    pub name: String,
    /// `F32`, `BF16`, …
    pub dtype: String,
    /// Rows first.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// Maps a file into memory.
///
/// # Errors
/// Fails if the file cannot be read or is damaged: its tensors must cover the data without gaps or
/// overlaps.
pub fn open(path: &Path) -> Result<MmapedSafetensors> {
    check(path)?;
    mmap::safetensors(&[path]).with_context(|| damaged(path))
}

/// Maps a file into memory, and finds its tensors there. Same errors as [`open`].
pub fn map(path: &Path) -> Result<(Mmap, Vec<Info>)> {
    let map = mmap::map(&check(path)?).with_context(|| unreadable(path))?;
    let tensors = SliceSafetensors::new(&map).with_context(|| damaged(path))?;
    let tensors = tensors.tensors().into_iter().map(|(name, tensor)| {
        // The tensor's bytes are a part of the map's.
        let start = tensor.data().as_ptr().addr() - map.as_ptr().addr();
        Info {
            name,
            dtype: format!("{:?}", tensor.dtype()),
            shape: tensor.shape().to_vec(),
            range: start..start + tensor.data().len(),
        }
    });
    let tensors = tensors.collect();
    Ok((map, tensors))
}

/// Opens a file, and checks that it is one and how long its header is.
fn check(path: &Path) -> Result<File> {
    let mut length = [0; 8];
    let mut file = File::open(path).with_context(|| unreadable(path))?;
    let is_file = file.metadata().with_context(|| unreadable(path))?.is_file();
    ensure!(is_file, "{} is not a file", path.display());
    file.read_exact(&mut length).with_context(|| damaged(path))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(anyhow!("its header has {length} bytes").context(damaged(path)));
    }
    Ok(file)
}

fn damaged(path: &Path) -> String {
    format!("{} is damaged or not whole; download it again", path.display())
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
