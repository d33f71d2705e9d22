//! The `config.json` of Hugging Face. Only Llamas are read from such folders.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{ANOTHER, LlamaConfig, RopeScaling};
use crate::compute::rope::RopeLayout;
use crate::generation::local::model::architecture::{Architecture, LLAMA};
use crate::generation::local::model::rope::Llama3Scaling;
use crate::models::json;

impl LlamaConfig {
    /// Parses a Hugging Face `config.json`.
    ///
    /// # Errors
    /// Names what is missing or what implies a computation other than a Llama's.
    pub fn from_hugging_face(path: &Path) -> Result<Self> {
        let json = json::bytes(path)?;
        let broken = || format!("{} is not a model's configuration", path.display());
        let AnyConfig { model_type } = serde_json::from_slice(&json).with_context(broken)?;
        let kind = model_type.unwrap_or_default();
        ensure!(
            kind == LLAMA.name,
            "{} describes a {kind:?} model; this program reads {:?} models from safetensors, and from \
             GGUF files {}: download such a GGUF file",
            path.display(),
            LLAMA.name,
            Architecture::list()
        );
        let file: HuggingFaceConfig = serde_json::from_slice(&json)
            .with_context(|| format!("{} is not the configuration of a Llama", path.display()))?;
        file.check_computation(path)?;
        let scaling = file.rope_parameters.or(file.rope_scaling);
        let theta = scaling.as_ref().and_then(|scaling| scaling.rope_theta);
        let rule = match scaling {
            None => None,
            Some(scaling) => {
                scaling.rule().with_context(|| format!("cannot use {}", path.display()))?
            }
        };
        let heads = file.num_attention_heads;
        let head_dim = match file.head_dim {
            Some(head_dim) => head_dim,
            None => file.hidden_size.checked_div(heads).context("num_attention_heads is 0")?,
        };
        Self {
            architecture: &LLAMA,
            hidden: file.hidden_size,
            layers: file.num_hidden_layers,
            heads,
            kv_heads: file.num_key_value_heads.unwrap_or(heads),
            head_dim,
            feed_forward: file.intermediate_size,
            vocabulary: file.vocab_size,
            norm_epsilon: file.rms_norm_eps,
            rope_theta: file.rope_theta.or(theta).unwrap_or(10_000.0),
            rope_layout: RopeLayout::HalfSplit,
            rope_scaling: rule.map_or(RopeScaling::InFile, RopeScaling::Llama3),
            rotated: head_dim,
            rope_magnitude: 1.0,
            windows: None,
            score_scale: None,
            tied: file.tie_word_embeddings,
            context: file.max_position_embeddings,
        }
        .checked()
        .with_context(|| format!("cannot use {}", path.display()))
    }
}

/// The `config.json` of a Llama.
#[derive(Deserialize)]
struct HuggingFaceConfig {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f32>,
    rope_scaling: Option<Scaling>,
    /// transformers 5 writes this instead; it includes the RoPE base.
    rope_parameters: Option<Scaling>,
    max_position_embeddings: usize,
    hidden_act: String,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    quantization_config: Option<Quantization>,
}
#[derive(Deserialize)]
struct Quantization {
    quant_method: Option<String>,
}
/// The `config.json` of any model, to check the architecture first.
#[derive(Deserialize)]
struct AnyConfig {
    model_type: Option<String>,
}
impl HuggingFaceConfig {
    /// Rejects settings that would change a Llama's computation.
    fn check_computation(&self, path: &Path) -> Result<()> {
        if let Some(Quantization { quant_method }) = &self.quantization_config {
            bail!(
                "{} describes weights quantized by {:?}, which this program cannot compute with; \
                 download the bf16 weights of the same model, or a GGUF file of it",
                path.display(),
                quant_method.as_deref().unwrap_or("an unknown method")
            );
        }
        ensure!(
            self.hidden_act == "silu",
            "{} asks for the activation {:?}, a Llama has silu",
            path.display(),
            self.hidden_act
        );
        ensure!(
            !self.attention_bias && !self.mlp_bias,
            "{} asks for biases, a Llama has none",
            path.display()
        );
        Ok(())
    }
}

/// `rope_scaling` or `rope_parameters` of a `config.json`.
#[derive(Deserialize)]
struct Scaling {
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    #[serde(rename = "type")]
    kind: Option<String>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    rope_theta: Option<f32>,
    partial_rotary_factor: Option<f32>,
}

impl Scaling {
    fn rule(self) -> Result<Option<Llama3Scaling>> {
        ensure!(
            self.partial_rotary_factor.is_none_or(|factor| factor == 1.0),
            "it rotates only a part of each head, which a Llama does not"
        );
        let kind = self.rope_type.or(self.kind).unwrap_or_else(|| "default".to_owned());
        match kind.as_str() {
            "default" => return Ok(None),
            "llama3" => {}
            _ => bail!(
                "it asks for RoPE scaling {kind:?}, which this program does not know; {ANOTHER}"
            ),
        }
        let value = |name: &str, value: Option<f32>| {
            value
                .filter(|value| value.is_finite() && *value > 0.0)
                .with_context(|| format!("its RoPE scaling has no sensible {name}"))
        };
        let scaling = Llama3Scaling {
            factor: value("factor", self.factor)?,
            low_freq_factor: value("low_freq_factor", self.low_freq_factor)?,
            high_freq_factor: value("high_freq_factor", self.high_freq_factor)?,
            original_context: value(
                "original_max_position_embeddings",
                self.original_max_position_embeddings,
            )?,
        };
        ensure!(
            scaling.low_freq_factor < scaling.high_freq_factor,
            "its RoPE scaling has a low_freq_factor that is not below its high_freq_factor"
        );
        Ok(Some(scaling))
    }
}
