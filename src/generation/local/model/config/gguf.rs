//! The metadata of GGUF files.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::Value;

use super::{ANOTHER, LlamaConfig, MAX_COUNT, RopeScaling, Windows};
use crate::generation::local::checkpoint::gguf::{BETTER_FILE, integer};
use crate::generation::local::model::architecture::Architecture;

/// Keys that imply computations which no architecture here has.
const OTHER_COMPUTATIONS: [&str; 9] = [
    "attention.causal",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attn_logit_softcapping",
    "embedding_scale",
    "final_logit_softcapping",
    "logit_scale",
    "residual_scale",
];

const GEMMA_3: &str = "gemma3";
/// The base of the frequencies of Gemma 3's windows, where a file does not say it.
const WINDOW_THETA: f32 = 10_000.0;
/// The layers of Gemma 3 27B. Its scores are scaled for the width that its heads would have if they
/// shared the hidden state among them; files do not say so (`gemma3.cpp` of llama.cpp).
const LAYERS_OF_GEMMA_3_27B: usize = 62;

impl LlamaConfig {
    /// Parses the metadata of a GGUF file with `vocabulary` tokens.
    ///
    /// # Errors
    /// Names the key that is missing or that implies a computation other than the architecture's,
    /// and what to download instead.
    pub fn from_gguf(metadata: &HashMap<String, Value>, vocabulary: usize) -> Result<Self> {
        let keys = Keys::new(metadata)?;
        let architecture = keys.architecture;
        keys.check_computation()?;
        let hidden = keys.required("embedding_length")?;
        let heads = keys.required("attention.head_count")?;
        let head_dim = match keys.number("attention.key_length")? {
            Some(length) => length,
            None => hidden.checked_div(heads).context("its head_count is 0")?,
        };
        let rotated = keys.number("rope.dimension_count")?.unwrap_or(head_dim);
        for (key, found) in [
            ("attention.value_length", keys.number("attention.value_length")?.unwrap_or(head_dim)),
            ("rope.dimension_count", if architecture.rotates_part { head_dim } else { rotated }),
        ] {
            ensure!(
                found == head_dim,
                "{} is {found}, and not the size of the heads, {head_dim}, as in other models of the \
                 architecture; {ANOTHER}",
                keys.full(key)
            );
        }
        let (layers, context) = (keys.required("block_count")?, keys.required("context_length")?);
        let rope_theta = keys.real("rope.freq_base")?.unwrap_or(10_000.0) as f32;
        Self {
            architecture,
            hidden,
            layers,
            heads,
            kv_heads: keys.number("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            feed_forward: keys.required("feed_forward_length")?,
            vocabulary,
            norm_epsilon: {
                let key = "attention.layer_norm_rms_epsilon";
                keys.real(key)?.with_context(|| keys.lacks(key))?
            },
            rope_theta,
            rope_layout: architecture.rope_layout,
            rope_scaling: keys.rope_scaling()?,
            rotated,
            rope_magnitude: keys.real("rope.scaling.attn_factor")?.unwrap_or(1.0) as f32,
            windows: keys.windows(layers, context)?,
            score_scale: (architecture.name == GEMMA_3 && layers == LAYERS_OF_GEMMA_3_27B)
                .then(|| (heads as f32 / hidden as f32).sqrt()),
            tied: false,
            context,
        }
        .checked()
    }
}

/// Typed access to GGUF metadata, by keys without the architecture's name before them.
struct Keys<'a> {
    metadata: &'a HashMap<String, Value>,
    architecture: &'static Architecture,
}

impl<'a> Keys<'a> {
    fn new(metadata: &'a HashMap<String, Value>) -> Result<Self> {
        let key = "general.architecture";
        match metadata.get(key) {
            Some(Value::String(name)) => {
                let architecture = Architecture::named(name).with_context(|| {
                    format!(
                        "it holds a {name:?} model; this program runs {}: download one of these",
                        Architecture::list()
                    )
                })?;
                Ok(Self { metadata, architecture })
            }
            Some(_) => bail!("{key} is not text; {BETTER_FILE}"),
            None => bail!("it does not say its architecture ({key}); {ANOTHER}"),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.metadata.get(&self.full(key))
    }

    fn lacks(&self, key: &str) -> String {
        format!("it has no metadata {:?}; {BETTER_FILE}", self.full(key))
    }

    fn number(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = integer(value).and_then(|number| usize::try_from(number).ok());
        let number = number
            .with_context(|| format!("{} is not one number; {BETTER_FILE}", self.full(key)))?;
        Ok(Some(number))
    }

    fn required(&self, key: &str) -> Result<usize> {
        self.number(key)?.with_context(|| self.lacks(key))
    }

    fn real(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(number)) => Ok(Some(f64::from(*number))),
            Some(Value::F64(number)) => Ok(Some(*number)),
            Some(_) => bail!("{} is not a number with a fraction; {BETTER_FILE}", self.full(key)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => bail!("{} is not text; {BETTER_FILE}", self.full(key)),
        }
    }

