//! From files to passages: selects the files to read, then reads, chunks and hashes them on any
//! thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::account::{Fate, FileAccount};
use super::in_order::Outcomes;
use crate::chunks::{ChunkSettings, chunk};
use crate::documents::{self, Document, Programs, ReadError, Walk};
use crate::index::{DocumentState, FileState, Ledger, Passage, file_of};

/// Two changes this close together may have the same time stamp: file systems have a resolution of
/// up to two seconds (FAT).
const COARSEST_CLOCK: Duration = Duration::from_secs(2);
/// Files beyond this size are shown to their reader before they are hashed: most formats refuse them,
/// and hashing a terabyte takes minutes.
const LARGE: u64 = 256 << 20;

/// The files to read, and counts for the others.
pub struct FilePlan {
    pub jobs: Vec<FileJob>,
    /// Documents with text, of the files that can be skipped.
    pub unchanged: usize,
    /// Files whose names the index cannot represent.
    pub problems: Vec<String>,
    /// What became of all files that are not in `jobs`.
    pub files: FileAccount,
}

impl FilePlan {
    /// Compares the files in `walk` with the ledger: `by_content`, or else by what the file system
    /// says of them. What other programs read is read again if the program has changed.
    pub fn new(walk: &Walk, ledger: &Ledger, by_content: bool) -> Self {
        let mut plan = Self {
            jobs: Vec::new(),
            unchanged: 0,
            problems: Vec::new(),
            files: FileAccount::new(walk),
        };
        for path in &walk.files {
            let Some(id) = path.to_str() else {
                let error = ReadError::PathNotUnicode { path: path.clone() };
                plan.problems.push(error.to_string());
                plan.files.failed.push(path.to_string_lossy().into_owned());
                continue;
            };
            let reader = walk.reader_version(path);
            if let Some(job) = FileJob::new(path.clone(), id.to_owned(), reader, ledger, by_content)
            {
                plan.jobs.push(job);
            } else {
                plan.unchanged += ledger.readable_documents_of(id);
                let size = ledger.files().get(id).map_or(0, |state| state.size);
                plan.files.add(id, size, Fate::of_unchanged(id, ledger));
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
    stamp: Option<Stamp>,
    /// As in [`FileState`].
    reader: u32,
    known: Option<FileState>,
    /// Content hashes of the file's indexed documents, by id.
    documents: BTreeMap<String, String>,
}

/// What the file system says of a file, beside its size: the same again if the file has not changed.
/// One time does not suffice: programs set the time of the last modification back, `cp -p` and
/// archives among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: u64,
    /// As in [`FileState`].
    changed: Option<u64>,
    inode: Option<u64>,
}

impl Stamp {
    /// `None` if a later change could have the same stamp.
    fn of(metadata: &Metadata) -> Option<Self> {
        let modified = settled(metadata.modified().ok()?)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let seconds = u64::try_from(metadata.ctime()).ok()?;
            let rest = u32::try_from(metadata.ctime_nsec()).ok()?;
            let changed = settled(UNIX_EPOCH + Duration::new(seconds, rest))?;
            Some(Self { modified, changed: Some(changed), inode: Some(metadata.ino()) })
        }
        #[cfg(not(unix))]
        Some(Self { modified, changed: None, inode: None })
    }

    /// Whether the file system says what it said when the file was indexed.
    fn is_of(self, known: &FileState) -> bool {
        let then = (known.modified, known.changed, known.inode);
        then == (Some(self.modified), self.changed, self.inode)
    }
}

/// A time in nanoseconds since 1970; `None` if it is so recent that a later change could have the
/// same.
fn settled(time: SystemTime) -> Option<u64> {
    let age = SystemTime::now().duration_since(time).ok()?;
    if age < COARSEST_CLOCK {
        return None;
    }
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// An event from reading a file: first documents and problems, then either `SameBytes` or `End`.
pub enum FileEvent {
    /// An unchanged document.
    Unchanged { id: String },
    /// A new or changed document; `hash` covers its content.
    Changed { id: String, state: DocumentState, passages: Vec<Passage> },
    /// All or part of the file cannot be read.
    Problem(ReadError),
    /// The file's bytes are unchanged, so its documents were not parsed.
    SameBytes(FileState),
    /// End of file; has a state if all of it could be read.
    End(Option<FileState>),
}

impl FileJob {
    /// A job for the file, or `None` if it looks unchanged and is not to be compared `by_content`.
    fn new(
        path: PathBuf,
        id: String,
        reader: u32,
        ledger: &Ledger,
        by_content: bool,
    ) -> Option<Self> {
        let known = ledger.files().get(&id).filter(|state| state.reader == reader);
        // If metadata is unavailable, reading the file will report why.
        let metadata = path.metadata().ok();
        let size = metadata.as_ref().map_or(0, Metadata::len);
        let stamp = metadata.as_ref().and_then(Stamp::of);
        let is_same = |known: &FileState| stamp.is_some_and(|stamp| stamp.is_of(known));
        if !by_content && known.is_some_and(|known| known.size == size && is_same(known)) {
            return None;
        }
        let documents = ledger.documents_of(&id);
        let documents = documents.map(|(id, state)| (id.clone(), state.hash.clone())).collect();
        Some(Self { known: known.cloned(), path, id, size, stamp, reader, documents })
    }

    /// Reads the file, with the programs that help, and chunks its new content. `count` counts tokens as
    /// the embedder does.
    pub fn read(
        &self,
        settings: &ChunkSettings,
        count: &dyn Fn(&str) -> usize,
        programs: &Programs,
        events: &Outcomes<FileEvent>,
    ) {
        let mut documents = documents::read_with(&self.path, programs).peekable();
        if self.size > LARGE
            && let Some(Err(error)) = documents.next_if(Self::is_refusal)
        {
            events.send(FileEvent::Problem(error));
            events.send(FileEvent::End(None));
            return;
        }
        let hash = match self.hash() {
            Ok(hash) => hash,
            Err(source) => {
                let path = self.path.clone();
                events.send(FileEvent::Problem(ReadError::Io { path, source }));
                events.send(FileEvent::End(None));
                return;
            }
        };
        let stamp = self.stamp;
        let state = FileState {
            size: self.size,
            modified: stamp.map(|stamp| stamp.modified),
            changed: stamp.and_then(|stamp| stamp.changed),
            inode: stamp.and_then(|stamp| stamp.inode),
            hash,
            reader: self.reader,
        };
        if self.known.as_ref().is_some_and(|known| known.hash == state.hash) {
            events.send(FileEvent::SameBytes(state));
            return;
        }
        let mut whole = true;
        for document in documents {
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

    /// Whether a reader takes nothing of a file.
    fn is_refusal(first: &Result<Document, ReadError>) -> bool {
        matches!(first, Err(error) if !matches!(error, ReadError::Line { .. }))
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
        let passages = passages(document, settings, count);
        let (chunks, tags) = (passages.len() as u64, document.tags.clone());
        FileEvent::Changed { id, state: DocumentState { hash, chunks, tags }, passages }
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
            keywords: keywords(document, chunk.name.is_some()),
            name: chunk.name,
            place: chunk.place,
            index: None,
            span: (chunk.span.start, chunk.span.end),
            format: document.format,
            recognized: document.structure.is_recognized(chunk.place),
        })
        .collect()
}

/// The words about a document that its chunks do not have above them: those of its file's name, unless
/// that `is_title`, and its keywords.
fn keywords(document: &Document, is_title: bool) -> String {
    let name = Some(document.name.words.as_str()).filter(|_| !is_title);
    let words = name.into_iter().chain([document.keywords.as_str()]);
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A hash of a document's content, 64 hexadecimal digits.
fn content_hash(document: &Document) -> String {
    let mut hasher = blake3::Hasher::new();
    for about in [document.title.as_deref().unwrap_or_default(), &document.keywords] {
        hasher.update(about.as_bytes());
        hasher.update(&[0]);
    }
    // Only where there are any, so that the others keep the hash that an index has of them.
    for tag in &document.tags {
        hasher.update(tag.as_bytes());
        hasher.update(&[0]);
    }
    hasher.update(document.text.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Every file that the ledger mentions, directly or through a document.
pub fn known_files(ledger: &Ledger) -> BTreeSet<&str> {
    let documents = ledger.documents().keys().map(|document| file_of(document));
    ledger.files().keys().map(String::as_str).chain(documents).collect()
}

/// Files that a program read and that are still there, but are no documents to `walk`, which was not
/// told of the program. In the order of their names.
pub fn unread_files<'l>(ledger: &'l Ledger, walk: &Walk) -> Vec<&'l str> {
    let files = ledger.files().iter().filter(|(_, state)| Programs::has_read(state.reader));
    let files = files.map(|(file, _)| file.as_str());
    files
        .filter(|file| {
            let path = Path::new(file);
            walk.covers(path) && !walk.has(path) && !is_gone(path)
        })
        .collect()
}

/// Whether there is nothing at `path`, or it cannot be looked at.
pub fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err()
}

pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
