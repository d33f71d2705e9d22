//! Whether the relevance of the profile's embedder fits these questions, and one that does.

use serde::{Deserialize, Serialize};

use super::bootstrap::share_interval;
use super::calibration::{MAX_FALSE_REFUSALS, MIN_QUESTIONS, folds, threshold};
use super::refusal::{best_within, outcome_of};
use super::{Asked, Outcome, cases};
use crate::models::catalogue::{Calibration, Logistic};
use crate::retrieval::{Relevance, Signals, Situation, Thresholds};
use crate::support::logistic::Fit;

/// By this the logit falls when an index has e times as many chunks: not fitted, as all questions are
/// asked of one index, but measured on indexes of several sizes (docs/retrieval.md).
const SIZE: f32 = -0.5;
/// Share of answerable questions that a strict gate may refuse without being called off: what it was
/// fitted for, and as much again as languages differ by.
const SUSPICIOUS: f64 = 0.05;
/// Largest share of answerable questions that the careful gate may refuse.
const CAREFUL_FALSE_REFUSALS: f64 = 0.005;

const SITUATIONS: [Situation; 4] =
    [Situation::Within, Situation::Across, Situation::Unmarked, Situation::WithoutLate];

/// Why a calibration on these questions would pay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Advice {
    /// The embedder has no calibration, so that nothing is refused.
    Uncalibrated {
        /// Questions of each kind, of which a calibration needs 20.
        answerable: usize,
        unanswerable: usize,
    },
    /// The strict gate refuses more answerable questions than it was fitted to.
    RefusesTooMuch { false_refusals: f64 },
    /// The strict gate refuses far fewer unanswerable questions than another threshold would.
    LetsThrough {
        recall: f64,
        /// At no more false refusals than the gate was fitted to.
        possible: f64,
    },
}

/// Compares what the strict gate does to the questions with what it was fitted to.
pub fn advise(asked: &[Asked], calibration: Option<&Calibration>) -> Option<Advice> {
    let answerable = asked.iter().filter(|asked| asked.scores.answerable).count();
    let unanswerable = asked.len() - answerable;
    if calibration.is_none() {
        return Some(Advice::Uncalibrated { answerable, unanswerable });
    }
    let is_refused = |asked: &Asked| {
        let gates = asked.scores.thresholds;
        gates.is_some_and(|gates| asked.scores.relevance < gates.strict)
    };
    let refused = |is_answerable: bool| {
        let of = asked.iter().filter(|asked| asked.scores.answerable == is_answerable);
        of.filter(|asked| is_refused(asked)).count()
    };
    let (wrong, right) = (refused(true), refused(false));
    // One question is chance.
    if wrong > 1 && share_interval(wrong, answerable).0 > SUSPICIOUS {
        let false_refusals = wrong as f64 / answerable as f64;
        return Some(Advice::RefusesTooMuch { false_refusals });
    }
    let possible = best_within(&cases(asked), MAX_FALSE_REFUSALS)?.recall?;
    let reachable = (possible * unanswerable as f64).round() as usize;
    let is_less = share_interval(right, unanswerable).1 < share_interval(reachable, unanswerable).0;
    let recall = right as f64 / unanswerable.max(1) as f64;
    is_less.then_some(Advice::LetsThrough { recall, possible })
}

/// A calibration of relevance, fitted to these questions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FittedRelevance {
    /// The key of the embedder in the catalogue.
    pub embedder: String,
    /// Those that questions were asked in.
    pub situations: Vec<FittedSituation>,
    /// What belongs into the catalogue: weights that were fitted, and the others as they are, or, if
    /// there are none, such that nothing is refused. Absent if nothing could be fitted.
    pub calibration: Option<Calibration>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FittedSituation {
    pub situation: Situation,
    pub answerable: usize,
    pub unanswerable: usize,
    /// What the strict gate does now; absent without a calibration.
    pub now: Option<Outcome>,
    /// What the fitted strict gate does to questions that it was not fitted to; absent with fewer than
    /// 20 of either kind.
    pub fitted: Option<Outcome>,
}

