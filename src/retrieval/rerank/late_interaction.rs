//! Late interaction: matches every question token with its most similar passage token (`MaxSim`,
//! Khattab and Zaharia 2020), using the embedder's own token vectors.
//!
//! The token vectors of an embedder share a large common component and rank better after subtracting
//! the corpus mean. Rare words get a higher weight.

use crate::compute::dense::scan::Query;
use crate::compute::simd::SimdLevel;
use crate::embedding::codes::{Coder, Decoded};
use crate::embedding::{Embedding, dot, normalize};

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

/// A question prepared for comparison with passages whose token vectors are coded.
///
/// A passage's token is p = b + s c: a base, and a scale times small integers. All that is needed of it are
/// products of c with directions that are known beforehand.
pub struct LateInteraction {
    coder: Coder,
    level: SimdLevel,
    /// The coder's base b.
    base: Precise,
    /// b − m, where m is the mean of the corpus.
    offset: Precise,
    /// b · b
    base_squared: f32,
    /// (b − m) · (b − m)
    offset_squared: f32,
    /// b · m
    base_mean: f32,
    query: Vec<Prepared>,
    /// m · m
    mean_squared: f32,
}

/// A token q of the question, with what its comparisons have in common.
struct Prepared {
    /// (q − m) / |q − m|
    direction: Query,
    /// (b − m) · (q − m) / |q − m|
    along_offset: f32,
    /// Shares of the weight of all tokens.
    weight: f32,
    general_weight: f32,
    /// |q|
    length: f32,
    /// |q − m|
    centred: f32,
    /// q · m
    along_mean: f32,
}

/// A direction that is rounded twice, so that its products are as good as those of floats: lengths depend
/// on it, and it may have a few values that are much larger than the others.
struct Precise {
    rough: Query,
    rest: Query,
}

impl Precise {
    fn new(direction: &[f32]) -> Self {
        let rough = Query::new(direction);
        let rest: Vec<f32> =
            rough.values().zip(direction).map(|(rounded, value)| value - rounded).collect();
        Self { rough, rest: Query::new(&rest) }
    }

    /// The products with the codes of each token, `[tokens]`.
    fn products(&self, level: SimdLevel, passage: &Decoded<'_>) -> Vec<f32> {
        let rough = products(&self.rough, level, passage);
        let rest = products(&self.rest, level, passage);
        rough.into_iter().zip(rest).map(|(rough, rest)| rough + rest).collect()
    }
}

/// The products of a direction with the codes of each token, `[tokens]`.
fn products(direction: &Query, level: SimdLevel, passage: &Decoded<'_>) -> Vec<f32> {
    let mut products = vec![0; passage.scales.len()];
    direction.products(level, &passage.codes, passage.stride, &mut products);
    products.into_iter().map(|product| product as f32 * direction.scale()).collect()
}

impl LateInteraction {
    /// For passages whose tokens `coder` decodes; `mean` is the mean token vector of the corpus, `[dim]`.
    pub fn new(coder: Coder, mean: &[f32], query: &[QueryToken]) -> Self {
        let total = |weight: fn(&QueryToken) -> f32| {
            let total: f32 = query.iter().map(weight).sum();
            if total > 0.0 { total } else { 1.0 }
        };
        let (weights, general) = (total(|token| token.weight), total(|token| token.general_weight));
        let mut vectors = vec![mean.to_vec()];
        vectors.extend(query.iter().map(|token| token.vector.clone()));
        let turned = coder.turned(&vectors);
        let (base, mean) = (coder.base(), &turned[0]);
        let offset: Vec<f32> = base.iter().zip(mean).map(|(base, mean)| base - mean).collect();
        let prepare = |(token, vector): (&QueryToken, &Vec<f32>)| {
            let mut direction: Vec<f32> = vector.iter().zip(mean).map(|(q, m)| q - m).collect();
            let centred = normalize(&mut direction);
            Prepared {
                along_offset: dot(&direction, &offset),
                direction: Query::new(&direction),
                weight: token.weight / weights,
                general_weight: token.general_weight / general,
                length: dot(vector, vector).sqrt(),
                centred,
                along_mean: dot(vector, mean),
            }
        };
        Self {
            query: query.iter().zip(&turned[1..]).map(prepare).collect(),
            base_squared: dot(&base, &base),
            offset_squared: dot(&offset, &offset),
            base_mean: dot(&base, mean),
            mean_squared: dot(mean, mean),
            base: Precise::new(&base),
            offset: Precise::new(&offset),
            level: SimdLevel::detect(),
            coder,
        }
    }

    /// For passages that are embedded for the comparison.
    pub fn with_embedded(mean: &[f32], query: &[QueryToken]) -> Self {
        Self::new(Coder::eight_bit(mean.len()), mean, query)
    }

    /// Compares a passage that was embedded with its token vectors.
    pub fn maxsim_of(&self, passage: &Embedding) -> MaxSim {
        self.maxsim(&self.coder.encode(&passage.tokens))
    }

    /// Compares a passage with the question: the coded vectors of its tokens, `[tokens, bytes]`.
    pub fn maxsim(&self, passage: &[u8]) -> MaxSim {
        let passage = self.coder.decode(passage);
        if passage.scales.is_empty() {
            return MaxSim::default();
        }
        let tokens = self.tokens(&passage);
        let mut maxsim = MaxSim::default();
        for query in &self.query {
            // No less than this; a token whose scale is no number counts as such.
            let mut best = MaxSim { centred: -1.0, plain: -query.length };
            let products = products(&query.direction, self.level, &passage);
            for (token, product) in tokens.iter().zip(products) {
                // (p − m) · (q − m) / |q − m|
                let along = query.along_offset + token.scale * product;
                // What rounding leaves of a token that is nearly the mean must not look like more.
                let cosine = (along * token.inverse_centred).clamp(-1.0, 1.0);
                // p · q = (p − m) · (q − m) + p · m + q · m − m · m
                let along = cosine * token.centred * query.centred;
                let plain = along + token.along_mean + query.along_mean - self.mean_squared;
                best.centred = best.centred.max(cosine);
                best.plain = best.plain.max(plain * token.inverse_length);
            }
            maxsim.centred += query.weight * best.centred;
            maxsim.plain += query.general_weight * best.plain / query.length.max(f32::MIN_POSITIVE);
        }
        maxsim
    }

