//! Llama 3.x (Grattafiori et al. 2024): RMSNorm, rotary positions, grouped-query attention, SwiGLU.
//!
//! candle-transformers has this architecture twice; its GGUF variant leaves out the frequency
//! scaling of Llama 3.1 (`rope_freqs.weight`), and both grow the KV cache by copying it for every
//! token. This one serves both file formats.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

use super::checkpoint::{Loader, Name, Part};
use super::config::LlamaConfig;
use super::kv_cache::LayerCache;
use super::linear::{Linear, Stack};
use super::rope::Rope;

/// A loaded model. Nothing in it changes after loading; what a conversation has so far is in its
/// [`Cache`].
pub struct Llama {
    embedding: Linear,
    layers: Vec<Layer>,
    norm: Tensor,
    output: Linear,
    rope: Rope,
    config: LlamaConfig,
    dtype: DType,
    /// Whether the weights are quantized, so that half precision is enough for keys and values.
    quantized: bool,
    device: Device,
}

/// Keys and values of the tokens so far, for each layer.
pub struct Cache {
    layers: Vec<LayerCache>,
    tokens: usize,
}

impl Cache {
    /// Forgets all tokens; keeps the room.
    pub fn reset(&mut self) {
        self.tokens = 0;
    }
}

impl Llama {
    /// Loads every tensor, for prompts and answers of up to `context` tokens together.
    pub fn load(loader: &Loader, config: LlamaConfig, context: usize) -> Result<Self> {
        let LlamaConfig { hidden, vocabulary, head_dim, .. } = config;
        let device = loader.device().clone();
        let embedding = loader.linear(Name::Embedding, vocabulary, hidden)?;
        let output = match loader.has(Name::Output) {
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
        let quantized = layers.iter().flat_map(Layer::linears).any(Linear::is_quantized);
        Ok(Self {
            embedding,
            norm: loader.vector(Name::Norm, hidden)?,
            output,
            rope,
            dtype: loader.dtype(),
            quantized,
            layers,
            device,
            config,
        })
    }

    /// An empty cache for `context` tokens; takes its room now.
    pub fn cache(&self, context: usize) -> candle_core::Result<Cache> {
        let layer =
            || LayerCache::new(&self.config, context, self.dtype, self.quantized, &self.device);
        let layers = self.layers.iter().map(|_| layer()).collect::<candle_core::Result<_>>()?;
        Ok(Cache { layers, tokens: 0 })
    }

    /// Reads `tokens` after those in `cache` and returns the logits, `[vocabulary]` in `f32`, of
    /// the last one.
    pub fn forward(&self, tokens: &[u32], cache: &mut Cache) -> candle_core::Result<Tensor> {
        let (position, count) = (cache.tokens, tokens.len());
        let mask = match cache.layers.first() {
            Some(layer) if layer.wants_mask() => self.mask(count, position)?,
            _ => None,
        };
        let epsilon = self.config.norm_epsilon as f32;
        let mut hidden = self.embedding.rows(tokens, &self.device)?.to_dtype(self.dtype)?;
        for (layer, kv) in self.layers.iter().zip(&mut cache.layers) {
            let normed = rms_norm(&hidden, &layer.attention_norm, epsilon)?;
            let qkv = layer.qkv.forward(&normed)?;
            let mixed = kv.attend(&qkv, &self.rope, mask.as_ref(), position, &self.config)?;
            hidden = layer.attention_output.forward_onto(&mixed, &hidden)?;
            let normed = rms_norm(&hidden, &layer.feed_forward_norm, epsilon)?;
            let gated = layer.gate_up.forward_gated(&normed)?;
            hidden = layer.down.forward_onto(&gated, &hidden)?;
        }
        cache.tokens += count;
        let last = rms_norm(&hidden.narrow(0, count - 1, 1)?.contiguous()?, &self.norm, epsilon)?;
        self.output.forward(&last)?.flatten_all()?.to_dtype(DType::F32)
    }

    /// What each new token must not see: 0 or −∞, `[tokens, past + tokens]`. One token sees all.
    fn mask(&self, tokens: usize, past: usize) -> candle_core::Result<Option<Tensor>> {
        if tokens == 1 {
            return Ok(None);
        }
        let all = past + tokens;
        let visible = |row: usize, column: usize| column <= past + row;
        let values: Vec<f32> = (0..tokens)
            .flat_map(|row| {
                (0..all)
                    .map(move |column| if visible(row, column) { 0.0 } else { f32::NEG_INFINITY })
            })
            .collect();
        Ok(Some(Tensor::from_vec(values, (tokens, all), &self.device)?.to_dtype(self.dtype)?))
    }

    /// The device that every tensor is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether every weight is on `device`.
    pub fn is_on(&self, device: &Device) -> bool {
        let linears = self.layers.iter().flat_map(Layer::linears);
        linears
            .chain([&self.embedding, &self.output])
            .all(|linear| linear.device().same_device(device))
            && self.norm.device().same_device(device)
    }
}

/// [`candle_nn::ops::rms_norm`] without waking a thread pool for one row.
fn rms_norm(xs: &Tensor, weight: &Tensor, epsilon: f32) -> candle_core::Result<Tensor> {
    #[cfg(target_arch = "x86_64")]
    if xs.device().is_cpu() {
        use super::linear::with_values;
        let normed = with_values(weight, |weight| {
            with_values(xs, |xs| Ok(super::cpu::rms_norm(xs, weight, epsilon)))
        })?;
        return Tensor::from_vec(normed, xs.shape(), &Device::Cpu);
    }
    candle_nn::ops::rms_norm(xs, weight, epsilon)
}

struct Layer {
    attention_norm: Tensor,
    qkv: Stack,
    attention_output: Stack,
    feed_forward_norm: Tensor,
    gate_up: Stack,
    down: Stack,
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
            attention_output: loader.stack(&[(name(Part::AttentionOutput), hidden)], wide)?,
            feed_forward_norm: loader.vector(name(Part::FeedForwardNorm), hidden)?,
            gate_up: loader.stack(
                &[(name(Part::Gate), feed_forward), (name(Part::Up), feed_forward)],
                hidden,
            )?,
            down: loader.stack(&[(name(Part::Down), hidden)], feed_forward)?,
        })
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        [&self.qkv, &self.attention_output, &self.gate_up, &self.down]
            .into_iter()
            .flat_map(|stack| &stack.0)
    }
}
