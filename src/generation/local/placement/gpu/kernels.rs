//! Which GPUs this program's kernels were compiled for and can run on.

use std::fmt;

/// Compute capability of a GPU: the version of its instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// 8 for Ampere and Ada, 9 for Hopper, 10 and 12 for Blackwell.
    pub major: u32,
    /// For example, 9 for Ada, whose major version is 8.
    pub minor: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A CUDA version in the encoding of its libraries: 13000 is 13.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion(pub u32);

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

/// The GPU code in this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltKernels {
    /// The CUDA version it was compiled with; older drivers cannot run it.
    pub cuda: CudaVersion,
    /// The compilation target; absent if the build did not specify it.
    pub target: Option<Target>,
}

/// A compilation target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// `CUDA_COMPUTE_CAP`.
    pub capability: Capability,
    /// Uses instructions that only this exact capability has (`sm_90a`).
    pub exact: bool,
    /// PTX is included for all kernels, which drivers compile for later GPUs.
    pub portable: bool,
}

/// The generations for which `ci/cuda-toolkit` adds machine code of the quantized products that
/// common files take, and `build.rs` of our own kernels: Hopper, and consumer Blackwell.
const ADDED: [u32; 2] = [9, 12];

impl BuiltKernels {
    /// Whether the driver has to translate the largest kernels for a GPU before it can run them:
    /// this program has machine code for other generations only. candle's smaller kernels are
    /// translated for every GPU, which takes some seconds.
    pub fn are_translated_for(&self, gpu: Capability) -> bool {
        self.target.is_some_and(|Target { capability, exact, portable }| {
            let known = gpu.major == capability.major || ADDED.contains(&gpu.major);
            portable && !exact && !known
        })
    }

    /// Whether a GPU can run the kernels. If the target is unknown, assumes so; the trial run after
    /// opening the device decides.
    pub fn run_on(&self, gpu: Capability) -> bool {
        let Some(Target { capability, exact, portable }) = self.target else { return true };
        match (exact, portable) {
            (true, _) => gpu == capability,
            (false, true) => gpu >= capability,
            // Machine code runs on later GPUs of the same generation (CUDA C++ Programming Guide,
            // "Binary Compatibility").
            (false, false) => gpu.major == capability.major && gpu.minor >= capability.minor,
        }
    }
}

impl Target {
    /// Parses the value read by the kernels' build script: `80`, `8.6` or `90a`. From 90 on, that
    /// script adds the suffix for an exact target by itself.
    pub fn parse(compute_cap: &str, portable: bool) -> Option<Self> {
        let text = compute_cap.trim().trim_start_matches("sm_");
        let number = text.trim_end_matches(['a', 'f']);
        let digits: u32 = number.replace('.', "").parse().ok()?;
        let digits = if digits < 20 { digits * 10 } else { digits };
        let capability = Capability { major: digits / 10, minor: digits % 10 };
        Some(Self { capability, exact: digits >= 90 || number != text, portable })
    }
}

impl fmt::Display for BuiltKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CUDA {}", self.cuda)?;
        match self.target {
            None => Ok(()),
            Some(target) => write!(f, " for compute capability {target}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, exact, portable } = self;
        match (exact, portable) {
            (true, _) => write!(f, "{capability} only"),
            (false, true) => write!(f, "{capability} and later"),
            (false, false) => write!(f, "{capability} to {}.9", capability.major),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(compute_cap: &str, portable: bool) -> BuiltKernels {
        let target = Some(Target::parse(compute_cap, portable).unwrap());
        BuiltKernels { cuda: CudaVersion(13000), target }
    }

    fn runs(kernels: BuiltKernels, gpu: (u32, u32)) -> bool {
        kernels.run_on(Capability { major: gpu.0, minor: gpu.1 })
    }

    #[test]
    fn portable_kernels_run_on_everything_later() {
        let ampere = kernels("80", true);
        for gpu in [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)] {
            assert!(runs(ampere, gpu), "{gpu:?}");
        }
        assert!(!runs(ampere, (7, 5)));
    }

    #[test]
    fn machine_code_runs_within_its_generation() {
        let ampere = kernels("80", false);
        assert!(runs(ampere, (8, 0)) && runs(ampere, (8, 9)));
        assert!(!runs(ampere, (9, 0)) && !runs(ampere, (7, 5)));
        assert!(!runs(kernels("89", false), (8, 6)));
    }

    #[test]
    fn hopper_kernels_run_on_hopper_only() {
        for compute_cap in ["90", "90a", "sm_90a", "9.0"] {
            let hopper = kernels(compute_cap, true);
            assert!(runs(hopper, (9, 0)) && !runs(hopper, (10, 0)) && !runs(hopper, (8, 9)));
        }
        assert!(runs(kernels("120", true), (12, 0)));
    }

    #[test]
    fn only_gpus_of_other_generations_need_a_translation() {
        let portable = kernels("80", true);
        for gpu in [(8, 0), (8, 6), (8, 9), (9, 0), (12, 0), (12, 1)] {
            let capability = Capability { major: gpu.0, minor: gpu.1 };
            assert!(!portable.are_translated_for(capability), "{gpu:?}");
        }
        for gpu in [(10, 0), (10, 3), (11, 0), (13, 0)] {
            let capability = Capability { major: gpu.0, minor: gpu.1 };
            assert!(portable.are_translated_for(capability), "{gpu:?}");
            // They would not run at all.
            assert!(!kernels("80", false).are_translated_for(capability), "{gpu:?}");
        }
        let blackwell = Capability { major: 10, minor: 0 };
        assert!(
            !BuiltKernels { cuda: CudaVersion(13000), target: None }.are_translated_for(blackwell)
        );
    }

    /// What is added is added there.
    #[test]
    fn the_build_adds_machine_code_for_the_generations_named_here() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let toolkit = std::fs::read_to_string(root.join("ci/cuda-toolkit")).unwrap();
        let newer: Vec<String> = ADDED.iter().map(|major| format!("{major}0")).collect();
        assert!(toolkit.contains(&format!("for newer in {}; do", newer.join(" "))));
        let build = std::fs::read_to_string(root.join("build.rs")).unwrap();
        assert!(build.contains(&format!("[u32; 3] = [80, {}]", newer.join(", "))));
    }

    #[test]
    fn kernels_say_what_they_run_on() {
        let text = |compute_cap, portable| kernels(compute_cap, portable).to_string();
        assert_eq!(text("80", true), "CUDA 13.0 for compute capability 8.0 and later");
        assert_eq!(text("86", false), "CUDA 13.0 for compute capability 8.6 to 8.9");
        assert_eq!(text("90", true), "CUDA 13.0 for compute capability 9.0 only");
    }

    /// The version comes from the linked CUDA runtime, and needs no driver.
    #[cfg(feature = "cuda")]
    #[test]
    fn this_build_knows_its_kernels() {
        let kernels = crate::generation::local::placement::gpu::driver().kernels();
        assert!((11000..99000).contains(&kernels.cuda.0), "{kernels}");
    }

    #[test]
    fn an_unknown_target_is_left_to_the_check_of_results() {
        assert_eq!(Target::parse("native", false), None);
        assert!(runs(BuiltKernels { cuda: CudaVersion(12080), target: None }, (7, 5)));
    }

    #[test]
    fn versions_read_as_people_write_them() {
        assert_eq!(CudaVersion(13000).to_string(), "13.0");
        assert_eq!(CudaVersion(12080).to_string(), "12.8");
    }
}
