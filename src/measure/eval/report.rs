//! The report of an evaluation, as `--json` prints it and `--compare` reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::STAGES;
use super::answers::Likeness;
use super::bootstrap::Estimate;
use super::calibration::Calibrated;
use super::metrics::Measures;
use super::refusal::Refusal;
use super::relevance::{Advice, FittedRelevance};
use super::worst::{Misjudged, Wrong};
use crate::retrieval::{Signals, Thresholds};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Of rag-query.
    pub version: String,
    pub profile: String,
    pub embedder: String,
    /// Absent with `--no-rerank`.
    pub reranker: Option<String>,
    pub questions_file: String,
    pub questions: usize,
    /// In pipeline order; empty if no question names what answers it.
    pub stages: Vec<Stage>,
    /// By name; empty if no question names its kind.
    #[serde(default)]
    pub kinds: Vec<Kind>,
    /// Absent unless some question is unanswerable.
    pub refusal: Option<Refusal>,
    /// What is wrong with the profile's relevance on these questions; absent if nothing is.
    #[serde(default)]
    pub advice: Option<Advice>,
    /// Absent without `--calibrate`.
    #[serde(default)]
    pub fitted_relevance: Option<FittedRelevance>,
    /// Absent without `--with-llm`.
    pub answers: Option<Answers>,
    /// Absent unless `--calibrate` asked the LLM.
    #[serde(default)]
    pub calibrated: Option<Calibrated>,
    /// The questions whose final ranking is worst.
    #[serde(default)]
    pub worst: Vec<Wrong>,
    #[serde(default)]
    pub misjudged: Misjudged,
    pub per_question: Vec<QuestionScores>,
}

/// Quality of one stage's rankings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    /// `bm25`, `dense`, `fused` or `reranked`.
    #[expect(clippy::struct_field_names, reason = "a key of the JSON")]
    pub stage: String,
    /// Questions that name what answers them.
    pub questions: usize,
    /// Means with 95 % intervals.
    #[serde(flatten)]
    pub measures: Measures<Estimate>,
    /// From the question to this ranking, in milliseconds.
    pub median_ms: f64,
    pub p95_ms: f64,
}

/// Quality of the rankings for one kind of question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kind {
    #[expect(clippy::struct_field_names, reason = "a key of the JSON")]
    pub kind: String,
    /// Those that name what answers them.
    pub questions: usize,
    /// By stage.
    pub ndcg_at_10: BTreeMap<String, Estimate>,
}

/// Quality of the answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answers {
    /// The LLM's name.
    pub model: String,
    /// Questions with expected answers. All of them count; a refused one scores 0.
    pub questions: usize,
    /// Mean; absent if no question has expected answers.
    pub exact_match: Option<Estimate>,
    /// As above.
    pub f1: Option<Estimate>,
    /// Share of cited passages that come from relevant documents, averaged over the answers that
    /// cite something.
    pub citation_precision: Option<Estimate>,
    /// Share of answers that cite something.
    pub citing: f64,
    /// Answers written by the LLM; the others are extractive, because the LLM cannot write the
    /// question's language or read that of any passage.
    pub generated: usize,
    /// Time to answer, in milliseconds.
    pub median_ms: f64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct QuestionScores {
    pub id: String,
    /// Empty in reports of older versions.
    #[serde(default)]
    pub question: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Whether the documents answer it.
    pub answerable: bool,
    /// The value that is compared with the threshold.
    pub relevance: f32,
    /// The inputs of `relevance`; absent in reports of older versions.
    #[serde(default)]
    pub signals: Option<Signals>,
    /// The thresholds of both gates; absent without a calibration, and in reports of older versions.
    #[serde(default)]
    pub thresholds: Option<Thresholds>,
    /// The LLM's ln P(yes) − ln P(no) that the passages answer; absent if it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<f32>,
    pub refused: bool,
    /// By stage; empty if the question does not name what answers it.
    pub scores: BTreeMap<String, Measures<f64>>,
    /// Absent without `--with-llm`.
    pub answer: Option<AnswerScores>,
    /// Empty without `--candidates`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateScores>,
}

/// A chunk that a search found, with its scores, for trying other ways of ranking offline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CandidateScores {
    pub document: String,
    /// Whether the document is one of the relevant ones.
    pub relevant: bool,
    /// Cosine similarity of question and passage.
    pub dense: f32,
    pub bm25: f32,
    /// BM25 as a share of the highest score that the question could reach.
    #[serde(rename = "share")]
    pub normalized_bm25: f32,
    /// Absent if the chunk was not reranked.
    pub rerank: Option<f32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnswerScores {
    /// Empty if the question was refused.
    pub text: String,
    /// Absent if the question has no expected answers.
    pub likeness: Option<Likeness>,
    /// Absent if nothing was cited or the question does not name what answers it.
    pub citation_precision: Option<f64>,
}

impl QuestionScores {
    /// Everything that can be compared, as (stage, measure, value).
    pub fn values(&self) -> Vec<(String, &'static str, f64)> {
        let mut values: Vec<(String, &'static str, f64)> = Vec::new();
        for stage in STAGES {
            if let Some(measures) = self.scores.get(stage) {
                let named = measures.named().into_iter();
                values.extend(named.map(|(name, value)| (stage.to_owned(), name, *value)));
            }
        }
        let right = f64::from(u8::from(self.refused != self.answerable));
        values.push(("refusal".to_owned(), "accuracy", right));
        if let Some(answer) = &self.answer {
            let likeness = answer.likeness;
            let of_answer = [
                ("exact_match", likeness.map(|likeness| likeness.exact_match)),
                ("f1", likeness.map(|likeness| likeness.f1)),
                ("citation_precision", answer.citation_precision),
            ];
            values.extend(
                of_answer
                    .into_iter()
                    .filter_map(|(name, value)| Some(("answers".to_owned(), name, value?))),
            );
        }
        values
    }
}
