//! A build without CUDA: every wish for a GPU is an error that says so.

use candle_core::Device;

use super::{Gpu, GpuError};

/// The state of a GPU; `None` asks for the one with most free memory.
pub fn probe(_ordinal: Option<usize>) -> Result<Gpu, GpuError> {
    Err(GpuError::NotBuilt)
}

/// Creates the CUDA context of a GPU.
pub fn device(_ordinal: usize) -> Result<Device, GpuError> {
    Err(GpuError::NotBuilt)
}
