//! JSON Lines: a document a line, streamed, so that a file of any length takes the memory of one
//! line and of the ids seen.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract, Record};
use crate::documents::encoding::{self, UTF8_MARK};
use crate::documents::error::{LineError, ReadError};
use crate::documents::limits::{MAX_ID_BYTES, MAX_LINE_BYTES};
use crate::documents::title::tidy_title;
use crate::support::bounded;

#[expect(clippy::unnecessary_wraps, reason = "the signature of all readers")]
pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    Ok(Contents::Many(Box::new(JsonLines {
        path: path.to_owned(),
        reader: BufReader::with_capacity(1 << 16, file),
        line: 0,
        offset: 0,
        buffer: Vec::new(),
        is_cut: false,
        flaw: None,
        seen: HashMap::new(),
    })))
}

/// A line as it is written. Other fields are allowed and ignored: published data sets have them.
#[derive(Deserialize)]
struct Line {
    id: Value,
    title: Option<String>,
    text: String,
}

struct JsonLines {
    path: PathBuf,
    reader: BufReader<File>,
    /// Lines read so far, which is the number of the current line.
    line: u64,
    /// Bytes read so far, the current line's among them.
    offset: u64,
    buffer: Vec<u8>,
    /// Whether the buffer holds only the first bytes of a line that is too long.
    is_cut: bool,
    /// What was wrong with the line of the last record.
    flaw: Option<ReadError>,
    /// Where each id was first used.
    seen: HashMap<String, u64>,
}

impl Iterator for JsonLines {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(flaw) = self.flaw.take() {
            return Some(Err(flaw));
        }
        loop {
            match self.next_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(ReadError::io(&self.path)(error))),
            }
            if let Err(error) = self.reject_other_than_text() {
                return Some(Err(error));
            }
            let record = self.record().map_err(|reason| ReadError::Line {
                path: self.path.clone(),
                line: self.line,
                reason,
            });
            if let Some(item) = record.transpose() {
                return Some(item);
            }
        }
    }
}

impl JsonLines {
    /// Reads the next line into the buffer; `false` at the end.
    fn next_line(&mut self) -> io::Result<bool> {
        if self.is_cut {
            self.offset += self.reader.skip_until(b'\n')? as u64;
        }
        let max_bytes = MAX_LINE_BYTES as u64;
        let found = bounded::read_line(&mut self.reader, max_bytes, &mut self.buffer)?;
        self.is_cut = found == bounded::Line::TooLong;
        self.line += 1;
        self.offset += self.buffer.len() as u64;
        Ok(found != bounded::Line::End)
    }

    /// What such a line shows is that the whole file is something else.
    fn reject_other_than_text(&self) -> Result<(), ReadError> {
        let path = || self.path.clone();
        let is_utf16 = self.buffer.starts_with(b"\xFF\xFE") || self.buffer.starts_with(b"\xFE\xFF");
        if self.line == 1 && is_utf16 {
            return Err(ReadError::Utf16 { path: path() });
        }
        match self.buffer.iter().position(|&byte| byte == 0) {
            Some(at) if encoding::repair(&self.buffer).is_none() => {
                let offset = self.offset - self.buffer.len() as u64 + at as u64;
                Err(ReadError::Binary { path: path(), offset })
            }
            _ => Ok(()),
        }
    }

    /// The document on the line in the buffer; `None` if the line is blank.
    fn record(&mut self) -> Result<Option<Record>, LineError> {
        if self.is_cut {
            return Err(LineError::TooLong);
        }
        let mut line = self.buffer.as_slice();
        if self.line == 1 {
            line = line.strip_prefix(UTF8_MARK).unwrap_or(line);
        }
        let (text, flaws) = match std::str::from_utf8(line) {
            Ok(text) if !text.contains('\0') => (Cow::Borrowed(text), Vec::new()),
            outcome => {
                let offset = outcome.err().map_or(0, |error| error.valid_up_to());
                let repaired = encoding::repair(line).ok_or(LineError::NotUtf8 { offset })?;
                (repaired.text, repaired.flaws)
            }
        };
        if text.trim().is_empty() {
            return Ok(None);
        }
        let line: Line = serde_json::from_str(&text).map_err(|error| json_error(&error))?;
        let id = match line.id {
            // Byte for byte: scripts join on it.
            Value::String(id) if !id.trim().is_empty() => id,
            Value::Number(id) => id.to_string(),
            _ => return Err(LineError::Id),
        };
        if id.len() > MAX_ID_BYTES {
            return Err(LineError::Id);
        }
        if let Some(&first) = self.seen.get(&id) {
            return Err(LineError::Duplicate { id, first });
        }
        self.seen.insert(id.clone(), self.line);
        self.flaw = flaws.first().map(|flaw| ReadError::Line {
            path: self.path.clone(),
            line: self.line,
            reason: LineError::WrongBytes { places: flaw.places, offset: flaw.offset },
        });
        let extract = Extract {
            title: line.title.and_then(|title| tidy_title(&clean(&title))),
            text: clean(&line.text).into_owned(),
            ..Extract::default()
        };
        Ok(Some(Record { id, extract }))
    }
}

