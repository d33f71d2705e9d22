//! The question file: JSON Lines, `{"id","question","relevant":[labels],"answers":[texts]}`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use super::documents::Documents;
use super::fields::{self, Slip};
use super::labels::Label;
use super::quotes::Quotes;
use crate::support::bounded::{self, Line};
use crate::text::question;

/// Limits of a file.
const MAX_BYTES: u64 = 256 << 20;
const MAX_QUESTIONS: usize = 100_000;
/// In bytes.
const MAX_LINE: u64 = 1 << 20;
/// Lines that are wrong before the rest is not read.
const MAX_SLIPS: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its `id` in the file, or else its line number.
    pub id: String,
    /// Normalized, as every stage sees it.
    pub text: String,
    /// What in the index answers it, each once.
    pub relevant: Vec<Label>,
    /// Whether the documents answer it.
    pub answerable: bool,
    /// Expected answers; any of them is right.
    pub answers: Vec<String>,
    /// The kinds of question it is of, by which figures are told apart.
    pub kinds: BTreeSet<String>,
}

impl Question {
    /// Whether a label is in this document.
    pub fn names(&self, document: &str) -> bool {
        self.relevant.iter().any(|label| label.document() == document)
    }
}

/// Why a question file cannot be used.
#[derive(Debug, Error)]
pub enum QuestionsError {
    #[error("{}: it cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{} has more than {MAX_QUESTIONS} questions or {} MiB; split it",
        path.display(),
        MAX_BYTES >> 20
    )]
    TooLarge { path: PathBuf },
    #[error("{} has no question: write one a line, {}", path.display(), fields::EXAMPLE)]
    Empty { path: PathBuf },
    #[error("{}", in_words(path, slips))]
    Slips { path: PathBuf, slips: Vec<(usize, Slip)> },
}

/// What is wrong in which line.
fn in_words(path: &Path, slips: &[(usize, Slip)]) -> String {
    let path = path.display();
    if let [(line, slip)] = slips {
        return format!("{path}, line {line}: {slip}");
    }
    let enough = if slips.len() == MAX_SLIPS { ", and more may follow" } else { "" };
    let mut told = vec![format!("{path}: {} lines are no labelled questions{enough}", slips.len())];
    told.extend(slips.iter().map(|(line, slip)| format!("  line {line}: {slip}")));
    told.join("\n")
}

/// Reads all questions and resolves what they name. Lines that are wrong are told together.
pub fn read(
    path: &Path,
    documents: &Documents,
    quotes: &mut Quotes,
) -> Result<Vec<Question>, QuestionsError> {
    let path = path.to_owned();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(source) => return Err(QuestionsError::Unreadable { path, source }),
    };
    let mut lines = BufReader::new(file.take(MAX_BYTES + 1));
    let (mut questions, mut slips) = (Vec::new(), Vec::new());
    let mut ids: HashMap<String, usize> = HashMap::new();
    let (mut bytes, mut number) = (0, 0);
    let mut line = Vec::new();
    loop {
        let found = match bounded::read_line(&mut lines, MAX_LINE, &mut line) {
            Ok(found) => found,
            Err(source) => return Err(QuestionsError::Unreadable { path, source }),
        };
        number += 1;
        bytes += line.len() as u64;
        match found {
            Line::End => break,
            Line::TooLong => {
                slips.push((number, Slip::LongLine(MAX_LINE)));
                // Where the next line begins is not known.
                break;
            }
            Line::Whole => {}
        }
        if bytes > MAX_BYTES || questions.len() > MAX_QUESTIONS {
            return Err(QuestionsError::TooLarge { path });
        }
        // Some editors write a byte order mark.
        let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        let read = question(text, number, documents, quotes);
        match read.and_then(|question| unheard(question, number, &mut ids)) {
            Ok(question) => questions.push(question),
            Err(slip) => {
                let is_hopeless = matches!(slip, Slip::NoLines);
                slips.push((number, slip));
                if is_hopeless || slips.len() == MAX_SLIPS {
                    break;
                }
            }
        }
    }
    if !slips.is_empty() {
        return Err(QuestionsError::Slips { path, slips });
    }
    if questions.is_empty() { Err(QuestionsError::Empty { path }) } else { Ok(questions) }
}

/// The question, if no other line has its id.
fn unheard(
    question: Question,
    line: usize,
    ids: &mut HashMap<String, usize>,
) -> Result<Question, Slip> {
    match ids.entry(question.id.clone()) {
        Entry::Occupied(first) => Err(Slip::Twice { id: question.id, first: *first.get() }),
        Entry::Vacant(id) => {
            id.insert(line);
            Ok(question)
        }
    }
}

