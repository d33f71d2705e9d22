//! Slices and matrices that several threads write, each its own part.

use std::iter::zip;
use std::marker::PhantomData;
use std::ops::Range;

use super::parallel_for;

/// A slice that several threads write, each its own part.
///
/// Whoever takes a part has to prove that it is alone. The functions of this module do so for parts
/// of the usual shapes, and are safe.
pub struct DisjointSlices<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out parts of a `&mut [T]`, which is as good as sending them.
unsafe impl<T: Send> Sync for DisjointSlices<'_, T> {}

impl<'a, T> DisjointSlices<'a, T> {
    /// Nobody else has the slice meanwhile.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// One part.
    ///
    /// # Panics
    /// If it is not inside the slice.
    ///
    /// # Safety
    /// No two parts that live at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    #[inline]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside the slice, and not shared, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A tile of a matrix whose rows are `stride` long: from its place `at` on, `rows` high and
    /// `columns` wide.
    ///
    /// # Safety
    /// No other part or tile that lives at the same time overlaps one of its rows.
    unsafe fn tile(&self, at: usize, rows: usize, stride: usize, columns: usize) -> TileMut<'_, T> {
        let last = rows.saturating_sub(1).checked_mul(stride).and_then(|last| last.checked_add(at));
        let end = last.and_then(|last| last.checked_add(columns));
        assert!(columns <= stride && end.is_some_and(|end| end <= self.length));
        // SAFETY: inside the slice.
        let start = unsafe { self.start.add(at) };
        TileMut { start, rows, stride, columns, tile: PhantomData }
    }
}

/// A tile of a matrix, whose rows are not neighbours in memory.
pub struct TileMut<'a, T> {
    start: *mut T,
    rows: usize,
    stride: usize,
    columns: usize,
    tile: PhantomData<&'a mut [T]>,
}

#[cfg(test)]
impl<'a, T> TileMut<'a, T> {
    /// All of `matrix`, whose rows have `columns` values.
    pub fn new(matrix: &'a mut [T], columns: usize) -> Self {
        let rows = matrix.len() / columns;
        Self { start: matrix.as_mut_ptr(), rows, stride: columns, columns, tile: PhantomData }
    }
}

impl<T> TileMut<'_, T> {
    /// One row, as wide as the tile.
    ///
    /// # Panics
    /// If the tile has no such row.
    #[inline]
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows);
        // SAFETY: whoever made the tile has made sure that all of its rows are inside the slice and
        // nobody else's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.columns) }
    }

    /// A tile of this tile.
    ///
    /// # Panics
    /// If it is not inside.
    #[inline]
    pub fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> TileMut<'_, T> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        // The beginning of no rows may be outside of the slice; it is not used then.
        let start = self.start.wrapping_add(rows.start * self.stride + columns.start);
        let (rows, columns) = (rows.len(), columns.len());
        TileMut { start, rows, stride: self.stride, columns, tile: PhantomData }
    }
}

/// Runs `work` on runs of neighbouring chunks of `slice`, each of `length` values but for the last:
/// with the numbers of the chunks, and the chunks as one slice.
pub fn parallel_for_chunks<T: Send>(
    slice: &mut [T],
    length: usize,
    work: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    let all = slice.len();
    let parts = DisjointSlices::new(slice);
    parallel_for(all.div_ceil(length), |some| {
        let range = some.start * length..all.min(some.end * length);
        // SAFETY: no other call has these chunks.
        work(some, unsafe { parts.part(range) });
    });
}

/// [`parallel_for_chunks`] of two slices that have the same number of chunks.
///
/// # Panics
/// If they do not.
pub fn parallel_for_chunk_pairs<A: Send, B: Send>(
    (first, first_length): (&mut [A], usize),
    (second, second_length): (&mut [B], usize),
    work: impl Fn(Range<usize>, &mut [A], &mut [B]) + Sync,
) {
    let count = first.len().div_ceil(first_length);
    assert_eq!(count, second.len().div_ceil(second_length));
    let all = second.len();
    let second = DisjointSlices::new(second);
    parallel_for_chunks(first, first_length, |some, first| {
        let range = some.start * second_length..all.min(some.end * second_length);
        // SAFETY: no other call has these chunks.
        work(some, first, unsafe { second.part(range) });
    });
}

