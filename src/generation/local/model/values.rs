//! Access to the values of CPU tensors, for kernels that work on slices of `f32`. Tensors of 16 bits are
//! widened, and results rounded to the type of the first one.

use candle_core::{DType, Device, Result, Storage, Tensor};

/// Applies `compute` to the values of tensors; returns its result as a vector.
pub fn on_values<const N: usize>(
    tensors: [&Tensor; N],
    compute: impl FnOnce([&[f32]; N]) -> Vec<f32>,
) -> Result<Tensor> {
    let dtype = tensors.first().map_or(DType::F32, |first| first.dtype());
    let values = with_values(tensors, compute)?;
    let length = values.len();
    Tensor::from_vec(values, length, &Device::Cpu)?.to_dtype(dtype)
}

/// Applies `compute` to the values of tensors.
pub fn with_values<T, const N: usize>(
    tensors: [&Tensor; N],
    compute: impl FnOnce([&[f32]; N]) -> T,
) -> Result<T> {
    let widened = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.contiguous();
    let tensors: Vec<Tensor> = tensors.into_iter().map(widened).collect::<Result<_>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [[].as_slice(); N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            candle_core::bail!("a CPU operation was given a tensor on a GPU")
        };
        let start = layout.start_offset();
        *slice = &storage.as_slice::<f32>()?[start..start + layout.shape().elem_count()];
    }
    Ok(compute(slices))
}
