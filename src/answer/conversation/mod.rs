//! A conversation: a sequence of questions, each answered by one call.
//!
//! Retrieval needs a standalone question. A follow-up such as "And its drawbacks?" is rewritten by
//! the LLM if that is already loaded; otherwise the last standalone question is prepended. The
//! answer reports what was searched for.

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

/// A conversation over one [`Answerer`]. It owns only its own turns, so any number of conversations
/// can share an answerer across threads.
pub struct Conversation<'a> {
    answerer: &'a Answerer<'a>,
    dialogue: Dialogue,
}

impl<'a> Conversation<'a> {
    /// Starts an empty conversation; loads no model.
    pub fn new(answerer: &'a Answerer<'a>) -> Self {
        Self::after(answerer, Dialogue::default())
    }

    /// Goes on with a conversation; loads no model.
    pub fn after(answerer: &'a Answerer<'a>, dialogue: Dialogue) -> Self {
        Self { answerer, dialogue }
    }

    /// What was asked and answered so far.
    pub fn into_dialogue(self) -> Dialogue {
        self.dialogue
    }

    /// Answers a question in the context of earlier turns and adds it to the history. Reports
    /// progress to `watch`, and stops soon after `interrupted` becomes true.
    ///
    /// # Errors
    /// Fails if the question is invalid ([`QuestionError`](question::QuestionError)), a model fails
    /// to load or run, or the index cannot be read. A turn that failed, or that the documents do not
    /// answer, is not added to the history.
    pub fn ask(
        &mut self,
        question: &str,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Answer> {
        let typed = question;
        let question = question::normalize(typed)?;
        let answerer = self.answerer;
        let mut turn = None;
        let rewriter = |watch: &mut dyn FnMut(Event)| {
            let generator = answerer.ready_generator(&question)?;
            // A follow-up can be searched for without a rewrite, even if too many wait.
            let waited =
                answerer.llm.turn(interrupted, &mut |ahead| watch(Event::Queued { ahead }));
            turn = Some(waited.ok()??);
            Some(Rewriter { generator, template: &answerer.options.rewriting })
        };
        let start = Instant::now();
        let query = self.dialogue.understand(&question, rewriter, interrupted, watch);
        drop(turn);
        let rewrite = start.elapsed();
        let searched = query.text();
        if let Some(query_text) = searched {
            let by_llm = matches!(query, RewrittenQuery::ByLlm(_));
            watch(Event::Understood { query: query_text.into(), by_llm, took: rewrite });
        }
        let rewrite = searched.map_or(Duration::ZERO, |_| rewrite);
        let asked = Asked { typed, question: &question, searched, rewrite };
        let answer = answerer.answer(asked, interrupted, watch)?;
        if answer.answered {
            self.dialogue.remember(&question, &query, &answer.answer);
        }
        Ok(answer)
    }

    /// Clears the history.
    pub fn forget(&mut self) {
        self.dialogue = Dialogue::default();
    }
}
