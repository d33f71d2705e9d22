//! Progress events emitted while a question is answered.
//!
//! A server sends them to whoever asked it, so every event can be serialized as it is.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LlmJudgement, Mode, Reason, Unsupported};
use crate::generation::Written;
use crate::generation::local::placement::Placed;
use crate::generation::remote::PoolEvent;
use crate::support::milliseconds;
use crate::text::language::Language;

/// A progress event; the variants are in the order in which they occur.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// Others use the LLM, and this many of them come first.
    Queued {
        /// Generations before this one, the one in progress included.
        ahead: usize,
    },
    /// The LLM is about to rewrite a follow-up.
    Rewriting,
    /// The rewrite failed, or no server answered.
    NotRewritten {
        /// The error with its causes.
        error: Cow<'a, str>,
    },
    /// A follow-up was resolved to a different query.
    Understood {
        /// The query that is searched for.
        query: Cow<'a, str>,
        /// True if the LLM wrote it; false if the previous question was prepended.
        by_llm: bool,
        /// Time taken by the rewrite.
        #[serde(rename = "took_ms", with = "milliseconds")]
        took: Duration,
    },
    /// Retrieval has finished.
    Searched {
        /// Time to embed the question and to search.
        #[serde(rename = "took_ms", with = "milliseconds")]
        took: Duration,
    },
    /// The hits were reranked.
    Reranked {
        /// Time to rerank.
        #[serde(rename = "took_ms", with = "milliseconds")]
        took: Duration,
    },
    /// The question was refused.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// The LLM does not support the question's language, so the answer is extractive.
    LlmNotFor {
        /// That of the question.
        language: Language,
    },
    /// The LLM supports none of the passages' languages, so the answer is extractive.
    LlmCannotRead,
    /// The LLM is about to load.
    LoadingLlm,
    /// The LLM has loaded.
    LlmLoaded {
        /// The device it is on, and the memory it takes.
        #[serde(flatten)]
        placed: Cow<'a, Placed>,
        /// Time taken to load.
        #[serde(rename = "took_ms", with = "milliseconds")]
        took: Duration,
    },
    /// The LLM is about to judge whether the passages answer.
    Judging,
    /// It has judged.
    Judged {
        /// What it made of them.
        judgement: LlmJudgement,
        /// Time since [`Event::Judging`], in which it also read the passages.
        #[serde(rename = "took_ms", with = "milliseconds")]
        took: Duration,
    },
    /// Some of the lowest-ranked passages did not fit the LLM's context.
    PassagesDropped {
        /// How many.
        count: usize,
    },
    /// The answer is about to start.
    Answering {
        /// Written in Markdown, or quoted.
        mode: Mode,
    },
    /// A piece of the answer's text.
    Text {
        /// To be added to what came before.
        text: Cow<'a, str>,
    },
    /// A piece of the LLM's reasoning, which is no part of the answer.
    Thinking {
        /// To be added to what came before.
        text: Cow<'a, str>,
    },
    /// The text so far was reasoning, and the answer begins anew.
    Retracted,
    /// A server refused a part of the request, and is asked again without it.
    ServerAdapted {
        /// `host:port`.
        server: Cow<'a, str>,
        /// Its name in the protocol.
        field: Cow<'a, str>,
    },
    /// A server seems to have read only a part of the prompt.
    PromptCut {
        /// `host:port`.
        server: Cow<'a, str>,
        /// Tokens that it read.
        read: usize,
        /// Tokens that the prompt has, by our estimate.
        estimated: usize,
    },
    /// A server failed; `next` will be tried after a pause.
    ServerFailed {
        /// The failure, in words.
        error: Cow<'a, str>,
        /// `host:port` of the server to try next.
        next: Cow<'a, str>,
        /// The delay before the next attempt.
        #[serde(rename = "pause_ms", with = "milliseconds")]
        pause: Duration,
    },
    /// The answer cites passage numbers that do not exist.
    InventedCitations,
    /// The passages do not support some sentences of the answer.
    Unsupported {
        /// Which.
        sentences: Cow<'a, [Unsupported]>,
    },
    /// The LLM cited nothing.
    NoCitations {
        /// Whether passages that support its sentences are cited instead.
        supported: bool,
    },
    /// The answer is complete.
    Answered {
        /// Time since [`Event::Answering`].
        #[serde(rename = "took_ms", with = "milliseconds")]
        took: Duration,
        /// How fast the LLM wrote; `None` for an extractive answer.
        pace: Option<Pace>,
    },
}

/// How fast an LLM wrote.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Tokens generated, reasoning included.
    pub tokens: usize,
    /// Time to generate them, without reading the prompt.
    #[serde(rename = "decode_ms", with = "milliseconds")]
    pub decode: Duration,
}

impl Pace {
    /// Too short a time to tell a speed from.
    const MIN_MEASURED: Duration = Duration::from_millis(20);
    /// Faster than any LLM writes: the server's count or our clock is wrong.
    const MAX_RATE: f64 = 20_000.0;

    /// Tokens per second, if that can be told.
    pub fn rate(self) -> Option<f64> {
        let rate = self.tokens as f64 / self.decode.as_secs_f64();
        (self.decode >= Self::MIN_MEASURED && rate <= Self::MAX_RATE).then_some(rate)
    }
}

impl From<&Written> for Pace {
    fn from(written: &Written) -> Self {
        Self { tokens: written.tokens, decode: written.decode }
    }
}

impl<'a> From<PoolEvent<'a>> for Event<'a> {
    fn from(event: PoolEvent<'a>) -> Self {
        match event {
            PoolEvent::Text(text) => Self::Text { text: text.into() },
            PoolEvent::Thinking(text) => Self::Thinking { text: text.into() },
            PoolEvent::Retracted => Self::Retracted,
            PoolEvent::Adapted { server, field } => {
                Self::ServerAdapted { server: server.into(), field: field.into() }
            }
            PoolEvent::PromptCut { server, read, estimated } => {
                Self::PromptCut { server: server.into(), read, estimated }
            }
            PoolEvent::Failed { error, next, pause } => {
                Self::ServerFailed { error: error.to_string().into(), next: next.into(), pause }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were_sent() {
        let ms = Duration::from_micros(12_345);
        let placed = Placed { device: "cuda:0".to_owned(), memory: None };
        for (event, json) in [
            (Event::Rewriting, r#"{"event":"rewriting"}"#),
            (Event::Queued { ahead: 2 }, r#"{"event":"queued","ahead":2}"#),
            (
                Event::LlmLoaded { placed: Cow::Borrowed(&placed), took: ms },
                r#"{"event":"llm_loaded","device":"cuda:0","memory":null,"took_ms":12.345}"#,
            ),
            (Event::Text { text: "a\n".into() }, r#"{"event":"text","text":"a\n"}"#),
            (
                Event::Answered { took: ms, pace: Some(Pace { tokens: 7, decode: ms }) },
                r#"{"event":"answered","took_ms":12.345,"pace":{"tokens":7,"decode_ms":12.345}}"#,
            ),
            (
                Event::Refused { reason: Reason::NoMatch },
                r#"{"event":"refused","reason":"no_match"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&event).unwrap(), json);
            assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
        }
    }

    #[test]
    fn a_speed_that_cannot_be_told_is_not() {
        let pace = |tokens, ms| Pace { tokens, decode: Duration::from_millis(ms) }.rate();
        assert_eq!(pace(100, 1_000), Some(100.0));
        assert_eq!(pace(100, 19), None);
        assert_eq!(pace(100_000, 1_000), None);
    }
}
