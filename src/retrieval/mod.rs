//! Retrieval: a question → the passages that may answer it, best first.
//!
//! Dense and lexical candidates are fused by score, and the best are reranked. A hit carries the
//! score of every stage.

mod copies;
#[cfg(test)]
pub(crate) mod fixture;
mod fuse;
mod relevance;
pub mod rerank;
mod retriever;
mod score;
mod stages;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::index::{ChunkId, Passage};
use crate::support::milliseconds;
pub use relevance::{Gate, Relevance, Signals, Situation, Thresholds};
pub use retriever::Retriever;
pub use stages::{Candidate, Ranking, Stages};

/// The scores of a hit from each stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Cosine between question and passage, −1 to 1.
    pub dense: f32,
    /// BM25, 0 or more.
    pub bm25: f32,
    /// See [`fuse::fused`].
    pub fused: f32,
    /// The reranker's score; absent without a reranker, and for candidates too low to be reranked.
    pub rerank: Option<f32>,
}

/// A passage found for a question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hit {
    /// Its id in the index.
    pub chunk: ChunkId,
    /// Its text and source.
    pub passage: Passage,
    /// The final score that hits are sorted by; comparable only within one question.
    pub score: f32,
    /// The scores of each stage.
    pub scores: Scores,
    /// Other places of the same text; looked for only by [`Retriever::retrieve_texts`].
    pub copies: Vec<Passage>,
}

/// The result of a retrieval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Retrieval {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How likely the documents are to answer the question.
    pub relevance: Relevance,
    /// The question's embedding, `[dim]`; not sent to clients.
    #[serde(skip)]
    pub question: Vec<f32>,
    /// Time to embed the question.
    #[serde(rename = "embed_ms", with = "milliseconds")]
    pub embed: Duration,
    /// Time for both searches and their fusion.
    #[serde(rename = "search_ms", with = "milliseconds")]
    pub search: Duration,
    /// Time to rerank.
    #[serde(rename = "rerank_ms", with = "milliseconds")]
    pub rerank: Duration,
}
