//! What goes over the socket.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, Event};
use crate::index::Selection;
use crate::retrieval::{Hit, Retrieval};
use crate::server::Asked;
use crate::terminal::exit::Failure;

/// Size limit of a line in bytes.
pub const MAX_LINE: u64 = 16 << 20;

/// What a client wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Ask(Box<Asked>),
    Search { question: String, top_k: usize, selection: Selection },
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said<'a> {
    Event(Event<'a>),
    Answered(Box<Reply>),
    Found(Box<Retrieval>),
    Failed(Failure),
}

/// An answer with what `--json` leaves out, and the dialogue that it ends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    answer: Answer,
    hits: Vec<Hit>,
    /// The ids of the documents that the answer cites, then of those it read.
    documents: [Vec<String>; 2],
    dialogue: Dialogue,
}

impl Reply {
    pub fn new(mut answer: Answer, dialogue: Dialogue) -> Self {
        let hits = std::mem::take(&mut answer.hits);
        let cited = answer.citations.iter().map(|citation| citation.document_id.clone());
        let read = answer.passages.iter().map(|passage| passage.source.document_id.clone());
        let documents = [cited.collect(), read.collect()];
        Self { answer, hits, documents, dialogue }
    }

    pub fn into_parts(self) -> (Answer, Dialogue) {
        let Self { mut answer, hits, documents: [cited, read], dialogue } = self;
        answer.hits = hits;
        for (citation, id) in answer.citations.iter_mut().zip(cited) {
            citation.document_id = id;
        }
        for (passage, id) in answer.passages.iter_mut().zip(read) {
            passage.source.document_id = id;
        }
        (answer, dialogue)
    }
}

/// The socket of the server whose configuration has this key.
pub fn socket(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.sock"))
}

/// Whether a folder is this user's, and nobody else may look into it: another's could hold anybody's
/// socket.
pub fn is_private(folder: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let Ok(found) = fs::symlink_metadata(folder) else { return false };
    let of_others = found.mode() & 0o077;
    found.is_dir() && found.uid() == own && of_others == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_folder_of_ones_own_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let set =
            |mode| fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
        set(0o700);
        assert!(is_private(folder.path()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(!is_private(&link), "it may be pointed elsewhere");
        for mode in [0o755, 0o710, 0o702] {
            set(mode);
            assert!(!is_private(folder.path()), "{mode:o}");
        }
        assert!(!is_private(Path::new("/no/such")));
    }
}
