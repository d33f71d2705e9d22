//! `chunks.bin`: what belongs to a row besides its vector, one record of fixed size a row.
//!
//! Append-only as the vector files are: records behind the last commit are left-overs, which the
//! next writer cuts off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions};

use super::IndexError;

const MAGIC: &[u8; 16] = b"RQCHUNKS\x00\x01\0\0\0\0\0\0";
const HEADER: usize = MAGIC.len();
/// Key, first token, number of tokens.
const RECORD: usize = 16 + 8 + 4;

/// What was embedded: the beginning of the BLAKE3 hash of the text. Within one index, equal keys
/// mean equal vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// The key of a text for the embedder.
    pub(super) fn of(text: &str) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Self(key)
    }
}

/// The record of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: Key,
    /// First row in the token file, and number of rows.
    pub first_token: u64,
    pub tokens: u32,
}

impl Entry {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&self.key.0);
        bytes[16..24].copy_from_slice(&self.first_token.to_le_bytes());
        bytes[24..].copy_from_slice(&self.tokens.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD]) -> Self {
        let (mut key, mut first, mut tokens) = ([0; 16], [0; 8], [0; 4]);
        key.copy_from_slice(&bytes[..16]);
        first.copy_from_slice(&bytes[16..24]);
        tokens.copy_from_slice(&bytes[24..]);
        Self {
            key: Key(key),
            first_token: u64::from_le_bytes(first),
            tokens: u32::from_le_bytes(tokens),
        }
    }
}

/// Where record `rows` would begin; `None` for more than any file has.
fn end_of(rows: u64) -> Option<u64> {
    rows.checked_mul(RECORD as u64)?.checked_add(HEADER as u64)
}

/// The records of a file, mapped for reading.
pub(super) struct Table {
    map: Mmap,
}

impl Table {
    /// Maps the first `committed` records of the file at `path`.
    pub(super) fn open(path: &Path, committed: u64) -> Result<Self, IndexError> {
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                IndexError::Damaged { path: path.to_owned(), what: "it is missing".to_owned() }
            }
            _ => IndexError::Unreadable { path: path.to_owned(), source },
        };
        let truncated = || IndexError::Truncated { path: path.to_owned() };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let end = end_of(committed).filter(|&end| end <= length).ok_or_else(truncated)?;
        // SAFETY: writers only append behind the committed records, or cut off what is behind
        // them. Against other programs' meddling no mapping is safe.
        let map = unsafe { MmapOptions::new().len(end as usize).map(&file) }.map_err(unreadable)?;
        check_header(path, &map)?;
        Ok(Self { map })
    }

    /// Number of records.
    pub(super) fn len(&self) -> u64 {
        ((self.map.len() - HEADER) / RECORD) as u64
    }

    /// The record of `row`, if there is one.
    pub(super) fn get(&self, row: u64) -> Option<Entry> {
        self.map[HEADER..].as_chunks().0.get(usize::try_from(row).ok()?).map(Entry::from_bytes)
    }

    /// Digest of records `from..to`, as [`TableWriter::digest`] gives it.
    pub(super) fn digest(&self, from: u64, to: u64) -> Option<blake3::Hash> {
        let (from, to) = (end_of(from)? as usize, end_of(to)? as usize);
        self.map.get(from..to).map(blake3::hash)
    }
}

/// Appends records, and finds the rows of texts that were embedded before.
pub(super) struct TableWriter {
    file: BufWriter<File>,
    path: PathBuf,
    rows: u64,
    appended: blake3::Hasher,
    /// Records by key, read from the file when first asked for.
    known: Option<HashMap<Key, (u64, Entry)>>,
}

