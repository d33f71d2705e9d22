//! The CUDA driver via cudarc: a thin layer without any decisions.

#![allow(unsafe_code, reason = "calls into the CUDA driver")]

use std::ffi::{CStr, c_char, c_int};

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::result::{self, DriverError};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, sys};

use super::kernels::Target;
use super::nvml::Nvml;
use super::{BuiltKernels, Capability, CudaVersion, Driver, Gpu, GpuError, Holder};

/// The installed CUDA driver.
pub struct Cuda;

pub static DRIVER: Cuda = Cuda;

unsafe extern "C" {
    /// Version of the CUDA runtime library that candle's kernels are linked with.
    fn cudaRuntimeGetVersion(version: *mut c_int) -> c_int;
}

impl Driver for Cuda {
    fn kernels(&self) -> BuiltKernels {
        let mut version: c_int = 0;
        // SAFETY: it writes one int, and needs neither a driver nor a GPU.
        let status = unsafe { cudaRuntimeGetVersion(&raw mut version) };
        let version = if status == 0 { version.unsigned_abs() } else { 0 };
        // What the kernels' build script was configured with, and whether PTX was embedded.
        let portable = option_env!("RAG_QUERY_CUDA_PTX").is_some();
        let target = option_env!("CUDA_COMPUTE_CAP").and_then(|cap| Target::parse(cap, portable));
        BuiltKernels { cuda: CudaVersion(version), target }
    }

    fn version(&self) -> Result<CudaVersion, GpuError> {
        let mut version: c_int = 0;
        // SAFETY: it writes one int, and may be called before anything else.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(no_driver)?;
        Ok(CudaVersion(version.unsigned_abs()))
    }

    fn count(&self) -> Result<usize, GpuError> {
        match result::init().and_then(|()| result::device::get_count()) {
            Ok(count) => Ok(count.unsigned_abs() as usize),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
            Err(error) => Err(no_driver(error)),
        }
    }

    fn gpu(&self, ordinal: usize) -> Result<Gpu, GpuError> {
        let unusable = |error: DriverError| GpuError::Unusable { ordinal, reason: words(error) };
        let device = device(ordinal).map_err(unusable)?;
        let (capability, total) = properties(device).map_err(unusable)?;
        let name = result::device::get_name(device).map_err(unusable)?;
        // NVML reports memory without creating a context. Its figures are for the whole GPU, so
        // they do not apply to a MIG slice, which has its own memory.
        let whole = nvml_memory(device).filter(|memory| memory.total.abs_diff(total) < total / 8);
        let free = match whole {
            Some(memory) => memory.free,
            // The context is released at the end of this statement.
            None => {
                CudaContext::new(ordinal)
                    .and_then(|context| context.mem_get_info())
                    .map_err(unusable)?
                    .0 as u64
            }
        };
        Ok(Gpu { ordinal, name, capability, free: free.min(total), total })
    }

    fn holders(&self, ordinal: usize) -> Vec<Holder> {
        let holders =
            device(ordinal).ok().and_then(|device| Nvml::open()?.holders(&bus_id(device)?));
        let mut holders = holders.unwrap_or_default();
        holders.retain(|holder| holder.pid != std::process::id());
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.bytes), holder.pid));
        holders
    }

    fn open(&self, gpu: &Gpu) -> Result<Device, GpuError> {
        Device::new_cuda(gpu.ordinal).map_err(|error| GpuError::Unusable {
            ordinal: gpu.ordinal,
            // First line only: candle may append a backtrace.
            reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })
    }
}

fn device(ordinal: usize) -> Result<sys::CUdevice, DriverError> {
    result::init()?;
    result::device::get(ordinal as c_int)
}

/// Compute capability, and total memory in bytes.
fn properties(device: sys::CUdevice) -> Result<(Capability, u64), DriverError> {
    use sys::CUdevice_attribute as Attribute;
    // SAFETY: the device comes from `cuDeviceGet`.
    let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?.unsigned_abs();
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?.unsigned_abs();
    // SAFETY: as above.
    let total = unsafe { result::device::total_mem(device) }?;
    Ok((Capability { major, minor }, total as u64))
}

fn nvml_memory(device: sys::CUdevice) -> Option<super::nvml::Memory> {
    Nvml::open()?.memory(&bus_id(device)?)
}

/// Identifies a GPU to both CUDA and NVML, whose numbering may differ.
fn bus_id(device: sys::CUdevice) -> Option<std::ffi::CString> {
    let mut buffer = [0 as c_char; 32];
    // SAFETY: it writes a string with its end into a buffer of that length.
    let status =
        unsafe { sys::cuDeviceGetPCIBusId(buffer.as_mut_ptr(), buffer.len() as c_int, device) };
    status.result().ok()?;
    // SAFETY: the driver ended the string.
    Some(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_owned())
}

fn no_driver(error: DriverError) -> GpuError {
    GpuError::NoDriver { reason: words(error) }
}

fn words(error: DriverError) -> String {
    match error {
        // The error of the program's stub for the library, see ci/cuda-shim.py.
        DriverError(sys::CUresult::CUDA_ERROR_STUB_LIBRARY) => {
            "libcuda.so.1, the driver's library, cannot be opened".to_owned()
        }
        DriverError(code) => match error.error_string() {
            Ok(text) => format!("{}; {code:?}", text.to_string_lossy()),
            Err(_) => format!("{code:?}"),
        },
    }
}
