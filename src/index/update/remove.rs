//! Removes documents from an index on request.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::known_files;
use crate::documents::{composed, locate};
use crate::index::IndexWriter;

/// Removes the indexed documents of the files and folders in `paths`, which need not exist any
/// more; returns their number.
pub fn remove(writer: &mut dyn IndexWriter, paths: &[PathBuf]) -> Result<usize> {
    let mut removed = 0;
    for path in paths {
        let root =
            place(path).with_context(|| format!("cannot tell where {} is", path.display()))?;
        // A Mac writes names in NFD, and people type them in NFC.
        let root = composed(&root.to_string_lossy()).into_owned();
        let is_under = |path: &&str| Path::new(&*composed(path)).starts_with(&root);
        let files = known_files(writer.ledger()).into_iter().filter(is_under);
        let files: Vec<String> = files.map(str::to_owned).collect();
        for file in &files {
            removed += writer.ledger().documents_of(file).count();
            writer.remove_file(file);
        }
        let roots = writer.ledger().roots().keys().map(String::as_str).filter(is_under);
        for root in roots.map(str::to_owned).collect::<Vec<String>>() {
            writer.forget_root(&root);
        }
        // A single line of a JSONL file, as named by `index list`.
        let line = writer.ledger().documents().keys().find(|id| composed(id) == root).cloned();
        if let Some(id) = line {
            writer.remove_document(&id);
            removed += 1;
        }
    }
    writer.publish()?;
    Ok(removed)
}

/// Where a path is, or was when what it names still existed: without symbolic links.
fn place(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for folder in path.ancestors() {
        if let Ok(located) = locate(folder) {
            let rest = path.strip_prefix(folder).unwrap_or(Path::new(""));
            // Joining nothing would add a slash.
            return Ok(if rest == Path::new("") { located } else { located.join(rest) });
        }
    }
    Ok(path)
}
