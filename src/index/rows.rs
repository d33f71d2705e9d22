//! A flat append-only file of unit vectors: the dense side of the index.
//!
//! A row is an `f32` scale and `dim` signed bytes, `value = scale * byte`. The file is mapped and
//! scanned exactly: no graph to build, recall 1.0, and an update is an append. Rows past the last
//! commit are left-overs of an interrupted run; the next writer cuts them off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions};

use super::IndexError;

const MAGIC: &[u8; 8] = b"RQROWS\x00\x01";
/// Magic, then the dimension as a little-endian `u32`, then zeros.
const HEADER: usize = 16;
const SCALE: usize = size_of::<f32>();

fn row_bytes(dim: usize) -> usize {
    SCALE + dim
}

/// Where row `rows` would begin; `None` for more rows than any file has.
fn end_of(dim: usize, rows: u64) -> Option<u64> {
    rows.checked_mul(row_bytes(dim) as u64)?.checked_add(HEADER as u64)
}

/// The rows of a file, mapped for reading.
pub struct Rows {
    map: Mmap,
    dim: usize,
}

impl Rows {
    /// Maps the first `committed` rows of the file at `path`, which holds vectors of `dim` values.
    pub fn open(path: &Path, dim: usize, committed: u64) -> Result<Self, IndexError> {
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                IndexError::Damaged { path: path.to_owned(), what: "it is missing".to_owned() }
            }
            _ => IndexError::Unreadable { path: path.to_owned(), source },
        };
        let truncated = || IndexError::Truncated { path: path.to_owned() };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let end = end_of(dim, committed).filter(|&end| end <= length).ok_or_else(truncated)?;
        // SAFETY: writers only append behind the committed rows, or cut off what is behind them.
        // Against other programs' meddling no mapping is safe.
        let map = unsafe { MmapOptions::new().len(end as usize).map(&file) }.map_err(unreadable)?;
        check_header(path, &map, dim)?;
        Ok(Self { map, dim })
    }

    /// Number of rows.
    pub fn len(&self) -> u64 {
        ((self.map.len() - HEADER) / row_bytes(self.dim)) as u64
    }

    /// Dot product of row `row` with `query`, `[dim]`. The row must be below [`Rows::len`].
    pub fn dot(&self, row: u64, query: &[f32]) -> f32 {
        let (scale, bytes) = self.row(row);
        scale * dot(bytes, query)
    }

    /// Row `row` as `[dim]` values.
    pub fn vector(&self, row: u64) -> Vec<f32> {
        let (scale, bytes) = self.row(row);
        bytes.iter().map(|&byte| scale * f32::from(byte.cast_signed())).collect()
    }

    /// Row `row` as it is stored, for [`RowWriter::append_raw`]. The row must be below
    /// [`Rows::len`].
    pub fn raw(&self, row: u64) -> &[u8] {
        let start = HEADER + row as usize * row_bytes(self.dim);
        &self.map[start..start + row_bytes(self.dim)]
    }

    /// Digest of rows `from..to`, as [`RowWriter::digest`] gives it; `None` if there are fewer.
    pub fn digest(&self, from: u64, to: u64) -> Option<blake3::Hash> {
        let (from, to) = (end_of(self.dim, from)? as usize, end_of(self.dim, to)? as usize);
        self.map.get(from..to).map(blake3::hash)
    }

    fn row(&self, row: u64) -> (f32, &[u8]) {
        let start = HEADER + row as usize * row_bytes(self.dim);
        let (scale, bytes) = self.map[start..start + row_bytes(self.dim)].split_at(SCALE);
        (f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]), bytes)
    }
}

/// `sum(row * query)`, in independent lanes so that the compiler can use vector registers.
fn dot(row: &[u8], query: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let mut rows = row.chunks_exact(LANES);
    let mut queries = query.chunks_exact(LANES);
    for (row, query) in rows.by_ref().zip(queries.by_ref()) {
        for lane in 0..LANES {
            sums[lane] += f32::from(row[lane].cast_signed()) * query[lane];
        }
    }
    let rest = rows.remainder().iter().zip(queries.remainder());
    sums.iter().sum::<f32>() + rest.map(|(&r, q)| f32::from(r.cast_signed()) * q).sum::<f32>()
}

