//! What a model does: embed, rerank or write.

use std::fmt;

use serde::Serialize;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Text to vectors.
    Embedder,
    /// Scores passages against the question.
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
