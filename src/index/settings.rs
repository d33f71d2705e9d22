//! The settings an index is built with, for every backend.

use serde::{Deserialize, Serialize};

use super::IndexError;
use crate::chunks::ChunkSettings;
use crate::embedding::codes::{TokenCodes, in_settings};
use crate::text::analyze::ANALYZER;

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
    /// How token vectors are stored, for late interaction; absent if they are not.
    #[serde(with = "in_settings")]
    pub token_vectors: Option<TokenCodes>,
    /// Version of the analyzer that its terms come from. The first one was not recorded.
    #[serde(default = "first_analyzer", skip_serializing_if = "is_first_analyzer")]
    pub analyzer: u32,
}

fn first_analyzer() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_first_analyzer(analyzer: &u32) -> bool {
    *analyzer == first_analyzer()
}

impl Settings {
    /// Whether the terms come from an analyzer before this program's.
    pub fn has_old_terms(&self) -> bool {
        self.analyzer < ANALYZER
    }

    /// The same settings, for terms of this program's analyzer.
    #[must_use]
    pub fn with_new_terms(self) -> Self {
        Self { analyzer: ANALYZER, ..self }
    }

    /// Fails unless the terms are those that this program looks for.
    pub fn check_analyzer(&self) -> Result<(), IndexError> {
        match self.analyzer {
            ANALYZER => Ok(()),
            found => Err(IndexError::Analyzer { found, expected: ANALYZER }),
        }
    }

    /// Fails if both have token vectors, but in different codes.
    pub fn check_codes(&self, wanted: &Self) -> Result<(), IndexError> {
        let name = |codes: &TokenCodes| format!("token vectors in codes of {codes}");
        match (&self.token_vectors, &wanted.token_vectors) {
            (Some(built), Some(wanted)) if built != wanted => {
                Err(IndexError::Mismatch { built: name(built), wanted: name(wanted) })
            }
            _ => Ok(()),
        }
    }

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
        built.check_analyzer()?;
        if wanted.token_vectors.is_some() && built.token_vectors.is_none() {
            return differs(
                "a reranker that needs no token vectors".to_owned(),
                "one that works on token vectors".to_owned(),
            );
        }
        Ok(())
    }
}