/// The question of a line.
fn question(
    text: &[u8],
    number: usize,
    documents: &Documents,
    quotes: &mut Quotes,
) -> Result<Question, Slip> {
    let object = fields::object(text)?;
    let asked = object.get("question").filter(|value| !value.is_null());
    let asked = asked.ok_or_else(|| Slip::without_question(&object))?;
    let text = question::normalize(fields::string(asked, "`question`")?)?;
    let relevant = fields::list(&object, "relevant")?;
    let answerable = fields::truth(&object, "answerable")?;
    let labels = labels(relevant.unwrap_or_default(), documents, quotes)?;
    let answerable = match (answerable, relevant) {
        (None, None) => return Err(Slip::Unlabelled),
        (Some(false), Some([_, ..])) => return Err(Slip::Contradiction),
        (Some(answerable), _) => answerable,
        (None, Some(_)) => !labels.is_empty(),
    };
    Ok(Question {
        id: fields::id(&object)?.unwrap_or_else(|| number.to_string()),
        text,
        relevant: labels,
        answerable,
        answers: fields::texts(&object, "answers")?,
        kinds: kinds(&object)?,
    })
}

/// One kind, or a list of them.
fn kinds(object: &Map<String, Value>) -> Result<BTreeSet<String>, Slip> {
    Ok(match object.get("kind") {
        Some(kind @ Value::String(_)) => [fields::text(kind, "`kind`")?.to_owned()].into(),
        _ => fields::texts(object, "kind")?.into_iter().collect(),
    })
}

