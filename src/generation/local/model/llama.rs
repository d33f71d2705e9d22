//! Llama 3.x (Grattafiori et al. 2024): RMSNorm, RoPE, grouped-query attention, SwiGLU; and the
//! architectures that differ from it in what [`Architecture`](super::architecture::Architecture) lists.
//!
//! candle-transformers has a module for each, and for some one for each file format. That of Llama's
//! GGUF files ignores the frequency scaling of Llama 3.1 (`rope_freqs.weight`), and most copy the
//! whole KV cache to grow it for every token. This one serves all of them.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

use super::adjustments::Adjustments;
use super::config::{LlamaConfig, RopeScaling};
use super::kv_cache::{LayerCache, Pass};
use super::linear::{Linear, Stack};
use super::ops::{add_norm, norm};
use super::probe;
use super::rope::{Angles, Rope};
use super::values::with_values;
use crate::compute::cuda::Form;
use crate::compute::quantized::attention::Attend;
use crate::compute::quantized::{FusedLayer, FusedModel, Workspace};
use crate::compute::rope::RopeTables;
use crate::generation::local::checkpoint::Loader;
use crate::generation::local::checkpoint::inventory::{
    ROPE_FACTORS_LONG, ROPE_FACTORS_SHORT, ROPE_FREQS,
};
use crate::generation::local::checkpoint::names::{Name, Part};
use crate::generation::local::lookup::Cost;

/// Measured on two cores; see docs/llm.md.
const ON_CPU: Cost = Cost { several: 0.1, each: 0.5 };
/// Estimated: a pass of up to eight tokens reads the weights once and takes as many launches.
const ON_GPU: Cost = Cost { several: 0.1, each: 0.05 };

/// A loaded model. It is immutable after loading; a conversation's state is in its [`Cache`].
pub struct Llama {
    embedding: Linear,
    layers: Vec<Layer>,
    norm: Tensor,
    output: Linear,
    rope: Rope,
    /// Of the layers with a window, where it is another.
    window_rope: Option<Rope>,
    config: LlamaConfig,
    dtype: DType,
    cache_dtype: DType,
    device: Device,
    /// The fused variant, if every matrix is in the mapped file.
    fused: Option<FusedModel>,
}

/// The KV cache of every layer.
pub struct Cache {
    layers: Vec<LayerCache>,
    tokens: usize,
    context: usize,
    workspace: Workspace,
}

impl Cache {
    /// Drops all tokens but keeps the memory.
    pub fn reset(&mut self) {
        self.rewind(0);
    }

    /// Drops all tokens but the first `tokens`.
    pub fn rewind(&mut self, tokens: usize) {
        self.tokens = self.tokens.min(tokens);
    }

    /// Size in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    pub fn is_on(&self, device: &Device) -> bool {
        self.layers.iter().all(|layer| layer.is_on(device))
    }
}

