//! What an index follows, and whether it is up to date with that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::emptied::EmptiedRoot;
use super::files::{FilePlan, is_gone, known_files};
use super::indexer::missing_files;
use crate::documents::Walk;
use crate::index::{Ledger, RootState};

/// The files and folders that the index follows and that are there, by the patterns that choose among
/// their files.
pub fn followed(ledger: &Ledger) -> BTreeMap<RootState, Vec<PathBuf>> {
    let mut followed: BTreeMap<RootState, Vec<PathBuf>> = BTreeMap::new();
    for (root, state) in ledger.roots() {
        let path = PathBuf::from(root);
        if !is_gone(&path) {
            followed.entry(state.clone()).or_default().push(path);
        }
    }
    followed
}

/// The files and folders that the index follows and that are not there, but whose documents it has.
pub fn absent(ledger: &Ledger) -> Vec<EmptiedRoot> {
    let files = known_files(ledger);
    let absent = ledger.roots().keys().filter(|root| is_gone(Path::new(root))).map(|root| {
        let under = files.iter().filter(|file| Path::new(file).starts_with(root));
        let documents = under.map(|file| ledger.documents_of(file).count()).sum();
        EmptiedRoot { root: root.clone(), documents }
    });
    absent.filter(|root| root.documents > 0).collect()
}

/// Whether an update would change nothing: every file looks as it did, and none is gone but those of
/// emptied folders, which stay.
pub fn is_current(walk: &Walk, ledger: &Ledger) -> bool {
    let is_read = FilePlan::new(walk, ledger, false).jobs.is_empty();
    is_read && missing_files(ledger, walk, |file| walk.covers(file)).is_empty()
}
