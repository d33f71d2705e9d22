//! CUDA GPUs behind a small driver interface, with one implementation for builds with CUDA and one
//! for builds without. GPU selection uses nothing but [`Driver`], so every case can be tested
//! without a GPU.

mod error;
mod kernels;
#[cfg(any(feature = "cuda", test))]
mod libraries;
#[cfg(feature = "cuda")]
mod nvml;
pub mod verified;

#[cfg(feature = "cuda")]
mod enabled;
#[cfg(feature = "cuda")]
use enabled as backend;
#[cfg(not(feature = "cuda"))]
mod disabled;
#[cfg(not(feature = "cuda"))]
use disabled as backend;

use std::fmt;

use candle_core::{Device, DeviceLocation};

pub use error::{GpuError, Moment, Shortage, ShorterContext, gib};
pub use kernels::{BuiltKernels, Capability, CudaVersion};

/// A GPU and a snapshot of its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// CUDA's number for the GPU.
    pub ordinal: usize,
    /// Product name, such as `NVIDIA GeForce RTX 4090`.
    pub name: String,
    /// Version of its instruction set.
    pub capability: Capability,
    /// Free memory in bytes.
    pub free: u64,
    /// Total memory in bytes.
    pub total: u64,
    /// Which programs may use it.
    pub mode: ComputeMode,
    /// Its multiprocessors.
    pub multiprocessors: usize,
    /// Whether it has memory pools. Without (on some virtual GPUs), whoever frees memory waits until
    /// the GPU has finished.
    pub pools: bool,
}

/// Which programs may use a GPU (`nvidia-smi --compute-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComputeMode {
    /// Any number of them.
    Shared,
    /// One at a time.
    Exclusive,
    /// None.
    Prohibited,
}

impl Gpu {
    /// The device name used on the command line, `cuda:0`.
    pub fn device(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{} ({})", self.ordinal, self.name)
    }
}

/// A program that holds memory on a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Program name, if the driver reports it.
    pub name: Option<String>,
    /// Bytes held, if the driver reports it.
    pub bytes: Option<u64>,
}

/// The driver functions needed to place a model. Only [`Driver::open`] leaves a CUDA context
/// behind.
pub trait Driver: Sync {
    /// What this program's kernels were built for.
    fn kernels(&self) -> BuiltKernels;

    /// The newest CUDA version that the driver supports.
    fn version(&self) -> Result<CudaVersion, GpuError>;

    /// Number of GPUs.
    fn count(&self) -> Result<usize, GpuError>;

    /// A GPU with its current memory; `ordinal` must be below [`Driver::count`].
    fn gpu(&self, ordinal: usize) -> Result<Gpu, GpuError>;

    /// Whether [`Driver::gpu`] knows the free memory without a CUDA context on that GPU. If not, it
    /// makes one and releases it, which takes a good part of a second.
    fn observes(&self) -> bool {
        true
    }

    /// The other programs that hold memory on a GPU, largest first; empty if the driver does not
    /// report them.
    fn holders(&self, ordinal: usize) -> Vec<Holder>;

    /// Creates a CUDA context on a GPU.
    fn open(&self, gpu: &Gpu) -> Result<Device, GpuError>;

    /// Whether cuBLAS can be opened, which multiplies matrices that are not quantized.
    fn has_cublas(&self) -> bool;

    /// Destroys the CUDA context of a GPU, and all that is in it: after a load that failed, or an
    /// error that nothing in that context survives. No tensor may be left.
    fn reset(&self, ordinal: usize);

    /// Fails if a kernel could not be launched since the last call. Does not wait for the device.
    ///
    /// candle launches its quantized products without looking whether that worked, so an answer
    /// would otherwise be computed from whatever was in memory.
    fn launched(&self, device: &Device) -> candle_core::Result<()>;

    /// Waits until the device has done everything that it was given.
    ///
    /// # Errors
    /// Fails if any of it failed, also if it could not even be launched.
    fn finish(&self, device: &Device) -> candle_core::Result<()> {
        device.synchronize()?;
        self.launched(device)
    }

    /// The name of the device that tensors are on. (In tests, the GPU is really the CPU.)
    fn name(&self, device: &Device) -> String {
        name(device)
    }
}

/// The installed driver, or the test's fake. Obtaining it calls nothing; only its methods do.
pub fn driver() -> &'static dyn Driver {
    #[cfg(test)]
    if let Some(driver) = fake::installed() {
        return driver;
    }
    &backend::DRIVER
}

