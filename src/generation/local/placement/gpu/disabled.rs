//! Builds without CUDA: every request for a GPU fails with an error that says so.

use candle_core::Device;

use super::{BuiltKernels, CudaVersion, Driver, Gpu, GpuError, Holder};

/// A driver without any GPU.
pub struct NoCuda;

pub static DRIVER: NoCuda = NoCuda;

impl Driver for NoCuda {
    fn kernels(&self) -> BuiltKernels {
        BuiltKernels { cuda: CudaVersion(0), target: None }
    }

    fn version(&self) -> Result<CudaVersion, GpuError> {
        Err(GpuError::NotBuilt)
    }

    fn count(&self) -> Result<usize, GpuError> {
        Err(GpuError::NotBuilt)
    }

    fn gpu(&self, _ordinal: usize) -> Result<Gpu, GpuError> {
        Err(GpuError::NotBuilt)
    }

    fn holders(&self, _ordinal: usize) -> Vec<Holder> {
        Vec::new()
    }

    fn open(&self, _gpu: &Gpu) -> Result<Device, GpuError> {
        Err(GpuError::NotBuilt)
    }

    fn has_cublas(&self) -> bool {
        false
    }

    fn reset(&self, _ordinal: usize) {}

    fn launched(&self, _device: &Device) -> candle_core::Result<()> {
        Ok(())
    }
}
