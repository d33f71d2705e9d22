//! One layer: attention and a feed-forward network, each added to what it read and normalized.

use std::ops::Range;

use anyhow::Result;

use super::LayerNorm;
use super::attention::{HeadShape, attend};
use super::checkpoint::EncoderCheckpoint;
use super::config::EncoderConfig;
use super::linear::{Codes, PackedLinear};
use crate::compute::dense::rows::Epilogue;
use crate::models::catalogue::Precision;

/// A block of the encoder.
pub struct Layer {
    /// Queries, keys and values in one product.
    qkv: PackedLinear,
    mix: PackedLinear,
    mix_norm: LayerNorm,
    up: PackedLinear,
    down: PackedLinear,
    down_norm: LayerNorm,
    precision: Precision,
}

/// Where the layers keep what lies between their steps.
#[derive(Default)]
pub struct Buffers {
    /// `[tokens, 3 · hidden]`
    qkv: Vec<f32>,
    /// `[tokens, hidden]`
    mixed: Vec<f32>,
    /// `[tokens, intermediate]`
    inner: Vec<f32>,
    codes: Codes,
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
        let EncoderConfig { hidden, intermediate, .. } = *config;
        let linear = |names: &[&str], outputs, inputs| {
            PackedLinear::load(tensors, names, outputs, inputs, precision)
        };
        let qkv = ["attention.self.query", "attention.self.key", "attention.self.value"];
        Ok(Self {
            qkv: linear(&qkv, hidden, hidden)?,
            mix: linear(&["attention.output.dense"], hidden, hidden)?,
            mix_norm: LayerNorm::load(tensors, "attention.output.LayerNorm", config)?,
            up: linear(&["intermediate.dense"], intermediate, hidden)?,
            down: linear(&["output.dense"], hidden, intermediate)?,
            down_norm: LayerNorm::load(tensors, "output.LayerNorm", config)?,
            precision,
        })
    }

    /// `xs`, `[tokens, hidden]`, becomes the layer's output.
    pub fn forward(
        &self,
        xs: &mut [f32],
        heads: HeadShape,
        texts: &[Range<usize>],
        buffers: &mut Buffers,
    ) {
        let Buffers { qkv, mixed, inner, codes } = buffers;
        self.qkv.forward(xs, codes, qkv, Epilogue::Overwrite);
        attend(qkv, heads, texts, self.precision, mixed);
        self.mix.forward(mixed, codes, xs, Epilogue::Accumulate);
        self.mix_norm.forward(xs);
        self.up.forward(xs, codes, inner, Epilogue::Gelu);
        self.down.forward(inner, codes, xs, Epilogue::Accumulate);
        self.down_norm.forward(xs);
    }

    /// Multiply-additions for one token, without attention.
    pub fn operations(&self) -> usize {
        [&self.qkv, &self.mix, &self.up, &self.down].iter().map(|linear| linear.operations()).sum()
    }
}
