//! The models of a profile and an index, kept warm for whoever asks.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, TryLockError};
use std::time::Instant;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::keep_alive::{KeepAlive, Keeper};
use super::metrics::Metrics;
use super::running::Running;
use super::warm_index::WarmIndex;
use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, AnswerOptions, Answerer, Conversation, Event};
use crate::embedding::{Embedder, Tokens};
use crate::generation::{LazyGenerator, Turns};
use crate::index::{Index, Location, Passage, Selection};
use crate::models::LazyModel;
use crate::models::catalogue::{Calibration, SupportThresholds};
use crate::profile::Models;
use crate::retrieval::rerank::Reranker;
use crate::retrieval::{Retrieval, Retriever};
use crate::terminal::Terminal;

/// What a server is started with, besides models and index.
pub struct ServiceOptions {
    /// Options of answers that do not bring their own, and the templates of all.
    pub answers: AnswerOptions,
    /// How long the LLM stays loaded.
    pub keep_alive: KeepAlive,
    /// Most questions that wait for the LLM.
    pub queue: usize,
    /// The profile's name.
    pub profile: String,
    pub llm_name: String,
    pub embedder_name: String,
    pub reranker_name: String,
}

/// A question to answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    pub question: String,
    /// What was asked and answered before.
    #[serde(default)]
    pub dialogue: Dialogue,
    pub options: AnswerOptions,
    #[serde(default)]
    pub selection: Selection,
    /// How long the LLM stays loaded afterwards.
    #[serde(default)]
    pub keep_alive: Option<KeepAlive>,
}

/// Everything that answers need. Creating one loads nothing; models stay loaded once they are.
pub struct Service {
    pub terminal: Terminal,
    pub options: ServiceOptions,
    pub metrics: Metrics,
    /// The answers under way.
    pub running: Running,
    pub(super) keeper: Arc<Keeper>,
    embedder: LazyModel<Embedder>,
    reranker: Option<Reranker>,
    relevance: Option<Calibration>,
    support: Option<SupportThresholds>,
    index: WarmIndex,
    /// Read by whoever answers, written by the keeper, which unloads it.
    llm: RwLock<LazyGenerator>,
}

/// Whether an LLM is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LlmState {
    NotLoaded,
    Loading,
    Loaded,
    /// On servers, which know.
    Remote,
}

/// What a server is and has.
#[derive(Debug, Clone, Serialize)]
#[expect(clippy::struct_field_names, reason = "what those who watch over servers look for")]
pub struct Status {
    pub status: &'static str,
    pub version: &'static str,
    pub profile: String,
    pub index: String,
    pub chunks: usize,
    pub documents: usize,
    pub llm: LlmStatus,
}

/// What a server knows of its LLM.
#[derive(Debug, Clone, Serialize)]
pub struct LlmStatus {
    pub name: String,
    /// Where it is, or would be.
    pub device: String,
    pub state: LlmState,
    /// Answers in progress and waiting.
    pub in_line: usize,
}

impl Service {
    /// Keeps `models` and the index at `location` warm. Loads nothing.
    pub fn new(
        models: Models,
        location: Location,
        options: ServiceOptions,
        terminal: Terminal,
    ) -> Arc<Self> {
        let Models { embedder, reranker, mut llm, relevance, support, index_settings, .. } = models;
        llm.turns = Turns::new(options.queue);
        let mut wanted = index_settings;
        wanted.token_vectors.take_if(|_| reranker.is_none());
        let service = Arc::new(Self {
            terminal,
            metrics: Metrics::default(),
            running: Running::default(),
            keeper: Arc::new(Keeper::new(options.keep_alive)),
            options,
            embedder,
            reranker,
            relevance,
            support,
            index: WarmIndex::new(location, wanted),
            llm: RwLock::new(llm),
        });
        // The keeper must not keep the service itself.
        let weak = Arc::downgrade(&service);
        Arc::clone(&service.keeper).watch(move || {
            weak.upgrade().iter().for_each(|service| service.unload_llm());
        });
        service
    }

    /// Loads the models that every question needs, and opens the index.
    ///
    /// # Errors
    /// A model cannot be loaded, or the index cannot be opened.
    pub fn warm_up(&self) -> Result<Arc<dyn Index>> {
        let (index, _) = self.index.get(&Selection::default())?;
        self.embedder.get()?;
        self.reranker.as_ref().map_or(Ok(()), Reranker::load)?;
        Ok(index)
    }

