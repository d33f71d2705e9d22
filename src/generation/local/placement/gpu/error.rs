//! Why a GPU cannot be used, and what the user can do about it.

use std::fmt;

use thiserror::Error;

use super::{BuiltKernels, ComputeMode, CudaVersion, Gpu, Holder};

/// Maximum number of programs that an error lists.
const NAMED_HOLDERS: usize = 4;

/// Why the requested GPU cannot be used. There is never a fallback to the CPU.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The program was built without CUDA support.
    #[error("the LLM is to run on a CUDA GPU, but this rag-query was built without CUDA support")]
    NotBuilt,
    /// CUDA cannot be initialized.
    #[error("the LLM is to run on a CUDA GPU, but no usable NVIDIA driver was found ({reason})")]
    NoDriver {
        /// CUDA's error message.
        reason: String,
    },
    /// The driver is too old for this program's kernels.
    #[error(
        "the LLM is to run on a CUDA GPU, but the NVIDIA driver is too old: it runs CUDA {driver}, \
         this rag-query was built with CUDA {needed}"
    )]
    DriverTooOld {
        /// The newest CUDA version that the driver supports.
        driver: CudaVersion,
        /// The CUDA version of this build.
        needed: CudaVersion,
    },
    /// No GPU has this number.
    #[error("the LLM is to run on cuda:{ordinal}, but there {}", count_gpus(*.count))]
    NoSuchDevice {
        /// The requested number.
        ordinal: usize,
        /// Number of GPUs present.
        count: usize,
    },
    /// The kernels were compiled for other GPUs.
    #[error(
        "the LLM cannot run on {gpu}: it has compute capability {}, this rag-query was built with \
         {kernels}",
        gpu.capability
    )]
    WrongCapability {
        /// The requested GPU.
        gpu: Gpu,
        /// What the kernels were built for.
        kernels: BuiltKernels,
    },
    /// Its compute mode keeps this program out.
    #[error("the LLM is to run on {gpu}, {}", kept_by(gpu, holders))]
    Closed {
        /// The requested GPU.
        gpu: Gpu,
        /// The programs that have it.
        holders: Vec<Holder>,
    },
    /// A library that multiplies this model's matrices is missing.
    #[error(
        "the LLM is to run on {gpu}, but CUDA's library cuBLAS was not found, which this model needs"
    )]
    NoCublas {
        /// The requested GPU.
        gpu: Gpu,
        /// The CUDA version of this build.
        cuda: CudaVersion,
    },
    /// It cannot compute with weights of this type.
    #[error(
        "the LLM cannot run on {gpu}: its weights are computed in bf16, for which a compute \
         capability of 8.0 is needed, not {}",
        gpu.capability
    )]
    NoBf16 {
        /// The requested GPU.
        gpu: Gpu,
    },
    /// The GPU is present but does not work.
    #[error("the LLM is to run on cuda:{ordinal}, which cannot be used: {reason}")]
    Unusable {
        /// CUDA's number for the GPU.
        ordinal: usize,
        /// The error that occurred.
        reason: String,
    },
    /// There is not enough free memory.
    #[error("{0}")]
    OutOfMemory(Box<Shortage>),
}

/// When memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before its files were downloaded.
    Downloading,
    /// Before loading started.
    Planning,
    /// While loading: another program allocated the memory first.
    Loading,
    /// While generating an answer.
    Answering,
}

/// A shorter context that would fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShorterContext {
    /// Context length in tokens.
    pub tokens: usize,
    /// Bytes saved by the shorter context.
    pub saves: u64,
}

/// A memory shortage, with figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// When memory ran out.
    pub moment: Moment,
    /// Bytes required according to the load plan.
    pub needed: u64,
    /// The GPU and its memory at that moment.
    pub gpu: Gpu,
    /// Programs that hold memory on the GPU.
    pub holders: Vec<Holder>,
    /// A shorter context that would fit right now.
    pub shorter: Option<ShorterContext>,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moment, needed, gpu, .. } = self;
        f.write_str(match moment {
            Moment::Downloading => {
                "the LLM's weights do not fit into the GPU's memory, so it was not downloaded"
            }
            Moment::Planning => "the LLM does not fit into the GPU's memory",
            Moment::Loading => "the GPU's memory ran out while the LLM was loading",
            Moment::Answering => "the GPU's memory ran out while the LLM answered",
        })?;
        // Round in opposite directions, so that the needed amount never appears equal to the free
        // one.
        let (needed, free) = (tenths(*needed).ceil() / 10.0, tenths(gpu.free).floor() / 10.0);
        write!(f, ": needed {needed:.1} GiB, free {free:.1} of {} on {gpu}", gib(gpu.total))
    }
}

impl Shortage {
    fn hint(&self) -> String {
        let mut ways = Vec::new();
        if self.gpu.total >= self.needed {
            ways.push(self.close_programs());
        }
        if let Some(ShorterContext { tokens, saves }) = self.shorter {
            ways.push(format!("ask for `--context {tokens}` (saves {})", gib(saves)));
        }
        ways.push("use a smaller model file (`--llm FILE`) or `--profile cpu`".to_owned());
        ways.push("say `--device cpu` to run the LLM on the CPU, slowly".to_owned());
        ways.join("; or ")
    }

    fn close_programs(&self) -> String {
        if self.holders.is_empty() {
            return "close the programs that hold the memory (`nvidia-smi` names them)".to_owned();
        }
        format!("close the programs that hold the memory: {}", named(&self.holders))
    }
}

