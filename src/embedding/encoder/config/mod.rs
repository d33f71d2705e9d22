//! What an encoder's `config.json` says.

mod modern_bert;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use crate::models::json;

pub use modern_bert::{ModernBert, Sight};

/// The families of encoders.
#[derive(Debug, Clone, PartialEq)]
pub enum Family {
    /// Devlin et al. 2019.
    Bert,
    /// Conneau et al. 2020. Its layers are those of BERT.
    XlmRoberta,
    /// Warner et al. 2024.
    ModernBert(ModernBert),
}

/// What a checkpoint's `config.json` says of itself.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    /// Which names its tensors have, how positions are counted, and what is in a layer.
    pub family: Family,
    /// Size of a token vector.
    pub hidden: usize,
    /// Blocks of attention and feed-forward network.
    pub layers: usize,
    /// Attention heads; a divisor of `hidden`.
    pub heads: usize,
    /// Size of the feed-forward network's inner vector.
    pub intermediate: usize,
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Positions that the model knows.
    positions: usize,
    /// Rows of the table of token types.
    pub types: usize,
    /// What keeps layer normalization from dividing by zero.
    pub epsilon: f32,
    pad: usize,
}

/// The fields that all families share.
#[derive(Deserialize)]
struct Sizes {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "one")]
    type_vocab_size: usize,
    #[serde(default)]
    pad_token_id: Option<usize>,
}

/// What BERT and XLM-RoBERTa leave open besides.
#[derive(Deserialize)]
struct Bert {
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
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

impl Bert {
    fn read(path: &Path) -> Result<Self> {
        let bert: Self = json::read(path)?;
        let activation = &bert.hidden_act;
        ensure!(activation == "gelu", lacking(path, "hidden_act", activation));
        let positions = &bert.position_embedding_type;
        ensure!(positions == "absolute", lacking(path, "position_embedding_type", positions));
        Ok(bert)
    }
}

/// What is said of a configuration that asks for something else than this program has.
fn lacking(path: &Path, what: &str, value: &str) -> String {
    format!(
        "{} says {what} = {value}, which this program does not have; choose another model",
        path.display()
    )
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
        if !["bert", "xlm-roberta", "modernbert"].contains(&model_type.as_str()) {
            bail!(
                "{} describes a {model_type:?} model; embedders and rerankers can be \"bert\", \
                 \"xlm-roberta\" or \"modernbert\"",
                path.display()
            );
        }
        let sizes: Sizes = json::read(path)?;
        ensure!(sizes.are_sensible(), "{} has impossible sizes; download it again", path.display());
        let (family, epsilon) = match model_type.as_str() {
            "bert" => (Family::Bert, Bert::read(path)?.layer_norm_eps),
            "xlm-roberta" => (Family::XlmRoberta, Bert::read(path)?.layer_norm_eps),
            _ => {
                let modern = ModernBert::read(path, sizes.num_hidden_layers)?;
                let dim = sizes.hidden_size / sizes.num_attention_heads;
                ensure!(dim.is_multiple_of(2), lacking(path, "a head's size", &dim.to_string()));
                let epsilon = modern.epsilon;
                (Family::ModernBert(modern), epsilon)
            }
        };
        Ok(Self {
            family,
            hidden: sizes.hidden_size,
            layers: sizes.num_hidden_layers,
            heads: sizes.num_attention_heads,
            intermediate: sizes.intermediate_size,
            vocabulary: sizes.vocab_size,
            positions: sizes.max_position_embeddings,
            types: sizes.type_vocab_size,
            epsilon,
            pad: sizes.pad_token_id.unwrap_or(0),
        })
    }

    /// Values of an attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// Tokens that a text may have.
    pub fn max_tokens(&self) -> usize {
        self.positions.saturating_sub(self.first_position())
    }

    /// The first token's row of the position table. XLM-RoBERTa's positions start after the padding
    /// token's own (fairseq's convention).
    pub fn first_position(&self) -> usize {
        match self.family {
            Family::Bert | Family::ModernBert(_) => 0,
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
            Family::ModernBert(_) => "model.",
        }
    }
}

impl Sizes {
    /// Far above any published encoder; with these, no product of sizes overflows.
    fn are_sensible(&self) -> bool {
        let heads = self.num_attention_heads;
        (1..=1 << 14).contains(&self.hidden_size)
            && (1..=1 << 10).contains(&self.num_hidden_layers)
            && (1..=1 << 16).contains(&self.intermediate_size)
            && (1..=1 << 24).contains(&self.vocab_size)
            && (1..=1 << 20).contains(&self.max_position_embeddings)
            && (1..=1 << 10).contains(&self.type_vocab_size)
            && heads > 0
            && self.hidden_size.is_multiple_of(heads)
    }
}
