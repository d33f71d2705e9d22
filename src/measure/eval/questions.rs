//! The question file: JSON Lines, `{"id","question","relevant":[documents],"answers":[texts]}`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::documents::{DocumentError, Documents};
use crate::support::bounded::{self, Line};
use crate::text::question::{self, QuestionError};

/// Limits of a file.
const MAX_BYTES: u64 = 256 << 20;
const MAX_QUESTIONS: usize = 100_000;
/// In bytes.
const MAX_LINE: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its `id` in the file, or else its line number.
    pub id: String,
    /// Normalized, as every stage sees it.
    pub text: String,
    /// Ids of the indexed documents that answer it.
    pub relevant: BTreeSet<String>,
    /// Whether the documents answer it.
    pub answerable: bool,
    /// Expected answers; any of them is right.
    pub answers: Vec<String>,
}

/// Why a question file cannot be used.
#[derive(Debug, Error)]
#[error("{}{}", path.display(), line.map_or_else(String::new, |line| format!(", line {line}")))]
pub struct QuestionsError {
    path: PathBuf,
    line: Option<usize>,
    source: Problem,
}

#[derive(Debug, Error)]
enum Problem {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it has more than {MAX_QUESTIONS} questions or {} MiB; split it", MAX_BYTES >> 20)]
    TooLarge,
    #[error("it has no question")]
    Empty,
    #[error("the line has more than {MAX_LINE} bytes")]
    LongLine,
    #[error("this is no question: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error("neither `relevant` nor `answerable` says whether the documents answer the question")]
    Unlabelled,
    #[error("the id {0:?} is there twice")]
    Twice(String),
    #[error(transparent)]
    Document(#[from] DocumentError),
}

#[derive(Deserialize)]
struct LabelledLine {
    id: Option<String>,
    question: String,
    relevant: Option<Vec<String>>,
    answerable: Option<bool>,
    #[serde(default)]
    answers: Vec<String>,
}

/// Reads all questions and resolves the documents they name.
pub fn read(path: &Path, documents: &Documents) -> Result<Vec<Question>, QuestionsError> {
    let failed = |line, source: Problem| QuestionsError { path: path.to_owned(), line, source };
    let file = File::open(path).map_err(|error| failed(None, error.into()))?;
    let mut lines = BufReader::new(file.take(MAX_BYTES + 1));
    let (mut questions, mut ids) = (Vec::new(), BTreeSet::new());
    let (mut bytes, mut number) = (0, 0);
    let mut line = Vec::new();
    loop {
        let found = bounded::read_line(&mut lines, MAX_LINE, &mut line)
            .map_err(|error| failed(None, error.into()))?;
        number += 1;
        bytes += line.len() as u64;
        let here = |source| failed(Some(number), source);
        match found {
            Line::End => break,
            Line::TooLong => return Err(here(Problem::LongLine)),
            Line::Whole => {}
        }
        if bytes > MAX_BYTES || questions.len() == MAX_QUESTIONS {
            return Err(failed(None, Problem::TooLarge));
        }
        // Some editors write a byte order mark.
        let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line);
        if text.trim_ascii().is_empty() {
            continue;
        }
        let question = parse(text, number, documents).map_err(here)?;
        if !ids.insert(question.id.clone()) {
            return Err(here(Problem::Twice(question.id)));
        }
        questions.push(question);
    }
    if questions.is_empty() { Err(failed(None, Problem::Empty)) } else { Ok(questions) }
}

fn parse(text: &[u8], number: usize, documents: &Documents) -> Result<Question, Problem> {
    let line: LabelledLine = serde_json::from_slice(text)?;
    if line.relevant.is_none() && line.answerable.is_none() {
        return Err(Problem::Unlabelled);
    }
    let names = line.relevant.unwrap_or_default();
    let answerable = line.answerable.unwrap_or(!names.is_empty());
    let relevant = names
        .iter()
        .map(|name| Ok(documents.find(name)?.to_owned()))
        .collect::<Result<_, DocumentError>>()?;
    Ok(Question {
        id: line.id.unwrap_or_else(|| number.to_string()),
        text: question::normalize(&line.question)?,
        relevant,
        answerable,
        answers: line.answers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(text: &str) -> Result<Vec<Question>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.jsonl");
        std::fs::write(&path, text).unwrap();
        let documents = Documents::new(["/n/a.md", "/n/b.md"].into_iter());
        read(&path, &documents).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    #[test]
    fn a_question_has_an_id_its_documents_and_whether_they_answer() {
        let read = questions(
            "\u{feff}{\"id\":\"q\",\"question\":\" NLP  là gì? \",\"relevant\":[\"a.md\"],\"x\":1}\n\n\
             {\"question\":\"Ai?\",\"relevant\":[]}\n\
             {\"question\":\"Sao?\",\"answerable\":true,\"answers\":[\"vì\"]}\n",
        )
        .unwrap();
        assert_eq!(read[0].id, "q");
        assert_eq!(read[0].text, "NLP là gì?");
        assert_eq!(read[0].relevant, BTreeSet::from(["/n/a.md".to_owned()]));
        let answerable: Vec<bool> = read.iter().map(|question| question.answerable).collect();
        assert_eq!(answerable, [true, false, true]);
        assert_eq!((read[1].id.as_str(), read[2].answers[0].as_str()), ("3", "vì"));
    }

    #[test]
    fn errors_name_the_file_the_line_and_what_is_wrong() {
        let good = "{\"id\":\"1\",\"question\":\"a\",\"relevant\":[]}\n";
        for (line, parts) in [
            ("nonsense", ["line 2", "no question"]),
            ("{\"question\":\"a\"}", ["line 2", "neither `relevant`"]),
            ("{\"question\":\" \",\"relevant\":[]}", ["line 2", "empty"]),
            ("{\"question\":\"a\",\"relevant\":[\"c.md\"]}", ["line 2", "\"c.md\""]),
            (good, ["line 2", "twice"]),
        ] {
            let error = questions(&format!("{good}{line}")).unwrap_err();
            for part in parts.into_iter().chain(["q.jsonl"]) {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
        assert!(questions("\n").unwrap_err().contains("no question"));
        let long = format!("{good}{}", " ".repeat(MAX_LINE as usize + 1));
        assert!(questions(&long).unwrap_err().contains("line 2"));
    }
}
