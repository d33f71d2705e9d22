//! The questions that went worst, with what was found instead: the first thing to look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::labels::Label;
use super::{Asked, STAGES};
use crate::documents::Place;
use crate::index::Passage;

/// Questions in each list.
const WORST: usize = 5;
/// Passages that are named of what was found.
pub const FOUND: usize = 3;

/// A question that went wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wrong {
    pub id: String,
    pub question: String,
    pub answerable: bool,
    pub relevance: f32,
    pub refused: bool,
    /// nDCG@10 by stage; empty if the question does not name what answers it.
    pub ndcg_at_10: BTreeMap<String, f64>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What the last stage found for a question, and what it should have found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What the question names.
    pub expected: Vec<Expected>,
    /// Rank of the first of those, from 1; absent if the searches found none of them.
    pub rank: Option<usize>,
    /// The first passages found.
    pub found: Vec<Found>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    pub document: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

impl From<&Label> for Expected {
    fn from(label: &Label) -> Self {
        let quote = match label {
            Label::Document(_) => None,
            Label::Passage { quote, .. } => Some(quote.clone()),
        };
        Self { document: label.document().to_owned(), quote }
    }
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub document: String,
    /// Empty if there is none.
    pub heading: String,
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Whether it is what the question names.
    pub relevant: bool,
}

impl Found {
    pub fn new(passage: &Passage, relevant: bool) -> Self {
        Self {
            document: passage.document.clone(),
            heading: passage.heading(),
            place: passage.place,
            relevant,
        }
    }
}

/// The questions that were refused though the documents answer them, or not refused though they do not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Misjudged {
    pub in_all: usize,
    /// Those whose relevance was furthest from doubt.
    pub surest: Vec<Wrong>,
}

/// The questions whose final ranking is worst, worst first, and of equals the first asked.
pub fn worst(asked: &[Asked]) -> Vec<Wrong> {
    let last = STAGES
        .into_iter()
        .rfind(|stage| asked.iter().any(|asked| asked.scores.scores.contains_key(*stage)));
    let score = |asked: &Asked| asked.scores.scores.get(last?).map(|it| it.ndcg_at_10);
    let mut worst: Vec<(f64, &Asked)> =
        asked.iter().filter_map(|asked| Some((score(asked)?, asked))).collect();
    worst.retain(|(score, _)| *score < 1.0);
    worst.sort_by(|a, b| a.0.total_cmp(&b.0));
    worst.into_iter().take(WORST).map(|(_, asked)| wrong(asked)).collect()
}

pub fn misjudged(asked: &[Asked]) -> Misjudged {
    let mut some: Vec<&Asked> =
        asked.iter().filter(|asked| asked.scores.refused == asked.scores.answerable).collect();
    let surety = |asked: &Asked| (asked.scores.relevance - 0.5).abs();
    some.sort_by(|a, b| surety(b).total_cmp(&surety(a)));
    Misjudged { in_all: some.len(), surest: some.into_iter().take(WORST).map(wrong).collect() }
}

fn wrong(asked: &Asked) -> Wrong {
    let scores = &asked.scores;
    let ndcg = scores.scores.iter().map(|(stage, it)| (stage.clone(), it.ndcg_at_10));
    Wrong {
        id: scores.id.clone(),
        question: scores.question.clone(),
        answerable: scores.answerable,
        relevance: scores.relevance,
        refused: scores.refused,
        ndcg_at_10: ndcg.collect(),
        outcome: asked.outcome.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::eval::{Measures, QuestionScores};

    fn asked(id: &str, answerable: bool, relevance: f32, ndcg: f64) -> Asked {
        let measures =
            Measures { hit_at_1: ndcg, recall_at_10: ndcg, mrr_at_10: ndcg, ndcg_at_10: ndcg };
        // The last stage decides.
        let perfect =
            Measures { hit_at_1: 1.0, recall_at_10: 1.0, mrr_at_10: 1.0, ndcg_at_10: 1.0 };
        let scores = [("bm25".to_owned(), perfect), ("dense".to_owned(), measures)];
        Asked::of(QuestionScores {
            id: id.to_owned(),
            answerable,
            relevance,
            refused: relevance < 0.5,
            scores: if answerable { scores.into() } else { BTreeMap::new() },
            ..QuestionScores::default()
        })
    }

    fn ids(wrong: &[Wrong]) -> Vec<&str> {
        wrong.iter().map(|wrong| wrong.id.as_str()).collect()
    }

    #[test]
    fn what_went_wrong_is_listed_with_the_worst_first() {
        let asked_all = [
            asked("good", true, 0.98, 1.0),
            asked("bad", true, 0.97, 0.25),
            asked("worse", true, 0.96, 0.125),
            asked("refused", true, 0.01, 1.0),
            asked("missing", false, 0.02, 0.0),
            asked("taken", false, 0.7, 0.0),
        ];
        let worst = worst(&asked_all);
        assert_eq!(ids(&worst), ["worse", "bad"]);
        assert_eq!(worst[0].ndcg_at_10["dense"], 0.125);
        let misjudged = misjudged(&asked_all);
        assert_eq!((ids(&misjudged.surest), misjudged.in_all), (vec!["refused", "taken"], 2));
    }

    #[test]
    fn lists_are_short_and_may_be_empty() {
        let many: Vec<Asked> =
            (0..9).map(|i| asked(&format!("q{i}"), true, 0.1, f64::from(i) / 9.0)).collect();
        assert_eq!(ids(&worst(&many)), ["q0", "q1", "q2", "q3", "q4"]);
        let misjudged = misjudged(&many);
        assert_eq!((misjudged.surest.len(), misjudged.in_all), (WORST, 9));
        assert!(worst(&[asked("good", true, 0.9, 1.0)]).is_empty());
        assert!(worst(&[]).is_empty());
    }
}
