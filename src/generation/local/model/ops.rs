//! Operations between a layer's matrix products: one launch each on a GPU; on the CPU, a single row
//! does not wake the thread pool.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::silu;

use super::probe::count_launches;
use super::values::on_values;
use crate::compute::cuda;
use crate::compute::norm::rms_norm;

/// `RMSNorm` (Zhang and Sennrich 2019), `[rows, columns]` → `[rows, columns]`.
pub fn norm(xs: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    count_launches(1);
    if xs.device().is_cpu() {
        return on_values([xs, weight], |[xs, weight]| rms_norm(xs, weight, epsilon))?
            .reshape(xs.shape());
    }
    candle_nn::ops::rms_norm(&xs.contiguous()?, weight, epsilon)
}

/// Returns `hidden + delta` and its norm.
pub fn add_norm(
    hidden: &Tensor,
    delta: &Tensor,
    weight: &Tensor,
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    if hidden.device().is_cuda() {
        count_launches(1);
        return cuda::add_norm(hidden, delta, weight, epsilon);
    }
    let sum = (hidden + delta)?;
    let normed = norm(&sum, weight, epsilon)?;
    Ok((sum, normed))
}

/// `silu(first half) · second half` (`SwiGLU`, Shazeer 2020): `[rows, 2 · columns]` → `[rows,
/// columns]`.
pub fn gate(both: &Tensor) -> Result<Tensor> {
    count_launches(1);
    if both.device().is_cuda() {
        return cuda::gate(both);
    }
    let width = both.dim(D::Minus1)? / 2;
    silu(&both.narrow(D::Minus1, 0, width)?.contiguous()?)?
        * both.narrow(D::Minus1, width, width)?.contiguous()?
}
