//! Keys and values of the tokens so far, and attention over them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::config::LlamaConfig;
#[cfg(target_arch = "x86_64")]
use super::linear::on_values;
use super::ops::launches;
use super::rope::Rope;
#[cfg(feature = "cuda")]
use crate::compute::cuda::{self, Projected};
#[cfg(target_arch = "x86_64")]
use crate::compute::quantized::Lines;
#[cfg(target_arch = "x86_64")]
use crate::compute::quantized::attention::{Angles, Attend, Heads, KvCache};

/// Bytes of one block of attention scores when candle's operations compute them.
pub const SCORES_BYTES: usize = 64 << 20;

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
    /// On the CPU, in half precision.
    #[cfg(target_arch = "x86_64")]
    Halves(KvCache<u16>),
    /// On the CPU, in full precision.
    #[cfg(target_arch = "x86_64")]
    Floats(KvCache<f32>),
}

impl LayerCache {
    /// Takes the room for `context` tokens.
    pub fn new(
        config: &LlamaConfig,
        context: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let LlamaConfig { kv_heads, head_dim, .. } = *config;
        #[cfg(target_arch = "x86_64")]
        if device.is_cpu()
            && crate::compute::quantized::is_supported()
            && head_dim.is_multiple_of(8)
            && !crate::generation::local::checkpoint::only_candle()
        {
            let heads = Heads { queries: config.heads, kv: kv_heads, dim: head_dim };
            let cache = match dtype {
                DType::F16 => KvCache::new(heads, context).map(Self::Halves),
                _ => KvCache::new(heads, context).map(Self::Floats),
            };
            return cache.map_err(|error| {
                candle_core::Error::msg(format!(
                    "there is no memory for a KV cache of {context} tokens ({error}); ask for a \
                     shorter --context"
                ))
            });
        }
        let room = || Tensor::zeros((1, kv_heads, context, head_dim), dtype, device);
        Ok(Self::Tensors { k: room()?, v: room()? })
    }

