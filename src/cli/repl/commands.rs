//! The commands of the dialogue. Dispatch, `/help` and completion all use [`COMMANDS`].

use std::fs;
use std::path::Path;
use std::process::Command as Program;

use anyhow::{Context, Result, bail, ensure};

use super::{State, saved};
use crate::answer::ReadPassage;
use crate::cli::search;
use crate::cli::session::Session;
use crate::documents::Place;
use crate::index::file_of;
use crate::terminal::{AnswerText, Lang};
use crate::text::question;

/// A slash command.
pub struct Command {
    pub name: &'static str,
    /// What it takes, as `/help` shows it.
    argument: &'static str,
    vi: &'static str,
    en: &'static str,
    pub run: fn(&Session, &mut State, &str) -> Result<Next>,
}

#[derive(PartialEq, Eq)]
pub enum Next {
    Ask,
    Leave,
}

pub const COMMANDS: &[Command] = &[
    Command {
        name: "/help",
        argument: "",
        vi: "liệt kê các lệnh",
        en: "list the commands",
        run: help,
    },
    Command {
        name: "/sources",
        argument: "[N]",
        vi: "hiện các nguồn của câu trả lời vừa rồi, hoặc toàn văn nguồn thứ N",
        en: "show the sources of the last answer, or the text of source N",
        run: sources,
    },
    Command {
        name: "/open",
        argument: "N",
        vi: "mở nguồn thứ N bằng trình soạn thảo của bạn ($VISUAL hoặc $EDITOR), đúng dòng",
        en: "open source N in your editor ($VISUAL or $EDITOR), at its line",
        run: open,
    },
    Command {
        name: "/search",
        argument: "TEXT",
        vi: "liệt kê các đoạn tìm thấy, không trả lời",
        en: "list what is found, without an answer",
        run: search,
    },
    Command {
        name: "/save",
        argument: "FILE",
        vi: "lưu cuộc trò chuyện thành một tệp Markdown mới",
        en: "save the conversation as a new Markdown file",
        run: save,
    },
    Command {
        name: "/new",
        argument: "",
        vi: "quên cuộc trò chuyện, bắt đầu lại",
        en: "start a new conversation",
        run: forget,
    },
    Command {
        name: "/quit",
        argument: "",
        vi: "thoát",
        en: "quit",
        run: |_, _, _| Ok(Next::Leave),
    },
];

fn help(session: &Session, _: &mut State, _: &str) -> Result<Next> {
    for Command { name, argument, vi, en, .. } in COMMANDS {
        let about = match session.terminal.lang {
            Lang::Vi => vi,
            Lang::En => en,
        };
        session.terminal.print(&format!("{:14} {about}\n", format!("{name} {argument}")))?;
    }
    Ok(Next::Ask)
}

#[expect(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn forget(session: &Session, state: &mut State, _: &str) -> Result<Next> {
    state.conversation.forget();
    state.turns.clear();
    session.terminal.say(session.terminal.lang.forgotten());
    Ok(Next::Ask)
}

fn sources(session: &Session, state: &mut State, argument: &str) -> Result<Next> {
    match state.last() {
        Some(answer) if !answer.passages.is_empty() => match argument {
            "" => session.print_sources(answer)?,
            number => {
                let passage = numbered(&answer.passages, number)?;
                let mut shown = AnswerText::verbatim();
                shown.push(&format!("{}\n\n{}", session.source(&passage.source), passage.text))?;
                shown.end()?;
            }
        },
        _ => session.terminal.say(session.terminal.lang.no_answer_yet()),
    }
    Ok(Next::Ask)
}

fn open(session: &Session, state: &mut State, argument: &str) -> Result<Next> {
    let Some(answer) = state.last().filter(|answer| !answer.passages.is_empty()) else {
        session.terminal.say(session.terminal.lang.no_answer_yet());
        return Ok(Next::Ask);
    };
    let source = &numbered(&answer.passages, argument)?.source;
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty()))
        .context("set VISUAL or EDITOR to the editor that opens sources")?;
    // As git takes it: a program with its options.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let file = Path::new(file_of(&source.document_id));
    let mut command = Program::new(program);
    command.args(words);
    // The lines of a record are not those of its file.
    if let (Some(Place::Lines(line, _)), true) =
        (source.place, file == Path::new(&source.document_id))
    {
        command.arg(format!("+{line}"));
    }
    let status = command.arg(file).status();
    let status = status.with_context(|| format!("cannot start the editor `{editor}`"))?;
    ensure!(status.success(), "the editor `{editor}` ended with {status}");
    Ok(Next::Ask)
}

fn search(session: &Session, _: &mut State, text: &str) -> Result<Next> {
    let question = question::normalize(text)?;
    let retrieval = session.search(&question)?;
    for (i, hit) in retrieval.hits.iter().enumerate() {
        search::print(session.terminal, i + 1, hit)?;
    }
    Ok(Next::Ask)
}

fn save(session: &Session, state: &mut State, file: &str) -> Result<Next> {
    if state.turns.is_empty() {
        session.terminal.say(session.terminal.lang.no_answer_yet());
        return Ok(Next::Ask);
    }
    ensure!(!file.is_empty(), "name the file: /save FILE.md");
    let text = saved::markdown(&state.turns, session);
    // A new file only: nobody's notes are overwritten by a dialogue.
    let made = fs::File::create_new(file)
        .and_then(|mut made| std::io::Write::write_all(&mut made, text.as_bytes()));
    made.with_context(|| format!("cannot write {file}"))?;
    session.terminal.say(&session.terminal.lang.dialogue_saved(file));
    Ok(Next::Ask)
}

/// The passage that an answer knows by this number.
fn numbered<'a>(passages: &'a [ReadPassage], number: &str) -> Result<&'a ReadPassage> {
    let found = number.parse().ok().and_then(|n: usize| passages.get(n.checked_sub(1)?));
    match found {
        Some(passage) => Ok(passage),
        None => bail!("there is no source {number}; the answer has 1 to {}", passages.len()),
    }
}