    /// How the frequencies are scaled. Files of Llama 3.1 have no scaling type: their scaling is a
    /// tensor. Nor have those of Phi, which have two.
    ///
    /// Source: `load_hparams` in llama.cpp's llama-model.cpp.
    fn rope_scaling(&self) -> Result<RopeScaling> {
        let kind = self.text("rope.scaling.type")?;
        // llama.cpp treats 0 as absent.
        let given = |key| Ok::<_, anyhow::Error>(self.real(key)?.filter(|&factor| factor != 0.0));
        let factor = match given("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => given("rope.scale_linear")?,
        };
        match (kind, factor) {
            (None | Some("linear"), Some(factor)) if factor != 1.0 => {
                Ok(RopeScaling::Linear(factor as f32))
            }
            (None | Some("none" | "linear" | "longrope"), _) if self.architecture.rotates_part => {
                let original_context = self.number("rope.scaling.original_context_length")?;
                Ok(RopeScaling::Long { original_context: original_context.unwrap_or(usize::MAX) })
            }
            (None | Some("none" | "linear"), _) => Ok(RopeScaling::InFile),
            (Some(kind), _) => bail!(
                "it asks for RoPE scaling {kind:?}, which this program does not know; {ANOTHER}"
            ),
        }
    }

    /// The windows of a model of so many layers, which reads so many tokens.
    fn windows(&self, layers: usize, context: usize) -> Result<Option<Windows>> {
        let tokens = self.number("attention.sliding_window")?;
        let tokens = tokens.filter(|&tokens| tokens > 0 && tokens < context);
        let Some(tokens) = tokens else { return Ok(None) };
        let key = "attention.sliding_window_pattern";
        let listed = match self.get(key) {
            Some(Value::Array(list)) => {
                let each = list.iter().map(|value| match value {
                    Value::Bool(windowed) => Some(*windowed),
                    other => integer(other).map(|number| number != 0),
                });
                let each: Option<Vec<bool>> = each.collect();
                Some(each.filter(|each| each.len() == layers).with_context(|| {
                    format!("{} is not one truth for each layer; {BETTER_FILE}", self.full(key))
                })?)
            }
            _ => None,
        };
        let layers = if let Some(layers) = listed {
            layers
        } else {
            let usual = self.architecture.window_period.unwrap_or_default();
            let period = self.number(key)?.unwrap_or(usual);
            let has_window = |layer| period == 0 || layer % period < period - 1;
            (0..layers.min(MAX_COUNT)).map(has_window).collect()
        };
        let rope_theta = match self.real("rope.freq_base_swa")? {
            Some(theta) => Some(theta as f32),
            None => (self.architecture.name == GEMMA_3).then_some(WINDOW_THETA),
        };
        Ok(layers.contains(&true).then_some(Windows { tokens, layers, rope_theta }))
    }

    /// Rejects settings that would change the architecture's computation.
    ///
    /// Source: llama.cpp, which reads these keys for every architecture.
    fn check_computation(&self) -> Result<()> {
        let experts = self.number("expert_count")?.unwrap_or(0);
        ensure!(
            experts == 0,
            "it is a mixture of {experts} experts ({}), which this program does not know; {ANOTHER}",
            self.full("expert_count")
        );
        let window =
            Some("attention.sliding_window").filter(|_| self.architecture.window_period.is_none());
        for key in OTHER_COMPUTATIONS.into_iter().chain(window) {
            let plain = match (key, self.get(key)) {
                (_, None) | ("attention.causal", Some(Value::Bool(true))) => true,
                (_, Some(Value::F32(number))) => *number == 0.0,
                (_, Some(value)) => integer(value) == Some(0),
            };
            ensure!(
                plain,
                "it asks for {}, which {} models do not have; {ANOTHER}",
                self.full(key),
                self.architecture.models
            );
        }
        Ok(())
    }
}
