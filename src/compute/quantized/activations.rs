//! Activations as the products take them: 8-bit codes with one scale for 32 neighbours, or, for
//! matrix tiles, rounded to bf16.
//!
//! llama.cpp calls the former Q8_1. Its K-quant products share one scale among 256 (Q8_K); 32 follow
//! outliers more closely and cost nearly nothing.

use std::arch::x86_64::{
    __m256, __m256i, _mm_cvtsi128_si32, _mm_hadd_epi32, _mm_unpacklo_epi64, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cvtps_epi32, _mm256_extracti128_si256, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_mul_ps, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_packus_epi32,
    _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setr_epi32, _mm256_setzero_ps, _mm256_srli_epi32, _mm256_storeu_si256,
};
use std::arch::x86_64::{_mm_add_epi32, _mm_extract_epi32};

use super::aligned::Lines;
use super::formats::GROUP;
use super::lanes::{lanes, total};
use crate::compute::pool::{DisjointSlices, parallel_for};
use crate::compute::simd::{InstructionSet, SimdLevel};

/// Values that share a scale.
const BLOCK: usize = GROUP;

/// Rows that are read together: what is written of them to a block is contiguous.
const ROWS: usize = 16;

/// Rows past the last one that tiles may read.
const SPARE: usize = 32;

/// `[rows, columns]` activations. Block `b` of row `r` is at `b · rows + r`, so that a product that
/// goes along the columns reads all rows of a block one after the other.
#[derive(Default)]
pub struct Activations {
    /// Rows.
    pub rows: usize,
    /// Columns, a multiple of 32.
    pub columns: usize,
    /// Whether they are rounded to bf16, or codes with scales.
    pub form: Form,
    /// `[columns / 32, rows, 32]`
    pub codes: Lines<i8>,
    /// Of a single row: the codes of four blocks at a time, first 16 of each, then 16 of each, and
    /// zeros after the last block. `[⌈columns / 128⌉, 2, 4, 16]`
    pub quads: Lines<i8>,
    /// `[columns / 32, rows]`
    pub scales: Lines<f32>,
    /// Sums of the values of a block's two halves, `[columns / 32, rows, 2]`.
    pub half_sums: Lines<f32>,
    /// Sums of the values of a block, `[columns / 32, rows]`.
    pub sums: Lines<f32>,
    /// The upper halves of the values' bits, `[columns / 32, rows, 32]`, and as much room after them
    /// as 32 rows take: tiles are always read whole.
    pub rounded: Lines<u16>,
}

/// How activations are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// 8-bit codes with scales.
    #[default]
    Codes,
    /// bf16.
    Rounded,
}

/// What `RMSNorm` (Zhang and Sennrich 2019) needs beside its input.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[columns]`
    pub weight: &'a [f32],
    /// Added to the mean of the squares.
    pub epsilon: f32,
}

impl Activations {
    /// Takes `values`, `[rows, columns]`.
    pub fn new(values: &[f32], columns: usize) -> Self {
        let mut xs = Self::default();
        xs.take(values, columns, None);
        xs
    }

    /// Takes `values`, `[rows, columns]`, in place of what it had, normalized first if asked to.
    pub fn take(&mut self, values: &[f32], columns: usize, norm: Option<Norm>) {
        self.take_at(SimdLevel::detect(), values, columns, norm);
    }

    /// [`Activations::take`] for the products of a CPU of this level.
    pub fn take_at(
        &mut self,
        level: SimdLevel,
        values: &[f32],
        columns: usize,
        norm: Option<Norm>,
    ) {
        let tiles = level.has(InstructionSet::Amx) && values.len() > columns;
        self.take_as(if tiles { Form::Rounded } else { Form::Codes }, values, columns, norm);
    }

    fn take_as(&mut self, form: Form, values: &[f32], columns: usize, norm: Option<Norm>) {
        let (rows, blocks) = (values.len() / columns, columns / BLOCK);
        assert!(norm.is_none_or(|norm| norm.weight.len() == columns));
        (self.form, self.rows, self.columns) = (form, rows, columns);
        match self.form {
            Form::Codes => {
                self.codes.resize(rows * columns);
                self.scales.resize(rows * blocks);
                self.half_sums.resize(rows * blocks * 2);
                self.sums.resize(rows * blocks);
            }
            Form::Rounded => self.rounded.resize(rows * columns + SPARE * BLOCK),
        }
        let places = Places {
            form: self.form,
            rows,
            codes: DisjointSlices::new(&mut self.codes),
            scales: DisjointSlices::new(&mut self.scales),
            half_sums: DisjointSlices::new(&mut self.half_sums),
            sums: DisjointSlices::new(&mut self.sums),
            rounded: DisjointSlices::new(&mut self.rounded),
        };
        // SAFETY: matrices that need activations exist only where the instructions do, and no other
        // call has these rows.
        let some_rows = |first: usize, count: usize| unsafe {
            places.fill(&values[first * columns..][..count * columns], columns, first, norm);
        };
        // One row is done before another core has heard of it.
        if rows == 1 {
            some_rows(0, 1);
            self.fill_quads();
        } else {
            parallel_for(rows.div_ceil(ROWS), |some| {
                for first in some.map(|i| i * ROWS) {
                    some_rows(first, ROWS.min(rows - first));
                }
            });
        }
    }

