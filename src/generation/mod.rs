//! Generation: messages → text, by an LLM on this machine or on a server.
//!
//! Answers and rewritten questions are written through a [`Generator`], so neither needs to know
//! where the LLM is.

mod lazy;
pub mod local;
pub mod remote;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::prompt::Messages;
pub use lazy::{LazyGenerator, LlmSource};
use local::{Generation, Llm, SamplingOptions, Stop};
use remote::{Pool, PoolEvent};

/// An LLM that is ready to write.
#[derive(Clone, Copy)]
pub enum Generator<'a> {
    /// Loaded on this machine.
    Local {
        /// The loaded model.
        llm: &'a Llm,
        /// Its name, for people.
        name: &'a str,
    },
    /// On servers.
    Remote {
        /// The servers.
        pool: &'a Pool,
        /// The most tokens that prompt and text may have together.
        context: usize,
        /// How often to try all servers before giving up.
        rounds: u32,
    },
}

/// Messages in the form that an LLM takes.
pub enum Prompt<'a> {
    /// In the model's own chat format.
    Local {
        /// The model that they are for.
        llm: &'a Llm,
        /// Its name, for people.
        name: &'a str,
        /// Token ids.
        tokens: Vec<u32>,
    },
    /// As they are, since the tokenizer is on the servers.
    Remote {
        /// The servers that they are for.
        pool: &'a Pool,
        /// How often to try all servers.
        rounds: u32,
        messages: Messages,
    },
}

/// A generated text, and what it cost.
#[derive(Debug, Clone)]
pub struct Written {
    pub text: String,
    /// The model that wrote it.
    pub model: String,
    /// Where that model runs: a device, or `remote:host:port`.
    pub place: String,
    /// Tokens of the prompt; 0 if a server does not say.
    pub prompt_tokens: usize,
    /// Tokens of the text; pieces if a server does not say.
    pub tokens: usize,
    /// Time to read the prompt; with a server, to the first text.
    pub prefill: Duration,
    /// Time to write the text.
    pub decode: Duration,
    /// Why it ended.
    pub stop: Stop,
}

impl<'a> Generator<'a> {
    /// The same generator for a text that can be done without: each server is tried once.
    #[must_use]
    pub fn once(self) -> Self {
        match self {
            Self::Remote { pool, context, .. } => Self::Remote { pool, context, rounds: 1 },
            Self::Local { .. } => self,
        }
    }

    /// Tokens that prompt and text may have together.
    pub fn context(self) -> usize {
        match self {
            Self::Local { llm, .. } => llm.context(),
            Self::Remote { context, .. } => context,
        }
    }

    /// The prompt of these messages.
    pub fn prompt(self, messages: Messages) -> Result<Prompt<'a>> {
        Ok(match self {
            Self::Local { llm, name } => {
                let tokens = llm.encode_chat(&messages.system, &messages.user)?;
                Prompt::Local { llm, name, tokens }
            }
            Self::Remote { pool, rounds, .. } => Prompt::Remote { pool, rounds, messages },
        })
    }
}

impl Prompt<'_> {
    /// Its length in tokens; an estimate for a server.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Local { tokens, .. } => tokens.len(),
            Self::Remote { messages, .. } => remote::estimate(messages),
        }
    }

    /// Generates the text and passes each piece to `watch` as it comes. Stops soon after
    /// `interrupted` becomes true.
    pub fn write(
        &self,
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(PoolEvent),
    ) -> Result<Written> {
        match self {
            Self::Local { llm, name, tokens } => {
                let Generation { text, tokens, prompt_tokens, prefill, decode, stop } = llm
                    .generate(tokens, options, interrupted, &mut |text| {
                        watch(PoolEvent::Text(text));
                    })
                    .context("the LLM failed while it wrote")?;
                let (model, place) = ((*name).to_owned(), llm.placed().device.clone());
                let tokens = tokens.len();
                Ok(Written { text, model, place, prompt_tokens, tokens, prefill, decode, stop })
            }
            Self::Remote { pool, rounds, messages } => {
                let reply = pool.ask(messages, options, *rounds, interrupted, watch)?;
                Ok(Written {
                    text: reply.text,
                    model: reply.model,
                    place: format!("remote:{}", reply.server),
                    prompt_tokens: reply.prompt_tokens,
                    tokens: reply.tokens,
                    prefill: reply.first,
                    decode: reply.rest,
                    stop: reply.stop,
                })
            }
        }
    }
}
