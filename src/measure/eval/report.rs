//! What an evaluation says, as `--json` prints it and `--compare` reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answers::Likeness;
use super::bootstrap::Estimate;
use super::metrics::Measures;
use super::refusal::Refusal;
use crate::retrieval::Signals;

/// All figures of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Of the program.
    pub version: String,
    pub profile: String,
    /// The embedder's name.
    pub embedder: String,
    /// The reranker's name; absent without one.
    pub reranker: Option<String>,
    pub questions_file: String,
    /// Questions that were asked.
    pub questions: usize,
    /// The rankings, in the order of the stages; without questions whose documents are known
    /// there is none.
    pub stages: Vec<Stage>,
    /// Absent unless some question has no answer in the documents.
    pub refusal: Option<Refusal>,
    /// Absent unless the LLM was asked for.
    pub answers: Option<Answers>,
    /// Question by question.
    pub per_question: Vec<QuestionScores>,
}

/// How good one stage's ranking is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    /// `bm25`, `dense`, `fused` or `reranked`.
    #[expect(clippy::struct_field_names, reason = "a key of the JSON")]
    pub stage: String,
    /// Questions that say which documents are relevant.
    pub questions: usize,
    /// Means with 95 % intervals.
    #[serde(flatten)]
    pub measures: Measures<Estimate>,
    /// From the question to this ranking, in milliseconds.
    pub median_ms: f64,
    /// That of which only one question in twenty takes longer.
    pub p95_ms: f64,
}

/// How good the LLM's answers are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answers {
    /// The LLM.
    pub model: String,
    /// Questions with expected answers, all of which count; one that was refused has 0.
    pub questions: usize,
    /// Mean; absent where no answer is expected anywhere.
    pub exact_match: Option<Estimate>,
    /// Mean; as above.
    pub f1: Option<Estimate>,
    /// Share of the cited passages that are from relevant documents: mean over the answers that
    /// cite something.
    pub citation_precision: Option<Estimate>,
    /// Share of the answers that cite something.
    pub citing: f64,
    /// Answers that the LLM wrote. The documents' own sentences stand in for it where it does not
    /// write the question's language.
    pub generated: usize,
    /// Of an answer, in milliseconds.
    pub median_ms: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuestionScores {
    pub id: String,
    /// Whether the documents answer it.
    pub answerable: bool,
    /// What the threshold is compared with.
    pub relevance: f32,
    /// What that was made from; absent in reports of older versions.
    #[serde(default)]
    pub signals: Option<Signals>,
    /// Whether it was refused.
    pub refused: bool,
    /// By stage; empty where it is not known which documents are relevant.
    pub scores: BTreeMap<String, Measures<f64>>,
    /// Absent unless the LLM was asked for.
    pub answer: Option<AnswerScores>,
    /// What the searches brought; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateScores>,
}

/// A chunk that a search found, to try other ways to rank it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CandidateScores {
    pub document: String,
    /// Whether that is one of those that answer.
    pub relevant: bool,
    /// Cosine of question and passage.
    pub dense: f32,
    pub bm25: f32,
    /// BM25 as a share of the highest that the question could reach.
    #[serde(rename = "share")]
    pub normalized_bm25: f32,
    /// The reranker's score; absent where it did not look that far.
    pub rerank: Option<f32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnswerScores {
    /// The text; empty where the question was refused.
    pub text: String,
    /// Absent where no answer is expected.
    pub likeness: Option<Likeness>,
    /// Absent where nothing was cited, or it is not known which documents are relevant.
    pub citation_precision: Option<f64>,
}

impl QuestionScores {
    /// Everything that can be compared: stage, measure and value.
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

/// The stages, in their order.
pub const STAGES: [&str; 4] = ["bm25", "dense", "fused", "reranked"];
