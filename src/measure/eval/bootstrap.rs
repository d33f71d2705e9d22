//! Confidence intervals for means over questions.

use serde::{Deserialize, Serialize};

use crate::support::random::SplitMix64;

/// Enough that the interval's ends vary by less than a tenth of its width between seeds.
const RESAMPLES: usize = 2000;
/// Share of resamples beyond each end of the interval: 2 × 2.5 % leaves 95 %.
const TAIL: f64 = 0.025;
const SEED: u64 = 1;

/// A mean with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Sample mean; 0 if there are no values.
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// Mean of one value per question, with its percentile bootstrap interval (Efron 1979).
pub fn estimate(values: &[f64]) -> Estimate {
    let mut random = SplitMix64::new(SEED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = values.iter().map(|_| values[random.below(values.len())]).sum();
            sum / values.len().max(1) as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let outside = (RESAMPLES as f64 * TAIL) as usize;
    Estimate { mean: mean(values), low: means[outside], high: means[RESAMPLES - 1 - outside] }
}

/// Arithmetic mean; 0 if there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 heads in 400 tosses: the normal approximation is 0.75 ± 1.96 · √(0.75 · 0.25 / 400).
    #[test]
    fn the_interval_is_that_of_theory() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 4 > 0))).collect();
        let Estimate { mean, low, high } = estimate(&values);
        assert!((mean - 0.75).abs() < 1e-12);
        assert!((low - 0.7076).abs() < 0.006 && (high - 0.7924).abs() < 0.006, "{low} {high}");
        assert_eq!(estimate(&values), estimate(&values));
    }

    #[test]
    fn equal_values_and_none_have_no_spread() {
        assert_eq!(estimate(&[0.5; 7]), Estimate { mean: 0.5, low: 0.5, high: 0.5 });
        assert_eq!(estimate(&[]), Estimate { mean: 0.0, low: 0.0, high: 0.0 });
    }
}
