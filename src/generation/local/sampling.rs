//! Samples the next token from the logits.
//!
//! Steps are applied in llama.cpp's order: repeat penalty, top-k, top-p, min-p, temperature. So
//! top-p and min-p see the model's own probabilities, and a high temperature flattens only what
//! they keep.

use anyhow::{Context, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::compute::cuda;
use crate::support::random::SplitMix64;

/// Number of recent tokens subject to the repeat penalty.
const REPEAT_WINDOW: usize = 64;

const NO_LOGITS: &str = "the model computed no usable logits (all are NaN or infinite): its file \
                         may be damaged; check it with `rag-query models verify`, or download it \
                         again";

/// Sampling parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingOptions {
    /// Maximum length of the answer, in tokens.
    pub max_tokens: usize,
    /// Divides the logits; 0 means greedy decoding.
    pub temperature: f64,
    /// Keep only the k most likely tokens.
    pub top_k: Option<usize>,
    /// Keep only the most likely tokens that together reach this probability (nucleus sampling,
    /// Holtzman et al. 2020).
    pub top_p: Option<f64>,
    /// Keep only tokens at least this fraction as likely as the most likely one (Nguyen et al.
    /// 2024).
    pub min_p: Option<f64>,
    /// Penalizes the answer's most recent tokens: divides positive logits and multiplies negative
    /// ones (Keskar et al. 2019). At least 1, which disables it.
    pub repeat_penalty: f32,
    /// Seed of the random number generator.
    pub seed: u64,
    /// Whether to guess tokens from the prompt, which changes nothing but the speed.
    pub lookup: bool,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repeat_penalty: 1.05,
            seed: 0,
            lookup: true,
        }
    }
}

/// Samples the tokens of one answer.
pub struct Sampler<'a> {
    options: &'a SamplingOptions,
    random: SplitMix64,
    candidates: Vec<Candidate>,
    weights: Vec<f32>,
}

/// A candidate for the next token.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
}

