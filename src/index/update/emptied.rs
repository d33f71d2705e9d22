//! Folders that had documents and have none now: more likely a drive that is not mounted than
//! somebody's wish, so what they held stays in the index.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::{is_gone, known_files, unread_files};
use crate::documents::Walk;
use crate::index::Ledger;

/// A folder whose documents are in the index, though it has none now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmptiedRoot {
    /// The folder, which was named to be indexed, now or earlier.
    pub root: String,
    /// How many documents the index has from there.
    pub documents: usize,
}

impl EmptiedRoot {
    /// The folders with documents in `ledger` that were walked, and have none now. Files that are
    /// still there but ignored do not count: who ignores them wants them out.
    pub fn find(ledger: &Ledger, walk: &Walk) -> Vec<Self> {
        let files = known_files(ledger);
        let unread = unread_files(ledger, walk);
        let is_walked = |root: &&Path| walk.roots.iter().any(|walked| root.starts_with(walked));
        let earlier = ledger.roots().keys().map(Path::new).filter(is_walked);
        // Outer folders first.
        let roots: BTreeSet<&Path> =
            earlier.chain(walk.roots.iter().map(PathBuf::as_path)).collect();
        let mut emptied: Vec<Self> = Vec::new();
        for root in roots {
            let is_known = emptied.iter().any(|outer| outer.holds(root));
            let is_file = root.to_str().is_some_and(|root| files.contains(root));
            let is_unread = unread.iter().any(|file| Path::new(file).starts_with(root));
            if is_known || is_file || is_unread || walk.has_documents_under(root) {
                continue;
            }
            let gone = files.iter().filter(|file| Path::new(file).starts_with(root));
            let gone = gone.filter(|file| walk.covers(Path::new(file)) && is_gone(Path::new(file)));
            let documents = gone.map(|file| ledger.documents_of(file).count()).sum();
            if documents > 0 {
                let root = root.to_string_lossy().into_owned();
                emptied.push(Self { root, documents });
            }
        }
        emptied
    }

    /// Whether the file or folder at `path` lies, or lay, in this folder.
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }
}
