//! Confidence intervals for means over questions.

use serde::{Deserialize, Serialize};

use crate::support::random::SplitMix64;

/// Enough that the interval's ends vary by less than a tenth of its width between seeds.
const RESAMPLES: usize = 2000;
/// Share of resamples beyond each end of the interval: 2 × 2.5 % leaves 95 %.
const TAIL: f64 = 0.025;
const SEED: u64 = 1;
/// The quantile of the normal distribution that leaves [`TAIL`] beyond it.
const Z: f64 = 1.959_964;

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

/// The 95 % interval of a share, `some` of `all` (Wilson 1927), which holds for few cases and for shares
/// near 0 and 1, too.
pub fn share_interval(some: usize, all: usize) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (all as f64, some as f64 / all as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
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

    /// 3 of 20: (0.052, 0.360), as R's `prop.test(3, 20, correct = FALSE)` and statsmodels have it.
    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        let (low, high) = share_interval(3, 20);
        assert!((low - 0.0524).abs() < 5e-4 && (high - 0.3604).abs() < 5e-4, "{low} {high}");
        assert_eq!(share_interval(0, 0), (0.0, 1.0));
        assert!(share_interval(0, 20).0 < 1e-9 && share_interval(20, 20).1 > 1.0 - 1e-9);
    }
}
