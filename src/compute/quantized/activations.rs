//! Activations as the products take them: 8-bit quants with one scale for 32 neighbours, or, for
//! matrix tiles, rounded to bf16.
//!
//! llama.cpp calls the former `Q8_1`. Its K-quant products share one scale among 256 (`Q8_K`); 32
//! follow outliers more closely and cost nearly nothing.

use std::arch::x86_64::{
    __m256, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_extract_epi32, _mm_hadd_epi32,
    _mm_unpacklo_epi64, _mm256_add_epi32, _mm256_and_ps, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cvtps_epi32, _mm256_extracti128_si256, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_mul_ps, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_packus_epi32,
    _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setr_epi32, _mm256_storeu_si256,
};

use super::formats::GROUP_LEN;
use super::isa::Isa;
use super::lanes::lanes;
use crate::compute::aligned::AlignedBuf;
use crate::compute::bf16::to_bf16_of_8;
use crate::compute::norm::inverse_rms;
use crate::compute::pool::{DisjointSlices, parallel_for};

/// Values that share a scale.
const BLOCK_LEN: usize = GROUP_LEN;

/// Rows that are read together: what is written of them to a block is contiguous.
const ROWS_TOGETHER: usize = 16;

/// Rows past the last one that matrix tiles may read.
pub const SPARE_ROWS: usize = 32;

/// `[rows, columns]` activations. Block `b` of row `r` is at `b · rows + r`, so that a product that
/// goes along the columns reads all rows of a block one after the other.
///
/// Unsafe code relies on the lengths that are given here. That they are right is this file's concern:
/// only [`Activations::take`] changes them.
pub struct Activations {
    isa: Isa,
    rows: usize,
    /// A multiple of 32.
    columns: usize,
    form: Form,
    /// `[columns / 32, rows, 32]`
    quants: AlignedBuf<i8>,
    /// Of a single row: the quants of four blocks at a time, the first 16 of each, then the last 16
    /// of each, and zeros after the last block. `[⌈columns / 128⌉, 2, 4, 16]`
    quads: AlignedBuf<i8>,
    /// `[columns / 32, rows]`
    scales: AlignedBuf<f32>,
    /// Sums of the values of a block's two halves, `[columns / 32, rows, 2]`.
    half_sums: AlignedBuf<f32>,
    /// Sums of the values of a block, `[columns / 32, rows]`.
    sums: AlignedBuf<f32>,
    /// `[columns / 32, rows, 32]`, and room for 32 more rows of a block: tiles are always read whole.
    bf16: AlignedBuf<u16>,
}

/// How activations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 8-bit quants with scales and sums.
    Quants,
    Bf16,
}

/// What `RMSNorm` needs beside its input.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm<'a> {
    /// `[columns]`
    pub weight: &'a [f32],
    /// Added to the mean of the squares.
    pub epsilon: f32,
}

