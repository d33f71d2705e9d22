//! `chunks.bin`: per-row metadata, one fixed-size record per row.
//!
//! Append-only, like the vector files ([`super::flat`]).

use std::collections::HashMap;
use std::path::Path;

use memmap2::Mmap;

use super::flat::{Appender, HEADER, RecordLayout};
use crate::index::IndexError;

/// In bytes: key, first token, token count.
const RECORD: usize = 16 + 8 + 4;
const LAYOUT: RecordLayout = RecordLayout { magic: b"RQCHUNKS", number: 0x100, record: RECORD };

/// Identifies an embedded text by a prefix of its BLAKE3 hash. Within one index, equal keys imply
/// equal vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TextKey([u8; 16]);

impl TextKey {
    /// The key of the text passed to the embedder.
    pub(crate) fn of(text: &str) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Self(key)
    }
}

/// Metadata of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRecord {
    pub key: TextKey,
    /// First row in the token file.
    pub first_token: u64,
    /// Number of rows in the token file.
    pub tokens: u32,
}

impl ChunkRecord {
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
            key: TextKey(key),
            first_token: u64::from_le_bytes(first),
            tokens: u32::from_le_bytes(tokens),
        }
    }
}

/// A memory-mapped chunk table.
pub(crate) struct ChunkTable {
    map: Mmap,
}

impl ChunkTable {
    /// Maps the first `committed` records of the file at `path`.
    pub(crate) fn open(path: &Path, committed: u64) -> Result<Self, IndexError> {
        Ok(Self { map: LAYOUT.map(path, committed)? })
    }

    pub(crate) fn len(&self) -> u64 {
        ((self.map.len() - HEADER) / RECORD) as u64
    }

    /// The record of `row`, if it exists.
    pub(crate) fn get(&self, row: u64) -> Option<ChunkRecord> {
        self.map[HEADER..]
            .as_chunks()
            .0
            .get(usize::try_from(row).ok()?)
            .map(ChunkRecord::from_bytes)
    }

    /// Digest of records `from..to`, matching [`ChunkTableWriter::digest`].
    pub(crate) fn digest(&self, from: u64, to: u64) -> Option<blake3::Hash> {
        LAYOUT.digest(&self.map, from, to)
    }
}

/// Appends records, and finds rows of texts that were embedded before.
pub(crate) struct ChunkTableWriter {
    file: Appender,
    rows: u64,
    /// Rows and records by key, loaded on first use.
    known: Option<HashMap<TextKey, (u64, ChunkRecord)>>,
}

impl ChunkTableWriter {
    /// Opens or creates the file and truncates it to `committed` records.
    pub(crate) fn open(path: &Path, committed: u64) -> Result<Self, IndexError> {
        Ok(Self { file: LAYOUT.append(path, committed)?, rows: committed, known: None })
    }

    /// Appends the record of the next row.
    pub(crate) fn append(&mut self, record: ChunkRecord) -> Result<(), IndexError> {
        self.file.write(&record.to_bytes())?;
        if let Some(known) = &mut self.known {
            known.insert(record.key, (self.rows, record));
        }
        self.rows += 1;
        Ok(())
    }

    /// A row embedded from the text with `key`, even if its chunk has been removed.
    pub(crate) fn find(&mut self, key: TextKey) -> Result<Option<(u64, ChunkRecord)>, IndexError> {
        if self.known.is_none() {
            self.file.flush()?;
            let table = ChunkTable::open(&self.file.path, self.rows)?;
            let records = (0..table.len()).filter_map(|row| Some((row, table.get(row)?)));
            self.known = Some(records.map(|(row, record)| (record.key, (row, record))).collect());
        }
        Ok(self.known.as_ref().and_then(|known| known.get(&key)).copied())
    }

    /// Syncs all appended records to disk.
    pub(crate) fn sync(&mut self) -> Result<(), IndexError> {
        self.file.sync()
    }

    /// Digest of the records appended since the previous call.
    pub(crate) fn digest(&mut self) -> blake3::Hash {
        self.file.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> ChunkRecord {
        ChunkRecord { key: TextKey::of(&n.to_string()), first_token: u64::from(n) << 33, tokens: n }
    }

    #[test]
    fn records_come_back_and_are_found_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.bin");
        let mut writer = ChunkTableWriter::open(&path, 0).unwrap();
        for n in 0..4 {
            writer.append(record(n)).unwrap();
        }
        assert_eq!(writer.find(TextKey::of("2")).unwrap(), Some((2, record(2))));
        writer.append(record(4)).unwrap();
        assert_eq!(writer.find(TextKey::of("4")).unwrap(), Some((4, record(4))));
        assert_eq!(writer.find(TextKey::of("5")).unwrap(), None);
        writer.sync().unwrap();
        let table = ChunkTable::open(&path, 5).unwrap();
        assert_eq!(table.len(), 5);
        assert_eq!(table.get(3), Some(record(3)));
        assert_eq!(table.get(5), None);
        assert_eq!(table.digest(0, 5), Some(writer.digest()));
        assert_eq!(table.digest(0, 6), None);
    }

    #[test]
    fn the_next_writer_cuts_off_uncommitted_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.bin");
        let mut writer = ChunkTableWriter::open(&path, 0).unwrap();
        for n in 0..4 {
            writer.append(record(n)).unwrap();
        }
        writer.sync().unwrap();
        let mut writer = ChunkTableWriter::open(&path, 2).unwrap();
        assert_eq!(writer.find(TextKey::of("3")).unwrap(), None);
        writer.append(record(7)).unwrap();
        writer.sync().unwrap();
        assert_eq!(ChunkTable::open(&path, 3).unwrap().get(2), Some(record(7)));
        assert!(matches!(ChunkTable::open(&path, 4), Err(IndexError::Truncated { .. })));
        assert!(matches!(ChunkTable::open(&path, u64::MAX), Err(IndexError::Truncated { .. })));
    }

    #[test]
    fn foreign_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.bin");
        assert!(matches!(ChunkTable::open(&path, 0), Err(IndexError::Damaged { .. })));
        std::fs::write(&path, b"RQ").unwrap();
        assert!(matches!(ChunkTable::open(&path, 0), Err(IndexError::Truncated { .. })));
        assert!(matches!(ChunkTableWriter::open(&path, 0), Err(IndexError::Truncated { .. })));
        std::fs::write(&path, [7; 64]).unwrap();
        assert!(matches!(ChunkTable::open(&path, 0), Err(IndexError::Damaged { .. })));
        assert!(matches!(ChunkTableWriter::open(&path, 0), Err(IndexError::Damaged { .. })));
    }
}
