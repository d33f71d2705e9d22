//! A conversation: questions that follow on each other, each answered by one call.
//!
//! Documents are searched for a question that can be understood by itself. "And its drawbacks?"
//! becomes one by the LLM, if it is loaded already; else the question before is put in front of it.
//! The answer says what was searched for.

mod dialogue;
mod follow_up;
mod rewrite;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::answerer::{Answerer, Asked};
use super::{Answer, Event};
use crate::text::question;
pub use dialogue::{Dialogue, RewrittenQuery};
pub use follow_up::is_follow_up;
pub use rewrite::{RewriteTemplate, Rewriter};

/// Questions that follow on each other. It holds its own turns only; any number of conversations
/// may go on at once over one [`Answerer`], from any number of threads.
pub struct Conversation<'a> {
    answerer: &'a Answerer<'a>,
    dialogue: Dialogue,
}

impl<'a> Conversation<'a> {
    /// Begins a conversation; loads nothing.
    pub fn new(answerer: &'a Answerer<'a>) -> Self {
        Self { answerer, dialogue: Dialogue::default() }
    }

    /// Answers a question, after those before it, and remembers both. Tells `watch` what happens
    /// on the way, and stops soon after `interrupted` becomes true.
    ///
    /// # Errors
    /// The question is none ([`QuestionError`](question::QuestionError)), a model cannot be loaded
    /// or fails, or the index cannot be read. What failed is not remembered.
    pub fn ask(
        &mut self,
        question: &str,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Answer> {
        let question = question::normalize(question)?;
        let answerer = self.answerer;
        let rewriter = || {
            let generator = answerer.ready_generator(&question)?;
            Some(Rewriter { generator, template: &answerer.options.rewriting })
        };
        let start = Instant::now();
        let query = self.dialogue.understand(&question, rewriter, interrupted, watch);
        let rewrite = start.elapsed();
        let searched = query.text();
        if let Some(query_text) = searched {
            let by_llm = matches!(query, RewrittenQuery::ByLlm(_));
            watch(Event::Understood { query: query_text, by_llm, took: rewrite });
        }
        let rewrite = searched.map_or(Duration::ZERO, |_| rewrite);
        let asked = Asked { question: &question, searched, rewrite };
        let answer = answerer.answer(asked, interrupted, watch)?;
        self.dialogue.remember(&question, &query, &answer.answer);
        Ok(answer)
    }

    /// Forgets all that was asked.
    pub fn forget(&mut self) {
        self.dialogue = Dialogue::default();
    }
}
