//! Weights on disk, GGUF or safetensors, behind a common set of names.
//!
//! Everything is validated before anything is loaded: each tensor exists, has the shape implied by
//! the configuration, and lies within the file.

pub(crate) mod files;
pub(crate) mod gguf;
pub(crate) mod inventory;
pub(crate) mod names;
pub(crate) mod shards;
#[cfg(feature = "cuda")]
mod staging;
mod upload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::model::linear::{Linear, Stack, cpu_kernels};
use crate::compute::quantized::Matrix;
use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use gguf::{Gguf, TensorView};
use names::{Name, Part};
use upload::Upload;

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
    /// From a GGUF file, with the type of the activations.
    Gguf(&'a Gguf, Upload, DType),
    /// From safetensors; activations have the type of the weights.
    Safetensors(VarBuilder<'static>),
}

impl Checkpoint {
    /// Bytes that the weights take on a device, and the largest part of them that exists twice at a
    /// time during loading.
    pub fn weight_bytes(&self, on_gpu: bool) -> Result<(u64, u64)> {
        match self {
            Self::Gguf(gguf) => {
                let (mut sum, mut twice) = (0u64, 0u64);
                for (name, kind, shape) in gguf.contents() {
                    let elements = shape.iter().product::<usize>() as u64;
                    if !is_whole(kind) {
                        // On a GPU, candle adds padding that its kernels may read.
                        let padded = elements + if on_gpu { PADDING } else { 0 };
                        sum += padded.div_ceil(kind.block_size() as u64) * kind.type_size() as u64;
                        continue;
                    }
                    let size = if on_gpu && kind != GgmlDType::F32 { 2 } else { 4 };
                    sum += elements * size;
                    // Gate and up, once concatenated, are the largest matrix of a layer. The others
                    // are at most converted.
                    let parts = if name.starts_with("blk.") { 2 } else { 1 };
                    if on_gpu && shape.len() > 1 {
                        twice = twice.max(parts * elements * size);
                    }
                }
                Ok((sum, twice))
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

    /// Whether gate and up have the same type in each layer, so that they are loaded as one matrix.
    pub fn joins_gate_and_up(&self, layers: usize) -> bool {
        let Self::Gguf(gguf) = self else { return true };
        let types: HashMap<&str, GgmlDType> =
            gguf.contents().map(|(name, kind, _)| (name, kind)).collect();
        let of = |layer, part| types.get(Name::Layer(layer, part).gguf().as_str());
        (0..layers).all(|layer| of(layer, Part::Gate) == of(layer, Part::Up))
    }

    /// The types of all weights with fewer than 16 bits, each once.
    pub fn quantizations(&self) -> Vec<GgmlDType> {
        let Self::Gguf(gguf) = self else { return Vec::new() };
        let mut types = Vec::new();
        for (_, kind, _) in gguf.contents() {
            if !is_whole(kind) && !types.contains(&kind) {
                types.push(kind);
            }
        }
        types
    }

    /// Whether any weights have fewer than 16 bits.
    pub fn is_quantized(&self) -> bool {
        !self.quantizations().is_empty()
    }

    /// Whether any matrix is not quantized.
    pub fn has_whole_matrices(&self) -> bool {
        let Self::Gguf(gguf) = self else { return true };
        gguf.contents().any(|(_, kind, shape)| is_whole(kind) && shape.len() > 1)
    }

    /// Type of the activations. On a GPU, weights of 16 bits keep them, and get activations of their
    /// kind; the published weights of Llama are bf16, and in f16 they are the same numbers. On the
    /// CPU, candle's bf16 matrix product is too slow.
    pub fn dtype(&self, on_gpu: bool) -> DType {
        let halves = match self {
            Self::Gguf(gguf) => gguf
                .contents()
                .filter(|(_, _, shape)| shape.len() > 1)
                .all(|(_, kind, _)| matches!(kind, GgmlDType::F16 | GgmlDType::BF16)),
            Self::Safetensors(_) => true,
        };
        if on_gpu && halves { DType::BF16 } else { DType::F32 }
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
        let dtype = self.dtype(device.is_cuda());
        match self {
            Self::Gguf(gguf) => Ok(Loader::Gguf(gguf, Upload::new(device)?, dtype)),
            Self::Safetensors(files) => {
                let tensors =
                    mmap::safetensors(files).context("cannot read the safetensors files")?;
                let tensors = VarBuilder::from_backend(Box::new(tensors), dtype, device.clone());
                Ok(Loader::Safetensors(tensors))
            }
        }
    }
}

/// Values behind a quantized matrix on a GPU (candle-core's `MATRIX_ROW_PADDING`).
const PADDING: u64 = 512;

/// Whether numbers of this type stand for themselves, and not for a share in a block.
fn is_whole(kind: GgmlDType) -> bool {
    matches!(kind, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}

impl Loader<'_> {
    /// Type of the activations.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Gguf(.., dtype) => *dtype,
            Self::Safetensors(tensors) => tensors.dtype(),
        }
    }

    /// Device that tensors are loaded onto.
    pub fn device(&self) -> &Device {
        match self {
            Self::Gguf(_, upload, _) => upload.device(),
            Self::Safetensors(tensors) => tensors.device(),
        }
    }

    /// Whether the checkpoint has the tensor.
    pub fn has(&self, name: Name) -> bool {
        match self {
            Self::Gguf(gguf, ..) => gguf.has(&name.gguf()),
            Self::Safetensors(tensors) => tensors.contains_tensor(&name.hugging_face()),
        }
    }

    /// A matrix of `rows` outputs and `columns` inputs.
    pub fn linear(&self, name: Name, rows: usize, columns: usize) -> Result<Linear> {
        match self {
            Self::Gguf(gguf, upload, dtype) => {
                single(upload, *dtype, view(gguf, name, rows, columns)?)
            }
            Self::Safetensors(tensors) => Ok(Linear::Candle(QMatMul::Tensor(
                tensors.get((rows, columns), &name.hugging_face())?,
            ))),
        }
    }

    /// Loads matrices that share their input. Except when the mapped file is used in place,
    /// adjacent ones of the same type are concatenated, which makes them a single product on a GPU.
    pub fn stack(&self, matrices: &[(Name, usize)], columns: usize) -> Result<Stack> {
        match self {
            Self::Gguf(gguf, upload, dtype) => {
                let views = matrices
                    .iter()
                    .map(|&(name, rows)| view(gguf, name, rows, columns))
                    .collect::<Result<Vec<_>>>()?;
                stacked(upload, *dtype, &views)
            }
            Self::Safetensors(tensors) => {
                let each = matrices
                    .iter()
                    .map(|&(name, rows)| Ok(tensors.get((rows, columns), &name.hugging_face())?))
                    .collect::<Result<Vec<_>>>()?;
                let joined = Tensor::cat(&each, 0)?;
                Ok(Stack(vec![Linear::Candle(QMatMul::Tensor(joined))]))
            }
        }
    }

    /// Same as [`Loader::stack`] for matrices of so many rows each that a file has as one, one above
    /// the other.
    pub fn stack_of_one(&self, name: Name, rows: &[usize], columns: usize) -> Result<Stack> {
        let all = rows.iter().sum();
        match self {
            Self::Gguf(gguf, upload, dtype) => {
                let whole = view(gguf, name, all, columns)?;
                let mut start = 0;
                let each = rows.iter().map(|&rows| {
                    start += rows;
                    whole.rows(start - rows..start)
                });
                stacked(upload, *dtype, &each.collect::<Vec<_>>())
            }
            Self::Safetensors(tensors) => {
                let whole = tensors.get((all, columns), &name.hugging_face())?;
                Ok(Stack(vec![Linear::Candle(QMatMul::Tensor(whole))]))
            }
        }
    }

    /// A vector of `length` values.
    pub fn vector(&self, name: Name, length: usize) -> Result<Tensor> {
        match self {
            Self::Gguf(gguf, upload, dtype) => {
                // A few kilobytes: not worth a kernel for each type.
                let tensor = gguf.tensor(&name.gguf(), &Device::Cpu)?;
                check_shape(&name.gguf(), tensor.shape().dims(), &[length])?;
                let tensor = tensor.dequantize(&Device::Cpu)?.to_dtype(*dtype)?;
                Ok(tensor.to_device(upload.device())?)
            }
            Self::Safetensors(tensors) => Ok(tensors.get(length, &name.hugging_face())?),
        }
    }

    /// RoPE frequency divisors that a GGUF file may have by this name, `[length]`.
    pub fn rope_divisors(&self, name: &str, length: usize) -> Result<Option<Vec<f32>>> {
        match self {
            Self::Gguf(gguf, ..) if gguf.has(name) => {
                let divisors = gguf.tensor(name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
                let divisors = divisors.flatten_all()?.to_vec1::<f32>()?;
                check_shape(name, &[divisors.len()], &[length])?;
                ensure!(
                    divisors.iter().all(|d| d.is_finite() && *d > 0.0),
                    "{name} holds values that are no frequency factors"
                );
                Ok(Some(divisors))
            }
            _ => Ok(None),
        }
    }
}

fn view(gguf: &Gguf, name: Name, rows: usize, columns: usize) -> Result<TensorView> {
    let name = name.gguf();
    let view = gguf.view(&name)?;
    check_shape(&name, &view.shape, &[rows, columns])?;
    Ok(view)
}

/// A matrix for activations of `dtype`: in the mapped file, if our own kernels can use it there.
fn single(upload: &Upload, dtype: DType, view: TensorView) -> Result<Linear> {
    if let Some(isa) = cpu_kernels(upload.device())
        && let Some(matrix) = Matrix::new(isa, view.dtype, &view.shape, Arc::new(view.data.clone()))
    {
        return Ok(Linear::Mapped(Arc::new(matrix)));
    }
    let shape = (view.shape[0], view.shape[1]);
    joined(upload, dtype, &[view], shape)
}

/// Several matrices with the same input, for activations of `dtype`.
fn stacked(upload: &Upload, dtype: DType, views: &[TensorView]) -> Result<Stack> {
    if cpu_kernels(upload.device()).is_some() {
        let each = views.iter().map(|view| single(upload, dtype, view.clone()));
        return Ok(Stack(each.collect::<Result<_>>()?));
    }
    let alike = views.chunk_by(|a, b| a.dtype == b.dtype);
    let linears = alike.map(|alike| {
        let rows = alike.iter().map(|view| view.shape[0]).sum();
        joined(upload, dtype, alike, (rows, alike[0].shape[1]))
    });
    Ok(Stack(linears.collect::<Result<_>>()?))
}

/// One matrix from several of the same type, one above the other, for activations of `dtype`.
fn joined(
    upload: &Upload,
    dtype: DType,
    views: &[TensorView],
    shape: (usize, usize),
) -> Result<Linear> {
    let kind = views.first().context("no matrix to load")?.dtype;
    Ok(Linear::Candle(match kind {
        GgmlDType::F32 => QMatMul::Tensor(upload.whole(views, shape, dtype)?),
        GgmlDType::F16 | GgmlDType::BF16 if dtype == DType::BF16 || upload.device().is_cpu() => {
            QMatMul::Tensor(upload.whole(views, shape, dtype)?)
        }
        // In a quantized file: its activations, of 32 bits, are converted for this product.
        GgmlDType::F16 | GgmlDType::BF16 => {
            QMatMul::TensorF16(upload.whole(views, shape, DType::F16)?)
        }
        _ => QMatMul::from_qtensor(upload.quantized(views, shape)?)?,
    }))
}

fn check_shape(name: &str, found: &[usize], wanted: &[usize]) -> Result<()> {
    if found != wanted {
        bail!("tensor {name} has shape {found:?}, the configuration asks for {wanted:?}");
    }
    Ok(())
}
