//! Weights on disk, GGUF or safetensors, behind a common set of names.
//!
//! Everything is validated before anything is loaded: each tensor exists, has the shape implied by
//! the configuration, and lies within the file.

pub(crate) mod files;
pub(crate) mod gguf;
pub(crate) mod inventory;
pub(crate) mod names;
mod safetensors;
pub(crate) mod shards;
#[cfg(feature = "cuda")]
mod staging;
mod upload;
pub(crate) mod view;

use std::sync::Arc;

use super::model::config::LlamaConfig;
use super::model::linear::{Linear, Stack, cpu_kernels};
use crate::compute::quantized::Matrix;
use anyhow::{Context, Result, ensure};
use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{DType, Device, Tensor};
use gguf::Gguf;
use names::{Name, Part};
pub use safetensors::Safetensors;
use upload::Upload;
use view::{TensorView, number};

/// The weights of a model on disk.
pub enum Checkpoint {
    /// A GGUF model.
    Gguf(Gguf),
    /// The safetensors files of a Hugging Face folder.
    Safetensors(Safetensors),
}

/// Loads the tensors of a checkpoint onto a device.
pub struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    upload: Upload,
    /// Type of the activations.
    dtype: DType,
}

impl Checkpoint {
    /// Bytes that the weights take on a device, and the largest part of them that exists twice at a
    /// time during loading.
    pub fn weight_bytes(&self, config: &LlamaConfig, on_gpu: bool) -> (u64, u64) {
        let dtype = self.dtype(on_gpu);
        let mut sum = 0u64;
        for (_, kind, shape) in self.contents() {
            let elements = shape.iter().fold(1u64, |n, &dim| n.saturating_mul(dim as u64));
            let bytes = match number(kind) {
                Some(_) if shape.len() == 1 => elements.saturating_mul(size_of(dtype)),
                Some(_) => elements.saturating_mul(size_of(loaded_as(kind, dtype, on_gpu))),
                None => {
                    // On a GPU, candle adds padding that its kernels may read.
                    let padded = elements.saturating_add(if on_gpu { PADDING } else { 0 });
                    let blocks = padded.div_ceil(kind.block_size() as u64);
                    blocks.saturating_mul(kind.type_size() as u64)
                }
            };
            sum = sum.saturating_add(bytes);
        }
        // Matrices of another type than in the file are converted on the device. On the CPU, those
        // that become one are put together there.
        let twice = |names: Vec<Name>| {
            let views = names.into_iter().filter_map(|name| self.view(name));
            let bytes = views.map(|view| match view.number() {
                Some(stored) if on_gpu && stored == loaded_as(view.dtype, dtype, on_gpu) => 0,
                Some(_) => view.data.len() as u64,
                None => 0,
            });
            bytes.fold(0, u64::saturating_add)
        };
        (sum, stacks(config).map(twice).max().unwrap_or(0))
    }

