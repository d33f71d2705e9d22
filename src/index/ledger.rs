//! `documents-N.log`: which documents and files the index knows, and what it should hold.
//!
//! A line a change, the last one counts; each line begins with a checksum. A commit names the file
//! and how many of its bytes are valid. Once most lines are out of date, a commit begins a new file
//! with the present state.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::IndexError;

/// Hexadecimal digits of a line's checksum, the beginning of its BLAKE3 hash.
const CHECKSUM: usize = 16;
/// Longer lines are damage: a path and some numbers need far less.
const MAX_LINE: u64 = 1 << 20;
/// A file with fewer lines than this is never worth rewriting.
const MIN_REWRITTEN: u64 = 4096;

/// What the index knows of a file that it has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Bytes.
    pub size: u64,
    /// Time of the last change in nanoseconds since 1970; absent where that time could not be
    /// told from the next change's.
    pub modified: Option<u64>,
    /// BLAKE3 of the bytes.
    pub hash: String,
    /// Version of the code that read it.
    pub reader: u32,
}

/// What the index knows of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentState {
    /// BLAKE3 of what it says.
    pub hash: String,
    /// Number of chunks.
    pub chunks: u64,
}

/// What one commit appended to the row files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// Rows that the vector file has from then on, and the digest of the new ones.
    pub rows: u64,
    pub vectors: String,
    /// Digest of the new records of the chunk table.
    pub chunks: String,
    /// Rows that the token file has from then on, and the digest of the new ones.
    pub tokens: u64,
    pub token_vectors: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    File(String, FileState),
    Document(String, DocumentState),
    ForgetFile(String),
    ForgetDocument(String),
    Extent(Extent),
}

/// The state that a log describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    files: BTreeMap<String, FileState>,
    documents: BTreeMap<String, DocumentState>,
    pub(crate) extents: Vec<Extent>,
}

impl Ledger {
    /// Reads the first `bytes` of the log `file` at `path`, and counts its lines.
    pub(crate) fn read(file: &File, path: &Path, bytes: u64) -> Result<(Self, u64), IndexError> {
        let unreadable = |source| IndexError::Unreadable { path: path.to_owned(), source };
        if file.metadata().map_err(unreadable)?.len() < bytes {
            return Err(IndexError::Truncated { path: path.to_owned() });
        }
        let mut file = file;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut lines = BufReader::new(file.take(bytes));
        let (mut ledger, mut count) = (Self::default(), 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                return Ok((ledger, count));
            }
            count += 1;
            let change = parse(&line).ok_or_else(|| IndexError::Damaged {
                path: path.to_owned(),
                what: format!("line {count} is not what was written"),
            })?;
            ledger.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::File(path, state) => drop(self.files.insert(path, state)),
            Change::Document(id, state) => drop(self.documents.insert(id, state)),
            Change::ForgetFile(path) => drop(self.files.remove(&path)),
            Change::ForgetDocument(id) => drop(self.documents.remove(&id)),
            Change::Extent(extent) => self.extents.push(extent),
        }
    }

    /// Every file that was read whole, by absolute path.
    pub fn files(&self) -> &BTreeMap<String, FileState> {
        &self.files
    }

    /// Every document by its id, also those without chunks.
    pub fn documents(&self) -> &BTreeMap<String, DocumentState> {
        &self.documents
    }

    /// The documents of the file at `path`: the one that is the file, or its `path#id`.
    pub fn documents_of<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a DocumentState)> {
        let own = self.documents.get_key_value(path);
        let begin = format!("{path}#");
        let lines = self.documents.range(begin.clone()..);
        let lines = lines.take_while(move |(id, _)| id.starts_with(&begin));
        own.into_iter().chain(lines.filter(move |(id, _)| file_of(id) == path))
    }

    fn lines(&self) -> u64 {
        (self.files.len() + self.documents.len() + self.extents.len()) as u64
    }
}

#[cfg(feature = "milvus")]
impl Ledger {
    /// Adds what is known of a file.
    pub(crate) fn insert_file(&mut self, path: &str, state: FileState) {
        self.apply(Change::File(path.to_owned(), state));
    }

