//! Llama 3.x (Grattafiori et al. 2024): RMSNorm, RoPE, grouped-query attention, SwiGLU.
//!
//! candle-transformers has two implementations of this architecture; its GGUF variant ignores the
//! frequency scaling of Llama 3.1 (`rope_freqs.weight`), and both copy the whole KV cache to grow
//! it for every token. This one serves both file formats.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

use super::config::LlamaConfig;
use super::kv_cache::{LayerCache, Pass};
use super::linear::{Linear, Stack};
use super::ops::{add_norm, norm};
use super::probe;
use super::rope::Rope;
use super::values::with_values;
use crate::compute::quantized::attention::Attend;
use crate::compute::quantized::{FusedLayer, FusedModel, Workspace};
use crate::compute::rope::RopeTables;
use crate::generation::local::checkpoint::Loader;
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
        let LlamaConfig { hidden, vocabulary, head_dim, .. } = config;
        let device = loader.device().clone();
        let embedding = loader.linear(Name::Embedding, vocabulary, hidden)?;
        let output = match loader.has(Name::Output) && !config.tied {
            true => loader.linear(Name::Output, vocabulary, hidden)?,
            false => embedding.clone(), // tied
        };
        let divisors = match &config.rope_scaling {
            Some(scaling) => Some(scaling.divisors(head_dim, config.rope_theta)),
            None => loader.rope_divisors(head_dim / 2)?,
        };
        let (theta, layout) = (config.rope_theta, config.rope_layout);
        let rope = Rope::new(head_dim, theta, divisors.as_deref(), context, layout, &device)?;
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
            layers,
            norm: self.norm.to_vec1()?,
            output: output.clone(),
            epsilon: self.config.norm_epsilon as f32,
        }))
    }

    /// An empty cache for `context` tokens; allocates its memory immediately.
    pub fn cache(&self, context: usize) -> candle_core::Result<Cache> {
        let layer = || LayerCache::new(&self.config, context, self.cache_dtype, &self.device);
        let layers = self.layers.iter().map(|_| layer()).collect::<candle_core::Result<_>>()?;
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
        let (cos, sin, layout) = self.rope.tables();
        with_values([cos, sin], |[cos, sin]| {
            let rope = RopeTables { cos, sin, layout };
            Some(fused.logits(tokens, rows, *position, layers.into_iter(), rope, workspace))
        })
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
        // The last block's output, added to the residual stream by the next norm.
        let mut delta: Option<Tensor> = None;
        let mut normed;
        let mut pass = Pass::new(position, &self.device)?;
        for (layer, kv) in self.layers.iter().zip(&mut cache.layers) {
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
                let form = layer.attention_output.form(count);
                let mixed = kv.attend(&qkv, &self.rope, &mut pass, &self.config, form)?;
                drop(qkv);
                let attended = layer.attention_output.forward(&mixed)?;
                let form = layer.gate_up.form(count);
                add_norm(&hidden, &attended, &layer.feed_forward_norm, epsilon, form)?
            };
            let gated = layer.gate_up.forward_gated(&normed, layer.down.form(count))?;
            delta = Some(layer.down.forward(&gated)?);
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
        let mut norms =
            self.layers.iter().flat_map(|layer| [&layer.attention_norm, &layer.feed_forward_norm]);
        linears.all(|linear| linear.device().same_device(device))
            && norms.all(|norm| norm.device().same_device(device))
            && [&self.embedding, &self.output].iter().all(|l| l.device().same_device(device))
            && self.norm.device().same_device(device)
            && self.rope.is_on(device)
    }
}

struct Layer {
    attention_norm: Tensor,
    qkv: Stack,
    attention_output: Linear,
    feed_forward_norm: Tensor,
    gate_up: Stack,
    down: Linear,
}

impl Layer {
    fn load(loader: &Loader, config: &LlamaConfig, layer: usize) -> Result<Self> {
        let LlamaConfig { hidden, heads, kv_heads, head_dim, feed_forward, .. } = *config;
        let name = |part| Name::Layer(layer, part);
        let (wide, narrow) = (heads * head_dim, kv_heads * head_dim);
        Ok(Self {
            attention_norm: loader.vector(name(Part::AttentionNorm), hidden)?,
            qkv: loader.stack(
                &[(name(Part::Q), wide), (name(Part::K), narrow), (name(Part::V), narrow)],
                hidden,
            )?,
            attention_output: loader.linear(name(Part::AttentionOutput), hidden, wide)?,
            feed_forward_norm: loader.vector(name(Part::FeedForwardNorm), hidden)?,
            gate_up: loader.stack(
                &[(name(Part::Gate), feed_forward), (name(Part::Up), feed_forward)],
                hidden,
            )?,
            down: loader.linear(name(Part::Down), hidden, feed_forward)?,
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
        Ok(Some(FusedLayer {
            attention_norm: self.attention_norm.to_vec1()?,
            qkv: [q, k, v].map(Clone::clone),
            attention_output: attention_output.clone(),
            feed_forward_norm: self.feed_forward_norm.to_vec1()?,
            gate: gate.clone(),
            up: up.clone(),
            down: down.clone(),
        }))
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        let stacks = [&self.qkv, &self.gate_up].into_iter().flat_map(|stack| &stack.0);
        stacks.chain([&self.attention_output, &self.down])
    }
}
