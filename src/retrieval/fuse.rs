//! Fusion of the dense and the lexical score, and of late interaction with both.
//!
//! By score and not by rank: reciprocal rank fusion (Cormack et al. 2009) lets a lexical ranking
//! that is noise outvote the dense one where question and text are in different languages. The
//! weights and what they were chosen on are in docs/retrieval.md.

/// Weight of the lexical share against the cosine.
const SHARE_WEIGHT: f32 = 0.4;
/// Weights of cosine and lexical share against late interaction, which says better than the cosine
/// what the cosine says.
const COSINE_BESIDE_LATE: f32 = 0.5;
const SHARE_BESIDE_LATE: f32 = 0.6;

/// A BM25 score as a share, 0 to 1, of the highest that the question could reach.
pub fn share(bm25: f32, best_possible: f32) -> f32 {
    if best_possible > 0.0 { bm25 / best_possible } else { 0.0 }
}

/// Cosine plus lexical share. Where the question's words do not occur the share is near zero, and
/// the dense ranking decides by itself.
pub fn fused(cosine: f32, share: f32) -> f32 {
    cosine + SHARE_WEIGHT * share
}

/// All three, once late interaction is known.
pub fn with_late_interaction(cosine: f32, share: f32, late: f32) -> f32 {
    COSINE_BESIDE_LATE * cosine + SHARE_BESIDE_LATE * share + late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_lexical_evidence_the_dense_order_stays() {
        assert!(fused(0.9, share(0.0, 20.0)) > fused(0.85, share(0.0, 20.0)));
        assert_eq!(share(3.0, 0.0), 0.0);
    }

    #[test]
    fn words_that_match_lift_a_passage() {
        assert!(fused(0.85, share(15.0, 20.0)) > fused(0.9, share(2.0, 20.0)));
    }
}
