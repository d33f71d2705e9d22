//! The interactive dialogue: line editing, history, commands.

mod commands;
mod completion;
mod ground;
mod saved;
mod settings;
mod sources;
mod state;
mod status;
mod turning;

use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::output::OutputTemplate;
use super::session::Session;
use crate::models;
use crate::terminal::exit::{self, Exit};
use commands::COMMANDS;
use completion::Completion;
pub use ground::Ground;
use state::{Here, Next, State, ask};

type Lines = Editor<Completion, DefaultHistory>;

/// Answers what is typed until it ends.
pub fn run(mut ground: Ground, template: Option<&OutputTemplate>) -> Result<Exit> {
    let terminal = ground.setup.terminal;
    // What is pasted in several lines stays one line here, until Enter.
    let config = Config::builder().bracketed_paste(true).completion_type(CompletionType::List);
    let mut editor: Lines =
        Editor::with_config(config.build()).context("cannot read from this terminal")?;
    let history = models::data_dir().ok().map(|dir| dir.join("history"));
    if let Some(history) = &history {
        // Fails on the first run, before there is a history.
        let _ = editor.load_history(history);
    }
    terminal.say(terminal.lang.repl_banner());
    let mut state = State::default();
    while let Next::On(next) = talk(&ground, template, &mut editor, &mut state)? {
        ground = *next;
    }
    if let Some(history) = &history {
        let saved = history.parent().map_or(Ok(()), std::fs::create_dir_all);
        if saved.is_err() || editor.save_history(history).is_err() {
            tracing::warn!("the history cannot be saved in {}", history.display());
        }
    }
    Ok(Exit::Answered)
}

/// Answers what is typed until somebody leaves or wants another ground.
fn talk<'a>(
    ground: &Ground<'a>,
    template: Option<&OutputTemplate>,
    editor: &mut Lines,
    state: &mut State,
) -> Result<Next<'a>> {
    let who = ground.respondent()?;
    let mut session = Session::new(&ground.setup, who, &ground.models, template);
    session.explain = ground.choices.explain;
    session.show_thinking = ground.choices.show_thinking;
    let here = Here { ground, session: &session };
    editor.set_helper(Some(Completion::new(ground)));
    loop {
        if let Some(completion) = editor.helper_mut() {
            completion.sources = state.sources();
        }
        let line = match editor.readline("❯ ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(Next::Leave),
            Err(error) => return Err(error).context("cannot read from this terminal"),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(line);
        let outcome = match line.starts_with('/') {
            true => command(here, state, line),
            false => ask(here, state, line),
        };
        match outcome {
            Ok(Next::Ask) => {}
            Ok(next) => return Ok(next),
            Err(error) if exit::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                exit::report(session.terminal, &error);
            }
        }
    }
}

fn command<'a>(here: Here<'_, 'a>, state: &mut State, line: &str) -> Result<Next<'a>> {
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let terminal = here.session.terminal;
        terminal.warn(&terminal.lang.unknown_command(name));
        return Ok(Next::Ask);
    };
    (command.run)(here, state, argument.trim())
}
