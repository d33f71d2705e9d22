//! The settings an index is built with, for every backend.

use serde::{Deserialize, Serialize};

use super::IndexError;
use crate::chunks::ChunkSettings;

/// Everything about an embedder that affects its vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderIdentity {
    /// Catalogue key and revision, `multilingual-e5-small@614241f`.
    pub id: String,
    /// Length of a vector.
    pub dimension: usize,
    /// How token vectors are pooled into one.
    pub pooling: String,
    /// Prefix added to every passage.
    pub passage_prefix: String,
}

/// The settings an index is built with. Chunks can be copied between indexes with equal settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The embedder.
    pub embedder: EmbedderIdentity,
    /// How documents are split into chunks.
    pub chunking: ChunkSettings,
    /// Whether token vectors are stored, for late interaction.
    pub token_vectors: bool,
}

impl Settings {
    /// Fails unless an index built with these settings can be used with `wanted`.
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
