//! Fusion of dense, lexical and late-interaction scores.
//!
//! Scores are fused rather than ranks: when question and text are in different languages,
//! reciprocal rank fusion (Cormack et al. 2009) lets a noisy lexical ranking outvote the dense one.
//! docs/retrieval.md has the weights and the data they were tuned on.

/// Weight of normalized BM25 relative to the cosine.
const BM25_WEIGHT: f32 = 0.4;
/// Weights of the cosine and of normalized BM25 next to late interaction, which captures the same
/// signal as the cosine, only better.
const COSINE_BESIDE_MAXSIM: f32 = 0.5;
const BM25_BESIDE_MAXSIM: f32 = 0.6;

/// BM25 as a fraction, 0 to 1, of the highest score possible for the question.
pub fn normalized_bm25(bm25: f32, best_possible: f32) -> f32 {
    if best_possible > 0.0 { bm25 / best_possible } else { 0.0 }
}

/// Cosine plus weighted normalized BM25. The latter is near zero if the question's words do not
/// occur, which leaves the ranking to the cosine.
pub fn fused(cosine: f32, normalized_bm25: f32) -> f32 {
    cosine + BM25_WEIGHT * normalized_bm25
}

/// Fuses all three scores, once late interaction has run.
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
