//! Two reports on the same questions: what differs, and whether by more than chance.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use super::bootstrap::{Estimate, estimate, mean};
use super::report::Report;
use crate::support::random::SplitMix64;

/// Random assignments of signs; p-values are then multiples of 0.0001.
const PERMUTATIONS: usize = 9999;
const SEED: u64 = 1;

/// One measure of one stage in both reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The stage, `refusal`, or `answers`.
    pub stage: String,
    pub measure: &'static str,
    /// Questions that both reports measure.
    pub questions: usize,
    /// Mean in the first report.
    pub a: f64,
    /// Mean in the second.
    pub b: f64,
    /// b − a.
    #[expect(clippy::struct_field_names, reason = "a key of the JSON")]
    pub difference: Estimate,
    /// How often chance alone makes a difference as large.
    pub p: f64,
}

/// What two reports say of the questions that both have.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Questions in both.
    pub questions: usize,
    /// Questions in the first report only.
    pub only_a: usize,
    /// Questions in the second report only.
    pub only_b: usize,
    /// Stage by stage.
    pub differences: Vec<Difference>,
}

/// Reports that say nothing about each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the two reports have no question in common; compare runs of the same questions")]
pub struct NothingInCommon;

/// A stage and a measure.
type Measured = (String, &'static str);

/// Compares two reports, question by question.
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
    // In the order in which the first report has them.
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

/// Fisher's randomization test of paired differences, two-sided: were there no difference, each
/// sign would be as likely as the other (Smucker et al. 2007).
fn p_value(differences: &[f64]) -> f64 {
    // Those that are zero stay zero whatever their sign.
    let differences: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed = differences.iter().sum::<f64>().abs();
    let mut random = SplitMix64::new(SEED);
    let as_large = (0..PERMUTATIONS)
        .filter(|_| {
            let sum: f64 =
                differences.iter().map(|d| if random.next() < 0.5 { -d } else { *d }).sum();
            // Sums of the same values in another order may differ in the last bits.
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
        // Only all signs equal reach the sum: 2 of 2⁸, and 2 of 2³.
        assert!((p_value(&[1.0; 8]) - 2.0 / 256.0).abs() < 0.003);
        assert!((p_value(&[0.1, 0.0, 0.2, 0.0, 0.3]) - 0.25).abs() < 0.02);
        // +2 −1 −1: the sum is 0, which every assignment reaches.
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
