//! What an entry says beyond what all models have in common: one type for each role.

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

/// How the matrices of an encoder are stored and multiplied.
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
    /// How token vectors become one vector.
    pub pooling: Pooling,
    /// Put before every question.
    pub query_prefix: String,
    /// Put before every passage.
    pub passage_prefix: String,
    /// The longest input in tokens, special tokens and prefix included.
    pub max_tokens: usize,
    /// The length of a vector.
    pub dimension: usize,
    /// How probable it is that the documents answer, given what was found; absent: not calibrated.
    #[serde(default)]
    pub relevance: Option<Calibration>,
    /// When a passage supports a sentence; absent: not calibrated.
    #[serde(default)]
    pub support: Option<SupportThresholds>,
    /// The fastest precision that measurements showed to be good enough.
    #[serde(default)]
    pub precision: Precision,
    /// A file of language directions, which are removed from vectors so that the same meaning has the
    /// same vector in all languages; absent: vectors stay as the model makes them.
    #[serde(default)]
    pub language_directions: Option<PathBuf>,
}

/// The smallest sum of coverage and cosine at which a passage supports a sentence of an answer
/// (docs/prompt.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SupportThresholds {
    /// Of passage and sentence in one language.
    pub same_language: f32,
    /// Of passage and sentence in two languages, or in unknown ones.
    pub across_languages: f32,
}

/// The calibrated relevance of an embedder (docs/retrieval.md): one regression for each situation.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Question and passage in one language, with late interaction.
    pub within: Logistic,
    /// Question and passage in two languages, with late interaction.
    pub across: Logistic,
    /// A Vietnamese question without diacritics, with late interaction.
    pub unmarked: Logistic,
    /// Question and passage in one language, by cosine and coverage alone, which say nothing across
    /// languages.
    pub without_late: Logistic,
}

/// Weights of a logistic regression over what retrieval found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logistic {
    /// Weight of the best cosine.
    pub cosine: f32,
    /// Weight of the share of the question that its best passage covers.
    pub coverage: f32,
    /// Weight of the best late interaction.
    pub late: f32,
    /// Added to the weighted sum.
    pub bias: f32,
    /// The probability below which a question is refused; at 0, none is.
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
        /// The fastest precision that measurements showed to be good enough.
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
    /// How many passages it makes sense of at most, by trial; absent: as many as its context holds.
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