impl TableWriter {
    /// Opens the file, or makes it, and cuts it to the `committed` records.
    pub(super) fn open(path: &Path, committed: u64) -> Result<Self, IndexError> {
        let open = || -> io::Result<Result<File, IndexError>> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let length = file.metadata()?.len();
            if length == 0 && committed == 0 {
                file.write_all(MAGIC)?;
                return Ok(Ok(file));
            }
            let mut header = Vec::with_capacity(HEADER);
            (&mut file).take(HEADER as u64).read_to_end(&mut header)?;
            if let Err(error) = check_header(path, &header) {
                return Ok(Err(error));
            }
            let Some(end) = end_of(committed).filter(|&end| end <= length) else {
                return Ok(Err(IndexError::Truncated { path: path.to_owned() }));
            };
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            Ok(Ok(file))
        };
        let file =
            open().map_err(|source| IndexError::Unwritable { path: path.to_owned(), source })??;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            rows: committed,
            appended: blake3::Hasher::new(),
            known: None,
        })
    }

    /// Appends the record of the next row.
    pub(super) fn append(&mut self, entry: Entry) -> Result<(), IndexError> {
        let bytes = entry.to_bytes();
        self.file.write_all(&bytes).map_err(|source| self.unwritable(source))?;
        self.appended.update(&bytes);
        if let Some(known) = &mut self.known {
            known.insert(entry.key, (self.rows, entry));
        }
        self.rows += 1;
        Ok(())
    }

    /// A row that was made from the text with `key`, be its chunk still in the index or not.
    pub(super) fn find(&mut self, key: Key) -> Result<Option<(u64, Entry)>, IndexError> {
        if self.known.is_none() {
            self.file.flush().map_err(|source| self.unwritable(source))?;
            let table = Table::open(&self.path, self.rows)?;
            let entries = (0..table.len()).filter_map(|row| Some((row, table.get(row)?)));
            self.known = Some(entries.map(|(row, entry)| (entry.key, (row, entry))).collect());
        }
        Ok(self.known.as_ref().and_then(|known| known.get(&key)).copied())
    }

    /// Puts everything appended so far on the disk.
    pub(super) fn sync(&mut self) -> Result<(), IndexError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(|source| self.unwritable(source))
    }

    /// Digest of the records appended since this was last called.
    pub(super) fn digest(&mut self) -> blake3::Hash {
        std::mem::take(&mut self.appended).finalize()
    }

    fn unwritable(&self, source: io::Error) -> IndexError {
        IndexError::Unwritable { path: self.path.clone(), source }
    }
}

fn check_header(path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
    if bytes.len() < HEADER {
        return Err(IndexError::Truncated { path: path.to_owned() });
    }
    if &bytes[..HEADER] != MAGIC {
        return Err(IndexError::Damaged {
            path: path.to_owned(),
            what: "its header is not that of a table of chunks".to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> Entry {
        Entry { key: Key::of(&n.to_string()), first_token: u64::from(n) << 33, tokens: n }
    }

    #[test]
    fn records_come_back_and_are_found_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.bin");
        let mut writer = TableWriter::open(&path, 0).unwrap();
        for n in 0..4 {
            writer.append(entry(n)).unwrap();
        }
        assert_eq!(writer.find(Key::of("2")).unwrap(), Some((2, entry(2))));
        writer.append(entry(4)).unwrap();
        assert_eq!(writer.find(Key::of("4")).unwrap(), Some((4, entry(4))));
        assert_eq!(writer.find(Key::of("5")).unwrap(), None);
        writer.sync().unwrap();
        let table = Table::open(&path, 5).unwrap();
        assert_eq!(table.len(), 5);
        assert_eq!(table.get(3), Some(entry(3)));
        assert_eq!(table.get(5), None);
        assert_eq!(table.digest(0, 5), Some(writer.digest()));
        assert_eq!(table.digest(0, 6), None);
    }

    #[test]
    fn the_next_writer_cuts_off_uncommitted_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.bin");
        let mut writer = TableWriter::open(&path, 0).unwrap();
        (0..4).for_each(|n| writer.append(entry(n)).unwrap());
        writer.sync().unwrap();
        let mut writer = TableWriter::open(&path, 2).unwrap();
        assert_eq!(writer.find(Key::of("3")).unwrap(), None);
        writer.append(entry(7)).unwrap();
        writer.sync().unwrap();
        assert_eq!(Table::open(&path, 3).unwrap().get(2), Some(entry(7)));
        assert!(matches!(Table::open(&path, 4), Err(IndexError::Truncated { .. })));
        assert!(matches!(Table::open(&path, u64::MAX), Err(IndexError::Truncated { .. })));
    }

    #[test]
    fn foreign_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.bin");
        assert!(matches!(Table::open(&path, 0), Err(IndexError::Damaged { .. })));
        std::fs::write(&path, b"RQ").unwrap();
        assert!(matches!(Table::open(&path, 0), Err(IndexError::Truncated { .. })));
        assert!(matches!(TableWriter::open(&path, 0), Err(IndexError::Truncated { .. })));
        std::fs::write(&path, [7; 64]).unwrap();
        assert!(matches!(Table::open(&path, 0), Err(IndexError::Damaged { .. })));
        assert!(matches!(TableWriter::open(&path, 0), Err(IndexError::Damaged { .. })));
    }
}
