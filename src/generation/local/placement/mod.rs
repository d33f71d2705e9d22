//! Places the LLM on the requested device, or fails. There is never a fallback to the CPU.

mod device;
pub mod gpu;
pub(crate) mod plan;
mod trial;
mod workspace;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

pub use device::DeviceChoice;
use gpu::{Driver, Gpu, GpuError, Moment, Shortage};
use plan::{Demand, LoadPlan};

/// A device, and the planned memory use of a model on it.
pub struct Placement<'d> {
    driver: &'d dyn Driver,
    /// State before loading; `None` for the CPU.
    gpu: Option<Gpu>,
    demand: Demand,
    plan: LoadPlan,
}

/// The device and memory of a loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The device of all its tensors: `cpu` or `cuda:0`.
    pub device: String,
    /// Its memory, if on a GPU.
    pub memory: Option<GpuMemory>,
}

/// A model's memory on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuMemory {
    /// Product name of the GPU.
    pub gpu: String,
    /// Planned bytes.
    pub planned: u64,
    /// Decrease of free memory in bytes, if the driver reports it.
    pub measured: Option<u64>,
}

impl<'d> Placement<'d> {
    /// Finds the device for `choice`, and checks that the model fits there with a context of
    /// `context` tokens. Leaves no CUDA context behind.
    pub fn find(
        driver: &'d dyn Driver,
        choice: DeviceChoice,
        demand: Demand,
        context: usize,
    ) -> Result<Self, GpuError> {
        let gpu = match choice {
            DeviceChoice::Cpu => None,
            DeviceChoice::Cuda(ordinal) => Some(gpu::choose(driver, ordinal)?),
        };
        let demand = match &gpu {
            Some(gpu) => demand.on(gpu),
            None => demand,
        };
        let plan = demand.plan(context);
        let placement = Self { driver, gpu, demand, plan };
        match placement.problem() {
            Some(problem) => Err(problem),
            None => Ok(placement),
        }
    }

    /// Why the model does not fit, if it does not.
    fn problem(&self) -> Option<GpuError> {
        let gpu = self.gpu.as_ref()?;
        if self.demand.needs_cublas && !self.driver.has_cublas() {
            let cuda = self.driver.kernels().cuda;
            return Some(GpuError::NoCublas { gpu: gpu.clone(), cuda });
        }
        (gpu.free < self.plan.total()).then(|| self.shortage(Moment::Planning, gpu.clone()))
    }

    /// Opens the device and tries the kernels that a model needs, before any of it is loaded: the
    /// types of its quantized matrices, and the type of its activations.
    ///
    /// # Errors
    /// Among others, if the driver returns a device other than the requested one.
    pub fn open(&self, types: &[GgmlDType], dtype: DType) -> Result<Device, GpuError> {
        let Some(gpu) = &self.gpu else { return Ok(Device::Cpu) };
        if dtype == DType::BF16 && gpu.capability.major < 8 {
            return Err(GpuError::NoBf16 { gpu: gpu.clone() });
        }
        let device = self.driver.open(gpu).map_err(|error| {
            if is_out_of_memory(&error.to_string()) { self.now(Moment::Loading) } else { error }
        })?;
        let unusable = |reason| GpuError::Unusable { ordinal: gpu.ordinal, reason };
        let opened = self.driver.name(&device);
        if opened != gpu.device() {
            return Err(unusable(format!("the driver opened {opened} instead")));
        }
        let tried = trial::products(&device, types)
            .and_then(|()| trial::own_kernels(&device, dtype, types))
            .and_then(|()| self.driver.finish(&device));
        match tried {
            Ok(()) => Ok(device),
            Err(error) if is_out_of_memory(&error.to_string()) => Err(self.now(Moment::Loading)),
            Err(error) => Err(unusable(first_line(&error.to_string()))),
        }
    }

    /// Waits until the device has done everything that it was given, so that what is timed is done
    /// and what failed is known. The CPU is never behind.
    pub fn finish(&self, device: &Device) -> candle_core::Result<()> {
        self.gpu.as_ref().map_or(Ok(()), |_| self.driver.finish(device))
    }

