//! A fake driver, which lets tests control the GPUs on a machine without any.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::time::Duration;

use candle_core::Device;

use super::kernels::Target;
use super::{BuiltKernels, Capability, ComputeMode, CudaVersion, Driver, Gpu, GpuError, Holder};

/// 2^30 bytes.
pub const GIB: u64 = 1 << 30;

thread_local! {
    static INSTALLED: RefCell<Option<&'static FakeDriver>> = const { RefCell::new(None) };
    static ALLOCATIONS_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static FAILURE: Cell<Option<(usize, &'static str)>> = const { Cell::new(None) };
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

/// From now on, this thread's device reports `error` once it has been asked `times` times whether
/// its work succeeded.
pub fn fail_after(times: usize, error: &'static str) {
    FAILURE.set(Some((times, error)));
}

fn outcome() -> candle_core::Result<()> {
    match FAILURE.get() {
        None => Ok(()),
        Some((0, error)) => {
            FAILURE.set(None);
            Err(candle_core::Error::Cuda(format!("DriverError({error})").into()).bt())
        }
        Some((left, error)) => {
            FAILURE.set(Some((left - 1, error)));
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
    /// Whether free memory cannot be known without a context.
    pub blind: bool,
    pub cublas: bool,
    /// How long the device takes for what it was given before each [`Driver::finish`].
    pub slowness: Duration,
    /// The GPUs that were looked at.
    pub asked: Mutex<Vec<usize>>,
    /// What became of the device, in order.
    pub events: Mutex<Vec<&'static str>>,
}

/// A GPU of 24 GiB and compute capability 8.9.
pub fn gpu(ordinal: usize, free: u64) -> Gpu {
    let capability = Capability { major: 8, minor: 9 };
    Gpu {
        ordinal,
        name: "Fake RTX".to_owned(),
        capability,
        free,
        total: 24 * GIB,
        mode: ComputeMode::Shared,
        multiprocessors: 128,
        pools: true,
    }
}

impl FakeDriver {
    pub fn with(gpus: impl IntoIterator<Item = Gpu>) -> Self {
        Self {
            no_driver: false,
            version: CudaVersion(13000),
            holders: Vec::new(),
            gpus: Mutex::new(gpus.into_iter().map(Some).collect()),
            takes: 0,
            blind: false,
            cublas: true,
            slowness: Duration::ZERO,
            asked: Mutex::default(),
            events: Mutex::default(),
        }
    }

    /// Installs a driver with one GPU, backed by the CPU, on this thread. Any load takes `takes`
    /// bytes of it.
    pub fn install(gpu: Gpu, takes: u64) -> &'static Self {
        Self { takes, ..Self::with([gpu]) }.activate()
    }

    /// Installs this driver on this thread.
    pub fn activate(self) -> &'static Self {
        let driver: &Self = Box::leak(Box::new(self));
        INSTALLED.set(Some(driver));
        driver
    }

    /// The GPUs that were looked at since the last call.
    pub fn asked(&self) -> Vec<usize> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// `open`, `reset` and `finish`, as they were called since the last time.
    pub fn events(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.events.lock().unwrap())
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
        self.asked.lock().unwrap().push(ordinal);
        let gpu = self.gpus.lock().unwrap()[ordinal].clone();
        gpu.ok_or(GpuError::Unusable { ordinal, reason: "it does not answer".to_owned() })
    }

    fn holders(&self, _ordinal: usize) -> Vec<Holder> {
        self.holders.clone()
    }

    fn open(&self, gpu: &Gpu) -> Result<Device, GpuError> {
        self.events.lock().unwrap().push("open");
        self.set_free(gpu.ordinal, gpu.free - self.takes);
        Ok(Device::Cpu)
    }

    fn observes(&self) -> bool {
        !self.blind
    }

    fn has_cublas(&self) -> bool {
        self.cublas
    }

    fn reset(&self, ordinal: usize) {
        self.events.lock().unwrap().push("reset");
        let free = self.gpus.lock().unwrap()[ordinal].as_ref().unwrap().free;
        self.set_free(ordinal, free + self.takes);
    }

    fn launched(&self, _device: &Device) -> candle_core::Result<()> {
        outcome()
    }

    fn finish(&self, _device: &Device) -> candle_core::Result<()> {
        self.events.lock().unwrap().push("finish");
        std::thread::sleep(self.slowness);
        outcome()
    }

    fn name(&self, device: &Device) -> String {
        match self.takes {
            0 => super::name(device),
            _ => "cuda:0".to_owned(),
        }
    }
}
