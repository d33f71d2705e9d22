//! Llama 3.x (Grattafiori et al. 2024): RMSNorm, rotary positions, grouped-query attention, SwiGLU.
//!
//! candle-transformers has this architecture twice; its GGUF variant leaves out the frequency
//! scaling of Llama 3.1 (`rope_freqs.weight`), and both grow the KV cache by copying it for every
//! token. This one serves both file formats.

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};

use super::checkpoint::{Linear, Loader, Name, Part};
use super::config::LlamaConfig;
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
    device: Device,
}

/// Keys and values of the tokens so far, for each layer, `[1, kv_heads, tokens, head_dim]`, in room
/// taken once for the whole context.
pub struct Cache {
    layers: Vec<LayerCache>,
    tokens: usize,
}

/// `[1, kv_heads, context, head_dim]` each; what is behind the tokens so far is left over.
struct LayerCache {
    k: Tensor,
    v: Tensor,
}

impl LayerCache {
    /// Writes the new keys and values, `[1, kv_heads, tokens, head_dim]`, at `position`, and
    /// returns all up to them. Nothing is copied but the new ones.
    fn append(
        &self,
        k: &Tensor,
        v: &Tensor,
        position: usize,
    ) -> candle_core::Result<(Tensor, Tensor)> {
        self.k.slice_set(&k.contiguous()?, 2, position)?;
        self.v.slice_set(&v.contiguous()?, 2, position)?;
        let all = position + k.dim(2)?;
        Ok((self.k.narrow(2, 0, all)?, self.v.narrow(2, 0, all)?))
    }
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
            .collect::<Result<_>>()?;
        Ok(Self {
            embedding,
            layers,
            norm: loader.vector(Name::Norm, hidden)?,
            output,
            rope,
            dtype: loader.dtype(),
            device,
            config,
        })
    }

    /// An empty cache for `context` tokens; takes its room now.
    pub fn cache(&self, context: usize) -> candle_core::Result<Cache> {
        let LlamaConfig { kv_heads, head_dim, .. } = self.config;
        let room = || Tensor::zeros((1, kv_heads, context, head_dim), self.dtype, &self.device);
        let layers = self.layers.iter().map(|_| Ok(LayerCache { k: room()?, v: room()? }));
        Ok(Cache { layers: layers.collect::<candle_core::Result<_>>()?, tokens: 0 })
    }

    /// Reads `tokens` after those in `cache` and returns the logits, `[vocabulary]` in `f32`, of
    /// the last one.
    pub fn forward(&self, tokens: &[u32], cache: &mut Cache) -> candle_core::Result<Tensor> {
        let ids = Tensor::new(tokens, &self.device)?;
        let mask = self.mask(tokens.len(), cache.tokens)?;
        let mut hidden = self.embedding.rows(&ids)?.to_dtype(self.dtype)?.unsqueeze(0)?;
        for (layer, kv) in self.layers.iter().zip(&cache.layers) {
            hidden = layer.forward(
                &hidden,
                mask.as_ref(),
                &self.rope,
                cache.tokens,
                kv,
                &self.config,
            )?;
        }
        cache.tokens += tokens.len();
        let last = hidden.narrow(1, tokens.len() - 1, 1)?.contiguous()?;
        let last = rms_norm(&last, &self.norm, self.config.norm_epsilon as f32)?;
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

struct Layer {
    attention_norm: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    attention_output: Linear,
    feed_forward_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn load(loader: &Loader, config: &LlamaConfig, layer: usize) -> Result<Self> {
        let LlamaConfig { hidden, heads, kv_heads, head_dim, feed_forward, .. } = *config;
        let name = |part| Name::Layer(layer, part);
        Ok(Self {
            attention_norm: loader.vector(name(Part::AttentionNorm), hidden)?,
            q: loader.linear(name(Part::Q), heads * head_dim, hidden)?,
            k: loader.linear(name(Part::K), kv_heads * head_dim, hidden)?,
            v: loader.linear(name(Part::V), kv_heads * head_dim, hidden)?,
            attention_output: loader.linear(
                name(Part::AttentionOutput),
                hidden,
                heads * head_dim,
            )?,
            feed_forward_norm: loader.vector(name(Part::FeedForwardNorm), hidden)?,
            gate: loader.linear(name(Part::Gate), feed_forward, hidden)?,
            up: loader.linear(name(Part::Up), feed_forward, hidden)?,
            down: loader.linear(name(Part::Down), hidden, feed_forward)?,
        })
    }

    fn linears(&self) -> [&Linear; 7] {
        [&self.q, &self.k, &self.v, &self.attention_output, &self.gate, &self.up, &self.down]
    }

    /// `[1, tokens, hidden]` → `[1, tokens, hidden]`.
    fn forward(
        &self,
        xs: &Tensor,
        mask: Option<&Tensor>,
        rope: &Rope,
        position: usize,
        kv: &LayerCache,
        config: &LlamaConfig,
    ) -> candle_core::Result<Tensor> {
        let epsilon = config.norm_epsilon as f32;
        let normed = rms_norm(xs, &self.attention_norm, epsilon)?;
        let xs = (xs + self.attention(&normed, mask, rope, position, kv, config)?)?;
        let normed = rms_norm(&xs, &self.feed_forward_norm, epsilon)?;
        let gated = (silu(&self.gate.forward(&normed)?)? * self.up.forward(&normed)?)?;
        xs + self.down.forward(&gated)?
    }

    fn attention(
        &self,
        xs: &Tensor,
        mask: Option<&Tensor>,
        rope: &Rope,
        position: usize,
        kv: &LayerCache,
        config: &LlamaConfig,
    ) -> candle_core::Result<Tensor> {
        let LlamaConfig { heads, kv_heads, head_dim, .. } = *config;
        let (batch, tokens, _) = xs.dims3()?;
        let split = |xs: Tensor, heads| {
            xs.reshape((batch, tokens, heads, head_dim))?.transpose(1, 2)?.contiguous()
        };
        let q = rope.apply(&split(self.q.forward(xs)?, heads)?, position)?;
        let k = rope.apply(&split(self.k.forward(xs)?, kv_heads)?, position)?;
        let v = split(self.v.forward(xs)?, kv_heads)?;
        let (k, v) = kv.append(&k, &v, position)?;
        // The query heads of a group share their K and V: they are rows of one product, and
        // nothing is repeated. [batch, kv_heads, group · tokens, head_dim]
        let group = heads / kv_heads;
        let q =
            (q / (head_dim as f64).sqrt())?.reshape((batch, kv_heads, group * tokens, head_dim))?;
        let scores = q.matmul(&k.t()?)?;
        let scores = match mask {
            None => scores,
            Some(mask) => {
                let all = scores.dim(D::Minus1)?;
                scores
                    .reshape((batch, kv_heads, group, tokens, all))?
                    .broadcast_add(mask)?
                    .reshape((batch, kv_heads, group * tokens, all))?
            }
        };
        let mixed = softmax_last_dim(&scores)?.matmul(&v)?;
        let mixed = mixed.reshape((batch, heads, tokens, head_dim))?.transpose(1, 2)?;
        self.attention_output.forward(&mixed.reshape((batch, tokens, heads * head_dim))?)
    }
}