/// Fits to the questions, each situation by itself.
pub fn fit_relevance(
    asked: &[Asked],
    embedder: &str,
    calibration: Option<&Calibration>,
) -> FittedRelevance {
    let labelled: Vec<Labelled> = asked.iter().filter_map(Labelled::new).collect();
    let nothing = Logistic::default();
    let unfitted =
        Calibration { within: nothing, across: nothing, unmarked: nothing, without_late: nothing };
    let mut fitted = calibration.copied().unwrap_or(unfitted);
    let mut is_fitted = false;
    let mut situations = Vec::new();
    for situation in SITUATIONS {
        let of: Vec<Labelled> = labelled.iter().copied().filter(|it| it.is_in(situation)).collect();
        if of.is_empty() {
            continue;
        }
        let answerable = of.iter().filter(|case| case.answerable).count();
        let unanswerable = of.len() - answerable;
        let enough = answerable.min(unanswerable) >= MIN_QUESTIONS;
        let weights = enough.then(|| fit(&of, situation)).flatten();
        if let Some(weights) = weights {
            *weights_of(&mut fitted, situation) = weights;
            is_fitted = true;
        }
        situations.push(FittedSituation {
            situation,
            answerable,
            unanswerable,
            now: calibration.map(|calibration| outcome(&of, calibration)),
            fitted: weights.and_then(|_| unseen(&of, situation, &fitted)),
        });
    }
    FittedRelevance {
        embedder: embedder.to_owned(),
        situations,
        calibration: is_fitted.then_some(fitted),
    }
}

/// A question with what is known of it.
#[derive(Clone, Copy)]
struct Labelled {
    signals: Signals,
    answerable: bool,
}

impl Labelled {
    fn new(asked: &Asked) -> Option<Self> {
        Some(Self { signals: asked.scores.signals?, answerable: asked.scores.answerable })
    }

    /// Across languages without late interaction, no signal says anything.
    fn is_in(&self, situation: Situation) -> bool {
        self.signals.situation() == situation
            && !(situation == Situation::WithoutLate && self.signals.across_languages)
    }
}

/// What the strict gate does.
fn outcome(cases: &[Labelled], calibration: &Calibration) -> Outcome {
    outcome_of(cases.iter().map(|case| (case.answerable, refuses(case.signals, calibration))))
}

fn refuses(signals: Signals, calibration: &Calibration) -> bool {
    let Relevance { probability, thresholds, .. } = Relevance::new(signals, Some(calibration));
    thresholds.is_some_and(|Thresholds { strict, .. }| probability < strict)
}

/// What fits to four fifths do to the other fifth. `calibration` has the weights of other situations,
/// which have no say.
fn unseen(cases: &[Labelled], situation: Situation, calibration: &Calibration) -> Option<Outcome> {
    let mut outcomes = Vec::new();
    for (others, part) in folds(cases) {
        let mut fitted = *calibration;
        *weights_of(&mut fitted, situation) = fit(&others, situation)?;
        outcomes.extend(part.iter().map(|case| (case.answerable, refuses(case.signals, &fitted))));
    }
    Some(outcome_of(outcomes.into_iter()))
}

fn weights_of(calibration: &mut Calibration, situation: Situation) -> &mut Logistic {
    match situation {
        Situation::Within => &mut calibration.within,
        Situation::Across => &mut calibration.across,
        Situation::Unmarked => &mut calibration.unmarked,
        Situation::WithoutLate => &mut calibration.without_late,
    }
}

