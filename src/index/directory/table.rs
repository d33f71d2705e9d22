//! `chunks.bin`: what belongs to a row besides its vector, one record of fixed size a row.
//!
//! Append-only as the vector files are ([`super::flat`]).

use std::collections::HashMap;
use std::path::Path;

use memmap2::Mmap;

use super::flat::{Appender, HEADER, Layout};
use crate::index::IndexError;

/// Key, first token, number of tokens.
const RECORD: usize = 16 + 8 + 4;
const LAYOUT: Layout = Layout { magic: b"RQCHUNKS", number: 0x100, record: RECORD };

/// What was embedded: the beginning of the BLAKE3 hash of the text. Within one index, equal keys
/// mean equal vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// The key of a text for the embedder.
    pub(crate) fn of(text: &str) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Self(key)
    }
}

/// The record of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
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

/// The records of a file, mapped for reading.
pub(crate) struct Table {
    map: Mmap,
}

impl Table {
    /// Maps the first `committed` records of the file at `path`.
    pub(crate) fn open(path: &Path, committed: u64) -> Result<Self, IndexError> {
        Ok(Self { map: LAYOUT.map(path, committed)? })
    }

    /// Number of records.
    pub(crate) fn len(&self) -> u64 {
        ((self.map.len() - HEADER) / RECORD) as u64
    }

    /// The record of `row`, if there is one.
    pub(crate) fn get(&self, row: u64) -> Option<Entry> {
        self.map[HEADER..].as_chunks().0.get(usize::try_from(row).ok()?).map(Entry::from_bytes)
    }

    /// Digest of records `from..to`, as [`TableWriter::digest`] gives it.
    pub(crate) fn digest(&self, from: u64, to: u64) -> Option<blake3::Hash> {
        LAYOUT.digest(&self.map, from, to)
    }
}

/// Appends records, and finds the rows of texts that were embedded before.
pub(crate) struct TableWriter {
    file: Appender,
    rows: u64,
    /// Records by key, read from the file when first asked for.
    known: Option<HashMap<Key, (u64, Entry)>>,
}

impl TableWriter {
    /// Opens the file, or makes it, and cuts it to the `committed` records.
    pub(crate) fn open(path: &Path, committed: u64) -> Result<Self, IndexError> {
        Ok(Self { file: LAYOUT.append(path, committed)?, rows: committed, known: None })
    }

    /// Appends the record of the next row.
    pub(crate) fn append(&mut self, entry: Entry) -> Result<(), IndexError> {
        self.file.write(&entry.to_bytes())?;
        if let Some(known) = &mut self.known {
            known.insert(entry.key, (self.rows, entry));
        }
        self.rows += 1;
        Ok(())
    }

    /// A row that was made from the text with `key`, be its chunk still in the index or not.
    pub(crate) fn find(&mut self, key: Key) -> Result<Option<(u64, Entry)>, IndexError> {
        if self.known.is_none() {
            self.file.flush()?;
            let table = Table::open(&self.file.path, self.rows)?;
            let entries = (0..table.len()).filter_map(|row| Some((row, table.get(row)?)));
            self.known = Some(entries.map(|(row, entry)| (entry.key, (row, entry))).collect());
        }
        Ok(self.known.as_ref().and_then(|known| known.get(&key)).copied())
    }

    /// Puts everything appended so far on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), IndexError> {
        self.file.sync()
    }

    /// Digest of the records appended since this was last called.
    pub(crate) fn digest(&mut self) -> blake3::Hash {
        self.file.digest()
    }
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
