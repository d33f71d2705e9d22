//! Compares two reports on the same questions, with a paired significance test for each measure.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use super::bootstrap::{Estimate, estimate, mean};
use super::report::Report;
use crate::support::random::SplitMix64;

/// Random sign assignments; with the observed one they make 10⁴, so p is a multiple of 0.0001.
const PERMUTATIONS: usize = 9999;
const SEED: u64 = 1;

/// One measure of one stage, in both reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The stage, `refusal`, or `answers`.
    pub stage: String,
    pub measure: &'static str,
    /// Questions with this measure in both reports.
    pub questions: usize,
    /// Mean in the first report.
    pub a: f64,
    /// Mean in the second.
    pub b: f64,
    /// b − a.
    #[expect(clippy::struct_field_names, reason = "a key of the JSON")]
    pub difference: Estimate,
    /// Two-sided p-value.
    pub p: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub questions: usize,
    pub only_a: usize,
    pub only_b: usize,
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the two reports have no question in common; compare runs of the same questions")]
pub struct NothingInCommon;

/// Stage and measure.
type Measured = (String, &'static str);

/// Compares two reports over the questions that both contain, matched by id.
pub fn compare(a: &Report, b: &Report) -> Result<Comparison, NothingInCommon> {
    let of_b: BTreeMap<&str, _> =
        b.per_question.iter().map(|question| (question.id.as_str(), question)).collect();
    let pairs: Vec<_> = a
        .per_question
        .iter()
        .filter_map(|question| Some((question, *of_b.get(question.id.as_str())?)))
        .collect();
    if pairs.is_empty() {
        return Err(NothingInCommon);
    }
    // Keeps the first report's order, which the map loses.
    let mut order: Vec<Measured> = Vec::new();
    let mut values: BTreeMap<Measured, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (a, b) in &pairs {
        let of_b: BTreeMap<_, _> = b
            .values()
            .into_iter()
            .map(|(stage, measure, value)| ((stage, measure), value))
            .collect();
        for (stage, measure, value) in a.values() {
            let Some(&other) = of_b.get(&(stage.clone(), measure)) else { continue };
            let key = (stage, measure);
            if !values.contains_key(&key) {
                order.push(key.clone());
            }
            let (of_a, of_b) = values.entry(key).or_default();
            of_a.push(value);
            of_b.push(other);
        }
    }
    let differences = order
        .into_iter()
        .filter_map(|key| {
            let (of_a, of_b) = values.get(&key)?;
            let gains: Vec<f64> = of_a.iter().zip(of_b).map(|(a, b)| b - a).collect();
            let (stage, measure) = key;
            Some(Difference {
                stage,
                measure,
                questions: gains.len(),
                a: mean(of_a),
                b: mean(of_b),
                difference: estimate(&gains),
                p: p_value(&gains),
            })
        })
        .collect();
    Ok(Comparison {
        questions: pairs.len(),
        only_a: a.per_question.len() - pairs.len(),
        only_b: b.per_question.len().saturating_sub(pairs.len()),
        differences,
    })
}

/// Two-sided p-value of Fisher's randomization test on paired differences: under the null
/// hypothesis both signs of each difference are equally likely (Smucker et al. 2007).
fn p_value(differences: &[f64]) -> f64 {
    // Zeros contribute nothing under either sign.
    let differences: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed = differences.iter().sum::<f64>().abs();
    let mut random = SplitMix64::new(SEED);
    let as_large = (0..PERMUTATIONS)
        .filter(|_| {
            let sum: f64 =
                differences.iter().map(|d| if random.next() < 0.5 { -d } else { *d }).sum();
            // Tolerates rounding: flipping signs changes the last bits of the sum.
            sum.abs() >= observed - 1e-9
        })
        .count();
    (as_large + 1) as f64 / (PERMUTATIONS + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_all_assignments() {
        // Only all signs equal reach the observed sum: 2 of 2⁸ assignments, and 2 of 2³.
        assert!((p_value(&[1.0; 8]) - 2.0 / 256.0).abs() < 0.003);
        assert!((p_value(&[0.1, 0.0, 0.2, 0.0, 0.3]) - 0.25).abs() < 0.02);
        // +2 −1 −1 sums to 0, which every assignment reaches.
        assert_eq!(p_value(&[2.0, -1.0, -1.0]), 1.0);
        assert_eq!(p_value(&[0.0; 5]), 1.0);
    }

    #[test]
    fn a_large_difference_is_no_chance() {
        let differences: Vec<f64> =
            (0..100).map(|i| if i % 10 == 0 { -0.1 } else { 0.1 }).collect();
        assert!(p_value(&differences) < 0.001);
        assert_eq!(p_value(&differences), p_value(&differences));
    }
}
