//! Evaluates retrieval, refusal and answers on labelled questions, for `rag-query eval`.
//!
//! Rankings are of documents, not chunks, because documents are what people can label. Scores are
//! kept per question, so that two runs can be compared with paired tests.

mod answers;
mod bootstrap;
mod calibration;
mod compare;
mod documents;
mod metrics;
mod questions;
mod refusal;
mod report;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;

pub use bootstrap::Estimate;
pub use calibration::{Calibrated, MIN_QUESTIONS, calibrate};
pub use compare::{Comparison, compare};
pub use documents::Documents;
pub use metrics::Measures;
pub use questions::{Question, read};
pub use refusal::{Outcome, Refusal};
pub use report::{Answers, QuestionScores, Report, STAGES, Stage};

use crate::answer::{Answerer, Conversation, Event, Mode, Reason};
use crate::measure::median;
use crate::retrieval::{Candidate, Gate, Ranking, Stages};
use crate::support::random::SplitMix64;
use crate::text::language::Language;
use bootstrap::estimate;
use metrics::measure;
use refusal::{Case, refusal};
use report::{AnswerScores, CandidateScores};

/// One question and everything measured on it.
pub struct Asked {
    scores: QuestionScores,
    /// Milliseconds from the question to each stage's ranking.
    times: BTreeMap<String, f64>,
    answer: Option<AnswerFacts>,
}

/// What the summary of all answers needs from one answer.
struct AnswerFacts {
    answered: bool,
    reason: Option<Reason>,
    cites: bool,
    generated: bool,
    ms: f64,
}

#[cfg(test)]
impl Asked {
    fn of(scores: QuestionScores) -> Self {
        Self { scores, times: BTreeMap::new(), answer: None }
    }
}

pub struct Evaluator<'a> {
    pub answerer: &'a Answerer<'a>,
    /// Passages to answer from.
    pub top_k: usize,
    /// Whether to generate answers and score them.
    pub with_llm: bool,
    /// Whether to ask the LLM if the passages answer.
    pub calibrate: bool,
    /// Whether to keep the scores of all candidates.
    pub candidates: bool,
}

impl Evaluator<'_> {
    pub fn ask(&self, question: &Question, interrupted: &AtomicBool) -> Result<Asked> {
        let stages =
            self.answerer.retriever().stages(&question.text, self.top_k, self.candidates)?;
        let (mut scores, mut times) = (BTreeMap::new(), BTreeMap::new());
        for (stage, ranking) in rankings(&stages) {
            times.insert(stage.to_owned(), 1e3 * ranking.took.as_secs_f64());
            if !question.relevant.is_empty() {
                scores.insert(stage.to_owned(), measure(&ranking.documents, &question.relevant));
            }
        }
        let retrieval = &stages.retrieval;
        let relevance = retrieval.relevance;
        let gate = self.answerer.gate_of(&question.text, retrieval);
        // Of what the careful gate refuses, no LLM reads anything.
        let judged = match self.calibrate && !relevance.is_refused_by(Gate::Careful) {
            true => self.answerer.log_odds(&question.text, retrieval, interrupted)?,
            false => None,
        };
        let (answer, facts) = match self.with_llm {
            true => Some(self.answer(question, interrupted)?).unzip(),
            false => (None, None),
        };
        let scores = QuestionScores {
            id: question.id.clone(),
            question: question.text.clone(),
            answerable: question.answerable,
            relevance: relevance.probability,
            signals: Some(relevance.signals),
            thresholds: relevance.thresholds,
            judged,
            refused: facts
                .as_ref()
                .is_some_and(|facts: &AnswerFacts| facts.reason == Some(Reason::NotInPassages))
                || self.answerer.refuses(retrieval, gate).is_some(),
            scores,
            answer,
            candidates: candidates(&stages, question),
        };
        Ok(Asked { scores, times, answer: facts })
    }

    fn answer(
        &self,
        question: &Question,
        interrupted: &AtomicBool,
    ) -> Result<(AnswerScores, AnswerFacts)> {
        let mut cites = true;
        let start = Instant::now();
        let mut conversation = Conversation::new(self.answerer);
        let answer = conversation.ask(&question.text, interrupted, &mut |event| {
            // Then what is cited is our choice.
            cites &= !matches!(event, Event::NoCitations { .. });
        })?;
        let ms = 1e3 * start.elapsed().as_secs_f64();
        cites &= !answer.citations.is_empty();
        let relevant = |document: &String| question.relevant.contains(document);
        let right =
            answer.citations.iter().filter(|citation| relevant(&citation.document_id)).count();
        let english = Language::of(&question.text) == Language::English;
        let scores = AnswerScores {
            likeness: answers::likeness(&answer.answer, &question.answers, english),
            citation_precision: (cites && !question.relevant.is_empty())
                .then(|| right as f64 / answer.citations.len() as f64),
            text: answer.answer,
        };
        let generated = answer.mode == Mode::Generative;
        let (answered, reason) = (answer.answered, answer.reason);
        Ok((scores, AnswerFacts { answered, reason, cites, generated, ms }))
    }
}

