//! `/sources` and `/open`: what an answer rests on.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::state::{Here, Next, State, Turn};
use crate::answer::{Answer, ReadPassage};
use crate::cli::interrupt::Elsewhere;
use crate::cli::session::Session;
use crate::documents::Place;
use crate::index::file_of;
use crate::terminal::{Marks, page, shown_name};

/// The sources of the last answer, or one of them in the pager.
pub fn list<'a>(here: Here<'_, 'a>, state: &mut State, number: &str) -> Result<Next<'a>> {
    let session = here.session;
    let Some(turn) = told(session, state) else { return Ok(Next::Ask) };
    let Some(answer) = &turn.full else {
        session.terminal.print(&format!("{}\n", turn.sources.join("\n")))?;
        session.terminal.say(session.terminal.lang.only_names_of_sources());
        return Ok(Next::Ask);
    };
    if number.is_empty() {
        session.print_sources(answer)?;
        return Ok(Next::Ask);
    }
    let passage = numbered(&answer.passages, number)?;
    let text = format!("{}\n\n{}", session.source(&passage.source), passage.text);
    let searched = answer.searched.as_deref().unwrap_or(&answer.question);
    let quoted = statements(&answer.answer, passage.source.n);
    // Ctrl-C is for the pager.
    let _paging = Elsewhere::begin();
    page(&text, &Marks::of(searched, &quoted))?;
    Ok(Next::Ask)
}

/// Opens a source, at its line, or a document of the index in the user's editor.
pub fn open<'a>(here: Here<'_, 'a>, state: &mut State, what: &str) -> Result<Next<'a>> {
    let session = here.session;
    if !what.is_empty() && what.parse::<usize>().is_err() {
        edit(&document(here, what)?, None)?;
        return Ok(Next::Ask);
    }
    let Some(turn) = told(session, state) else { return Ok(Next::Ask) };
    let Some(Answer { passages, .. }) = &turn.full else {
        session.terminal.say(session.terminal.lang.only_names_of_sources());
        return Ok(Next::Ask);
    };
    let source = &numbered(passages, what)?.source;
    edit(&source.document_id, source.place)?;
    Ok(Next::Ask)
}

/// The document that people know by this name.
fn document(here: Here, name: &str) -> Result<String> {
    let ledger = here.ground.setup.index.open()?.ledger()?;
    let mut documents = ledger.documents().keys();
    let found = documents.find(|document| name == *document || name == shown_name(document));
    found.cloned().with_context(|| format!("the index has no document {name}"))
}

/// Waits for the user's editor.
fn edit(document: &str, place: Option<Place>) -> Result<()> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|editor| !editor.trim().is_empty()))
        .context("set VISUAL or EDITOR to the editor that opens sources")?;
    // As git takes it: a program with its options.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let file = Path::new(file_of(document));
    let mut command = Command::new(program);
    command.args(words);
    // The lines of a record are not those of its file.
    if let (Some(Place::Lines(line, _)), true) = (place, file == Path::new(document)) {
        command.arg(format!("+{line}"));
    }
    // Ctrl-C is for the editor.
    let _editing = Elsewhere::begin();
    let status = command.arg(file).status();
    let status = status.with_context(|| format!("cannot start the editor `{editor}`"))?;
    ensure!(status.success(), "the editor `{editor}` ended with {status}");
    Ok(())
}

/// The last turn, if it has sources; says so if not.
fn told<'s>(session: &Session, state: &'s State) -> Option<&'s Turn> {
    let has_sources = |turn: &&Turn| match &turn.full {
        Some(answer) => !answer.passages.is_empty(),
        None => !turn.sources.is_empty(),
    };
    let last = state.turns.last().filter(has_sources);
    if last.is_none() {
        session.terminal.say(session.terminal.lang.no_answer_yet());
    }
    last
}

/// The passage that an answer knows by this number.
fn numbered<'a>(passages: &'a [ReadPassage], number: &str) -> Result<&'a ReadPassage> {
    let found = number.parse().ok().and_then(|n: usize| passages.get(n.checked_sub(1)?));
    match found {
        Some(passage) => Ok(passage),
        None => bail!("there is no source {number}; the answer has 1 to {}", passages.len()),
    }
}

/// What an answer says with this source: the text before each `[n]`, from the end of the sentence
/// before it on.
fn statements(answer: &str, n: usize) -> Vec<&str> {
    let before = |(end, _)| {
        let said: &str = &answer[..end];
        let is_mark = |c: char| c.is_ascii_digit() || "[]., ".contains(c);
        let said = said.trim_end_matches(is_mark);
        let start = said.rfind(['\n', '.', '?', '!', ']']).map_or(0, |at| at + 1);
        said[start..].trim()
    };
    answer.match_indices(&format!("[{n}]")).map(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_looked_through_for_what_is_said_with_it() {
        let answer = "It is open. The desk opens at 8 [1][2]. Tea is served at nine [2].\nBye [10]";
        assert_eq!(statements(answer, 1), ["The desk opens at"]);
        assert_eq!(statements(answer, 2), ["The desk opens at", "Tea is served at nine"]);
        assert_eq!(statements(answer, 10), ["Bye"]);
        assert!(statements(answer, 3).is_empty());
    }
}
