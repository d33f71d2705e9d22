//! Progress events emitted while a question is answered.

use std::time::Duration;

use anyhow::Error;

use super::{Reason, Unsupported};
use crate::generation::Written;
use crate::generation::local::placement::Placed;
use crate::generation::remote::RemoteError;
use crate::retrieval::Retrieval;
use crate::text::language::Language;

/// A progress event; the variants are in the order in which they occur.
#[derive(Debug)]
pub enum Event<'a> {
    /// The LLM is about to rewrite a follow-up.
    Rewriting,
    /// The rewrite failed, or no server answered.
    NotRewritten(&'a Error),
    /// A follow-up was resolved to a different query.
    Understood {
        /// The query that is searched for.
        query: &'a str,
        /// True if the LLM wrote it; false if the previous question was prepended.
        by_llm: bool,
        /// Time taken by the rewrite.
        took: Duration,
    },
    /// Retrieval has finished.
    Searched(&'a Retrieval),
    /// The hits were reranked.
    Reranked(&'a Retrieval),
    /// The question was refused, for this reason.
    Refused(Reason),
    /// The LLM does not support the question's language, so the answer is extractive.
    LlmNotFor(Language),
    /// The LLM supports none of the passages' languages, so the answer is extractive.
    LlmCannotRead,
    /// The LLM is about to load.
    LoadingLlm,
    /// The LLM has loaded.
    LlmLoaded {
        /// The device it is on, and the memory it takes.
        placed: &'a Placed,
        /// Time taken to load.
        took: Duration,
    },
    /// This many of the lowest-ranked passages did not fit the LLM's context.
    PassagesDropped(usize),
    /// The answer is about to start.
    Answering,
    /// A piece of the answer's text.
    Text(&'a str),
    /// A server failed; `next` will be tried after a pause.
    ServerFailed {
        /// The failure.
        error: &'a RemoteError,
        /// `host:port` of the server to try next.
        next: &'a str,
        /// The delay before the next attempt.
        pause: Duration,
    },
    /// The answer cites passage numbers that do not exist.
    InventedCitations,
    /// Sentences of the answer that the passages do not support.
    Unsupported(&'a [Unsupported]),
    /// The answer has no citations, so every passage it was given is listed instead.
    NoCitations,
    /// The answer is complete.
    Answered {
        /// Time since [`Event::Answering`].
        took: Duration,
        /// Generation statistics; `None` for an extractive answer.
        written: Option<&'a Written>,
    },
}
