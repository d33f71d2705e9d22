//! Fusion of the dense and the lexical score.
//!
//! By score and not by rank: reciprocal rank fusion (Cormack et al. 2009) lets a lexical ranking
//! that is noise outvote the dense one where question and text are in different languages, and
//! threw away nDCG on every set that was measured (docs/retrieval.md).

/// Weight of the lexical share against the cosine, from XQuAD's Vietnamese and cross-lingual sets.
const SHARE_WEIGHT: f32 = 0.4;
/// Weight of late interaction where the lexical share is 0.
const LATE_WEIGHT: f32 = 0.25;

/// A BM25 score as a share, 0 to 1, of the highest that the question could reach.
pub fn share(bm25: f32, best_possible: f32) -> f32 {
    if best_possible > 0.0 { bm25 / best_possible } else { 0.0 }
}

/// Cosine plus lexical share. Where the question's words do not occur the share is near zero, and
/// the dense ranking decides by itself.
pub fn fused(cosine: f32, share: f32) -> f32 {
    cosine + SHARE_WEIGHT * share
}

/// Adds late interaction, whose weight falls as the lexical share grows: it lifts questions in
/// another language than the text, and adds nothing where the words themselves match.
pub fn with_late_interaction(fused: f32, late: f32, share: f32) -> f32 {
    fused + LATE_WEIGHT * (1.0 - share) * late
}
