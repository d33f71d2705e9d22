//! Exact search: scores all rows by their high bytes, then rescores the best at full precision.

use std::sync::{Mutex, PoisonError};

use super::vector_file::VectorFile;
use crate::compute::dense::scan;
use crate::compute::{SimdLevel, pool};
use crate::index::api::best_first;

/// Rows scored per block: rows and scores fit in a core's private cache.
const BLOCK: usize = 256;

/// Rows to rescore at full precision for `limit` hits. Rounding changes a score by about 6e-4 (one
/// standard deviation, unit vectors of 384 values), and few rows are that close to the last hit.
fn candidates(limit: usize) -> usize {
    limit.saturating_mul(4).saturating_add(64)
}

pub type Scored = (u64, f32);

/// The `limit` rows with the largest dot products with `query`, `[dim]`, best first, among the rows
/// for which `is_live` is true. Runs on all cores; the result does not depend on their number.
pub fn nearest(
    rows: &VectorFile,
    query: &[f32],
    limit: usize,
    is_live: impl Fn(u64) -> bool + Sync,
) -> Vec<Scored> {
    let level = SimdLevel::detect();
    let codes = scan::Query::new(query);
    let found = Mutex::new(Best::new(candidates(limit)));
    let count = rows.len() as usize;
    pool::parallel_for(count.div_ceil(BLOCK), |blocks| {
        let mut best = Best::new(candidates(limit));
        let mut scores = [0f32; BLOCK];
        for first in blocks.map(|block| block * BLOCK) {
            let scores = &mut scores[..BLOCK.min(count - first)];
            rows.scan(level, &codes, first as u64, scores);
            for (row, &score) in (first as u64..).zip(&*scores) {
                if score > best.floor && is_live(row) {
                    best.add((row, score));
                }
            }
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).merge(best);
    });
    let mut hits = found.into_inner().unwrap_or_else(PoisonError::into_inner).into_hits();
    for (row, score) in &mut hits {
        *score = rows.dot(*row, query);
    }
    hits.sort_unstable_by(best_first);
    hits.truncate(limit);
    hits
}

/// The best rows so far.
struct Best {
    limit: usize,
    /// Holds up to twice the limit, then drops the worse half.
    hits: Vec<Scored>,
    /// Rows that score no higher are not among the best.
    floor: f32,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { limit, hits: Vec::new(), floor: f32::NEG_INFINITY }
    }

    /// Rows must be added in order: on ties, the earlier one wins.
    fn add(&mut self, hit: Scored) {
        self.hits.push(hit);
        if self.hits.len() >= self.limit.saturating_mul(2) {
            self.cut();
            self.floor = self.hits.last().map_or(self.floor, |&(_, score)| score);
        }
    }

    fn merge(&mut self, other: Self) {
        self.hits.extend(other.hits);
        self.cut();
    }

    /// Keeps the best `limit` hits, the worst of them last.
    fn cut(&mut self) {
        if self.limit < self.hits.len() {
            self.hits.select_nth_unstable_by(self.limit - 1, best_first);
            self.hits.truncate(self.limit);
        }
    }

    fn into_hits(self) -> Vec<Scored> {
        self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::directory::vector_file::VectorFileWriter;
    use crate::support::random::SplitMix64;

    const DIM: usize = 48;

    /// Unit vectors clustered around a few centres.
    fn vectors(count: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut random = SplitMix64::new(seed);
        let mut value = move || 2.0 * random.next() as f32 - 1.0;
        let centres: Vec<Vec<f32>> = (0..7).map(|_| (0..DIM).map(|_| value()).collect()).collect();
        (0..count)
            .map(|i| {
                let vector: Vec<f32> =
                    centres[i % 7].iter().map(|centre| centre + 0.5 * value()).collect();
                let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
                vector.iter().map(|v| v / norm).collect()
            })
            .collect()
    }

    fn rows(dir: &tempfile::TempDir, vectors: &[Vec<f32>]) -> VectorFile {
        let path = dir.path().join("rows");
        let mut writer = VectorFileWriter::open(&path, DIM, 0).unwrap();
        for vector in vectors {
            writer.append(vector).unwrap();
        }
        writer.sync().unwrap();
        VectorFile::open(&path, DIM, vectors.len() as u64).unwrap()
    }

    #[test]
    fn finds_what_a_sort_of_all_rows_finds() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(&dir, &vectors(5000, 1));
        let is_live = |row: u64| !row.is_multiple_of(3);
        for query in vectors(5, 2) {
            let mut all: Vec<Scored> = (0..5000)
                .filter(|&row| is_live(row))
                .map(|row| (row, rows.dot(row, &query)))
                .collect();
            all.sort_by(best_first);
            for limit in [0, 1, 50, 200, 10_000] {
                let expected = &all[..limit.min(all.len())];
                assert_eq!(nearest(&rows, &query, limit, is_live), expected, "{limit}");
            }
        }
    }

    #[test]
    fn equal_rows_come_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let one = vectors(1, 3);
        let rows = rows(&dir, &vec![one[0].clone(); 3000]);
        let found = nearest(&rows, &one[0], 40, |row| row >= 5);
        assert_eq!(found.iter().map(|hit| hit.0).collect::<Vec<_>>(), (5..45).collect::<Vec<_>>());
    }

    #[test]
    fn missing_rows_and_odd_queries_do_not_panic() {
        let dir = tempfile::tempdir().unwrap();
        assert!(nearest(&rows(&dir, &[]), &[0.0; DIM], 5, |_| true).is_empty());
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(&dir, &vectors(300, 4));
        assert!(nearest(&rows, &[1.0; DIM], 5, |_| false).is_empty());
        assert_eq!(nearest(&rows, &[0.0; DIM], 2, |_| true), [(0, 0.0), (1, 0.0)]);
        assert_eq!(nearest(&rows, &[f32::NAN; DIM], 2, |_| true).len(), 2);
    }
}