    /// Answers a question, and returns the dialogue with it.
    ///
    /// # Errors
    /// As [`Conversation::ask`]; or too many are waiting
    /// ([`QueueFull`](crate::generation::QueueFull)).
    pub fn ask(
        &self,
        asked: Asked,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(Answer, Dialogue)> {
        let Asked { question, dialogue, options, selection, keep_alive } = asked;
        let start = Instant::now();
        let (index, load_index) = self.index.get(&selection)?;
        let _used = Used::new(&self.keeper, keep_alive);
        let llm = self.llm.read().unwrap_or_else(PoisonError::into_inner);
        let own = &self.options.answers;
        let options = AnswerOptions {
            prompt: own.prompt.clone(),
            rewriting: own.rewriting.clone(),
            ..options
        };
        let retriever = self.retriever(index.as_ref())?;
        let answerer = Answerer::new(retriever, &llm, self.support, options, load_index);
        let mut conversation = Conversation::after(&answerer, dialogue);
        let mut began = false;
        let answer = conversation.ask(&question, interrupted, &mut |event| {
            if matches!(event, Event::Text { .. }) && !began {
                began = true;
                self.metrics.first_text(start.elapsed());
            }
            self.metrics.happened(&event);
            if let Event::LlmLoaded { placed, took } = &event {
                let (terminal, name) = (self.terminal, &self.options.llm_name);
                terminal.say(&terminal.lang.llm_is_loaded(name, placed, *took));
            }
            watch(event);
        });
        match &answer {
            Ok(answer) => self.metrics.answered(answer, start.elapsed()),
            Err(_) => self.metrics.failed(),
        }
        Ok((answer?, conversation.into_dialogue()))
    }

    /// Finds the passages for a question, without copies of the same text.
    pub fn search(&self, question: &str, top_k: usize, selection: &Selection) -> Result<Retrieval> {
        let (index, _) = self.index.get(selection)?;
        let retrieval = self.retriever(index.as_ref())?.retrieve_texts(question, top_k)?;
        self.metrics.searched(&retrieval);
        Ok(retrieval)
    }

    fn retriever<'a>(&'a self, index: &'a dyn Index) -> Result<Retriever<'a>> {
        Retriever::new(index, &self.embedder, self.reranker.as_ref(), self.relevance.as_ref())
    }

    /// Embeds questions, `[texts, dim]`.
    pub fn embed_questions(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let embedder = self.embedder.get()?;
        let embed = |text: &String| Ok(embedder.embed_query(text, Tokens::Dropped)?.vector);
        texts.iter().map(embed).collect()
    }

    /// Embeds passages, `[texts, dim]`.
    ///
    /// # Errors
    /// A text is longer than what the embedder reads.
    pub fn embed_passages(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let embedded = self.embedder.get()?.embed_passages(texts, Tokens::Dropped)?;
        Ok(embedded.into_iter().map(|embedding| embedding.vector).collect())
    }

    /// How many tokens texts have for the embedder.
    pub fn count_tokens(&self, texts: &[String]) -> Result<usize> {
        let embedder = self.embedder.get()?;
        Ok(texts.iter().map(|text| embedder.count_tokens(text)).sum())
    }

    /// How well each of the texts answers the question; higher is better.
    pub fn rerank(&self, question: &str, texts: &[String]) -> Result<Vec<f32>> {
        let (index, _) = self.index.get(&Selection::default())?;
        self.retriever(index.as_ref())?.score(question, texts)
    }

    /// The passages of a document of the index, in its order. Reads nothing but the index.
    ///
    /// # Errors
    /// The index does not have it.
    pub fn document(&self, id: &str) -> Result<Vec<Passage>> {
        let (index, _) = self.index.get(&Selection::default())?;
        let passages = index.document(id)?;
        if passages.is_empty() {
            bail!("the index has no document {id:?}");
        }
        Ok(passages)
    }

    /// The documents of the index, by their ids.
    pub fn documents(&self) -> Result<Vec<String>> {
        let (index, _) = self.index.get(&Selection::default())?;
        let ledger = index.ledger()?;
        Ok(ledger.documents().keys().cloned().collect())
    }

    /// What the server is and has.
    pub fn status(&self) -> Result<Status> {
        let (index, _) = self.index.get(&Selection::default())?;
        Ok(Status {
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
            profile: self.options.profile.clone(),
            index: self.index.location().to_string(),
            chunks: index.chunk_count(),
            documents: index.document_count()?,
            llm: self.llm_status(),
        })
    }

    /// What is known of the LLM. Waits for nothing.
    pub fn llm_status(&self) -> LlmStatus {
        let llm = match self.llm.try_read() {
            Ok(llm) => llm,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let name = self.options.llm_name.clone();
                let (device, state) = (String::new(), LlmState::NotLoaded);
                return LlmStatus { name, device, state, in_line: 0 };
            }
        };
        let in_line = llm.turns.in_line();
        let (device, state) = match (llm.remote(), llm.loaded()) {
            (Some(pool), _) => (pool.place(), LlmState::Remote),
            (None, Some(loaded)) => (loaded.placed().device.clone(), LlmState::Loaded),
            (None, None) if in_line > 0 => (String::new(), LlmState::Loading),
            (None, None) => (String::new(), LlmState::NotLoaded),
        };
        LlmStatus { name: llm.name.clone(), device, state, in_line }
    }

    /// Gives the LLM's memory back, once those who use it are done.
    pub(super) fn unload_llm(&self) {
        let mut llm = self.llm.write().unwrap_or_else(PoisonError::into_inner);
        let Some(loaded) = llm.loaded() else { return };
        let before = loaded.measure();
        let start = Instant::now();
        if llm.unload() {
            self.metrics.unloaded();
            let (terminal, name) = (self.terminal, &llm.name);
            terminal.say(&terminal.lang.llm_unloaded(name, &before, start.elapsed()));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.keeper.end();
    }
}

/// An answer in progress, for the keeper.
struct Used<'a> {
    keeper: &'a Keeper,
    keep_alive: Option<KeepAlive>,
}

impl<'a> Used<'a> {
    fn new(keeper: &'a Keeper, keep_alive: Option<KeepAlive>) -> Self {
        keeper.begin();
        Self { keeper, keep_alive }
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.keeper.used(self.keep_alive);
    }
}