    /// What the comparisons of a passage's tokens have in common.
    fn tokens(&self, passage: &Decoded<'_>) -> Vec<Token> {
        let along_base = self.base.products(self.level, passage);
        let along_offset = self.offset.products(self.level, passage);
        let along = along_base.into_iter().zip(along_offset);
        let codes = passage.scales.iter().zip(&passage.squares);
        let token =
            |((along_base, along_offset), (&scale, &square)): ((f32, f32), (&f32, &i32))| {
                let own = scale * scale * square as f32;
                // |b + s c|² = b · b + 2 s (b · c) + s² c · c, which rounding may make negative.
                let squared = |constant: f32, along: f32| {
                    (constant + 2.0 * scale * along + own).max(0.0).sqrt()
                };
                let length = squared(self.base_squared, along_base);
                let centred = squared(self.offset_squared, along_offset);
                Token {
                    scale,
                    along_mean: self.base_mean + scale * (along_base - along_offset),
                    inverse_length: 1.0 / length.max(f32::MIN_POSITIVE),
                    inverse_centred: if centred > 0.0 { 1.0 / centred } else { 0.0 },
                    centred,
                }
            };
        along.zip(codes).map(token).collect()
    }
}

/// A token p of a passage.
struct Token {
    scale: f32,
    /// p · m
    along_mean: f32,
    /// 1 / |p|
    inverse_length: f32,
    /// |p − m|
    centred: f32,
    /// 1 / |p − m|; 0 if that is 0.
    inverse_centred: f32,
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::embedding::codes::TokenCodes;

    fn query(vectors: &[(&[f32], f32)]) -> Vec<QueryToken> {
        let token = |&(vector, weight): &(&[f32], f32)| QueryToken {
            vector: vector.to_vec(),
            weight,
            general_weight: 1.0,
        };
        vectors.iter().map(token).collect()
    }

    /// What the rounding to 8 bits may make of a cosine.
    const STEP: f32 = 1.0 / 127.0;

    fn maxsim(question: &LateInteraction, passage: &[Vec<f32>]) -> MaxSim {
        question.maxsim(&question.coder.encode(passage))
    }

    #[test]
    fn each_token_takes_its_best_match() {
        let mean = [0.0, 0.0];
        let late_interaction = LateInteraction::with_embedded(
            &mean,
            &query(&[(&[1.0, 0.0], 1.0), (&[0.0, 1.0], 3.0)]),
        );
        let maxsim = maxsim(&late_interaction, &[vec![2.0, 0.0], vec![3.0, 4.0]]);
        // The first token's best cosine is 1, the second's 0.8, weighted 1 : 3 and 1 : 1.
        assert!((maxsim.centred - (0.25 + 0.75 * 0.8)).abs() < STEP);
        assert!((maxsim.plain - (0.5 + 0.5 * 0.8)).abs() < STEP);
    }

    #[test]
    fn what_all_tokens_share_counts_only_where_it_is_asked_for() {
        let mean = [10.0, 0.0];
        let late_interaction =
            LateInteraction::with_embedded(&mean, &query(&[(&[10.0, 1.0], 1.0)]));
        let same = maxsim(&late_interaction, &[vec![10.0, 1.0]]);
        assert!((same.centred - 1.0).abs() < STEP && (same.plain - 1.0).abs() < STEP);
        let other = maxsim(&late_interaction, &[vec![10.0, -1.0]]);
        assert!((other.centred + 1.0).abs() < STEP);
        assert!((other.plain - 99.0 / 101.0).abs() < STEP, "(100 − 1) / (100 + 1)");
        // A token that is the mean has no direction without it.
        let mean_itself = maxsim(&late_interaction, &[vec![10.0, 0.0]]);
        assert_eq!(mean_itself.centred, 0.0);
        assert!((mean_itself.plain - 100.0 / (10.0 * 101f32.sqrt())).abs() < STEP);
    }

    #[test]
    fn bytes_that_are_no_vectors_give_a_score_all_the_same() {
        let coder = Coder::new(&TokenCodes::FourBit, 4).unwrap();
        let question = LateInteraction::new(coder, &[0.1; 4], &query(&[(&[1.0; 4], 1.0)]));
        for scale in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY, f16::MAX] {
            let [low, high] = scale.to_le_bytes();
            let MaxSim { centred, plain } = question.maxsim(&[low, high, 0x31, 0xff]);
            assert!((-1.0..=1.0).contains(&centred) && plain.is_finite(), "{centred} {plain}");
        }
    }

    #[test]
    fn nothing_to_compare_scores_zero() {
        let mean = [0.0, 0.0];
        let none = LateInteraction::with_embedded(&mean, &[]);
        assert_eq!(maxsim(&none, &[vec![1.0, 0.0]]), MaxSim::default());
        let one = LateInteraction::with_embedded(&mean, &query(&[(&[1.0, 0.0], 0.0)]));
        assert_eq!(maxsim(&one, &[]), MaxSim::default());
        assert_eq!(maxsim(&one, &[vec![0.0, 0.0]]), MaxSim::default());
    }
}
