//! Refusal as binary classification: how well relevance separates answerable questions from
//! unanswerable ones.

use serde::{Deserialize, Serialize};

use crate::retrieval::Thresholds;

/// Most thresholds on the curve.
const MAX_POINTS: usize = 40;

/// One question's label and outcome.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Whether the documents answer it.
    pub answerable: bool,
    /// The `probability` of [`crate::retrieval::Retrieval::relevance`].
    pub relevance: f32,
    /// Absent without a calibration.
    pub thresholds: Option<Thresholds>,
    pub refused: bool,
}

/// Quality of refusal. The positive class is refusing, which is right for unanswerable questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub answerable: usize,
    pub unanswerable: usize,
    /// Relevance below which questions are refused; absent if none ever is.
    pub threshold: Option<f32>,
    /// Share of refused questions that are unanswerable; absent if none was refused.
    pub precision: Option<f64>,
    /// Share of unanswerable questions that were refused; absent if there are none.
    pub recall: Option<f64>,
    /// Share of answerable questions that were refused; absent if there are none.
    #[serde(default)]
    pub false_refusals: Option<f64>,
    /// What the strict gate alone would do; absent without a calibration.
    #[serde(default)]
    pub strict: Option<Outcome>,
    /// What the careful gate alone would do; absent without a calibration.
    #[serde(default)]
    pub careful: Option<Outcome>,
    /// Probability that an answerable question has a higher relevance than an unanswerable one;
    /// absent unless there are both kinds.
    pub auroc: Option<f64>,
    /// The effect of other thresholds, ascending.
    pub curve: Vec<Point>,
}

/// What a gate does to all questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// As [`Refusal::precision`].
    pub precision: Option<f64>,
    /// As [`Refusal::recall`].
    pub recall: Option<f64>,
    /// As [`Refusal::false_refusals`].
    pub false_refusals: Option<f64>,
}

/// The effect of refusing everything below a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub threshold: f32,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
}

/// Scores what was refused, and what other thresholds would refuse.
pub fn refusal(cases: &[Case], threshold: Option<f32>) -> Refusal {
    let answerable = cases.iter().filter(|case| case.answerable).count();
    let Outcome { precision, recall, false_refusals } = outcome(cases, |case| case.refused);
    let gate = |of: fn(Thresholds) -> f32| {
        cases.iter().any(|case| case.thresholds.is_some()).then(|| {
            outcome(cases, |case| case.thresholds.is_some_and(|gates| case.relevance < of(gates)))
        })
    };
    let values: Vec<_> = cases.iter().map(|case| (case.relevance, case.answerable)).collect();
    let mut thresholds: Vec<f32> = cases.iter().map(|case| case.relevance).collect();
    thresholds.sort_by(f32::total_cmp);
    thresholds.dedup();
    let step = thresholds.len().div_ceil(MAX_POINTS).max(1);
    let curve = thresholds
        .into_iter()
        .skip(step - 1)
        .step_by(step)
        .map(|threshold| {
            let Outcome { precision, recall, .. } =
                outcome(cases, |case| case.relevance < threshold);
            Point { threshold, precision, recall }
        })
        .collect();
    Refusal {
        answerable,
        unanswerable: cases.len() - answerable,
        threshold,
        precision,
        recall,
        false_refusals,
        strict: gate(|gates| gates.strict),
        careful: gate(|gates| gates.careful),
        auroc: auroc(&values),
        curve,
    }
}

fn outcome(cases: &[Case], refused: impl Fn(&Case) -> bool) -> Outcome {
    outcome_of(cases.iter().map(|case| (case.answerable, refused(case))))
}

/// Scores outcomes, each given as whether the question is answerable and whether it was refused.
pub fn outcome_of(outcomes: impl Iterator<Item = (bool, bool)>) -> Outcome {
    let [mut answerable, mut unanswerable, mut right, mut wrong] = [0usize; 4];
    for (is_answerable, refused) in outcomes {
        let (all, refusals) = match is_answerable {
            true => (&mut answerable, &mut wrong),
            false => (&mut unanswerable, &mut right),
        };
        *all += 1;
        *refusals += usize::from(refused);
    }
    let share = |some: usize, of: usize| (of > 0).then(|| some as f64 / of as f64);
    Outcome {
        precision: share(right, right + wrong),
        recall: share(right, unanswerable),
        false_refusals: share(wrong, answerable),
    }
}

/// How often an answerable question has a higher value than another: the Mann–Whitney U statistic
/// divided by the number of pairs; ties count half.
pub fn auroc(values: &[(f32, bool)]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let answerable = tied.iter().filter(|(_, answerable)| *answerable).count() as f64;
        let others = tied.len() as f64 - answerable;
        won += answerable * (below + others / 2.0);
        below += others;
    }
    let pairs = (values.len() as f64 - below) * below;
    (pairs > 0.0).then(|| won / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(of: &[(bool, f32)]) -> Vec<Case> {
        let thresholds = Some(Thresholds { strict: 3.0, careful: 1.5 });
        let case = |&(answerable, relevance)| Case {
            answerable,
            relevance,
            thresholds,
            refused: relevance < 3.0,
        };
        of.iter().map(case).collect()
    }

    #[test]
    fn refusing_is_measured_as_by_hand() {
        let cases = cases(&[(true, 5.0), (true, 2.0), (false, 1.0), (false, 2.5), (false, 4.0)]);
        let refusal = refusal(&cases, Some(3.0));
        assert_eq!((refusal.answerable, refusal.unanswerable), (2, 3));
        // Refused: 2.0, 1.0 and 2.5, the last two rightly, out of three unanswerable ones.
        assert_eq!(refusal.precision, Some(2.0 / 3.0));
        assert_eq!(refusal.recall, Some(2.0 / 3.0));
        assert_eq!(refusal.false_refusals, Some(0.5));
        let careful = refusal.careful.unwrap();
        assert_eq!((careful.recall, careful.false_refusals), (Some(1.0 / 3.0), Some(0.0)));
        assert_eq!(refusal.strict.unwrap().recall, refusal.recall);
        // Of six pairs, 5.0 wins three and 2.0 wins one.
        assert_eq!(refusal.auroc, Some(4.0 / 6.0));
        let at = |threshold| *refusal.curve.iter().find(|p| p.threshold == threshold).unwrap();
        assert_eq!((at(1.0).precision, at(1.0).recall), (None, Some(0.0)));
        assert_eq!((at(5.0).precision, at(5.0).recall), (Some(0.75), Some(1.0)));
    }

    #[test]
    fn ties_count_half_and_one_kind_alone_says_nothing() {
        assert_eq!(auroc(&[(1.0, true), (1.0, false)]), Some(0.5));
        assert_eq!(auroc(&[(1.0, true)]), None);
        assert_eq!(refusal(&[], None).curve, []);
    }
}
