//! Fusion of the dense and the lexical score, and of late interaction with both.
//!
//! By score and not by rank: reciprocal rank fusion (Cormack et al. 2009) lets a lexical ranking
//! that is noise outvote the dense one where question and text are in different languages. The
//! weights and what they were chosen on are in docs/retrieval.md.

/// Weight of normalized BM25 against the cosine.
const BM25_WEIGHT: f32 = 0.4;
/// Weights of the cosine and of normalized BM25 against late interaction, which measures what the
/// cosine measures, only better.
const COSINE_BESIDE_MAXSIM: f32 = 0.5;
const BM25_BESIDE_MAXSIM: f32 = 0.6;

/// A BM25 score as a share, 0 to 1, of the highest that the question could reach.
pub fn normalized_bm25(bm25: f32, best_possible: f32) -> f32 {
    if best_possible > 0.0 { bm25 / best_possible } else { 0.0 }
}

/// Cosine plus normalized BM25. Where the question's words do not occur, the latter is near zero,
/// and the dense ranking decides alone.
pub fn fused(cosine: f32, normalized_bm25: f32) -> f32 {
    cosine + BM25_WEIGHT * normalized_bm25
}

/// All three scores, once late interaction is known.
pub fn with_maxsim(cosine: f32, normalized_bm25: f32, maxsim: f32) -> f32 {
    COSINE_BESIDE_MAXSIM * cosine + BM25_BESIDE_MAXSIM * normalized_bm25 + maxsim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_lexical_evidence_the_dense_order_stays() {
        let none = normalized_bm25(0.0, 20.0);
        assert!(fused(0.9, none) > fused(0.85, none));
        assert_eq!(normalized_bm25(3.0, 0.0), 0.0);
    }

    #[test]
    fn words_that_match_lift_a_passage() {
        let (many, few) = (normalized_bm25(15.0, 20.0), normalized_bm25(2.0, 20.0));
        assert!(fused(0.85, many) > fused(0.9, few));
    }
}