/// Runs `work` on runs of neighbouring parts of `slice`, which end at `ends`: with the numbers of
/// the parts, and the parts as one slice.
///
/// # Panics
/// If the ends do not rise, or are not inside the slice.
pub fn parallel_for_parts<T: Send>(
    slice: &mut [T],
    ends: &[usize],
    work: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    assert!(ends.is_sorted());
    let parts = DisjointSlices::new(slice);
    parallel_for(ends.len(), |some| {
        let start = before(ends, some.start);
        let end = before(ends, some.end);
        // SAFETY: the ends rise, so the parts do not overlap, and no other call has these.
        work(some, unsafe { parts.part(start..end) });
    });
}

/// Where part `i` of those that end at `ends` begins.
fn before(ends: &[usize], i: usize) -> usize {
    i.checked_sub(1).map_or(0, |i| ends[i])
}

/// Cuts a matrix into tiles below the rows and behind the columns where they end, and runs `work` on
/// some of them at a time. The last of the column ends is the matrix's width.
///
/// # Panics
/// If the ends do not rise, or are not inside the matrix.
pub fn parallel_for_tiles<T: Send>(
    matrix: &mut [T],
    row_ends: &[usize],
    column_ends: &[usize],
    work: impl Fn(Tiles<T>) + Sync,
) {
    assert!(row_ends.is_sorted() && column_ends.is_sorted());
    let matrix = DisjointSlices::new(matrix);
    parallel_for(row_ends.len() * column_ends.len(), |items| {
        work(Tiles { matrix: &matrix, row_ends, column_ends, items });
    });
}

/// Some tiles of a matrix, row by row of tiles.
pub struct Tiles<'a, T> {
    matrix: &'a DisjointSlices<'a, T>,
    row_ends: &'a [usize],
    column_ends: &'a [usize],
    /// No other `Tiles` of the matrix has these.
    items: Range<usize>,
}

/// A tile of a matrix, and which it is.
pub struct Tile<'a, T> {
    /// The tile's row and column among the tiles.
    pub at: (usize, usize),
    /// Its rows in the matrix.
    pub rows: Range<usize>,
    /// Its columns in the matrix.
    pub columns: Range<usize>,
    pub values: TileMut<'a, T>,
}

impl<'a, T> Iterator for Tiles<'a, T> {
    type Item = Tile<'a, T>;

    fn next(&mut self) -> Option<Tile<'a, T>> {
        let item = self.items.next()?;
        let at @ (row, column) = (item / self.column_ends.len(), item % self.column_ends.len());
        let rows = before(self.row_ends, row)..self.row_ends[row];
        let columns = before(self.column_ends, column)..self.column_ends[column];
        let stride = self.column_ends[self.column_ends.len() - 1];
        let first = rows.start.checked_mul(stride).and_then(|at| at.checked_add(columns.start));
        let first = first.expect("tiles are inside the matrix");
        // SAFETY: the ends rise, so tiles do not overlap, and each item comes once: `parallel_for`
        // gives it to one call, whose iterator passes it.
        let values = unsafe { self.matrix.tile(first, rows.len(), stride, columns.len()) };
        Some(Tile { at, rows, columns, values })
    }
}