    fn fill_quads(&mut self) {
        self.quads.resize(self.columns.next_multiple_of(4 * BLOCK));
        let quads = self.quads.as_chunks_mut::<{ 4 * BLOCK }>().0;
        for (quad, codes) in quads.iter_mut().zip(self.codes.chunks(4 * BLOCK)) {
            let (first, second) = quad.split_at_mut(2 * BLOCK);
            for (i, codes) in codes.as_chunks::<BLOCK>().0.iter().enumerate() {
                first[16 * i..][..16].copy_from_slice(&codes[..16]);
                second[16 * i..][..16].copy_from_slice(&codes[16..]);
            }
            first[codes.len() / 2..].fill(0);
            second[codes.len() / 2..].fill(0);
        }
    }
}

/// Where the parts of [`Activations`] go.
struct Places<'a> {
    form: Form,
    rows: usize,
    codes: DisjointSlices<'a, i8>,
    scales: DisjointSlices<'a, f32>,
    half_sums: DisjointSlices<'a, f32>,
    sums: DisjointSlices<'a, f32>,
    rounded: DisjointSlices<'a, u16>,
}

impl Places<'_> {
    /// Fills in some rows from `first` on, at most [`ROWS`].
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA, and nobody else fills in these rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn fill(&self, values: &[f32], columns: usize, first: usize, norm: Option<Norm>) {
        let mut factors = [1f32; ROWS];
        if let Some(Norm { epsilon, .. }) = norm {
            for (factor, row) in factors.iter_mut().zip(values.chunks_exact(columns)) {
                *factor = 1.0 / (mean_square(row) + epsilon).sqrt();
            }
        }
        let count = values.len() / columns;
        for block in 0..columns / BLOCK {
            let start = block * self.rows + first;
            let weight = norm.map(|norm| &norm.weight[block * BLOCK..][..BLOCK]);
            for (row, &factor) in factors.iter().enumerate().take(count) {
                let (at, values) = (start + row, &values[row * columns + block * BLOCK..][..BLOCK]);
                // SAFETY: there are 32 values and 32 weights; no other call has this row.
                unsafe {
                    let mut four: [__m256; 4] =
                        std::array::from_fn(|i| _mm256_loadu_ps(values[8 * i..].as_ptr()));
                    if let Some(weight) = weight {
                        for (i, eight) in four.iter_mut().enumerate() {
                            let scaled = _mm256_mul_ps(*eight, _mm256_set1_ps(factor));
                            let weight = _mm256_loadu_ps(weight[8 * i..].as_ptr());
                            *eight = _mm256_mul_ps(scaled, weight);
                        }
                    }
                    match self.form {
                        Form::Codes => {
                            let codes = self.codes.part(at * BLOCK..(at + 1) * BLOCK);
                            let (scale, halves) = quantize_block(four, codes);
                            self.scales.part(at..at + 1)[0] = scale;
                            self.half_sums.part(2 * at..2 * at + 2).copy_from_slice(&halves);
                            self.sums.part(at..at + 1)[0] = halves[0] + halves[1];
                        }
                        Form::Rounded => {
                            round_block(four, self.rounded.part(at * BLOCK..(at + 1) * BLOCK));
                        }
                    }
                }
            }
        }
    }
}

/// The mean of the values' squares.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn mean_square(values: &[f32]) -> f32 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [_mm256_setzero_ps(); 2];
    for (i, eight) in eights.iter().enumerate() {
        // SAFETY: there are eight.
        let x = unsafe { _mm256_loadu_ps(eight.as_ptr()) };
        sums[i % 2] = _mm256_add_ps(sums[i % 2], _mm256_mul_ps(x, x));
    }
    let rest: f32 = rest.iter().map(|x| x * x).sum();
    (total(_mm256_add_ps(sums[0], sums[1])) + rest) / values.len() as f32
}

