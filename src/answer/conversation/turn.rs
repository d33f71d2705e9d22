//! One turn of a conversation's history.

use serde::{Deserialize, Serialize};

/// Characters kept of a question or an answer.
pub(super) const MAX_CHARACTERS: usize = 300;

/// A question and its answer, each on one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Turn {
    pub question: String,
    pub answer: String,
}
