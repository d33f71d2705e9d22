//! Flat append-only vector files: the dense half of the index.
//!
//! A row is an `f32` scale and `dim` signed bytes: `value = scale · byte`, off by at most 1/254 of the
//! row's largest value. A second file holds four more bits per value, two values per byte, low nibble
//! first: `value = scale · (byte + nibble / 16)`, off by at most 1/4,064. A search scans all of the first file, and reads only the
//! rows it found from the second. Both are little-endian and start with a header.
//!
//! Search is exact, so there is no graph to build and an update is an append. Rows past the last
//! commit are leftovers of an interrupted run; the next writer truncates them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::flat::{Appender, HEADER, RecordLayout};
use crate::compute::SimdLevel;
use crate::compute::dense::scan;
use crate::index::IndexError;

const SCALE: usize = size_of::<f32>();
/// Steps of the low nibble per step of the high byte.
const LOW_STEPS: f32 = 16.0;
/// The largest high byte.
const MAX_HIGH: f32 = 127.0;
/// Larger than any embedder's vectors, and small enough for the 32-bit sums of a scan.
const MAX_DIM: usize = 1 << 16;

/// Layout of the file with scales and high bytes.
fn high(dim: usize) -> RecordLayout {
    RecordLayout { magic: b"RQROWS\x00\x02", number: dim as u32, record: SCALE + dim }
}

/// Layout of the file with low bits.
fn low(dim: usize) -> RecordLayout {
    RecordLayout { magic: b"RQLOWS\x00\x02", number: dim as u32, record: dim.div_ceil(2) }
}

/// Rejects vectors larger than any embedder's.
fn check_size(path: &Path, dim: usize) -> Result<(), IndexError> {
    if dim > MAX_DIM {
        let what = format!("it cannot hold vectors of {dim} values");
        return Err(IndexError::Damaged { path: path.to_owned(), what });
    }
    Ok(())
}

/// Path of the low-bits file next to `path`.
fn low_path(path: &Path) -> PathBuf {
    path.with_extension("low")
}

/// A row in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawVector<'a> {
    high: &'a [u8],
    low: Vec<u8>,
}

/// One digest that covers both files.
fn both(high: blake3::Hash, low: blake3::Hash) -> blake3::Hash {
    blake3::hash(&[*high.as_bytes(), *low.as_bytes()].concat())
}

/// A memory-mapped vector file.
pub struct VectorFile {
    map: Mmap,
    /// Not mapped: a search reads a few values here and there, and each would keep a page resident.
    low: File,
    dim: usize,
}

impl VectorFile {
    /// Opens the first `committed` rows at `path`, vectors of `dim` values each.
    pub fn open(path: &Path, dim: usize, committed: u64) -> Result<Self, IndexError> {
        check_size(path, dim)?;
        let map = high(dim).map(path, committed)?;
        let (low, _) = low(dim).open(&low_path(path), committed)?;
        Ok(Self { map, low, dim })
    }

    pub fn len(&self) -> u64 {
        ((self.map.len() - HEADER) / high(self.dim).record) as u64
    }

    /// Dot product of row `row` with `query`, `[dim]`. The row must be below [`VectorFile::len`].
    pub fn dot(&self, row: u64, query: &[f32]) -> f32 {
        let (scale, high) = self.row(row);
        let low = self.low(row).map_or(0.0, |low| dot(&low, query) / LOW_STEPS);
        scale * (dot(high, query) + low)
    }

    /// Row `row` as `[dim]` values. The row must be below [`VectorFile::len`].
    pub fn vector(&self, row: u64) -> Vec<f32> {
        let (scale, high) = self.row(row);
        let mut values: Vec<f32> =
            high.iter().map(|&byte| scale * f32::from(byte.cast_signed())).collect();
        for (value, four) in values.iter_mut().zip(self.low(row).into_iter().flatten()) {
            *value += scale * (f32::from(four.cast_signed()) / LOW_STEPS);
        }
        values
    }

