//! Reranking of the best candidates, on the CPU.

mod cross_encoder;
mod late_interaction;

pub use cross_encoder::CrossEncoder;
pub use late_interaction::{LateInteraction, MaxSim, QueryToken};

use anyhow::Result;

use crate::models::LazyModel;

/// How candidates are reranked.
pub enum Reranker {
    /// A model that reads question and passage together; its scores replace the first stage's.
    CrossEncoder(Box<LazyModel<CrossEncoder>>),
    /// The embedder's token vectors, stored in the index; its scores are added to the first
    /// stage's.
    LateInteraction,
}

impl Reranker {
    /// Loads its model, if it has one of its own that is not loaded yet.
    pub fn load(&self) -> Result<()> {
        match self {
            Self::CrossEncoder(model) => model.get().map(drop),
            Self::LateInteraction => Ok(()),
        }
    }
}
