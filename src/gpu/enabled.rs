//! The driver, through cudarc. The first call creates a CUDA context: only the LLM's loader calls.

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError};

use super::{Gpu, GpuError};

/// The state of a GPU; `None` asks for the one with most free memory.
pub fn probe(ordinal: Option<usize>) -> Result<Gpu, GpuError> {
    let count = CudaContext::device_count().map_err(no_driver)?.cast_unsigned() as usize;
    if let Some(wanted) = ordinal {
        if wanted >= count {
            return Err(GpuError::NoSuchDevice { ordinal: wanted, count });
        }
        return state(wanted);
    }
    let mut best: Option<Gpu> = None;
    for ordinal in 0..count {
        let gpu = state(ordinal)?;
        if best.as_ref().is_none_or(|best| gpu.free > best.free) {
            best = Some(gpu);
        }
    }
    best.ok_or(GpuError::NoSuchDevice { ordinal: 0, count })
}

/// Creates the CUDA context of a GPU.
pub fn device(ordinal: usize) -> Result<Device, GpuError> {
    Device::new_cuda(ordinal).map_err(|error| GpuError::NoDriver { reason: error.to_string() })
}

fn state(ordinal: usize) -> Result<Gpu, GpuError> {
    let context = CudaContext::new(ordinal).map_err(no_driver)?;
    let (free, total) = context.mem_get_info().map_err(no_driver)?;
    let name = context.name().map_err(no_driver)?;
    Ok(Gpu { ordinal, name, free: free as u64, total: total as u64 })
}

fn no_driver(error: DriverError) -> GpuError {
    GpuError::NoDriver { reason: error.to_string() }
}