    /// Row `row` in stored form, for [`VectorFileWriter::append_raw`]; `None` if it cannot be read.
    /// The row must be below [`VectorFile::len`].
    pub fn raw(&self, row: u64) -> Option<RawVector<'_>> {
        let layout = high(self.dim);
        let start = HEADER + row as usize * layout.record;
        let (of_low, high) = (low(self.dim), self.map.get(start..start + layout.record)?);
        let mut low = vec![0; of_low.record];
        read_at(&self.low, &mut low, of_low.end(row)?).ok()?;
        Some(RawVector { high, low })
    }

    /// Digest of rows `from..to`, matching [`VectorFileWriter::digest`]; `None` if they cannot be
    /// read.
    pub fn digest(&self, from: u64, to: u64) -> Option<blake3::Hash> {
        const BLOCK: u64 = 1 << 20;
        let high = high(self.dim).digest(&self.map, from, to)?;
        let layout = low(self.dim);
        let (mut start, end) = (layout.end(from)?, layout.end(to)?);
        let mut low = blake3::Hasher::new();
        while start < end {
            let mut block = vec![0; BLOCK.min(end - start) as usize];
            read_at(&self.low, &mut block, start).ok()?;
            low.update(&block);
            start += block.len() as u64;
        }
        Some(both(high, low.finalize()))
    }

    /// Writes the dot products of `query` with the rows from `first` onwards into `scores`, using
    /// only their high bytes. The rows must be below [`VectorFile::len`].
    pub fn scan(&self, level: SimdLevel, query: &scan::Query, first: u64, scores: &mut [f32]) {
        const BLOCK: usize = 64;
        let stride = high(self.dim).record;
        let mut products = [0i32; BLOCK];
        let rows = &self.map[HEADER + first as usize * stride..];
        for (rows, scores) in rows.chunks(BLOCK * stride).zip(scores.chunks_mut(BLOCK)) {
            let products = &mut products[..scores.len()];
            query.products(level, &rows[SCALE..], stride, products);
            let scales = rows.chunks_exact(stride).map(scale);
            for ((score, &product), scale) in scores.iter_mut().zip(&*products).zip(scales) {
                *score = product as f32 * query.scale() * scale;
            }
        }
    }

    fn row(&self, row: u64) -> (f32, &[u8]) {
        let layout = high(self.dim);
        let start = HEADER + row as usize * layout.record;
        let row = &self.map[start..start + layout.record];
        (scale(row), &row[SCALE..])
    }

    /// The low bits of a row as signed bytes. A read error costs only precision.
    fn low(&self, row: u64) -> Option<Vec<u8>> {
        let layout = low(self.dim);
        let mut bytes = vec![0u8; layout.record];
        let start = HEADER as u64 + row * layout.record as u64;
        read_at(&self.low, &mut bytes, start).ok()?;
        let signed = |four: u8| ((four << 4).cast_signed() >> 4).cast_unsigned();
        let mut low: Vec<u8> =
            bytes.iter().flat_map(|&two| [signed(two), signed(two >> 4)]).collect();
        low.truncate(self.dim);
        Some(low)
    }
}

fn scale(row: &[u8]) -> f32 {
    f32::from_le_bytes([row[0], row[1], row[2], row[3]])
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut start: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, start)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        start += read as u64;
    }
    Ok(())
}

/// `sum(row * query)`, in independent lanes so that the compiler can vectorize it.
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

/// Appends vectors to a file.
pub struct VectorFileWriter {
    high: Appender,
    low: Appender,
    dim: usize,
    rows: u64,
}

impl VectorFileWriter {
    /// Opens or creates the file at `path` and truncates it to `committed` rows.
    pub fn open(path: &Path, dim: usize, committed: u64) -> Result<Self, IndexError> {
        check_size(path, dim)?;
        let high = high(dim).append(path, committed)?;
        let low = low(dim).append(&low_path(path), committed)?;
        Ok(Self { high, low, dim, rows: committed })
    }

