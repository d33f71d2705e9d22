//! What an LLM is asked.

use serde::Serialize;

/// The two messages that the LLM gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// Who it is and how to answer.
    pub system: String,
    /// Passages and question.
    pub user: String,
}
