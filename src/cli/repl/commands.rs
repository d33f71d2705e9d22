//! The commands of the dialogue. Dispatch, `/help` and completion all use [`COMMANDS`].

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::state::{Asked, Here, Next, State, ask};
use super::{saved, settings, sources, turning};
use crate::cli::search;
use crate::support::bounded;
use crate::terminal::{self, AnswerText, Lang, bytes, print_entry};
use crate::text::question;

/// Size limit of a saved dialogue.
const MAX_SAVED_BYTES: u64 = 8 << 20;

/// A slash command.
pub struct Command {
    pub name: &'static str,
    /// What it takes, as `/help` shows it.
    argument: &'static str,
    vi: &'static str,
    en: &'static str,
    pub takes: Takes,
    pub run: for<'a> fn(Here<'_, 'a>, &mut State, &str) -> Result<Next<'a>>,
}

/// What a command takes, to complete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Text,
    File,
    Source,
    SourceOrDocument,
    Setting,
    Index,
    Profile,
}

pub const COMMANDS: &[Command] = &[
    Command {
        name: "/help",
        argument: "",
        vi: "liệt kê các lệnh",
        en: "list the commands",
        takes: Takes::Nothing,
        run: help,
    },
    Command {
        name: "/sources",
        argument: "[N]",
        vi: "hiện các nguồn của câu trả lời vừa rồi, hoặc toàn văn nguồn thứ N ($PAGER)",
        en: "show the sources of the last answer, or the text of source N ($PAGER)",
        takes: Takes::Source,
        run: sources::list,
    },
    Command {
        name: "/open",
        argument: "N|DOCUMENT",
        vi: "mở nguồn thứ N, đúng dòng, hoặc một tài liệu trong trình soạn thảo ($VISUAL hoặc $EDITOR)",
        en: "open source N, at its line, or a document in your editor ($VISUAL or $EDITOR)",
        takes: Takes::SourceOrDocument,
        run: sources::open,
    },
    Command {
        name: "/search",
        argument: "TEXT",
        vi: "liệt kê các đoạn tìm thấy, không trả lời",
        en: "list what is found, without an answer",
        takes: Takes::Text,
        run: search,
    },
    Command {
        name: "/retry",
        argument: "",
        vi: "hỏi lại câu hỏi vừa rồi",
        en: "ask the last question again",
        takes: Takes::Nothing,
        run: retry,
    },
    Command {
        name: "/copy",
        argument: "",
        vi: "chép câu trả lời vừa rồi vào clipboard của terminal",
        en: "copy the last answer to the terminal's clipboard",
        takes: Takes::Nothing,
        run: copy,
    },
    Command {
        name: "/save",
        argument: "FILE",
        vi: "lưu cuộc trò chuyện thành một tệp Markdown mới",
        en: "save the conversation as a new Markdown file",
        takes: Takes::File,
        run: save,
    },
    Command {
        name: "/load",
        argument: "FILE",
        vi: "nói tiếp một cuộc trò chuyện đã lưu bằng /save",
        en: "go on with a conversation that /save wrote",
        takes: Takes::File,
        run: load,
    },
    Command {
        name: "/set",
        argument: "[NAME VALUE]",
        vi: "xem các tùy chọn của câu trả lời, hoặc đổi một tùy chọn cho cuộc trò chuyện này",
        en: "show the options of answers, or change one for this dialogue",
        takes: Takes::Setting,
        run: settings::set,
    },
    Command {
        name: "/index",
        argument: "[@NAME|DIR]",
        vi: "xem chỉ mục đang dùng, hoặc chuyển sang chỉ mục khác và bắt đầu lại",
        en: "show the index, or turn to another one and start a new conversation",
        takes: Takes::Index,
        run: turning::turn_to_index,
    },
    Command {
        name: "/profile",
        argument: "[NAME]",
        vi: "xem các cấu hình, hoặc chuyển sang cấu hình khác và bắt đầu lại",
        en: "show the profiles, or turn to another one and start a new conversation",
        takes: Takes::Profile,
        run: turning::turn_to_profile,
    },
    Command {
        name: "/new",
        argument: "",
        vi: "quên cuộc trò chuyện, bắt đầu lại",
        en: "start a new conversation",
        takes: Takes::Nothing,
        run: forget,
    },
    Command {
        name: "/quit",
        argument: "",
        vi: "thoát",
        en: "quit",
        takes: Takes::Nothing,
        run: |_, _, _| Ok(Next::Leave),
    },
];