/// What `work` gives for each of `0..items`, in order.
///
/// # Panics
/// When `work` does.
pub fn map<T: Send>(items: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut made: Vec<Option<T>> = (0..items).map(|_| None).collect();
    parallel_for_chunks(&mut made, 1, |items, made| {
        zip(made, items).for_each(|(made, item)| *made = Some(work(item)));
    });
    made.into_iter().map(|made| made.expect("every item was worked on")).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_is_made_of_items_is_in_their_order() {
        for items in [0, 1, 2, 1000] {
            let expected: Vec<String> = (0..items).map(|item| item.to_string()).collect();
            assert_eq!(map(items, |item| item.to_string()), expected);
        }
    }

    #[test]
    fn chunks_and_parts_are_all_of_a_slice() {
        for (length, chunk) in [(0, 3), (1, 3), (3, 3), (10, 3), (1000, 7)] {
            let (mut first, mut second) = (vec![0; length], vec![0; 2 * length]);
            parallel_for_chunk_pairs(
                (&mut first, chunk),
                (&mut second, 2 * chunk),
                |chunks, first, second| {
                    for (i, x) in first.iter_mut().enumerate() {
                        *x += chunks.start * chunk + i + 1;
                    }
                    for x in second {
                        *x += 1;
                    }
                },
            );
            assert!(first.into_iter().eq(1..=length) && second.iter().all(|&x| x == 1));
        }
        let mut parts = [0; 9];
        parallel_for_parts(&mut parts, &[2, 2, 5, 8], |numbers, values| {
            assert_eq!(values.len(), [2, 0, 3, 3][numbers].iter().sum::<usize>());
            for x in values {
                *x += 1;
            }
        });
        assert_eq!(parts, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
        for ends in [&[3, 2][..], &[10]] {
            let cut = || parallel_for_parts(&mut [0; 9], ends, |_, _| ());
            assert!(catch_unwind(cut).is_err(), "{ends:?}");
        }
    }

    #[test]
    fn tiles_cover_a_matrix_once() {
        let (row_ends, column_ends) = ([3, 4, 4, 9], [5, 6, 12]);
        let mut matrix = [0; 9 * 12];
        parallel_for_tiles(&mut matrix, &row_ends, &column_ends, |tiles| {
            for mut tile in tiles {
                assert_eq!(tile.rows.end, row_ends[tile.at.0]);
                for (i, row) in tile.rows.enumerate() {
                    for (x, column) in zip(tile.values.row(i), tile.columns.clone()) {
                        *x += row * 12 + column + 1;
                    }
                }
            }
        });
        assert!(matrix.into_iter().eq(1..=9 * 12));
        for (row_ends, column_ends) in
            [(&[10][..], &[12][..]), (&[5, 3], &[12]), (&[usize::MAX / 2, usize::MAX], &[12])]
        {
            let mut matrix = [0; 9 * 12];
            let cut = AssertUnwindSafe(|| {
                parallel_for_tiles(&mut matrix, row_ends, column_ends, |tiles| {
                    tiles.for_each(drop);
                });
            });
            assert!(catch_unwind(cut).is_err(), "{row_ends:?} {column_ends:?}");
        }
    }

    #[test]
    fn a_tile_ends_where_it_ends() {
        let mut matrix = [0u8; 3 * 10];
        let mut all = TileMut::new(&mut matrix, 10);
        let mut tile = all.part(1..3, 4..8);
        tile.row(0).fill(1);
        tile.part(1..2, 1..3).row(0).fill(2);
        let backward = Range { start: 2, end: 1 };
        for (rows, columns) in [(0..3, 0..4), (0..2, 0..5), (backward, 0..1)] {
            let part = AssertUnwindSafe(|| {
                tile.part(rows, columns);
            });
            assert!(catch_unwind(part).is_err());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| tile.row(2).len())).is_err());
        let parts = DisjointSlices::new(&mut matrix);
        for (at, rows, stride, columns) in
            [(14, 2, 10, 11), (17, 2, 10, 4), (0, usize::MAX, 10, 4), (0, 1, 40, 31)]
        {
            let tile = || {
                // SAFETY: there is no other.
                unsafe { parts.tile(at, rows, stride, columns) };
            };
            assert!(catch_unwind(AssertUnwindSafe(tile)).is_err());
        }
        assert_eq!(matrix[..14], [0; 14]);
        assert_eq!(matrix[14..], *b"\x01\x01\x01\x01\0\0\0\0\0\0\0\x02\x02\0\0\0");
    }
}
