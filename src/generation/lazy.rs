//! The LLM of a run, wherever it is: one on this machine loads at its first use.

use std::sync::Arc;

use anyhow::Result;

use super::Generator;
use super::local::Llm;
use super::remote::{Pool, RemoteError};
use crate::models::LazyModel;

/// The LLM that writes, and what is known about it before it is loaded.
pub struct LazyGenerator {
    /// For people.
    pub name: String,
    /// Tokens that prompt and answer may have together; a model may have room for fewer.
    pub context: usize,
    /// Codes of the languages that it may write; absent: any.
    pub languages: Option<Vec<String>>,
    /// How many passages it makes sense of at once; absent: any number.
    pub max_passages: Option<usize>,
    /// Where it is.
    pub source: LlmSource,
}

/// Where an LLM is.
pub enum LlmSource {
    /// On this machine.
    Local(Box<LazyModel<Llm>>),
    /// On servers: no LLM's file is opened here, and no GPU looked at.
    Remote(Arc<Pool>),
}

impl LazyGenerator {
    /// The LLM, loaded now if it is on this machine and was not before.
    pub fn get(&self) -> Result<Generator<'_>> {
        Ok(match &self.source {
            LlmSource::Local(llm) => Generator::Local { llm: llm.get()?, name: &self.name },
            LlmSource::Remote(pool) => self.on_servers(pool),
        })
    }

    /// The LLM, if nothing has to be loaded for it.
    pub fn ready(&self) -> Option<Generator<'_>> {
        match &self.source {
            LlmSource::Local(llm) => {
                llm.loaded().map(|llm| Generator::Local { llm, name: &self.name })
            }
            LlmSource::Remote(pool) => Some(self.on_servers(pool)),
        }
    }

    fn on_servers<'a>(&self, pool: &'a Pool) -> Generator<'a> {
        Generator::Remote { pool, context: self.context, rounds: Pool::ROUNDS }
    }

    /// The LLM on this machine, loaded now if it was not before.
    ///
    /// # Errors
    /// The loader's, or that the LLM is on servers.
    pub fn local(&self) -> Result<&Llm> {
        match &self.source {
            LlmSource::Local(llm) => llm.get(),
            LlmSource::Remote(_) => Err(RemoteError::NotHere.into()),
        }
    }

    /// The LLM on this machine, if it is loaded already.
    pub fn loaded(&self) -> Option<&Llm> {
        match &self.source {
            LlmSource::Local(llm) => llm.loaded(),
            LlmSource::Remote(_) => None,
        }
    }

    /// The servers, if the LLM is there.
    pub fn remote(&self) -> Option<&Pool> {
        match &self.source {
            LlmSource::Local(_) => None,
            LlmSource::Remote(pool) => Some(pool),
        }
    }
}