/// The name of a device: `cpu` or `cuda:0`.
pub fn name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// Selects the GPU to use: the requested one, or else the one with the most free memory among those
/// that can run this program (the first, if that cannot be observed). Leaves no CUDA context behind.
pub fn choose(driver: &dyn Driver, ordinal: Option<usize>) -> Result<Gpu, GpuError> {
    let kernels = driver.kernels();
    let count = driver.count()?;
    let version = driver.version()?;
    if version < kernels.cuda {
        return Err(GpuError::DriverTooOld { driver: version, needed: kernels.cuda });
    }
    let usable = |ordinal| {
        let gpu = driver.gpu(ordinal)?;
        if !kernels.run_on(gpu.capability) {
            return Err(GpuError::WrongCapability { gpu, kernels });
        }
        let holders = match gpu.mode {
            ComputeMode::Shared => return Ok(gpu),
            ComputeMode::Exclusive => driver.holders(ordinal),
            ComputeMode::Prohibited => Vec::new(),
        };
        if gpu.mode == ComputeMode::Exclusive && holders.is_empty() {
            return Ok(gpu);
        }
        Err(GpuError::Closed { gpu, holders })
    };
    match ordinal {
        Some(ordinal) if ordinal < count => usable(ordinal),
        Some(ordinal) => Err(GpuError::NoSuchDevice { ordinal, count }),
        None => {
            let mut problem = GpuError::NoSuchDevice { ordinal: 0, count };
            let mut best: Option<Gpu> = None;
            for ordinal in 0..count {
                match usable(ordinal) {
                    // CUDA numbers the fastest first. To compare their memory would take a context
                    // on each of them.
                    Ok(gpu) if !driver.observes() => return Ok(gpu),
                    Ok(gpu) if best.as_ref().is_none_or(|best| gpu.free > best.free) => {
                        best = Some(gpu);
                    }
                    Ok(_) => {}
                    Err(error) => problem = error,
                }
            }
            best.ok_or(problem)
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::local::placement::gpu::fake::{FakeDriver, GIB, gpu};

    #[test]
    fn the_gpu_with_most_free_memory_is_chosen_or_the_one_named() {
        let driver = FakeDriver::with([gpu(0, 3 * GIB), gpu(1, 20 * GIB), gpu(2, 20 * GIB)]);
        assert_eq!(choose(&driver, None).unwrap().ordinal, 1, "the first of equals");
        assert_eq!(choose(&driver, Some(2)).unwrap().ordinal, 2);
        assert_eq!(choose(&driver, Some(0)).unwrap().free, 3 * GIB);
        let error = choose(&driver, Some(3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the LLM is to run on cuda:3, but there are only 3 CUDA GPUs"
        );
        assert!(error.hint().contains("nvidia-smi -L"));
    }

    #[test]
    fn no_driver_and_no_gpu_are_told_apart() {
        let driver = FakeDriver { no_driver: true, ..FakeDriver::with([]) };
        let error = choose(&driver, None).unwrap_err();
        assert!(matches!(error, GpuError::NoDriver { .. }), "{error}");
        assert!(error.hint().contains("install the NVIDIA driver"));
        let error = choose(&FakeDriver::with([]), None).unwrap_err();
        assert_eq!(error.to_string(), "the LLM is to run on cuda:0, but there is no CUDA GPU");
    }

    #[test]
    fn a_driver_older_than_the_kernels_is_refused_with_both_versions() {
        let driver = FakeDriver { version: CudaVersion(12040), ..FakeDriver::with([gpu(0, GIB)]) };
        let error = choose(&driver, None).unwrap_err();
        assert!(matches!(error, GpuError::DriverTooOld { .. }));
        let text = format!("{error}; {}", error.hint());
        assert!(text.contains("CUDA 12.4") && text.contains("CUDA 13.0"), "{text}");
    }

    #[test]
    fn a_gpu_that_cannot_run_the_kernels_is_passed_over_or_refused_by_name() {
        let old = Gpu { capability: Capability { major: 7, minor: 5 }, ..gpu(0, 40 * GIB) };
        let driver = FakeDriver::with([old, gpu(1, 4 * GIB)]);
        assert_eq!(choose(&driver, None).unwrap().ordinal, 1, "though it has less memory");
        let error = choose(&driver, Some(0)).unwrap_err();
        assert!(matches!(error, GpuError::WrongCapability { .. }));
        let text = format!("{error}; {}", error.hint());
        for part in ["cuda:0", "7.5", "8.0", "CUDA_COMPUTE_CAP=75"] {
            assert!(text.contains(part), "{text}");
        }
    }

    /// A GPU in another program's exclusive use, or one that fell off the bus.
    #[test]
    fn a_broken_gpu_does_not_hide_the_others() {
        let driver = FakeDriver::with([gpu(0, 40 * GIB), gpu(1, 4 * GIB)]);
        driver.break_gpu(0);
        assert_eq!(choose(&driver, None).unwrap().ordinal, 1);
        assert!(matches!(choose(&driver, Some(0)), Err(GpuError::Unusable { .. })));
    }

    #[test]
    fn a_gpu_in_exclusive_use_is_passed_over_or_refused_with_the_name_of_the_user() {
        let exclusive = Gpu { mode: ComputeMode::Exclusive, ..gpu(0, 40 * GIB) };
        let mut driver = FakeDriver::with([exclusive.clone(), gpu(1, 4 * GIB)]);
        assert_eq!(choose(&driver, None).unwrap().ordinal, 0, "nobody uses it");
        driver.holders = vec![Holder { pid: 42, name: Some("train".to_owned()), bytes: None }];
        assert_eq!(choose(&driver, None).unwrap().ordinal, 1, "though it has less memory");
        let error = choose(&driver, Some(0)).unwrap_err();
        let text = format!("{error}; {}", error.hint());
        for part in ["cuda:0 (Fake RTX)", "exclusive use of", "train (process 42)", "nvidia-smi"] {
            assert!(text.contains(part), "{text}");
        }
        let prohibited = Gpu { mode: ComputeMode::Prohibited, ..exclusive };
        let error = choose(&FakeDriver::with([prohibited]), None).unwrap_err();
        assert!(error.to_string().contains("prohibits programs"), "{error}");
    }

    /// In a container without the capability `utility`, for example.
    #[test]
    fn where_memory_cannot_be_observed_only_one_gpu_gets_a_context() {
        let mut driver = FakeDriver::with([gpu(0, 4 * GIB), gpu(1, 20 * GIB)]);
        driver.blind = true;
        assert_eq!(choose(&driver, None).unwrap().ordinal, 0);
        assert_eq!(driver.asked(), [0]);
        assert_eq!(choose(&driver, Some(1)).unwrap().ordinal, 1);
        assert_eq!(driver.asked(), [1]);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_so_whatever_is_asked() {
        for ordinal in [None, Some(0), Some(7)] {
            assert!(matches!(choose(driver(), ordinal), Err(GpuError::NotBuilt)));
        }
    }
}
