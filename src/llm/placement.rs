//! Where the LLM runs. On the GPU that was asked for, or not at all: it never moves to the CPU by
//! itself.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::gpu::{self, Gpu, GpuError};

/// Room beside weights and KV cache: CUDA's context and kernels, activations of a prompt chunk,
/// cuBLAS' workspace; in bytes.
const MARGIN: u64 = 768 << 20;

/// The device that the user or the profile names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceChoice {
    /// A CUDA GPU: that one, or the one with most free memory.
    Cuda(Option<usize>),
    /// The CPU, by explicit wish.
    Cpu,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(None)),
            Some(("cuda", ordinal)) if ordinal.parse::<usize>().is_ok() => {
                Ok(Self::Cuda(ordinal.parse().ok()))
            }
            _ => Err("a device is `cuda`, `cuda:N` or `cpu`".to_owned()),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(ordinal)) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// Opens the device for a model that needs `bytes` for weights and KV cache together.
pub fn open(choice: DeviceChoice, bytes: u64) -> Result<Device, GpuError> {
    let DeviceChoice::Cuda(ordinal) = choice else { return Ok(Device::Cpu) };
    let gpu = gpu::probe(ordinal)?;
    check_memory(&gpu, bytes)?;
    gpu::device(gpu.ordinal)
}

/// Whether the device can be used at all, before any file of the LLM is looked for or downloaded.
pub fn check(choice: DeviceChoice) -> Result<(), GpuError> {
    match choice {
        DeviceChoice::Cpu => Ok(()),
        DeviceChoice::Cuda(ordinal) => gpu::probe(ordinal).map(drop),
    }
}

fn check_memory(gpu: &Gpu, bytes: u64) -> Result<(), GpuError> {
    let needed = bytes.saturating_add(MARGIN);
    if gpu.free < needed {
        return Err(GpuError::OutOfMemory { needed, gpu: gpu.clone() });
    }
    Ok(())
}

/// The name of the device that tensors are on: `cpu` or `cuda:0`.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_on_the_command_line() {
        for text in ["cpu", "cuda", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "CUDA"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn too_little_memory_is_an_error_with_numbers() {
        let gpu = Gpu { ordinal: 0, name: "RTX 3070".to_owned(), free: 2 << 30, total: 8 << 30 };
        let error = check_memory(&gpu, 5 << 30).unwrap_err().to_string();
        assert!(error.contains("5.8 GiB") && error.contains("2.0 GiB of 8.0 GiB"), "{error}");
        assert!(check_memory(&Gpu { free: 6 << 30, ..gpu }, 5 << 30).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_a_gpu_is_an_error_and_the_cpu_is_not_used_instead() {
        assert!(matches!(open(DeviceChoice::Cuda(None), 0), Err(GpuError::NotBuilt)));
        assert!(matches!(check(DeviceChoice::Cuda(Some(0))), Err(GpuError::NotBuilt)));
        assert!(open(DeviceChoice::Cpu, u64::MAX).is_ok());
    }
}