/// Appends rows to a file.
pub struct RowWriter {
    file: BufWriter<File>,
    path: PathBuf,
    dim: usize,
    rows: u64,
    appended: blake3::Hasher,
}

impl RowWriter {
    /// Opens the file, or makes it, and cuts it to the `committed` rows.
    pub fn open(path: &Path, dim: usize, committed: u64) -> Result<Self, IndexError> {
        Self::open_file(path, dim, committed)
            .map_err(|source| IndexError::Unwritable { path: path.to_owned(), source })?
    }

    fn open_file(path: &Path, dim: usize, committed: u64) -> io::Result<Result<Self, IndexError>> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        let end = end_of(dim, committed).unwrap_or(u64::MAX);
        if length == 0 && committed == 0 {
            let mut header = [0u8; HEADER];
            header[..8].copy_from_slice(MAGIC);
            header[8..12].copy_from_slice(&(dim as u32).to_le_bytes());
            file.write_all(&header)?;
        } else {
            let mut header = [0u8; HEADER];
            let read = file.read(&mut header)?;
            if let Err(error) = check_header(path, &header[..read], dim) {
                return Ok(Err(error));
            }
            if length < end {
                return Ok(Err(IndexError::Truncated { path: path.to_owned() }));
            }
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
        }
        Ok(Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            dim,
            rows: committed,
            appended: blake3::Hasher::new(),
        }))
    }

    /// Appends `vector`, `[dim]`, and returns its row number.
    pub fn append(&mut self, vector: &[f32]) -> Result<u64, IndexError> {
        debug_assert_eq!(vector.len(), self.dim);
        let largest = vector.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let mut row = Vec::with_capacity(row_bytes(self.dim));
        row.extend_from_slice(&scale.to_le_bytes());
        row.extend(vector.iter().map(|value| ((value / scale).round() as i8).cast_unsigned()));
        self.append_raw(&row)
    }

    /// Appends a row as another file has it ([`Rows::raw`]), and returns its number.
    pub fn append_raw(&mut self, row: &[u8]) -> Result<u64, IndexError> {
        debug_assert_eq!(row.len(), row_bytes(self.dim));
        self.file.write_all(row).map_err(|source| self.unwritable(source))?;
        self.appended.update(row);
        self.rows += 1;
        Ok(self.rows - 1)
    }

    /// Appends `count` rows once more that were appended before, committed or not, and returns the
    /// number of the first copy.
    pub fn copy(&mut self, first: u64, count: u64) -> Result<u64, IndexError> {
        let start = end_of(self.dim, first);
        let (Some(start), true) =
            (start, first.checked_add(count).is_some_and(|end| end <= self.rows))
        else {
            return Err(IndexError::Truncated { path: self.path.clone() });
        };
        let mut rows = vec![0; row_bytes(self.dim) * count as usize];
        let read = |file: &mut BufWriter<File>, rows: &mut [u8]| {
            file.seek(SeekFrom::Start(start))?; // puts out what is buffered
            file.get_mut().read_exact(rows)?;
            file.seek(SeekFrom::End(0))
        };
        read(&mut self.file, &mut rows)
            .map_err(|source| IndexError::Unreadable { path: self.path.clone(), source })?;
        let copy = self.rows;
        for row in rows.chunks_exact(row_bytes(self.dim)) {
            self.append_raw(row)?;
        }
        Ok(copy)
    }

    /// Digest of the rows appended since this was last called.
    pub fn digest(&mut self) -> blake3::Hash {
        std::mem::take(&mut self.appended).finalize()
    }

    /// Number of rows, committed or not.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Puts everything appended so far on the disk.
    pub fn sync(&mut self) -> Result<(), IndexError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: io::Error) -> IndexError {
        IndexError::Unwritable { path: self.path.clone(), source }
    }
}

