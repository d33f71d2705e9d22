//! `documents-N.log`: the ledger of a directory index, and the extent of each commit.
//!
//! One line per change; the last line for an item wins. Each line starts with a checksum. A commit
//! records the file's name and valid length. Once most lines are obsolete, a commit starts a new
//! file with the current state.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::index::{DocumentState, FileState, IndexError, Ledger, RootState};
use crate::support::bounded;

/// Hexadecimal digits of a line's checksum, a prefix of its BLAKE3 hash.
const CHECKSUM: usize = 16;
/// Line length limit in bytes. A path and a few numbers need far less, so a longer line means
/// corruption.
const MAX_LINE: u64 = 1 << 20;
/// Files with fewer lines are not worth rewriting.
const MIN_REWRITTEN: u64 = 4096;

/// What one commit appended to the record files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// Rows in the vector file after the commit.
    pub rows: u64,
    /// Digest of the new vector rows.
    pub vectors: String,
    /// Digest of the new chunk records.
    pub chunks: String,
    /// Rows in the token file after the commit.
    pub tokens: u64,
    /// Digest of the new token rows, if the index has a token file.
    pub token_vectors: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    File(String, FileState),
    Document(String, DocumentState),
    ForgetFile(String),
    ForgetDocument(String),
    Root(String, RootState),
    ForgetRoot(String),
    Extent(Extent),
}

/// The state described by a log.
#[derive(Default)]
pub(crate) struct Log {
    pub ledger: Ledger,
    pub extents: Vec<Extent>,
    /// Lines read or written, including obsolete ones.
    lines: u64,
}

impl Log {
    /// Reads the first `bytes` of the log `file` at `path`.
    pub(crate) fn read(file: &File, path: &Path, bytes: u64) -> Result<Self, IndexError> {
        let unreadable = |source| IndexError::Unreadable { path: path.to_owned(), source };
        if file.metadata().map_err(unreadable)?.len() < bytes {
            return Err(IndexError::Truncated { path: path.to_owned() });
        }
        let mut file = file;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut lines = BufReader::new(file.take(bytes));
        let mut log = Self::default();
        let mut line = Vec::new();
        loop {
            let found = bounded::read_line(&mut lines, MAX_LINE, &mut line);
            if found.map_err(unreadable)? == bounded::Line::End {
                return Ok(log);
            }
            let change = parse(&line).ok_or_else(|| IndexError::Damaged {
                path: path.to_owned(),
                what: format!("line {} is not what was written", log.lines + 1),
            })?;
            log.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::File(path, state) => self.ledger.insert_file(path, state),
            Change::Document(id, state) => self.ledger.insert_document(id, state),
            Change::ForgetFile(path) => drop(self.ledger.remove_file(&path)),
            Change::ForgetDocument(id) => drop(self.ledger.remove_document(&id)),
            Change::Root(path, state) => self.ledger.insert_root(path, state),
            Change::ForgetRoot(path) => drop(self.ledger.remove_root(&path)),
            Change::Extent(extent) => self.extents.push(extent),
        }
        self.lines += 1;
    }

    /// Number of lines in a log without obsolete ones.
    fn lines_needed(&self) -> u64 {
        let Self { ledger, extents, .. } = self;
        let states = ledger.files().len() + ledger.documents().len() + ledger.roots().len();
        (states + extents.len()) as u64
    }
}

/// Appends to a log.
pub(crate) struct LogWriter {
    /// The state including all changes, written or not.
    log: Log,
    dir: PathBuf,
    number: u32,
    file: File,
    bytes: u64,
    waiting: Vec<u8>,
}

pub(crate) fn file_name(number: u32) -> String {
    format!("documents-{number}.log")
}

