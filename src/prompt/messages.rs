//! The messages sent to the LLM.

use serde::Serialize;

/// The two messages of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// The instructions.
    pub system: String,
    /// Passages and question.
    pub user: String,
}

/// Asks an LLM about its passages, in a word. In English whatever the language of the question, since
/// every LLM knows it and the words of other languages differ in their tokens.
const DO_THEY_ANSWER: &str = "Before you answer: do the passages above state the answer to this \
    question? Reply with one word, Yes or No.";

impl Messages {
    /// The same passages and question, with the question whether they answer it behind them.
    #[must_use]
    pub fn whether_they_answer(&self) -> Self {
        let user = format!("{}\n\n{DO_THEY_ANSWER}", self.user.trim_end());
        Self { system: self.system.clone(), user }
    }
}
