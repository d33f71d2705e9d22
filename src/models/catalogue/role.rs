//! The role of a model: embedder, reranker or LLM.

use std::fmt;

use serde::Serialize;

/// The role of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Turns text into vectors.
    Embedder,
    /// Scores passages against a question.
    Reranker,
    /// Writes the answer.
    Llm,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedder => "an embedder",
            Self::Reranker => "a reranker",
            Self::Llm => "an LLM",
        })
    }
}
