//! Retrieval: a question → the passages that may answer it, best first.
//!
//! Dense and lexical candidates are fused by their scores, and the best of them reranked. Every
//! stage's score stays on the hit.

#[cfg(test)]
pub(crate) mod fixture;
mod fuse;
mod relevance;
pub mod rerank;
mod retriever;
mod stages;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::index::{ChunkId, Passage};
pub use relevance::{Relevance, Signals};
pub use retriever::Retriever;
pub use stages::{Candidate, Ranking, Stages};

/// The scores of a hit, stage by stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// Cosine of question and passage, −1 to 1.
    pub dense: f32,
    /// BM25, 0 or more.
    pub bm25: f32,
    /// See [`fuse::fused`].
    pub fused: f32,
    /// The reranker's; absent without a reranker, and below the candidates that it looked at.
    pub rerank: Option<f32>,
}

/// A passage found for a question.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Its number in the index.
    pub chunk: ChunkId,
    /// Its text and where it stands.
    pub passage: Passage,
    /// What it is ranked by; comparable within one question only.
    pub score: f32,
    /// What that was made from.
    pub scores: Scores,
}

/// What was found for a question.
#[derive(Debug, Clone)]
pub struct Retrieval {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How probable it is that the documents answer.
    pub relevance: Relevance,
    /// The question's own embedding, `[dim]`.
    pub question: Vec<f32>,
    /// Time to embed the question.
    pub embed: Duration,
    /// Time for both searches and their fusion.
    pub search: Duration,
    /// Time to rerank.
    pub rerank: Duration,
}
