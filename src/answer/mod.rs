//! Answering: a question → a cited answer, with everything that happened on the way.
//!
//! [`Conversation::ask`](conversation::Conversation::ask) is the one way in: it understands a
//! follow-up, finds passages, has the answer written or takes the passages' own sentences, checks
//! it and remembers it.

mod answerer;
mod citations;
pub mod conversation;
mod distinct;
mod event;
mod extractive;
mod merge;
mod refusal;
mod support;
mod write;

use std::path::PathBuf;

use serde::Serialize;

use crate::documents::Place;
use crate::generation::local::SamplingOptions;
use crate::prompt::PromptTemplate;
use crate::retrieval::Hit;

pub use answerer::Answerer;
pub use citations::{document_name, without_citations};
pub use conversation::{Conversation, RewriteTemplate};
pub use event::Event;
#[doc(hidden)]
pub use support::Judge;
pub use support::Unsupported;

/// How answers are made.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    /// Passages to answer from.
    pub top_k: usize,
    /// Never use the LLM.
    pub extractive: bool,
    /// Answer from the best passages, whatever their relevance.
    pub force: bool,
    /// How the LLM chooses tokens.
    pub sampling: SamplingOptions,
    /// What the LLM is asked with.
    pub prompt: PromptTemplate,
    /// What it is asked with to rewrite a follow-up.
    pub rewriting: RewriteTemplate,
    /// The folder that the names of cited documents are relative to, where they are below it.
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

/// Who wrote an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The LLM.
    Generative,
    /// The documents themselves.
    Extractive,
}

/// Why there is no answer, or only a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The index holds nothing.
    EmptyIndex,
    /// No word of the question occurs, and nothing is near it in meaning.
    NoMatch,
    /// Something was found, but probably not an answer.
    LowRelevance,
    /// The user interrupted.
    Interrupted,
    /// The answer reached the limit of tokens.
    MaxTokens,
}

/// A passage that an answer rests on.
#[derive(Debug, Clone, Serialize)]
pub struct Citation {
    /// Its number in the answer.
    pub n: usize,
    /// The document's id in the index: its path, or `path#id`.
    #[serde(skip)]
    pub document_id: String,
    /// The document's name for people: see [`AnswerOptions::names_below`].
    pub document: String,
    /// Heading path, `A > B`.
    pub heading: String,
    /// `lines` or `pages`, first and last, if the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Comparable within one question only.
    pub score: f32,
}

/// The device of each model; absent for one that was not used.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Placement {
    /// The embedder.
    pub embedder: Option<String>,
    /// The reranker.
    pub reranker: Option<String>,
    /// The LLM.
    pub llm: Option<String>,
}

/// How long each stage took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Timings {
    /// Rewriting a follow-up.
    pub rewrite: f64,
    /// Opening the index.
    pub load_index: f64,
    /// Embedding the question.
    pub embed: f64,
    /// Searching and fusing.
    pub search: f64,
    /// Reranking.
    pub rerank: f64,
    /// Loading the LLM; 0 when it was loaded already.
    pub load_llm: f64,
    /// Reading the prompt.
    pub prefill: f64,
    /// Writing the answer.
    pub decode: f64,
    /// Looking for support for its sentences in the passages.
    pub check: f64,
}

/// How many tokens the LLM read and wrote.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TokenCounts {
    /// Read.
    pub prompt: usize,
    /// Written.
    pub generated: usize,
}

/// An answer, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// What was searched for in a conversation, where that is not the question itself.
    pub searched: Option<String>,
    /// Whether the documents answer it.
    pub answered: bool,
    /// Why not, or why only in part.
    pub reason: Option<Reason>,
    /// Who wrote it.
    pub mode: Mode,
    /// The text; empty where the documents do not answer.
    pub answer: String,
    /// What it rests on.
    pub citations: Vec<Citation>,
    /// Sentences that the passages do not support, as far as that can be told.
    pub unsupported: Vec<Unsupported>,
    /// The LLM's name; absent where it did not write.
    pub model: Option<String>,
    /// Where the models ran.
    pub placement: Placement,
    /// How long it took.
    pub timings_ms: Timings,
    /// How many tokens it took.
    pub tokens: TokenCounts,
    /// The passages that it could have cited, with all scores.
    #[serde(skip)]
    pub hits: Vec<Hit>,
}