impl LogWriter {
    /// Opens or creates log `number` in `dir` and truncates it to `committed` bytes.
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
        let log = Log::read(&file, &path, committed)?;
        file.set_len(committed).map_err(unwritable)?;
        file.seek(SeekFrom::Start(committed)).map_err(unwritable)?;
        let dir = dir.to_owned();
        Ok(Self { log, dir, number, file, bytes: committed, waiting: Vec::new() })
    }

    /// The ledger including all changes, written or not.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.log.ledger
    }

    pub(crate) fn record_file(&mut self, path: &str, state: FileState) {
        self.add(Change::File(path.to_owned(), state));
    }

    pub(crate) fn record_document(&mut self, id: &str, state: DocumentState) {
        self.add(Change::Document(id.to_owned(), state));
    }

    pub(crate) fn forget_file(&mut self, path: &str) {
        if self.log.ledger.files().contains_key(path) {
            self.add(Change::ForgetFile(path.to_owned()));
        }
    }

    pub(crate) fn forget_document(&mut self, id: &str) {
        if self.log.ledger.documents().contains_key(id) {
            self.add(Change::ForgetDocument(id.to_owned()));
        }
    }

    pub(crate) fn record_root(&mut self, path: &str, state: RootState) {
        if self.log.ledger.roots().get(path) != Some(&state) {
            self.add(Change::Root(path.to_owned(), state));
        }
    }

    pub(crate) fn forget_root(&mut self, path: &str) {
        if self.log.ledger.roots().contains_key(path) {
            self.add(Change::ForgetRoot(path.to_owned()));
        }
    }

    pub(crate) fn record_extent(&mut self, extent: Extent) {
        self.add(Change::Extent(extent));
    }

    fn add(&mut self, change: Change) {
        write_line(&mut self.waiting, &change);
        self.log.apply(change);
    }

    /// Whether any changes are not on disk yet.
    pub(crate) fn has_changes(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Syncs all changes to disk; returns the log's number and its length in bytes, for the commit
    /// payload.
    pub(crate) fn sync(&mut self) -> Result<(u32, u64), IndexError> {
        if self.log.lines > MIN_REWRITTEN && self.log.lines > 4 * self.log.lines_needed() {
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

    /// Starts a new log with the current state. The old one is kept until [`Self::remove_old`].
    fn rewrite(&mut self) -> Result<(), IndexError> {
        let mut next = Self::open(&self.dir, self.number.wrapping_add(1), 0)?;
        for (path, state) in self.log.ledger.files() {
            next.record_file(path, state.clone());
        }
        for (id, state) in self.log.ledger.documents() {
            next.record_document(id, state.clone());
        }
        for (path, state) in self.log.ledger.roots() {
            next.record_root(path, state.clone());
        }
        for extent in &self.log.extents {
            next.record_extent(extent.clone());
        }
        *self = next;
        Ok(())
    }

    /// Removes all other logs, which no commit refers to any more.
    pub(crate) fn remove_old(&self) {
        let current = file_name(self.number);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if is_log(name) && name != current {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn is_log(name: &str) -> bool {
    let number = name.strip_prefix("documents-").and_then(|name| name.strip_suffix(".log"));
    number.is_some()
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

/// Opens a log named by a commit; a missing one is corruption.
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
        DocumentState { hash: format!("h{n}"), chunks: n, tags: Vec::new() }
    }

    fn read(dir: &Path, number: u32, bytes: u64) -> Result<Ledger, IndexError> {
        let path = dir.join(file_name(number));
        Log::read(&open(&path)?, &path, bytes).map(|log| log.ledger)
    }

    #[test]
    fn the_last_change_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(dir.path(), 1, 0).unwrap();
        writer.record_document("/a.md", document(1));
        writer.record_document("/b.jsonl#1", document(2));
        writer.record_document("/a.md", document(4));
        writer.forget_document("/b.jsonl#1");
        writer.forget_document("/nowhere");
        let root = RootState { include: vec!["*.md".to_owned()], ..RootState::default() };
        writer.record_root("/", root.clone());
        writer.record_root("/gone", RootState::default());
        writer.forget_root("/gone");
        let (number, bytes) = writer.sync().unwrap();
        let ledger = read(dir.path(), number, bytes).unwrap();
        assert_eq!(ledger, *writer.ledger());
        assert_eq!(ledger.documents()["/a.md"], document(4));
        assert!(!ledger.documents().contains_key("/b.jsonl#1"));
        assert_eq!(
            ledger.roots().clone().into_iter().collect::<Vec<_>>(),
            [("/".to_owned(), root)]
        );
        // Anything written after a commit is not part of it.
        writer.record_document("/c.md", document(5));
        writer.sync().unwrap();
        assert_eq!(read(dir.path(), number, bytes).unwrap(), ledger);
        assert_eq!(*LogWriter::open(dir.path(), number, bytes).unwrap().ledger(), ledger);
        assert!(matches!(read(dir.path(), number, bytes + 1), Err(IndexError::Truncated { .. })));
    }

    #[test]
    fn no_flipped_byte_goes_unnoticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(dir.path(), 1, 0).unwrap();
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
    fn a_log_of_outdated_changes_is_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(dir.path(), 1, 0).unwrap();
        writer.record_root("/", RootState::default());
        for n in 0..=MIN_REWRITTEN {
            writer.record_document("/a.md", document(n));
        }
        let (number, bytes) = writer.sync().unwrap();
        assert_eq!(number, 2);
        assert!(bytes < 200, "{bytes}");
        assert!(dir.path().join(file_name(1)).exists());
        writer.remove_old();
        assert!(!dir.path().join(file_name(1)).exists());
        assert_eq!(read(dir.path(), number, bytes).unwrap(), *writer.ledger());
    }
}
