//! Reranking: a closer look at the best candidates, on the CPU.

mod cross_encoder;
mod late_interaction;

pub use cross_encoder::CrossEncoder;
pub use late_interaction::{LateInteraction, QueryToken};

use crate::models::LazyModel;

/// How candidates are reranked.
pub enum Reranker {
    /// By a model that reads each pair; its scores replace the first stage's.
    CrossEncoder(Box<LazyModel<CrossEncoder>>),
    /// By the embedder's token vectors, which the index keeps; its scores are added to the first
    /// stage's.
    LateInteraction,
}
