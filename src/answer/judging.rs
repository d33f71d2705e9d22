//! The LLM's own word on whether the passages answer, and the gate that it decides together with
//! retrieval.
//!
//! Retrieval cannot tell a near miss, a passage about the very thing that leaves the question open;
//! reading can (docs/retrieval.md). The LLM is asked before it writes, with the same prompt, so that
//! the passages are read once.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;

use super::answerer::Answerer;
use super::merge::merge;
use super::write::Prepared;
use super::{Answer, Event, LlmJudgement, Reason};
use crate::generation::Generator;
use crate::models::catalogue::JudgeCalibration;
use crate::retrieval::Retrieval;
use crate::support::milliseconds;

impl Answerer<'_> {
    /// How the LLM's word decides about this answer; `None` if it is not asked: because it is not
    /// calibrated, nothing may be refused, or retrieval's probability, which decides with it, is none.
    pub(super) fn judge_of(&self, answer: &Answer) -> Option<JudgeCalibration> {
        let calibrated = answer.relevance.refused_below.is_some();
        self.llm.judge.filter(|_| calibrated && !self.options.force)
    }

    /// Asks the LLM whether the passages of its prompt answer, and refuses if they probably do not.
    pub(super) fn ask_whether_they_answer(
        &self,
        generator: Generator,
        prepared: &Prepared,
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let Some(calibration) = self.judge_of(answer) else { return Ok(()) };
        watch(Event::Judging);
        let start = Instant::now();
        let asked = generator.prompt(prepared.messages.whether_they_answer())?;
        let Some(judged) = prepared.prompt.judge(&asked, interrupted)? else { return Ok(()) };
        let judgement =
            LlmJudgement::new(judged.log_odds, answer.relevance.probability, calibration);
        watch(Event::Judged { judgement, took: start.elapsed() });
        answer.timings_ms.prefill = milliseconds::of(judged.prefill);
        answer.timings_ms.judge = milliseconds::of(judged.judging);
        answer.tokens.prompt = asked.tokens();
        answer.relevance.llm = Some(judgement);
        if let Generator::Local { llm, name } = generator {
            answer.model = Some(name.to_owned());
            answer.placement.llm = Some(llm.placed().device.clone());
        }
        if judgement.refuses() {
            answer.answered = false;
            answer.reason = Some(Reason::NotInPassages);
        }
        Ok(())
    }

    /// The LLM's log-odds that what was found answers the question, loading it if necessary; `None` if
    /// it would not be asked to answer, or was interrupted.
    pub fn log_odds(
        &self,
        question: &str,
        retrieval: &Retrieval,
        interrupted: &AtomicBool,
    ) -> Result<Option<f32>> {
        let Ok(sources) = self.for_llm(question, &merge(&retrieval.hits)) else { return Ok(None) };
        let passages: Vec<_> = sources.into_iter().map(|source| source.passage).collect();
        if passages.is_empty() {
            return Ok(None);
        }
        let generator = self.llm.get()?;
        let prepared = self.prepare(generator, question, &passages, true)?;
        let asked = generator.prompt(prepared.messages.whether_they_answer())?;
        Ok(prepared.prompt.judge(&asked, interrupted)?.map(|judged| judged.log_odds))
    }
}

impl LlmJudgement {
    /// `log_odds` is the LLM's, `probability` retrieval's.
    fn new(log_odds: f32, probability: f32, calibration: JudgeCalibration) -> Self {
        let probability = calibration.probability(log_odds, probability);
        Self { log_odds, probability, refused_below: calibration.refused_below }
    }

    fn refuses(self) -> bool {
        self.probability < self.refused_below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_a_say() {
        let calibration =
            JudgeCalibration { llm: 2.0, retrieval: 1.0, bias: -1.0, refused_below: 0.5 };
        let of = |log_odds, probability| LlmJudgement::new(log_odds, probability, calibration);
        // 2 · 0.5 + 0 − 1 = 0.
        assert!((of(0.5, 0.5).probability - 0.5).abs() < 1e-6);
        assert!(!of(0.51, 0.5).refuses() && of(0.49, 0.5).refuses());
        assert!(!of(0.0, 0.8).refuses() && of(0.0, 0.7).refuses(), "logits of 1.39 and 0.85");
        // Certainties stay finite.
        assert!(of(-3.0, 1.0).probability > 0.9 && of(90.0, 0.0).probability > 0.9);
    }
}
