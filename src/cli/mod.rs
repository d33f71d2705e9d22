//! The commands. Only this module knows every stage.

mod announce;
mod args;
mod ask;
mod bench;
mod config;
mod doctor;
mod eval;
mod figures;
mod first_run;
mod index;
mod interrupt;
mod lines;
mod models;
#[cfg(test)]
mod on_a_gpu;
mod output;
mod panics;
mod refresh;
mod repl;
mod report;
mod respondent;
mod search;
mod selection;
mod serve;
mod session;
mod setup;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::terminal::exit;
use args::{Cli, Command, ConfigAction};
use config::{Config, ConfigError};
pub use exit::Exit;
use setup::Setup;

use crate::documents;
use crate::generation::local::CHAT_TEMPLATE_JOB;
use crate::support::worker;
use crate::terminal::{Lang, Terminal};

/// Runs the process's command line.
pub fn main() -> Exit {
    if let Some(exit) = serve_job() {
        return exit;
    }
    let config = match config() {
        Ok(config) => config,
        Err(error) => {
            let terminal = Terminal::new(Lang::from_locale(), false);
            terminal.error(&error.into(), Some(terminal.lang.without_config()));
            return Exit::Usage;
        }
    };
    let parsed = config
        .apply(Cli::command())
        .try_get_matches()
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Answered };
        }
    };
    start_log();
    panics::silence_contained_panics();
    let terminal = setup::terminal(&cli.global);
    match run(&cli, &matches, &config, terminal) {
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

/// The settings of files, unless the command line says to ignore them.
fn config() -> Result<Config, ConfigError> {
    let is_ignored =
        std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--no-config");
    match std::env::current_dir() {
        Ok(working) if !is_ignored => Config::read(&working),
        // Whatever needs a working folder says itself that it is gone.
        _ => Ok(Config::default()),
    }
}

fn run(
    cli: &Cli,
    matches: &ArgMatches,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<Exit> {
    if !matches!(cli.command, Some(Command::Trust { .. } | Command::Completions { .. })) {
        tell_held_back(config, terminal);
    }
    let mut setup = Setup::new(&cli.global, config, terminal)?;
    match &cli.command {
        None => ask::run(&setup, cli),
        Some(Command::Index(args)) => index::run(&mut setup, args),
        Some(Command::Search { query }) => search::run(&setup, &cli.sampling, query.as_deref()),
        Some(Command::Serve(args)) => serve::run(&setup, cli, args),
        Some(Command::Mcp(args)) => serve::run_mcp(&setup, cli, args),
        Some(Command::Models { action }) => models::run(&setup, *action),
        Some(Command::Setup(args)) => first_run::run(&mut setup, args),
        Some(Command::Doctor) => doctor::run(&setup),
        Some(Command::Bench { with_llm, html }) => bench::run(&setup, *with_llm, html.as_deref()),
        Some(Command::Eval(args)) => eval::run(&setup, cli, args),
        Some(Command::Config { action: ConfigAction::Show { origin } }) => {
            config::show(&setup, matches, *origin)
        }
        Some(Command::Trust { revoke }) => config::change_trust(terminal, config, *revoke),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "rag-query", &mut script);
            terminal.print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Answered)
        }
    }
}

/// Says which settings of the project's file have no effect until it is trusted.
fn tell_held_back(config: &Config, terminal: Terminal) {
    if let Some(file) = config.project.as_ref().filter(|file| !file.held_back.is_empty()) {
        terminal.warn(&terminal.lang.held_back(&file.path, &file.held_back));
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
