//! The index of a model in several safetensors files.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::models::json;

/// `model.safetensors.index.json`
#[derive(Deserialize)]
struct Index {
    metadata: Option<IndexMetadata>,
    /// Tensor name → file name.
    weight_map: HashMap<String, String>,
}

#[derive(Deserialize)]
struct IndexMetadata {
    /// Total size of the tensors in bytes. Some writers store a float.
    total_size: Option<f64>,
}

/// The files of a sharded model among `files`: those named by its index, deduplicated and sorted.
///
/// # Errors
/// Fails if a file is missing, or if the index points outside the folder.
pub fn named_by(index: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let Index { metadata, weight_map } = json::read(index)?;
    let names: BTreeSet<&String> = weight_map.values().collect();
    ensure!(!names.is_empty(), "{} names no files; download it again", index.display());
    let mut shards = Vec::new();
    for name in names {
        let plain = Path::new(name).file_name().is_some_and(|file| file == name.as_str());
        ensure!(
            plain && name.ends_with(".safetensors"),
            "{} names {name:?}, which is no safetensors file in its folder; download it again",
            index.display()
        );
        let found =
            files.iter().find(|path| path.file_name().is_some_and(|file| file == name.as_str()));
        shards.push(found.cloned().with_context(|| {
            format!("{name}, which {} names, is missing; download it, too", index.display())
        })?);
    }
    let found =
        shards.iter().map(|path| Ok(std::fs::metadata(path)?.len())).sum::<Result<u64>>()?;
    // The shards must be slightly larger, because of their headers.
    if let Some(total) = metadata.and_then(|metadata| metadata.total_size) {
        ensure!(
            found as f64 >= total,
            "the files that {} names have {found} bytes together, the tensors in them should have \
             {total}; download the model again",
            index.display()
        );
    }
    Ok(shards)
}
