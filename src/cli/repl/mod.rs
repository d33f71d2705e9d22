//! The interactive dialogue.

mod commands;
mod completion;
mod ground;
mod lines;
mod saved;
mod settings;
mod sources;
mod state;
mod status;
mod turning;

use anyhow::Result;

use super::output::OutputTemplate;
use super::session::Session;
use crate::terminal::exit::{self, Exit};
use commands::COMMANDS;
use completion::Completion;
pub use ground::Ground;
use lines::Lines;
use state::{Here, Next, State, ask};

/// Answers what is typed until it ends.
pub fn run(mut ground: Ground, template: Option<&OutputTemplate>) -> Result<Exit> {
    let terminal = ground.setup.terminal;
    let mut lines = Lines::open()?;
    terminal.say(terminal.lang.repl_banner());
    let mut state = State::default();
    while let Next::On(next) = talk(&ground, template, &mut lines, &mut state)? {
        ground = *next;
    }
    Ok(Exit::Answered)
}

/// Answers what is typed until somebody leaves or wants another ground.
fn talk<'a>(
    ground: &Ground<'a>,
    template: Option<&OutputTemplate>,
    lines: &mut Lines,
    state: &mut State,
) -> Result<Next<'a>> {
    let who = ground.respondent()?;
    let mut session = Session::new(&ground.setup, who, &ground.models, template);
    session.explain = ground.choices.explain;
    session.show_thinking = ground.choices.show_thinking;
    let here = Here { ground, session: &session };
    lines.complete_with(Completion::new(ground));
    while let Some(line) = lines.next(state.sources())? {
        let outcome = match line.starts_with('/') {
            true => command(here, state, &line),
            false => ask(here, state, &line),
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
    Ok(Next::Leave)
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
