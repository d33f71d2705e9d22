//! What happens while a question is answered.

use std::time::Duration;

use anyhow::Error;

use super::{Reason, Unsupported};
use crate::generation::Written;
use crate::generation::local::placement::Placed;
use crate::generation::remote::RemoteError;
use crate::retrieval::Retrieval;
use crate::text::language::Language;

/// Something that happened, in the order in which it does.
#[derive(Debug)]
pub enum Event<'a> {
    /// The LLM is asked to rewrite a follow-up.
    Rewriting,
    /// The LLM failed at that, or no server answered.
    NotRewritten(&'a Error),
    /// A follow-up was understood, and something else is searched for in its place.
    Understood {
        /// What is searched for.
        query: &'a str,
        /// Whether the LLM wrote it; else the question before stands in front.
        by_llm: bool,
        /// How long it took.
        took: Duration,
    },
    /// The best passages were found.
    Searched(&'a Retrieval),
    /// They were reranked.
    Reranked(&'a Retrieval),
    /// There is no answer, and why.
    Refused(Reason),
    /// The LLM does not write the question's language, so the passages' own sentences answer.
    LlmNotFor(Language),
    /// The LLM does not read the passages' language, so their own sentences answer.
    LlmCannotRead,
    /// The LLM is being loaded now.
    LoadingLlm,
    /// It was.
    LlmLoaded {
        /// Where it is.
        placed: &'a Placed,
        /// How long it took.
        took: Duration,
    },
    /// So many of the lowest-ranked passages did not fit into the LLM's context.
    PassagesDropped(usize),
    /// The answer begins.
    Answering,
    /// A piece of it.
    Text(&'a str),
    /// A server did not answer, and `next` is asked after a pause.
    ServerFailed {
        /// Why.
        error: &'a RemoteError,
        /// `host:port`.
        next: &'a str,
        /// How long.
        pause: Duration,
    },
    /// The answer cites passages that it was not given.
    InventedCitations,
    /// These sentences of the answer have no support in the passages.
    Unsupported(&'a [Unsupported]),
    /// The answer cites nothing; the passages it was given stand in for citations.
    NoCitations,
    /// The answer ended.
    Answered {
        /// Time since it began.
        took: Duration,
        /// What the LLM did; none for an extractive answer.
        written: Option<&'a Written>,
    },
}