/// The parser was given one line, so the "at line 1" of its message would mislead.
fn json_error(error: &serde_json::Error) -> LineError {
    let position = format!(" at line {} column {}", error.line(), error.column());
    let why = error.to_string();
    let why = why.strip_suffix(&position).unwrap_or(&why).to_owned();
    LineError::Json { why, column: error.column() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Document;
    use crate::documents::samples::{Outcome, documents};

    /// The number of each bad line, and what is wrong with it.
    fn line_errors(documents: &Outcome) -> Vec<(u64, &LineError)> {
        let mut errors = Vec::new();
        for item in documents {
            match item {
                Ok(_) => {}
                Err(ReadError::Line { line, reason, .. }) => errors.push((*line, reason)),
                Err(other) => panic!("{other}"),
            }
        }
        errors
    }

    #[test]
    fn json_lines_are_documents() {
        let lines = concat!(
            "\u{FEFF}{\"id\": \"a\", \"title\": \" Một \\n tựa \", \"text\": \"hai\\r\\nba\", \"more\": [1]}\r\n",
            "\r\n",
            "{\"id\": 7, \"text\": \"\"}\n",
            "{\"id\": \"b\", \"title\": null, \"text\": \"e\u{301}\"}",
        );
        let (folder, documents) = documents("a.jsonl", lines);
        let documents: Vec<Document> = documents.into_iter().map(Result::unwrap).collect();
        let path = folder.path().join("a.jsonl");
        let id = |id: &str| format!("{}#{id}", path.to_str().unwrap());
        assert_eq!(documents[0].id, id("a"));
        assert_eq!(documents[0].title.as_deref(), Some("Một tựa"));
        assert_eq!(documents[0].text, "hai\nba");
        assert_eq!((&documents[1].id, documents[1].text.as_str()), (&id("7"), ""));
        assert_eq!((documents[2].title.as_ref(), documents[2].text.as_str()), (None, "é"));
    }

    #[test]
    fn bad_lines_are_named_and_the_others_are_read() {
        let mut lines = Vec::new();
        let bad: [&[u8]; 9] = [
            b"{\"id\": 1, \"text\": \"fine\"}",
            b"{\"id\": 2}",
            b"{\"id\": 3, \"text\"",
            b"[]",
            b"{\"id\": 1, \"text\": \"again\"}",
            b"{\"id\": [1], \"text\": \"x\"}",
            b"{\"id\": 4, \"text\": \"\xFF\"}",
            b"{\"id\": \"\", \"text\": \"x\"}",
            b"{\"id\": 5, \"text\": \"fine too\"}",
        ];
        for line in bad {
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
        let (_folder, documents) = documents("a.jsonl", lines);
        assert_eq!(documents.iter().filter(|item| item.is_ok()).count(), 2);
        let errors = line_errors(&documents);
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
        assert!(errors[0].1.to_string().starts_with("missing field `text` (column 9)"));
        assert_eq!(*errors[3].1, LineError::Duplicate { id: "1".into(), first: 1 });
        assert_eq!(*errors[4].1, LineError::Id);
        assert_eq!(*errors[5].1, LineError::NotUtf8 { offset: 19 });
        assert_eq!(*errors[6].1, LineError::Id);
    }

    #[test]
    fn a_line_with_a_few_wrong_bytes_is_read_and_named() {
        let lines = [
            "{\"id\": 1, \"text\": \"điều một\0 ".as_bytes(),
            b"\xe1\xbb\"}\n{\"id\": 2, \"text\": \"two\"}",
        ];
        let (_folder, documents) = documents("a.jsonl", lines.concat());
        assert_eq!(documents[0].as_ref().unwrap().text, "điều một \u{fffd}");
        assert_eq!(
            line_errors(&documents),
            [(1, &LineError::WrongBytes { places: 1, offset: 34 })]
        );
        assert_eq!(documents[2].as_ref().unwrap().text, "two");
    }

    #[test]
    fn an_endless_line_is_skipped_within_bounds() {
        let mut lines = vec![b'x'; 2 * MAX_LINE_BYTES + 9];
        lines.extend_from_slice(b"\n{\"id\": 1, \"text\": \"fine\"}\n");
        let (_folder, documents) = documents("a.jsonl", lines);
        assert_eq!(line_errors(&documents), [(1, &LineError::TooLong)]);
        assert_eq!(documents[1].as_ref().unwrap().text, "fine");
    }

    #[test]
    fn deeply_nested_json_is_an_error_and_not_a_crash() {
        let (_folder, documents) = documents("a.jsonl", "[".repeat(1 << 20));
        assert!(matches!(line_errors(&documents)[..], [(1, LineError::Json { .. })]));
    }

    #[test]
    fn what_is_no_text_ends_the_file() {
        let (_folder, utf16) = documents("a.jsonl", b"\xFF\xFE{\0}\0");
        assert!(matches!(utf16[..], [Err(ReadError::Utf16 { .. })]), "{utf16:?}");
        let (_folder, binary) = documents("a.jsonl", b"\n\n\x7FELF\0\0\n{}\n");
        assert!(matches!(binary[..], [Err(ReadError::Binary { offset: 6, .. })]), "{binary:?}");
    }
}
