//! Logistic regression: probabilities from several signals.

/// Largest odds that a probability is taken to express, as a logarithm: floats round to 0 and 1.
const MAX_LOGIT: f32 = 14.0;
/// Iterations of Newton's method; it converges in about ten.
const MAX_STEPS: usize = 100;
/// Strength of the quadratic penalty on standardized weights, as of one more question against
/// certainty: without it, perfectly separated labels would have no finite fit.
const PENALTY: f64 = 1.0;

/// 1 / (1 + exp(−x)).
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(p / (1 − p)), within bounds.
pub fn logit(probability: f32) -> f32 {
    (probability / (1.0 - probability)).ln().clamp(-MAX_LOGIT, MAX_LOGIT)
}

/// A fitted regression of `N` signals: the probability is `sigmoid(bias + Σ weight · signal)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit<const N: usize> {
    pub weights: [f32; N],
    pub bias: f32,
}

impl<const N: usize> Fit<N> {
    /// The maximum of the penalized likelihood, by Newton's method (Hastie, Tibshirani and Friedman,
    /// "The Elements of Statistical Learning", 4.4.1), with signals standardized before. Both classes
    /// weigh the same, however many cases each has. `None` unless there are cases of both.
    pub fn of(cases: &[([f32; N], bool)]) -> Option<Self> {
        let positive = cases.iter().filter(|(_, label)| *label).count();
        let negative = cases.len() - positive;
        if positive == 0 || negative == 0 {
            return None;
        }
        let weight = |label: bool| {
            0.5 * cases.len() as f64 / if label { positive as f64 } else { negative as f64 }
        };
        let (mean, deviation) = moments(cases);
        let standard = |signals: &[f32; N], at: usize| match at {
            0 => 1.0,
            at => (f64::from(signals[at - 1]) - mean[at - 1]) / deviation[at - 1],
        };
        let mut fitted = vec![0.0; N + 1];
        for _ in 0..MAX_STEPS {
            let mut gradient: Vec<f64> = fitted.iter().map(|weight| -PENALTY * weight).collect();
            let mut curvature = vec![vec![0.0; N + 1]; N + 1];
            gradient[0] = 0.0;
            for (at, row) in curvature.iter_mut().enumerate().skip(1) {
                row[at] = PENALTY;
            }
            for (signals, label) in cases {
                let x: Vec<f64> = (0..=N).map(|at| standard(signals, at)).collect();
                let sum: f64 = x.iter().zip(&fitted).map(|(x, weight)| x * weight).sum();
                let p = 1.0 / (1.0 + (-sum).exp());
                let error = f64::from(u8::from(*label)) - p;
                for row in 0..=N {
                    gradient[row] += weight(*label) * error * x[row];
                    for column in 0..=N {
                        curvature[row][column] +=
                            weight(*label) * p * (1.0 - p) * x[row] * x[column];
                    }
                }
            }
            let step = solve(curvature, gradient)?;
            fitted.iter_mut().zip(&step).for_each(|(weight, step)| *weight += step);
            if step.iter().all(|step| step.abs() < 1e-9) {
                break;
            }
        }
        let weights = std::array::from_fn(|at| (fitted[at + 1] / deviation[at]) as f32);
        let shift: f64 = (0..N).map(|at| fitted[at + 1] * mean[at] / deviation[at]).sum();
        Some(Self { weights, bias: (fitted[0] - shift) as f32 })
    }
}

/// Mean and standard deviation of each signal; 1 for one that is constant.
fn moments<const N: usize>(cases: &[([f32; N], bool)]) -> ([f64; N], [f64; N]) {
    let count = cases.len() as f64;
    let sum = |of: &dyn Fn(f64) -> f64, at: usize| {
        cases.iter().map(|(signals, _)| of(f64::from(signals[at]))).sum::<f64>()
    };
    let mean: [f64; N] = std::array::from_fn(|at| sum(&|x| x, at) / count);
    let deviation = std::array::from_fn(|at| {
        let variance = sum(&|x| (x - mean[at]).powi(2), at) / count;
        if variance > 1e-12 { variance.sqrt() } else { 1.0 }
    });
    (mean, deviation)
}

/// Solves a small symmetric system by elimination with pivots; `None` if it is singular.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size)
            .max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        if matrix[pivot][column].abs() < 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (above, below) = matrix.split_at_mut(column + 1);
        let (pivot, solved) = (&above[column], right[column]);
        for (row, right) in below.iter_mut().zip(&mut right[column + 1..]) {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(value, pivot)| *value -= factor * pivot);
            *right -= factor * solved;
        }
    }
    for row in (0..size).rev() {
        let rest: f64 = (row + 1..size).map(|at| matrix[row][at] * right[at]).sum();
        right[row] = (right[row] - rest) / matrix[row][row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::SplitMix64;

    impl<const N: usize> Fit<N> {
        fn probability(&self, signals: &[f32; N]) -> f32 {
            let terms = self.weights.iter().zip(signals).map(|(weight, signal)| weight * signal);
            sigmoid(self.bias + terms.sum::<f32>())
        }
    }

    /// Uniform in −1 to 1.
    fn uniform(random: &mut SplitMix64) -> f32 {
        random.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0
    }

    #[test]
    fn the_weights_that_made_the_labels_are_found() {
        let mut random = SplitMix64::new(7);
        let cases: Vec<([f32; 2], bool)> = (0..40_000)
            .map(|_| {
                let signals = [4.0 * uniform(&mut random), 0.1 * uniform(&mut random) + 3.0];
                let odds = 1.5 * signals[0] - 20.0 * signals[1] + 60.0;
                let dice = uniform(&mut random).midpoint(1.0);
                (signals, dice < sigmoid(odds))
            })
            .collect();
        let fit = Fit::of(&cases).unwrap();
        assert!((fit.weights[0] - 1.5).abs() < 0.06, "{fit:?}");
        assert!((fit.weights[1] + 20.0).abs() < 1.2, "{fit:?}");
        assert!((fit.probability(&[0.0, 3.0]) - 0.5).abs() < 0.02, "{fit:?}");
    }

    #[test]
    fn perfect_separation_and_constants_have_a_finite_fit() {
        let cases =
            [([1.0, 5.0], false), ([2.0, 5.0], false), ([3.0, 5.0], true), ([4.0, 5.0], true)];
        let fit = Fit::of(&cases).unwrap();
        assert!(fit.weights[0] > 0.5 && fit.weights[0] < 50.0 && fit.weights[1] == 0.0, "{fit:?}");
        assert!(fit.probability(&[1.0, 5.0]) < 0.5 && fit.probability(&[4.0, 5.0]) > 0.5);
        assert_eq!(Fit::of(&cases[..2]), None);
    }

    #[test]
    fn rare_labels_do_not_move_the_middle() {
        let case = |x: f32, label| ([x], label);
        let many = vec![[case(1.0, true), case(2.0, true)]; 50].concat();
        let cases = [many, vec![case(-1.0, false), case(-2.0, false)]].concat();
        let middle = Fit::of(&cases).unwrap().probability(&[0.0]);
        assert!((middle - 0.5).abs() < 0.02, "{middle}");
    }

    #[test]
    fn certainties_are_bounded() {
        assert_eq!((logit(1.0), logit(0.0)), (MAX_LOGIT, -MAX_LOGIT));
        assert!((logit(sigmoid(1.25)) - 1.25).abs() < 1e-5);
    }
}
