//! Keys and values of the tokens so far, and attention over them.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::config::LlamaConfig;
#[cfg(target_arch = "x86_64")]
use super::cpu::attention::{Angles, Half, Heads, KvCache};
#[cfg(target_arch = "x86_64")]
use super::linear::with_values;
use super::rope::{Layout, Rope};

/// Keys and values of one layer, in room taken once for the whole context.
pub enum LayerCache {
    /// `[1, kv_heads, context, head_dim]` each, on any device; what is behind the tokens so far is
    /// left over.
    Tensors {
        /// Keys, rotated.
        k: Tensor,
        /// Values.
        v: Tensor,
    },
    /// On the CPU, in half precision, beside quantized weights.
    #[cfg(target_arch = "x86_64")]
    Halves(KvCache<Half>),
    /// On the CPU, in full precision, beside weights that are not quantized.
    #[cfg(target_arch = "x86_64")]
    Floats(KvCache<f32>),
}

impl LayerCache {
    /// Takes the room for `context` tokens.
    pub fn new(
        config: &LlamaConfig,
        context: usize,
        dtype: DType,
        quantized: bool,
        device: &Device,
    ) -> Result<Self> {
        let LlamaConfig { heads, kv_heads, head_dim, .. } = *config;
        #[cfg(target_arch = "x86_64")]
        if device.is_cpu() && super::cpu::is_supported() && head_dim.is_multiple_of(8) {
            let heads = Heads { queries: heads, kv: kv_heads, dim: head_dim };
            return Ok(match quantized {
                true => Self::Halves(KvCache::new(heads, context)),
                false => Self::Floats(KvCache::new(heads, context)),
            });
        }
        let room = || Tensor::zeros((1, kv_heads, context, head_dim), dtype, device);
        Ok(Self::Tensors { k: room()?, v: room()? })
    }

    /// Rotates queries and keys, keeps keys and values, and mixes the values by attention.
    ///
    /// `qkv` is `[tokens, (heads + 2 · kv_heads) · head_dim]` for the tokens from `position` on;
    /// `mask` is for many tokens. Returns `[tokens, heads · head_dim]`.
    pub fn attend(
        &mut self,
        qkv: &Tensor,
        rope: &Rope,
        mask: Option<&Tensor>,
        position: usize,
        config: &LlamaConfig,
    ) -> Result<Tensor> {
        match self {
            Self::Tensors { k, v } => attend((k, v), qkv, rope, mask, position, config),
            #[cfg(target_arch = "x86_64")]
            Self::Halves(cache) => {
                attend_on_cpu(qkv, rope, |qkv, angles| cache.attend(qkv, angles, position))
            }
            #[cfg(target_arch = "x86_64")]
            Self::Floats(cache) => {
                attend_on_cpu(qkv, rope, |qkv, angles| cache.attend(qkv, angles, position))
            }
        }
    }

    /// Whether attention needs the mask.
    pub fn wants_mask(&self) -> bool {
        matches!(self, Self::Tensors { .. })
    }
}

#[cfg(target_arch = "x86_64")]
fn attend_on_cpu(
    qkv: &Tensor,
    rope: &Rope,
    attend: impl FnOnce(&[f32], Angles) -> Vec<f32>,
) -> Result<Tensor> {
    let (cos, sin, layout) = rope.tables();
    let tokens = qkv.dim(0)?;
    let mixed = with_values(cos, |cos| {
        with_values(sin, |sin| {
            let interleaved = layout == Layout::Interleaved;
            with_values(qkv, |qkv| Ok(attend(qkv, Angles { cos, sin, interleaved })))
        })
    })?;
    let width = mixed.len() / tokens;
    Tensor::from_vec(mixed, (tokens, width), &Device::Cpu)
}

/// With candle's operations, on any device.
fn attend(
    (all_k, all_v): (&Tensor, &Tensor),
    qkv: &Tensor,
    rope: &Rope,
    mask: Option<&Tensor>,
    position: usize,
    config: &LlamaConfig,
) -> Result<Tensor> {
    let LlamaConfig { heads, kv_heads, head_dim, .. } = *config;
    let tokens = qkv.dim(0)?;
    // [1, some heads, tokens, head_dim]
    let split = |from: usize, count: usize| {
        qkv.narrow(1, from * head_dim, count * head_dim)?
            .reshape((1, tokens, count, head_dim))?
            .transpose(1, 2)?
            .contiguous()
    };
    // Queries and keys are rotated together: one operation.
    let qk = rope.apply(&split(0, heads + kv_heads)?, position)?;
    let (q, k) = (qk.narrow(1, 0, heads)?, qk.narrow(1, heads, kv_heads)?);
    all_k.slice_set(&k.contiguous()?, 2, position)?;
    all_v.slice_set(&split(heads + kv_heads, kv_heads)?, 2, position)?;
    let all = position + tokens;
    let (k, v) = (all_k.narrow(2, 0, all)?, all_v.narrow(2, 0, all)?);
    // The query heads of a group share their K and V: they are rows of one product, and nothing
    // is repeated. [1, kv_heads, group · tokens, head_dim]
    let group = heads / kv_heads;
    let q = (q / (head_dim as f64).sqrt())?.reshape((1, kv_heads, group * tokens, head_dim))?;
    let scores = q.matmul(&k.t()?)?;
    let scores = match mask {
        None => scores,
        Some(mask) => scores
            .reshape((1, kv_heads, group, tokens, all))?
            .broadcast_add(mask)?
            .reshape((1, kv_heads, group * tokens, all))?,
    };
    let mixed = softmax_last_dim(&scores)?.matmul(&v)?;
    mixed.reshape((heads, tokens, head_dim))?.transpose(0, 1)?.reshape((tokens, heads * head_dim))
}
