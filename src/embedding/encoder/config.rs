//! What an encoder's `config.json` says.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use crate::models::json;

/// The families of encoders. Their layers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Devlin et al. 2019.
    Bert,
    /// Conneau et al. 2020.
    XlmRoberta,
}

/// What a checkpoint's `config.json` says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct EncoderConfig {
    /// Which names its tensors have, and how positions are counted.
    #[serde(rename = "model_type")]
    pub family: Family,
    /// Size of a token vector.
    #[serde(rename = "hidden_size")]
    pub hidden: usize,
    /// Blocks of attention and feed-forward network.
    #[serde(rename = "num_hidden_layers")]
    pub layers: usize,
    /// Attention heads; a divisor of `hidden`.
    #[serde(rename = "num_attention_heads")]
    pub heads: usize,
    /// Size of the feed-forward network's inner vector.
    #[serde(rename = "intermediate_size")]
    pub intermediate: usize,
    /// Rows of the token table.
    #[serde(rename = "vocab_size")]
    pub vocabulary: usize,
    /// Rows of the position table.
    #[serde(rename = "max_position_embeddings")]
    positions: usize,
    /// Rows of the table of token types.
    #[serde(rename = "type_vocab_size", default = "one")]
    pub types: usize,
    /// What keeps layer normalization from dividing by zero.
    #[serde(rename = "layer_norm_eps", default = "epsilon")]
    pub epsilon: f32,
    #[serde(rename = "pad_token_id", default)]
    pad: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn one() -> usize {
    1
}

fn epsilon() -> f32 {
    1e-12
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl EncoderConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// It cannot be read, or describes an encoder that this program does not have.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Typed {
            model_type: String,
        }
        let Typed { model_type } = json::read(path)?;
        if !["bert", "xlm-roberta"].contains(&model_type.as_str()) {
            bail!(
                "{} describes a {model_type:?} model; embedders and rerankers can be \"bert\" or \
                 \"xlm-roberta\"",
                path.display()
            );
        }
        let config: Self = json::read(path)?;
        let has = |what: &str, value: &str| {
            format!(
                "{} says {what} = {value}, which this program does not have; choose another model",
                path.display()
            )
        };
        ensure!(config.hidden_act == "gelu", has("hidden_act", &config.hidden_act));
        let positions = &config.position_embedding_type;
        ensure!(positions == "absolute", has("position_embedding_type", positions));
        let Self { hidden, heads, layers, intermediate, vocabulary, types, .. } = config;
        // Far above any published encoder; with these, no product of sizes overflows.
        let sensible = (1..=1 << 14).contains(&hidden)
            && (1..=1 << 10).contains(&layers)
            && (1..=1 << 16).contains(&intermediate)
            && (1..=1 << 24).contains(&vocabulary)
            && (1..=1 << 20).contains(&config.positions)
            && (1..=1 << 10).contains(&types)
            && heads > 0
            && hidden.is_multiple_of(heads);
        ensure!(sensible, "{} has impossible sizes; download it again", path.display());
        Ok(config)
    }

    /// Tokens that a text may have.
    pub fn max_tokens(&self) -> usize {
        self.positions.saturating_sub(self.first_position())
    }

    /// The first token's row of the position table. XLM-RoBERTa's positions start after the padding
    /// token's own (fairseq's convention).
    pub fn first_position(&self) -> usize {
        match self.family {
            Family::Bert => 0,
            Family::XlmRoberta => self.pad.saturating_add(1),
        }
    }

    /// Rows of the position table.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Prefix of the encoder's tensors in a checkpoint that has a head beside it.
    pub fn prefix(&self) -> &'static str {
        match self.family {
            Family::Bert => "bert.",
            Family::XlmRoberta => "roberta.",
        }
    }
}
