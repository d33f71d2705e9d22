//! Calibrates an LLM's own judgement on labelled questions: how much its word on whether the passages
//! answer adds to what retrieval knows, and from which probability on to refuse.

use serde::{Deserialize, Serialize};

use super::refusal::{auroc, outcome_of};
use super::{Asked, Outcome};
use crate::models::catalogue::JudgeCalibration;
use crate::support::logistic::{Fit, logit};
use crate::support::random::SplitMix64;

/// Parts of the questions, each judged by a fit to the others.
const FOLDS: usize = 5;
const SEED: u64 = 1;
/// Questions of either kind below which a fit says nothing.
pub const MIN_QUESTIONS: usize = 20;
/// Largest share of answerable questions that a gate may refuse.
pub const MAX_FALSE_REFUSALS: f64 = 0.03;

/// What the LLM's judgement is worth, and the weights to enter in the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Calibrated {
    /// The LLM's name.
    pub model: String,
    /// Questions that the LLM was asked about; the others it would not have been asked to answer.
    pub answerable: usize,
    pub unanswerable: usize,
    /// Probability that an answerable question has a higher value than an unanswerable one, by
    /// retrieval alone, the LLM's log-odds alone, and both; the last by fits to other questions.
    pub auroc_retrieval: Option<f64>,
    pub auroc_llm: Option<f64>,
    pub auroc_both: Option<f64>,
    /// What the gate does to questions that it was not fitted to; absent with fewer than 20 of either
    /// kind.
    pub gate: Option<Outcome>,
    /// The fit to all questions; absent with fewer than 20 of either kind.
    pub judge: Option<JudgeCalibration>,
}

/// A question that the LLM was asked about.
#[derive(Clone, Copy)]
struct Case {
    /// Retrieval's probability.
    relevance: f32,
    /// The LLM's.
    log_odds: f32,
    answerable: bool,
}

/// Calibrates on what was asked; `None` if the LLM was asked about nothing.
pub fn calibrate(asked: &[Asked], model: &str) -> Option<Calibrated> {
    let cases: Vec<Case> = asked
        .iter()
        .filter_map(|Asked { scores, .. }| {
            let (relevance, answerable) = (scores.relevance, scores.answerable);
            Some(Case { relevance, log_odds: scores.judged?, answerable })
        })
        .collect();
    if cases.is_empty() {
        return None;
    }
    let answerable = cases.iter().filter(|case| case.answerable).count();
    let unanswerable = cases.len() - answerable;
    let of = |value: fn(&Case) -> f32| {
        auroc(&cases.iter().map(|case| (value(case), case.answerable)).collect::<Vec<_>>())
    };
    let enough = answerable.min(unanswerable) >= MIN_QUESTIONS;
    let unseen = enough.then(|| unseen(&cases)).flatten();
    Some(Calibrated {
        model: model.to_owned(),
        answerable,
        unanswerable,
        auroc_retrieval: of(|case| logit(case.relevance)),
        auroc_llm: of(|case| case.log_odds),
        auroc_both: unseen.as_ref().and_then(|unseen| {
            auroc(
                &unseen.iter().map(|case| (case.probability, case.answerable)).collect::<Vec<_>>(),
            )
        }),
        gate: unseen.map(|unseen| outcome_of(unseen.iter().map(|it| (it.answerable, it.refused)))),
        judge: enough.then(|| fit(&cases)).flatten(),
    })
}

/// A question judged by a fit to others.
struct Unseen {
    answerable: bool,
    probability: f32,
    refused: bool,
}

fn unseen(cases: &[Case]) -> Option<Vec<Unseen>> {
    let mut unseen = Vec::new();
    for (others, part) in folds(cases) {
        let judge = fit(&others)?;
        unseen.extend(part.into_iter().map(|Case { relevance, log_odds, answerable }| {
            let probability = judge.probability(log_odds, relevance);
            Unseen { answerable, probability, refused: probability < judge.refused_below }
        }));
    }
    Some(unseen)
}