fn check_header(path: &Path, bytes: &[u8], dim: usize) -> Result<(), IndexError> {
    if bytes.len() < HEADER {
        return Err(IndexError::Truncated { path: path.to_owned() });
    }
    let stored = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    if &bytes[..8] != MAGIC || stored != dim || bytes[12..HEADER] != [0; 4] {
        return Err(IndexError::Damaged {
            path: path.to_owned(),
            what: format!("its header does not announce vectors of {dim} values"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: usize = 20;

    fn vector(seed: usize) -> Vec<f32> {
        (0..DIM).map(|i| ((i * 7 + seed * 13) as f32).sin()).collect()
    }

    #[test]
    fn rows_come_back_within_half_a_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let mut writer = RowWriter::open(&path, DIM, 0).unwrap();
        for seed in 0..5 {
            assert_eq!(writer.append(&vector(seed)).unwrap(), seed as u64);
        }
        writer.sync().unwrap();
        let rows = Rows::open(&path, DIM, 5).unwrap();
        assert_eq!(rows.len(), 5);
        for seed in 0..5 {
            for (stored, value) in rows.vector(seed as u64).iter().zip(vector(seed)) {
                assert!((stored - value).abs() <= 0.5 / 127.0 + 1e-6);
            }
            let exact: f32 = vector(seed).iter().zip(vector(9)).map(|(a, b)| a * b).sum();
            assert!((rows.dot(seed as u64, &vector(9)) - exact).abs() < 0.02);
        }
    }

    #[test]
    fn a_zero_vector_and_extremes_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let mut writer = RowWriter::open(&path, 2, 0).unwrap();
        writer.append(&[0.0, 0.0]).unwrap();
        writer.append(&[-1.0, 1.0]).unwrap();
        writer.sync().unwrap();
        let rows = Rows::open(&path, 2, 2).unwrap();
        assert_eq!(rows.vector(0), [0.0, 0.0]);
        assert_eq!(rows.vector(1), [-1.0, 1.0]);
    }

    #[test]
    fn the_next_writer_cuts_off_uncommitted_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let mut writer = RowWriter::open(&path, DIM, 0).unwrap();
        for seed in 0..4 {
            writer.append(&vector(seed)).unwrap();
        }
        writer.sync().unwrap();
        drop(writer);
        let mut writer = RowWriter::open(&path, DIM, 2).unwrap();
        assert_eq!(writer.append(&vector(7)).unwrap(), 2);
        writer.sync().unwrap();
        assert_eq!(Rows::open(&path, DIM, 3).unwrap().len(), 3);
        assert!(matches!(Rows::open(&path, DIM, 4), Err(IndexError::Truncated { .. })));
        assert!(matches!(Rows::open(&path, DIM, u64::MAX), Err(IndexError::Truncated { .. })));
    }

    #[test]
    fn rows_can_be_copied_and_their_digest_is_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let mut writer = RowWriter::open(&path, DIM, 0).unwrap();
        for seed in 0..3 {
            writer.append(&vector(seed)).unwrap();
        }
        let first = writer.digest();
        assert_eq!(writer.copy(1, 2).unwrap(), 3);
        writer.append(&vector(5)).unwrap();
        assert!(matches!(writer.copy(5, 2), Err(IndexError::Truncated { .. })));
        writer.sync().unwrap();
        let rows = Rows::open(&path, DIM, 6).unwrap();
        assert_eq!(rows.raw(3), rows.raw(1));
        assert_eq!(rows.raw(4), rows.raw(2));
        assert_eq!(rows.digest(0, 3), Some(first));
        assert_eq!(rows.digest(3, 6), Some(writer.digest()));
        assert_eq!(rows.digest(3, 7), None);
    }

    #[test]
    fn truncated_and_foreign_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        std::fs::write(&path, b"RQ").unwrap();
        assert!(matches!(Rows::open(&path, DIM, 0), Err(IndexError::Truncated { .. })));
        std::fs::write(&path, [7u8; 64]).unwrap();
        assert!(matches!(Rows::open(&path, DIM, 0), Err(IndexError::Damaged { .. })));
        assert!(matches!(RowWriter::open(&path, DIM, 0), Err(IndexError::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        RowWriter::open(&path, DIM, 0).unwrap().append(&vector(0)).unwrap();
        assert!(matches!(RowWriter::open(&path, DIM, 3), Err(IndexError::Truncated { .. })));
    }
}
