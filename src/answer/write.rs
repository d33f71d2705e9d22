//! Generates an answer with the local or remote LLM.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;

use super::answerer::{Answerer, milliseconds};
use super::frame::{Frame, Guard};
use super::{Answer, Event, Mode, Reason, TokenCounts};
use crate::generation::Generator;
use crate::generation::local::Stop;
use crate::generation::remote::PoolEvent;
use crate::index::Passage;
use crate::prompt;

impl Answerer<'_> {
    /// Writes the answer's text from `passages`, and returns how many of the best ones fitted the
    /// prompt.
    pub(super) fn write(
        &self,
        question: &str,
        passages: &[Passage],
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<usize> {
        let generator = self.generator(answer, watch)?;
        let sampling = &self.options.sampling;
        let (read, (frame, prompt)) = prompt::fill(
            &self.options.prompt,
            question,
            passages,
            generator.context(),
            sampling.max_tokens,
            |messages| Ok((Frame::of(&messages, question), generator.prompt(messages)?)),
            |(_, prompt)| prompt.tokens(),
        )?;
        if read < passages.len() {
            watch(Event::PassagesDropped(passages.len() - read));
        }
        watch(Event::Answering(Mode::Generative));
        let start = Instant::now();
        let mut guard = Guard::new(frame);
        let written = prompt.write(sampling, interrupted, &mut |progress| match progress {
            PoolEvent::Text(text) => guard.push(text, &mut |text| watch(Event::Text(text))),
            other => {
                if matches!(other, PoolEvent::Retracted) {
                    guard.reset();
                }
                watch(other.into());
            }
        })?;
        guard.finish(&mut |text| watch(Event::Text(text)));
        watch(Event::Answered { took: start.elapsed(), written: Some(&written) });
        answer.mode = Mode::Generative;
        guard.text().trim().clone_into(&mut answer.answer);
        answer.answered = !answer.answer.is_empty();
        answer.reason = match written.stop {
            Stop::EndOfText => None,
            Stop::MaxTokens => Some(Reason::MaxTokens),
            Stop::Interrupted => Some(Reason::Interrupted),
            Stop::Filtered => Some(Reason::ContentFilter),
        };
        answer.timings_ms.prefill = milliseconds(written.prefill);
        answer.timings_ms.decode = milliseconds(written.decode);
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
        answer.timings_ms.load_llm = milliseconds(start.elapsed());
        if let Generator::Local { llm, .. } = generator {
            watch(Event::LlmLoaded { placed: llm.placed(), took: start.elapsed() });
        }
        Ok(generator)
    }
}
