//! The KV cache, and attention over it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::config::LlamaConfig;
use super::linear::cpu_kernels;
use super::ops::on_cpu;
use super::probe::count_launches;
use super::rope::Rope;
use super::values::on_values;
use crate::compute::aligned::AlignedBuf;
use crate::compute::cuda::{self, Form, Projected, Rows, Step};
use crate::compute::heads::{AttentionShape, HeadChanges, first_key};
use crate::compute::quantized::attention::{Attend, KvCache};
use crate::compute::rope::RopeTables;

/// Memory for one block of attention scores when computed by candle, in bytes.
pub const SCORES_BYTES: usize = 64 << 20;

/// The KV cache of one layer, allocated once for the whole context.
pub enum LayerCache {
    /// `[1, kv_heads, context, head_dim]` each, on any device; keys are already rotated. Positions
    /// past the current tokens hold stale data. A query sees only as many keys as fit `window`.
    Tensors { k: Tensor, v: Tensor, window: Option<usize> },
    /// On the CPU, for our own kernels.
    Kernels(Box<dyn Attend + Send + Sync>),
}

impl LayerCache {
    /// Allocates memory for `context` tokens of one layer.
    pub fn new(
        config: &LlamaConfig,
        layer: usize,
        context: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let LlamaConfig { kv_heads, head_dim, .. } = *config;
        let window = config.window(layer).filter(|&window| window < context);
        if let Some(isa) = cpu_kernels(device)
            && head_dim.is_multiple_of(8)
        {
            let shape = AttentionShape { query_heads: config.heads, kv_heads, head_dim, window };
            let cache = match dtype {
                DType::F16 => KvCache::<u16>::new(isa, shape, context)
                    .map(|cache| Self::Kernels(Box::new(cache))),
                _ => KvCache::<f32>::new(isa, shape, context)
                    .map(|cache| Self::Kernels(Box::new(cache))),
            };
            return cache.map_err(|error| {
                candle_core::Error::msg(format!(
                    "there is no memory for a KV cache of {context} tokens ({error}); ask for a \
                     shorter --context"
                ))
            });
        }
        let zeros = || Tensor::zeros((1, kv_heads, context, head_dim), dtype, device);
        Ok(Self::Tensors { k: zeros()?, v: zeros()?, window })
    }

    /// Rotates queries and keys, appends keys and values, and computes attention.
    ///
    /// `qkv` is `[tokens, (heads + 2 · kv_heads) · head_dim]` for the tokens of this pass, in
    /// one tensor or several.
    /// Returns `[tokens, heads · head_dim]`.
    pub fn attend(
        &mut self,
        qkv: &[Tensor],
        rope: &Rope,
        pass: &mut Pass,
        config: &LlamaConfig,
        form: Form,
    ) -> Result<Rows> {
        match self {
            // Our own kernels rotate whole heads.
            Self::Tensors { k, v, window }
                if k.device().is_cuda() && config.rotated == config.head_dim =>
            {
                let Pass { position, position_on_device, masks } = pass;
                let step = step((k, v), qkv, rope, (*position, position_on_device), config)?;
                attend_on_gpu(&step, *window, masks, form)
            }
            Self::Tensors { k, v, window } => {
                let qkv = Tensor::cat(qkv, D::Minus1)?;
                let q = append((k, v), &qkv, rope, pass.position, config)?;
                let mixed = mix(&q, (k, v), *window, pass.position, &mut pass.masks)?;
                Ok(if k.device().is_cuda() { Rows::Values(mixed) } else { on_cpu(mixed, form) })
            }
            Self::Kernels(cache) => {
                let mixed = attend_on_values(&mut **cache, qkv, rope, pass.position, config)?;
                Ok(on_cpu(mixed, form))
            }
        }
    }

    /// The cache used by our own kernels; `None` if it holds tensors.
    pub fn without_tensors(&mut self) -> Option<&mut dyn Attend> {
        match self {
            Self::Tensors { .. } => None,
            Self::Kernels(cache) => Some(&mut **cache),
        }
    }

    pub fn is_on(&self, device: &Device) -> bool {
        match self {
            Self::Tensors { k, v, .. } => {
                k.device().same_device(device) && v.device().same_device(device)
            }
            Self::Kernels(_) => device.is_cpu(),
        }
    }

    /// Size in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Tensors { k, v, .. } => {
                ((k.elem_count() + v.elem_count()) * k.dtype().size_in_bytes()) as u64
            }
            Self::Kernels(cache) => cache.bytes(),
        }
    }
}

/// [`LayerCache::attend`] with our own kernels.
fn attend_on_values(
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
    let (tokens, pairs) = (qkv.dim(0)?, rope.pairs()?);
    on_values([qkv, cos, sin], |[qkv, cos, sin]| {
        let mut out = vec![0f32; tokens * config.heads * config.head_dim];
        // The heads are normalized already.
        let rope = RopeTables { cos, sin, pairs, layout };
        let changes = HeadChanges { norms: None, rope };
        cache.attend(qkv, changes, position, &mut AlignedBuf::default(), &mut out);
        out
    })?
    .reshape((tokens, ()))
}

