//! The command line as its users meet it: what it prints, how it exits, and what it leaves alone.
//!
//! Most tests run on tiny random models that load in milliseconds ([`harness::Sandbox`]); those
//! that need good answers run on the demo profile, whose files `models/prepare-demo` makes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

mod accounts;
mod architectures;
mod bad_input;
mod bench;
mod chat_templates;
mod config;
mod conformance;
#[cfg(unix)]
mod crash;
mod devices;
#[cfg(unix)]
mod dialogue;
mod docs;
mod eval;
mod exit_codes;
mod first_run;
mod formats;
mod harness;
mod hub_llm;
mod index_commands;
mod indexing;
mod json;
#[cfg(target_os = "linux")]
mod judging;
mod laziness;
#[cfg(unix)]
mod mcp;
#[cfg(all(feature = "milvus", unix))]
mod milvus;
#[path = "../fixtures/pdf_file.rs"]
#[allow(dead_code, reason = "Helvetica is enough here")]
mod pdf_file;
mod programs;
mod prompt;
#[cfg(unix)]
mod pty;
mod recipes;
mod remote;
#[cfg(unix)]
mod repl;
mod scans;
mod selection;
mod server;
#[cfg(unix)]
mod serving;
mod several;
mod streams;
#[cfg(unix)]
mod terminals;
mod tls;
mod token_vectors;
mod tools;
#[cfg(target_os = "linux")]
mod watch;
