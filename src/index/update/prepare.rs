//! From a file to passages: reading, cutting and hashing, on any thread.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::in_order::Outcomes;
use crate::chunks::{ChunkSettings, chunk};
use crate::documents::{self, Document, ReadError};
use crate::index::{FileState, Ledger, Passage};

/// A change within this time of another may leave no trace in the file's time: file systems count
/// in steps of up to two seconds.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// A file that has to be looked at.
pub struct Job {
    /// The file.
    pub path: PathBuf,
    /// Its absolute path, as the index names it.
    pub id: String,
    /// Bytes.
    pub size: u64,
    modified: Option<u64>,
    known: Option<FileState>,
    /// Content hashes of the documents that the index has of it.
    documents: BTreeMap<String, String>,
}

/// What a look at a file brings.
pub enum Outcome {
    /// A document is as it was.
    Unchanged {
        /// Its id.
        id: String,
    },
    /// A document is new or has changed.
    Changed {
        /// Its id.
        id: String,
        /// Its content hash.
        hash: String,
        /// What it says.
        passages: Vec<Passage>,
    },
    /// A part of the file, or all of it, cannot be read.
    Problem(ReadError),
    /// The file has the bytes that it had; none of its documents was looked at. Nothing follows.
    SameBytes(FileState),
    /// Nothing follows. With a state if all of the file could be read.
    End(Option<FileState>),
}

impl Job {
    /// Compares a file with what the index knows of it. `None` if it has not changed since, as far
    /// as size and time tell.
    pub fn new(path: PathBuf, id: String, ledger: &Ledger) -> Option<Self> {
        let known = ledger.files().get(&id).filter(|state| state.reader == documents::READER);
        // A file that cannot be looked at will tell why when it is read.
        let metadata = path.metadata().ok();
        let size = metadata.as_ref().map_or(0, Metadata::len);
        let modified = metadata.as_ref().and_then(modified);
        if let (Some(known), Some(modified)) = (known, modified)
            && known.size == size
            && known.modified == Some(modified)
        {
            return None;
        }
        let documents = ledger.documents_of(&id);
        let documents = documents.map(|(id, state)| (id.clone(), state.hash.clone())).collect();
        Some(Self { known: known.cloned(), path, id, size, modified, documents })
    }

    /// Reads the file and cuts what is new in it. `count` counts tokens of the embedder's.
    pub fn look(
        &self,
        settings: &ChunkSettings,
        count: &dyn Fn(&str) -> usize,
        outcomes: &Outcomes<Outcome>,
    ) {
        let hash = match self.hash() {
            Ok(hash) => hash,
            Err(source) => {
                let path = self.path.clone();
                outcomes.send(Outcome::Problem(ReadError::Io { path, source }));
                outcomes.send(Outcome::End(None));
                return;
            }
        };
        let state =
            FileState { size: self.size, modified: self.modified, hash, reader: documents::READER };
        if self.known.as_ref().is_some_and(|known| known.hash == state.hash) {
            outcomes.send(Outcome::SameBytes(state));
            return;
        }
        let mut whole = true;
        for document in documents::read(&self.path) {
            let outcome = match document {
                Ok(document) => self.compare(&document, settings, count),
                Err(error) => {
                    whole = false;
                    Outcome::Problem(error)
                }
            };
            if !outcomes.send(outcome) {
                return;
            }
        }
        outcomes.send(Outcome::End(whole.then_some(state)));
    }

    fn hash(&self) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(&self.path)?)?;
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn compare(
        &self,
        document: &Document,
        settings: &ChunkSettings,
        count: &dyn Fn(&str) -> usize,
    ) -> Outcome {
        let hash = content_hash(document);
        let id = document.id.clone();
        if self.documents.get(&id) == Some(&hash) {
            return Outcome::Unchanged { id };
        }
        Outcome::Changed { id, hash, passages: passages(document, settings, count) }
    }
}

/// The chunks of a document, as the index keeps them.
pub fn passages(
    document: &Document,
    settings: &ChunkSettings,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Passage> {
    chunk(document, settings, count)
        .into_iter()
        .map(|chunk| Passage {
            document: document.id.clone(),
            text: document.text[chunk.span.clone()].to_owned(),
            headings: chunk.headings,
            place: chunk.place,
            span: (chunk.span.start, chunk.span.end),
            format: document.format,
        })
        .collect()
}

/// When a file was changed, in nanoseconds since 1970; `None` if a later change could have the
/// same time.
fn modified(metadata: &Metadata) -> Option<u64> {
    let modified = metadata.modified().ok()?;
    let age = SystemTime::now().duration_since(modified).ok()?;
    if age < COARSEST_CLOCK {
        return None;
    }
    u64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// What a document says, in 64 hexadecimal digits.
fn content_hash(document: &Document) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(document.title.as_deref().unwrap_or_default().as_bytes());
    hasher.update(&[0]);
    hasher.update(document.text.as_bytes());
    hasher.finalize().to_hex().to_string()
}
