//! Generates an answer with the local or remote LLM.

use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;

use super::answerer::Answerer;
use super::event::Pace;
use super::frame::{Frame, Guard};
use super::{Answer, Event, Mode, Reason, TokenCounts};
use crate::generation::local::Stop;
use crate::generation::remote::PoolEvent;
use crate::generation::{Generator, Prompt};
use crate::index::Passage;
use crate::prompt::{self, Messages};
use crate::support::milliseconds;

/// Room in the context for the question whether the passages answer, in tokens.
const ROOM_FOR_JUDGING: usize = 128;

/// A prompt that is ready to be written from.
pub(super) struct Prepared<'a> {
    /// How many of the passages fitted it.
    read: usize,
    frame: Frame,
    pub messages: Messages,
    pub prompt: Prompt<'a>,
}

impl Answerer<'_> {
    /// Makes the prompt, with as many of the best `passages` as fit beside an answer, and beside the
    /// question whether they answer if that `is_judged`.
    pub(super) fn prepare<'a>(
        &self,
        generator: Generator<'a>,
        question: &str,
        passages: &[Passage],
        is_judged: bool,
    ) -> Result<Prepared<'a>> {
        let room = if is_judged { ROOM_FOR_JUDGING } else { 0 };
        let (read, prepared) = prompt::fill(
            &self.options.prompt,
            question,
            passages,
            generator.context(),
            self.options.sampling.max_tokens.max(room),
            |messages| Ok((messages.clone(), generator.prompt(messages)?)),
            |(_, prompt)| prompt.tokens(),
        )?;
        let (messages, prompt) = prepared;
        Ok(Prepared { read, frame: Frame::of(&messages, question), messages, prompt })
    }

    /// Writes the answer's text from `passages`, and returns how many of the best ones fitted the
    /// prompt; unless the LLM judges that they do not answer, which is a reason.
    pub(super) fn write(
        &self,
        question: &str,
        passages: &[Passage],
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<usize> {
        let turn = self.llm.turn(interrupted, &mut |ahead| watch(Event::Queued { ahead }))?;
        let Some(_turn) = turn else {
            answer.answered = false;
            answer.reason = Some(Reason::Interrupted);
            return Ok(0);
        };
        let generator = self.generator(answer, watch)?;
        let sampling = &self.options.sampling;
        let is_judged = self.judge_of(answer).is_some();
        let prepared = self.prepare(generator, question, passages, is_judged)?;
        let read = prepared.read;
        if read < passages.len() {
            watch(Event::PassagesDropped { count: passages.len() - read });
        }
        answer.mode = Mode::Generative;
        self.ask_whether_they_answer(generator, &prepared, answer, interrupted, watch)?;
        if !answer.answered {
            return Ok(read);
        }
        let Prepared { frame, prompt, .. } = prepared;
        watch(Event::Answering { mode: Mode::Generative });
        let start = Instant::now();
        let mut guard = Guard::new(frame);
        let written = prompt.write(sampling, interrupted, &mut |progress| match progress {
            PoolEvent::Text(text) => {
                guard.push(text, &mut |text| watch(Event::Text { text: text.into() }));
            }
            other => {
                if matches!(other, PoolEvent::Retracted) {
                    guard.reset();
                }
                watch(other.into());
            }
        })?;
        guard.finish(&mut |text| watch(Event::Text { text: text.into() }));
        watch(Event::Answered { took: start.elapsed(), pace: Some(Pace::from(&written)) });
        guard.text().trim().clone_into(&mut answer.answer);
        answer.answered = !answer.answer.is_empty();
        answer.reason = match written.stop {
            Stop::EndOfText => None,
            Stop::MaxTokens => Some(Reason::MaxTokens),
            Stop::Interrupted => Some(Reason::Interrupted),
            Stop::Filtered => Some(Reason::ContentFilter),
        };
        answer.timings_ms.prefill = milliseconds::of(written.prefill);
        answer.timings_ms.decode = milliseconds::of(written.decode);
        answer.tokens = TokenCounts { prompt: written.prompt_tokens, generated: written.tokens };
        answer.model = Some(written.model);
        answer.placement.llm = Some(written.place);
        Ok(read)
    }

    /// The LLM, loading a local one if necessary.
    fn generator(
        &self,
        answer: &mut Answer,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Generator<'_>> {
        if let Some(ready) = self.llm.ready() {
            return Ok(ready);
        }
        watch(Event::LoadingLlm);
        let start = Instant::now();
        let generator = self.llm.get()?;
        answer.timings_ms.load_llm = milliseconds::of(start.elapsed());
        if let Generator::Local { llm, .. } = generator {
            let placed = Cow::Borrowed(llm.placed());
            watch(Event::LlmLoaded { placed, took: start.elapsed() });
        }
        Ok(generator)
    }
}
