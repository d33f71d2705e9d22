//! Generation: messages → text, with a local or remote LLM.
//!
//! Answers and rewritten questions go through a [`Generator`], so neither depends on where the LLM
//! runs.

mod lazy;
pub mod local;
pub mod remote;
mod thinking;
mod turns;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::prompt::Messages;
pub use lazy::{LazyGenerator, LlmSource};
use local::{Generation, Judged, Llm, SamplingOptions, Stop};
use remote::{Pool, PoolEvent};
use thinking::{Part, Splitter};
pub use turns::{QueueFull, Turn, Turns};

/// An LLM that is ready to generate.
#[derive(Clone, Copy)]
pub enum Generator<'a> {
    /// Loaded on this machine.
    Local {
        /// The loaded model.
        llm: &'a Llm,
        /// Display name.
        name: &'a str,
    },
    /// On servers.
    Remote {
        /// The servers to ask.
        pool: &'a Pool,
        /// Limit on prompt plus answer, in tokens.
        context: usize,
        /// How many times to try all servers before giving up.
        rounds: u32,
    },
}

/// Messages prepared for an LLM.
pub enum Prompt<'a> {
    /// Encoded in the model's chat format.
    Local {
        /// The model they were encoded for.
        llm: &'a Llm,
        /// Display name.
        name: &'a str,
        /// Token ids.
        tokens: Vec<u32>,
    },
    /// Unencoded, because the tokenizer is on the servers.
    Remote {
        /// The servers to ask.
        pool: &'a Pool,
        /// How many times to try all servers.
        rounds: u32,
        messages: Messages,
    },
}

/// A generated text with its statistics.
#[derive(Debug, Clone)]
pub struct Written {
    /// Without the model's reasoning.
    pub text: String,
    /// Name of the model.
    pub model: String,
    /// Where the model ran: a device, or `remote:host:port`.
    pub place: String,
    /// Tokens in the prompt; 0 if a server does not report it.
    pub prompt_tokens: usize,
    /// Tokens generated, reasoning included; the number of pieces if a server does not report it.
    pub tokens: usize,
    /// Time to process the prompt; for a server, time to the first text or reasoning.
    pub prefill: Duration,
    /// Time to generate the text.
    pub decode: Duration,
    /// Why generation stopped.
    pub stop: Stop,
}

impl<'a> Generator<'a> {
    /// Limits a generator to one attempt per server, for optional texts.
    #[must_use]
    pub fn once(self) -> Self {
        match self {
            Self::Remote { pool, context, .. } => Self::Remote { pool, context, rounds: 1 },
            Self::Local { .. } => self,
        }
    }

    /// Limit on prompt plus answer, in tokens.
    pub fn context(self) -> usize {
        match self {
            Self::Local { llm, .. } => llm.context(),
            Self::Remote { context, .. } => context,
        }
    }

    /// Prepares messages for this LLM.
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
    /// Length in tokens; an estimate for a server.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Local { tokens, .. } => tokens.len(),
            Self::Remote { messages, .. } => remote::estimate(messages),
        }
    }

    /// What a local LLM says to the yes-or-no question `asked`, before it writes from this prompt; what
    /// both begin with is read once. `None` if it is on servers, or was interrupted.
    pub fn judge(&self, asked: &Prompt, interrupted: &AtomicBool) -> Result<Option<Judged>> {
        let (Self::Local { llm, tokens: next, .. }, Prompt::Local { tokens: asked, .. }) =
            (self, asked)
        else {
            return Ok(None);
        };
        llm.log_odds(asked, next, interrupted).context("the LLM failed while it judged")
    }

    /// Generates the text, passing each piece to `watch` as it is produced. Stops soon after
    /// `interrupted` becomes true.
    ///
    /// # Errors
    /// The LLM fails, or everything that it writes is reasoning.
    pub fn write(
        &self,
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(PoolEvent),
    ) -> Result<Written> {
        match self {
            Self::Local { llm, name, tokens } => {
                write_here(llm, name, tokens, options, interrupted, watch)
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

/// Generates a text on this machine.
fn write_here(
    llm: &Llm,
    name: &str,
    prompt: &[u32],
    options: &SamplingOptions,
    interrupted: &AtomicBool,
    watch: &mut dyn FnMut(PoolEvent),
) -> Result<Written> {
    let mut answer = String::new();
    let mut splitter = Splitter::new(thinking::is_reasoning_model(name));
    let mut take = |part: Part| {
        part.add_to(&mut answer);
        watch(part.into());
    };
    let generation = llm
        .generate(prompt, options, interrupted, &mut |text| splitter.push(text, &mut take))
        .context("the LLM failed while it wrote")?;
    let Generation { tokens, prompt_tokens, prefill, decode, stop, .. } = generation;
    if stop != Stop::Interrupted {
        splitter.finish(&mut take);
        ensure!(
            !splitter.has_thought() || !answer.trim().is_empty(),
            "{name} ended its answer without text: all of its {} tokens went into reasoning; raise \
             `--max-tokens`",
            tokens.len()
        );
    }
    let (model, place) = (name.to_owned(), llm.placed().device.clone());
    let tokens = tokens.len();
    Ok(Written { text: answer, model, place, prompt_tokens, tokens, prefill, decode, stop })
}
