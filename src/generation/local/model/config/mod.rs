//! The configuration of a model, from GGUF metadata or a Hugging Face `config.json`.
//!
//! Unknown features are rejected on load rather than silently ignored.

mod gguf;
mod hugging_face;

use anyhow::{Result, ensure};

use super::architecture::Architecture;
use super::rope::Llama3Scaling;
use crate::compute::rope::RopeLayout;

/// Sanity limits far above any model of these architectures; they keep products of three sizes within
/// 64 bits. For vector lengths:
const MAX_WIDTH: usize = 1 << 22;
/// For layers, heads and head dimensions:
const MAX_COUNT: usize = 1 << 12;
/// For tokens:
const MAX_CONTEXT: usize = 1 << 31;

/// What to download instead of an unsupported model.
const ANOTHER: &str = "download another one, such as Llama-3.1-8B-Instruct in Q4_K_M";

/// Hyperparameters of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    pub architecture: &'static Architecture,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub norm_epsilon: f64,
    pub rope_theta: f32,
    pub rope_layout: RopeLayout,
    pub rope_scaling: RopeScaling,
    /// How many values of a head are rotated: the first ones.
    pub rotated: usize,
    /// What the cosines and sines of the rotation are multiplied with.
    pub rope_magnitude: f32,
    /// The layers that do not see all tokens.
    pub windows: Option<Windows>,
    /// What scores are multiplied with; `None`: `1/√head_dim`.
    pub score_scale: Option<f32>,
    /// Use the embedding as output matrix, even if the checkpoint has a separate one.
    pub tied: bool,
    /// Context length the model was trained for, in tokens.
    pub context: usize,
}

/// How a model's frequencies differ from `theta^(-2i / dim)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Divided by what a GGUF file says, if it has `rope_freqs.weight`.
    InFile,
    /// By Llama 3.1's rule, from `config.json`.
    Llama3(Llama3Scaling),
    /// All divided by a factor (Chen et al. 2023).
    Linear(f32),
    /// `LongRoPE` (Ding et al. 2024): divided by one of two tensors of a GGUF file, if it has them.
    Long {
        /// The longest context for the first of them, in tokens.
        original_context: usize,
    },
}

/// Sliding windows (Beltagy et al. 2020).
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// How many tokens a layer with a window sees, in each token its own included.
    pub tokens: usize,
    /// Which layers have it.
    pub layers: Vec<bool>,
    /// The base of their frequencies, which nothing divides; `None`: as in the other layers.
    pub rope_theta: Option<f32>,
}

impl LlamaConfig {
    /// How many tokens a layer sees; `None`: all.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let windows = self.windows.as_ref()?;
        windows.layers.get(layer).copied().unwrap_or(false).then_some(windows.tokens)
    }

    /// Whether a GPU's own attention kernels cannot serve all layers, so that candle's products do
    /// for some: the kernels rotate whole heads, and see all tokens.
    pub fn needs_candle_attention(&self) -> bool {
        self.windows.is_some() || self.rotated != self.head_dim
    }

    /// Size in bytes of a KV cache for `context` tokens at `bytes_per_value`.
    pub fn kv_cache_bytes(&self, context: usize, bytes_per_value: usize) -> u64 {
        let values = 2 * self.layers * self.kv_heads * self.head_dim;
        (values as u64).saturating_mul(context as u64).saturating_mul(bytes_per_value as u64)
    }

    fn checked(self) -> Result<Self> {
        for (name, value, max) in [
            ("hidden size", self.hidden, MAX_WIDTH),
            ("number of layers", self.layers, MAX_COUNT),
            ("number of heads", self.heads, MAX_COUNT),
            ("number of KV heads", self.kv_heads, MAX_COUNT),
            ("head size", self.head_dim, MAX_COUNT),
            ("feed-forward size", self.feed_forward, MAX_WIDTH),
            ("vocabulary", self.vocabulary, MAX_WIDTH),
            ("context length", self.context, MAX_CONTEXT),
            ("window", self.windows.as_ref().map_or(1, |windows| windows.tokens), MAX_CONTEXT),
        ] {
            ensure!(
                (1..=max).contains(&value),
                "the model's {name} is {value}, and not 1 to {max}"
            );
        }
        ensure!(
            self.heads.is_multiple_of(self.kv_heads),
            "{} heads cannot share {} KV heads",
            self.heads,
            self.kv_heads
        );
        ensure!(
            self.rotated.is_multiple_of(2) && (2..=self.head_dim).contains(&self.rotated),
            "{} values of heads of {} cannot be rotated in pairs",
            self.rotated,
            self.head_dim
        );
        let local_theta = self.windows.as_ref().and_then(|windows| windows.rope_theta);
        let factor = match self.rope_scaling {
            RopeScaling::Linear(factor) => factor,
            _ => 1.0,
        };
        for (name, value) in [
            ("RoPE base", self.rope_theta),
            ("RoPE base of windows", local_theta.unwrap_or(self.rope_theta)),
            ("RoPE scaling", factor),
            ("RoPE magnitude", self.rope_magnitude),
        ] {
            ensure!(value.is_finite() && value > 0.0, "the model's {name} is {value}");
        }
        ensure!(
            (0.0..1.0).contains(&self.norm_epsilon),
            "the epsilon of the model's norms is {}",
            self.norm_epsilon
        );
        Ok(self)
    }
}
