//! The configuration of a Llama model, from GGUF metadata or a Hugging Face `config.json`.
//!
//! Unknown features are rejected on load rather than silently ignored.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;

use super::rope::Llama3Scaling;
use crate::compute::rope::RopeLayout;
use crate::generation::local::checkpoint::gguf::{BETTER_FILE, integer};
use crate::models::json;

/// Sanity limits far above any model of this architecture; they keep products of three sizes within
/// 64 bits. For vector lengths:
const MAX_WIDTH: usize = 1 << 22;
/// For layers, heads and head dimensions:
const MAX_COUNT: usize = 1 << 12;
/// For tokens:
const MAX_CONTEXT: usize = 1 << 31;

/// Key of the norms' epsilon, which every GGUF file must have.
const EPSILON: &str = "llama.attention.layer_norm_rms_epsilon";

/// Keys that imply computations other than a Llama's.
const OTHER_COMPUTATIONS: [&str; 10] = [
    "llama.attention.causal",
    "llama.attention.clamp_kqv",
    "llama.attention.max_alibi_bias",
    "llama.attention.scale",
    "llama.attention.sliding_window",
    "llama.attn_logit_softcapping",
    "llama.embedding_scale",
    "llama.final_logit_softcapping",
    "llama.logit_scale",
    "llama.residual_scale",
];

/// What to download instead of an unsupported model.
const A_LLAMA: &str = "a Llama 3 model, such as Llama-3.1-8B-Instruct in Q4_K_M";

/// Hyperparameters of a model.
#[derive(Debug, Clone, PartialEq)]
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
    pub rope_layout: RopeLayout,
    /// From `config.json`; a GGUF file stores the resulting divisors as a tensor.
    pub rope_scaling: Option<Llama3Scaling>,
    /// Use the embedding as output matrix, even if the checkpoint has a separate one.
    pub tied: bool,
    /// Context length the model was trained for, in tokens.
    pub context: usize,
}

impl LlamaConfig {
    /// Parses the metadata of a GGUF file with `vocabulary` tokens.
    ///
    /// # Errors
    /// Names the key that is missing or that implies a computation other than a Llama's, and what
    /// to download instead.
    pub fn from_gguf(metadata: &HashMap<String, Value>, vocabulary: usize) -> Result<Self> {
        let keys = Keys(metadata);
        match keys.text("general.architecture")? {
            Some("llama") => {}
            Some(other) => bail!(
                "it holds a {other:?} model; this program runs the architecture \"llama\": \
                 download {A_LLAMA}"
            ),
            None => {
                bail!("it does not say its architecture (general.architecture); download {A_LLAMA}")
            }
        }
        keys.check_computation()?;
        let hidden = keys.required("llama.embedding_length")?;
        let heads = keys.required("llama.attention.head_count")?;
        let head_dim = match keys.number("llama.attention.key_length")? {
            Some(length) => length,
            None => hidden.checked_div(heads).context("llama.attention.head_count is 0")?,
        };
        for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
            let found = keys.number(key)?.unwrap_or(head_dim);
            ensure!(
                found == head_dim,
                "{key} is {found}, but a Llama has the size of its heads there, {head_dim}; \
                 download {A_LLAMA}"
            );
        }
        Self {
            hidden,
            layers: keys.required("llama.block_count")?,
            heads,
            kv_heads: keys.number("llama.attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            feed_forward: keys.required("llama.feed_forward_length")?,
            vocabulary,
            norm_epsilon: keys.real(EPSILON)?.with_context(|| lacks(EPSILON))?,
            rope_theta: keys.real("llama.rope.freq_base")?.unwrap_or(10_000.0) as f32,
            rope_layout: RopeLayout::Interleaved,
            rope_scaling: None,
            tied: false,
            context: keys.required("llama.context_length")?,
        }
        .checked()
    }

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
            kind == "llama",
            "{} describes a {kind:?} model; this program runs \"llama\" models: download {A_LLAMA}",
            path.display()
        );
        let file: HuggingFaceConfig = serde_json::from_slice(&json)
            .with_context(|| format!("{} is not the configuration of a Llama", path.display()))?;
        file.check_computation(path)?;
        let scaling = file.rope_parameters.or(file.rope_scaling);
        let theta = scaling.as_ref().and_then(|scaling| scaling.rope_theta);
        let rope_scaling = match scaling {
            None => None,
            Some(scaling) => {
                scaling.rule().with_context(|| format!("cannot use {}", path.display()))?
            }
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
            rope_layout: RopeLayout::HalfSplit,
            rope_scaling,
            tied: file.tie_word_embeddings,
            context: file.max_position_embeddings,
        }
        .checked()
        .with_context(|| format!("cannot use {}", path.display()))
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
            self.head_dim.is_multiple_of(2),
            "heads of {} values cannot be rotated in pairs",
            self.head_dim
        );
        ensure!(
            self.rope_theta.is_finite() && self.rope_theta > 0.0,
            "the model's RoPE base is {}",
            self.rope_theta
        );
        ensure!(
            (0.0..1.0).contains(&self.norm_epsilon),
            "the epsilon of the model's norms is {}",
            self.norm_epsilon
        );
        Ok(self)
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

