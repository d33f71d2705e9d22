//! Answers questions from a person's own documents, on that person's own machine.
//!
//! ```text
//! documents ─▶ chunks ─▶ embedding ─▶ index ─▶ retrieval ─▶ prompt ─▶ generation ─▶ answer ─▶ terminal
//! ```
//!
//! Data moves to the right only: a module knows the types of the stages before it and nothing of the
//! stages after it. [`profile`] builds the models of a run, and [`cli`] is the one place that knows
//! every stage.
//!
//! Two promises are kept by construction. Every heavy model sits in a [`models::LazyModel`] and
//! loads at its first use. And the LLM runs where it was told to, or not at all:
//! [`generation::local::placement`] answers a GPU that cannot be used with an error, never with the
//! CPU.

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

mod cli;

#[doc(hidden)]
pub mod internals;

pub use answer::conversation::Conversation;
pub use answer::{Answer, AnswerOptions, Answerer, Event};
pub use cli::{Exit, main, serve_job};
pub use documents::{Filter, walk};
pub use generation::local::SamplingOptions;
pub use index::update::{Indexer, IndexingProgress, IndexingSummary};
pub use index::{Index, Location, Passage, Start};
pub use models::{Catalogue, HubSettings, ModelStore, Profile};
pub use profile::{Models, Overrides};
pub use retrieval::{Hit, Retrieval, Retriever};
