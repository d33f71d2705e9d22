//! Progress events emitted while a question is answered.

use std::time::Duration;

use anyhow::Error;

use super::{LlmJudgement, Mode, Reason, Unsupported};
use crate::generation::Written;
use crate::generation::local::placement::Placed;
use crate::generation::remote::{PoolEvent, RemoteError};
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
    /// The LLM is about to judge whether the passages answer.
    Judging,
    /// It has judged.
    Judged {
        /// What it made of them.
        judgement: LlmJudgement,
        /// Time since [`Event::Judging`], in which it also read the passages.
        took: Duration,
    },
    /// This many of the lowest-ranked passages did not fit the LLM's context.
    PassagesDropped(usize),
    /// The answer is about to start: written in Markdown, or quoted.
    Answering(Mode),
    /// A piece of the answer's text.
    Text(&'a str),
    /// A piece of the LLM's reasoning, which is no part of the answer.
    Thinking(&'a str),
    /// The text so far was reasoning, and the answer begins anew.
    Retracted,
    /// A server refused a part of the request, and is asked again without it.
    ServerAdapted {
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
    /// The LLM cited nothing.
    NoCitations {
        /// Whether passages that support its sentences are cited instead.
        supported: bool,
    },
    /// The answer is complete.
    Answered {
        /// Time since [`Event::Answering`].
        took: Duration,
        /// Generation statistics; `None` for an extractive answer.
        written: Option<&'a Written>,
    },
}

impl<'a> From<PoolEvent<'a>> for Event<'a> {
    fn from(event: PoolEvent<'a>) -> Self {
        match event {
            PoolEvent::Text(text) => Self::Text(text),
            PoolEvent::Thinking(text) => Self::Thinking(text),
            PoolEvent::Retracted => Self::Retracted,
            PoolEvent::Adapted { server, field } => Self::ServerAdapted { server, field },
            PoolEvent::PromptCut { server, read, estimated } => {
                Self::PromptCut { server, read, estimated }
            }
            PoolEvent::Failed { error, next, pause } => Self::ServerFailed { error, next, pause },
        }
    }
}