fn lacks(key: &str) -> String {
    format!("it has no metadata {key:?}; {BETTER_FILE}")
}

/// Typed access to GGUF metadata.
struct Keys<'a>(&'a HashMap<String, Value>);

impl<'a> Keys<'a> {
    fn number(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        let number = integer(value).and_then(|number| usize::try_from(number).ok());
        let number = number
            .with_context(|| format!("{key} is not one number, as a Llama has; {BETTER_FILE}"))?;
        Ok(Some(number))
    }

    fn required(&self, key: &str) -> Result<usize> {
        self.number(key)?.with_context(|| lacks(key))
    }

    fn real(&self, key: &str) -> Result<Option<f64>> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::F32(number)) => Ok(Some(f64::from(*number))),
            Some(Value::F64(number)) => Ok(Some(*number)),
            Some(_) => bail!("{key} is not a number with a fraction; {BETTER_FILE}"),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => bail!("{key} is not text; {BETTER_FILE}"),
        }
    }

    /// Rejects settings that would change a Llama's computation.
    ///
    /// Source: llama.cpp, which reads these keys for every architecture (`load_hparams` in
    /// llama-model.cpp). GGUF files of Llama 3.1 have no scaling type: their scaling is a tensor.
    fn check_computation(&self) -> Result<()> {
        if let Some(kind) = self.text("llama.rope.scaling.type")?.filter(|kind| *kind != "none") {
            bail!(
                "it asks for RoPE scaling {kind:?}, which this program does not know; download \
                 {A_LLAMA}"
            );
        }
        for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
            // llama.cpp treats 0 as absent.
            let neutral = [0.0, 1.0];
            if let Some(factor) = self.real(key)?.filter(|factor| !neutral.contains(factor)) {
                bail!(
                    "it asks for linear RoPE scaling ({key} is {factor}), which this program does \
                     not know; download {A_LLAMA}"
                );
            }
        }
        let experts = self.number("llama.expert_count")?.unwrap_or(0);
        ensure!(
            experts == 0,
            "it is a mixture of {experts} experts (llama.expert_count), which this program does \
             not know; download {A_LLAMA}"
        );
        for key in OTHER_COMPUTATIONS {
            let plain = match (key, self.0.get(key)) {
                (_, None) | ("llama.attention.causal", Some(Value::Bool(true))) => true,
                (_, Some(Value::F32(number))) => *number == 0.0,
                (_, Some(value)) => integer(value) == Some(0),
            };
            ensure!(plain, "it asks for {key}, which a Llama 3 does not have; download {A_LLAMA}");
        }
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
                "it asks for RoPE scaling {kind:?}, which this program does not know; download \
                 {A_LLAMA}"
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
