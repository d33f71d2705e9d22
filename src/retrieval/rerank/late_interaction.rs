//! Late interaction: matches every question token with its most similar passage token (`MaxSim`,
//! Khattab and Zaharia 2020), using the embedder's own token vectors.
//!
//! The token vectors of an embedder share a large common component and rank better after subtracting
//! the corpus mean. Rare words get a higher weight.

use crate::embedding::{dot, normalize};

/// A token of the question.
pub struct QueryToken {
    /// `[dim]`, as produced by the embedder.
    pub vector: Vec<f32>,
    /// The weight of the word it belongs to.
    pub weight: f32,
}

/// A question prepared for comparison with passages.
pub struct LateInteraction<'a> {
    mean: &'a [f32],
    query: Vec<QueryToken>,
}

impl<'a> LateInteraction<'a> {
    /// `mean` is what is subtracted from every token vector: the mean of the corpus, `[dim]`, or
    /// nothing if it is empty.
    pub fn new(mean: &'a [f32], mut query: Vec<QueryToken>) -> Self {
        for token in &mut query {
            centre(&mut token.vector, mean);
        }
        let total: f32 = query.iter().map(|token| token.weight).sum();
        if total > 0.0 {
            for token in &mut query {
                token.weight /= total;
            }
        }
        Self { mean, query }
    }

    /// The weighted mean, over the question's tokens, of the highest cosine with a passage token;
    /// −1 to 1. `passage` is `[tokens, dim]`.
    pub fn maxsim(&self, passage: &[Vec<f32>]) -> f32 {
        if passage.is_empty() {
            return 0.0;
        }
        let mut best = vec![f32::NEG_INFINITY; self.query.len()];
        let mut centred = Vec::new();
        for token in passage {
            centred.clone_from(token);
            centre(&mut centred, self.mean);
            for (best, query) in best.iter_mut().zip(&self.query) {
                *best = best.max(dot(&centred, &query.vector));
            }
        }
        self.query.iter().zip(best).map(|(token, best)| token.weight * best).sum()
    }
}

fn centre(vector: &mut [f32], mean: &[f32]) {
    vector.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
    normalize(vector);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(vectors: &[(&[f32], f32)]) -> Vec<QueryToken> {
        let token =
            |&(vector, weight): &(&[f32], f32)| QueryToken { vector: vector.to_vec(), weight };
        vectors.iter().map(token).collect()
    }

    #[test]
    fn each_token_takes_its_best_match() {
        let mean = [0.0, 0.0];
        let late_interaction =
            LateInteraction::new(&mean, query(&[(&[1.0, 0.0], 1.0), (&[0.0, 1.0], 3.0)]));
        let passage = vec![vec![2.0, 0.0], vec![3.0, 4.0]];
        // The first token's best cosine is 1, the second's 0.8, weighted 1 : 3.
        assert!((late_interaction.maxsim(&passage) - (0.25 + 0.75 * 0.8)).abs() < 1e-6);
    }

    #[test]
    fn what_all_tokens_share_does_not_count() {
        let mean = [10.0, 0.0];
        let late_interaction = LateInteraction::new(&mean, query(&[(&[10.0, 1.0], 1.0)]));
        assert!((late_interaction.maxsim(&[vec![10.0, 1.0]]) - 1.0).abs() < 1e-6);
        assert!((late_interaction.maxsim(&[vec![10.0, -1.0]]) + 1.0).abs() < 1e-6);
    }

    #[test]
    fn without_a_mean_vectors_are_compared_as_they_are() {
        let late_interaction = LateInteraction::new(&[], query(&[(&[10.0, 1.0], 1.0)]));
        let cosine = (100.0 - 1.0) / (100.0 + 1.0);
        assert!((late_interaction.maxsim(&[vec![10.0, -1.0]]) - cosine).abs() < 1e-6);
    }

    #[test]
    fn nothing_to_compare_scores_zero() {
        let mean = [0.0, 0.0];
        assert_eq!(LateInteraction::new(&mean, Vec::new()).maxsim(&[vec![1.0, 0.0]]), 0.0);
        assert_eq!(LateInteraction::new(&mean, query(&[(&[1.0, 0.0], 0.0)])).maxsim(&[]), 0.0);
    }
}
