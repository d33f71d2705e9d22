//! Llama's heavy operations on the CPU, at the speed of its memory.
//!
//! candle's own matrix products keep a second, repacked copy of the weights and reach a third of
//! llama.cpp's decode speed. These read the weights where they lie in the mapped file: loading costs
//! nothing, and memory holds them once. They need AVX2, FMA and F16C, which x86-64 has had since
//! 2013; elsewhere candle's products do the work.

#![allow(clippy::cast_ptr_alignment, reason = "vectors are loaded and stored unaligned")]

mod activations;
mod aligned;
mod amx;
pub mod attention;
mod avx2;
mod avx512;
mod exp;
mod formats;
mod lanes;
mod matrix;
mod pass;

pub use activations::Activations;
pub use aligned::Lines;
pub use matrix::{Matrix, Then, gated_product, products};
pub use pass::{Layer, Pass, Workspace};

use crate::compute::pool::{DisjointSlices, parallel_for};

/// Whether this CPU has the instructions.
pub fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// `xs / √(mean(xs²) + epsilon) · weight` for each row (`RMSNorm`, Zhang and Sennrich 2019).
/// `[rows, weight.len()]` → the same.
pub fn rms_norm(xs: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let columns = weight.len();
    let mut normed = vec![0f32; xs.len()];
    let row = |xs: &[f32], normed: &mut [f32]| {
        // Eight sums side by side: a single one would wait for itself.
        let mut squares = [0f32; 8];
        for eight in xs.chunks(8) {
            for (sum, x) in squares.iter_mut().zip(eight) {
                *sum += x * x;
            }
        }
        let mean = squares.iter().sum::<f32>() / columns as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for ((normed, x), weight) in normed.iter_mut().zip(xs).zip(weight) {
            *normed = x * scale * weight;
        }
    };
    let rows = xs.len() / columns;
    if rows == 1 {
        row(xs, &mut normed);
        return normed;
    }
    let parts = DisjointSlices::new(&mut normed);
    parallel_for(rows, |some| {
        for i in some {
            let range = i * columns..(i + 1) * columns;
            // SAFETY: no other call has this row.
            row(&xs[range.clone()], unsafe { parts.part(range) });
        }
    });
    normed
}
