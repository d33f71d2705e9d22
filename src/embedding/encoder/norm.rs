//! Layer normalization (Ba et al. 2016).

use anyhow::Result;

use super::checkpoint::EncoderCheckpoint;
use crate::compute::SimdLevel;
use crate::compute::dense::rows;
use crate::compute::pool::parallel_for_chunks;

/// The parameters of a layer normalization.
pub struct LayerNorm {
    weight: Vec<f32>,
    /// Zeros if the model has none.
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// Loads the norm `name` of vectors of `hidden` values.
    pub fn load(
        tensors: &EncoderCheckpoint,
        name: &str,
        hidden: usize,
        epsilon: f32,
        has_bias: bool,
    ) -> Result<Self> {
        let weight = tensors.vector(&format!("{name}.weight"), hidden)?;
        let bias = match has_bias {
            true => tensors.vector(&format!("{name}.bias"), hidden)?,
            false => vec![0.0; hidden],
        };
        Ok(Self { weight, bias, epsilon })
    }

    /// `[rows, hidden]`, in place.
    pub fn forward(&self, xs: &mut [f32]) {
        let (hidden, level) = (self.weight.len(), SimdLevel::detect());
        parallel_for_chunks(xs, hidden, |_, rows| {
            for row in rows.chunks_exact_mut(hidden) {
                self.row(level, row);
            }
        });
    }

    /// `[rows, hidden]` into `normed`, of the same size.
    pub fn forward_into(&self, xs: &[f32], normed: &mut [f32]) {
        let (hidden, level) = (self.weight.len(), SimdLevel::detect());
        parallel_for_chunks(normed, hidden, |rows, normed| {
            let xs = &xs[rows.start * hidden..rows.end * hidden];
            for (row, x) in normed.chunks_exact_mut(hidden).zip(xs.chunks_exact(hidden)) {
                row.copy_from_slice(x);
                self.row(level, row);
            }
        });
    }

    fn row(&self, level: SimdLevel, row: &mut [f32]) {
        rows::layer_norm(level, row, &self.weight, &self.bias, self.epsilon);
    }
}