impl Llama {
    /// Loads every tensor, for up to `context` tokens of prompt plus answer, with a KV cache of
    /// type `cache_dtype`.
    pub fn load(
        loader: &Loader,
        config: LlamaConfig,
        context: usize,
        cache_dtype: DType,
    ) -> Result<Self> {
        let LlamaConfig { hidden, vocabulary, .. } = config;
        let device = loader.device().clone();
        let embedding = loader.linear(Name::Embedding, vocabulary, hidden)?;
        let output = match loader.has(Name::Output) && !config.tied {
            true => loader.linear(Name::Output, vocabulary, hidden)?,
            false => embedding.clone(), // tied
        };
        let (rope, window_rope) = ropes(loader, &config, context)?;
        let layers = (0..config.layers)
            .map(|layer| {
                Layer::load(loader, &config, layer).with_context(|| format!("layer {layer}"))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut model = Self {
            embedding,
            norm: loader.vector(Name::Norm, hidden)?,
            output,
            rope,
            window_rope,
            dtype: loader.dtype(),
            cache_dtype,
            layers,
            device,
            config,
            fused: None,
        };
        model.fused = model.try_fuse()?;
        Ok(model)
    }

    /// `None` if any matrix is held by candle.
    fn try_fuse(&self) -> candle_core::Result<Option<FusedModel>> {
        let mut layers = Vec::new();
        for layer in &self.layers {
            let Some(layer) = layer.try_fuse()? else { return Ok(None) };
            layers.push(layer);
        }
        let (Some(embedding), Some(output)) = (self.embedding.mapped(), self.output.mapped())
        else {
            return Ok(None);
        };
        Ok(Some(FusedModel {
            embedding: embedding.clone(),
            embedding_scale: self.embedding_scale(),
            layers,
            activation: self.config.architecture.activation,
            norm: self.norm.to_vec1()?,
            output: output.clone(),
            epsilon: self.config.norm_epsilon as f32,
        }))
    }

    /// An empty cache for `context` tokens; allocates its memory immediately.
    pub fn cache(&self, context: usize) -> candle_core::Result<Cache> {
        let layer =
            |layer| LayerCache::new(&self.config, layer, context, self.cache_dtype, &self.device);
        let layers = (0..self.layers.len()).map(layer).collect::<candle_core::Result<_>>()?;
        Ok(Cache { layers, tokens: 0, context, workspace: Workspace::default() })
    }

    /// Appends `tokens` to the cache, and returns the logits of the last one, `[vocabulary]` in
    /// `f32`.
    ///
    /// # Errors
    /// Fails if there are no tokens, or more than fit in the cache.
    pub fn forward(&self, tokens: &[u32], cache: &mut Cache) -> candle_core::Result<Tensor> {
        self.forward_last(tokens, 1, cache)?.flatten_all()
    }

    /// As [`Llama::forward`], but with the logits of the last `rows` tokens, `[rows, vocabulary]`.
    pub fn forward_last(
        &self,
        tokens: &[u32],
        rows: usize,
        cache: &mut Cache,
    ) -> candle_core::Result<Tensor> {
        let (position, count) = (cache.tokens, tokens.len());
        if !(1..=count).contains(&rows) || position + count > cache.context {
            candle_core::bail!(
                "{count} tokens after {position} others do not fit the context of {}",
                cache.context
            );
        }
        let logits = match &self.fused {
            Some(fused) => self.forward_fused(fused, tokens, rows, cache)?,
            None => None,
        };
        let logits = match logits {
            Some(logits) => Tensor::from_vec(logits, (rows, self.config.vocabulary), &self.device)?,
            None => self.forward_tensors(tokens, rows, cache)?,
        };
        cache.tokens += count;
        Ok(logits)
    }

    /// `None` if the cache holds tensors.
    fn forward_fused(
        &self,
        fused: &FusedModel,
        tokens: &[u32],
        rows: usize,
        cache: &mut Cache,
    ) -> candle_core::Result<Option<Vec<f32>>> {
        let Cache { layers, tokens: position, workspace, .. } = cache;
        let layers: Option<Vec<&mut dyn Attend>> =
            layers.iter_mut().map(LayerCache::without_tensors).collect();
        let Some(layers) = layers else { return Ok(None) };
        let pairs = self.rope.pairs()?;
        let (cos, sin, layout) = self.rope.tables();
        let (window_cos, window_sin, _) = self.window_rope.as_ref().unwrap_or(&self.rope).tables();
        with_values([cos, sin, window_cos, window_sin], |[cos, sin, window_cos, window_sin]| {
            let all = RopeTables { cos, sin, pairs, layout };
            let windowed = RopeTables { cos: window_cos, sin: window_sin, pairs, layout };
            let rope = |layer| if self.config.window(layer).is_some() { windowed } else { all };
            let caches = layers.into_iter().enumerate().map(|(layer, cache)| (cache, rope(layer)));
            Some(fused.logits(tokens, rows, *position, caches, workspace))
        })
    }

    /// What embeddings are multiplied with.
    fn embedding_scale(&self) -> f32 {
        match self.config.architecture.scales_embedding {
            true => (self.config.hidden as f32).sqrt(),
            false => 1.0,
        }
    }

    /// The angles of a layer.
    fn rope_of(&self, layer: usize) -> &Rope {
        match &self.window_rope {
            Some(rope) if self.config.window(layer).is_some() => rope,
            _ => &self.rope,
        }
    }

    fn forward_tensors(
        &self,
        tokens: &[u32],
        rows: usize,
        cache: &mut Cache,
    ) -> candle_core::Result<Tensor> {
        let (position, count) = (cache.tokens, tokens.len());
        let epsilon = self.config.norm_epsilon as f32;
        let mut hidden = self.embedding.rows(tokens, &self.device)?.to_dtype(self.dtype)?;
        if self.config.architecture.scales_embedding {
            hidden = (hidden * f64::from(self.embedding_scale()))?;
        }
        // The last block's output, added to the residual stream by the next norm.
        let mut delta: Option<Tensor> = None;
        let mut normed;
        let mut pass = Pass::new(position, &self.device)?;
        for (number, (layer, kv)) in self.layers.iter().zip(&mut cache.layers).enumerate() {
            probe::layer_memory()?;
            let form = layer.qkv.form(count);
            (hidden, normed) = if let Some(delta) = delta.take() {
                add_norm(&hidden, &delta, &layer.attention_norm, epsilon, form)?
            } else {
                let normed = norm(&hidden, &layer.attention_norm, epsilon, form)?;
                (hidden, normed)
            };
            // A scope of its own, so that a long prompt's tensors are freed before the feed-forward
            // block.
            (hidden, normed) = {
                let qkv = layer.qkv.forward(&normed)?;
                let qkv = layer.adjustments.apply(qkv, &self.config)?;
                let (rope, form) = (self.rope_of(number), layer.attention_output.form(count));
                let mixed = kv.attend(&qkv, rope, &mut pass, &self.config, form)?;
                drop(qkv);
                let attended = layer.attention_output.forward(&mixed)?;
                let attended = post_norm(attended, layer.attention_post_norm.as_ref(), epsilon)?;
                let form = layer.gate_up.form(count);
                add_norm(&hidden, &attended, &layer.feed_forward_norm, epsilon, form)?
            };
            let activation = self.config.architecture.activation;
            let gated = layer.gate_up.forward_gated(&normed, activation, layer.down.form(count))?;
            let added = layer.down.forward(&gated)?;
            delta = Some(post_norm(added, layer.feed_forward_post_norm.as_ref(), epsilon)?);
        }
        let last = |xs: &Tensor| xs.narrow(0, count - rows, rows)?.contiguous();
        let form = self.output.form(rows);
        let last = match &delta {
            Some(delta) => add_norm(&last(&hidden)?, &last(delta)?, &self.norm, epsilon, form)?.1,
            None => norm(&last(&hidden)?, &self.norm, epsilon, form)?,
        };
        self.output.forward(&last)?.to_dtype(DType::F32)
    }

    #[cfg(test)]
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What reading guessed tokens costs; `None` if it could change what is computed by more than a
    /// GPU's rounding.
    pub fn lookup_cost(&self) -> Option<Cost> {
        match &self.fused {
            Some(_) => Some(ON_CPU),
            None => (!self.device.is_cpu()).then_some(ON_GPU),
        }
    }

    /// The device of all tensors.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether every weight and table is on `device`.
    pub fn is_on(&self, device: &Device) -> bool {
        let mut linears = self.layers.iter().flat_map(Layer::linears);
        let mut norms = self.layers.iter().flat_map(Layer::norms);
        linears.all(|linear| linear.device().same_device(device))
            && norms.all(|norm| norm.device().same_device(device))
            && self.layers.iter().all(|layer| layer.adjustments.is_on(device))
            && [&self.embedding, &self.output].iter().all(|l| l.device().same_device(device))
            && self.norm.device().same_device(device)
            && self.rope.is_on(device)
            && self.window_rope.as_ref().is_none_or(|rope| rope.is_on(device))
    }
}

/// The angles of layers that see all tokens, and of layers with a window where they are others.
fn ropes(loader: &Loader, config: &LlamaConfig, context: usize) -> Result<(Rope, Option<Rope>)> {
    let LlamaConfig { rotated, rope_theta: theta, rope_magnitude: magnitude, .. } = *config;
    let in_file = |name| loader.rope_divisors(name, rotated / 2);
    let divisors = match config.rope_scaling {
        RopeScaling::InFile => in_file(ROPE_FREQS)?,
        RopeScaling::Llama3(scaling) => Some(scaling.divisors(rotated, theta)),
        RopeScaling::Linear(factor) => Some(vec![factor; rotated / 2]),
        // As in llama.cpp, for all of a conversation. (transformers changes over when a text becomes
        // longer, and leaves keys as they were rotated before.)
        RopeScaling::Long { original_context } if context > original_context => {
            in_file(ROPE_FACTORS_LONG)?
        }
        RopeScaling::Long { .. } => in_file(ROPE_FACTORS_SHORT)?,
    };
    let rope = |angles: Angles| Rope::new(&angles, context, config.rope_layout, loader.device());
    let all = rope(Angles { rotated, theta, divisors: divisors.as_deref(), magnitude })?;
    let window_theta = config.windows.as_ref().and_then(|windows| windows.rope_theta);
    let windowed = match window_theta {
        Some(theta) => Some(rope(Angles { rotated, theta, divisors: None, magnitude: 1.0 })?),
        None => None,
    };
    Ok((all, windowed))
}

/// What a block adds, normalized if there is a weight for it.
fn post_norm(added: Tensor, weight: Option<&Tensor>, epsilon: f32) -> candle_core::Result<Tensor> {
    match weight {
        Some(weight) => norm(&added, weight, epsilon, Form::Values)?.values().cloned(),
        None => Ok(added),
    }
}

struct Layer {
    attention_norm: Tensor,
    qkv: Stack,
    adjustments: Adjustments,
    attention_output: Linear,
    attention_post_norm: Option<Tensor>,
    feed_forward_norm: Tensor,
    gate_up: Stack,
    down: Linear,
    feed_forward_post_norm: Option<Tensor>,
}

impl Layer {
    fn load(loader: &Loader, config: &LlamaConfig, layer: usize) -> Result<Self> {
        let LlamaConfig { architecture, hidden, heads, kv_heads, head_dim, feed_forward, .. } =
            *config;
        let name = |part| Name::Layer(layer, part);
        let vector = |part| loader.vector(name(part), hidden);
        let post_norm = |part| architecture.post_norms.then(|| vector(part)).transpose();
        let (wide, narrow) = (heads * head_dim, kv_heads * head_dim);
        let stack = |whole: Part, parts: &[(Part, usize)]| {
            if architecture.is_joined {
                let rows: Vec<usize> = parts.iter().map(|&(_, rows)| rows).collect();
                return loader.stack_of_one(name(whole), &rows, hidden);
            }
            let parts: Vec<_> = parts.iter().map(|&(part, rows)| (name(part), rows)).collect();
            loader.stack(&parts, hidden)
        };
        Ok(Self {
            attention_norm: vector(Part::AttentionNorm)?,
            qkv: stack(Part::Qkv, &[(Part::Q, wide), (Part::K, narrow), (Part::V, narrow)])?,
            adjustments: Adjustments::load(loader, config, layer)?,
            attention_output: loader.linear(name(Part::AttentionOutput), hidden, wide)?,
            attention_post_norm: post_norm(Part::AttentionPostNorm)?,
            feed_forward_norm: vector(Part::FeedForwardNorm)?,
            gate_up: stack(Part::GateUp, &[(Part::Gate, feed_forward), (Part::Up, feed_forward)])?,
            down: loader.linear(name(Part::Down), hidden, feed_forward)?,
            feed_forward_post_norm: post_norm(Part::FeedForwardPostNorm)?,
        })
    }

    /// `None` if any matrix is held by candle.
    fn try_fuse(&self) -> candle_core::Result<Option<FusedLayer>> {
        let (Some(&[q, k, v]), Some(&[gate, up]), Some(attention_output), Some(down)) = (
            self.qkv.mapped().as_deref(),
            self.gate_up.mapped().as_deref(),
            self.attention_output.mapped(),
            self.down.mapped(),
        ) else {
            return Ok(None);
        };
        let values = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::to_vec1).transpose();
        let Adjustments { bias, norms } = &self.adjustments;
        let head_norms = match norms {
            Some([q, k]) => Some([q.to_vec1()?, k.to_vec1()?]),
            None => None,
        };
        Ok(Some(FusedLayer {
            attention_norm: self.attention_norm.to_vec1()?,
            qkv: [q, k, v].map(Clone::clone),
            qkv_bias: values(bias)?,
            head_norms,
            attention_output: attention_output.clone(),
            attention_post_norm: values(&self.attention_post_norm)?,
            feed_forward_norm: self.feed_forward_norm.to_vec1()?,
            gate: gate.clone(),
            up: up.clone(),
            down: down.clone(),
            feed_forward_post_norm: values(&self.feed_forward_post_norm)?,
        }))
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        let stacks = [&self.qkv, &self.gate_up].into_iter().flat_map(|stack| &stack.0);
        stacks.chain([&self.attention_output, &self.down])
    }

    fn norms(&self) -> impl Iterator<Item = &Tensor> {
        let post_norms = [&self.attention_post_norm, &self.feed_forward_post_norm];
        let norms = [&self.attention_norm, &self.feed_forward_norm];
        norms.into_iter().chain(post_norms.into_iter().flatten())
    }
}
