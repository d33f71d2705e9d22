//! What our kernels are made for. A program without them plans memory by it, too.

use candle_core::DType;

/// Whether there are attention kernels for heads of `dim` values.
pub fn has_heads_of(dim: usize) -> bool {
    matches!(dim, 64 | 128)
}

/// Whether `prefill` has a kernel for heads of `dim` values, activations of type `dtype` and a KV
/// cache of type `cached`.
pub fn prefills(dim: usize, dtype: DType, cached: DType) -> bool {
    has_heads_of(dim) && cached == DType::F16 && matches!(dtype, DType::F32 | DType::F16)
}
