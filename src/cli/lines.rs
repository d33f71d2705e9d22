//! Questions from standard input or a file for scripts, one per line: a text, or an object of JSON Lines
//! (`{"id": …, "question": "…"}`), whose id comes back with what is printed for it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Error, Result};
use serde::Serialize;
use serde_json::Value;

use crate::support::bounded::{self, Line};
use crate::terminal::Terminal;
use crate::terminal::exit::{self, Exit, Failure};
use crate::text::question::QuestionError;

/// Far above the longest valid question, in bytes; the rest of a longer line is skipped unread.
const MAX_LINE_BYTES: u64 = 1 << 20;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A question from the command line or from standard input.
#[derive(Debug, PartialEq)]
pub struct Input {
    /// Any value, if the line is JSON that has one.
    pub id: Option<Value>,
    /// Byte for byte as it was given.
    pub question: String,
}

impl Input {
    /// From the command line.
    pub fn of(question: &str) -> Self {
        Self { id: None, question: question.to_owned() }
    }

    /// What is printed for this input, as JSON: with its id, if it has one.
    pub fn with_id<'a, T: Serialize>(&'a self, rest: &'a T) -> WithId<'a, T> {
        WithId { id: self.id.as_ref(), rest }
    }

    /// From a line. One that begins like an object of JSON has to be one, with a question.
    fn read(line: &str) -> Result<Self, QuestionError> {
        let start = line.trim_start();
        let is_object =
            start.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'));
        if !is_object {
            return Ok(Self::of(line));
        }
        let Ok(Value::Object(mut object)) = serde_json::from_str(start) else {
            return Err(QuestionError::NotJson);
        };
        match object.remove("question") {
            Some(Value::String(question)) => Ok(Self { id: object.remove("id"), question }),
            _ => Err(QuestionError::NotJson),
        }
    }
}

/// A value with the id of its question.
#[derive(Serialize)]
pub struct WithId<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    #[serde(flatten)]
    rest: &'a T,
}

/// What is printed for a question that failed, as JSON.
#[derive(Serialize)]
struct Failed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    /// The line itself, if it has no question.
    question: &'a str,
    error: Failure,
}

/// Calls `ask` for every question in a file, or else on standard input, as the lines come, and returns the worst outcome. A question that
/// fails does not stop the rest, and with `json` gives an object with an `error`; an interruption
/// stops them.
pub fn each_question(
    file: Option<&Path>,
    terminal: Terminal,
    json: bool,
    mut ask: impl FnMut(&Input) -> Result<Exit>,
) -> Result<Exit> {
    let (mut lines, from): (Box<dyn BufRead>, String) =
        match file.filter(|path| *path != Path::new("-")) {
            None => (Box::new(io::stdin().lock()), "standard input".to_owned()),
            Some(path) => {
                let opened = File::open(path);
                let opened = opened.with_context(|| format!("cannot read {}", path.display()))?;
                (Box::new(BufReader::new(opened)), path.display().to_string())
            }
        };
    let mut worst = Exit::Answered;
    let mut is_first = true;
    while let Some(line) = read_line(&mut lines, &from)? {
        // Some editors write a byte order mark.
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(&line);
        is_first = false;
        if line.trim().is_empty() {
            continue;
        }
        let (input, asked) = match Input::read(line) {
            Ok(input) => {
                let asked = ask(&input);
                (input, asked)
            }
            Err(error) => (Input { id: id_of(line), question: line.to_owned() }, Err(error.into())),
        };
        let exit = match asked {
            Ok(exit) => exit,
            Err(error) if exit::is_broken_pipe(&error) => return Err(error),
            Err(error) => failed(terminal, json, &input, &error)?,
        };
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        worst = worst.worse(exit);
    }
    Ok(worst)
}

fn failed(terminal: Terminal, json: bool, input: &Input, error: &Error) -> Result<Exit> {
    let exit = exit::report(terminal, error);
    if json {
        let error = Failure::from(error);
        terminal.print_json(&Failed { id: input.id.as_ref(), question: &input.question, error })?;
    }
    Ok(exit)
}

/// The id in a line that has no question.
fn id_of(line: &str) -> Option<Value> {
    let object: Value = serde_json::from_str(line.trim()).ok()?;
    object.get("id").cloned()
}

/// Reads a line without its terminator; `None` at the end of input. Invalid UTF-8 becomes
/// replacement characters.
fn read_line(input: &mut impl BufRead, from: &str) -> Result<Option<String>> {
    let mut line = Vec::new();
    let failed = || format!("cannot read the questions from {from}");
    match bounded::read_line(input, MAX_LINE_BYTES, &mut line).with_context(failed)? {
        Line::End => return Ok(None),
        Line::TooLong => drop(input.skip_until(b'\n').with_context(failed)?),
        Line::Whole => {}
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_question_or_an_object_with_one() {
        let read = |line: &str| Input::read(line).map(|input| (input.id, input.question));
        for text in ["What is it?", "  A\u{308}\tb  ", "{x} là gì?", "[1]", "{", "{}"] {
            assert_eq!(read(text), Ok((None, text.to_owned())));
        }
        for id in ["7", "\"a b\"", "null", "[1,{\"x\":null}]", "1.5"] {
            let line = format!(r#" {{"id": {id}, "question": " A\u0308 \t?", "more": 1}}"#);
            let id: Value = serde_json::from_str(id).unwrap();
            assert_eq!(read(&line), Ok((Some(id), " A\u{308} \t?".to_owned())), "{line}");
        }
        assert_eq!(read(r#"{"question":"x"}"#), Ok((None, "x".to_owned())));
        for bad in [r#"{"id":1}"#, r#"{"question":7}"#, r#"{"id":1,"question":"x""#] {
            assert_eq!(read(bad), Err(QuestionError::NotJson), "{bad}");
        }
    }
}
