//! The shape of a Llama model, from GGUF metadata or a Hugging Face `config.json`.
//!
//! What is unknown is an error here, at load, and never ignored later.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;

use super::gguf::integer;
use super::rope::{Layout, Llama3Scaling};

/// Larger than any model of this architecture: a bound against nonsense, not a limit.
const MAX_DIMENSION: usize = 1 << 20;

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "they are named as in the paper")]
pub struct LlamaConfig {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub norm_epsilon: f64,
    pub rope_theta: f32,
    pub rope_layout: Layout,
    /// From `config.json`; a GGUF file carries the result as a tensor.
    pub rope_scaling: Option<Llama3Scaling>,
    /// Tokens that the model was trained to attend to.
    pub context: usize,
}

impl LlamaConfig {
    /// From the metadata of a GGUF file with `vocabulary` tokens.
    pub fn from_gguf(metadata: &HashMap<String, Value>, vocabulary: usize) -> Result<Self> {
        let architecture = metadata.get("general.architecture").and_then(|v| v.to_string().ok());
        match architecture.map(String::as_str) {
            Some("llama") => {}
            Some(other) => {
                bail!("the file holds a {other:?} model; this program runs \"llama\" models")
            }
            None => bail!("the file does not say its architecture (general.architecture)"),
        }
        let scaling = metadata.get("llama.rope.scaling.type").and_then(|v| v.to_string().ok());
        if let Some(kind) = scaling.filter(|kind| *kind != "none") {
            bail!("the file asks for RoPE scaling {kind:?}, which this program does not know");
        }
        let number = |key: &str| -> Result<Option<usize>> {
            let Some(value) = metadata.get(key) else { return Ok(None) };
            let number = integer(value).with_context(|| format!("{key} is no whole number"))?;
            Ok(Some(number as usize))
        };
        let required =
            |key: &str| number(key)?.with_context(|| format!("the file has no metadata {key:?}"));
        let real = |key: &str| metadata.get(key).and_then(|value| value.to_f32().ok());
        let hidden = required("llama.embedding_length")?;
        let heads = required("llama.attention.head_count")?;
        let head_dim = match number("llama.attention.key_length")? {
            Some(length) => length,
            None => hidden.checked_div(heads).context("llama.attention.head_count is 0")?,
        };
        let config =
            Self {
                hidden,
                layers: required("llama.block_count")?,
                heads,
                kv_heads: number("llama.attention.head_count_kv")?.unwrap_or(heads),
                head_dim,
                feed_forward: required("llama.feed_forward_length")?,
                vocabulary,
                norm_epsilon: f64::from(real("llama.attention.layer_norm_rms_epsilon").context(
                    "the file has no metadata \"llama.attention.layer_norm_rms_epsilon\"",
                )?),
                rope_theta: real("llama.rope.freq_base").unwrap_or(10_000.0),
                rope_layout: Layout::Interleaved,
                rope_scaling: None,
                context: required("llama.context_length")?,
            };
        let rotated = number("llama.rope.dimension_count")?.unwrap_or(head_dim);
        ensure!(
            rotated == head_dim,
            "only {rotated} of {head_dim} values a head are rotated: not a Llama"
        );
        config.checked()
    }

