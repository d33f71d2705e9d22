//! The CUDA driver via cudarc: a thin layer without any decisions.

#![allow(unsafe_code, reason = "calls into the CUDA driver")]

use std::ffi::{CStr, c_char, c_int};

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::result::{self, DriverError};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, sys};
use candle_core::{Device, Error};

use super::kernels::Target;
use super::libraries;
use super::nvml::Nvml;
use super::{BuiltKernels, Capability, ComputeMode, CudaVersion, Driver, Gpu, GpuError, Holder};

/// The installed CUDA driver.
pub struct Cuda;

pub static DRIVER: Cuda = Cuda;

// The CUDA runtime library that candle's kernels are linked with.
unsafe extern "C" {
    fn cudaRuntimeGetVersion(version: *mut c_int) -> c_int;
    /// Returns this thread's last error of a launch, and forgets it.
    fn cudaGetLastError() -> c_int;
    fn cudaGetErrorName(error: c_int) -> *const c_char;
    fn cudaSetDevice(device: c_int) -> c_int;
    fn cudaDeviceReset() -> c_int;
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
        let Properties { capability, mode, multiprocessors, pools, total } =
            properties(device).map_err(unusable)?;
        let name = result::device::get_name(device).map_err(unusable)?;
        // NVML reports memory without creating a context. Its figures are for the whole GPU, so
        // they do not apply to a MIG slice, which has its own memory.
        let whole = nvml_memory(device).filter(|memory| memory.total.abs_diff(total) < total / 8);
        let free = match whole {
            Some(memory) => memory.free,
            // No context can be had there.
            None if mode == ComputeMode::Prohibited => total,
            // The context is released at the end of this statement.
            None => {
                CudaContext::new(ordinal)
                    .and_then(|context| context.mem_get_info())
                    .map_err(unusable)?
                    .0 as u64
            }
        };
        let free = free.min(total);
        Ok(Gpu { ordinal, name, capability, free, total, mode, multiprocessors, pools })
    }

    fn holders(&self, ordinal: usize) -> Vec<Holder> {
        let holders =
            device(ordinal).ok().and_then(|device| Nvml::get()?.holders(&bus_id(device)?));
        let mut holders = holders.unwrap_or_default();
        holders.retain(|holder| holder.pid != std::process::id());
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.bytes), holder.pid));
        holders
    }

    fn open(&self, gpu: &Gpu) -> Result<Device, GpuError> {
        // A stream of its own and not each thread's, so that whoever answers need not be who loaded.
        let device =
            CudaDevice::new_with_stream(gpu.ordinal).map_err(|error| GpuError::Unusable {
                ordinal: gpu.ordinal,
                // First line only: candle may append a backtrace.
                reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
            })?;
        // SAFETY: all work is on that one stream, in order, so nothing has to wait for an event.
        unsafe { device.disable_event_tracking() };
        if let Err(error) = keep_freed_memory(gpu.ordinal) {
            tracing::debug!(?error, "the driver gives freed GPU memory back at once");
        }
        Ok(Device::Cuda(device))
    }

    fn observes(&self) -> bool {
        Nvml::get().is_some()
    }

    fn has_cublas(&self) -> bool {
        libraries::cublas()
    }

    fn reset(&self, ordinal: usize) {
        crate::compute::cuda::forget();
        // SAFETY: neither a tensor is left, as the caller promises, nor a kernel. What is called
        // afterwards makes the context anew; until then, this thread has none.
        unsafe {
            if cudaSetDevice(ordinal as c_int) == 0 {
                cudaDeviceReset();
            }
            let _ = sys::cuCtxSetCurrent(std::ptr::null_mut());
            // What failed before is nothing that the next load should fail of.
            cudaGetLastError();
        }
    }

    fn launched(&self, device: &Device) -> candle_core::Result<()> {
        if !device.is_cuda() {
            return Ok(());
        }
        // SAFETY: they have no preconditions; the name is a constant of the library.
        let name = unsafe {
            match cudaGetLastError() {
                0 => return Ok(()),
                error => CStr::from_ptr(cudaGetErrorName(error)),
            }
        };
        let name = name.to_string_lossy();
        Err(Error::Cuda(format!("{name}: a kernel could not be launched").into()))
    }
}

/// Lets the driver keep freed memory for the next allocation, instead of unmapping it whenever the
/// device is idle, which is twice a token. The load plan counts that memory anyway.
fn keep_freed_memory(ordinal: usize) -> Result<(), DriverError> {
    let mut all = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let device = device(ordinal)?;
    // SAFETY: the device is there, and the attribute is a 64-bit integer.
    unsafe {
        let pool = result::device::get_default_mem_pool(device)?;
        result::mem_pool::set_attribute(pool, threshold, (&raw mut all).cast())
    }
}

fn device(ordinal: usize) -> Result<sys::CUdevice, DriverError> {
    result::init()?;
    result::device::get(ordinal as c_int)
}

struct Properties {
    capability: Capability,
    mode: ComputeMode,
    multiprocessors: usize,
    pools: bool,
    /// Memory in bytes.
    total: u64,
}

fn properties(device: sys::CUdevice) -> Result<Properties, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    // SAFETY: the device comes from `cuDeviceGet`.
    let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?.unsigned_abs();
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?.unsigned_abs();
    // `CUcomputemode`; 1 was for one thread and is no more.
    let mode = match attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_MODE)? {
        2 => ComputeMode::Prohibited,
        1 | 3 => ComputeMode::Exclusive,
        _ => ComputeMode::Shared,
    };
    let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let multiprocessors = multiprocessors.max(1).unsigned_abs() as usize;
    let pools = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? > 0;
    // SAFETY: as above.
    let total = unsafe { result::device::total_mem(device) }? as u64;
    let capability = Capability { major, minor };
    Ok(Properties { capability, mode, multiprocessors, pools, total })
}

fn nvml_memory(device: sys::CUdevice) -> Option<super::nvml::Memory> {
    Nvml::get()?.memory(&bus_id(device)?)
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
        // The error of the program's stub for the library, see build/lazy_libraries.rs.
        DriverError(sys::CUresult::CUDA_ERROR_STUB_LIBRARY) => {
            "libcuda.so.1, the driver's library, cannot be opened".to_owned()
        }
        DriverError(code) => match error.error_string() {
            Ok(text) => format!("{}; {code:?}", text.to_string_lossy()),
            Err(_) => format!("{code:?}"),
        },
    }
}
