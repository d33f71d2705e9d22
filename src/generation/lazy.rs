//! The LLM of a run, local or remote; a local one is loaded on first use.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;

use super::local::Llm;
use super::remote::{Pool, RemoteError};
use super::{Generator, QueueFull, Turn, Turns};
use crate::models::LazyModel;
use crate::models::catalogue::JudgeCalibration;

/// The LLM to use, and what is known about it before it is loaded.
pub struct LazyGenerator {
    /// Display name.
    pub name: String,
    /// Limit on prompt plus answer, in tokens; a model may support fewer.
    pub context: usize,
    /// Codes of the languages it may write; any if absent.
    pub languages: Option<Vec<String>>,
    /// Maximum number of passages it copes with at once; unlimited if absent.
    pub max_passages: Option<usize>,
    /// Whether it can tell that passages do not answer a question.
    pub judges: bool,
    /// How its own judgement of the passages decides; it is not asked if absent.
    pub judge: Option<JudgeCalibration>,
    pub source: LlmSource,
    /// Whose turn it is to use it.
    pub turns: Turns,
}

/// Where an LLM runs.
pub enum LlmSource {
    /// On this machine.
    Local(Box<LazyModel<Llm>>),
    /// On servers; opens no model file and touches no GPU.
    Remote(Arc<Pool>),
}

impl LazyGenerator {
    /// The LLM, loading a local one if necessary.
    pub fn get(&self) -> Result<Generator<'_>> {
        Ok(match &self.source {
            LlmSource::Local(llm) => Generator::Local { llm: llm.get()?, name: &self.name },
            LlmSource::Remote(pool) => self.on_servers(pool),
        })
    }

    /// Waits for the turn to use an LLM on this machine, and tells `watch` how many come first; servers
    /// have lines of their own. `None` if `interrupted` became true meanwhile.
    pub fn turn(
        &self,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Option<Turn<'_>>, QueueFull> {
        match &self.source {
            LlmSource::Local(_) => self.turns.wait(interrupted, watch),
            LlmSource::Remote(_) => Ok(Some(Turn::free())),
        }
    }

    /// Throws a loaded LLM out of its device's memory; returns whether there was one. The next use
    /// loads it anew.
    pub fn unload(&mut self) -> bool {
        match &mut self.source {
            LlmSource::Local(llm) => llm.unload().map(Llm::leave).is_some(),
            LlmSource::Remote(_) => false,
        }
    }

    /// The LLM, if nothing needs to be loaded first.
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

    /// The local LLM, loading it if necessary.
    ///
    /// # Errors
    /// Returns the loader's error, or fails because the LLM is remote.
    pub fn local(&self) -> Result<&Llm> {
        match &self.source {
            LlmSource::Local(llm) => llm.get(),
            LlmSource::Remote(_) => Err(RemoteError::NotHere.into()),
        }
    }

    /// The local LLM, if it is already loaded.
    pub fn loaded(&self) -> Option<&Llm> {
        match &self.source {
            LlmSource::Local(llm) => llm.loaded(),
            LlmSource::Remote(_) => None,
        }
    }

    /// The servers, if the LLM is remote.
    pub fn remote(&self) -> Option<&Pool> {
        match &self.source {
            LlmSource::Local(_) => None,
            LlmSource::Remote(pool) => Some(pool),
        }
    }
}
