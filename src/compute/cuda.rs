//! Launches the kernels of `kernels.cu`, which `build.rs` compiles to PTX for any GPU.

use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, WrapErr};
use candle_core::{D, DType, Device, Result, Storage, Tensor, bail};

use super::rope::RopeLayout;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
const MODULE: &str = "rag_query_llama";

/// The type's name in the kernels' names.
fn type_name(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("float"),
        DType::F16 => Ok("__half"),
        DType::BF16 => Ok("bf16"),
        other => bail!("there is no kernel for {other:?}"),
    }
}

fn cuda_device(tensor: &Tensor) -> Result<CudaDevice> {
    match tensor.device() {
        Device::Cuda(device) => Ok(device.clone()),
        _ => bail!("a tensor of the LLM is not on the GPU"),
    }
}

/// The address of a tensor's first value. Its rows must lie as the kernel expects.
fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { bail!("a tensor of the LLM is not on the GPU") };
    let stream = storage.device.cuda_stream();
    // All work is on one stream, in order, so nothing has to wait for the events that these guards
    // record.
    let start = match &storage.slice {
        CudaStorageSlice::F32(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::F16(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::BF16(slice) => slice.device_ptr(&stream).0,
        _ => bail!("there is no kernel for {:?}", tensor.dtype()),
    };
    Ok(start + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64)
}

enum Argument {
    Address(u64),
    Integer(i32),
    Size(usize),
    Float(f32),
}

use Argument::{Address, Float, Integer, Size};

/// # Safety
/// The arguments are those of the kernel, and behind every address is the memory that it uses.
unsafe fn launch(
    device: &CudaDevice,
    name: &str,
    blocks: (usize, usize),
    threads: usize,
    arguments: &[Argument],
) -> Result<()> {
    let function = device.get_or_load_custom_func(name, MODULE, PTX)?;
    let mut launch = function.builder();
    for argument in arguments {
        match argument {
            Address(address) => launch.arg(address),
            Integer(integer) => launch.arg(integer),
            Size(size) => launch.arg(size),
            Float(float) => launch.arg(float),
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

/// `hidden + delta`, and its `RMSNorm`: `[rows, columns]` each.
pub fn add_norm(
    hidden: &Tensor,
    delta: &Tensor,
    weight: &Tensor,
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    let (rows, columns) = hidden.dims2()?;
    let (hidden, delta) = (hidden.contiguous()?, delta.contiguous()?);
    // SAFETY: the kernel writes all of both.
    let (sum, normed) = unsafe { (hidden.empty_like()?, hidden.empty_like()?) };
    let name = format!("add_norm_{}", type_name(hidden.dtype())?);
    let threads = columns.next_multiple_of(32).min(1024);
    let arguments = [
        Address(address(&hidden)?),
        Address(address(&delta)?),
        Address(address(weight)?),
        Address(address(&sum)?),
        Address(address(&normed)?),
        Integer(columns as i32),
        Float(epsilon),
    ];
    // SAFETY: all of them are `[rows, columns]`, the weight `[columns]`, of one type.
    unsafe { launch(&cuda_device(&hidden)?, &name, (rows, 1), threads, &arguments)? };
    Ok((sum, normed))
}

/// `silu(first half) · second half`: `[rows, 2 · columns]` → `[rows, columns]`.
pub fn gate(both: &Tensor) -> Result<Tensor> {
    let (rows, width) = both.dims2()?;
    let both = both.contiguous()?;
    // SAFETY: the kernel writes all of it.
    let out = unsafe { Tensor::empty((rows, width / 2), both.dtype(), both.device())? };
    let name = format!("gate_{}", type_name(both.dtype())?);
    let count = rows * (width / 2);
    let arguments = [
        Address(address(&both)?),
        Address(address(&out)?),
        Integer((width / 2) as i32),
        Size(count),
    ];
    // SAFETY: the shapes are as the kernel says.
    unsafe { launch(&cuda_device(&both)?, &name, (count.div_ceil(256), 1), 256, &arguments)? };
    Ok(out)
}

/// Heads in a projection's output, `[tokens, some heads · dim]`, each row contiguous.
pub struct Projected<'a> {
    pub tensor: &'a Tensor,
    /// Where the first head begins in a row.
    pub start: usize,
}

impl Projected<'_> {
    fn address(&self) -> Result<u64> {
        Ok(address(self.tensor)? + (self.start * self.tensor.dtype().size_in_bytes()) as u64)
    }

    fn row(&self) -> Result<i32> {
        Ok(self.tensor.dim(D::Minus1)? as i32)
    }
}

/// Rotates queries and keys, and writes keys and values into the cache, `[1, kv_heads, context,
/// dim]` each, from `position` on. Returns the queries, divided by √dim, `[heads, tokens, dim]`.
pub fn rope_append(
    [q, k, v]: [Projected; 3],
    (cos, sin, layout): (&Tensor, &Tensor, RopeLayout),
    (k_cache, v_cache): (&Tensor, &Tensor),
    heads: usize,
    position: usize,
) -> Result<Tensor> {
    let (_, kv_heads, context, dim) = k_cache.dims4()?;
    let tokens = q.tensor.dim(0)?;
    if position + tokens > context {
        bail!("the context is full");
    }
    let (dtype, cached) = (q.tensor.dtype(), k_cache.dtype());
    // SAFETY: the kernel writes all of it.
    let rotated = unsafe { Tensor::empty((heads, tokens, dim), dtype, q.tensor.device())? };
    let name = format!("rope_append_{}_{}", type_name(dtype)?, type_name(cached)?);
    let arguments = [
        Address(q.address()?),
        Address(k.address()?),
        Address(v.address()?),
        Integer(q.row()?),
        Integer(k.row()?),
        Integer(v.row()?),
        Address(address(cos)?),
        Address(address(sin)?),
        Address(address(&rotated)?),
        Address(address(k_cache)?),
        Address(address(v_cache)?),
        Integer(heads as i32),
        Integer(kv_heads as i32),
        Integer(dim as i32),
        Integer(position as i32),
        Integer(context as i32),
        Integer(i32::from(layout == RopeLayout::Interleaved)),
        Float(1.0 / (dim as f32).sqrt()),
    ];
    let blocks = (tokens, heads + 2 * kv_heads);
    // SAFETY: the shapes are as the kernel says, and these positions are in the cache.
    unsafe { launch(&cuda_device(q.tensor)?, &name, blocks, dim / 2, &arguments)? };
    Ok(rotated)
}

/// Whether [`attend_one`] has a kernel for heads of `dim` values.
pub fn attends(dim: usize) -> bool {
    matches!(dim, 32 | 64 | 96 | 128)
}

/// Attention of one position, `q` `[heads, 1, dim]`, over the first `keys` of the cache: `[1,
/// heads · dim]`.
pub fn attend_one(q: &Tensor, k: &Tensor, v: &Tensor, keys: usize) -> Result<Tensor> {
    let (_, kv_heads, context, dim) = k.dims4()?;
    let heads = q.dim(0)?;
    if !attends(dim) || keys > context {
        bail!("there is no attention kernel for {keys} keys of {dim} values");
    }
    // SAFETY: the kernel writes all of it.
    let out = unsafe { Tensor::empty((1, heads * dim), q.dtype(), q.device())? };
    let (activations, cached) = (type_name(q.dtype())?, type_name(k.dtype())?);
    let name = format!("attend_one_{activations}_{cached}_{}", dim / 32);
    let arguments = [
        Address(address(q)?),
        Address(address(k)?),
        Address(address(v)?),
        Address(address(&out)?),
        Integer((heads / kv_heads) as i32),
        Integer(keys as i32),
        Integer(context as i32),
    ];
    // SAFETY: the shapes are as the kernel says; it takes 16 warps at most.
    unsafe { launch(&cuda_device(q)?, &name, (heads, 1), 512, &arguments)? };
    Ok(out)
}
