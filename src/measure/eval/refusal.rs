//! Refusal as binary classification: how well relevance separates answerable questions from
//! unanswerable ones.

use serde::{Deserialize, Serialize};

use crate::retrieval::Thresholds;

/// Most thresholds on the curve.
const MAX_POINTS: usize = 40;
/// Precisions that people ask for.
const AIMS: [f64; 2] = [0.9, 0.95];

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
    /// The threshold with the best F1; absent if none refuses rightly.
    #[serde(default)]
    pub best_f1: Option<Point>,
    /// The thresholds with the highest recall at precisions that people ask for.
    #[serde(default)]
    pub aims: Vec<Aim>,
    /// The effect of other thresholds, ascending.
    pub curve: Vec<Point>,
}

/// A precision, and whether a threshold has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aim {
    pub precision: f64,
    /// The threshold; absent if none has that precision.
    pub reached: Option<Point>,
    /// The highest precision of any threshold; absent if none refuses rightly.
    pub highest: Option<f64>,
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

impl Outcome {
    /// The harmonic mean of precision and recall.
    pub fn f1(&self) -> Option<f64> {
        let (precision, recall) = self.precision.zip(self.recall)?;
        let sum = precision + recall;
        (sum > 0.0).then(|| 2.0 * precision * recall / sum)
    }
}

/// The effect of refusing everything below a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub threshold: f32,
    #[serde(flatten)]
    pub outcome: Outcome,
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
        .map(|threshold| Point {
            threshold,
            outcome: outcome(cases, |case| case.relevance < threshold),
        })
        .collect();
    let points = right_points(cases);
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
        best_f1: best(&points, Outcome::f1),
        aims: AIMS.map(|precision| aim(&points, precision)).into(),
        curve,
    }
}

/// Every way to refuse some of the questions by one threshold, at least one of them rightly, from the
/// fewest refusals on. Thresholds are halfway between two questions.
fn right_points(cases: &[Case]) -> Vec<Point> {
    let mut sorted: Vec<(f32, bool)> =
        cases.iter().map(|case| (case.relevance, case.answerable)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let answerable = sorted.iter().filter(|case| case.1).count();
    let unanswerable = sorted.len() - answerable;
    let (mut right, mut points) = (0, Vec::new());
    for (at, pair) in sorted.windows(2).enumerate() {
        let [(below, is_answerable), (above, _)] = [pair[0], pair[1]];
        right += usize::from(!is_answerable);
        if right == 0 || below >= above {
            continue;
        }
        let refused = at + 1;
        let share = |some: usize, of: usize| (of > 0).then(|| some as f64 / of as f64);
        let outcome = Outcome {
            precision: share(right, refused),
            recall: share(right, unanswerable),
            false_refusals: share(refused - right, answerable),
        };
        let halfway = f32::midpoint(below, above);
        points.push(Point { threshold: if halfway > below { halfway } else { above }, outcome });
    }
    points
}

/// The point with the highest value; of equals, that with the fewest refusals.
fn best(points: &[Point], value: impl Fn(&Outcome) -> Option<f64>) -> Option<Point> {
    let valued = points.iter().filter_map(|point| Some((value(&point.outcome)?, *point)));
    valued.reduce(|best, other| if other.0 > best.0 { other } else { best }).map(|(_, point)| point)
}

/// What the threshold does that refuses the most questions rightly, of those that refuse at most this
/// share of the answerable ones.
pub fn best_within(cases: &[Case], false_refusals: f64) -> Option<Outcome> {
    let is_within =
        |outcome: &Outcome| outcome.false_refusals.is_some_and(|it| it <= false_refusals);
    let recall = |outcome: &Outcome| outcome.recall.filter(|_| is_within(outcome));
    best(&right_points(cases), recall).map(|point| point.outcome)
}

fn aim(points: &[Point], precision: f64) -> Aim {
    let has_it = |outcome: &Outcome| outcome.precision.is_some_and(|it| it >= precision);
    let reached = best(points, |outcome| outcome.recall.filter(|_| has_it(outcome)));
    let highest = best(points, |outcome| outcome.precision).and_then(|it| it.outcome.precision);
    Aim { precision, reached, highest }
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
        let outcome = |threshold| {
            let Outcome { precision, recall, .. } = at(threshold).outcome;
            (precision, recall)
        };
        assert_eq!(outcome(1.0), (None, Some(0.0)));
        assert_eq!(outcome(5.0), (Some(0.75), Some(1.0)));
    }

    /// By hand: below 1.5 one is refused, rightly (F1 ½); below 2.25 two, one of them rightly; below
    /// 3.25 three, two rightly (⅔); below 4.5 four, three rightly: precision ¾, recall 1, F1 6/7.
    #[test]
    fn the_thresholds_that_matter_are_those_found_by_hand() {
        let cases = cases(&[(true, 5.0), (true, 2.0), (false, 1.0), (false, 2.5), (false, 4.0)]);
        let refusal = refusal(&cases, None);
        let best = refusal.best_f1.unwrap();
        assert_eq!(best.threshold, 4.5);
        assert!((best.outcome.f1().unwrap() - 6.0 / 7.0).abs() < 1e-12, "{best:?}");
        assert_eq!(best.outcome.false_refusals, Some(0.5));
        let aims: Vec<_> = refusal
            .aims
            .iter()
            .map(|aim| (aim.precision, aim.reached.map(|it| it.threshold)))
            .collect();
        assert_eq!(aims, [(0.9, Some(1.5)), (0.95, Some(1.5))]);
    }

    #[test]
    fn a_precision_that_no_threshold_has_is_said_not_to_be_reached() {
        let refusal = refusal(&cases(&[(true, 1.0), (false, 2.0), (true, 3.0)]), None);
        let aim = refusal.aims[0];
        assert_eq!((aim.reached, aim.highest), (None, Some(0.5)));
        let hopeless = super::refusal(&cases(&[(true, 1.0), (false, 2.0)]), None);
        assert_eq!((hopeless.best_f1, hopeless.aims[0].highest), (None, None));
    }

    /// Neighbouring floats have nothing halfway between them.
    #[test]
    fn every_threshold_refuses_what_it_says() {
        let (low, high) = (0.999_f32, 0.999_f32.next_up());
        let points = right_points(&cases(&[(false, low), (true, high)]));
        assert_eq!(points[0].threshold, high);
        assert_eq!(points[0].outcome.precision, Some(1.0));
    }

    #[test]
    fn ties_count_half_and_one_kind_alone_says_nothing() {
        assert_eq!(auroc(&[(1.0, true), (1.0, false)]), Some(0.5));
        assert_eq!(auroc(&[(1.0, true)]), None);
        assert_eq!(refusal(&[], None).curve, []);
    }
}