    /// Appends `vector`, `[dim]`, and returns its row number.
    pub fn append(&mut self, vector: &[f32]) -> Result<u64, IndexError> {
        debug_assert_eq!(vector.len(), self.dim);
        let largest = vector.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / MAX_HIGH } else { 1.0 };
        let max = MAX_HIGH * LOW_STEPS;
        let code = |value: &f32| (value / scale * LOW_STEPS).round().clamp(-max, max) as i32;
        let codes: Vec<i32> = vector.iter().map(code).collect();
        // Round the high byte so that it is as accurate as possible on its own; the remainder, as a
        // signed nibble, refines it.
        let mut row = scale.to_le_bytes().to_vec();
        row.extend(codes.iter().map(|code| ((code + 8) >> 4) as u8));
        self.high.write(&row)?;
        let four = |code: Option<&i32>| code.map_or(0, |&code| code as u8 & 15);
        let low: Vec<u8> =
            codes.chunks(2).map(|two| four(two.first()) | four(two.get(1)) << 4).collect();
        self.low.write(&low)?;
        self.rows += 1;
        Ok(self.rows - 1)
    }

    /// Appends a row copied verbatim from another file with the same layout.
    pub fn append_raw(&mut self, row: &RawVector<'_>) -> Result<(), IndexError> {
        self.high.write(row.high)?;
        self.low.write(&row.low)?;
        self.rows += 1;
        Ok(())
    }

    /// Appends copies of `count` rows of this file, committed or not, and returns the row number of
    /// the first copy.
    pub fn copy(&mut self, first: u64, count: u64) -> Result<u64, IndexError> {
        let is_there = first.checked_add(count).is_some_and(|end| end <= self.rows);
        let files = [(&mut self.high, high(self.dim)), (&mut self.low, low(self.dim))];
        for (file, layout) in files {
            let Some(start) = layout.end(first).filter(|_| is_there) else {
                return Err(IndexError::Truncated { path: file.path.clone() });
            };
            file.copy(start, layout.record * count as usize)?;
        }
        self.rows += count;
        Ok(self.rows - count)
    }

    /// Digest of the rows appended since the previous call.
    pub fn digest(&mut self) -> blake3::Hash {
        both(self.high.digest(), self.low.digest())
    }

    /// Number of rows, including uncommitted ones.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Syncs all appended rows to disk.
    pub fn sync(&mut self) -> Result<(), IndexError> {
        self.high.sync()?;
        self.low.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: usize = 21;

    fn vector(seed: usize) -> Vec<f32> {
        (0..DIM).map(|i| ((i * 7 + seed * 13) as f32).sin()).collect()
    }

    fn write(path: &Path, vectors: &[Vec<f32>]) -> VectorFile {
        let dim = vectors[0].len();
        let mut writer = VectorFileWriter::open(path, dim, 0).unwrap();
        for (row, vector) in (0..).zip(vectors) {
            assert_eq!(writer.append(vector).unwrap(), row);
        }
        assert_eq!(writer.len(), vectors.len() as u64);
        writer.sync().unwrap();
        VectorFile::open(path, dim, vectors.len() as u64).unwrap()
    }

    #[test]
    fn rows_come_back_within_half_a_step() {
        let step = 1.0 / 2_032.0;
        let dir = tempfile::tempdir().unwrap();
        let vectors: Vec<Vec<f32>> = (0..5).map(vector).collect();
        let rows = write(&dir.path().join("rows"), &vectors);
        assert_eq!(rows.len(), 5);
        for (row, vector) in (0..).zip(&vectors) {
            for (stored, value) in rows.vector(row).iter().zip(vector) {
                assert!((stored - value).abs() <= 0.5 * step + 1e-6);
            }
            let query = self::vector(9);
            let exact: f32 = vector.iter().zip(&query).map(|(a, b)| a * b).sum();
            assert!((rows.dot(row, &query) - exact).abs() < 3.0 * step);
        }
    }

    #[test]
    fn rows_can_be_copied_and_their_digest_is_that_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("rows"), dir.path().join("other"));
        let mut writer = VectorFileWriter::open(&path, DIM, 0).unwrap();
        for seed in 0..3 {
            writer.append(&vector(seed)).unwrap();
        }
        let first = writer.digest();
        assert_eq!(writer.copy(1, 2).unwrap(), 3);
        writer.append(&vector(5)).unwrap();
        assert!(matches!(writer.copy(5, 2), Err(IndexError::Truncated { .. })));
        writer.sync().unwrap();
        let rows = VectorFile::open(&path, DIM, 6).unwrap();
        assert_eq!(rows.vector(3), rows.vector(1));
        assert_eq!(rows.raw(4), rows.raw(2));
        assert_eq!(rows.digest(0, 3), Some(first));
        assert_eq!(rows.digest(3, 6), Some(writer.digest()));
        assert_eq!(rows.digest(3, 7), None);
        let mut copy = VectorFileWriter::open(&other, DIM, 0).unwrap();
        copy.append_raw(&rows.raw(5).unwrap()).unwrap();
        copy.sync().unwrap();
        assert_eq!(VectorFile::open(&other, DIM, 1).unwrap().vector(0), rows.vector(5));
    }

    #[test]
    fn a_zero_vector_and_extremes_survive() {
        let dir = tempfile::tempdir().unwrap();
        let tiny = f32::from_bits(1);
        let vectors = [[0.0, 0.0], [-1.0, 1.0], [f32::INFINITY, 1.0], [f32::NAN, 2.0], [tiny, 0.0]];
        let rows = write(&dir.path().join("rows"), &vectors.map(Vec::from));
        assert_eq!(rows.vector(0), [0.0, 0.0]);
        assert_eq!(rows.vector(1), [-1.0, 1.0]);
        assert_eq!(rows.vector(3), [0.0, 2.0]);
        assert_eq!(rows.dot(1, &[0.25, 0.5]), 0.25);
    }

    #[test]
    fn a_scan_finds_what_high_bytes_and_a_rounded_query_give() {
        let dir = tempfile::tempdir().unwrap();
        let vectors: Vec<Vec<f32>> = (0..201).map(vector).collect();
        let rows = write(&dir.path().join("rows"), &vectors);
        let query = vector(500);
        for level in SimdLevel::all_of_test("scan of an index's rows") {
            for (first, count) in [(0, 201), (7, 130), (200, 1), (201, 0)] {
                let mut scores = vec![f32::NAN; count];
                rows.scan(level, &scan::Query::new(&query), first, &mut scores);
                for (row, score) in (first..).zip(scores) {
                    assert!((score - rows.dot(row, &query)).abs() < 0.05, "{level:?} {row}");
                }
            }
        }
    }

    #[test]
    fn the_next_writer_cuts_off_uncommitted_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        drop(write(&path, &[vector(0), vector(1), vector(2), vector(3)]));
        let mut writer = VectorFileWriter::open(&path, DIM, 2).unwrap();
        assert_eq!(writer.append(&vector(7)).unwrap(), 2);
        writer.sync().unwrap();
        let open = |committed| VectorFile::open(&path, DIM, committed);
        let rows = open(3).unwrap();
        assert_eq!(rows.len(), 3);
        assert!((rows.vector(2)[3] - vector(7)[3]).abs() < 1e-3);
        assert!(matches!(open(4), Err(IndexError::Truncated { .. })));
        assert!(matches!(open(u64::MAX), Err(IndexError::Truncated { .. })));
    }

    #[test]
    fn truncated_and_foreign_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.i8");
        let open = |committed| VectorFile::open(&path, DIM, committed);
        let append = |committed| VectorFileWriter::open(&path, DIM, committed);
        assert!(matches!(open(0), Err(IndexError::Damaged { .. })));
        std::fs::write(&path, b"RQ").unwrap();
        assert!(matches!(open(0), Err(IndexError::Truncated { .. })));
        std::fs::write(&path, [7u8; 64]).unwrap();
        assert!(matches!(open(0), Err(IndexError::Damaged { .. })));
        assert!(matches!(append(0), Err(IndexError::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        append(0).unwrap().append(&vector(0)).unwrap();
        assert!(matches!(append(3), Err(IndexError::Truncated { .. })));
        assert!(open(1).is_ok());
        let low = dir.path().join("rows.low");
        File::options().write(true).open(&low).unwrap().set_len(HEADER as u64 + 3).unwrap();
        assert!(matches!(open(1), Err(IndexError::Truncated { path }) if path == low));
        std::fs::remove_file(&low).unwrap();
        assert!(matches!(open(1), Err(IndexError::Damaged { path, .. }) if path == low));
    }
}
