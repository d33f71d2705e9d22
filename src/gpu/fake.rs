//! A driver for tests: GPUs whose state a test sets, on a machine that has none.

use std::sync::Mutex;

use candle_core::Device;

use super::kernels::Target;
use super::{Capability, CudaVersion, Driver, Gpu, GpuError, Holder, Kernels};

/// 2^30 bytes.
pub const GIB: u64 = 1 << 30;

/// GPUs that are only numbers. What they "open" is the CPU.
pub struct FakeDriver {
    pub no_driver: bool,
    pub version: CudaVersion,
    pub holders: Vec<Holder>,
    pub gpus: Mutex<Vec<Option<Gpu>>>,
}

/// A GPU of 24 GiB and compute capability 8.9.
pub fn gpu(ordinal: usize, free: u64) -> Gpu {
    let capability = Capability { major: 8, minor: 9 };
    Gpu { ordinal, name: "Fake RTX".to_owned(), capability, free, total: 24 * GIB }
}

impl FakeDriver {
    pub fn with(gpus: impl IntoIterator<Item = Gpu>) -> Self {
        Self {
            no_driver: false,
            version: CudaVersion(13000),
            holders: Vec::new(),
            gpus: Mutex::new(gpus.into_iter().map(Some).collect()),
        }
    }

    /// Another program takes or gives back memory.
    pub fn set_free(&self, ordinal: usize, free: u64) {
        self.gpus.lock().unwrap()[ordinal].as_mut().unwrap().free = free;
    }

    /// The GPU answers nothing any more.
    pub fn break_gpu(&self, ordinal: usize) {
        self.gpus.lock().unwrap()[ordinal] = None;
    }
}

impl Driver for FakeDriver {
    fn kernels(&self) -> Kernels {
        Kernels { cuda: CudaVersion(13000), target: Target::parse("80", true) }
    }

    fn version(&self) -> Result<CudaVersion, GpuError> {
        Ok(self.version)
    }

    fn count(&self) -> Result<usize, GpuError> {
        if self.no_driver {
            return Err(GpuError::NoDriver { reason: "libcuda.so.1 was not found".to_owned() });
        }
        Ok(self.gpus.lock().unwrap().len())
    }

    fn gpu(&self, ordinal: usize) -> Result<Gpu, GpuError> {
        let gpu = self.gpus.lock().unwrap()[ordinal].clone();
        gpu.ok_or(GpuError::Unusable { ordinal, reason: "it does not answer".to_owned() })
    }

    fn holders(&self, _ordinal: usize) -> Vec<Holder> {
        self.holders.clone()
    }

    fn open(&self, _gpu: &Gpu) -> Result<Device, GpuError> {
        Ok(Device::Cpu)
    }
}
