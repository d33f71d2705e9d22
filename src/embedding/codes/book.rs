//! Books: product quantization with a rotation (Ge et al. 2013, "Optimized Product Quantization").
//!
//! A vector is a mean that all share, plus a length times a direction. The direction is rotated, cut into
//! parts of a few values, and each part stands as the number of the nearest of 256 entries. A book is
//! fitted once for an embedder, to texts in several languages (`models/fit-token-book`), and serves every
//! index: one fitted to the index itself would rank no better.

use std::fmt;
use std::sync::OnceLock;

use half::f16;

use crate::compute::SimdLevel;
use crate::compute::dense::rows::{ENTRIES, nearest_entries, products};
use crate::embedding::normalize;

const MAGIC: &[u8; 8] = b"RQBOOK\x00\x01";

/// A book that comes with the program, read when it is first needed.
struct BuiltIn {
    name: &'static str,
    bytes: &'static [u8],
    book: OnceLock<Option<Book>>,
}

impl BuiltIn {
    const fn new(name: &'static str, bytes: &'static [u8]) -> Self {
        Self { name, bytes, book: OnceLock::new() }
    }
}

/// An index names its book, so none may ever change.
static BUILT_IN: [BuiltIn; 2] = [
    BuiltIn::new("e5-small-128", include_bytes!("../../../models/token-books/e5-small-128.book")),
    BuiltIn::new("e5-small-48", include_bytes!("../../../models/token-books/e5-small-48.book")),
];

/// A book of one embedder.
pub struct Book {
    /// Of token vectors, each language counting the same, `[dim]`.
    mean: Vec<f32>,
    /// The same in the rotated axes.
    base: Vec<f32>,
    /// Orthonormal, `[dim, dim]`: each row is an axis.
    rotation: Vec<f32>,
    parts: usize,
    /// As codes, all with one scale, `[parts, 256, dim / parts]`.
    entries: Vec<i8>,
    /// The entries as values, `[parts, dim / parts, 256]`.
    columns: Vec<f32>,
    /// Half of each entry · itself, as values, `[parts, 256]`.
    half_squares: Vec<f32>,
    /// Each entry · itself, as codes, `[parts, 256]`.
    squares: Vec<i32>,
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Book({} values in {} parts)", self.dim(), self.parts)
    }
}

impl Book {
    /// A book that comes with the program.
    pub fn named(name: &str) -> Option<&'static Self> {
        let found = BUILT_IN.iter().find(|known| known.name == name)?;
        found.book.get_or_init(|| Self::parse(found.bytes)).as_ref()
    }

    /// Reads a book: little-endian, `RQBOOK\0\1`, dim and parts (u32), the mean (f32, `[dim]`), the
    /// rotation (f16, `[dim, dim]`), the step (f32), the entries (i8, `[parts, 256, dim / parts]`).
    /// `None` if it is none.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let mut take = |count: usize| -> Option<&[u8]> {
            let (taken, left) = rest.split_at_checked(count)?;
            rest = left;
            Some(taken)
        };
        let number = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize);
        let float = |bytes: &[u8]| f32::from_bits(number(bytes).unwrap_or(0) as u32);
        let (dim, parts) = (number(take(4)?)?, number(take(4)?)?);
        if parts == 0 || !dim.is_multiple_of(parts) || dim > 1 << 14 {
            return None;
        }
        let mean = take(4 * dim)?.chunks_exact(4).map(float).collect();
        let half = |two: &[u8]| f16::from_le_bytes([two[0], two[1]]).to_f32();
        let rotation = take(2 * dim * dim)?.chunks_exact(2).map(half).collect();
        let step = float(take(4)?);
        let entries: Vec<i8> = take(ENTRIES * dim)?.iter().map(|byte| byte.cast_signed()).collect();
        Some(Self::new(mean, rotation, parts, step, entries))
    }

    fn new(
        mean: Vec<f32>,
        mut rotation: Vec<f32>,
        parts: usize,
        step: f32,
        entries: Vec<i8>,
    ) -> Self {
        let size = mean.len() / parts;
        // Stored with 11 bits: made as long as axes are.
        for axis in rotation.chunks_exact_mut(mean.len()) {
            normalize(axis);
        }
        let mut columns = vec![0f32; entries.len()];
        let mut squares = Vec::with_capacity(parts * ENTRIES);
        for (number, entry) in entries.chunks_exact(size).enumerate() {
            let (part, number) = (number / ENTRIES, number % ENTRIES);
            for (i, &code) in entry.iter().enumerate() {
                columns[(part * size + i) * ENTRIES + number] = step * f32::from(code);
            }
            squares.push(entry.iter().map(|&code| i32::from(code) * i32::from(code)).sum());
        }
        let half_squares = squares.iter().map(|&square: &i32| step * step * square as f32 / 2.0);
        let half_squares = half_squares.collect();
        let base = turned(&mean, &rotation, SimdLevel::detect());
        Self { mean, base, rotation, parts, entries, columns, half_squares, squares }
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Parts of a vector, each one byte.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// What all vectors have in common, `[dim]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// [`Self::mean`] in the rotated axes.
    pub fn base(&self) -> &[f32] {
        &self.base
    }

    /// A vector, `[dim]`, in the rotated axes.
    pub fn turned(&self, vector: &[f32], level: SimdLevel) -> Vec<f32> {
        turned(vector, &self.rotation, level)
    }

    /// The opposite of [`Self::turned`].
    pub fn turned_back(&self, vector: &[f32]) -> Vec<f32> {
        let mut turned = vec![0f32; self.dim()];
        for (along, axis) in vector.iter().zip(self.rotation.chunks_exact(self.dim())) {
            turned.iter_mut().zip(axis).for_each(|(value, axis)| *value += along * axis);
        }
        turned
    }

    /// Appends a scale and the number of an entry for each part.
    pub fn encode(&self, vector: &[f32], bytes: &mut Vec<u8>) {
        let level = SimdLevel::detect();
        let mut direction: Vec<f32> = vector.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        let length = normalize(&mut direction);
        let direction = self.turned(&direction, level);
        let mut codes = vec![0u8; self.parts];
        nearest_entries(level, &direction, &self.columns, &self.half_squares, &mut codes);
        let squares: i32 = codes.iter().enumerate().map(|(p, &c)| self.square(p, c)).sum();
        // The length stays what it was: entries are means, and shorter than what they stand for.
        let scale = length / (squares.max(1) as f32).sqrt();
        bytes.extend(f16::from_f32(scale).to_le_bytes());
        bytes.extend(codes);
    }

    /// Appends the entries, as codes, `[dim]`, and returns codes · codes.
    pub fn decode(&self, entries: &[u8], codes: &mut Vec<u8>) -> i32 {
        match self.dim() / self.parts {
            3 => self.decode_parts::<3>(entries, codes),
            4 => self.decode_parts::<4>(entries, codes),
            8 => self.decode_parts::<8>(entries, codes),
            size => {
                for (part, &entry) in entries.iter().enumerate() {
                    let start = (part * ENTRIES + usize::from(entry)) * size;
                    let values = &self.entries[start..start + size];
                    codes.extend(values.iter().map(|code| code.cast_unsigned()));
                }
            }
        }
        entries.iter().enumerate().map(|(part, &entry)| self.square(part, entry)).sum()
    }

    /// As above, for parts of `SIZE` values: each is one load and one store.
    fn decode_parts<const SIZE: usize>(&self, entries: &[u8], codes: &mut Vec<u8>) {
        let start = codes.len();
        codes.resize(start + self.dim(), 0);
        let (out, _) = codes[start..].as_chunks_mut::<SIZE>();
        let (table, _) = self.entries.as_chunks::<SIZE>();
        for ((out, &entry), part) in out.iter_mut().zip(entries).zip(table.chunks_exact(ENTRIES)) {
            *out = part[usize::from(entry)].map(i8::cast_unsigned);
        }
    }

    fn square(&self, part: usize, entry: u8) -> i32 {
        self.squares[part * ENTRIES + usize::from(entry)]
    }
}