/// What our own kernels of a GPU are given.
fn step<'a>(
    caches: (&'a Tensor, &'a Tensor),
    qkv: &'a [Tensor],
    rope: &'a Rope,
    (position, on_device): (usize, &'a Option<Tensor>),
    config: &LlamaConfig,
) -> Result<Step<'a>> {
    let LlamaConfig { heads, kv_heads, head_dim, .. } = *config;
    // Finds the tensor that contains a head, and the head's offset in it.
    let projected = |head: usize| {
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
    let Some(position_on_device) = on_device else {
        candle_core::bail!("this pass began on another device")
    };
    Ok(Step {
        qkv: [projected(0)?, projected(heads)?, projected(heads + kv_heads)?],
        rope: rope.tables(),
        caches,
        heads,
        position,
        position_on_device,
    })
}

/// [`LayerCache::attend`] on a GPU: with our own kernels for a few tokens, and for many if the cache
/// is in half precision; else, and where a window hides keys, with candle's products.
fn attend_on_gpu(
    step: &Step,
    window: Option<usize>,
    masks: &mut Masks,
    form: Form,
) -> Result<Rows> {
    let (tokens, head_dim) = (step.qkv[0].tensor.dim(0)?, step.caches.0.dim(3)?);
    let sees_all = window.is_none_or(|window| step.position + tokens <= window);
    if sees_all && cuda::attends(head_dim, tokens) {
        count_launches(2);
        return cuda::attend(step, form);
    }
    count_launches(1);
    let q = cuda::rope_append(step)?;
    if sees_all && cuda::prefills(head_dim, q.dtype(), step.caches.0.dtype()) {
        count_launches(1);
        return cuda::prefill(step, &q).map(Rows::Values);
    }
    mix(&q, step.caches, window, step.position, masks).map(Rows::Values)
}

/// Appends keys and values to the cache; returns the rotated queries, scaled by `1/√head_dim`,
/// `[heads, tokens, head_dim]`.
fn append(
    (all_k, all_v): (&Tensor, &Tensor),
    qkv: &Tensor,
    rope: &Rope,
    position: usize,
    config: &LlamaConfig,
) -> Result<Tensor> {
    count_launches(1);
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

/// Causal attention of `q`, `[heads, tokens, head_dim]`, over the cache, of which each query sees as
/// many keys as fit the window.
/// Returns `[tokens, heads · head_dim]`. Runs in blocks of tokens to bound the size of the scores.
fn mix(
    q: &Tensor,
    (k, v): (&Tensor, &Tensor),
    window: Option<usize>,
    position: usize,
    masks: &mut Masks,
) -> Result<Tensor> {
    count_launches(1);
    let (heads, tokens, head_dim) = q.dims3()?;
    let kv_heads = k.dim(1)?;
    let group = heads / kv_heads;
    let max_count = block_tokens(heads, position + tokens);
    // Widened once, for all blocks.
    let start = first_key(window, position);
    let widened =
        |cache: &Tensor| cache.narrow(2, start, position + tokens - start)?.to_dtype(q.dtype());
    let (k, v) = (widened(k)?, widened(v)?);
    let mut mixed = Vec::new();
    for first in (0..tokens).step_by(max_count) {
        let count = max_count.min(tokens - first);
        let from = first_key(window, position + first);
        let keys = position + first + count - from;
        let (k, v) = (k.narrow(2, from - start, keys)?, v.narrow(2, from - start, keys)?);
        // The query heads of a group share K and V, so stack them as rows of one product instead of
        // repeating K and V. [1, kv_heads, group · count, head_dim]
        let rows = q.narrow(1, first, count)?.contiguous()?;
        let rows = rows.reshape((1, kv_heads, group * count, head_dim))?;
        let mut scores = rows.matmul(&k.t()?)?;
        if count > 1 {
            let mask = masks.get(count, position + first - from, window, q)?;
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

/// How many tokens' scores over `keys` keys fit in a block.
pub fn block_tokens(heads: usize, keys: usize) -> usize {
    (SCORES_BYTES / (heads * keys * size_of::<f32>())).max(1)
}

/// What the layers of one pass through the model share.
pub struct Pass {
    /// Of the first token.
    position: usize,
    position_on_device: Option<Tensor>,
    masks: Masks,
}

impl Pass {
    /// A pass of the tokens from `position` on.
    pub fn new(position: usize, device: &Device) -> Result<Self> {
        let position_on_device = match device.is_cuda() {
            true => Some(Tensor::new(&[position as u32], device)?),
            false => None,
        };
        Ok(Self { position, position_on_device, masks: Masks::default() })
    }
}

/// Causal masks, 0 or −∞, `[tokens, past + tokens]`, by the number of tokens, of others before them,
/// and by the window. All layers use the same few, which should be uploaded to a GPU only once.
#[derive(Default)]
struct Masks(HashMap<(usize, usize, Option<usize>), Tensor>);

impl Masks {
    /// The mask for `tokens` tokens after `past` others, with the type and device of `like`.
    fn get(
        &mut self,
        tokens: usize,
        past: usize,
        window: Option<usize>,
        like: &Tensor,
    ) -> Result<&Tensor> {
        Ok(match self.0.entry((tokens, past, window)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let all = past + tokens;
                let mut values = vec![0f32; tokens * all];
                for (row, values) in values.chunks_exact_mut(all).enumerate() {
                    let own = past + row;
                    values[own + 1..].fill(f32::NEG_INFINITY);
                    values[..first_key(window, own)].fill(f32::NEG_INFINITY);
                }
                let mask = Tensor::from_vec(values, (tokens, all), like.device())?;
                entry.insert(mask.to_dtype(like.dtype())?)
            }
        })
    }
}
