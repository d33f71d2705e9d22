//! The CUDA GPU, where the build has it: one file with CUDA, one without, the same functions.

#[cfg(feature = "cuda")]
mod enabled;
#[cfg(feature = "cuda")]
use enabled as backend;
#[cfg(not(feature = "cuda"))]
mod disabled;
#[cfg(not(feature = "cuda"))]
use disabled as backend;

pub use backend::{device, probe};
use thiserror::Error;

/// A GPU and its memory at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// CUDA's number for it.
    pub ordinal: usize,
    /// Its name, `NVIDIA GeForce RTX 4090`.
    pub name: String,
    /// Free memory in bytes.
    pub free: u64,
    /// All memory in bytes.
    pub total: u64,
}

/// Why the GPU that was asked for cannot be used. Never answered by using the CPU instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The program was built without CUDA.
    #[error("the LLM is to run on a CUDA GPU, but this rag-query was built without CUDA support")]
    NotBuilt,
    /// CUDA does not start.
    #[error("the LLM is to run on a CUDA GPU, but no usable NVIDIA driver was found ({reason})")]
    NoDriver {
        /// CUDA's own words.
        reason: String,
    },
    /// There is no GPU with that number.
    #[error("the LLM is to run on cuda:{ordinal}, but there {}", count_gpus(*.count))]
    NoSuchDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// Too little free memory.
    #[error(
        "the LLM needs {} of GPU memory, but only {} of {} are free on cuda:{} ({})",
        gib(*.needed), gib(gpu.free), gib(gpu.total), gpu.ordinal, gpu.name
    )]
    OutOfMemory {
        /// Bytes that the load plan adds up to.
        needed: u64,
        /// The GPU.
        gpu: Gpu,
    },
}

impl GpuError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotBuilt => {
                "build it with `cargo build --release --features cuda`, or say `--device cpu` to run \
                 the LLM on the CPU, slowly"
            }
            Self::NoDriver { .. } => {
                "install the NVIDIA driver (`nvidia-smi` shows whether it works), or say `--device cpu` \
                 to run the LLM on the CPU, slowly"
            }
            Self::NoSuchDevice { .. } => "`nvidia-smi -L` lists the GPUs",
            Self::OutOfMemory { .. } => {
                "close the programs that hold the memory (`nvidia-smi` names them), ask for a shorter \
                 `--context`, use a smaller model (`--profile cpu`), or say `--device cpu`"
            }
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

/// Bytes for people, `5.2 GiB`.
pub fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
