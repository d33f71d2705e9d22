//! Weights on disk: GGUF or safetensors, under one set of names.
//!
//! Everything is checked before any of it is loaded: that each tensor is there, has the shape that
//! the configuration asks for, and lies inside the file.

use std::path::PathBuf;

use super::gguf::Gguf;
use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;

/// A tensor of the Llama architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Token embedding table, `[vocabulary, hidden]`.
    Embedding,
    /// The last norm, `[hidden]`.
    Norm,
    /// Logits, `[vocabulary, hidden]`.
    Output,
    /// One of layer `.0`'s tensors.
    Layer(usize, Part),
}

/// The tensors of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are named as in the paper")]
pub enum Part {
    AttentionNorm,
    Q,
    K,
    V,
    AttentionOutput,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
}

impl Name {
    /// Its name in a GGUF file.
    pub fn gguf(self) -> String {
        let (layer, part) = match self {
            Self::Embedding => return "token_embd.weight".to_owned(),
            Self::Norm => return "output_norm.weight".to_owned(),
            Self::Output => return "output.weight".to_owned(),
            Self::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            Part::AttentionNorm => "attn_norm",
            Part::Q => "attn_q",
            Part::K => "attn_k",
            Part::V => "attn_v",
            Part::AttentionOutput => "attn_output",
            Part::FeedForwardNorm => "ffn_norm",
            Part::Gate => "ffn_gate",
            Part::Up => "ffn_up",
            Part::Down => "ffn_down",
        };
        format!("blk.{layer}.{part}.weight")
    }

    /// Its name in a Hugging Face checkpoint.
    pub fn hugging_face(self) -> String {
        let (layer, part) = match self {
            Self::Embedding => return "model.embed_tokens.weight".to_owned(),
            Self::Norm => return "model.norm.weight".to_owned(),
            Self::Output => return "lm_head.weight".to_owned(),
            Self::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            Part::AttentionNorm => "input_layernorm",
            Part::Q => "self_attn.q_proj",
            Part::K => "self_attn.k_proj",
            Part::V => "self_attn.v_proj",
            Part::AttentionOutput => "self_attn.o_proj",
            Part::FeedForwardNorm => "post_attention_layernorm",
            Part::Gate => "mlp.gate_proj",
            Part::Up => "mlp.up_proj",
            Part::Down => "mlp.down_proj",
        };
        format!("model.layers.{layer}.{part}.weight")
    }
}

/// A linear map without bias, quantized or not.
#[derive(Debug, Clone)]
pub struct Linear(QMatMul);

impl Linear {
    /// `[.., in]` → `[.., out]`.
    pub fn forward(&self, xs: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(xs)
    }

    /// Rows of the matrix as vectors: `[tokens]` ids → `[tokens, hidden]`.
    pub fn rows(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        self.0.embedding(ids)
    }

    /// Where the matrix is.
    pub fn device(&self) -> Device {
        match &self.0 {
            QMatMul::QTensor(tensor) => tensor.device(),
            QMatMul::Tensor(tensor) | QMatMul::TensorF16(tensor) => tensor.device().clone(),
        }
    }
}

/// Weights of a model, to be loaded onto a device.
pub enum Checkpoint {
    /// One GGUF file.
    Gguf(Gguf),
    /// The safetensors files of a Hugging Face folder.
    Safetensors(Vec<PathBuf>),
}

