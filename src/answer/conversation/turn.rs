//! What is remembered of one question.

/// How much of a question or an answer is remembered, in characters.
pub(super) const MAX_CHARACTERS: usize = 300;

/// A question and its answer, one line each.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub question: String,
    pub answer: String,
}