/// A vector, `[dim]`, in the axes of a rotation, `[dim, dim]`.
fn turned(vector: &[f32], rotation: &[f32], level: SimdLevel) -> Vec<f32> {
    let mut turned = vec![0f32; vector.len()];
    products(level, vector, rotation, &mut turned);
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::SplitMix64;

    #[test]
    fn no_book_that_came_with_the_program_has_changed() {
        let books = BUILT_IN.iter().map(|built_in| {
            let book = Book::named(built_in.name).unwrap();
            (built_in.name, book.parts(), blake3::hash(built_in.bytes).to_hex()[..16].to_owned())
        });
        let books: Vec<(&str, usize, String)> = books.collect();
        assert_eq!(
            books,
            [
                ("e5-small-128", 128, "646c8a8e000bdc94".to_owned()),
                ("e5-small-48", 48, "423b8cce117cacf0".to_owned())
            ]
        );
        assert!(Book::named("e5-small-97").is_none());
    }

    #[test]
    fn the_nearest_entries_are_taken_at_every_level() {
        let (dim, parts) = (24, 6);
        let mut random = SplitMix64::new(3);
        let mut code = || random.bits() as i8 / 2;
        let entries: Vec<i8> = (0..ENTRIES * dim).map(|_| code()).collect();
        let mut rotation = vec![0f32; dim * dim];
        (0..dim).for_each(|i| rotation[i * dim + i] = 1.0);
        let book = Book::new(vec![0.0; dim], rotation, parts, 0.5, entries.clone());
        let vector: Vec<f32> = (0..dim).map(|_| f32::from(code()) / 3.0).collect();
        let nearest = |part: usize| {
            let distance = |entry: usize| -> f64 {
                let entry = &entries[(part * ENTRIES + entry) * 4..][..4];
                let values = entry.iter().zip(&vector[4 * part..]);
                values.map(|(&e, v)| (f64::from(e) / 2.0 - f64::from(*v)).powi(2)).sum()
            };
            (0..ENTRIES).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap() as u8
        };
        let expected: Vec<u8> = (0..parts).map(nearest).collect();
        for level in SimdLevel::all_of_test("nearest entries") {
            let mut found = vec![0; parts];
            nearest_entries(level, &vector, &book.columns, &book.half_squares, &mut found);
            assert_eq!(found, expected, "{}", level.name());
        }
    }

    #[test]
    fn what_is_no_book_is_refused() {
        let whole = BUILT_IN[0].bytes;
        assert!(Book::parse(whole).is_some());
        for wrong in [&whole[..0], &whole[..15], &whole[..whole.len() - 1], &whole[1..]] {
            assert!(Book::parse(wrong).is_none());
        }
        let mut huge = whole.to_vec();
        huge[8..12].fill(0xff);
        assert!(Book::parse(&huge).is_none());
    }
}
