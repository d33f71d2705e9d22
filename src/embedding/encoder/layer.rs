//! One layer of BERT and XLM-RoBERTa: attention and a feed-forward network, each added to what it
//! read and normalized.

use std::ops::Range;

use anyhow::Result;

use super::attention::{Attention, attend};
use super::checkpoint::EncoderCheckpoint;
use super::config::EncoderConfig;
use super::linear::{Codes, PackedLinear};
use super::norm::LayerNorm;
use crate::compute::dense::rows::Epilogue;
use crate::models::catalogue::Precision;

/// A block of the encoder.
pub struct Layer {
    /// Queries, keys and values in one product.
    qkv: PackedLinear,
    attention: Attention,
    mix: PackedLinear,
    mix_norm: LayerNorm,
    up: PackedLinear,
    down: PackedLinear,
    down_norm: LayerNorm,
}

/// Where the layers keep what lies between their steps.
#[derive(Default)]
pub struct Buffers {
    /// `[tokens, hidden]`; what is normalized before it is multiplied.
    pub normed: Vec<f32>,
    /// `[tokens, 3 · hidden]`
    pub qkv: Vec<f32>,
    /// `[tokens, hidden]`
    pub mixed: Vec<f32>,
    /// `[tokens, intermediate]`
    pub inner: Vec<f32>,
    /// Of what is multiplied.
    pub codes: Codes,
}

impl Buffers {
    /// Makes them as large as `tokens` tokens need.
    pub fn resize(&mut self, tokens: usize, config: &EncoderConfig) {
        self.qkv.resize(tokens * 3 * config.hidden, 0.0);
        self.mixed.resize(tokens * config.hidden, 0.0);
        self.inner.resize(tokens * config.intermediate, 0.0);
    }
}

impl Layer {
    /// Loads the tensors of one layer.
    pub fn load(
        tensors: &EncoderCheckpoint,
        config: &EncoderConfig,
        precision: Precision,
    ) -> Result<Self> {
        let EncoderConfig { hidden, intermediate, epsilon, .. } = *config;
        let linear =
            |names: &[&str], shape| PackedLinear::load(tensors, names, shape, true, precision);
        let norm = |name| LayerNorm::load(tensors, name, hidden, epsilon, true);
        let qkv = ["attention.self.query", "attention.self.key", "attention.self.value"];
        Ok(Self {
            qkv: linear(&qkv, [hidden, hidden])?,
            attention: Attention {
                heads: config.heads,
                dim: config.head_dim(),
                reach: None,
                precision,
            },
            mix: linear(&["attention.output.dense"], [hidden, hidden])?,
            mix_norm: norm("attention.output.LayerNorm")?,
            up: linear(&["intermediate.dense"], [intermediate, hidden])?,
            down: linear(&["output.dense"], [hidden, intermediate])?,
            down_norm: norm("output.LayerNorm")?,
        })
    }

    /// `xs`, `[tokens, hidden]`, becomes the layer's output.
    pub fn forward(&self, xs: &mut [f32], texts: &[Range<usize>], buffers: &mut Buffers) {
        let Buffers { qkv, mixed, inner, codes, .. } = buffers;
        self.qkv.forward(xs, codes, qkv, Epilogue::Overwrite);
        attend(qkv, self.attention, texts, mixed);
        self.mix.forward(mixed, codes, xs, Epilogue::Accumulate);
        self.mix_norm.forward(xs);
        self.up.forward(xs, codes, inner, Epilogue::Gelu);
        self.down.forward(inner, codes, xs, Epilogue::Accumulate);
        self.down_norm.forward(xs);
    }

    /// Multiply-additions for a text of `tokens` tokens.
    pub fn operations(&self, tokens: usize) -> usize {
        let linear = [&self.qkv, &self.mix, &self.up, &self.down];
        let one: usize = linear.iter().map(|linear| linear.operations()).sum();
        one * tokens + self.attention.operations(tokens)
    }
}