    /// Fails if a kernel could not be launched, in which case nothing computed since is right.
    pub fn launched(&self, device: &Device) -> candle_core::Result<()> {
        self.gpu.as_ref().map_or(Ok(()), |_| self.driver.launched(device))
    }

    /// The device and memory of the loaded model.
    pub fn placed(&self, device: &Device) -> Placed {
        Placed { device: self.driver.name(device), memory: self.memory() }
    }

    fn memory(&self) -> Option<GpuMemory> {
        let before = self.gpu.as_ref()?;
        let after = self.driver.gpu(before.ordinal).ok();
        Some(GpuMemory {
            gpu: before.name.clone(),
            planned: self.plan.total(),
            measured: after.map(|after| before.free.saturating_sub(after.free)),
        })
    }

    /// The same place with its memory measured now, if it can be.
    pub fn measure(&self, placed: &Placed) -> Placed {
        Placed { memory: self.memory(), device: placed.device.clone() }
    }

    /// Whether the model was to be on a GPU.
    pub fn is_on_gpu(&self) -> bool {
        self.gpu.is_some()
    }

    /// Whether an error of this GPU cost all that was in its context.
    pub fn is_lost(&self, error: &anyhow::Error) -> bool {
        self.gpu.is_some() && error.chain().any(|cause| loses_context(&cause.to_string()))
    }

    /// Throws the GPU's context away, and all memory in it. No tensor may be left.
    pub fn reset(&self) {
        if let Some(gpu) = &self.gpu {
            self.driver.reset(gpu.ordinal);
        }
    }

    /// Turns a CUDA error into one that says what happened on which GPU, with its current memory
    /// figures; any other error is returned unchanged.
    pub fn explain(&self, error: anyhow::Error, moment: Moment) -> anyhow::Error {
        let Some(gpu) = &self.gpu else { return error };
        let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
        if texts.iter().any(|text| is_out_of_memory(text)) {
            tracing::debug!(?error, "out of GPU memory");
            return self.now(moment).into();
        }
        match texts.iter().find(|text| is_from_cuda(text)) {
            Some(text) => {
                GpuError::Unusable { ordinal: gpu.ordinal, reason: first_line(text) }.into()
            }
            None => error,
        }
    }

    /// The out-of-memory error, with current figures.
    fn now(&self, moment: Moment) -> GpuError {
        let before = self.gpu.as_ref().expect("only a GPU runs out of its memory");
        let gpu = self.driver.gpu(before.ordinal).unwrap_or_else(|_| before.clone());
        self.shortage(moment, gpu)
    }

    fn shortage(&self, moment: Moment, gpu: Gpu) -> GpuError {
        // While generating, everything except the workspace is already allocated.
        let needed = |plan: &LoadPlan| match moment {
            Moment::Downloading | Moment::Planning | Moment::Loading => plan.total(),
            Moment::Answering => plan.workspace,
        };
        let shorter = self.demand.shorter(self.plan.context, |plan| needed(plan) <= gpu.free);
        GpuError::OutOfMemory(Box::new(Shortage {
            moment,
            needed: needed(&self.plan),
            holders: self.driver.holders(gpu.ordinal),
            gpu,
            shorter,
        }))
    }
}

/// Whether the device is usable at all; checked before looking for any LLM file.
pub fn check(driver: &dyn Driver, choice: DeviceChoice) -> Result<(), GpuError> {
    match choice {
        DeviceChoice::Cpu => Ok(()),
        DeviceChoice::Cuda(ordinal) => gpu::choose(driver, ordinal).map(drop),
    }
}

/// Whether weights of so many bytes can fit the device at all; checked before they are downloaded.
pub fn check_weights(
    driver: &dyn Driver,
    choice: DeviceChoice,
    bytes: u64,
) -> Result<(), GpuError> {
    let DeviceChoice::Cuda(ordinal) = choice else { return Ok(()) };
    let gpu = gpu::choose(driver, ordinal)?;
    if bytes <= gpu.free {
        return Ok(());
    }
    let holders = driver.holders(gpu.ordinal);
    let moment = Moment::Downloading;
    let shortage = Shortage { moment, needed: bytes, gpu, holders, shorter: None };
    Err(GpuError::OutOfMemory(Box::new(shortage)))
}

