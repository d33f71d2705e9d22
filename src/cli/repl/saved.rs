//! A conversation as Markdown, which can be read back.
//!
//! The marks are comments of HTML, which Markdown does not show. A line of an answer that looks like
//! one of ours gets a backslash, which Markdown does not show either.

use std::fmt::Write;

use thiserror::Error;

use super::state::Turn;
use crate::terminal::{Lang, one_line, printable};

const BEGIN: &str = "<!-- rag-query: dialogue -->";
const QUESTION: &str = "## ";
const SOURCES: &str = "<!-- rag-query: sources -->";
const NO_ANSWER: &str = "<!-- rag-query: no answer -->";
const SOURCE: &str = "- ";

#[derive(Debug, PartialEq, Error)]
pub enum NotADialogue {
    #[error("it does not begin with `{BEGIN}`: /load reads what /save has written")]
    Begin,
    #[error("line {0} belongs to no question: each begins with `{QUESTION}`")]
    NoQuestion(usize),
    #[error("line {0} is no source: below `{SOURCES}`, each begins with `{SOURCE}`")]
    NotASource(usize),
    #[error("there is no question in it")]
    Empty,
}

/// Every question with its answer and the sources that it cites.
pub fn markdown(turns: &[Turn], lang: Lang) -> String {
    let mut text = format!("{BEGIN}\n\n");
    for Turn { question, answer, sources, .. } in turns {
        let _ = write!(text, "{QUESTION}{}\n\n", one_line(question));
        if answer.trim().is_empty() {
            let _ = write!(text, "{NO_ANSWER}\n{}\n\n", lang.no_answer());
            continue;
        }
        for line in printable(answer).trim().lines() {
            let escape = if is_mark(line) { "\\" } else { "" };
            let _ = writeln!(text, "{escape}{line}");
        }
        text.push('\n');
        if !sources.is_empty() {
            let _ = writeln!(text, "{SOURCES}");
        }
        for source in sources {
            let _ = writeln!(text, "{SOURCE}{}", one_line(source));
        }
        if !sources.is_empty() {
            text.push('\n');
        }
    }
    text
}

/// Whether a line could be taken for one of ours, but for backslashes before it.
fn is_mark(line: &str) -> bool {
    let line = line.trim_start_matches('\\');
    line.starts_with(QUESTION) || [BEGIN, SOURCES, NO_ANSWER].contains(&line.trim_end())
}

/// What [`markdown`] wrote.
pub fn read(text: &str) -> Result<Vec<Turn>, NotADialogue> {
    let text = printable(text.trim_start_matches('\u{feff}'));
    let mut lines = text.lines().zip(1..);
    if lines.find(|(line, _)| !line.trim().is_empty()).map(|(line, _)| line.trim()) != Some(BEGIN) {
        return Err(NotADialogue::Begin);
    }
    let mut turns: Vec<Turn> = Vec::new();
    let mut part = Part::Answer;
    for (line, number) in lines {
        if let Some(question) = line.strip_prefix(QUESTION) {
            turns.push(Turn { question: question.trim().to_owned(), ..Turn::default() });
            part = Part::Answer;
            continue;
        }
        let Some(turn) = turns.last_mut() else {
            match line.trim() {
                "" => continue,
                _ => return Err(NotADialogue::NoQuestion(number)),
            }
        };
        match (part, line.trim_end()) {
            (_, SOURCES) => part = Part::Sources,
            (_, NO_ANSWER) => part = Part::None,
            (Part::None, _) | (Part::Sources, "") => {}
            (Part::Answer, _) => {
                let line =
                    if is_mark(line) { line.strip_prefix('\\').unwrap_or(line) } else { line };
                turn.answer.push_str(line);
                turn.answer.push('\n');
            }
            (Part::Sources, line) => match line.strip_prefix(SOURCE) {
                Some(source) => turn.sources.push(source.to_owned()),
                None => return Err(NotADialogue::NotASource(number)),
            },
        }
    }
    for turn in &mut turns {
        turn.answer = turn.answer.trim().to_owned();
    }
    if turns.is_empty() { Err(NotADialogue::Empty) } else { Ok(turns) }
}

/// What of a turn is being read.
#[derive(Clone, Copy)]
enum Part {
    Answer,
    /// There is none; what stands there is for people.
    None,
    Sources,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(question: &str, answer: &str, sources: &[&str]) -> Turn {
        Turn {
            question: question.to_owned(),
            answer: answer.to_owned(),
            sources: sources.iter().map(|&source| source.to_owned()).collect(),
            full: None,
        }
    }

    fn parts(turns: &[Turn]) -> Vec<(&str, &str, &[String])> {
        turns.iter().map(|it| (it.question.as_str(), it.answer.as_str(), &it.sources[..])).collect()
    }

    #[test]
    fn what_is_saved_is_read_back_whatever_the_answer_looks_like() {
        let hostile = format!(
            "# A heading\n\n## Another\n\\## and one with a backslash\n- [1] a list\n{SOURCES}\n\
             {NO_ANSWER}\n{BEGIN}\n```\n## code\n```\n[1]"
        );
        let turns = [
            turn(
                "NLP là gì?",
                "Một lĩnh vực. [1]",
                &["[1] notes/nlp.md — NLP (dòng 3–5)", "[2] b"],
            ),
            turn("And ## its\n## drawbacks?", &hostile, &["[1] ## x"]),
            turn("Who?", "", &[]),
            turn("Why?", "Because.", &[]),
        ];
        for lang in [Lang::Vi, Lang::En] {
            let text = markdown(&turns, lang);
            let mut expected = turns.clone();
            expected[1].question = "And ## its ## drawbacks?".to_owned();
            assert_eq!(parts(&read(&text).unwrap()), parts(&expected), "{text}");
            // What is read back is saved as it was.
            assert_eq!(markdown(&read(&text).unwrap(), lang), text);
            // Whoever stores it with other line ends has the same.
            assert_eq!(parts(&read(&text.replace('\n', "\r\n")).unwrap()), parts(&expected));
        }
    }

    #[test]
    fn what_is_no_dialogue_is_told() {
        let read = |text: &str| read(text).map(|turns| turns.len());
        for text in ["", "# Notes\n", "## NLP là gì?\n\nx\n"] {
            assert_eq!(read(text), Err(NotADialogue::Begin), "{text}");
        }
        assert_eq!(read(&format!("{BEGIN}\n\n")), Err(NotADialogue::Empty));
        assert_eq!(read(&format!("{BEGIN}\n\nx\n## q\n")), Err(NotADialogue::NoQuestion(3)));
        let wrong = format!("{BEGIN}\n## q\n\na\n\n{SOURCES}\nx\n");
        assert_eq!(read(&wrong), Err(NotADialogue::NotASource(7)));
    }
}
