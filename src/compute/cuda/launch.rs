//! The kernels on a device: loaded once, and launched by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, DeviceId, WrapErr};
use candle_core::{DType, Device, Result, Storage, Tensor, bail};

/// `kernels.cu`: machine code for some GPUs, and PTX, which drivers translate for all others.
const FATBIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// A kernel's name, such as `attend_float_half_128_4`. Parts that are empty or 0 are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    pub kernel: &'static str,
    pub types: &'static str,
    pub dim: usize,
    pub rows: usize,
}

impl Name {
    pub fn new(kernel: &'static str, types: &'static str) -> Self {
        Self { kernel, types, dim: 0, rows: 0 }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel)?;
        if !self.types.is_empty() {
            write!(f, "_{}", self.types)?;
        }
        for number in [self.dim, self.rows] {
            if number > 0 {
                write!(f, "_{number}")?;
            }
        }
        Ok(())
    }
}

/// The kernels on one device. Looking one up by its name takes the driver longer than launching it.
struct Kernels {
    device: DeviceId,
    module: Arc<CudaModule>,
    functions: HashMap<Name, CudaFunction>,
    multiprocessors: usize,
}

impl Kernels {
    fn load(device: &CudaDevice) -> Result<Self> {
        use sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as COUNT;
        let stream = device.cuda_stream();
        let context = stream.context();
        let module = context.load_module(Ptx::from_binary(FATBIN.to_vec())).w()?;
        let multiprocessors = context.attribute(COUNT).w()?.max(1).unsigned_abs() as usize;
        Ok(Self { device: device.id(), module, functions: HashMap::new(), multiprocessors })
    }

    fn function(&mut self, name: Name) -> Result<CudaFunction> {
        if let Some(function) = self.functions.get(&name) {
            return Ok(function.clone());
        }
        let function = self.module.load_function(&name.to_string()).w()?;
        self.functions.insert(name, function.clone());
        Ok(function)
    }
}

/// Those of the device that was used last. An LLM has one.
static LOADED: Mutex<Option<Kernels>> = Mutex::new(None);

/// Unloads the kernels, before their context is destroyed.
pub fn forget() {
    *LOADED.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn with_kernels<T>(device: &CudaDevice, work: impl FnOnce(&mut Kernels) -> Result<T>) -> Result<T> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *loaded {
        Some(kernels) if kernels.device == device.id() => work(kernels),
        other => work(other.insert(Kernels::load(device)?)),
    }
}

/// How many multiprocessors the device has.
pub fn multiprocessors(device: &CudaDevice) -> Result<usize> {
    with_kernels(device, |kernels| Ok(kernels.multiprocessors))
}

/// An argument of a kernel.
pub enum Argument<'a> {
    Address(u64),
    Integer(i32),
    Float(f32),
    Recent(&'a Recent),
}

/// `Recent` of `choice.cuh`.
#[repr(C)]
pub struct Recent {
    pub count: u32,
    pub ids: [u32; Self::MOST],
}

impl Recent {
    pub const MOST: usize = 64;
}

// SAFETY: it consists of `u32`s, and the kernel's parameter has the same layout.
unsafe impl DeviceRepr for Recent {}

/// Launches a kernel on a grid of `blocks`.
///
/// # Safety
/// The arguments are those of the kernel, and behind every address is the memory that it uses.
pub unsafe fn launch(
    device: &CudaDevice,
    name: Name,
    blocks: (usize, usize),
    threads: usize,
    arguments: &[Argument],
) -> Result<()> {
    let function = with_kernels(device, |kernels| kernels.function(name))?;
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    for argument in arguments {
        match argument {
            Argument::Address(address) => launch.arg(address),
            Argument::Integer(integer) => launch.arg(integer),
            Argument::Float(float) => launch.arg(float),
            Argument::Recent(recent) => launch.arg(*recent),
        };
    }
    let config = LaunchConfig {
        grid_dim: (blocks.0 as u32, blocks.1 as u32, 1),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: as the caller promises.
    unsafe { launch.launch(config) }.w()?;
    Ok(())
}

pub fn cuda_device(tensor: &Tensor) -> Result<CudaDevice> {
    match tensor.device() {
        Device::Cuda(device) => Ok(device.clone()),
        _ => bail!("a tensor of the LLM is not on the GPU"),
    }
}

/// The address of a tensor's first value. Its rows must lie as the kernel expects.
pub fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { bail!("a tensor of the LLM is not on the GPU") };
    let stream = storage.device.cuda_stream();
    // All work is on one stream, in order, so nothing has to wait for the events that these guards
    // record.
    let start = match &storage.slice {
        CudaStorageSlice::F32(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::F16(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::BF16(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::U32(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::U8(slice) => slice.device_ptr(&stream).0,
        _ => bail!("there is no kernel for {:?}", tensor.dtype()),
    };
    Ok(start + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64)
}

/// The type's name in the kernels' names.
pub fn type_name(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("float"),
        DType::F16 => Ok("half"),
        DType::BF16 => Ok("bf16"),
        other => bail!("there is no kernel for {other:?}"),
    }
}

/// The types' names in the names of kernels for activations of type `dtype` and a KV cache of type
/// `cached`.
pub fn type_names(dtype: DType, cached: DType) -> Result<&'static str> {
    match (dtype, cached) {
        (DType::F32, DType::F32) => Ok("float_float"),
        (DType::F32, DType::F16) => Ok("float_half"),
        (DType::F16, DType::F16) => Ok("half_half"),
        (DType::BF16, DType::BF16) => Ok("bf16_bf16"),
        other => bail!("there is no kernel for {other:?}"),
    }
}
