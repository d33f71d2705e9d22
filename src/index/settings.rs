//! What an index is built with, whichever backend keeps it.

use serde::{Deserialize, Serialize};

use super::IndexError;
use crate::chunks::ChunkSettings;

/// Everything about an embedder that decides which vectors it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderIdentity {
    /// Catalogue entry and revision, `multilingual-e5-small@614241f`.
    pub id: String,
    /// Values in a vector.
    pub dimension: usize,
    /// How token vectors become one.
    pub pooling: String,
    /// What is put before a passage.
    pub passage_prefix: String,
}

/// What an index is built with. Indexes with equal settings can take over each other's chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The embedder.
    pub embedder: EmbedderIdentity,
    /// How documents are cut.
    pub chunking: ChunkSettings,
    /// Whether the vectors of single tokens are kept, for late interaction.
    pub token_vectors: bool,
}

impl Settings {
    /// Checks that an index that was built with these settings can be used with `wanted`.
    pub fn check(&self, wanted: &Self) -> Result<(), IndexError> {
        let built = self;
        let differs = |built: String, wanted: String| Err(IndexError::Mismatch { built, wanted });
        if built.embedder.id != wanted.embedder.id {
            return differs(built.embedder.id.clone(), wanted.embedder.id.clone());
        }
        if built.embedder != wanted.embedder {
            return differs(format!("{:?}", built.embedder), format!("{:?}", wanted.embedder));
        }
        if built.chunking != wanted.chunking {
            return differs(format!("{:?}", built.chunking), format!("{:?}", wanted.chunking));
        }
        if wanted.token_vectors && !built.token_vectors {
            return differs(
                "a reranker that needs no token vectors".to_owned(),
                "one that works on token vectors".to_owned(),
            );
        }
        Ok(())
    }
}
