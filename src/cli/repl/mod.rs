//! The interactive dialogue: line editing, history, commands.

mod commands;
mod completion;
mod saved;
mod sources;
mod state;
mod status;

use anyhow::{Context, Result};
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;

use super::session::Session;
use crate::models;
use crate::terminal::exit::{self, Exit};
use commands::COMMANDS;
use completion::Completion;
use state::{Next, State, ask};

pub fn run(session: &Session) -> Result<Exit> {
    let terminal = session.terminal;
    let mut editor =
        Editor::<Completion, DefaultHistory>::new().context("cannot read from this terminal")?;
    editor.set_helper(Some(Completion));
    let history = models::data_dir().ok().map(|dir| dir.join("history"));
    if let Some(history) = &history {
        // Fails on the first run, before there is a history.
        let _ = editor.load_history(history);
    }
    terminal.say(terminal.lang.repl_banner());
    let mut state = State::default();
    loop {
        let line = match editor.readline("❯ ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from this terminal"),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(line);
        let outcome = match line.starts_with('/') {
            true => command(session, &mut state, line),
            false => ask(session, &mut state, line),
        };
        match outcome {
            Ok(Next::Leave) => break,
            Ok(Next::Ask) => {}
            Err(error) if exit::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                exit::report(terminal, &error);
            }
        }
    }
    if let Some(history) = &history {
        let saved = history.parent().map_or(Ok(()), std::fs::create_dir_all);
        if saved.is_err() || editor.save_history(history).is_err() {
            tracing::warn!("the history cannot be saved in {}", history.display());
        }
    }
    Ok(Exit::Answered)
}

fn command(session: &Session, state: &mut State, line: &str) -> Result<Next> {
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        session.terminal.warn(&session.terminal.lang.unknown_command(line));
        return Ok(Next::Ask);
    };
    (command.run)(session, state, argument.trim())
}
