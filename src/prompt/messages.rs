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
