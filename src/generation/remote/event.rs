//! What happens while an answer is waited for.

use std::time::Duration;

use super::RemoteError;
use crate::generation::thinking::Part;

/// A progress event while waiting for an answer.
#[derive(Debug)]
pub enum PoolEvent<'a> {
    /// A piece of the answer.
    Text(&'a str),
    /// A piece of the model's reasoning.
    Thinking(&'a str),
    /// The answer so far was reasoning, whose opening mark was missing.
    Retracted,
    /// A server refused a part of the request, and is asked again without it.
    Adapted {
        /// `host:port`.
        server: &'a str,
        /// Its name in the protocol.
        field: &'a str,
    },
    /// A server seems to have read only a part of the prompt.
    PromptCut {
        /// `host:port`.
        server: &'a str,
        /// Tokens that it read.
        read: usize,
        /// Tokens that the prompt has, by our estimate.
        estimated: usize,
    },
    /// A server failed; `next` will be tried after a pause.
    Failed {
        /// The failure.
        error: &'a RemoteError,
        /// `host:port` of the server to try next.
        next: &'a str,
        /// Zero unless every server has been tried in this round.
        pause: Duration,
    },
}

impl<'a> From<Part<'a>> for PoolEvent<'a> {
    fn from(part: Part<'a>) -> Self {
        match part {
            Part::Text(text) => Self::Text(text),
            Part::Thinking(text) => Self::Thinking(text),
            Part::Retracted => Self::Retracted,
        }
    }
}
