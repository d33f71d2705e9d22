//! Operations between a layer's matrix products: one launch each on a GPU; on the CPU, a single row
//! does not wake the thread pool.
//!
//! Each leaves its result in the form that the next product takes ([`Form`]).

use candle_core::{D, Result, Tensor};
use candle_nn::ops::silu;

use super::probe::count_launches;
use super::values::on_values;
use crate::compute::activation::Activation;
use crate::compute::cuda::{self, Form, Rows};
use crate::compute::norm::rms_norm;

/// `xs` on the CPU, where matrices ask for quantized rows only in tests.
pub fn on_cpu(xs: Tensor, form: Form) -> Rows {
    debug_assert!(cfg!(test) || form == Form::Values, "a CPU kernel quantizes nothing");
    #[cfg(test)]
    if form == Form::Quantized {
        return Rows::AsQuantized(xs);
    }
    Rows::Values(xs)
}

/// `RMSNorm` (Zhang and Sennrich 2019), `[rows, columns]` → `[rows, columns]`.
pub fn norm(xs: &Tensor, weight: &Tensor, epsilon: f32, form: Form) -> Result<Rows> {
    count_launches(1);
    if xs.device().is_cuda() {
        return Ok(cuda::add_norm(xs, None, weight, epsilon, form)?.1);
    }
    let normed = on_values([xs, weight], |[xs, weight]| rms_norm(xs, weight, epsilon))?;
    Ok(on_cpu(normed.reshape(xs.shape())?, form))
}

/// Returns `hidden + delta` and its norm.
pub fn add_norm(
    hidden: &Tensor,
    delta: &Tensor,
    weight: &Tensor,
    epsilon: f32,
    form: Form,
) -> Result<(Tensor, Rows)> {
    if hidden.device().is_cuda() {
        count_launches(1);
        return cuda::add_norm(hidden, Some(delta), weight, epsilon, form);
    }
    let sum = (hidden + delta)?;
    let normed = norm(&sum, weight, epsilon, form)?;
    Ok((sum, normed))
}

/// `activation(first half) · second half` (GLU variants, Shazeer 2020): `[rows, 2 · columns]` →
/// `[rows, columns]`.
pub fn gate(both: &Tensor, activation: Activation, form: Form) -> Result<Rows> {
    if both.device().is_cuda() && activation == Activation::Silu {
        count_launches(1);
        return cuda::gate(both, form);
    }
    let width = both.dim(D::Minus1)? / 2;
    let half = |start| both.narrow(D::Minus1, start, width)?.contiguous();
    let (gate, up) = (half(0)?, half(width)?);
    match activation {
        Activation::Silu => {
            count_launches(1);
            Ok(on_cpu((silu(&gate)? * up)?, form))
        }
        // On a GPU too: two copies and two operations, none of which quantizes.
        Activation::Gelu => {
            count_launches(4);
            Ok(Rows::Values((gate.gelu()? * up)?))
        }
    }
}