impl Candidate {
    /// Most likely first; ties by id, so that a seed always yields the same answer.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that sorting asks for")]
    fn by_rank(&self, other: &Self) -> std::cmp::Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

impl<'a> Sampler<'a> {
    pub fn new(options: &'a SamplingOptions) -> Self {
        Self {
            options,
            random: SplitMix64::new(options.seed),
            candidates: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Samples the token after `answer`, given `logits`, `[vocabulary]` in `f32` on any device. On a
    /// GPU, a greedy choice is made there, which lowers the logits of recent tokens in place.
    ///
    /// # Errors
    /// Fails if no logit is finite, as with damaged weights.
    pub fn next(&mut self, logits: &Tensor, answer: &[u32]) -> Result<u32> {
        let recent = &answer[answer.len().saturating_sub(REPEAT_WINDOW)..];
        let SamplingOptions { temperature, repeat_penalty, .. } = *self.options;
        if !logits.device().is_cpu() && temperature <= 0.0 {
            let penalized = if repeat_penalty > 1.0 { recent } else { &[] };
            let (id, logit) = cuda::choose(logits, penalized, repeat_penalty)?;
            return logit.is_finite().then_some(id).context(NO_LOGITS);
        }
        self.choose(&mut logits.to_vec1::<f32>()?, recent)
    }

    /// Samples from logits on the host, after penalizing `recent` tokens in place. Non-finite
    /// logits are never chosen.
    fn choose(&mut self, logits: &mut [f32], recent: &[u32]) -> Result<u32> {
        penalize(logits, recent, self.options.repeat_penalty);
        let best = argmax(logits).context(NO_LOGITS)?;
        if self.options.temperature <= 0.0 {
            return Ok(best.id);
        }
        let finite = logits.iter().enumerate().filter(|(_, logit)| logit.is_finite());
        self.candidates.clear();
        self.candidates.extend(finite.map(|(id, &logit)| Candidate { id: id as u32, logit }));
        if let Some(k) = self.options.top_k {
            keep_top_k(&mut self.candidates, k);
        }
        if let Some(p) = self.options.top_p {
            keep_top_p(&mut self.candidates, p, best.logit);
        }
        if let Some(p) = self.options.min_p {
            let min_logit = f64::from(best.logit) + p.ln();
            self.candidates.retain(|candidate| f64::from(candidate.logit) >= min_logit);
        }
        Ok(self.draw(best))
    }

    /// Draws a candidate at the configured temperature. `best` is the most likely one.
    fn draw(&mut self, best: Candidate) -> u32 {
        let temperature = self.options.temperature as f32;
        let weight = |candidate: &Candidate| ((candidate.logit - best.logit) / temperature).exp();
        self.weights.clear();
        self.weights.extend(self.candidates.iter().map(weight));
        let total: f64 = self.weights.iter().map(|&weight| f64::from(weight)).sum();
        let mut left = self.random.next() * total;
        for (candidate, &weight) in self.candidates.iter().zip(&self.weights) {
            left -= f64::from(weight);
            if left < 0.0 {
                return candidate.id;
            }
        }
        best.id // reached only through rounding
    }
}

/// Lowers the logits of `recent` tokens, each at most once.
fn penalize(logits: &mut [f32], recent: &[u32], penalty: f32) {
    if penalty <= 1.0 {
        return;
    }
    for (i, id) in recent.iter().enumerate() {
        if recent[..i].contains(id) {
            continue;
        }
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// The most likely token with a finite logit; the first on ties.
fn argmax(logits: &[f32]) -> Option<Candidate> {
    let mut best = Candidate { id: 0, logit: f32::NEG_INFINITY };
    for (id, &logit) in logits.iter().enumerate() {
        if logit > best.logit && logit < f32::INFINITY {
            best = Candidate { id: id as u32, logit };
        }
    }
    best.logit.is_finite().then_some(best)
}

/// Keeps the `k` most likely candidates, at least one.
fn keep_top_k(candidates: &mut Vec<Candidate>, k: usize) {
    let k = k.max(1);
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, Candidate::by_rank);
        candidates.truncate(k);
    }
}

/// Keeps the smallest set of most likely candidates with total probability `p`, at least one.
/// `best` is the highest logit.
fn keep_top_p(candidates: &mut Vec<Candidate>, p: f64, best: f32) {
    if p >= 1.0 {
        return;
    }
    let weight = |candidate: &Candidate| f64::from((candidate.logit - best).exp());
    let total: f64 = candidates.iter().map(weight).sum();
    // All tokens below this threshold together have a probability below 1 - p, so the others
    // suffice. This drops most of the vocabulary before sorting.
    let min_logit = best + ((1.0 - p) * total / candidates.len() as f64).ln() as f32;
    candidates.retain(|candidate| candidate.logit >= min_logit);
    candidates.sort_unstable_by(Candidate::by_rank);
    let mut reached = 0.0;
    let enough = candidates.iter().position(|candidate| {
        reached += weight(candidate);
        reached >= p * total
    });
    candidates.truncate(enough.map_or(candidates.len(), |last| last + 1));
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Unsorted, with a tie (the two 0.5) and some tokens that are hardly ever drawn.
    const LOGITS: [f32; 10] = [0.5, 2.0, -1.0, 1.2, 0.5, -8.0, 1.9, 0.0, -0.3, 1.0];
    const DRAWS: u32 = 100_000;

    fn options() -> SamplingOptions {
        SamplingOptions { temperature: 1.0, repeat_penalty: 1.0, ..SamplingOptions::default() }
    }

    fn counts(options: &SamplingOptions, recent: &[u32]) -> Vec<u32> {
        let mut sampler = Sampler::new(options);
        let mut counts = vec![0; LOGITS.len()];
        for _ in 0..DRAWS {
            counts[sampler.choose(&mut LOGITS.clone(), recent).unwrap() as usize] += 1;
        }
        counts
    }

    /// Probabilities of `logits` at a temperature; −∞ is excluded.
    fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
        let weights: Vec<f64> = logits.iter().map(|logit| (logit / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    fn logits() -> Vec<f64> {
        LOGITS.iter().map(|&logit| logit.into()).collect()
    }

    /// `LOGITS` with all other tokens excluded.
    fn only(kept: &[usize]) -> Vec<f64> {
        let left_out = |(id, logit)| if kept.contains(&id) { logit } else { f64::NEG_INFINITY };
        logits().into_iter().enumerate().map(left_out).collect()
    }

    /// Pearson's chi-square statistic over the tokens that can be drawn, and its degrees of
    /// freedom. Tokens expected fewer than five times share one cell (Cochran's rule). It is
    /// infinite if an impossible token was drawn.
    fn chi_square(counts: &[u32], probabilities: &[f64]) -> (f64, usize) {
        let (mut statistic, mut cells) = (0.0, 0);
        let (mut rare_count, mut rare_expected) = (0.0, 0.0);
        for (&count, &probability) in counts.iter().zip(probabilities) {
            let expected = probability * f64::from(DRAWS);
            if probability == 0.0 && count > 0 {
                return (f64::INFINITY, cells);
            } else if expected >= 5.0 {
                statistic += (f64::from(count) - expected).powi(2) / expected;
                cells += 1;
            } else {
                rare_count += f64::from(count);
                rare_expected += expected;
            }
        }
        if rare_expected > 0.0 {
            statistic += (rare_count - rare_expected).powi(2) / rare_expected;
            cells += 1;
        }
        (statistic, cells - 1)
    }

    /// Critical values by degrees of freedom, exceeded by chance for one seed in 1,000 (the 0.999
    /// quantile in any table of the χ² distribution).
    const CRITICAL: [f64; 10] =
        [0.0, 10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.124, 27.877];

    fn assert_drawn_by(probabilities: &[f64], options: &SamplingOptions, recent: &[u32]) {
        for seed in [1, 2, 3] {
            let options = SamplingOptions { seed, ..options.clone() };
            let (statistic, freedom) = chi_square(&counts(&options, recent), probabilities);
            assert!(
                statistic <= CRITICAL[freedom],
                "χ² = {statistic} with {freedom} degrees of freedom, seed {seed}"
            );
        }
    }

    #[test]
    fn temperature_divides_the_logits() {
        for temperature in [0.5, 1.0, 1.7] {
            let options = SamplingOptions { temperature, ..options() };
            assert_drawn_by(&softmax(&logits(), temperature), &options, &[]);
        }
    }

    /// Guards these tests: they must detect a different temperature, or one token too many.
    #[test]
    fn chi_square_notices_small_differences() {
        for wrong in [softmax(&logits(), 1.03), softmax(&only(&[0, 1, 2, 3, 4, 6, 7, 9]), 1.0)] {
            let (statistic, freedom) = chi_square(&counts(&options(), &[]), &wrong);
            assert!(statistic > CRITICAL[freedom], "χ² = {statistic}, {freedom}");
        }
    }

    #[test]
    fn top_k_leaves_the_likeliest_and_of_equal_ones_the_first() {
        let options = |k| SamplingOptions { top_k: Some(k), temperature: 1.3, ..options() };
        assert_drawn_by(&softmax(&only(&[1, 3, 6]), 1.3), &options(3), &[]);
        assert_drawn_by(&softmax(&only(&[1, 3, 6, 9, 0]), 1.3), &options(5), &[]);
        assert_drawn_by(&softmax(&only(&[1]), 1.3), &options(1), &[]);
        for all in [10, 11, usize::MAX] {
            assert_drawn_by(&softmax(&logits(), 1.3), &options(all), &[]);
        }
    }

    #[test]
    fn top_p_leaves_the_fewest_that_reach_it_at_temperature_1() {
        let options = |p| SamplingOptions { top_p: Some(p), temperature: 2.0, ..options() };
        // Cumulative probabilities, most likely first: 0.290, 0.552, 0.682, 0.788, …
        assert_drawn_by(&softmax(&only(&[1]), 2.0), &options(0.28), &[]);
        assert_drawn_by(&softmax(&only(&[1, 6]), 2.0), &options(0.30), &[]);
        assert_drawn_by(&softmax(&only(&[1, 6, 3]), 2.0), &options(0.60), &[]);
        assert_drawn_by(&softmax(&only(&[1, 6, 3, 9]), 2.0), &options(0.75), &[]);
        assert_drawn_by(&softmax(&logits(), 2.0), &options(1.0), &[]);
        assert_drawn_by(&softmax(&only(&[1]), 2.0), &options(f64::MIN_POSITIVE), &[]);
    }

    #[test]
    fn min_p_leaves_those_near_the_likeliest_at_temperature_1() {
        let options = |p| SamplingOptions { min_p: Some(p), temperature: 2.0, ..options() };
        // e^(1.2 − 2) = 0.449, e^(1 − 2) = 0.368, e^(0.5 − 2) = 0.223
        assert_drawn_by(&softmax(&only(&[1, 6]), 2.0), &options(0.45), &[]);
        assert_drawn_by(&softmax(&only(&[1, 6, 3, 9]), 2.0), &options(0.36), &[]);
        assert_drawn_by(&softmax(&only(&[1]), 2.0), &options(1.0), &[]);
        assert_drawn_by(&softmax(&logits(), 2.0), &options(0.0), &[]);
    }

    #[test]
    fn the_repeat_penalty_counts_each_recent_token_once() {
        let mut penalized = logits();
        penalized[1] = 2.0 / 1.5; // positive: divided
        penalized[2] *= 1.5; // negative: multiplied
        let options = SamplingOptions { repeat_penalty: 1.5, ..options() };
        // 99 is beyond the vocabulary.
        assert_drawn_by(&softmax(&penalized, 1.0), &options, &[1, 2, 1, 7, 99, 1]);
    }

    /// Penalty, then top-k, then top-p, then min-p, then temperature.
    #[test]
    fn the_rules_apply_in_llama_cpps_order() {
        let mut left = only(&[6, 3, 1]);
        left[1] = 2.0 / 1.8;
        let options = SamplingOptions {
            repeat_penalty: 1.8,
            top_k: Some(5),
            top_p: Some(0.73), // cumulative after top-k: 0.384, 0.575, 0.749, …
            min_p: Some(0.4),  // keeps these three; in another order a fourth would pass
            temperature: 1.5,
            ..options()
        };
        assert_drawn_by(&softmax(&left, 1.5), &options, &[1]);
    }

    /// Only part of the vocabulary is sorted; the result must equal that of a full sort.
    #[test]
    fn top_p_equals_a_full_sort_on_a_large_vocabulary() {
        let mut random = SplitMix64::new(9);
        let candidates: Vec<Candidate> =
            (0..100_000).map(|id| Candidate { id, logit: (random.next() * 12.0) as f32 }).collect();
        let best = candidates.iter().map(|c| c.logit).fold(0.0, f32::max);
        let weight = |c: &Candidate| f64::from((c.logit - best).exp());
        let total: f64 = candidates.iter().map(weight).sum();
        let mut sorted = candidates.clone();
        sorted.sort_by(Candidate::by_rank);
        for p in [1e-9, 1e-4, 0.003, 0.1, 0.9, 0.999, 0.999_99] {
            let mut reached = 0.0;
            let expected = sorted.iter().take_while(|c| {
                let enough = reached >= p * total;
                reached += weight(c);
                !enough
            });
            let expected: Vec<u32> = expected.map(|c| c.id).collect();
            let mut kept = candidates.clone();
            keep_top_p(&mut kept, p, best);
            assert_eq!(kept.iter().map(|c| c.id).collect::<Vec<_>>(), expected, "{p}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_tokens_and_another_seed_others() {
        let draw = |seed| -> Vec<u32> {
            let options = SamplingOptions { seed, ..options() };
            let mut sampler = Sampler::new(&options);
            (0..50).map(|_| sampler.choose(&mut LOGITS.clone(), &[]).unwrap()).collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn greedy_takes_the_first_of_equal_tokens_and_never_one_without_a_finite_logit() {
        let greedy = SamplingOptions { temperature: 0.0, ..options() };
        let choose = |logits: &[f32]| Sampler::new(&greedy).choose(&mut logits.to_vec(), &[]);
        assert_eq!(choose(&[1.0, 3.0, 3.0, 2.0]).unwrap(), 1);
        assert_eq!(choose(&[f32::NAN, 3.0, f32::INFINITY, 4.0]).unwrap(), 3);
        assert_eq!(choose(&[f32::NEG_INFINITY, -3.0]).unwrap(), 1);
        assert_eq!(choose(&[-7.0]).unwrap(), 0);
    }

    #[test]
    fn logits_without_a_finite_number_are_an_error() {
        for logits in [vec![], vec![f32::NAN; 5], vec![f32::NEG_INFINITY, f32::INFINITY]] {
            for temperature in [0.0, 1.0] {
                let options = SamplingOptions { temperature, top_p: Some(0.9), ..options() };
                let error = Sampler::new(&options).choose(&mut logits.clone(), &[]).unwrap_err();
                assert!(error.to_string().contains("damaged"), "{error}");
            }
        }
    }

    /// NaN and infinite logits must not affect how the others are drawn.
    #[test]
    fn sampling_skips_logits_that_are_not_finite() {
        let options = SamplingOptions { top_k: Some(3), top_p: Some(1.0), ..options() };
        let mut sampler = Sampler::new(&options);
        for _ in 0..1000 {
            let mut logits = [f32::NAN, 1.0, f32::INFINITY, 0.5, f32::NEG_INFINITY, -f32::NAN];
            assert!([1, 3].contains(&sampler.choose(&mut logits, &[]).unwrap()));
        }
    }

    /// The penalty covers the last 64 tokens.
    #[test]
    fn older_tokens_are_not_penalized() {
        let logits = Tensor::new(&[1.0f32, 0.9], &Device::Cpu).unwrap();
        let options = SamplingOptions { repeat_penalty: 2.0, ..SamplingOptions::default() };
        let mut answer = vec![5; 64];
        answer[0] = 0;
        assert_eq!(Sampler::new(&options).next(&logits, &answer).unwrap(), 1);
        answer.push(5);
        assert_eq!(Sampler::new(&options).next(&logits, &answer).unwrap(), 0);
    }
}