impl Activations {
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            rows: 0,
            columns: 0,
            form: Form::Quants,
            quants: AlignedBuf::default(),
            quads: AlignedBuf::default(),
            scales: AlignedBuf::default(),
            half_sums: AlignedBuf::default(),
            sums: AlignedBuf::default(),
            bf16: AlignedBuf::default(),
        }
    }

    /// Takes `values`, `[rows, columns]`, in place of what it had, normalized first if asked to.
    ///
    /// # Panics
    /// If `columns` is not a multiple of 32, `values` are not whole rows, or the norm's weight has
    /// another length.
    pub fn take(&mut self, values: &[f32], columns: usize, norm: Option<RmsNorm>) {
        // With a single row, tiles would be nearly empty.
        let tiles = self.isa.has_amx() && values.len() > columns;
        self.take_as(if tiles { Form::Bf16 } else { Form::Quants }, values, columns, norm);
    }

    fn take_as(&mut self, form: Form, values: &[f32], columns: usize, norm: Option<RmsNorm>) {
        assert!(columns.is_multiple_of(BLOCK_LEN) && values.len().is_multiple_of(columns));
        assert!(norm.is_none_or(|norm| norm.weight.len() == columns));
        let (rows, blocks) = (values.len() / columns, columns / BLOCK_LEN);
        (self.form, self.rows, self.columns) = (form, rows, columns);
        match form {
            Form::Quants => {
                self.quants.resize(rows * columns);
                self.scales.resize(rows * blocks);
                self.half_sums.resize(rows * blocks * 2);
                self.sums.resize(rows * blocks);
            }
            Form::Bf16 => self.bf16.resize(rows * columns + SPARE_ROWS * BLOCK_LEN),
        }
        let output = Output {
            form,
            rows,
            columns,
            quants: DisjointSlices::new(&mut self.quants),
            scales: DisjointSlices::new(&mut self.scales),
            half_sums: DisjointSlices::new(&mut self.half_sums),
            sums: DisjointSlices::new(&mut self.sums),
            bf16: DisjointSlices::new(&mut self.bf16),
        };
        // SAFETY: `isa` is proof of the instructions, and no other call has these rows.
        let convert = |first: usize, count: usize| unsafe {
            output.convert(&values[first * columns..][..count * columns], first, norm);
        };
        // One row is done before another core has heard of it.
        if rows == 1 {
            convert(0, 1);
            if form == Form::Quants {
                self.fill_quads();
            }
        } else {
            parallel_for(rows.div_ceil(ROWS_TOGETHER), |chunks| {
                for first in chunks.map(|i| i * ROWS_TOGETHER) {
                    convert(first, ROWS_TOGETHER.min(rows - first));
                }
            });
        }
    }

    fn fill_quads(&mut self) {
        self.quads.resize(self.columns.next_multiple_of(4 * BLOCK_LEN));
        let quads = self.quads.as_chunks_mut::<{ 4 * BLOCK_LEN }>().0;
        for (quad, quants) in quads.iter_mut().zip(self.quants.chunks(4 * BLOCK_LEN)) {
            let (first, last) = quad.split_at_mut(2 * BLOCK_LEN);
            for (i, quants) in quants.as_chunks::<BLOCK_LEN>().0.iter().enumerate() {
                first[16 * i..][..16].copy_from_slice(&quants[..16]);
                last[16 * i..][..16].copy_from_slice(&quants[16..]);
            }
            first[quants.len() / 2..].fill(0);
            last[quants.len() / 2..].fill(0);
        }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A multiple of 32.
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// In the form of quants: `[columns / 32, rows, 32]`, within ±127 for finite values.
    #[inline]
    pub fn quants(&self) -> &[i8] {
        &self.quants
    }

    /// In the form of quants and of a single row: see the field.
    #[inline]
    pub fn quads(&self) -> &[i8] {
        &self.quads
    }

    /// In the form of quants: `[columns / 32, rows]`.
    #[inline]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// In the form of quants: `[columns / 32, rows, 2]`.
    #[inline]
    pub fn half_sums(&self) -> &[f32] {
        &self.half_sums
    }

    /// In the form of quants: `[columns / 32, rows]`.
    #[inline]
    pub fn sums(&self) -> &[f32] {
        &self.sums
    }

    /// In the form of bf16: `[columns / 32, rows, 32]`, and 32 spare rows of a block.
    #[inline]
    pub fn bf16(&self) -> &[u16] {
        &self.bf16
    }
}

/// The buffers of [`Activations`], for threads that fill in their own rows.
struct Output<'a> {
    form: Form,
    rows: usize,
    columns: usize,
    quants: DisjointSlices<'a, i8>,
    scales: DisjointSlices<'a, f32>,
    half_sums: DisjointSlices<'a, f32>,
    sums: DisjointSlices<'a, f32>,
    bf16: DisjointSlices<'a, u16>,
}

