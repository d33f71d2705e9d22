//! Writing an answer, by the LLM of this machine or by one on a server.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Answer, Answerer, Event, milliseconds};
use crate::index::Passage;
use crate::llm::{Generation, Stop};
use crate::models::LazyModel;
use crate::pipeline::Writer;
use crate::prompt;
use crate::remote::{Pool, Progress};

/// What was written, by whomever.
#[derive(Debug, Clone)]
pub struct Written {
    /// The text.
    pub text: String,
    /// How many of the passages the prompt held, the best ones.
    pub passages: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub tokens: usize,
    /// Time to read the prompt; with a server to the first text.
    pub prefill: Duration,
    /// Time to write the answer.
    pub decode: Duration,
    /// Why it ended.
    pub stop: Stop,
    /// Time since the answer began.
    pub took: Duration,
}

impl Answerer<'_> {
    /// Writes an answer from `passages`, and notes in `answer` who did and where.
    pub(super) fn write(
        &self,
        question: &str,
        passages: &[Passage],
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Written> {
        match &self.models.llm {
            Writer::Local(llm) => {
                self.write_here(llm, question, passages, answer, interrupted, watch)
            }
            Writer::Remote(pool) => {
                self.write_there(pool, question, passages, answer, interrupted, watch)
            }
        }
    }

    fn write_here(
        &self,
        llm: &LazyModel<crate::llm::Llm>,
        question: &str,
        passages: &[Passage],
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Written> {
        let was_loaded = llm.loaded().is_some();
        let start = Instant::now();
        if !was_loaded {
            watch(Event::LoadingLlm);
        }
        let llm = llm.get()?;
        let placed = llm.placed();
        if !was_loaded {
            answer.timings_ms.load_llm = milliseconds(start.elapsed());
            watch(Event::LlmLoaded { placed, took: start.elapsed() });
        }
        answer.model = Some(self.models.llm_name.clone());
        answer.placement.llm = Some(placed.device.clone());
        let (sampling, template) = (&self.options.sampling, &self.options.prompt);
        let prompt = prompt::build(llm, template, question, passages, sampling.max_tokens)?;
        if prompt.passages < passages.len() {
            watch(Event::PassagesDropped(passages.len() - prompt.passages));
        }
        watch(Event::Answering);
        let start = Instant::now();
        let Generation { text, tokens, prompt_tokens, prefill, decode, stop } = llm
            .generate(&prompt.tokens, sampling, interrupted, &mut |text| watch(Event::Text(text)))
            .context("the LLM failed while it answered")?;
        Ok(Written {
            text,
            passages: prompt.passages,
            prompt_tokens,
            tokens: tokens.len(),
            prefill,
            decode,
            stop,
            took: start.elapsed(),
        })
    }

    fn write_there(
        &self,
        pool: &Pool,
        question: &str,
        passages: &[Passage],
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Written> {
        let (sampling, template) = (&self.options.sampling, &self.options.prompt);
        let (kept, messages) = prompt::messages_within(
            self.models.context,
            template,
            question,
            passages,
            sampling.max_tokens,
        )?;
        if kept < passages.len() {
            watch(Event::PassagesDropped(passages.len() - kept));
        }
        watch(Event::Answering);
        let start = Instant::now();
        let reply = pool.ask(&messages, sampling, interrupted, &mut |progress| match progress {
            Progress::Text(text) => watch(Event::Text(text)),
            Progress::Failed { error, next, pause } => {
                watch(Event::ServerFailed { error, next, pause });
            }
        })?;
        answer.model = Some(reply.model);
        answer.placement.llm = Some(format!("remote:{}", reply.server));
        Ok(Written {
            text: reply.text,
            passages: kept,
            prompt_tokens: reply.prompt_tokens,
            tokens: reply.tokens,
            prefill: reply.first,
            decode: reply.rest,
            stop: reply.stop,
            took: start.elapsed(),
        })
    }
}
