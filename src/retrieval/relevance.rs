//! Relevance: the probability that the documents answer a question.
//!
//! No single score is reliable: cosines are compressed into a narrow range, and words match by
//! chance. So a logistic regression over several signals decides, with separate weights for
//! same-language and cross-language pairs (docs/retrieval.md has the figures).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::models::catalogue::{Calibration, Logistic};
use crate::support::logistic::sigmoid;
use crate::text::analyze::is_unmarked;
use crate::text::language::Language;

/// Coverage below which question and passage count as different languages, if neither script nor
/// frequent words identify them.
const SAME_LANGUAGE_COVERAGE: f32 = 0.1;

/// Chunks of an index for which the weight of its size counts nothing.
const TYPICAL_CHUNKS: f32 = 100.0;
/// The largest index whose size counts, about the largest that the weight was measured with.
const MAX_CHUNKS: usize = 10_000;

/// Inputs of the relevance estimate. None depends on what else is in the index, except by its size:
/// words weigh what they weigh in general text, and token vectors are compared as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// The highest cosine of any candidate, −1 to 1.
    pub cosine: f32,
    /// The largest share of the question's weight covered by one of the top five passages, 0 to 1.
    pub coverage: f32,
    /// The highest late-interaction score of any candidate, −1 to 1; absent without that reranker.
    #[serde(rename = "late")]
    pub maxsim: Option<f32>,
    /// Whether question and best passage are in different languages.
    pub across_languages: bool,
    /// Whether the question is Vietnamese typed without diacritics, which embedders understand
    /// poorly.
    #[serde(default)]
    pub unmarked: bool,
    /// Chunks in the index.
    #[serde(default)]
    pub chunks: usize,
}

/// Which weights a question has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// Question and passage in the same language, with late interaction.
    Within,
    /// In different languages, with late interaction.
    Across,
    /// A Vietnamese question without diacritics, with late interaction.
    Unmarked,
    /// Without late interaction.
    WithoutLate,
}

impl Situation {
    /// The weights of this situation.
    pub fn of(self, calibration: &Calibration) -> &Logistic {
        match self {
            Self::Within => &calibration.within,
            Self::Across => &calibration.across,
            Self::Unmarked => &calibration.unmarked,
            Self::WithoutLate => &calibration.without_late,
        }
    }
}

impl Signals {
    /// Which weights the question has.
    pub fn situation(&self) -> Situation {
        match (self.maxsim, self.across_languages) {
            (Some(_), false) if self.unmarked => Situation::Unmarked,
            (Some(_), false) => Situation::Within,
            (Some(_), true) => Situation::Across,
            (None, _) => Situation::WithoutLate,
        }
    }

    /// Probability, 0 to 1: 1 / (1 + exp(−(bias + Σ weight · signal))).
    pub fn probability(&self, weights: &Logistic) -> f32 {
        let maxsim = weights.late * self.maxsim.unwrap_or(0.0);
        let sum = weights.cosine * self.cosine
            + weights.coverage * self.coverage
            + weights.chunks * self.size()
            + maxsim;
        sigmoid(weights.bias + sum)
    }

    /// ln(chunks / 100), within what the weight of the size was measured with.
    pub fn size(&self) -> f32 {
        (self.chunks.clamp(1, MAX_CHUNKS) as f32 / TYPICAL_CHUNKS).ln()
    }
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

/// How sure retrieval must be that the documents do not answer before it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// Nobody judges afterwards, so that what probably has no answer is refused.
    Strict,
    /// An LLM reads the passages afterwards, so that only the hopeless is refused.
    Careful,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Careful => "careful",
        })
    }
}

/// Probabilities below which the two gates refuse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Of [`Gate::Strict`].
    pub strict: f32,
    /// Of [`Gate::Careful`].
    pub careful: f32,
}

/// How likely the documents are to answer the question.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Relevance {
    /// 0 to 1. Without a calibration this is the mean of cosine and coverage: higher is better, but
    /// it is not a probability.
    pub probability: f32,
    /// Absent without a calibration: then nothing is refused.
    pub thresholds: Option<Thresholds>,
    /// The inputs of the estimate.
    pub signals: Signals,
}

impl Relevance {
    /// Judges by the weights of the question's situation.
    pub fn new(signals: Signals, calibration: Option<&Calibration>) -> Self {
        let Some(calibration) = calibration else {
            let probability = f32::midpoint(signals.cosine, signals.coverage);
            return Self { probability, thresholds: None, signals };
        };
        let weights = signals.situation().of(calibration);
        let thresholds = match (signals.maxsim, signals.across_languages) {
            (None, true) => Thresholds { strict: 0.0, careful: 0.0 },
            _ => Thresholds { strict: weights.strict, careful: weights.careful },
        };
        let probability = signals.probability(weights);
        Self { probability, thresholds: Some(thresholds), signals }
    }

    /// The probability below which a gate refuses; absent without a calibration.
    pub fn threshold(&self, gate: Gate) -> Option<f32> {
        self.thresholds.map(|thresholds| match gate {
            Gate::Strict => thresholds.strict,
            Gate::Careful => thresholds.careful,
        })
    }

    /// Whether a gate refuses.
    pub fn is_refused_by(&self, gate: Gate) -> bool {
        self.threshold(gate).is_some_and(|threshold| self.probability < threshold)
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
            strict: 0.5,
            careful: 0.4,
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
        assert!(is_low(judged(0.5, Some(0.49), false)) && !is_low(judged(0.5, Some(0.49), true)));
        let unmarked = Signals { maxsim: Some(0.2), unmarked: true, ..Signals::default() };
        assert!(is_low(Relevance::new(unmarked, Some(&calibration()))));
        assert!(is_low(judged(0.49, None, false)) && !is_low(judged(0.51, None, false)));
    }

    fn is_low(relevance: Relevance) -> bool {
        relevance.is_refused_by(Gate::Strict)
    }

    #[test]
    fn where_an_llm_judges_afterwards_only_the_hopeless_is_refused() {
        // Probabilities of 0.475, between the gates, and of 0.27, below both.
        let (doubtful, hopeless) = (judged(0.45, Some(0.5), false), judged(0.0, Some(0.5), false));
        assert!(doubtful.is_refused_by(Gate::Strict) && !doubtful.is_refused_by(Gate::Careful));
        assert!(hopeless.is_refused_by(Gate::Strict) && hopeless.is_refused_by(Gate::Careful));
        assert_eq!(doubtful.threshold(Gate::Careful), Some(0.4));
    }

    #[test]
    fn the_best_of_many_passages_says_less() {
        let mut calibration = calibration();
        calibration.within.chunks = -1.0;
        let of = |chunks| {
            let signals = Signals { cosine: 0.5, maxsim: Some(0.5), chunks, ..Signals::default() };
            Relevance::new(signals, Some(&calibration)).probability
        };
        assert!((of(100) - 0.5).abs() < 1e-6);
        assert!((of(300) - 0.25).abs() < 1e-6, "odds of 1 : 3");
        assert_eq!(of(0), of(1), "an index that is empty");
        assert_eq!(of(MAX_CHUNKS), of(1_000_000), "more than was measured");
    }

    #[test]
    fn nothing_is_refused_without_calibration_or_across_languages_without_late_interaction() {
        assert!(!is_low(judged(-1.0, None, true)));
        assert!(!is_low(Relevance::new(Signals::default(), None)));
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
