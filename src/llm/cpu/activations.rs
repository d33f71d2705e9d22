//! Activations as the integer products take them: 8-bit codes with one scale for 32 neighbours.
//!
//! llama.cpp calls this Q8_1. Its K-quant products share one scale among 256 (Q8_K); 32 follow
//! outliers more closely and cost nearly nothing.

use super::formats::GROUP;
use crate::cpu::team::{Parts, share};

/// Values that share a scale.
const BLOCK: usize = GROUP;

/// Codes of 16 rows.
const SPARE: usize = 16 * BLOCK;

/// `[rows, columns]` activations. Block `b` of row `r` is at `b · rows + r`, so that a product that
/// goes along the columns reads all rows of a block one after the other.
pub struct Activations {
    /// Rows.
    pub rows: usize,
    /// Columns, a multiple of 32.
    pub columns: usize,
    /// `[columns / 32, rows, 32]`, and as much room after them as 16 rows take: tiles are always
    /// read whole.
    pub codes: Vec<i8>,
    /// `[columns / 32, rows]`
    pub scales: Vec<f32>,
    /// Sums of the values of a block's two halves, `[columns / 32, rows, 2]`.
    pub half_sums: Vec<f32>,
    /// Sums of the values of a block, `[columns / 32, rows]`.
    pub sums: Vec<f32>,
}

impl Activations {
    /// Quantizes `values`, `[rows, columns]`.
    pub fn new(values: &[f32], columns: usize) -> Self {
        let (rows, blocks) = (values.len() / columns, columns / BLOCK);
        let mut quantized = Self {
            rows,
            columns,
            codes: vec![0; rows * columns + SPARE],
            scales: vec![0.0; rows * blocks],
            half_sums: vec![0.0; rows * blocks * 2],
            sums: vec![0.0; rows * blocks],
        };
        let codes = Parts::new(&mut quantized.codes);
        let scales = Parts::new(&mut quantized.scales);
        let half_sums = Parts::new(&mut quantized.half_sums);
        let sums = Parts::new(&mut quantized.sums);
        let quantize = |some: std::ops::Range<usize>| {
            for block in some {
                let (start, end) = (block * rows, (block + 1) * rows);
                // SAFETY: no other call has this block.
                let (codes, scales, half_sums, sums) = unsafe {
                    (
                        codes.part(start * BLOCK..end * BLOCK),
                        scales.part(start..end),
                        half_sums.part(start * 2..end * 2),
                        sums.part(start..end),
                    )
                };
                for row in 0..rows {
                    let at = row * columns + block * BLOCK;
                    let codes = &mut codes[row * BLOCK..(row + 1) * BLOCK];
                    // SAFETY: matrices that need activations exist only where the instructions do.
                    let (scale, halves) = unsafe { quantize_block(&values[at..at + BLOCK], codes) };
                    scales[row] = scale;
                    half_sums[2 * row..2 * row + 2].copy_from_slice(&halves);
                    sums[row] = halves[0] + halves[1];
                }
            }
        };
        // One row is done before another core has heard of it.
        if rows == 1 {
            quantize(0..blocks)
        } else {
            share(blocks, quantize)
        }
        quantized
    }
}

/// Returns the scale, and the sums of both halves after rounding.
#[target_feature(enable = "avx2,fma")]
fn quantize_block(values: &[f32], codes: &mut [i8]) -> (f32, [f32; 2]) {
    let largest = values.iter().fold(0f32, |most, value| most.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let mut sums = [0i32; 2];
    for (i, (code, value)) in codes.iter_mut().zip(values).enumerate() {
        *code = (value * inverse).round_ties_even() as i8;
        sums[i / 16] += i32::from(*code);
    }
    (scale, sums.map(|sum| sum as f32 * scale))
}
