//! The commands. Only this module knows every stage.

mod args;
mod ask;
mod bench;
mod doctor;
mod eval;
mod exit;
mod index;
mod interrupt;
mod lines;
mod models;
#[cfg(test)]
mod on_a_gpu;
mod panics;
mod refresh;
mod repl;
mod search;
mod session;
mod setup;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
pub use exit::Exit;
use setup::Setup;

use crate::documents;
use crate::generation::local::CHAT_TEMPLATE_JOB;
use crate::support::worker;
use crate::terminal::Terminal;

/// Runs the process's command line.
pub fn main() -> Exit {
    if let Some(exit) = serve_job() {
        return exit;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Answered };
        }
    };
    start_log();
    panics::silence_contained_panics();
    let terminal = setup::terminal(&cli.global);
    match run(&cli, terminal) {
        Ok(exit) => exit,
        Err(error) => exit::report(terminal, &error),
    }
}

/// If this process was started as a worker by another instance of the program, does its job and
/// returns the exit code; else `None` (see [`worker`]). A program that calls this first thing in
/// `main` parses PDF files and workbooks and renders chat templates in separate processes, as the tool does.
pub fn serve_job() -> Option<Exit> {
    let jobs =
        [&documents::PDF_JOB, &documents::OCR_JOB, &documents::WORKBOOK_JOB, &CHAT_TEMPLATE_JOB];
    let done = worker::serve(std::env::args_os(), &jobs)?;
    Some(if done { Exit::Answered } else { Exit::Error })
}

fn run(cli: &Cli, terminal: Terminal) -> anyhow::Result<Exit> {
    let setup = Setup::new(&cli.global, terminal)?;
    match &cli.command {
        None => ask::run(&setup, cli),
        Some(Command::Index(args)) => index::run(&setup, args),
        Some(Command::Search { query }) => search::run(&setup, query.as_deref()),
        Some(Command::Models { action }) => models::run(&setup, *action),
        Some(Command::Doctor) => doctor::run(&setup),
        Some(Command::Bench { with_llm }) => bench::run(&setup, *with_llm),
        Some(Command::Eval(args)) => eval::run(&setup, cli, args),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "rag-query", &mut script);
            terminal.print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Answered)
        }
    }
}

/// `RAG_QUERY_LOG=debug` logs to stderr, including the libraries' messages.
fn start_log() {
    let level =
        std::env::var("RAG_QUERY_LOG").ok().and_then(|level| level.parse::<tracing::Level>().ok());
    if let Some(level) = level {
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    }
}