/// The GPU that would be used, if its driver has to translate this program's kernels for it first,
/// which takes up to a minute unless it has kept them from an earlier run.
pub fn to_translate(driver: &dyn Driver, choice: DeviceChoice) -> Option<Gpu> {
    let DeviceChoice::Cuda(ordinal) = choice else { return None };
    let gpu = gpu::choose(driver, ordinal).ok()?;
    driver.kernels().are_translated_for(gpu.capability).then_some(gpu)
}

/// A preview of a load, for display.
pub struct Outlook {
    /// The device: `cpu`, or the GPU that would be selected; if none can be, the requested one.
    pub device: String,
    /// Bytes that the model would take there.
    pub plan: LoadPlan,
    /// Free memory of the device in bytes, if known.
    pub free: Option<u64>,
    /// Why the model cannot be loaded, if it cannot.
    pub problem: Option<GpuError>,
}

/// Previews a load, without loading anything or leaving a CUDA context behind.
pub fn outlook(
    driver: &dyn Driver,
    choice: DeviceChoice,
    demand: Demand,
    context: usize,
) -> Outlook {
    let plan = demand.plan(context);
    let wished = choice.to_string();
    let DeviceChoice::Cuda(ordinal) = choice else {
        return Outlook { device: wished, plan, free: available_ram(), problem: None };
    };
    match gpu::choose(driver, ordinal) {
        Err(error) => Outlook { device: wished, plan, free: None, problem: Some(error) },
        Ok(gpu) => {
            let demand = demand.on(&gpu);
            let plan = demand.plan(context);
            let (device, free) = (gpu.device(), Some(gpu.free));
            let problem = Placement { driver, gpu: Some(gpu), demand, plan }.problem();
            Outlook { device, plan, free, problem }
        }
    }
}

/// Memory available without swapping, in bytes; only known on Linux.
fn available_ram() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// How CUDA's libraries report that memory ran out. Matched by text, because the error types exist
/// only in builds with CUDA, and candle wraps them in many ways.
fn is_out_of_memory(text: &str) -> bool {
    [
        "CUDA_ERROR_OUT_OF_MEMORY",
        "cudaErrorMemoryAllocation",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CURAND_STATUS_ALLOCATION_FAILED",
    ]
    .iter()
    .any(|code| text.contains(code))
}

fn is_from_cuda(text: &str) -> bool {
    ["CUDA_ERROR_", "cudaError", "CUBLAS_STATUS_", "CURAND_STATUS_"]
        .iter()
        .any(|code| text.contains(code))
}

/// Errors after which nothing in the context works any more, not even freeing. The driver spells
/// them `CUDA_ERROR_ILLEGAL_ADDRESS`, the runtime `cudaErrorIllegalAddress`.
fn loses_context(text: &str) -> bool {
    const ERRORS: [&str; 15] = [
        "assert",
        "contained",
        "contextisdestroyed",
        "eccuncorrectable",
        "externaldevice",
        "hardwarestackerror",
        "illegaladdress",
        "illegalinstruction",
        "invalidaddressspace",
        "invalidpc",
        "launchfail",
        "launchtimeout",
        "misalignedaddress",
        "nvlinkuncorrectable",
        "unknown",
    ];
    let text = text.replace('_', "").to_lowercase();
    ERRORS.iter().any(|error| text.contains(&format!("cudaerror{error}")))
}

