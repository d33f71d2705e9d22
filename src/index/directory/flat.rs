//! Append-only files of fixed-size records, with a header.
//!
//! Records past the last commit are leftovers of an interrupted run; the next writer truncates
//! them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::index::IndexError;
use crate::support::mmap;

/// Magic, a little-endian `u32`, zero padding.
pub(crate) const HEADER: usize = 16;

/// The layout of a record file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordLayout {
    pub magic: &'static [u8; 8],
    /// Stored after the magic: a vector size or a format version.
    pub number: u32,
    /// Record size in bytes.
    pub record: usize,
}

impl RecordLayout {
    /// Offset at which record `count` would start; `None` on overflow.
    pub(crate) fn end(self, count: u64) -> Option<u64> {
        count.checked_mul(self.record as u64)?.checked_add(HEADER as u64)
    }

    fn header(self) -> [u8; HEADER] {
        let mut header = [0u8; HEADER];
        header[..8].copy_from_slice(self.magic);
        header[8..12].copy_from_slice(&self.number.to_le_bytes());
        header
    }

    fn check(self, path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
        if bytes.len() < HEADER {
            return Err(IndexError::Truncated { path: path.to_owned() });
        }
        if bytes[..HEADER] != self.header() {
            let what = format!("its header does not announce records of {} bytes", self.record);
            return Err(IndexError::Damaged { path: path.to_owned(), what });
        }
        Ok(())
    }

    /// Opens a file with at least `count` records for reading; also returns the offset where they
    /// end.
    pub(crate) fn open(self, path: &Path, count: u64) -> Result<(File, usize), IndexError> {
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                IndexError::Damaged { path: path.to_owned(), what: "it is missing".to_owned() }
            }
            _ => IndexError::Unreadable { path: path.to_owned(), source },
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut header = Vec::with_capacity(HEADER);
        (&mut file).take(HEADER as u64).read_to_end(&mut header).map_err(unreadable)?;
        self.check(path, &header)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let end = self.end(count).filter(|&end| end <= length);
        let end = end.ok_or_else(|| IndexError::Truncated { path: path.to_owned() })?;
        Ok((file, end as usize))
    }

    /// Opens or creates a file for appending and truncates it to `count` records.
    pub(crate) fn append(self, path: &Path, count: u64) -> Result<Appender, IndexError> {
        let unwritable =
            |source: io::Error| IndexError::Unwritable { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(unwritable)?;
        let length = file.metadata().map_err(unwritable)?.len();
        if length == 0 && count == 0 {
            file.write_all(&self.header()).map_err(unwritable)?;
        } else {
            let mut header = Vec::with_capacity(HEADER);
            (&mut file).take(HEADER as u64).read_to_end(&mut header).map_err(unwritable)?;
            self.check(path, &header)?;
            let end = self.end(count).filter(|&end| end <= length);
            let end = end.ok_or_else(|| IndexError::Truncated { path: path.to_owned() })?;
            file.set_len(end).map_err(unwritable)?;
            file.seek(SeekFrom::Start(end)).map_err(unwritable)?;
        }
        Ok(Appender {
            file: BufWriter::new(file),
            path: path.to_owned(),
            appended: blake3::Hasher::new(),
        })
    }

    /// Maps the header and the first `count` records.
    pub(crate) fn map(self, path: &Path, count: u64) -> Result<Mmap, IndexError> {
        let (file, end) = self.open(path, count)?;
        // Writers only append after the committed records, or truncate what follows them.
        mmap::map_start(&file, end)
            .map_err(|source| IndexError::Unreadable { path: path.to_owned(), source })
    }

    /// Digest of records `from..to` of a mapping, matching [`Appender::digest`]; `None` if it has
    /// fewer.
    pub(crate) fn digest(self, map: &[u8], from: u64, to: u64) -> Option<blake3::Hash> {
        map.get(self.end(from)? as usize..self.end(to)? as usize).map(blake3::hash)
    }
}

/// A file opened for appending.
pub(crate) struct Appender {
    file: BufWriter<File>,
    pub path: PathBuf,
    /// Hash of everything written since the last digest.
    appended: blake3::Hasher,
}

impl Appender {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.appended.update(bytes);
        self.file.write_all(bytes).map_err(|source| self.unwritable(source))
    }

    /// Appends a copy of the `length` bytes at `start`.
    pub(crate) fn copy(&mut self, start: u64, length: usize) -> Result<(), IndexError> {
        let mut bytes = vec![0; length];
        let read = |file: &mut BufWriter<File>, bytes: &mut [u8]| {
            // Seeking flushes the buffer first.
            file.seek(SeekFrom::Start(start))?;
            file.get_mut().read_exact(bytes)?;
            file.seek(SeekFrom::End(0))
        };
        read(&mut self.file, &mut bytes)
            .map_err(|source| IndexError::Unreadable { path: self.path.clone(), source })?;
        self.write(&bytes)
    }

    /// Digest of what was written since the previous call.
    pub(crate) fn digest(&mut self) -> blake3::Hash {
        std::mem::take(&mut self.appended).finalize()
    }

    /// Flushes buffered writes to the OS, so that readers see them.
    pub(crate) fn flush(&mut self) -> Result<(), IndexError> {
        self.file.flush().map_err(|source| self.unwritable(source))
    }

    /// Syncs all writes to disk.
    pub(crate) fn sync(&mut self) -> Result<(), IndexError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: io::Error) -> IndexError {
        IndexError::Unwritable { path: self.path.clone(), source }
    }
}