/// Returns the scale, and the sums of both halves after rounding.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn quantize_block(values: [__m256; 4], codes: &mut [i8]) -> (f32, [f32; 2]) {
    assert_eq!(codes.len(), BLOCK);
    let sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let [a, b, c, d] = values.map(|eight| _mm256_and_ps(eight, sign));
    let most = lanes(_mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d)));
    let largest = most.iter().fold(0f32, |most, value| most.max(*value));
    let scale = largest / 127.0;
    let inverse = _mm256_set1_ps(if scale > 0.0 { 1.0 / scale } else { 0.0 });
    let [a, b, c, d] = values.map(|eight| _mm256_cvtps_epi32(_mm256_mul_ps(eight, inverse)));
    // Packing works on halves of a vector: its words come out as 0, 2, 4, 6, 1, 3, 5, 7.
    let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let packed = _mm256_permutevar8x32_epi32(packed, order);
    // SAFETY: there is room for 32.
    unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast::<__m256i>(), packed) };
    let four = |sum: __m256i| {
        _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum))
    };
    let pairs = _mm_hadd_epi32(four(_mm256_add_epi32(a, b)), four(_mm256_add_epi32(c, d)));
    let both = _mm_hadd_epi32(pairs, _mm_unpacklo_epi64(pairs, pairs));
    let sums = [_mm_cvtsi128_si32(both), _mm_extract_epi32::<1>(both)];
    (scale, sums.map(|sum| sum as f32 * scale))
}

/// Rounds to bf16: the upper half of a number's bits.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn round_block(values: [__m256; 4], rounded: &mut [u16]) {
    assert_eq!(rounded.len(), BLOCK);
    // To the nearest, and a tie to the even one.
    let upper = values.map(|eight| {
        let bits = _mm256_castps_si256(eight);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let bits = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        _mm256_srli_epi32::<16>(bits)
    });
    for (pair, to) in upper.chunks_exact(2).zip(rounded.chunks_exact_mut(16)) {
        let packed = _mm256_permute4x64_epi64::<0xd8>(_mm256_packus_epi32(pair[0], pair[1]));
        // SAFETY: there is room for 16.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast::<__m256i>(), packed) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of two rows and three blocks: small, with an outlier, zeros.
    fn values() -> Vec<f32> {
        (0..192)
            .map(|i| match (i / 32, i % 32) {
                (4, _) => 0.0,
                (2, 5) => -300.0,
                (block, i) => ((i * 37 % 61) as f32 - 30.0) * (block + 1) as f32 / 7.0,
            })
            .collect()
    }

    #[test]
    fn codes_are_the_nearest_of_255() {
        let values = values();
        for rows in [1, 2] {
            let columns = 192 / rows;
            let mut xs = Activations::default();
            xs.take_as(Form::Codes, &values, columns, None);
            for (i, block) in values.chunks_exact(32).enumerate() {
                let (row, column) = (i * 32 / columns, i * 32 % columns);
                let at = column / 32 * rows + row;
                let largest = block.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!((xs.scales[at] - largest / 127.0).abs() < 1e-6);
                let codes = &xs.codes[at * 32..][..32];
                for (code, value) in codes.iter().zip(block) {
                    let error = (f32::from(*code) * xs.scales[at] - value).abs();
                    assert!(error <= xs.scales[at] * 0.5001, "{value} became {code}");
                }
                for half in 0..2 {
                    let sum: i32 = codes[16 * half..][..16].iter().map(|c| i32::from(*c)).sum();
                    let exact = sum as f32 * xs.scales[at];
                    assert!((xs.half_sums[2 * at + half] - exact).abs() < 1e-3);
                }
                let both = xs.half_sums[2 * at] + xs.half_sums[2 * at + 1];
                assert!((xs.sums[at] - both).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn bf16_is_the_nearest() {
        let values = values();
        let mut xs = Activations::default();
        xs.take_as(Form::Rounded, &values, 96, None);
        assert_eq!(xs.form, Form::Rounded);
        for (i, value) in values.iter().enumerate() {
            let (row, column) = (i / 96, i % 96);
            let found = xs.rounded[(column / 32 * 2 + row) * 32 + column % 32];
            assert_eq!(found, half::bf16::from_f32(*value).to_bits(), "{value}");
        }
    }

    #[test]
    fn norm_comes_first() {
        let values = values();
        let weight: Vec<f32> = (0..96).map(|i| 0.5 + i as f32 / 96.0).collect();
        let norm = Norm { weight: &weight, epsilon: 1e-5 };
        let normed: Vec<f32> = values
            .chunks_exact(96)
            .flat_map(|row| {
                let square = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / 96.0;
                let factor = 1.0 / (square + 1e-5).sqrt();
                row.iter().zip(&weight).map(move |(x, w)| (f64::from(*x) * factor) as f32 * w)
            })
            .collect();
        let (mut found, mut expected) = (Activations::default(), Activations::default());
        found.take_as(Form::Codes, &values, 96, Some(norm));
        expected.take_as(Form::Codes, &normed, 96, None);
        for (found, expected) in found.scales.iter().zip(&*expected.scales) {
            assert!((found - expected).abs() <= expected * 1e-5, "{found}, not {expected}");
        }
        for (found, expected) in found.codes.iter().zip(&*expected.codes) {
            assert!((found - expected).abs() <= 1);
        }
    }
}
