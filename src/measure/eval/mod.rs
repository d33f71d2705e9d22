//! Evaluates retrieval, refusal and answers on labelled questions, for `rag-query eval`.
//!
//! Rankings are of what people can label, documents or the passages that say something, and never of
//! chunks, which another way of cutting would change. Scores are kept per question, so that two runs
//! can be compared with paired tests.

mod answers;
mod bootstrap;
mod calibration;
mod compare;
mod documents;
mod fields;
mod labels;
mod metrics;
mod questions;
mod quotes;
mod refusal;
mod relevance;
mod report;
mod summary;
mod worst;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;

pub use bootstrap::Estimate;
pub use calibration::{Calibrated, MIN_QUESTIONS, calibrate};
pub use compare::{Comparison, compare};
pub use documents::Documents;
pub use metrics::Measures;
pub use questions::{Question, read};
pub use quotes::Quotes;
pub use refusal::{Aim, Outcome, Point, Refusal};
pub use relevance::{Advice, FittedRelevance, FittedSituation, advise, fit_relevance};
pub use report::{Answers, Kind, QuestionScores, Report, Stage};
pub use summary::{answers, kinds, refusals, stages};
pub use worst::{Expected, Found, Misjudged, Wrong, misjudged, worst};

use crate::answer::{Answerer, Conversation, Event, Mode, Reason};
use crate::index::{ChunkId, Passage};
use crate::retrieval::{Candidate, Gate, Ranking, Stages};
use crate::support::random::SplitMix64;
use crate::text::language::Language;
use metrics::measure;
use refusal::Case;
use report::{AnswerScores, CandidateScores};

/// In pipeline order.
pub const STAGES: [&str; 4] = ["bm25", "dense", "fused", "reranked"];

/// One question and everything measured on it.
pub struct Asked {
    scores: QuestionScores,
    /// Milliseconds from the question to each stage's ranking.
    times: BTreeMap<String, f64>,
    /// What the last stage found.
    outcome: worst::Outcome,
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
        Self { scores, times: BTreeMap::new(), outcome: worst::Outcome::default(), answer: None }
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
        let passages = self.passages(&stages)?;
        let relevant = labels::relevant(&question.relevant);
        let (mut scores, mut times) = (BTreeMap::new(), BTreeMap::new());
        for (stage, ranking) in rankings(&stages) {
            times.insert(stage.to_owned(), 1e3 * ranking.took.as_secs_f64());
            if !relevant.is_empty() {
                let ranked = labels::units(ranked(ranking, &passages), &question.relevant);
                scores.insert(stage.to_owned(), measure(&ranked, &relevant));
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
            kinds: question.kinds.clone(),
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
        let outcome = outcome(&stages, &passages, question);
        Ok(Asked { scores, times, outcome, answer: facts })
    }

    /// All passages that some stage found.
    fn passages(&self, stages: &Stages) -> Result<HashMap<ChunkId, Passage>> {
        let index = self.answerer.retriever().index();
        let mut passages = HashMap::new();
        for chunk in rankings(stages).into_iter().flat_map(|(_, ranking)| &ranking.chunks) {
            if let Entry::Vacant(passage) = passages.entry(*chunk) {
                passage.insert(index.passage(*chunk)?);
            }
        }
        Ok(passages)
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
        let cited = answer.citations.iter();
        let right = cited.filter(|citation| question.names(&citation.document_id)).count();
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

/// The passages of a ranking.
fn ranked<'a>(
    ranking: &'a Ranking,
    passages: &'a HashMap<ChunkId, Passage>,
) -> impl Iterator<Item = (ChunkId, &'a Passage)> {
    ranking.chunks.iter().filter_map(|chunk| Some((*chunk, passages.get(chunk)?)))
}

/// What the last stage found.
fn outcome(
    stages: &Stages,
    passages: &HashMap<ChunkId, Passage>,
    question: &Question,
) -> worst::Outcome {
    let labels = &question.relevant;
    let last = stages.reranked.as_ref().unwrap_or(&stages.fused);
    let units = labels::units(ranked(last, passages), labels);
    let first = units.iter().position(|unit| matches!(unit, labels::Unit::Label(_)));
    let found = ranked(last, passages)
        .take(worst::FOUND)
        .map(|(_, passage)| Found::new(passage, labels.iter().any(|label| label.means(passage))));
    worst::Outcome {
        expected: labels.iter().map(Expected::from).collect(),
        rank: first.map(|place| place + 1),
        found: found.collect(),
    }
}

fn candidates(stages: &Stages, question: &Question) -> Vec<CandidateScores> {
    let scores = |candidate: &Candidate| CandidateScores {
        document: candidate.document.clone(),
        relevant: question.names(&candidate.document),
        dense: candidate.scores.dense,
        bm25: candidate.scores.bm25,
        normalized_bm25: candidate.normalized_bm25,
        rerank: candidate.scores.rerank,
    };
    stages.candidates.iter().map(scores).collect()
}

/// What decides on refusing each question.
fn cases(asked: &[Asked]) -> Vec<Case> {
    let case = |Asked { scores, .. }: &Asked| Case {
        answerable: scores.answerable,
        relevance: scores.relevance,
        thresholds: scores.thresholds,
        refused: scores.refused,
    };
    asked.iter().map(case).collect()
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