/// Documents by name, and `{"document", "quote"}`.
fn labels(
    entries: &[Value],
    documents: &Documents,
    quotes: &mut Quotes,
) -> Result<Vec<Label>, Slip> {
    let mut labels: Vec<Label> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let place = fields::entry("relevant", at);
        let find = |name| {
            let found = documents.find(name);
            found.map_err(|source| Slip::Document { place: place.clone(), source })
        };
        let label = match entry {
            Value::Object(passage) => {
                let part = |key: &'static str| {
                    let part = passage.get(key).unwrap_or(&Value::Null);
                    fields::text(part, &format!("{place}, `{key}`"))
                };
                let document = find(part("document")?)?.to_owned();
                let quote = part("quote")?.to_owned();
                let spans = quotes.find(&document, &quote)?;
                if spans.is_empty() {
                    return Err(Slip::Unsaid { place, document, quote });
                }
                Label::Passage { document, quote, spans }
            }
            Value::String(name) => Label::Document(find(name)?.to_owned()),
            other => {
                let expected = "the name of a document, or {\"document\": …, \"quote\": …}";
                return Err(Slip::wrong(&place, expected, other));
            }
        };
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Passage;

    fn questions(text: impl AsRef<[u8]>) -> Result<Vec<Question>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.jsonl");
        std::fs::write(&path, text).unwrap();
        let documents = Documents::new(["/n/a.md", "/n/b.md"].into_iter());
        let passage = |start: usize, text: &str| Passage {
            span: (start, start + text.len()),
            text: text.to_owned(),
            ..Passage::default()
        };
        let mut quotes =
            Quotes::new(|_| Ok(vec![passage(0, "One line.\n"), passage(10, "The other  line.")]));
        read(&path, &documents, &mut quotes)
            .map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), ""))
    }

    #[test]
    fn a_question_has_an_id_its_documents_and_whether_they_answer() {
        let read = questions(
            "\u{feff}{\"id\":\"q\",\"question\":\" NLP  là gì? \",\"relevant\":[\"a.md\",\"./a.md\"],\"x\":1}\n\n\
             {\"question\":\"Ai?\",\"relevant\":[],\"answers\":null}\n\
             {\"id\":7,\"question\":\"Sao?\",\"answerable\":true,\"answers\":[\"vì\"]}\n",
        )
        .unwrap();
        assert_eq!(read[0].text, "NLP là gì?");
        assert_eq!(read[0].relevant, [Label::Document("/n/a.md".to_owned())], "once");
        let answerable: Vec<bool> = read.iter().map(|question| question.answerable).collect();
        assert_eq!(answerable, [true, false, true]);
        let ids: Vec<&str> = read.iter().map(|question| question.id.as_str()).collect();
        assert_eq!((ids, read[2].answers[0].as_str()), (vec!["q", "3", "7"], "vì"));
    }

    #[test]
    fn a_quote_names_the_passages_that_say_it() {
        let line = r#"{"question":"?","relevant":[{"document":"b.md","quote":"the OTHER line"}]}"#;
        let read = questions(line).unwrap();
        let Label::Passage { document, spans, .. } = &read[0].relevant[0] else { panic!() };
        assert_eq!((document.as_str(), spans), ("/n/b.md", &BTreeSet::from([(10, 26)])));
    }

    #[test]
    fn kinds_are_one_or_several() {
        let of = |kind: &str| {
            let line = format!(r#"{{"question":"?","relevant":[],"kind":{kind}}}"#);
            questions(line).map(|read| read[0].kinds.iter().cloned().collect::<Vec<_>>())
        };
        assert_eq!(of(r#""law""#).unwrap(), ["law"]);
        assert_eq!(of(r#"["vi","law","vi"]"#).unwrap(), ["law", "vi"]);
        assert_eq!(of("null").unwrap(), [""; 0]);
        assert!(of("3").unwrap_err().contains("`kind`: expected a list"));
        assert!(of(r#"["law",3]"#).unwrap_err().contains("`kind`, entry 2: expected a text"));
    }

    /// What people write by hand, and what they are told.
    #[test]
    fn slips_are_told_in_words_with_file_line_and_field() {
        let good = "{\"id\":\"1\",\"question\":\"a\",\"relevant\":[]}\n";
        let with = |rest: &str| format!("{{\"question\":\"a\",{rest}}}");
        for (line, told) in [
            ("nonsense".to_owned(), "this is no JSON, from column 2 on"),
            ("{'question': 'a'}".to_owned(), "this is no JSON, from column 2 on"),
            ("{\"question\":\"a\",".to_owned(), "the object does not end on this line"),
            ("{".to_owned(), "write each question on one line"),
            ("[".to_owned(), "a JSON list begins here"),
            (format!("[{},", with("\"relevant\":[]")), "a JSON list begins here"),
            (format!("[{}]", with("\"relevant\":[]")), "a JSON list begins here"),
            (format!("{},", with("\"relevant\":[]")), "after the object comes \",\""),
            ("\"What?\"".to_owned(), "found the text \"What?\""),
            ("{}".to_owned(), "`question` is missing; a question is {\"id\""),
            ("{\"query\":\"a\",\"id\":\"2\"}".to_owned(), "there is `id`, `query`"),
            ("{\"question\":null,\"relevant\":[]}".to_owned(), "`question` is missing"),
            (
                "{\"question\":\" \",\"relevant\":[]}".to_owned(),
                "`question`: the question is empty",
            ),
            ("{\"question\":[\"a\"]}".to_owned(), "`question`: expected a text, found a list"),
            (with("\"id\":1,\"relevant\":[]"), "`id`: \"1\" is already the id of line 1"),
            (with("\"id\":true,\"relevant\":[]"), "`id`: expected a text, found true"),
            (with("\"id\":\"\",\"relevant\":[]"), "`id` is empty"),
            (with("\"x\":1"), "neither `relevant` nor `answerable`"),
            (
                with("\"relevant\":\"a.md\""),
                "`relevant`: expected a list, in [ and ], found the text",
            ),
            (with("\"relevant\":[\"a.md\",null]"), "`relevant`, entry 2: expected the name"),
            (with("\"relevant\":[\"c.md\"]"), "`relevant`, entry 1: no document of the index"),
            (with("\"relevant\":[{\"document\":\"a.md\"}]"), "entry 1, `quote`: expected a text"),
            (with("\"relevant\":[{\"quote\":\"a\"}]"), "entry 1, `document`: expected a text"),
            (
                with("\"relevant\":[{\"document\":\"a.md\",\"quote\":\"No line\"}]"),
                "entry 1: /n/a.md does not say \"No line\"",
            ),
            (
                with("\"answerable\":\"yes\""),
                "`answerable`: expected true or false, found the text",
            ),
            (with("\"answerable\":false,\"relevant\":[\"a.md\"]"), "drop one of them"),
            (with("\"relevant\":[],\"answers\":\"x\""), "`answers`: expected a list"),
            (
                with("\"relevant\":[],\"answers\":[\"x\",null]"),
                "`answers`, entry 2: expected a text, found null",
            ),
            (with("\"relevant\":[],\"answers\":[\" \"]"), "`answers`, entry 1 is empty"),
            (" ".repeat(MAX_LINE as usize + 1), "the line has more than"),
        ] {
            let error = questions(format!("{good}{line}")).unwrap_err();
            assert!(
                error.starts_with("/q.jsonl, line 2: ") && error.contains(told),
                "{told}: {error}"
            );
            assert!(!error.contains("invalid type") && !error.contains("at line"), "{error}");
        }
        assert!(questions(b"{\"question\":\"\xff\"}").unwrap_err().contains("UTF-8"));
        assert!(questions("\n").unwrap_err().contains("q.jsonl has no question"));
    }

    #[test]
    fn all_lines_that_are_wrong_are_told_together() {
        let error = questions("{\"question\":1}\n".repeat(2)).unwrap_err();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 3, "{error}");
        assert!(
            lines[0].contains("2 lines") && lines[2].starts_with("  line 2: `question`"),
            "{error}"
        );
        let many = questions("{}\n".repeat(25)).unwrap_err();
        assert!(many.lines().count() == 11 && many.contains("10 lines"), "{many}");
        let list = questions("[\n{\"question\":1},\n{\"question\":2}\n]\n").unwrap_err();
        assert_eq!(list.lines().count(), 1, "{list}");
    }
}
