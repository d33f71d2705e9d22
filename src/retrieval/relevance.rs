//! Relevance: the probability that the documents answer a question.
//!
//! No single score is reliable: cosines are compressed into a narrow range, and words match by
//! chance. So a logistic regression over several signals decides, with separate weights for
//! same-language and cross-language pairs (docs/retrieval.md has the figures).

use serde::{Deserialize, Serialize};

use crate::models::catalogue::{Calibration, Logistic};
use crate::text::analyze::is_unmarked;
use crate::text::language::Language;

/// Coverage below which question and passage count as different languages, if neither script nor
/// frequent words identify them.
const SAME_LANGUAGE_COVERAGE: f32 = 0.1;

/// Inputs of the relevance estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// The highest cosine of any candidate, −1 to 1.
    pub cosine: f32,
    /// The largest share of the question's idf weight covered by one of the top five passages, 0 to
    /// 1.
    pub coverage: f32,
    /// The highest late-interaction score, −1 to 1; absent without that reranker.
    #[serde(rename = "late")]
    pub maxsim: Option<f32>,
    /// Whether question and best passage are in different languages.
    pub across_languages: bool,
    /// Whether the question is Vietnamese typed without diacritics, which embedders understand
    /// poorly.
    #[serde(default)]
    pub unmarked: bool,
}

/// Whether question and passage are in different languages; `coverage` is the share of the question
/// that the passage covers.
pub(super) fn across_languages(question: &str, passage: &str, coverage: f32) -> bool {
    match (Language::of(question).code(), Language::of(passage).code()) {
        (Some(asked), Some(written)) => asked != written,
        // Its script rules out every language that is recognized by its words.
        (None, Some(_)) if !question.is_ascii() => true,
        _ => coverage < SAME_LANGUAGE_COVERAGE,
    }
}

/// Whether a question is Vietnamese typed without diacritics.
pub(super) fn is_unmarked_vietnamese(question: &str) -> bool {
    is_unmarked(question) && Language::of(question) == Language::Vietnamese
}

/// Probability, 0 to 1: 1 / (1 + exp(−(bias + Σ weight · signal))).
fn probability(weights: &Logistic, signals: &Signals) -> f32 {
    let maxsim = weights.late * signals.maxsim.unwrap_or(0.0);
    let sum = weights.cosine * signals.cosine + weights.coverage * signals.coverage + maxsim;
    1.0 / (1.0 + (-(weights.bias + sum)).exp())
}

/// How likely the documents are to answer the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relevance {
    /// 0 to 1. Without a calibration this is the mean of cosine and coverage: higher is better, but
    /// it is not a probability.
    pub probability: f32,
    /// Whether the probability is below the threshold for answering.
    pub is_low: bool,
    /// The inputs of the estimate.
    pub signals: Signals,
}

impl Relevance {
    pub(super) fn new(signals: Signals, calibration: Option<&Calibration>) -> Self {
        let Some(calibration) = calibration else {
            let probability = f32::midpoint(signals.cosine, signals.coverage);
            return Self { probability, is_low: false, signals };
        };
        let (weights, refuse_below) = match (signals.maxsim, signals.across_languages) {
            (Some(_), false) if signals.unmarked => {
                (&calibration.unmarked, calibration.unmarked.refuse_below)
            }
            (Some(_), false) => (&calibration.within, calibration.within.refuse_below),
            (Some(_), true) => (&calibration.across, calibration.across.refuse_below),
            (None, false) => (&calibration.without_late, calibration.without_late.refuse_below),
            (None, true) => (&calibration.without_late, 0.0),
        };
        let probability = probability(weights, &signals);
        Self { probability, is_low: probability < refuse_below, signals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        let half = |cosine, late, bias| Logistic {
            cosine,
            late,
            bias,
            refuse_below: 0.5,
            ..Logistic::default()
        };
        Calibration {
            within: half(2.0, 4.0, -3.0),
            across: half(2.0, 4.0, -2.0),
            unmarked: half(0.0, 4.0, -1.0),
            without_late: half(2.0, 0.0, -1.0),
        }
    }

    fn judged(cosine: f32, maxsim: Option<f32>, across_languages: bool) -> Relevance {
        let signals = Signals { cosine, maxsim, across_languages, ..Signals::default() };
        Relevance::new(signals, Some(&calibration()))
    }

    #[test]
    fn each_case_has_its_own_weights() {
        // 2 · 0.5 + 4 · 0.5 − 3 = 0, a probability of one half; the cross-language weights add one.
        assert!((judged(0.5, Some(0.5), false).probability - 0.5).abs() < 1e-6);
        let across = judged(0.5, Some(0.5), true);
        assert!((across.probability - 1.0 / (1.0 + (-1f32).exp())).abs() < 1e-6);
        assert!(judged(0.5, Some(0.49), false).is_low && !judged(0.5, Some(0.49), true).is_low);
        let unmarked = Signals { maxsim: Some(0.2), unmarked: true, ..Signals::default() };
        assert!(Relevance::new(unmarked, Some(&calibration())).is_low);
        assert!(judged(0.49, None, false).is_low && !judged(0.51, None, false).is_low);
    }

    #[test]
    fn nothing_is_refused_without_calibration_or_across_languages_without_late_interaction() {
        assert!(!judged(-1.0, None, true).is_low);
        assert!(!Relevance::new(Signals::default(), None).is_low);
    }

    #[test]
    fn only_vietnamese_can_lack_its_diacritics() {
        assert!(is_unmarked_vietnamese("hoc may la gi"));
        assert!(!is_unmarked_vietnamese("học máy là gì"));
        assert!(!is_unmarked_vietnamese("What is machine learning?"));
    }

    #[test]
    fn languages_are_told_by_letters_and_words_or_else_by_coverage() {
        assert!(!across_languages("Thủ đô ở đâu?", "Thủ đô là Hà Nội.", 0.0));
        assert!(across_languages("Thủ đô ở đâu?", "The capital is Hanoi.", 0.9));
        assert!(across_languages("What is the capital?", "Столица — Москва.", 0.0));
        assert!(across_languages("Какая столица?", "The capital is Moscow.", 0.3));
        // Too short to detect the language, but its words occur.
        assert!(!across_languages("Moscow mayor?", "The mayor of Moscow is elected.", 0.8));
        assert!(!across_languages("Какая столица?", "Столица — Москва.", 0.4));
        assert!(across_languages("Какая столица?", "首都は東京です。", 0.0));
    }
}
