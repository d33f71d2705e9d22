//! Reads the fields of a labelled question, and says in words what is wrong with one: people write
//! these files by hand.

use serde_json::error::Category;
use serde_json::{Deserializer, Map, Value};
use thiserror::Error;

use super::documents::DocumentError;
use crate::index::IndexError;
use crate::text::question::QuestionError;

/// What a line looks like.
pub const EXAMPLE: &str = r#"{"id": "q1", "question": "…", "relevant": ["file.md"]}"#;

/// Most letters of a value that are quoted.
const MAX_QUOTED: usize = 40;

/// What is wrong in a line.
#[derive(Debug, Error)]
pub enum Slip {
    #[error("the line has more than {0} bytes")]
    LongLine(u64),
    #[error("the text is not UTF-8; save the file as UTF-8")]
    Encoding,
    #[error(
        "a JSON list begins here; write one question a line, without the brackets around them and the commas \
         between them"
    )]
    NoLines,
    #[error("the object does not end on this line; write each question on one line")]
    Unfinished,
    #[error("after the object comes {0:?}, which does not belong here; write one question a line")]
    Trailing(String),
    #[error("this is no JSON, from column {0} on; a question is {EXAMPLE}")]
    Json(usize),
    #[error("expected a question like {EXAMPLE}, found {0}")]
    NoObject(String),
    #[error("`question` is missing; {0}")]
    NoQuestion(String),
    #[error("`question`: {0}")]
    Question(#[from] QuestionError),
    #[error("{place}: expected {expected}, found {found}")]
    Wrong { place: String, expected: &'static str, found: String },
    #[error("{0} is empty; write something, or leave it out")]
    Blank(String),
    #[error("neither `relevant` nor `answerable` says whether the documents answer the question")]
    Unlabelled,
    #[error("`answerable` is false, but `relevant` names what answers; drop one of them")]
    Contradiction,
    #[error("`id`: {id:?} is already the id of line {first}")]
    Twice { id: String, first: usize },
    #[error("{place}: {source}")]
    Document { place: String, source: DocumentError },
    #[error(
        "{place}: {document} does not say {:?}; quote what `rag-query search` shows of it",
        shortened(quote)
    )]
    Unsaid { place: String, document: String, quote: String },
    #[error("the documents cannot be read: {0}")]
    Index(#[from] IndexError),
}

impl Slip {
    pub fn wrong(place: &str, expected: &'static str, found: &Value) -> Self {
        Self::Wrong { place: place.to_owned(), expected, found: in_words(found) }
    }

    /// Names what is there instead, which is often a question by another name.
    pub fn without_question(object: &Map<String, Value>) -> Self {
        let keys: Vec<String> = object.keys().take(6).map(|key| format!("`{key}`")).collect();
        Self::NoQuestion(match keys.is_empty() {
            true => format!("a question is {EXAMPLE}"),
            false => format!("there is {}", keys.join(", ")),
        })
    }
}

/// The object that a line is.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, Slip> {
    let text = std::str::from_utf8(text).map_err(|_| Slip::Encoding)?;
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        _ if text == "[" || text.starts_with("[{") && !text.ends_with(']') => {
            return Err(Slip::NoLines);
        }
        Some(Err(error)) => {
            return Err(match error.classify() {
                Category::Eof => Slip::Unfinished,
                _ => Slip::Json(error.column()),
            });
        }
        None => return Err(Slip::Json(1)),
    };
    let rest = text.get(values.byte_offset()..).unwrap_or_default().trim();
    match value {
        Value::Array(entries) if entries.iter().any(Value::is_object) => Err(Slip::NoLines),
        // Such as `"id": "q1", …` without its braces.
        value if !value.is_object() => Err(Slip::NoObject(in_words(&value))),
        _ if !rest.is_empty() => Err(Slip::Trailing(shortened(rest))),
        Value::Object(object) => Ok(object),
        _ => Err(Slip::Json(1)),
    }
}

/// A number counts as the text that it is written as.
pub fn id(object: &Map<String, Value>) -> Result<Option<String>, Slip> {
    match object.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(value) => text(value, "`id`").map(|id| Some(id.to_owned())),
    }
}

/// `place` is where the value is, in words.
pub fn string<'a>(value: &'a Value, place: &str) -> Result<&'a str, Slip> {
    value.as_str().ok_or_else(|| Slip::wrong(place, "a text", value))
}

/// A text that says something.
pub fn text<'a>(value: &'a Value, place: &str) -> Result<&'a str, Slip> {
    let text = string(value, place)?;
    if text.trim().is_empty() { Err(Slip::Blank(place.to_owned())) } else { Ok(text) }
}

pub fn truth(object: &Map<String, Value>, field: &str) -> Result<Option<bool>, Slip> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(*truth)),
        Some(other) => Err(Slip::wrong(&format!("`{field}`"), "true or false", other)),
    }
}

pub fn list<'a>(object: &'a Map<String, Value>, field: &str) -> Result<Option<&'a [Value]>, Slip> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(entries)) => Ok(Some(entries)),
        Some(other) => Err(Slip::wrong(&format!("`{field}`"), "a list, in [ and ]", other)),
    }
}

/// The texts of a list.
pub fn texts(object: &Map<String, Value>, field: &str) -> Result<Vec<String>, Slip> {
    let entries = list(object, field)?.unwrap_or_default().iter().enumerate();
    entries.map(|(at, value)| text(value, &entry(field, at)).map(str::to_owned)).collect()
}

/// Where an entry of a list is, in words.
pub fn entry(field: &str, at: usize) -> String {
    format!("`{field}`, entry {}", at + 1)
}

/// What a value is, for those who do not know JSON's words.
fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {:?}", shortened(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object, in { and }".to_owned(),
    }
}

/// The beginning of a text that may be long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