    /// Name, type and shape of every tensor, in no particular order.
    fn contents(&self) -> Box<dyn Iterator<Item = (&str, GgmlDType, &[usize])> + '_> {
        match self {
            Self::Gguf(gguf) => Box::new(gguf.contents()),
            Self::Safetensors(safetensors) => Box::new(safetensors.contents()),
        }
    }

    /// A tensor as stored; copies nothing.
    fn view(&self, name: Name) -> Option<TensorView> {
        match self {
            Self::Gguf(gguf) => gguf.view(&name.gguf()).ok(),
            Self::Safetensors(safetensors) => safetensors.view(&name.hugging_face()).cloned(),
        }
    }

    /// Whether gate and up have the same type in each layer, so that they are loaded as one matrix.
    pub fn joins_gate_and_up(&self, layers: usize) -> bool {
        let of = |layer, part| self.view(Name::Layer(layer, part)).map(|view| view.dtype);
        (0..layers).all(|layer| of(layer, Part::Gate) == of(layer, Part::Up))
    }

    /// The types of all weights with fewer than 16 bits, each once.
    pub fn quantizations(&self) -> Vec<GgmlDType> {
        let mut types = Vec::new();
        for (_, kind, _) in self.contents() {
            if number(kind).is_none() && !types.contains(&kind) {
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
        self.contents().any(|(_, kind, shape)| number(kind).is_some() && shape.len() > 1)
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

    /// A loader onto `device`, for activations of type `dtype`.
    pub fn loader(&self, device: &Device, dtype: DType) -> Result<Loader<'_>> {
        Ok(Loader { checkpoint: self, upload: Upload::new(device)?, dtype })
    }
}

/// Values behind a quantized matrix on a GPU (candle-core's `MATRIX_ROW_PADDING`).
const PADDING: u64 = 512;

fn size_of(dtype: DType) -> u64 {
    dtype.size_in_bytes() as u64
}

/// What a matrix that is not quantized is loaded as, for activations of type `dtype`.
fn loaded_as(kind: GgmlDType, dtype: DType, on_gpu: bool) -> DType {
    match kind {
        // In a quantized file: its activations, of 32 bits, are converted for this product.
        GgmlDType::F16 | GgmlDType::BF16 if on_gpu && dtype == DType::F32 => DType::F16,
        _ => dtype,
    }
}

/// All matrices of a model. Those in a list share their input, and may be loaded as one.
fn stacks(config: &LlamaConfig) -> impl Iterator<Item = Vec<Name>> {
    let layer = |layer| {
        let name = move |part| Name::Layer(layer, part);
        [
            vec![name(Part::Q), name(Part::K), name(Part::V)],
            vec![name(Part::Qkv)],
            vec![name(Part::AttentionOutput)],
            vec![name(Part::Gate), name(Part::Up)],
            vec![name(Part::GateUp)],
            vec![name(Part::Down)],
        ]
    };
    let whole = [vec![Name::Embedding], vec![Name::Output]];
    whole.into_iter().chain((0..config.layers).flat_map(layer))
}

impl Loader<'_> {
    /// Type of the activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Device that tensors are loaded onto.
    pub fn device(&self) -> &Device {
        self.upload.device()
    }

    /// Whether the checkpoint has the tensor.
    pub fn has(&self, name: Name) -> bool {
        self.checkpoint.view(name).is_some()
    }

    /// A tensor as stored, of this shape.
    fn view(&self, name: Name, shape: &[usize]) -> Result<TensorView> {
        let (spelled, view) = match self.checkpoint {
            Checkpoint::Gguf(gguf) => (name.gguf(), gguf.view(&name.gguf())?),
            Checkpoint::Safetensors(safetensors) => {
                let spelled = name.hugging_face();
                let view = safetensors.view(&spelled).cloned();
                let view = view.with_context(|| format!("there is no tensor {spelled}"))?;
                (spelled, view)
            }
        };
        check_shape(&spelled, &view.shape, shape)?;
        Ok(view)
    }

    /// A matrix of `rows` outputs and `columns` inputs.
    pub fn linear(&self, name: Name, rows: usize, columns: usize) -> Result<Linear> {
        self.single(self.view(name, &[rows, columns])?)
    }

    /// Loads matrices that share their input. Except when the mapped file is used in place,
    /// adjacent ones of the same type are put together, which makes them a single product.
    pub fn stack(&self, matrices: &[(Name, usize)], columns: usize) -> Result<Stack> {
        let views = matrices.iter().map(|&(name, rows)| self.view(name, &[rows, columns]));
        self.stacked(&views.collect::<Result<Vec<_>>>()?)
    }

    /// Same as [`Loader::stack`] for matrices of so many rows each that a file has as one, one above
    /// the other.
    pub fn stack_of_one(&self, name: Name, rows: &[usize], columns: usize) -> Result<Stack> {
        let whole = self.view(name, &[rows.iter().sum(), columns])?;
        let mut start = 0;
        let each = rows.iter().map(|&rows| {
            start += rows;
            whole.rows(start - rows..start)
        });
        self.stacked(&each.collect::<Vec<_>>())
    }

    /// A vector of `length` values.
    pub fn vector(&self, name: Name, length: usize) -> Result<Tensor> {
        // A few kilobytes: not worth a kernel for each type.
        let values = self.view(name, &[length])?.values()?;
        Ok(values.to_dtype(self.dtype)?.to_device(self.device())?)
    }

    /// RoPE frequency divisors that a GGUF file may have by this name, `[length]`.
    pub fn rope_divisors(&self, name: &str, length: usize) -> Result<Option<Vec<f32>>> {
        match self.checkpoint {
            Checkpoint::Gguf(gguf) if gguf.has(name) => {
                let divisors = gguf.view(name)?.values()?.flatten_all()?.to_vec1::<f32>()?;
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

    /// A matrix: in the mapped file, if our own kernels can use it there.
    fn single(&self, view: TensorView) -> Result<Linear> {
        if let Some(isa) = cpu_kernels(self.device()) {
            let bytes = Arc::new(view.data.clone());
            if let Some(matrix) = Matrix::new(isa, view.dtype, &view.shape, bytes) {
                return Ok(Linear::Mapped(Arc::new(matrix)));
            }
        }
        self.joined(&[view])
    }

    /// Several matrices with the same input.
    fn stacked(&self, views: &[TensorView]) -> Result<Stack> {
        let quantized = views.iter().any(|view| view.number().is_none());
        if cpu_kernels(self.device()).is_some() && quantized {
            let each = views.iter().map(|view| self.single(view.clone()));
            return Ok(Stack(each.collect::<Result<_>>()?));
        }
        let alike = views.chunk_by(|a, b| a.dtype == b.dtype);
        Ok(Stack(alike.map(|alike| self.joined(alike)).collect::<Result<_>>()?))
    }

    /// One matrix from several of the same type, one above the other.
    fn joined(&self, views: &[TensorView]) -> Result<Linear> {
        let first = views.first().context("no matrix to load")?;
        let shape = (views.iter().map(|view| view.shape[0]).sum(), first.shape[1]);
        if first.number().is_none() {
            let matrix = self.upload.quantized(views, shape)?;
            return Ok(Linear::Candle(QMatMul::from_qtensor(matrix)?));
        }
        let dtype = loaded_as(first.dtype, self.dtype, !self.device().is_cpu());
        let matrix = self.upload.whole(views, shape, dtype)?;
        Ok(Linear::Candle(match dtype == self.dtype {
            true => QMatMul::Tensor(matrix),
            false => QMatMul::TensorF16(matrix),
        }))
    }
}

fn check_shape(name: &str, found: &[usize], wanted: &[usize]) -> Result<()> {
    if found != wanted {
        anyhow::bail!("tensor {name} has shape {found:?}, the configuration asks for {wanted:?}");
    }
    Ok(())
}
