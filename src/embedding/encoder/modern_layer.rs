//! One layer of ModernBERT (Warner et al. 2024): what attention and a gated feed-forward network read
//! is normalized first, and what they make of it is added.
//!
//! Queries and keys are rotated by their places in the text, which are not in the token vectors.

use std::ops::Range;

use anyhow::Result;

use super::attention::{Attention, attend};
use super::checkpoint::EncoderCheckpoint;
use super::config::{EncoderConfig, ModernBert, Sight};
use super::layer::Buffers;
use super::linear::{GatedLinear, PackedLinear};
use super::norm::LayerNorm;
use super::rotations::Rotations;
use crate::compute::dense::rows::Epilogue;
use crate::models::catalogue::Precision;

/// A block of the encoder.
pub struct ModernLayer {
    /// Not in the first layer, which reads what is normalized already.
    attention_norm: Option<LayerNorm>,
    /// Queries, keys and values in one product.
    qkv: PackedLinear,
    sight: Sight,
    attention: Attention,
    mix: PackedLinear,
    inner_norm: LayerNorm,
    up: GatedLinear,
    down: PackedLinear,
}

impl ModernLayer {
    /// Loads the tensors of layer `number`.
    pub fn load(
        tensors: &EncoderCheckpoint,
        config: &EncoderConfig,
        modern: &ModernBert,
        number: usize,
        precision: Precision,
    ) -> Result<Self> {
        let EncoderConfig { hidden, intermediate, epsilon, .. } = *config;
        let norm = |name| LayerNorm::load(tensors, name, hidden, epsilon, modern.norm_bias);
        let linear = |name, shape, has_bias| {
            PackedLinear::load(tensors, &[name], shape, has_bias, precision)
        };
        let (around_attention, inside) = (modern.attention_bias, modern.mlp_bias);
        let sight = modern.sights[number];
        let reach = match sight {
            Sight::All => None,
            Sight::Near => Some(modern.reach),
        };
        let gate = modern.activation;
        Ok(Self {
            attention_norm: (number > 0).then(|| norm("attn_norm")).transpose()?,
            qkv: linear("attn.Wqkv", [3 * hidden, hidden], around_attention)?,
            sight,
            attention: Attention { heads: config.heads, dim: config.head_dim(), reach, precision },
            mix: linear("attn.Wo", [hidden, hidden], around_attention)?,
            inner_norm: norm("mlp_norm")?,
            up: GatedLinear::load(
                tensors,
                "mlp.Wi",
                [intermediate, hidden],
                inside,
                gate,
                precision,
            )?,
            down: linear("mlp.Wo", [hidden, intermediate], inside)?,
        })
    }

    /// `xs`, `[tokens, hidden]`, becomes the layer's output.
    pub fn forward(
        &self,
        xs: &mut [f32],
        texts: &[Range<usize>],
        rotations: &Rotations,
        buffers: &mut Buffers,
    ) {
        let Buffers { normed, qkv, mixed, inner, codes } = buffers;
        normed.resize(xs.len(), 0.0);
        match &self.attention_norm {
            Some(norm) => norm.forward_into(xs, normed),
            None => normed.copy_from_slice(xs),
        }
        self.qkv.forward(normed, codes, qkv, Epilogue::Overwrite);
        rotations.rotate(self.sight, qkv, texts);
        attend(qkv, self.attention, texts, mixed);
        self.mix.forward(mixed, codes, xs, Epilogue::Accumulate);
        self.inner_norm.forward_into(xs, normed);
        self.up.forward(normed, codes, inner);
        self.down.forward(inner, codes, xs, Epilogue::Accumulate);
    }

    /// Multiply-additions for a text of `tokens` tokens.
    pub fn operations(&self, tokens: usize) -> usize {
        let linear = [&self.qkv, &self.mix, &self.down];
        let one: usize = linear.iter().map(|linear| linear.operations()).sum();
        (one + self.up.operations()) * tokens + self.attention.operations(tokens)
    }
}
