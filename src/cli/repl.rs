//! The dialogue: line editing, history, commands.

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::ask::Session;
use super::exit::{self, Exit};
use super::setup::data_dir;
use crate::answer::Answer;
use crate::answer::conversation::Dialogue;
use crate::terminal::Lang;
use crate::text::question;

/// A command of the dialogue. This table is all there is: dispatch and `/help` read it.
struct Command {
    name: &'static str,
    vi: &'static str,
    en: &'static str,
    run: fn(&Session, &mut Memory) -> Result<Next>,
}

/// What a dialogue remembers.
#[derive(Default)]
struct Memory {
    dialogue: Dialogue,
    last: Option<Answer>,
}

/// What happens after a command.
#[derive(PartialEq, Eq)]
enum Next {
    Ask,
    Leave,
}

const COMMANDS: &[Command] = &[
    Command { name: "/help", vi: "liệt kê các lệnh", en: "list the commands", run: help },
    Command {
        name: "/sources",
        vi: "hiện các nguồn của câu trả lời vừa rồi",
        en: "show the sources of the last answer",
        run: sources,
    },
    Command {
        name: "/new",
        vi: "quên cuộc trò chuyện, bắt đầu lại",
        en: "forget the conversation and begin anew",
        run: forget,
    },
    Command { name: "/quit", vi: "thoát", en: "leave", run: |_, _| Ok(Next::Leave) },
];

pub fn run(session: &Session) -> Result<Exit> {
    let terminal = session.terminal;
    let mut editor = DefaultEditor::new().context("cannot read from this terminal")?;
    let history = data_dir().ok().map(|dir| dir.join("history"));
    if let Some(history) = &history {
        // There is none at the first start.
        let _ = editor.load_history(history);
    }
    terminal.say(terminal.lang.repl_banner());
    let mut memory = Memory::default();
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
        if line.starts_with('/') {
            match COMMANDS.iter().find(|command| command.name == line) {
                Some(command) if (command.run)(session, &mut memory)? == Next::Leave => break,
                Some(_) => {}
                None => terminal.warn(&terminal.lang.unknown_command(line)),
            }
            continue;
        }
        let answered = question::normalize(line)
            .map_err(Into::into)
            .and_then(|question| session.answer(&question, &mut memory.dialogue));
        match answered {
            Ok(answer) => memory.last = Some(answer),
            Err(error) if exit::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                exit::report(&terminal, &error);
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

fn help(session: &Session, _: &mut Memory) -> Result<Next> {
    for command in COMMANDS {
        let about = match session.terminal.lang {
            Lang::Vi => command.vi,
            Lang::En => command.en,
        };
        session.terminal.print(&format!("{:9} {about}\n", command.name))?;
    }
    Ok(Next::Ask)
}

fn forget(session: &Session, memory: &mut Memory) -> Result<Next> {
    *memory = Memory::default();
    session.terminal.say(session.terminal.lang.forgotten());
    Ok(Next::Ask)
}

fn sources(session: &Session, memory: &mut Memory) -> Result<Next> {
    match &memory.last {
        Some(answer) if !answer.citations.is_empty() => {
            session.terminal.print(&session.sources(answer))?
        }
        _ => session.terminal.say(session.terminal.lang.no_answer_yet()),
    }
    Ok(Next::Ask)
}
