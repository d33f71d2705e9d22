//! Answers questions from a person's own documents, on that person's own machine.
//!
//! ```text
//! documents ─ingest─▶ chunks ─embed─▶ index ─retrieve─▶ passages ─prompt─▶ tokens ─llm─▶ answer ─▶ terminal
//! ```
//!
//! Data moves to the right only: a module knows the types of the stage before it and nothing of the
//! stages after it. [`cli`] is the one place that knows them all.
//!
//! Two promises are kept by construction. Every heavy model sits in a [`models::LazyModel`] and
//! loads at its first use. And the LLM runs where it was told to, or not at all: [`llm::placement`]
//! answers a GPU that cannot be used with an error, never with the CPU.

pub mod bounded;
pub mod cpu;
pub mod random;
pub mod tls;

pub mod ingest;

pub mod models;

pub mod encoder;

pub mod embed;

pub mod index;
pub mod indexing;

pub mod rerank;

pub mod retrieve;

pub mod language;
pub mod prompt;

pub mod gpu;
pub mod llm;
pub mod remote;

pub mod generate;

pub mod answer;
pub mod dialogue;
pub mod pipeline;

pub mod bench;
pub mod cli;
pub mod eval;
pub mod terminal;