    /// Rotates queries and keys, keeps keys and values, and mixes the values by attention.
    ///
    /// `qkv` is `[tokens, (heads + 2 · kv_heads) · head_dim]` for the tokens from `position` on, in
    /// one tensor or several; `masks` are those of this pass. Returns `[tokens, heads · head_dim]`.
    pub fn attend(
        &mut self,
        qkv: &[Tensor],
        rope: &Rope,
        masks: &mut Masks,
        position: usize,
        config: &LlamaConfig,
    ) -> Result<Tensor> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Tensors { k, v } if k.device().is_cuda() => {
                attend_on_gpu((k, v), qkv, rope, masks, position, config)
            }
            Self::Tensors { k, v } => {
                let qkv = Tensor::cat(qkv, D::Minus1)?;
                let q = append((k, v), &qkv, rope, position, config)?;
                mix(&q, (k, v), masks, position)
            }
            #[cfg(target_arch = "x86_64")]
            Self::Halves(cache) => on_cpu(cache, qkv, rope, position, config),
            #[cfg(target_arch = "x86_64")]
            Self::Floats(cache) => on_cpu(cache, qkv, rope, position, config),
        }
    }

    /// Itself, if it computes with values on the CPU and not with tensors.
    #[cfg(target_arch = "x86_64")]
    pub fn on_values(&mut self) -> Option<&mut dyn Attend> {
        match self {
            Self::Tensors { .. } => None,
            Self::Halves(cache) => Some(cache),
            Self::Floats(cache) => Some(cache),
        }
    }

    /// Whether it is on `device`.
    pub fn is_on(&self, device: &Device) -> bool {
        match self {
            Self::Tensors { k, v } => {
                k.device().same_device(device) && v.device().same_device(device)
            }
            #[cfg(target_arch = "x86_64")]
            Self::Halves(_) | Self::Floats(_) => device.is_cpu(),
        }
    }

    /// What it takes, in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Tensors { k, v } => {
                ((k.elem_count() + v.elem_count()) * k.dtype().size_in_bytes()) as u64
            }
            #[cfg(target_arch = "x86_64")]
            Self::Halves(cache) => cache.bytes(),
            #[cfg(target_arch = "x86_64")]
            Self::Floats(cache) => cache.bytes(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn on_cpu(
    cache: &mut dyn Attend,
    qkv: &[Tensor],
    rope: &Rope,
    position: usize,
    config: &LlamaConfig,
) -> Result<Tensor> {
    let joined;
    let qkv = match qkv {
        [one] => one,
        several => {
            joined = Tensor::cat(several, D::Minus1)?;
            &joined
        }
    };
    let (cos, sin, layout) = rope.tables();
    let tokens = qkv.dim(0)?;
    let interleaved = layout == super::rope::Layout::Interleaved;
    on_values([qkv, cos, sin], |[qkv, cos, sin]| {
        let mut out = vec![0f32; tokens * config.heads * config.head_dim];
        let angles = Angles { cos, sin, interleaved };
        cache.attend(qkv, angles, position, &mut Lines::default(), &mut out);
        out
    })?
    .reshape((tokens, ()))
}

/// With kernels of our own for what decode does; a long prompt's attention is candle's.
#[cfg(feature = "cuda")]
fn attend_on_gpu(
    (k, v): (&Tensor, &Tensor),
    qkv: &[Tensor],
    rope: &Rope,
    masks: &mut Masks,
    position: usize,
    config: &LlamaConfig,
) -> Result<Tensor> {
    let LlamaConfig { heads, kv_heads, head_dim, .. } = *config;
    // The tensor that has a head, and the head's first value in it.
    let of = |head: usize| {
        let mut start = head * head_dim;
        for tensor in qkv {
            let width = tensor.dim(D::Minus1)?;
            if start < width {
                return Ok(Projected { tensor, start });
            }
            start -= width;
        }
        candle_core::bail!("the projections have no head {head}")
    };
    launches::count(1);
    let parts = [of(0)?, of(heads)?, of(heads + kv_heads)?];
    let q = cuda::rope_append(parts, rope, (k, v), heads, position)?;
    if q.dim(1)? == 1 && cuda::attends(head_dim) {
        launches::count(1);
        return cuda::attend_one(&q, k, v, position + 1);
    }
    mix(&q, (k, v), masks, position)
}

/// Writes keys and values into the cache; returns the rotated queries, divided by √head_dim,
/// `[heads, tokens, head_dim]`.
fn append(
    (all_k, all_v): (&Tensor, &Tensor),
    qkv: &Tensor,
    rope: &Rope,
    position: usize,
    config: &LlamaConfig,
) -> Result<Tensor> {
    launches::count(1);
    let LlamaConfig { heads, kv_heads, head_dim, .. } = *config;
    let tokens = qkv.dim(0)?;
    // [1, some heads, tokens, head_dim]
    let split = |from: usize, count: usize| {
        qkv.narrow(1, from * head_dim, count * head_dim)?
            .reshape((1, tokens, count, head_dim))?
            .transpose(1, 2)?
            .contiguous()
    };
    let q = rope.apply(&split(0, heads)?, position)?;
    let k = rope.apply(&split(heads, kv_heads)?, position)?.to_dtype(all_k.dtype())?;
    let v = split(heads + kv_heads, kv_heads)?.to_dtype(all_v.dtype())?;
    all_k.slice_set(&k, 2, position)?;
    all_v.slice_set(&v, 2, position)?;
    (q / (head_dim as f64).sqrt())?.squeeze(0)
}

/// Attention of `q`, `[heads, tokens, head_dim]`, over the cache up to each token itself: `[tokens,
/// heads · head_dim]`. In blocks of tokens, so that the scores of a long context stay small.
fn mix(
    q: &Tensor,
    (k, v): (&Tensor, &Tensor),
    masks: &mut Masks,
    position: usize,
) -> Result<Tensor> {
    launches::count(1);
    let (heads, tokens, head_dim) = q.dims3()?;
    let kv_heads = k.dim(1)?;
    let group = heads / kv_heads;
    let most = block_tokens(heads, position + tokens);
    let mut mixed = Vec::new();
    for first in (0..tokens).step_by(most) {
        let count = most.min(tokens - first);
        let keys = position + first + count;
        let (k, v) = (k.narrow(2, 0, keys)?, v.narrow(2, 0, keys)?);
        let (k, v) = (k.to_dtype(q.dtype())?, v.to_dtype(q.dtype())?);
        // The query heads of a group share their K and V: they are rows of one product, and
        // nothing is repeated. [1, kv_heads, group · count, head_dim]
        let rows = q.narrow(1, first, count)?.contiguous()?;
        let rows = rows.reshape((1, kv_heads, group * count, head_dim))?;
        let mut scores = rows.matmul(&k.t()?)?;
        if count > 1 {
            let mask = masks.get(count, position + first, q)?;
            scores = scores
                .reshape((1, kv_heads, group, count, keys))?
                .broadcast_add(mask)?
                .reshape((1, kv_heads, group * count, keys))?;
        }
        let block = softmax_last_dim(&scores)?.matmul(&v)?;
        mixed.push(
            block
                .reshape((heads, count, head_dim))?
                .transpose(0, 1)?
                .reshape((count, heads * head_dim))?,
        );
    }
    match mixed.as_slice() {
        [one] => Ok(one.clone()),
        several => Tensor::cat(several, 0),
    }
}

/// Tokens whose scores over `keys` keys fit into a block.
pub fn block_tokens(heads: usize, keys: usize) -> usize {
    (SCORES_BYTES / (heads * keys * size_of::<f32>())).max(1)
}

/// What tokens must not see: 0 or −∞, `[tokens, past + tokens]`. One pass needs the same few in
/// each layer, and a GPU should not get them more than once.
#[derive(Default)]
pub struct Masks(HashMap<(usize, usize), Tensor>);

impl Masks {
    /// For `tokens` after `past` others, of the type and on the device of `like`.
    fn get(&mut self, tokens: usize, past: usize, like: &Tensor) -> Result<&Tensor> {
        Ok(match self.0.entry((tokens, past)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let all = past + tokens;
                let mut values = vec![0f32; tokens * all];
                for (row, values) in values.chunks_exact_mut(all).enumerate() {
                    values[past + row + 1..].fill(f32::NEG_INFINITY);
                }
                let mask = Tensor::from_vec(values, (tokens, all), like.device())?;
                entry.insert(mask.to_dtype(like.dtype())?)
            }
        })
    }
}