impl Output<'_> {
    /// Fills in the rows of `values` from row `first` on, at most [`ROWS_TOGETHER`].
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C, and nobody else fills in these rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn convert(&self, values: &[f32], first: usize, norm: Option<RmsNorm>) {
        let columns = self.columns;
        let mut factors = [1f32; ROWS_TOGETHER];
        if let Some(RmsNorm { epsilon, .. }) = norm {
            for (factor, row) in factors.iter_mut().zip(values.chunks_exact(columns)) {
                *factor = inverse_rms(row, epsilon);
            }
        }
        let count = values.len() / columns;
        for block in 0..columns / BLOCK_LEN {
            let start = block * self.rows + first;
            let range = block * BLOCK_LEN..(block + 1) * BLOCK_LEN;
            let weight = norm.map(|norm| &norm.weight[range.clone()]);
            for (row, &factor) in factors.iter().enumerate().take(count) {
                let values = &values[row * columns..][range.clone()];
                let values = match weight {
                    Some(weight) => normalized(values, factor, weight),
                    None => vectors(values),
                };
                // SAFETY: no other call has this row.
                unsafe { self.write(start + row, values) };
            }
        }
    }

    /// Writes the 32 values of block `at`, counted through the rows of all blocks.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C, and nobody else writes this block.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn write(&self, at: usize, values: [__m256; 4]) {
        let range = at * BLOCK_LEN..(at + 1) * BLOCK_LEN;
        // SAFETY: as the caller promises.
        unsafe {
            match self.form {
                Form::Quants => {
                    let (scale, halves) = quantize_block(values, self.quants.part(range));
                    self.scales.part(at..at + 1)[0] = scale;
                    self.half_sums.part(2 * at..2 * at + 2).copy_from_slice(&halves);
                    self.sums.part(at..at + 1)[0] = halves[0] + halves[1];
                }
                Form::Bf16 => round_block(values, self.bf16.part(range)),
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn vectors(values: &[f32]) -> [__m256; 4] {
    assert_eq!(values.len(), BLOCK_LEN);
    // SAFETY: there are 32.
    std::array::from_fn(|i| unsafe { _mm256_loadu_ps(values.as_ptr().add(8 * i)) })
}

/// `values · factor · weight`
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn normalized(values: &[f32], factor: f32, weight: &[f32]) -> [__m256; 4] {
    let (values, weight) = (vectors(values), vectors(weight));
    std::array::from_fn(|i| {
        _mm256_mul_ps(_mm256_mul_ps(values[i], _mm256_set1_ps(factor)), weight[i])
    })
}

/// Writes a block's quants; returns the scale, and the sums of both halves after rounding.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn quantize_block(values: [__m256; 4], quants: &mut [i8]) -> (f32, [f32; 2]) {
    assert_eq!(quants.len(), BLOCK_LEN);
    let sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let [a, b, c, d] = values.map(|eight| _mm256_and_ps(eight, sign));
    let max = lanes(_mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d)));
    let largest = max.iter().fold(0f32, |max, value| max.max(*value));
    let scale = largest / 127.0;
    let inverse = _mm256_set1_ps(if scale > 0.0 { 1.0 / scale } else { 0.0 });
    let [a, b, c, d] = values.map(|eight| _mm256_cvtps_epi32(_mm256_mul_ps(eight, inverse)));
    // Packing works on halves of a vector: its words come out as 0, 2, 4, 6, 1, 3, 5, 7.
    let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let packed = _mm256_permutevar8x32_epi32(packed, order);
    // SAFETY: there is room for 32.
    unsafe { _mm256_storeu_si256(quants.as_mut_ptr().cast::<__m256i>(), packed) };
    let four = |sum: __m256i| {
        _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum))
    };
    let pairs = _mm_hadd_epi32(four(_mm256_add_epi32(a, b)), four(_mm256_add_epi32(c, d)));
    let both = _mm_hadd_epi32(pairs, _mm_unpacklo_epi64(pairs, pairs));
    let sums = [_mm_cvtsi128_si32(both), _mm_extract_epi32::<1>(both)];
    (scale, sums.map(|sum| sum as f32 * scale))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn round_block(values: [__m256; 4], bf16: &mut [u16]) {
    assert_eq!(bf16.len(), BLOCK_LEN);
    let rounded = values.map(|eight| to_bf16_of_8(eight));
    for (pair, to) in rounded.chunks_exact(2).zip(bf16.chunks_exact_mut(16)) {
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
    fn quants_are_the_nearest_of_255() {
        let values = values();
        for rows in [1, 2] {
            let columns = 192 / rows;
            let mut xs = Activations::new(Isa::avx2());
            xs.take_as(Form::Quants, &values, columns, None);
            for (i, block) in values.chunks_exact(32).enumerate() {
                let (row, column) = (i * 32 / columns, i * 32 % columns);
                let at = column / 32 * rows + row;
                let largest = block.iter().fold(0f32, |max, x| max.max(x.abs()));
                assert!((xs.scales[at] - largest / 127.0).abs() < 1e-6);
                let quants = &xs.quants[at * 32..][..32];
                for (quant, value) in quants.iter().zip(block) {
                    let error = (f32::from(*quant) * xs.scales[at] - value).abs();
                    assert!(error <= xs.scales[at] * 0.5001, "{value} became {quant}");
                }
                for half in 0..2 {
                    let sum: i32 = quants[16 * half..][..16].iter().map(|q| i32::from(*q)).sum();
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
        let mut xs = Activations::new(Isa::avx2());
        xs.take_as(Form::Bf16, &values, 96, None);
        assert_eq!(xs.form, Form::Bf16);
        for (i, value) in values.iter().enumerate() {
            let (row, column) = (i / 96, i % 96);
            let found = xs.bf16[(column / 32 * 2 + row) * 32 + column % 32];
            assert_eq!(found, half::bf16::from_f32(*value).to_bits(), "{value}");
        }
    }

    #[test]
    fn norm_comes_first() {
        let values = values();
        let weight: Vec<f32> = (0..96).map(|i| 0.5 + i as f32 / 96.0).collect();
        let norm = RmsNorm { weight: &weight, epsilon: 1e-5 };
        let normed: Vec<f32> = values
            .chunks_exact(96)
            .flat_map(|row| {
                let square = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / 96.0;
                let factor = 1.0 / (square + 1e-5).sqrt();
                row.iter().zip(&weight).map(move |(x, w)| (f64::from(*x) * factor) as f32 * w)
            })
            .collect();
        let (mut found, mut expected) =
            (Activations::new(Isa::avx2()), Activations::new(Isa::avx2()));
        found.take_as(Form::Quants, &values, 96, Some(norm));
        expected.take_as(Form::Quants, &normed, 96, None);
        for (found, expected) in found.scales.iter().zip(&*expected.scales) {
            assert!((found - expected).abs() <= expected * 1e-5, "{found}, not {expected}");
        }
        for (found, expected) in found.quants.iter().zip(&*expected.quants) {
            assert!((found - expected).abs() <= 1);
        }
    }
}