    /// From a Hugging Face `config.json`.
    pub fn from_hugging_face(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Scaling {
            #[serde(alias = "type")]
            rope_type: String,
            factor: Option<f32>,
            low_freq_factor: Option<f32>,
            high_freq_factor: Option<f32>,
            original_max_position_embeddings: Option<f32>,
            rope_theta: Option<f32>,
        }
        #[derive(Deserialize)]
        struct File {
            model_type: String,
            hidden_size: usize,
            num_hidden_layers: usize,
            num_attention_heads: usize,
            num_key_value_heads: Option<usize>,
            head_dim: Option<usize>,
            intermediate_size: usize,
            vocab_size: usize,
            rms_norm_eps: f64,
            rope_theta: Option<f32>,
            /// transformers 5 writes `rope_parameters`, with the base in it.
            #[serde(alias = "rope_parameters")]
            rope_scaling: Option<Scaling>,
            max_position_embeddings: usize,
            hidden_act: String,
            #[serde(default)]
            attention_bias: bool,
            #[serde(default)]
            mlp_bias: bool,
        }
        let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = serde_json::from_slice(&json)
            .with_context(|| format!("{} is not the configuration of a Llama", path.display()))?;
        ensure!(
            file.model_type == "llama",
            "{} describes a {:?} model; this program runs \"llama\" models",
            path.display(),
            file.model_type
        );
        ensure!(
            file.hidden_act == "silu",
            "{} asks for {:?}, a Llama has silu",
            path.display(),
            file.hidden_act
        );
        ensure!(
            !file.attention_bias && !file.mlp_bias,
            "{} asks for biases, a Llama has none",
            path.display()
        );
        let theta = file.rope_scaling.as_ref().and_then(|scaling| scaling.rope_theta);
        let rope_scaling = match file.rope_scaling {
            None => None,
            Some(scaling) if scaling.rope_type == "default" => None,
            Some(Scaling {
                rope_type,
                factor: Some(factor),
                low_freq_factor: Some(low_freq_factor),
                high_freq_factor: Some(high_freq_factor),
                original_max_position_embeddings: Some(original_context),
                ..
            }) if rope_type == "llama3" => {
                Some(Llama3Scaling { factor, low_freq_factor, high_freq_factor, original_context })
            }
            Some(scaling) => bail!(
                "{} asks for RoPE scaling {:?}, which this program does not know or which lacks a value",
                path.display(),
                scaling.rope_type
            ),
        };
        let heads = file.num_attention_heads;
        Self {
            hidden: file.hidden_size,
            layers: file.num_hidden_layers,
            heads,
            kv_heads: file.num_key_value_heads.unwrap_or(heads),
            head_dim: match file.head_dim {
                Some(head_dim) => head_dim,
                None => file.hidden_size.checked_div(heads).context("num_attention_heads is 0")?,
            },
            feed_forward: file.intermediate_size,
            vocabulary: file.vocab_size,
            norm_epsilon: file.rms_norm_eps,
            rope_theta: file.rope_theta.or(theta).unwrap_or(10_000.0),
            rope_layout: Layout::HalfSplit,
            rope_scaling,
            context: file.max_position_embeddings,
        }
        .checked()
    }

    /// Bytes of the KV cache for `context` tokens in `bytes_per_value`.
    pub fn kv_cache_bytes(&self, context: usize, bytes_per_value: usize) -> u64 {
        let values = 2 * self.layers * self.kv_heads * self.head_dim;
        values as u64 * context as u64 * bytes_per_value as u64
    }

    fn checked(self) -> Result<Self> {
        for (name, value) in [
            ("hidden size", self.hidden),
            ("number of layers", self.layers),
            ("number of heads", self.heads),
            ("number of KV heads", self.kv_heads),
            ("head size", self.head_dim),
            ("feed-forward size", self.feed_forward),
            ("vocabulary", self.vocabulary),
        ] {
            ensure!((1..=MAX_DIMENSION).contains(&value), "the model's {name} is {value}");
        }
        ensure!(
            self.heads.is_multiple_of(self.kv_heads),
            "{} heads cannot share {} KV heads",
            self.heads,
            self.kv_heads
        );
        ensure!(
            self.head_dim.is_multiple_of(2),
            "heads of {} values cannot be rotated in pairs",
            self.head_dim
        );
        ensure!(self.context > 0, "the model's context length is 0");
        ensure!(
            self.rope_theta.is_finite() && self.rope_theta > 0.0,
            "the model's RoPE base is {}",
            self.rope_theta
        );
        Ok(self)
    }
}
