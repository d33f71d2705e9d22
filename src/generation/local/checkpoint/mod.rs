//! Weights on disk, GGUF or safetensors, behind a common set of names.
//!
//! Everything is validated before anything is loaded: each tensor exists, has the shape implied by
//! the configuration, and lies within the file.

pub(crate) mod files;
pub(crate) mod gguf;
pub(crate) mod inventory;
pub(crate) mod names;
pub(crate) mod shards;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::model::linear::{Linear, Stack, cpu_kernels};
use crate::compute::quantized::Matrix;
use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use gguf::Gguf;
use names::Name;

use crate::support::mmap;

/// The weights of a model on disk.
pub enum Checkpoint {
    /// A GGUF model.
    Gguf(Gguf),
    /// The safetensors files of a Hugging Face folder.
    Safetensors(Vec<PathBuf>),
}

/// Loads the tensors of a checkpoint onto a device.
pub enum Loader<'a> {
    /// From a GGUF file; activations are `f32`.
    Gguf(&'a Gguf, Device),
    /// From safetensors; activations have the type of the weights.
    Safetensors(VarBuilder<'static>),
}

impl Checkpoint {
    /// Bytes that the weights take on a device, and the largest part of them that exists twice at a
    /// time during loading. Unquantized matrices become `f32`, or `bf16` if loaded from safetensors
    /// on a GPU.
    pub fn weight_bytes(&self, on_gpu: bool) -> Result<(u64, u64)> {
        match self {
            Self::Gguf(gguf) => {
                let (mut sum, mut widened) = (0u64, 0u64);
                for (kind, elements) in gguf.contents() {
                    let stored = elements / kind.block_size() as u64 * kind.type_size() as u64;
                    sum += match kind {
                        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => {
                            widened = widened.max(stored);
                            elements * 4
                        }
                        _ => stored,
                    };
                }
                Ok((sum, widened))
            }
            Self::Safetensors(files) => {
                let size = if on_gpu { 2 } else { 4 };
                let (mut sum, mut joined) = (0u64, 0u64);
                for (name, shape) in shards::shapes(files)? {
                    let elements = |n: u64, &dim: &usize| n.saturating_mul(dim as u64);
                    let bytes = shape.iter().fold(size, elements);
                    sum = sum.saturating_add(bytes);
                    // Gate and up, once concatenated, are the largest matrix.
                    if name.contains(".layers.") {
                        joined = joined.max(bytes.saturating_mul(2));
                    }
                }
                Ok((sum, joined))
            }
        }
    }

    /// The types of all weights with fewer than 16 bits, each once.
    pub fn quantizations(&self) -> Vec<GgmlDType> {
        let Self::Gguf(gguf) = self else { return Vec::new() };
        let mut types = Vec::new();
        for (kind, _) in gguf.contents() {
            let whole = matches!(kind, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
            if !whole && !types.contains(&kind) {
                types.push(kind);
            }
        }
        types
    }

    /// Whether any weights have fewer than 16 bits.
    pub fn is_quantized(&self) -> bool {
        !self.quantizations().is_empty()
    }

    /// Type of the activations.
    pub fn dtype(&self, on_gpu: bool) -> DType {
        match self {
            Self::Safetensors(_) if on_gpu => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Type of the KV cache: half precision if the weights are quantized, otherwise the type of the
    /// activations.
    pub fn cache_dtype(&self, on_gpu: bool) -> DType {
        match self {
            _ if self.is_quantized() => DType::F16,
            _ => self.dtype(on_gpu),
        }
    }

    /// A loader onto `device`.
    pub fn loader(&self, device: &Device) -> Result<Loader<'_>> {
        match self {
            Self::Gguf(gguf) => Ok(Loader::Gguf(gguf, device.clone())),
            Self::Safetensors(files) => {
                // candle's bf16 matrix product on the CPU is too slow.
                let dtype = self.dtype(device.is_cuda());
                let tensors =
                    mmap::safetensors(files).context("cannot read the safetensors files")?;
                let tensors = VarBuilder::from_backend(Box::new(tensors), dtype, device.clone());
                Ok(Loader::Safetensors(tensors))
            }
        }
    }
}

impl Loader<'_> {
    /// Type of the activations.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Gguf(..) => DType::F32,
            Self::Safetensors(tensors) => tensors.dtype(),
        }
    }

    /// Device that tensors are loaded onto.
    pub fn device(&self) -> &Device {
        match self {
            Self::Gguf(_, device) => device,
            Self::Safetensors(tensors) => tensors.device(),
        }
    }

    /// Whether the checkpoint has the tensor.
    pub fn has(&self, name: Name) -> bool {
        match self {
            Self::Gguf(gguf, _) => gguf.has(&name.gguf()),
            Self::Safetensors(tensors) => tensors.contains_tensor(&name.hugging_face()),
        }
    }

    /// A matrix of `rows` outputs and `columns` inputs.
    pub fn linear(&self, name: Name, rows: usize, columns: usize) -> Result<Linear> {
        match self {
            Self::Gguf(gguf, device) => {
                let view = gguf.view(&name.gguf())?;
                check_shape(&name.gguf(), &view.shape, &[rows, columns])?;
                if let Some(isa) = cpu_kernels(device)
                    && let Some(matrix) =
                        Matrix::new(isa, view.dtype, &view.shape, Arc::new(view.data))
                {
                    return Ok(Linear::Mapped(Arc::new(matrix)));
                }
                let tensor = gguf.tensor(&name.gguf(), device)?;
                Ok(Linear::Candle(QMatMul::from_qtensor(tensor)?))
            }
            Self::Safetensors(tensors) => Ok(Linear::Candle(QMatMul::Tensor(
                tensors.get((rows, columns), &name.hugging_face())?,
            ))),
        }
    }

    /// Loads matrices that share their input. Except when the mapped file is used in place,
    /// adjacent ones of the same type are concatenated, which makes them a single product on a GPU.
    pub fn stack(&self, matrices: &[(Name, usize)], columns: usize) -> Result<Stack> {
        let mut linears: Vec<Linear> = Vec::new();
        match self {
            Self::Gguf(gguf, device) if cpu_kernels(device).is_none() => {
                let mut rest = matrices;
                while let Some((&(first, _), _)) = rest.split_first() {
                    let dtype = gguf.view(&first.gguf())?.dtype;
                    let same = |&&(name, _): &&(Name, usize)| {
                        gguf.view(&name.gguf()).is_ok_and(|view| view.dtype == dtype)
                    };
                    let (alike, others) = rest.split_at(rest.iter().take_while(same).count());
                    linears.push(joined(gguf, device, alike, columns)?);
                    rest = others;
                }
            }
            Self::Gguf(..) => {
                for &(name, rows) in matrices {
                    linears.push(self.linear(name, rows, columns)?);
                }
            }
            Self::Safetensors(tensors) => {
                let each = matrices
                    .iter()
                    .map(|&(name, rows)| Ok(tensors.get((rows, columns), &name.hugging_face())?))
                    .collect::<Result<Vec<_>>>()?;
                linears.push(Linear::Candle(QMatMul::Tensor(Tensor::cat(&each, 0)?)));
            }
        }
        Ok(Stack(linears))
    }

    /// A vector of `length` values.
    pub fn vector(&self, name: Name, length: usize) -> Result<Tensor> {
        match self {
            Self::Gguf(gguf, device) => {
                let tensor = gguf.tensor(&name.gguf(), device)?;
                check_shape(&name.gguf(), tensor.shape().dims(), &[length])?;
                Ok(tensor.dequantize(device)?)
            }
            Self::Safetensors(tensors) => Ok(tensors.get(length, &name.hugging_face())?),
        }
    }

    /// RoPE frequency divisors stored in a GGUF file, `[head_dim / 2]`.
    pub fn rope_divisors(&self, length: usize) -> Result<Option<Vec<f32>>> {
        const NAME: &str = "rope_freqs.weight";
        match self {
            Self::Gguf(gguf, _) if gguf.has(NAME) => {
                let divisors = gguf.tensor(NAME, &Device::Cpu)?.dequantize(&Device::Cpu)?;
                let divisors = divisors.flatten_all()?.to_vec1::<f32>()?;
                check_shape(NAME, &[divisors.len()], &[length])?;
                ensure!(
                    divisors.iter().all(|d| d.is_finite() && *d > 0.0),
                    "{NAME} holds values that are no frequency factors"
                );
                Ok(Some(divisors))
            }
            _ => Ok(None),
        }
    }
}

/// Concatenates matrices of the same type along their rows.
fn joined(
    gguf: &Gguf,
    device: &Device,
    matrices: &[(Name, usize)],
    columns: usize,
) -> Result<Linear> {
    let mut rows = 0;
    let mut views = Vec::new();
    for &(name, count) in matrices {
        let view = gguf.view(&name.gguf())?;
        check_shape(&name.gguf(), &view.shape, &[count, columns])?;
        rows += count;
        views.push(view);
    }
    let dtype = views.first().context("no matrix to load")?.dtype;
    let bytes = match views.as_slice() {
        [one] => Cow::Borrowed(&*one.data),
        several => Cow::Owned(several.iter().map(|view| &*view.data).collect::<Vec<_>>().concat()),
    };
    let storage = QStorage::from_data(bytes, device, dtype)?;
    let tensor = QTensor::new(storage, (rows, columns))?;
    Ok(Linear::Candle(QMatMul::from_qtensor(tensor)?))
}

fn check_shape(name: &str, found: &[usize], wanted: &[usize]) -> Result<()> {
    if found != wanted {
        bail!("tensor {name} has shape {found:?}, the configuration asks for {wanted:?}");
    }
    Ok(())
}