/// Weights of the two signals that decide in this situation (docs/retrieval.md), and thresholds.
fn fit(cases: &[Labelled], situation: Situation) -> Option<Logistic> {
    let two = |signals: &Signals| {
        let Signals { cosine, coverage, maxsim, .. } = *signals;
        match situation {
            Situation::Within | Situation::Unmarked => [coverage, maxsim.unwrap_or(0.0)],
            Situation::Across => [cosine, maxsim.unwrap_or(0.0)],
            Situation::WithoutLate => [cosine, coverage],
        }
    };
    let labelled: Vec<_> = cases.iter().map(|case| (two(&case.signals), case.answerable)).collect();
    let Fit { weights: [first, second], bias } = Fit::of(&labelled)?;
    // All questions are asked of one index.
    let size = cases.first()?.signals.size();
    let plain = Logistic { chunks: SIZE, bias: bias - SIZE * size, ..Logistic::default() };
    let weights = match situation {
        Situation::Within | Situation::Unmarked => {
            Logistic { coverage: first, late: second, ..plain }
        }
        Situation::Across => Logistic { cosine: first, late: second, ..plain },
        Situation::WithoutLate => Logistic { cosine: first, coverage: second, ..plain },
    };
    let answerable = || cases.iter().filter(|case| case.answerable);
    let probabilities = || answerable().map(|case| case.signals.probability(&weights)).collect();
    let strict = threshold(probabilities(), MAX_FALSE_REFUSALS).min(0.5);
    let careful = threshold(probabilities(), CAREFUL_FALSE_REFUSALS).min(strict);
    Some(Logistic { strict, careful, ..weights })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::eval::QuestionScores;

    /// Questions whose late interaction tells the two kinds apart at 0.8, with some noise.
    fn asked(count: usize, calibration: Option<&Calibration>) -> Vec<Asked> {
        let one = |n: usize| {
            let answerable = n.is_multiple_of(2);
            let noise = (n * 7919 % 100) as f32 / 1000.0;
            let late = if answerable { 0.81 + noise } else { 0.79 - noise };
            let signals = Signals { coverage: 0.5, maxsim: Some(late), ..Signals::default() };
            let signals = Signals { chunks: 1000, ..signals };
            let relevance = Relevance::new(signals, calibration);
            Asked::of(QuestionScores {
                answerable,
                signals: Some(signals),
                relevance: relevance.probability,
                thresholds: relevance.thresholds,
                ..QuestionScores::default()
            })
        };
        (0..count).map(one).collect()
    }

    /// Even odds where late interaction has this value.
    fn calibration(even: f32) -> Calibration {
        let within =
            Logistic { late: 100.0, bias: -100.0 * even, strict: 0.5, ..Logistic::default() };
        let other = Logistic::default();
        Calibration { within, across: other, unmarked: other, without_late: other }
    }

    #[test]
    fn what_fits_is_left_alone_and_what_is_clearly_off_is_said() {
        let advice = |even: f32, count| {
            let calibration = calibration(even);
            advise(&asked(count, Some(&calibration)), Some(&calibration))
        };
        assert_eq!(advice(0.8, 60), None);
        assert!(matches!(advice(0.86, 60), Some(Advice::RefusesTooMuch { false_refusals })
            if (0.4..0.6).contains(&false_refusals)));
        assert!(matches!(advice(0.68, 60), Some(Advice::LetsThrough { recall, possible })
            if recall == 0.0 && possible == 1.0));
        // One of three says nothing.
        assert_eq!(advice(0.83, 6), None);
        assert_eq!(
            advise(&asked(30, None), None),
            Some(Advice::Uncalibrated { answerable: 15, unanswerable: 15 })
        );
        assert_eq!(advise(&[], Some(&calibration(0.5))), None);
    }

    /// The best that one threshold could do is no more than chance: no calibration would help.
    #[test]
    fn near_misses_are_no_reason_to_calibrate() {
        let calibration = calibration(0.5);
        let mut asked = asked(60, Some(&calibration));
        for (n, asked) in asked.iter_mut().enumerate() {
            asked.scores.relevance = 0.6 + (n * 7919 % 100) as f32 / 1000.0;
        }
        assert_eq!(advise(&asked, Some(&calibration)), None);
    }

    #[test]
    fn a_fit_separates_what_can_be_and_keeps_what_it_cannot_fit() {
        let bad = calibration(0.5);
        let asked = asked(60, Some(&bad));
        let fitted = fit_relevance(&asked, "e5", Some(&bad));
        let [within] = &fitted.situations[..] else { panic!("{fitted:?}") };
        assert_eq!((within.situation, within.answerable), (Situation::Within, 30));
        assert_eq!(within.now.unwrap().recall, Some(0.0));
        let unseen = within.fitted.unwrap();
        assert!(unseen.recall > Some(0.9) && unseen.false_refusals < Some(0.1), "{unseen:?}");
        let calibration = fitted.calibration.unwrap();
        assert_eq!(calibration.across, bad.across);
        assert!(calibration.within.careful <= calibration.within.strict, "{calibration:?}");
        // It is the same judgement in the index that it was fitted in.
        let refused = asked.iter().filter(|it| refuses(it.scores.signals.unwrap(), &calibration));
        assert!(refused.filter(|it| it.scores.answerable).count() <= 1);
    }

    #[test]
    fn a_first_calibration_refuses_nothing_that_it_was_not_fitted_to() {
        let fitted = fit_relevance(&asked(40, None), "bge", None);
        let calibration = fitted.calibration.unwrap();
        let across = Signals { across_languages: true, maxsim: Some(-1.0), ..Signals::default() };
        assert!(!refuses(across, &calibration));
        assert_eq!(fitted.situations[0].now, None);
        let few = fit_relevance(&asked(38, None), "bge", None);
        assert!(few.calibration.is_none() && few.situations[0].fitted.is_none());
    }
}
