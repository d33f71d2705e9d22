//! A fake driver, which lets tests control the GPUs on a machine without any.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;

use candle_core::Device;

use super::kernels::Target;
use super::{BuiltKernels, Capability, CudaVersion, Driver, Gpu, GpuError, Holder};

/// 2^30 bytes.
pub const GIB: u64 = 1 << 30;

thread_local! {
    static INSTALLED: RefCell<Option<&'static FakeDriver>> = const { RefCell::new(None) };
    static ALLOCATIONS_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The fake driver installed on this thread.
pub fn installed() -> Option<&'static dyn Driver> {
    INSTALLED.with_borrow(|driver| driver.map(|driver| driver as &dyn Driver))
}

/// From now on, this thread's device has memory for this many more layers.
pub fn allow_allocations(layers: usize) {
    ALLOCATIONS_LEFT.set(Some(layers));
}

/// Simulates a layer's GPU allocation: fails as candle does once the allowance is used up, after
/// which memory is available again.
pub fn allocate() -> candle_core::Result<()> {
    match ALLOCATIONS_LEFT.get() {
        None => Ok(()),
        Some(0) => {
            ALLOCATIONS_LEFT.set(None);
            let cuda = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
            Err(candle_core::Error::Cuda(cuda.into()).bt())
        }
        Some(left) => {
            ALLOCATIONS_LEFT.set(Some(left - 1));
            Ok(())
        }
    }
}

/// Simulated GPUs. Opening one returns the CPU.
pub struct FakeDriver {
    pub no_driver: bool,
    pub version: CudaVersion,
    pub holders: Vec<Holder>,
    pub gpus: Mutex<Vec<Option<Gpu>>>,
    /// Bytes that a load appears to take on the GPU. If 0, the opened device is reported as the CPU
    /// that it is.
    pub takes: u64,
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
            takes: 0,
        }
    }

    /// Installs a driver with one GPU, backed by the CPU, on this thread. Any load takes `takes`
    /// bytes of it.
    pub fn install(gpu: Gpu, takes: u64) -> &'static Self {
        let driver: &Self = Box::leak(Box::new(Self { takes, ..Self::with([gpu]) }));
        INSTALLED.set(Some(driver));
        driver
    }

    /// Simulates another program allocating or freeing memory.
    pub fn set_free(&self, ordinal: usize, free: u64) {
        self.gpus.lock().unwrap()[ordinal].as_mut().unwrap().free = free;
    }

    /// From now on, the GPU does not respond.
    pub fn break_gpu(&self, ordinal: usize) {
        self.gpus.lock().unwrap()[ordinal] = None;
    }
}

impl Driver for FakeDriver {
    fn kernels(&self) -> BuiltKernels {
        BuiltKernels { cuda: CudaVersion(13000), target: Target::parse("80", true) }
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

    fn open(&self, gpu: &Gpu) -> Result<Device, GpuError> {
        self.set_free(gpu.ordinal, gpu.free - self.takes);
        Ok(Device::Cpu)
    }

    fn name(&self, device: &Device) -> String {
        match self.takes {
            0 => super::name(device),
            _ => "cuda:0".to_owned(),
        }
    }
}
