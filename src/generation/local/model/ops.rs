//! What a layer does between its matrix products: in one launch each on a GPU, and without waking
//! threads for one row on the CPU.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::silu;

/// `RMSNorm` (Zhang and Sennrich 2019), `[rows, columns]` → the same.
pub fn norm(xs: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    launches::count(1);
    #[cfg(target_arch = "x86_64")]
    if xs.device().is_cpu() {
        return super::linear::on_values([xs, weight], |[xs, weight]| {
            crate::compute::quantized::rms_norm(xs, weight, epsilon)
        })?
        .reshape(xs.shape());
    }
    candle_nn::ops::rms_norm(&xs.contiguous()?, weight, epsilon)
}

/// `hidden + delta`, and its norm.
pub fn add_norm(
    hidden: &Tensor,
    delta: &Tensor,
    weight: &Tensor,
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if hidden.device().is_cuda() {
        launches::count(1);
        return crate::compute::cuda::add_norm(hidden, delta, weight, epsilon);
    }
    let sum = (hidden + delta)?;
    let normed = norm(&sum, weight, epsilon)?;
    Ok((sum, normed))
}

/// `silu(first half) · second half` (`SwiGLU`, Shazeer 2020): `[rows, 2 · columns]` → `[rows,
/// columns]`.
pub fn gate(both: &Tensor) -> Result<Tensor> {
    launches::count(1);
    #[cfg(feature = "cuda")]
    if both.device().is_cuda() {
        return crate::compute::cuda::gate(both);
    }
    let width = both.dim(D::Minus1)? / 2;
    silu(&both.narrow(D::Minus1, 0, width)?.contiguous()?)?
        * both.narrow(D::Minus1, width, width)?.contiguous()?
}

/// How many kernels a GPU is asked to start: decode waits for these. Counted where the code that a
/// GPU runs starts them, so that a test on the CPU, which runs the same code, sees the same number.
pub mod launches {
    #[cfg(test)]
    use std::cell::Cell;

    #[cfg(test)]
    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    /// Notes that many.
    pub fn count(launches: usize) {
        #[cfg(test)]
        COUNT.set(COUNT.get() + launches);
        let _ = launches;
    }

    /// Those of `work`, on this thread.
    #[cfg(test)]
    pub fn of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = COUNT.get();
        let result = work();
        (result, COUNT.get() - before)
    }
}