/// Loads the tensors of a checkpoint onto one device.
pub enum Loader<'a> {
    /// From a GGUF file; activations are `f32`.
    Gguf(&'a Gguf, Device),
    /// From safetensors; activations have the weights' type.
    Safetensors(VarBuilder<'static>),
}

impl Checkpoint {
    /// Bytes that the weights take on a device, and of the largest of them that is there a second
    /// time while it is loaded. Matrices that are not quantized become `f32`, but for those of
    /// safetensors on a GPU, which are `bf16`.
    pub fn weight_bytes(&self, on_gpu: bool) -> Result<(u64, u64)> {
        match self {
            Self::Gguf(gguf) => {
                let (mut sum, mut widened) = (0u64, 0u64);
                for info in gguf.content.tensor_infos.values() {
                    let (elements, kind) = (info.shape.elem_count() as u64, info.ggml_dtype);
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
                // SAFETY: model files are not changed while they are in use.
                let tensors = unsafe { MmapedSafetensors::multi(files) }
                    .context("cannot read the safetensors files")?;
                let elements = |shape: &[usize]| {
                    shape.iter().fold(1u64, |product, &dim| product.saturating_mul(dim as u64))
                };
                let count = tensors
                    .tensors()
                    .iter()
                    .map(|(_, tensor)| elements(tensor.shape()))
                    .sum::<u64>();
                Ok((count * if on_gpu { 2 } else { 4 }, 0))
            }
        }
    }

    /// Bytes of an activation's value on a GPU.
    pub fn activation_bytes(&self) -> usize {
        match self {
            Self::Gguf(_) => 4,
            Self::Safetensors(_) => 2,
        }
    }

    /// Prepares loading onto `device`.
    pub fn loader(&self, device: &Device) -> Result<Loader<'_>> {
        match self {
            Self::Gguf(gguf) => Ok(Loader::Gguf(gguf, device.clone())),
            Self::Safetensors(files) => {
                // The CPU has no bf16 matrix product worth its name.
                let dtype = if device.is_cuda() { DType::BF16 } else { DType::F32 };
                // SAFETY: model files are not changed while they are in use.
                let tensors = unsafe { VarBuilder::from_mmaped_safetensors(files, dtype, device) };
                Ok(Loader::Safetensors(tensors.context("cannot read the safetensors files")?))
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

    /// Where the tensors go.
    pub fn device(&self) -> &Device {
        match self {
            Self::Gguf(_, device) => device,
            Self::Safetensors(tensors) => tensors.device(),
        }
    }

    /// Whether the checkpoint has the tensor.
    pub fn has(&self, name: Name) -> bool {
        match self {
            Self::Gguf(gguf, _) => gguf.content.tensor_infos.contains_key(&name.gguf()),
            Self::Safetensors(tensors) => tensors.contains_tensor(&name.hugging_face()),
        }
    }

    /// A matrix of `rows` outputs and `columns` inputs.
    pub fn linear(&self, name: Name, rows: usize, columns: usize) -> Result<Linear> {
        match self {
            Self::Gguf(gguf, device) => {
                let tensor = gguf.tensor(&name.gguf(), device)?;
                check_shape(&name.gguf(), tensor.shape().dims(), &[rows, columns])?;
                Ok(Linear(QMatMul::from_qtensor(with_fast_kernel(tensor)?)?))
            }
            Self::Safetensors(tensors) => {
                Ok(Linear(QMatMul::Tensor(tensors.get((rows, columns), &name.hugging_face())?)))
            }
        }
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

    /// Divisors of the rotary frequencies that a GGUF file carries, `[head_dim / 2]`.
    pub fn rope_divisors(&self, length: usize) -> Result<Option<Vec<f32>>> {
        const NAME: &str = "rope_freqs.weight";
        match self {
            Self::Gguf(gguf, _) if gguf.content.tensor_infos.contains_key(NAME) => {
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

/// candle's CPU has no vector kernels for Q4_1, Q5_0 and Q5_1; in scalar code they are 20 times
/// slower. They become Q8_0, whose 8 bits hold their 4 or 5, where its fast kernel takes the shape;
/// else f32, which the small models with odd shapes can afford.
fn with_fast_kernel(tensor: QTensor) -> Result<QTensor> {
    let slow = matches!(tensor.dtype(), GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
    if !slow || !tensor.device().is_cpu() {
        return Ok(tensor);
    }
    let row = tensor.shape().dims().last().copied().unwrap_or(0);
    let fast = if row.is_multiple_of(256) { GgmlDType::Q8_0 } else { GgmlDType::F32 };
    Ok(QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, fast)?)
}

fn check_shape(name: &str, found: &[usize], wanted: &[usize]) -> Result<()> {
    if found != wanted {
        bail!("tensor {name} has shape {found:?}, the configuration asks for {wanted:?}");
    }
    Ok(())
}
