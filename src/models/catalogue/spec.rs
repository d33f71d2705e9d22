//! The role-specific part of a catalogue entry: one type per role.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::support::logistic::{logit, sigmoid};

/// How an embedder pools token vectors into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all non-padding tokens.
    Mean,
    /// The vector of the first token.
    Cls,
}

/// The number format of an encoder's weight matrices and products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point, the reference.
    #[default]
    F32,
    /// Integers with one scale per 64 values: 7-bit weights, quantized once, and 8-bit activations,
    /// quantized on the fly. Everything between the matrix products stays in floating point.
    Int8,
}

/// The embedder-specific part of an entry.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderSpec {
    /// How token vectors are pooled.
    pub pooling: Pooling,
    /// Prefix added to every question.
    pub query_prefix: String,
    /// Prefix added to every passage.
    pub passage_prefix: String,
    /// Maximum input length in tokens, including special tokens and prefix.
    pub max_tokens: usize,
    /// The most tokens of a chunk's text, without its headings; absent: 320.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_tokens: Option<usize>,
    /// Length of a vector.
    pub dimension: usize,
    /// Calibration of the probability that the documents answer; absent if not calibrated.
    #[serde(default)]
    pub relevance: Option<Calibration>,
    /// Thresholds for a passage to support a sentence; absent if not calibrated.
    #[serde(default)]
    pub support: Option<SupportThresholds>,
    /// The fastest precision that measurements showed to be accurate enough.
    #[serde(default)]
    pub precision: Precision,
    /// A file of language directions to remove from vectors, so that equal meanings have equal
    /// vectors in all languages; if absent, vectors stay as the model produces them.
    #[serde(default)]
    pub language_directions: Option<PathBuf>,
    /// The books that come with the program by which its token vectors are coded; if absent, they are
    /// stored in four bits a value.
    #[serde(default)]
    pub token_books: Option<TokenBooks>,
}

/// Names of books, as in `models/token-books`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBooks {
    /// One that ranks as the vectors themselves do.
    pub standard: String,
    /// A smaller one, with which the best passages are embedded again for each question.
    pub compact: String,
}

impl EmbedderSpec {
    /// Tokens of an input that are not a chunk's own text: 64 of headings, the prefix, special tokens,
    /// and what tokenizing the joined text may add.
    pub const BESIDE_TEXT: usize = 96;

    /// The largest [`chunk_tokens`](Self::chunk_tokens) that the model can read.
    pub fn largest_chunk(&self) -> usize {
        self.max_tokens.saturating_sub(Self::BESIDE_TEXT).max(1)
    }
}

/// Minimum sum of coverage and cosine at which a passage supports a sentence of an answer
/// (docs/prompt.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SupportThresholds {
    /// If passage and sentence are in the same language.
    pub same_language: f32,
    /// If passage and sentence are in different or unknown languages.
    pub across_languages: f32,
}

/// Relevance calibration of an embedder (docs/retrieval.md): one regression per situation.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Question and passage in the same language, with late interaction.
    pub within: Logistic,
    /// Question and passage in different languages, with late interaction.
    pub across: Logistic,
    /// A Vietnamese question without diacritics, with late interaction.
    pub unmarked: Logistic,
    /// Question and passage in the same language, from cosine and coverage alone; these are
    /// uninformative across languages.
    pub without_late: Logistic,
}

/// Weights of a logistic regression over retrieval signals, and the thresholds of its gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logistic {
    /// Weight of the best cosine.
    pub cosine: f32,
    /// Weight of the best passage's coverage of the question.
    pub coverage: f32,
    /// Weight of the best late-interaction score.
    pub late: f32,
    /// Weight of ln(chunks / 100): the best of many passages is nearer than the best of few.
    pub chunks: f32,
    /// Intercept.
    pub bias: f32,
    /// Questions with a lower probability are refused where nobody judges after the gate: the answer
    /// is quoted, or its LLM cannot judge. 0 refuses none.
    pub strict: f32,
    /// The same where an LLM reads the passages and may still say that they do not answer.
    pub careful: f32,
}

/// The reranker-specific part of an entry.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RerankerSpec {
    /// A sequence classifier that reads question and passage together.
    CrossEncoder {
        /// Maximum length of a pair in tokens, including special tokens.
        max_tokens: usize,
        /// The fastest precision that measurements showed to be accurate enough.
        #[serde(default)]
        precision: Precision,
    },
    /// `MaxSim` over the embedder's token vectors; has no files of its own.
    LateInteraction {},
}

/// File format of an LLM's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LlmFormat {
    /// A single file with quantized weights, tokenizer and chat template.
    Gguf,
    /// A folder in Hugging Face layout.
    Safetensors,
}

/// The LLM-specific part of an entry.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LlmSpec {
    /// File format of the weights.
    #[serde(rename = "kind")]
    pub format: LlmFormat,
    /// Limit on prompt plus answer, in tokens; taken from the model file if absent.
    #[serde(default)]
    pub context: Option<usize>,
    /// Codes of the languages it writes acceptably in tests; any language if absent.
    #[serde(default)]
    pub answers_in: Option<Vec<String>>,
    /// Maximum number of passages it copes with in tests; limited only by its context if absent.
    #[serde(default)]
    pub passages: Option<usize>,
    /// Texts that end an answer, besides the tokens and marks that its file names.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Whether it can tell that passages do not answer a question, so that retrieval refuses only
    /// what is hopeless.
    #[serde(default = "capable")]
    pub judges: bool,
    /// Calibration of its own word on whether the passages answer; it is not asked if absent.
    #[serde(default)]
    pub judge: Option<JudgeCalibration>,
}

/// Weights of a logistic regression over what retrieval and the LLM itself say, and the threshold of
/// its gate. `rag-query eval --calibrate` fits them.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeCalibration {
    /// Weight of the LLM's ln P(yes) − ln P(no).
    pub llm: f32,
    /// Weight of the logit of retrieval's probability.
    pub retrieval: f32,
    /// Intercept.
    pub bias: f32,
    /// Questions with a lower probability are refused.
    pub refused_below: f32,
}

impl JudgeCalibration {
    /// That the passages answer, 0 to 1, given the LLM's log-odds and retrieval's probability.
    pub fn probability(&self, log_odds: f32, relevance: f32) -> f32 {
        sigmoid(self.llm * log_odds + self.retrieval * logit(relevance) + self.bias)
    }
}

/// What an LLM is taken to be unless our own trials showed otherwise.
fn capable() -> bool {
    true
}

/// The role-specific part of an entry.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum ModelSpec {
    /// For a model that turns text into vectors.
    Embedder(EmbedderSpec),
    /// For a model that scores passages against a question.
    Reranker(RerankerSpec),
    /// For a model that writes the answer.
    Llm(LlmSpec),
}