fn help<'a>(here: Here<'_, 'a>, _: &mut State, _: &str) -> Result<Next<'a>> {
    let session = here.session;
    let lang = session.terminal.lang;
    for Command { name, argument, vi, en, .. } in COMMANDS {
        let about = match lang {
            Lang::Vi => vi,
            Lang::En => en,
        };
        print_entry(&format!("{name} {argument}"), 20, about)?;
    }
    let mut keys = AnswerText::verbatim();
    keys.push(&format!("\n{}", lang.keys()))?;
    keys.end()?;
    Ok(Next::Ask)
}

#[expect(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn forget<'a>(here: Here<'_, 'a>, state: &mut State, _: &str) -> Result<Next<'a>> {
    let session = here.session;
    *state = State::default();
    session.terminal.say(session.terminal.lang.forgotten());
    Ok(Next::Ask)
}

fn search<'a>(here: Here<'_, 'a>, _: &mut State, text: &str) -> Result<Next<'a>> {
    let session = here.session;
    let question = question::normalize(text)?;
    let retrieval = session.search(&question)?;
    for (i, hit) in retrieval.hits.iter().enumerate() {
        search::print(session.terminal, i + 1, hit)?;
    }
    Ok(Next::Ask)
}

/// As if the last question had not been asked yet: what it goes on from is what was said before it.
fn retry<'a>(here: Here<'_, 'a>, state: &mut State, _: &str) -> Result<Next<'a>> {
    let session = here.session;
    let Some(Asked { question, before, turns }) = state.asked.take() else {
        session.terminal.say(session.terminal.lang.no_answer_yet());
        return Ok(Next::Ask);
    };
    state.dialogue = before;
    state.turns.truncate(turns);
    session.terminal.say(&session.terminal.lang.question(&question));
    ask(here, state, &question)
}

fn copy<'a>(here: Here<'_, 'a>, state: &mut State, _: &str) -> Result<Next<'a>> {
    let session = here.session;
    let lang = session.terminal.lang;
    match state.turns.last().filter(|turn| !turn.answer.is_empty()) {
        None => session.terminal.say(lang.no_answer_yet()),
        Some(turn) => {
            terminal::copy(&turn.answer)?;
            session.terminal.say(&lang.answer_copied(&bytes(turn.answer.len() as u64)));
        }
    }
    Ok(Next::Ask)
}

fn save<'a>(here: Here<'_, 'a>, state: &mut State, file: &str) -> Result<Next<'a>> {
    let session = here.session;
    if state.turns.is_empty() {
        session.terminal.say(session.terminal.lang.no_answer_yet());
        return Ok(Next::Ask);
    }
    ensure!(!file.is_empty(), "name the file: /save FILE.md");
    let text = saved::markdown(&state.turns, session.terminal.lang);
    // A new file only: nobody's notes are overwritten by a dialogue.
    let made = fs::File::create_new(file)
        .and_then(|mut made| std::io::Write::write_all(&mut made, text.as_bytes()));
    made.with_context(|| format!("cannot write {file}"))?;
    session.terminal.say(&session.terminal.lang.dialogue_saved(file));
    Ok(Next::Ask)
}

fn load<'a>(here: Here<'_, 'a>, state: &mut State, file: &str) -> Result<Next<'a>> {
    let session = here.session;
    ensure!(!file.is_empty(), "name the file: /load FILE.md");
    let text = bounded::read_text(Path::new(file), MAX_SAVED_BYTES);
    let text = text.with_context(|| format!("cannot read {file}"))?;
    let turns = saved::read(&text).with_context(|| format!("{file} is no saved dialogue"))?;
    session.terminal.say(&session.terminal.lang.dialogue_loaded(file, turns.len()));
    *state = State::resumed(turns);
    Ok(Next::Ask)
}
