//! Removes documents from an index on request.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::known_files;
use crate::index::IndexWriter;

/// Removes the indexed documents of the files and folders in `paths`, which need not exist any
/// more; returns their number.
pub fn remove(writer: &mut dyn IndexWriter, paths: &[PathBuf]) -> Result<usize> {
    let mut removed = 0;
    for path in paths {
        let root = path.canonicalize().or_else(|_| std::path::absolute(path));
        let root = root.with_context(|| format!("cannot tell where {} is", path.display()))?;
        let under: Vec<String> = known_files(writer.ledger())
            .into_iter()
            .filter(|file| Path::new(file).starts_with(&root))
            .map(str::to_owned)
            .collect();
        for file in &under {
            removed += writer.ledger().documents_of(file).count();
            writer.remove_file(file);
        }
        // A single line of a JSONL file, as named by `index list`.
        if let Some(id) = root.to_str().filter(|id| writer.ledger().documents().contains_key(*id)) {
            let id = id.to_owned();
            writer.remove_document(&id);
            removed += 1;
        }
    }
    writer.publish()?;
    Ok(removed)
}
