//! From files to passages: selects the files to read, then reads, chunks and hashes them on any
//! thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::in_order::Outcomes;
use crate::chunks::{ChunkSettings, chunk};
use crate::documents::{self, Document, ReadError, Walk};
use crate::index::{FileState, Ledger, Passage, file_of};

/// Two changes this close together may have the same time stamp: file systems have a resolution of
/// up to two seconds (FAT).
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// The files to read, and counts for the others.
pub struct FilePlan {
    pub jobs: Vec<FileJob>,
    /// Documents of the files that can be skipped.
    pub unchanged: usize,
    /// Files whose names the index cannot represent.
    pub problems: Vec<String>,
}

impl FilePlan {
    /// Compares the files in `walk` with the ledger.
    pub fn new(walk: &Walk, ledger: &Ledger) -> Self {
        let mut plan = Self { jobs: Vec::new(), unchanged: 0, problems: Vec::new() };
        for path in &walk.files {
            let Some(id) = path.to_str() else {
                let error = ReadError::PathNotUnicode { path: path.clone() };
                plan.problems.push(error.to_string());
                continue;
            };
            match FileJob::new(path.clone(), id.to_owned(), ledger) {
                Some(job) => plan.jobs.push(job),
                None => plan.unchanged += ledger.documents_of(id).count(),
            }
        }
        plan
    }
}

/// A file that may have changed.
pub struct FileJob {
    path: PathBuf,
    /// Its absolute path, as the index names it.
    pub id: String,
    /// Size in bytes.
    pub size: u64,
    modified: Option<u64>,
    known: Option<FileState>,
    /// Content hashes of the file's indexed documents, by id.
    documents: BTreeMap<String, String>,
}

/// An event from reading a file: first documents and problems, then either `SameBytes` or `End`.
pub enum FileEvent {
    /// An unchanged document.
    Unchanged { id: String },
    /// A new or changed document; `hash` covers its content.
    Changed { id: String, hash: String, passages: Vec<Passage> },
    /// All or part of the file cannot be read.
    Problem(ReadError),
    /// The file's bytes are unchanged, so its documents were not parsed.
    SameBytes(FileState),
    /// End of file; has a state if all of it could be read.
    End(Option<FileState>),
}

impl FileJob {
    /// A job for the file, or `None` if it looks unchanged.
    fn new(path: PathBuf, id: String, ledger: &Ledger) -> Option<Self> {
        let known = ledger.files().get(&id).filter(|state| state.reader == documents::READER);
        // If metadata is unavailable, reading the file will report why.
        let metadata = path.metadata().ok();
        let size = metadata.as_ref().map_or(0, Metadata::len);
        let modified = metadata.as_ref().and_then(modified);
        if known.is_some_and(|known| looks_unchanged(known, size, modified)) {
            return None;
        }
        let documents = ledger.documents_of(&id);
        let documents = documents.map(|(id, state)| (id.clone(), state.hash.clone())).collect();
        Some(Self { known: known.cloned(), path, id, size, modified, documents })
    }

    /// Reads the file and chunks its new content. `count` counts tokens as the embedder does.
    pub fn read(
        &self,
        settings: &ChunkSettings,
        count: &dyn Fn(&str) -> usize,
        events: &Outcomes<FileEvent>,
    ) {
        let hash = match self.hash() {
            Ok(hash) => hash,
            Err(source) => {
                let path = self.path.clone();
                events.send(FileEvent::Problem(ReadError::Io { path, source }));
                events.send(FileEvent::End(None));
                return;
            }
        };
        let state =
            FileState { size: self.size, modified: self.modified, hash, reader: documents::READER };
        if self.known.as_ref().is_some_and(|known| known.hash == state.hash) {
            events.send(FileEvent::SameBytes(state));
            return;
        }
        let mut whole = true;
        for document in documents::read(&self.path) {
            let event = match document {
                Ok(document) => self.compare(&document, settings, count),
                Err(error) => {
                    whole = false;
                    FileEvent::Problem(error)
                }
            };
            if !events.send(event) {
                return;
            }
        }
        events.send(FileEvent::End(whole.then_some(state)));
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
    ) -> FileEvent {
        let hash = content_hash(document);
        let id = document.id.clone();
        if self.documents.get(&id) == Some(&hash) {
            return FileEvent::Unchanged { id };
        }
        FileEvent::Changed { id, hash, passages: passages(document, settings, count) }
    }
}

/// The chunks of a document as passages.
fn passages(
    document: &Document,
    settings: &ChunkSettings,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Passage> {
    chunk(document, settings, count)
        .into_iter()
        .map(|chunk| Passage {
            document: document.id.clone(),
            text: chunk.text(document),
            headings: chunk.headings,
            place: chunk.place,
            span: (chunk.span.start, chunk.span.end),
            format: document.format,
        })
        .collect()
}

/// Whether size and modification time match, so that the file need not be read.
fn looks_unchanged(known: &FileState, size: u64, modified: Option<u64>) -> bool {
    modified.is_some() && known.modified == modified && known.size == size
}

/// Modification time in nanoseconds since 1970; `None` if a later change could have the same time
/// stamp.
fn modified(metadata: &Metadata) -> Option<u64> {
    let modified = metadata.modified().ok()?;
    let age = SystemTime::now().duration_since(modified).ok()?;
    if age < COARSEST_CLOCK {
        return None;
    }
    u64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// A hash of a document's content, 64 hexadecimal digits.
fn content_hash(document: &Document) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(document.title.as_deref().unwrap_or_default().as_bytes());
    hasher.update(&[0]);
    hasher.update(document.text.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Every file that the ledger mentions, directly or through a document.
pub fn known_files(ledger: &Ledger) -> BTreeSet<&str> {
    let documents = ledger.documents().keys().map(|document| file_of(document));
    ledger.files().keys().map(String::as_str).chain(documents).collect()
}

pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