    /// Adds what is known of a document.
    pub(crate) fn insert_document(&mut self, id: &str, state: DocumentState) {
        self.apply(Change::Document(id.to_owned(), state));
    }

    /// Keeps what is known of some files, and of their documents.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.files.retain(|path, _| is_kept(path));
        self.documents.retain(|id, _| is_kept(file_of(id)));
    }

    /// Forgets a file; what it had.
    pub(crate) fn remove_file(&mut self, path: &str) -> Option<FileState> {
        self.files.remove(path)
    }

    /// Forgets a document; what it had.
    pub(crate) fn remove_document(&mut self, id: &str) -> Option<DocumentState> {
        self.documents.remove(id)
    }
}

/// The file that a document is from: `path`, or what is before the `#` of `path.jsonl#id`.
pub fn file_of(document: &str) -> &str {
    let hashes = document.match_indices('#').map(|(at, _)| &document[..at]);
    let is_json_lines = |path: &&str| path.to_lowercase().ends_with(".jsonl");
    hashes.into_iter().find(is_json_lines).unwrap_or(document)
}

/// Appends to a log.
pub(crate) struct LedgerWriter {
    /// The state with all changes, written or not.
    pub ledger: Ledger,
    dir: PathBuf,
    number: u32,
    file: File,
    bytes: u64,
    lines: u64,
    waiting: Vec<u8>,
}

/// The name of log number `number`.
pub(crate) fn file_name(number: u32) -> String {
    format!("documents-{number}.log")
}

impl LedgerWriter {
    /// Opens log `number` in `dir`, or makes it, and cuts it to the `committed` bytes.
    pub(crate) fn open(dir: &Path, number: u32, committed: u64) -> Result<Self, IndexError> {
        let path = dir.join(file_name(number));
        let unwritable = |source| IndexError::Unwritable { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unwritable)?;
        let (ledger, lines) = Ledger::read(&file, &path, committed)?;
        file.set_len(committed).map_err(unwritable)?;
        file.seek(SeekFrom::Start(committed)).map_err(unwritable)?;
        Ok(Self {
            ledger,
            dir: dir.to_owned(),
            number,
            file,
            bytes: committed,
            lines,
            waiting: Vec::new(),
        })
    }

    pub(crate) fn record_file(&mut self, path: &str, state: FileState) {
        self.add(Change::File(path.to_owned(), state));
    }

    pub(crate) fn record_document(&mut self, id: &str, state: DocumentState) {
        self.add(Change::Document(id.to_owned(), state));
    }

    pub(crate) fn forget_file(&mut self, path: &str) {
        if self.ledger.files.contains_key(path) {
            self.add(Change::ForgetFile(path.to_owned()));
        }
    }

    pub(crate) fn forget_document(&mut self, id: &str) {
        if self.ledger.documents.contains_key(id) {
            self.add(Change::ForgetDocument(id.to_owned()));
        }
    }

    pub(crate) fn record_extent(&mut self, extent: Extent) {
        self.add(Change::Extent(extent));
    }

    fn add(&mut self, change: Change) {
        write_line(&mut self.waiting, &change);
        self.lines += 1;
        self.ledger.apply(change);
    }

    /// Whether there are changes that are not on the disk.
    pub(crate) fn has_changes(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts all changes on the disk; gives the number of the log and its length in bytes, for the
    /// commit that makes them valid.
    pub(crate) fn sync(&mut self) -> Result<(u32, u64), IndexError> {
        if self.lines > MIN_REWRITTEN && self.lines > 4 * self.ledger.lines() {
            self.rewrite()?;
        }
        let path = self.dir.join(file_name(self.number));
        self.file
            .write_all(&self.waiting)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| IndexError::Unwritable { path, source })?;
        self.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok((self.number, self.bytes))
    }