/// The largest programs by name, and how many more there are.
fn named(holders: &[Holder]) -> String {
    let mut named: Vec<String> =
        holders.iter().take(NAMED_HOLDERS).map(Holder::to_string).collect();
    if let more @ 1.. = holders.len().saturating_sub(NAMED_HOLDERS) {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

fn kept_by(gpu: &Gpu, holders: &[Holder]) -> String {
    match gpu.mode {
        ComputeMode::Prohibited => "whose compute mode prohibits programs".to_owned(),
        _ => format!("which is in the exclusive use of {}", named(holders)),
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("a program");
        match self.bytes {
            Some(bytes) => write!(f, "{name} (process {}, {})", self.pid, gib(bytes)),
            None => write!(f, "{name} (process {})", self.pid),
        }
    }
}

impl GpuError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let instead = "or say `--device cpu` to run the LLM on the CPU, slowly";
        match self {
            Self::NotBuilt => {
                format!("build it with `cargo build --release --features cuda`, {instead}")
            }
            Self::NoDriver { .. } => format!(
                "install the NVIDIA driver (`nvidia-smi` shows whether it works), {instead}"
            ),
            Self::DriverTooOld { needed, .. } => format!(
                "install an NVIDIA driver that runs CUDA {needed}, or build with an older CUDA \
                 toolkit, {instead}"
            ),
            Self::NoSuchDevice { .. } => format!(
                "`nvidia-smi -L` lists the GPUs; it numbers them by their slots, CUDA the fastest \
                 first (unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set) and only those that \
                 CUDA_VISIBLE_DEVICES names, {instead}"
            ),
            Self::WrongCapability { gpu, .. } => format!(
                "build it with CUDA_COMPUTE_CAP={}{}, {instead}",
                gpu.capability.major, gpu.capability.minor
            ),
            Self::NoCublas { cuda, .. } => {
                // NVIDIA's packages for version 13 have no suffix.
                let package = match cuda.0 / 1000 {
                    12 => "nvidia-cublas-cu12",
                    _ => "nvidia-cublas",
                };
                format!(
                    "install it into the active Python environment (`pip install {package}`) or \
                     with the CUDA toolkit, or add its folder to LD_LIBRARY_PATH; or use a \
                     quantized GGUF file of the same model (`--llm FILE`), which does without, \
                     {instead}"
                )
            }
            Self::NoBf16 { .. } => format!(
                "use a quantized GGUF file of the same model, such as Q4_K_M (`--llm FILE`), {instead}"
            ),
            Self::Closed { .. } => format!(
                "wait until it is free, choose another GPU (`--device cuda:N`), or open it to all \
                 programs (`nvidia-smi --compute-mode=DEFAULT`, as an administrator), {instead}"
            ),
            Self::Unusable { .. } => format!(
                "start rag-query again; if that does not help, `nvidia-smi` shows whether \
                 the GPU works, {instead}"
            ),
            Self::OutOfMemory(shortage) => shortage.hint(),
        }
    }
}

fn count_gpus(count: usize) -> String {
    match count {
        0 => "is no CUDA GPU".to_owned(),
        1 => "is only one CUDA GPU, cuda:0".to_owned(),
        n => format!("are only {n} CUDA GPUs"),
    }
}

/// Formats bytes for display, `5.2 GiB`.
pub fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", tenths(bytes) / 10.0)
}

fn tenths(bytes: u64) -> f64 {
    bytes as f64 * 10.0 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::local::placement::gpu::fake::{GIB, gpu};

    fn shortage() -> Shortage {
        Shortage {
            moment: Moment::Planning,
            needed: GIB * 61 / 10,
            gpu: Gpu { total: 8 * GIB, ..gpu(0, GIB * 23 / 10 + 1) },
            holders: Vec::new(),
            shorter: None,
        }
    }

    #[test]
    fn a_shortage_has_the_numbers_and_the_gpus_name() {
        assert_eq!(
            shortage().to_string(),
            "the LLM does not fit into the GPU's memory: needed 6.1 GiB, free 2.3 of 8.0 GiB on \
             cuda:0 (Fake RTX)"
        );
        let close = Shortage { needed: 6 * GIB, gpu: gpu(0, 6 * GIB - 1), ..shortage() };
        assert!(close.to_string().contains("needed 6.0 GiB, free 5.9"), "{close}");
    }

    #[test]
    fn programs_are_named_with_their_sizes() {
        assert!(shortage().hint().contains("`nvidia-smi` names them"));
        let holder =
            |pid, name: Option<&str>, bytes| Holder { pid, name: name.map(str::to_owned), bytes };
        let mut shortage = shortage();
        shortage.holders = vec![holder(7, Some("game"), Some(5 * GIB)), holder(8, None, None)];
        let hint = shortage.hint();
        assert!(
            hint.contains("memory: game (process 7, 5.0 GiB), a program (process 8);"),
            "{hint}"
        );
        shortage.holders.resize(9, holder(9, Some("x"), None));
        assert!(shortage.hint().contains("5 more"));
    }

    #[test]
    fn only_what_would_help_is_proposed() {
        let hint = Shortage { needed: 9 * GIB, ..shortage() }.hint();
        assert!(!hint.contains("close"), "the GPU is too small: {hint}");
        assert!(!hint.contains("--context"), "{hint}");
        let shorter = Some(ShorterContext { tokens: 4096, saves: GIB / 2 });
        let hint = Shortage { shorter, ..shortage() }.hint();
        assert!(hint.contains("`--context 4096` (saves 0.5 GiB)"), "{hint}");
    }
}
