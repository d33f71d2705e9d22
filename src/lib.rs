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

pub mod support;

pub mod compute;

pub mod models;

pub mod text;

pub mod documents;

pub mod chunks;

pub mod embedding;

pub mod index;

pub mod retrieval;

pub mod prompt;

pub mod generation;

pub mod answer;

pub mod profile;

pub mod measure;

pub mod terminal;

pub mod cli;