    /// Begins a new log with the present state. The old one stays until [`Self::remove_old`].
    fn rewrite(&mut self) -> Result<(), IndexError> {
        let mut next = Self::open(&self.dir, self.number.wrapping_add(1), 0)?;
        for (path, state) in self.ledger.files.clone() {
            next.add(Change::File(path, state));
        }
        for (id, state) in self.ledger.documents.clone() {
            next.add(Change::Document(id, state));
        }
        for extent in self.ledger.extents.clone() {
            next.add(Change::Extent(extent));
        }
        *self = next;
        Ok(())
    }

    /// Removes the logs of other numbers, which no commit refers to any more.
    pub(crate) fn remove_old(&self) {
        let current = file_name(self.number);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("documents-") && name.ends_with(".log") && name != current {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn write_line(out: &mut Vec<u8>, change: &Change) {
    let json = serde_json::to_string(change).expect("a change is plain data");
    out.extend_from_slice(checksum(json.as_bytes()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(json.as_bytes());
    out.push(b'\n');
}

fn parse(line: &[u8]) -> Option<Change> {
    let (stored, rest) = line.split_at_checked(CHECKSUM)?;
    let json = rest.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    if checksum(json).as_bytes() != stored {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..CHECKSUM].to_owned()
}

/// For errors about a log that cannot be opened.
pub(crate) fn open(path: &Path) -> Result<File, IndexError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            IndexError::Damaged { path: path.to_owned(), what: "it is missing".to_owned() }
        }
        _ => IndexError::Unreadable { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(n: u64) -> DocumentState {
        DocumentState { hash: format!("h{n}"), chunks: n }
    }

    fn read(dir: &Path, number: u32, bytes: u64) -> Result<Ledger, IndexError> {
        let path = dir.join(file_name(number));
        Ledger::read(&open(&path)?, &path, bytes).map(|(ledger, _)| ledger)
    }

    #[test]
    fn the_last_change_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LedgerWriter::open(dir.path(), 1, 0).unwrap();
        writer.record_document("/a.md", document(1));
        writer.record_document("/b.jsonl#1", document(2));
        writer.record_document("/b.jsonl#2", document(3));
        writer.record_document("/b.jsonlx", document(3));
        // A file of its own, whose name looks like a line of another's.
        writer.record_document("/a.md#b.md", document(3));
        writer.record_document("/a.md", document(4));
        writer.forget_document("/b.jsonl#1");
        writer.forget_document("/nowhere");
        let (number, bytes) = writer.sync().unwrap();
        let ledger = read(dir.path(), number, bytes).unwrap();
        assert_eq!(ledger, writer.ledger);
        assert_eq!(ledger.documents()["/a.md"], document(4));
        let of =
            |path: &str| ledger.documents_of(path).map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(of("/b.jsonl"), ["/b.jsonl#2"]);
        assert_eq!(of("/a.md"), ["/a.md"]);
        // What a commit does not know of is not there.
        writer.record_document("/c.md", document(5));
        writer.sync().unwrap();
        assert_eq!(read(dir.path(), number, bytes).unwrap(), ledger);
        assert_eq!(LedgerWriter::open(dir.path(), number, bytes).unwrap().ledger, ledger);
        assert!(matches!(read(dir.path(), number, bytes + 1), Err(IndexError::Truncated { .. })));
    }

    #[test]
    fn no_flipped_byte_goes_unnoticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LedgerWriter::open(dir.path(), 1, 0).unwrap();
        writer.record_document("/a.md", document(1));
        writer.record_document("/đ.md", document(2));
        let (_, bytes) = writer.sync().unwrap();
        let path = dir.path().join(file_name(1));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(
                matches!(read(dir.path(), 1, bytes), Err(IndexError::Damaged { .. })),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_log_of_old_changes_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LedgerWriter::open(dir.path(), 1, 0).unwrap();
        for n in 0..=MIN_REWRITTEN {
            writer.record_document("/a.md", document(n));
        }
        let (number, bytes) = writer.sync().unwrap();
        assert_eq!(number, 2);
        assert!(bytes < 200, "{bytes}");
        assert!(dir.path().join(file_name(1)).exists());
        writer.remove_old();
        assert!(!dir.path().join(file_name(1)).exists());
        assert_eq!(read(dir.path(), number, bytes).unwrap(), writer.ledger);
    }
}
