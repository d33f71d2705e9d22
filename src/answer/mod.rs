//! Answering: a question → a cited answer, with timings, scores and diagnostics.
//!
//! [`Conversation::ask`](conversation::Conversation::ask) is the entry point: it resolves
//! follow-ups, retrieves passages, generates or extracts the answer, checks its support and adds
//! the turn to the history.

mod answerer;
mod citations;
pub mod conversation;
mod distinct;
mod event;
mod extractive;
mod frame;
mod judging;
mod merge;
mod refusal;
mod support;
mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::documents::Place;
use crate::generation::local::SamplingOptions;
use crate::prompt::PromptTemplate;
use crate::retrieval::{Gate, Hit};

pub use answerer::Answerer;
pub use citations::{document_name, without_citations};
pub use conversation::{Conversation, RewriteTemplate};
pub use event::{Event, Pace};
#[doc(hidden)]
pub use support::Judge;
pub use support::Unsupported;

/// Options that apply to every answer. Templates are settings of a server, and not sent to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnswerOptions {
    /// Maximum passages to answer from.
    pub top_k: usize,
    /// Always answer extractively, without the LLM.
    pub extractive: bool,
    /// Answer from the best passages even if their relevance is low.
    pub force: bool,
    /// Sampling parameters for the LLM.
    pub sampling: SamplingOptions,
    /// Prompt template for answers.
    #[serde(skip)]
    pub prompt: PromptTemplate,
    /// Prompt template for rewriting follow-ups.
    #[serde(skip)]
    pub rewriting: RewriteTemplate,
    /// Folder that the names of cited documents inside it are shown relative to.
    pub names_below: Option<PathBuf>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self {
            top_k: 5,
            extractive: false,
            force: false,
            sampling: SamplingOptions::default(),
            prompt: PromptTemplate::default(),
            rewriting: RewriteTemplate::default(),
            names_below: None,
        }
    }
}

/// How an answer was produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Written by the LLM.
    Generative,
    /// Sentences quoted from the passages.
    Extractive,
}

/// Why an answer is missing or incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The index is empty.
    EmptyIndex,
    /// No word of the question occurs in the documents, and nothing is close in meaning.
    NoMatch,
    /// Passages were found, but they probably do not answer the question.
    LowRelevance,
    /// The LLM read the passages, and they probably do not answer the question.
    NotInPassages,
    /// The user interrupted the run.
    Interrupted,
    /// The answer reached the token limit.
    MaxTokens,
    /// The server's content filter ended the answer.
    ContentFilter,
}

/// How likely an answer is: what retrieval made of the question, which of its two gates decided
/// (docs/retrieval.md), and what the LLM made of the passages.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Judgement {
    /// That the documents answer the question, 0 to 1.
    pub probability: f32,
    /// The gate that the question had to pass.
    pub gate: Gate,
    /// The probability below which that gate refuses; absent if relevance is not calibrated for the
    /// embedder, and nothing is refused.
    pub refused_below: Option<f32>,
    /// What the LLM made of the passages; absent if it was not asked.
    pub llm: Option<LlmJudgement>,
}

/// What an LLM that was asked whether its passages answer made of them (docs/retrieval.md).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LlmJudgement {
    /// The LLM's ln P(yes) − ln P(no).
    pub log_odds: f32,
    /// That the passages answer, by the LLM's word and retrieval's together, 0 to 1.
    pub probability: f32,
    /// The probability below which the question is refused.
    pub refused_below: f32,
}

/// Who says that a passage belongs to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CitedBy {
    /// The LLM, by its number in the answer.
    Model,
    /// This program: the LLM cited nothing, and this passage supports a sentence best.
    Support,
    /// This program: the answer quotes it.
    Quotation,
}

/// A passage that an answer cites.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Citation {
    /// Its number in the answer, from 1.
    pub n: usize,
    /// The document's id in the index: its path, or `path#id`.
    #[serde(skip)]
    pub document_id: String,
    /// Display name: see [`AnswerOptions::names_below`].
    pub document: String,
    /// The name of its index, where several are asked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Headings above the passage, `A > B`.
    pub heading: String,
    /// First and last line, page, row, slide or second, if the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Whether the text, or part of it, was recognized in a picture.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recognized: bool,
    /// Comparable only within one question.
    pub score: f32,
    /// Absent where nobody cites it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cited_by: Option<CitedBy>,
}

/// A passage that an answer was written or quoted from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadPassage {
    #[serde(flatten)]
    pub source: Citation,
    /// Whether the answer cites it.
    pub cited: bool,
    /// Its text in the document.
    pub text: String,
}

/// The device each model ran on; absent for models that were not used.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Placement {
    /// Device of the embedder.
    pub embedder: Option<String>,
    /// Device of the reranker.
    pub reranker: Option<String>,
    /// Device of the LLM, or the server that ran it.
    pub llm: Option<String>,
}

/// Time per stage, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Rewriting a follow-up.
    pub rewrite: f64,
    /// Opening the index.
    pub load_index: f64,
    /// Embedding the question.
    pub embed: f64,
    /// Both searches and their fusion.
    pub search: f64,
    /// Reranking.
    pub rerank: f64,
    /// Loading the LLM; 0 if it was already loaded.
    pub load_llm: f64,
    /// Processing the prompt.
    pub prefill: f64,
    /// Asking the LLM whether the passages answer.
    pub judge: f64,
    /// Generating or extracting the answer.
    pub decode: f64,
    /// Checking the answer's sentences against the passages.
    pub check: f64,
}

/// Token counts of the LLM call.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Tokens in the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub generated: usize,
}

/// An answer, serialized as is by `--json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The question as asked, byte for byte.
    pub question: String,
    /// The query that was searched for, if it differs from the question.
    pub searched: Option<String>,
    /// Whether the documents answer the question.
    pub answered: bool,
    /// Why the answer is missing or incomplete.
    pub reason: Option<Reason>,
    /// How likely the documents are to answer, as retrieval judges it.
    pub relevance: Judgement,
    /// How it was produced.
    pub mode: Mode,
    /// Answer text; empty if `answered` is false.
    pub answer: String,
    /// The passages that the answer cites.
    pub citations: Vec<Citation>,
    /// All passages that it was written or quoted from.
    pub passages: Vec<ReadPassage>,
    /// Sentences for which no support was found in the passages.
    pub unsupported: Vec<Unsupported>,
    /// Name of the LLM; absent for an extractive answer.
    pub model: Option<String>,
    /// The device each model ran on.
    pub placement: Placement,
    /// Time per stage.
    pub timings_ms: Timings,
    /// Tokens read and generated by the LLM.
    pub tokens: TokenCounts,
    /// The passages available for citation, with all their scores.
    #[serde(skip)]
    pub hits: Vec<Hit>,
}

impl Answer {
    /// The sources to show: the passages that the answer cites, or else all that it was written from.
    pub fn sources(&self) -> Vec<&Citation> {
        match self.citations.as_slice() {
            [] => self.passages.iter().map(|passage| &passage.source).collect(),
            citations => citations.iter().collect(),
        }
    }
}