/// candle may append a backtrace.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;
    use crate::generation::local::placement::gpu::Holder;
    use crate::generation::local::placement::gpu::fake::{FakeDriver, GIB, gpu};

    #[test]
    fn devices_are_named_as_on_the_command_line() {
        for text in ["cpu", "cuda", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "CUDA"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    fn find(driver: &FakeDriver, context: usize) -> Result<Placement<'_>, GpuError> {
        Placement::find(driver, DeviceChoice::Cuda(None), Demand::llama_8b(), context)
    }

    fn out_of_memory() -> anyhow::Error {
        let cuda = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
        anyhow!(candle_core::Error::Cuda(cuda.into())).context("layer 7")
    }

    #[test]
    fn with_enough_memory_the_gpu_is_taken_with_its_plan() {
        let driver = FakeDriver::with([gpu(0, 2 * GIB), gpu(1, 20 * GIB)]);
        let placement = find(&driver, 8192).ok().unwrap();
        assert_eq!(placement.gpu.as_ref().unwrap().ordinal, 1);
        assert_eq!(placement.plan.context, 8192);
        driver.set_free(1, 20 * GIB - 7 * GIB);
        let memory = placement.placed(&Device::Cpu).memory.unwrap();
        assert_eq!(memory.measured, Some(7 * GIB), "what the driver says is gone");
        assert_eq!(memory.planned, placement.plan.total());
    }

    /// Bytes needed by Llama 3.1 8B with a context of this many tokens.
    fn needed(context: usize) -> u64 {
        Demand::llama_8b().plan(context).total()
    }

    /// `needed 8.2 GiB, free 7.0 of 24.0 GiB`, with the first rounded up and the second down.
    fn numbers(needed: u64, free: u64) -> String {
        let tenths = |bytes: u64| bytes as f64 * 10.0 / GIB as f64;
        let (needed, free) = (tenths(needed).ceil() / 10.0, tenths(free).floor() / 10.0);
        format!("needed {needed:.1} GiB, free {free:.1} of 24.0 GiB on cuda:0 (Fake RTX)")
    }

    #[test]
    fn with_too_little_memory_the_numbers_and_the_ways_out_are_told() {
        let free = needed(4096) + 1;
        let mut driver = FakeDriver::with([gpu(0, free)]);
        driver.holders =
            vec![Holder { pid: 42, name: Some("game".to_owned()), bytes: Some(16 * GIB) }];
        let error = find(&driver, 8192).err().unwrap();
        let text = error.to_string();
        assert!(text.contains(&numbers(needed(8192), free)), "{text}");
        let hint = error.hint();
        let shorter = format!("`--context 4096` (saves {})", gpu::gib(needed(8192) - needed(4096)));
        for part in ["game (process 42, 16.0 GiB)", &shorter, "--profile cpu"] {
            assert!(hint.contains(part), "{hint}");
        }
        assert!(find(&driver, 4096).is_ok(), "and it was no lie");
        driver.set_free(0, needed(1024) - 1);
        let hint = find(&driver, 8192).err().unwrap().hint();
        assert!(!hint.contains("--context"), "none is short enough: {hint}");
    }

    #[test]
    fn memory_that_vanishes_while_loading_is_told_with_the_numbers_of_now() {
        let driver = FakeDriver::with([gpu(0, 20 * GIB)]);
        let placement = find(&driver, 8192).ok().unwrap();
        driver.set_free(0, 3 * GIB);
        let error = placement.explain(out_of_memory(), Moment::Loading);
        let error = error.context("cannot load the LLM");
        let gpu_error = error.chain().find_map(|cause| cause.downcast_ref::<GpuError>());
        let text = gpu_error.expect("it ends with exit code 4").to_string();
        assert!(text.contains("ran out while the LLM was loading"), "{text}");
        assert!(text.contains(&numbers(needed(8192), 3 * GIB)), "{text}");
    }

    #[test]
    fn memory_that_vanishes_in_mid_answer_is_told_too() {
        let driver = FakeDriver::with([gpu(0, 20 * GIB)]);
        let placement = find(&driver, 8192).ok().unwrap();
        driver.set_free(0, 1 << 20);
        let error = placement.explain(out_of_memory(), Moment::Answering);
        let text = error.downcast_ref::<GpuError>().unwrap().to_string();
        assert!(text.contains("ran out while the LLM answered"), "{text}");
        // Weights and cache are already allocated.
        assert!(text.contains(&numbers(placement.plan.workspace, 1 << 20)), "{text}");
    }

    #[test]
    fn other_errors_of_cuda_name_the_gpu_and_errors_of_others_stay() {
        let driver = FakeDriver::with([gpu(0, 20 * GIB)]);
        let placement = find(&driver, 8192).ok().unwrap();
        let cuda = candle_core::Error::Cuda("DriverError(CUDA_ERROR_ECC_UNCORRECTABLE)".into());
        let error = placement.explain(cuda.into(), Moment::Answering);
        assert!(matches!(error.downcast_ref(), Some(GpuError::Unusable { ordinal: 0, .. })));
        let other = Err::<(), _>(anyhow!("no such tensor")).context("layer 3").unwrap_err();
        let error = placement.explain(other, Moment::Loading);
        assert_eq!(format!("{error:#}"), "layer 3: no such tensor");
    }

    #[test]
    fn errors_that_take_everything_with_them_are_told_from_others() {
        let driver = FakeDriver::with([gpu(0, 20 * GIB)]);
        let placement = find(&driver, 8192).ok().unwrap();
        let is_lost = |text: &'static str| placement.is_lost(&anyhow!(text).context("layer 3"));
        for text in [
            r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access")"#,
            "cudaErrorIllegalAddress: a kernel could not be launched",
            "cudaErrorLaunchFailure: a kernel could not be launched",
            "DriverError(CUDA_ERROR_ECC_UNCORRECTABLE)",
        ] {
            assert!(is_lost(text), "{text}");
        }
        for text in [
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY)",
            "cudaErrorInvalidConfiguration: a kernel could not be launched",
            "CUBLAS_STATUS_NOT_SUPPORTED",
        ] {
            assert!(!is_lost(text), "{text}");
        }
    }

    #[test]
    fn without_cublas_only_models_that_need_it_are_refused_with_the_command_that_brings_it() {
        let driver = FakeDriver { cublas: false, ..FakeDriver::with([gpu(0, 20 * GIB)]) };
        assert!(find(&driver, 8192).is_ok(), "a quantized file does without");
        let mut demand = Demand::llama_8b();
        demand.needs_cublas = true;
        let found = Placement::find(&driver, DeviceChoice::Cuda(None), demand.clone(), 8192);
        let error = found.err().unwrap();
        let text = format!("{error}; {}", error.hint());
        for part in ["cuda:0 (Fake RTX)", "cuBLAS", "pip install nvidia-cublas", "--llm FILE"] {
            assert!(text.contains(part), "{text}");
        }
        let outlook = outlook(&driver, DeviceChoice::Cuda(None), demand, 8192);
        assert!(matches!(outlook.problem, Some(GpuError::NoCublas { .. })), "doctor says so too");
    }

    #[test]
    fn weights_that_cannot_fit_are_not_downloaded() {
        let driver = FakeDriver::with([gpu(0, 4 * GIB)]);
        let check = |choice, bytes| check_weights(&driver, choice, bytes);
        assert!(check(DeviceChoice::Cuda(None), 4 * GIB).is_ok());
        assert!(check(DeviceChoice::Cpu, 400 * GIB).is_ok());
        let error = check(DeviceChoice::Cuda(None), 5 * GIB).unwrap_err().to_string();
        assert!(error.contains("was not downloaded"), "{error}");
        assert!(error.contains("needed 5.0 GiB, free 4.0"), "{error}");
    }

    /// candle's kernels for bf16 are not in code for Turing.
    #[test]
    fn a_gpu_without_bf16_is_told_before_it_is_opened_and_takes_quantized_files() {
        let capability = gpu::Capability { major: 7, minor: 5 };
        let driver = FakeDriver::with([gpu(0, 20 * GIB)]);
        let mut placement = find(&driver, 8192).ok().unwrap();
        placement.gpu = Some(Gpu { capability, ..gpu(0, 20 * GIB) });
        let error = placement.open(&[], DType::BF16).unwrap_err();
        let text = format!("{error}; {}", error.hint());
        for part in ["cuda:0 (Fake RTX)", "7.5", "bf16", "Q4_K_M"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(driver.events(), Vec::<&str>::new());
        let opened = placement.open(&[GgmlDType::Q4K], DType::F32);
        assert!(opened.is_err_and(|error| error.to_string().contains("opened cpu instead")));
        assert_eq!(driver.events(), ["open"]);
    }

    #[test]
    fn a_translation_is_known_before_anything_is_loaded() {
        let data_centre = gpu::Capability { major: 10, minor: 0 };
        let blackwell = Gpu { capability: data_centre, ..gpu(1, 20 * GIB) };
        let driver = FakeDriver::with([gpu(0, 10 * GIB), blackwell]);
        let translated = |ordinal| to_translate(&driver, DeviceChoice::Cuda(ordinal));
        assert_eq!(translated(None).unwrap().ordinal, 1, "it has the most free memory");
        assert!(translated(Some(0)).is_none() && translated(Some(7)).is_none());
        assert!(to_translate(&driver, DeviceChoice::Cpu).is_none());
        assert_eq!(driver.events(), Vec::<&str>::new(), "nothing was opened");
    }

    /// The fake driver opens the CPU, as the driver of a broken build might.
    #[test]
    fn another_device_than_the_one_asked_for_is_an_error() {
        let driver = FakeDriver::with([gpu(0, 20 * GIB)]);
        let error = find(&driver, 8192).ok().unwrap().open(&[], DType::F32).unwrap_err();
        assert!(error.to_string().contains("the driver opened cpu instead"), "{error}");
    }

    #[test]
    fn the_cpu_needs_no_driver() {
        let driver = FakeDriver { no_driver: true, ..FakeDriver::with([]) };
        let placement =
            Placement::find(&driver, DeviceChoice::Cpu, Demand::llama_8b(), 8192).ok().unwrap();
        let device = placement.open(&[GgmlDType::Q4K], DType::F32).unwrap();
        assert_eq!(placement.placed(&device), Placed { device: "cpu".to_owned(), memory: None });
        let error = placement.explain(out_of_memory(), Moment::Loading);
        assert!(error.downcast_ref::<GpuError>().is_none(), "there is no GPU to blame");
        assert!(check(&driver, DeviceChoice::Cpu).is_ok());
        assert!(matches!(check(&driver, DeviceChoice::Cuda(None)), Err(GpuError::NoDriver { .. })));
    }

    #[test]
    fn the_outlook_has_the_plan_even_where_there_is_no_gpu() {
        let driver = FakeDriver { no_driver: true, ..FakeDriver::with([]) };
        let look = |driver: &FakeDriver, choice| outlook(driver, choice, Demand::llama_8b(), 8192);
        let none = look(&driver, DeviceChoice::Cuda(Some(3)));
        assert_eq!((none.device.as_str(), none.free), ("cuda:3", None));
        assert!(none.problem.is_some() && none.plan.total() > 6 * GIB);
        let driver = FakeDriver::with([gpu(0, 5 * GIB), gpu(1, 6 * GIB)]);
        let small = look(&driver, DeviceChoice::Cuda(None));
        assert_eq!((small.device.as_str(), small.free), ("cuda:1", Some(6 * GIB)));
        assert!(matches!(small.problem, Some(GpuError::OutOfMemory(_))));
        driver.set_free(0, 12 * GIB);
        assert!(look(&driver, DeviceChoice::Cuda(None)).problem.is_none());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_a_gpu_is_an_error_and_the_cpu_is_not_used_instead() {
        let find = |choice| Placement::find(gpu::driver(), choice, Demand::llama_8b(), 8192);
        assert!(matches!(find(DeviceChoice::Cuda(None)), Err(GpuError::NotBuilt)));
        assert!(matches!(
            check(gpu::driver(), DeviceChoice::Cuda(Some(0))),
            Err(GpuError::NotBuilt)
        ));
        assert!(find(DeviceChoice::Cpu).is_ok());
    }
}