fn rankings(stages: &Stages) -> Vec<(&'static str, &Ranking)> {
    let Stages { bm25, dense, fused, reranked, .. } = stages;
    STAGES.into_iter().zip([bm25, dense, fused].into_iter().chain(reranked)).collect()
}

fn candidates(stages: &Stages, question: &Question) -> Vec<CandidateScores> {
    let scores = |candidate: &Candidate| CandidateScores {
        document: candidate.document.clone(),
        relevant: question.relevant.contains(&candidate.document),
        dense: candidate.scores.dense,
        bm25: candidate.scores.bm25,
        normalized_bm25: candidate.normalized_bm25,
        rerank: candidate.scores.rerank,
    };
    stages.candidates.iter().map(scores).collect()
}

/// Means over all questions, by stage; stages without scores are left out.
pub fn stages(asked: &[Asked]) -> Vec<Stage> {
    let stage = |stage: &str| {
        let of_stage: Vec<Measures<f64>> =
            asked.iter().filter_map(|asked| asked.scores.scores.get(stage).copied()).collect();
        if of_stage.is_empty() {
            return None;
        }
        let mut times: Vec<f64> =
            asked.iter().filter_map(|asked| asked.times.get(stage).copied()).collect();
        times.sort_by(f64::total_cmp);
        let of = |value: fn(&Measures<f64>) -> f64| {
            estimate(&of_stage.iter().map(value).collect::<Vec<_>>())
        };
        Some(Stage {
            stage: stage.to_owned(),
            questions: of_stage.len(),
            measures: Measures {
                hit_at_1: of(|measures| measures.hit_at_1),
                recall_at_10: of(|measures| measures.recall_at_10),
                mrr_at_10: of(|measures| measures.mrr_at_10),
                ndcg_at_10: of(|measures| measures.ndcg_at_10),
            },
            p95_ms: times.get(times.len() * 95 / 100).copied().unwrap_or_default(),
            median_ms: median(times),
        })
    };
    STAGES.into_iter().filter_map(stage).collect()
}

/// Scores refusal; `None` unless some question has no answer in the documents.
pub fn refusals(asked: &[Asked], threshold: Option<f32>) -> Option<Refusal> {
    let cases: Vec<Case> = asked
        .iter()
        .map(|Asked { scores, .. }| Case {
            answerable: scores.answerable,
            relevance: scores.relevance,
            thresholds: scores.thresholds,
            refused: scores.refused,
        })
        .collect();
    cases.iter().any(|case| !case.answerable).then(|| refusal(&cases, threshold))
}

/// Scores the answers; `None` if none were generated.
pub fn answers(asked: &[Asked], model: &str) -> Option<Answers> {
    let facts: Vec<&AnswerFacts> = asked.iter().filter_map(|asked| asked.answer.as_ref()).collect();
    if facts.is_empty() {
        return None;
    }
    let scored = || asked.iter().filter_map(|asked| asked.scores.answer.as_ref());
    let some = |values: Vec<f64>| (!values.is_empty()).then(|| estimate(&values));
    let likeness: Vec<_> = scored().filter_map(|answer| answer.likeness).collect();
    let answered: Vec<_> = facts.iter().filter(|facts| facts.answered).collect();
    let citing = answered.iter().filter(|facts| facts.cites).count();
    Some(Answers {
        model: model.to_owned(),
        questions: likeness.len(),
        exact_match: some(likeness.iter().map(|likeness| likeness.exact_match).collect()),
        f1: some(likeness.iter().map(|likeness| likeness.f1).collect()),
        citation_precision: some(scored().filter_map(|answer| answer.citation_precision).collect()),
        citing: citing as f64 / answered.len().max(1) as f64,
        generated: facts.iter().filter(|facts| facts.generated).count(),
        median_ms: median(facts.iter().map(|facts| facts.ms).collect()),
    })
}

pub fn per_question(asked: Vec<Asked>) -> Vec<QuestionScores> {
    asked.into_iter().map(|asked| asked.scores).collect()
}

/// `count` of the questions: the first, or a random sample with a fixed seed.
pub fn some(mut questions: Vec<Question>, count: usize, at_random: bool) -> Vec<Question> {
    if at_random {
        SplitMix64::new(1).shuffle(&mut questions, count);
    }
    questions.truncate(count);
    questions
}
