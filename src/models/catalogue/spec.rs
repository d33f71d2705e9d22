//! What an entry says beyond the part that all models share: one type for each role.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How an embedder makes one vector out of the token vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens that are not padding.
    Mean,
    /// The vector of the first token.
    Cls,
}

/// How the matrices of an encoder are kept and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point, the reference.
    #[default]
    F32,
    /// Integer codes with a scale for each 64: seven bits for weights, rounded once; eight for
    /// activations, rounded as they come. Everything between the products stays in floating point.
    Int8,
}

/// What an embedder's entry says beyond the common part.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderSpec {
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Stands before every question.
    pub query_prefix: String,
    /// Stands before every passage.
    pub passage_prefix: String,
    /// The longest input in tokens, special tokens and prefix included.
    pub max_tokens: usize,
    /// The length of a vector.
    pub dimension: usize,
    /// How probable it is that the documents answer, by what was found; absent: not calibrated.
    #[serde(default)]
    pub relevance: Option<Calibration>,
    /// Below which a passage does not support a sentence; absent: not calibrated.
    #[serde(default)]
    pub support: Option<SupportThresholds>,
    /// The fastest precision that was measured to be good enough.
    #[serde(default)]
    pub precision: Precision,
    /// A file of [`LanguageDirections`](crate::embedding::LanguageDirections), by which vectors become
    /// the same in all languages; absent: vectors stay as the model makes them.
    #[serde(default)]
    pub language_directions: Option<PathBuf>,
}

/// The least sum of coverage and cosine by which a passage supports a sentence of an answer
/// (docs/prompt.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SupportThresholds {
    /// Where both are in one language.
    pub same_language: f32,
    /// Where they are in two, or where that cannot be told.
    pub across_languages: f32,
}

/// What an embedder's relevance was calibrated to (docs/retrieval.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Question and passage in one language, with late interaction.
    pub within: Logistic,
    /// In two, with late interaction.
    pub across: Logistic,
    /// A Vietnamese question without its marks, with late interaction.
    pub unmarked: Logistic,
    /// In one language, by cosine and coverage alone. Across languages these cannot tell.
    pub without_late: Logistic,
}

/// Weights of a logistic regression over what retrieval found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logistic {
    /// Of the best cosine.
    pub cosine: f32,
    /// Of the share of the question that its best passage covers.
    pub coverage: f32,
    /// Of the best late interaction.
    pub late: f32,
    /// Of nothing.
    pub bias: f32,
    /// Probability below which a question is refused; 0: none is.
    pub refuse_below: f32,
}

/// What a reranker's entry says beyond the common part.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RerankerSpec {
    /// A sequence classifier that reads question and passage together.
    CrossEncoder {
        /// The longest pair in tokens, special tokens included.
        max_tokens: usize,
        /// The fastest precision that was measured to be good enough.
        #[serde(default)]
        precision: Precision,
    },
    /// `MaxSim` over the embedder's token vectors: no files of its own.
    LateInteraction {},
}

/// The form of an LLM's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LlmFormat {
    /// One file with quantized weights, tokenizer and chat template.
    Gguf,
    /// A Hugging Face folder.
    Safetensors,
}

/// What an LLM's entry says beyond the common part.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LlmSpec {
    /// The form of the weights.
    #[serde(rename = "kind")]
    pub format: LlmFormat,
    /// Prompt plus answer in tokens; absent: what the model file says.
    #[serde(default)]
    pub context: Option<usize>,
    /// Language codes it may write, by trial; absent: any.
    #[serde(default)]
    pub answers_in: Option<Vec<String>>,
    /// The most passages it makes sense of, by trial; absent: as many as its context holds.
    #[serde(default)]
    pub passages: Option<usize>,
}

/// The part of an entry that depends on the role.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum ModelSpec {
    /// Text to vectors.
    Embedder(EmbedderSpec),
    /// Scores passages against the question.
    Reranker(RerankerSpec),
    /// Writes the answer.
    Llm(LlmSpec),
}
