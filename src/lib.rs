//! Answers questions from a person's own documents, on that person's own machine.
//!
//! ```text
//! documents ─▶ chunks ─▶ embedding ─▶ index ─▶ retrieval ─▶ prompt ─▶ generation ─▶ answer ─▶ terminal
//! ```
//!
//! Data moves to the right only: a room imports from the rooms that are declared above it and knows
//! nothing of those below. [`profile`] builds the models of a run, and [`cli`] is the one place that
//! knows every stage.
//!
//! Two promises are kept by construction. Every heavy model sits in a [`models::LazyModel`] and
//! loads at its first use. And the LLM runs where it was told to, or not at all:
//! [`generation::local::placement`] answers a GPU that cannot be used with an error, never with the
//! CPU.
//!
//! # As a library
//!
//! What the crate exports is what a program needs to index folders, to retrieve, and to converse:
//!
//! ```no_run
//! use std::path::PathBuf;
//! use std::sync::atomic::AtomicBool;
//! use std::time::Duration;
//!
//! use rag_query::{
//!     AnswerOptions, Conversation, Filter, Indexer, Location, Models, Start, walk,
//! };
//!
//! # fn main() -> anyhow::Result<()> {
//! let models = Models::of_profile("default")?; // loads nothing
//! let location = Location::Directory("notes-index".into());
//! let stop = AtomicBool::new(false);
//!
//! let files = walk(&[PathBuf::from("notes")], &Filter::default())?;
//! let writer = location.write(models.index_settings.clone(), Start::Update)?;
//! Indexer::new(writer, models.embedder.get()?, Start::Update, &stop, &mut |_| {})
//!     .update(&files)?;
//!
//! let index = location.open()?;
//! let answerer = models.answerer(index.as_ref(), AnswerOptions::default(), Duration::ZERO)?;
//! let mut conversation = Conversation::new(&answerer);
//! let answer = conversation.ask("NLP là gì?", &stop, &mut |_| {})?; // loads the LLM
//! println!("{}", answer.answer);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has the same as two programs.

mod support;

mod compute;

mod models;

mod text;

mod documents;

mod chunks;

mod embedding;

mod index;

mod retrieval;

mod prompt;

mod generation;

mod answer;

mod profile;

mod measure;

mod terminal;

mod server;

mod cli;

#[doc(hidden)]
pub mod internals;

pub use answer::conversation::Conversation;
pub use answer::{Answer, AnswerOptions, Answerer, Event};
pub use cli::{Exit, main, serve_job};
pub use documents::{Filter, walk};
pub use generation::local::SamplingOptions;
pub use index::update::{FileAccount, Indexer, IndexingProgress, IndexingSummary};
pub use index::{Index, Location, Passage, Start};
pub use models::{Catalogue, HubSettings, ModelStore, Profile};
pub use profile::{Models, Overrides};
pub use retrieval::{Hit, Retrieval, Retriever};
