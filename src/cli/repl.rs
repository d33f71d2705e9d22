//! The interactive dialogue: line editing, history, commands.

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::exit::{self, Exit};
use super::lines::Input;
use super::session::Session;
use crate::answer::{Answer, Conversation};
use crate::models;
use crate::terminal::Lang;

/// A slash command. Both dispatch and `/help` use [`COMMANDS`].
struct Command {
    name: &'static str,
    vi: &'static str,
    en: &'static str,
    run: fn(&Session, &mut State) -> Result<Next>,
}

/// State that commands can read and change.
struct State<'a> {
    conversation: Conversation<'a>,
    last: Option<Answer>,
}

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
        en: "start a new conversation",
        run: forget,
    },
    Command { name: "/quit", vi: "thoát", en: "quit", run: |_, _| Ok(Next::Leave) },
];

pub fn run(session: &Session) -> Result<Exit> {
    let terminal = session.terminal;
    let mut editor = DefaultEditor::new().context("cannot read from this terminal")?;
    let history = models::data_dir().ok().map(|dir| dir.join("history"));
    if let Some(history) = &history {
        // Fails on the first run, before there is a history.
        let _ = editor.load_history(history);
    }
    terminal.say(terminal.lang.repl_banner());
    let mut state = State { conversation: session.conversation(), last: None };
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
                Some(command) if (command.run)(session, &mut state)? == Next::Leave => break,
                Some(_) => {}
                None => terminal.warn(&terminal.lang.unknown_command(line)),
            }
            continue;
        }
        let answered = session.answer(&Input::of(line), &mut state.conversation);
        match answered {
            Ok(answer) => state.last = Some(answer),
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

fn help(session: &Session, _: &mut State) -> Result<Next> {
    for command in COMMANDS {
        let about = match session.terminal.lang {
            Lang::Vi => command.vi,
            Lang::En => command.en,
        };
        session.terminal.print(&format!("{:9} {about}\n", command.name))?;
    }
    Ok(Next::Ask)
}

#[expect(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn forget(session: &Session, state: &mut State) -> Result<Next> {
    state.conversation.forget();
    state.last = None;
    session.terminal.say(session.terminal.lang.forgotten());
    Ok(Next::Ask)
}

fn sources(session: &Session, state: &mut State) -> Result<Next> {
    match &state.last {
        Some(answer) if !answer.passages.is_empty() => {
            session.print_sources(answer)?;
        }
        _ => session.terminal.say(session.terminal.lang.no_answer_yet()),
    }
    Ok(Next::Ask)
}
