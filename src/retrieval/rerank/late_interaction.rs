//! Late interaction: matches every question token with its most similar passage token (`MaxSim`,
//! Khattab and Zaharia 2020), using the embedder's own token vectors.
//!
//! The token vectors of an embedder share a large common component and rank better after subtracting
//! the corpus mean. Rare words get a higher weight.

use crate::compute::dense::rows;
use crate::compute::simd::SimdLevel;
use crate::embedding::{dot, normalize};

/// A token of the question.
pub struct QueryToken {
    /// `[dim]`, as produced by the embedder.
    pub vector: Vec<f32>,
    /// The idf of the word it belongs to.
    pub weight: f32,
    /// What that word says in general, whatever the corpus is about.
    pub general_weight: f32,
}

/// Weighted means, over the question's tokens, of the highest cosine with a passage token; −1 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MaxSim {
    /// Of vectors without the mean of the corpus, with the words' idf: for ranking.
    pub centred: f32,
    /// Of vectors as they are, with what words say in general: for judging whether a passage answers,
    /// because the mean of a corpus about one thing is that thing.
    pub plain: f32,
}

/// A question prepared for comparison with passages.
pub struct LateInteraction {
    /// The mean m of the corpus, then each token q of the question as (q − m) / |q − m|,
    /// `[1 + query, dim]`.
    directions: Vec<f32>,
    query: Vec<Prepared>,
    /// m · m
    mean_squared: f32,
    level: SimdLevel,
}

/// A token q of the question, with what its comparisons have in common.
struct Prepared {
    /// Shares of the weight of all tokens.
    weight: f32,
    general_weight: f32,
    /// |q|
    length: f32,
    /// |q − m|
    centred: f32,
    /// q · m
    along_mean: f32,
    /// m · (q − m) / |q − m|
    offset: f32,
}

impl LateInteraction {
    /// `mean` is the mean token vector of the corpus, `[dim]`.
    pub fn new(mean: &[f32], query: Vec<QueryToken>) -> Self {
        let total = |weight: fn(&QueryToken) -> f32| {
            let total: f32 = query.iter().map(weight).sum();
            if total > 0.0 { total } else { 1.0 }
        };
        let (weights, general) = (total(|token| token.weight), total(|token| token.general_weight));
        let mut directions = mean.to_vec();
        let prepare = |QueryToken { mut vector, weight, general_weight }| {
            let (length, along_mean) = (dot(&vector, &vector).sqrt(), dot(&vector, mean));
            vector.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
            let centred = normalize(&mut vector);
            let offset = dot(&vector, mean);
            directions.extend(vector);
            let (weight, general_weight) = (weight / weights, general_weight / general);
            Prepared { weight, general_weight, length, centred, along_mean, offset }
        };
        let query = query.into_iter().map(prepare).collect();
        let (mean_squared, level) = (dot(mean, mean), SimdLevel::detect());
        Self { directions, query, mean_squared, level }
    }

    /// Compares a passage, `[tokens, dim]`, with the question.
    pub fn maxsim(&self, passage: &[Vec<f32>]) -> MaxSim {
        if passage.is_empty() {
            return MaxSim::default();
        }
        let worst = MaxSim { centred: f32::NEG_INFINITY, plain: f32::NEG_INFINITY };
        let mut best = vec![worst; self.query.len()];
        let mut products = vec![0f32; 1 + self.query.len()];
        for token in passage {
            let squared = rows::products(self.level, token, &self.directions, &mut products);
            let along_mean = products[0];
            // (p − m) · (p − m) = p · p − 2 p · m + m · m, which rounding may make negative.
            let rest = (squared - 2.0 * along_mean + self.mean_squared).max(0.0).sqrt();
            for ((best, query), product) in best.iter_mut().zip(&self.query).zip(&products[1..]) {
                let cosine = if rest > 0.0 { (product - query.offset) / rest } else { 0.0 };
                // What rounding leaves of a token that is nearly the mean must not look like more.
                let cosine = cosine.clamp(-1.0, 1.0);
                // (p − m) · (q − m) = p · q − p · m − q · m + m · m, so that one product gives both.
                let plain = cosine * rest * query.centred + along_mean + query.along_mean
                    - self.mean_squared;
                let plain = plain / (squared.sqrt() * query.length).max(f32::MIN_POSITIVE);
                *best = MaxSim { centred: best.centred.max(cosine), plain: best.plain.max(plain) };
            }
        }
        let sum = |of: &dyn Fn((&Prepared, MaxSim)) -> f32| {
            self.query.iter().zip(best.iter().copied()).map(of).sum()
        };
        MaxSim {
            centred: sum(&|(token, best)| token.weight * best.centred),
            plain: sum(&|(token, best)| token.general_weight * best.plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(vectors: &[(&[f32], f32)]) -> Vec<QueryToken> {
        let token = |&(vector, weight): &(&[f32], f32)| QueryToken {
            vector: vector.to_vec(),
            weight,
            general_weight: 1.0,
        };
        vectors.iter().map(token).collect()
    }

    #[test]
    fn each_token_takes_its_best_match() {
        let mean = [0.0, 0.0];
        let late_interaction =
            LateInteraction::new(&mean, query(&[(&[1.0, 0.0], 1.0), (&[0.0, 1.0], 3.0)]));
        let maxsim = late_interaction.maxsim(&[vec![2.0, 0.0], vec![3.0, 4.0]]);
        // The first token's best cosine is 1, the second's 0.8, weighted 1 : 3 and 1 : 1.
        assert!((maxsim.centred - (0.25 + 0.75 * 0.8)).abs() < 1e-6);
        assert!((maxsim.plain - (0.5 + 0.5 * 0.8)).abs() < 1e-6);
    }

    #[test]
    fn what_all_tokens_share_counts_only_where_it_is_asked_for() {
        let mean = [10.0, 0.0];
        let late_interaction = LateInteraction::new(&mean, query(&[(&[10.0, 1.0], 1.0)]));
        let same = late_interaction.maxsim(&[vec![10.0, 1.0]]);
        assert!((same.centred - 1.0).abs() < 1e-6 && (same.plain - 1.0).abs() < 1e-5);
        let other = late_interaction.maxsim(&[vec![10.0, -1.0]]);
        assert!((other.centred + 1.0).abs() < 1e-6);
        assert!((other.plain - 99.0 / 101.0).abs() < 1e-5, "(100 − 1) / (100 + 1)");
        // A token that is the mean has no direction without it.
        let mean_itself = late_interaction.maxsim(&[vec![10.0, 0.0]]);
        assert_eq!(mean_itself.centred, 0.0);
        assert!((mean_itself.plain - 100.0 / (10.0 * 101f32.sqrt())).abs() < 1e-5);
    }

    #[test]
    fn nothing_to_compare_scores_zero() {
        let mean = [0.0, 0.0];
        let none = LateInteraction::new(&mean, Vec::new());
        assert_eq!(none.maxsim(&[vec![1.0, 0.0]]), MaxSim::default());
        let one = LateInteraction::new(&mean, query(&[(&[1.0, 0.0], 0.0)]));
        assert_eq!(one.maxsim(&[]), MaxSim::default());
        assert_eq!(one.maxsim(&[vec![0.0, 0.0]]), MaxSim::default());
    }
}
