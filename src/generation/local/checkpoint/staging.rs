//! Two buffers of pinned memory, through which weights go to a GPU.

#![allow(unsafe_code, reason = "copies to addresses on a GPU")]

use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use candle_core::cuda_backend::cudarc::driver::result::{self, DriverError};
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, DevicePtr};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, WrapErr};
use candle_core::quantized::GgmlDType;
use candle_core::quantized::cuda::QCudaStorage;
use candle_core::{DType, Device, Storage, Tensor};

use super::view::TensorView;
use crate::compute::pool::parallel_for_chunks;

/// Bytes of a buffer: a copy of this size runs at the full speed of any bus.
const BUFFER: usize = 32 << 20;
/// Bytes that a thread copies at a time.
const SHARE: usize = 1 << 20;

/// The buffers, and the stream that reads them.
pub struct Staging {
    stream: Arc<CudaStream>,
    /// The one that is filled next comes first.
    buffers: Mutex<[Buffer; 2]>,
}

/// Pinned memory.
struct Buffer {
    start: *mut u8,
    stream: Arc<CudaStream>,
    /// Happens when the GPU has read it; absent while nothing waits to be read.
    read: Option<CudaEvent>,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for Buffer {}

impl Staging {
    pub fn new(device: &CudaDevice) -> candle_core::Result<Self> {
        let stream = device.cuda_stream();
        let buffers = [Buffer::new(&stream).w()?, Buffer::new(&stream).w()?];
        Ok(Self { stream, buffers: Mutex::new(buffers) })
    }

    /// Allocates a matrix of `count` values, and fills it with `parts` one behind the other.
    pub fn quantized(
        &self,
        device: &CudaDevice,
        parts: &[TensorView],
        dtype: GgmlDType,
        count: usize,
    ) -> Result<QCudaStorage> {
        let storage = QCudaStorage::zeros(device, count, dtype)?;
        let start = storage.device_ptr()? as u64;
        // SAFETY: the matrix has as many bytes, and padding behind them.
        unsafe { self.fill(parts, start, count / dtype.block_size() * dtype.type_size())? };
        Ok(storage)
    }

    /// Allocates a matrix of `shape`, of the type that its parts have in the file, and fills it with
    /// them one behind the other.
    pub fn tensor(
        &self,
        device: &Device,
        parts: &[TensorView],
        shape: (usize, usize),
        dtype: DType,
    ) -> Result<Tensor> {
        // SAFETY: all of it is written before it is read, on the same stream.
        let tensor = unsafe { Tensor::empty(shape, dtype, device)? };
        let start = {
            let (storage, _) = tensor.storage_and_layout();
            let Storage::Cuda(storage) = &*storage else { anyhow::bail!("it is not on a GPU") };
            match &storage.slice {
                CudaStorageSlice::F32(slice) => slice.device_ptr(&self.stream).0,
                CudaStorageSlice::F16(slice) => slice.device_ptr(&self.stream).0,
                CudaStorageSlice::BF16(slice) => slice.device_ptr(&self.stream).0,
                _ => anyhow::bail!("weights of type {dtype:?} cannot be loaded"),
            }
        };
        let count = shape.0 * shape.1;
        // SAFETY: the tensor has as many bytes.
        unsafe { self.fill(parts, start, count * dtype.size_in_bytes())? };
        Ok(tensor)
    }

    /// Copies tensors to an address on the GPU, one behind the other.
    ///
    /// # Safety
    /// `bytes` bytes belong to that address, and are used by nothing but this stream.
    unsafe fn fill(&self, parts: &[TensorView], mut to: u64, bytes: usize) -> Result<()> {
        let all: usize = parts.iter().map(|part| part.data.len()).sum();
        anyhow::ensure!(all == bytes, "there are {all} bytes for a matrix of {bytes}");
        for part in parts {
            // SAFETY: the parts together are as long as the memory, as checked.
            unsafe { self.copy(part, to) }.w()?;
            to += part.data.len() as u64;
        }
        Ok(())
    }

    /// Copies a tensor to an address on the GPU.
    ///
    /// # Safety
    /// As many bytes belong to that address, and are used by nothing but this stream.
    unsafe fn copy(&self, part: &TensorView, mut to: u64) -> Result<(), DriverError> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        part.data.will_need();
        for chunk in part.data.chunks(BUFFER) {
            buffers.swap(0, 1);
            let [buffer, _] = &mut *buffers;
            buffer.fill(chunk)?;
            // SAFETY: the caller answers for the address. The buffer is not written to before the
            // event that is recorded now.
            unsafe { buffer.send(chunk.len(), to)? };
            to += chunk.len() as u64;
        }
        part.data.release();
        Ok(())
    }
}

impl Buffer {
    fn new(stream: &Arc<CudaStream>) -> Result<Self, DriverError> {
        // SAFETY: the context of this device is current on this thread; all bytes are written.
        let start: *mut u8 = unsafe {
            let start = result::malloc_host(BUFFER, 0)?.cast::<u8>();
            start.write_bytes(0, BUFFER);
            start
        };
        Ok(Self { start, stream: Arc::clone(stream), read: None })
    }

    /// Waits until the GPU has read what is in it, and replaces that. At most [`BUFFER`] bytes.
    fn fill(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        if let Some(read) = self.read.take() {
            read.synchronize()?;
        }
        // SAFETY: it is this value's memory, has as many bytes, and nobody reads it now.
        let to = unsafe { slice::from_raw_parts_mut(self.start, bytes.len().min(BUFFER)) };
        parallel_for_chunks(to, SHARE, |shares, to| {
            let start = shares.start * SHARE;
            to.copy_from_slice(&bytes[start..start + to.len()]);
        });
        Ok(())
    }

    /// Lets the GPU read the first `length` bytes, after what it has to do before.
    ///
    /// # Safety
    /// As many bytes belong to the address, and are used by nothing but this stream.
    unsafe fn send(&mut self, length: usize, to: u64) -> Result<(), DriverError> {
        // SAFETY: `fill` has written these bytes.
        let bytes = unsafe { slice::from_raw_parts(self.start, length) };
        // SAFETY: the caller answers for the address; the buffer lives until the event happened.
        unsafe { result::memcpy_htod_async(to, bytes, self.stream.cu_stream())? };
        self.read = Some(self.stream.record_event(None)?);
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(read) = self.read.take() {
            let _ = read.synchronize();
        }
        // SAFETY: it is from `malloc_host`, and the GPU has read it, or its context is lost.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}