/// Weights, and even odds as the threshold, or less where that refuses too many answerable questions.
fn fit(cases: &[Case]) -> Option<JudgeCalibration> {
    let signals = |case: &Case| ([logit(case.relevance), case.log_odds], case.answerable);
    let Fit { weights: [retrieval, llm], bias } =
        Fit::of(&cases.iter().map(signals).collect::<Vec<_>>())?;
    let judge = JudgeCalibration { llm, retrieval, bias, refused_below: 0.5 };
    let answerable = cases.iter().filter(|case| case.answerable);
    let answered = answerable.map(|case| judge.probability(case.log_odds, case.relevance));
    let threshold = threshold(answered.collect(), MAX_FALSE_REFUSALS);
    Some(JudgeCalibration { refused_below: threshold.min(0.5), ..judge })
}

/// The threshold that refuses at most this share of answerable questions, of these probabilities.
pub fn threshold(mut answerable: Vec<f32>, false_refusals: f64) -> f32 {
    answerable.sort_by(f32::total_cmp);
    let allowed = (answerable.len() as f64 * false_refusals) as usize;
    answerable.get(allowed).copied().unwrap_or(0.0)
}

/// For each part of the cases, in an order of chance: the other parts to fit to, and the part.
pub fn folds<T: Copy>(cases: &[T]) -> impl Iterator<Item = (Vec<T>, Vec<T>)> {
    let mut order: Vec<T> = cases.to_vec();
    let all = order.len();
    SplitMix64::new(SEED).shuffle(&mut order, all);
    (0..FOLDS).map(move |fold| {
        let part = |is_of: bool| {
            let of = order.iter().enumerate().filter(move |(at, _)| (at % FOLDS == fold) == is_of);
            of.map(|(_, case)| *case).collect()
        };
        (part(false), part(true))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::eval::QuestionScores;

    fn asked(cases: impl Iterator<Item = (f32, Option<f32>, bool)>) -> Vec<Asked> {
        let asked = |(relevance, judged, answerable)| {
            Asked::of(QuestionScores { answerable, relevance, judged, ..QuestionScores::default() })
        };
        cases.map(asked).collect()
    }

    /// Retrieval knows nothing; the LLM is right, and about one in fifty answerable questions wrong.
    #[test]
    fn an_llm_that_knows_gets_the_say() {
        let asked = asked((0..200).map(|n| {
            let answerable = n % 2 == 0;
            let spread = (n % 7) as f32 / 7.0;
            let right = if answerable { 2.0 + spread } else { -2.0 - spread };
            (0.4 + 0.2 * ((n * 37 % 100) as f32 / 100.0), Some(right), answerable)
        }));
        let calibrated = calibrate(&asked, "LLM").unwrap();
        assert_eq!((calibrated.answerable, calibrated.unanswerable), (100, 100));
        assert_eq!(calibrated.auroc_llm, Some(1.0));
        assert!(calibrated.auroc_both > Some(0.99), "{calibrated:?}");
        let gate = calibrated.gate.unwrap();
        assert!(gate.recall > Some(0.95) && gate.false_refusals < Some(0.04), "{gate:?}");
        let judge = calibrated.judge.unwrap();
        assert!(judge.llm > 0.5 && judge.refused_below <= 0.5, "{judge:?}");
    }

    #[test]
    fn an_llm_of_noise_refuses_few_answerable_questions() {
        let asked = asked((0..400).map(|n| {
            let noise = (n * 7919 % 1000) as f32 / 500.0 - 1.0;
            (0.5, Some(noise), n % 2 == 0)
        }));
        let calibrated = calibrate(&asked, "LLM").unwrap();
        let off = (calibrated.auroc_llm.unwrap() - 0.5).abs();
        assert!(off < 0.06, "{calibrated:?}");
        assert!(calibrated.gate.unwrap().false_refusals < Some(0.08), "{calibrated:?}");
    }

    #[test]
    fn few_questions_are_measured_but_fit_nothing() {
        let few = asked((0..30).map(|n| (0.5, Some(n as f32), n % 2 == 0)));
        let calibrated = calibrate(&few, "LLM").unwrap();
        assert!(calibrated.auroc_llm.is_some());
        assert!(calibrated.judge.is_none() && calibrated.gate.is_none());
        assert!(calibrate(&asked([(0.5, None, true)].into_iter()), "LLM").is_none());
    }
}
