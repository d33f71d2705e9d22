//! From a file to documents: bounded reading, decoding, normalization.
//!
//! Most files give one document. JSONL gives one a line and is streamed, so that a file of any
//! length needs the memory of one line (and of the ids seen).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::clean::clean;
use super::encoding::{self, NotText};
use super::formats::{docx, epub, front_matter, html, markdown, pdf};
use super::kind::FileKind;
use super::structure::{Places, Structure};
use super::{Document, LineError, Markup, ReadError};

/// Largest text file or page, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// Largest PDF file, in bytes: pictures take most of them.
pub const MAX_PDF_BYTES: usize = 512 << 20;
/// Longest line of a JSONL file, in bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;
/// Longest `id` of a JSON line, in bytes. All ids of a file are in memory at once.
pub(crate) const MAX_ID_BYTES: usize = 1024;
/// Longest title or heading, in characters. Titles are cut; longer "headings" are body text.
pub(crate) const MAX_TITLE_CHARS: usize = 256;

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads the documents of one file. Nothing is opened before the first `next`.
#[must_use]
pub fn read(path: &Path) -> Documents {
    Documents { path: path.to_owned(), state: State::Unopened }
}

/// The documents of one file, in its order. See [`read`].
///
/// After an [`ReadError::Line`] the next lines follow; any other error is the last item. A document
/// may be followed by an error that says what of its file is missing.
#[derive(Debug)]
pub struct Documents {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Unopened,
    Lines(JsonLines),
    /// The document was read, but not all of it.
    Problem(Option<Box<ReadError>>),
    Done,
}

impl Documents {
    fn read_pdf(&mut self, file: &File, id: String) -> Result<Document, ReadError> {
        let length = file.metadata().map_err(ReadError::io(&self.path))?.len();
        if length > MAX_PDF_BYTES as u64 {
            return Err(ReadError::TooLarge { path: self.path.clone(), limit: MAX_PDF_BYTES });
        }
        let pdf = pdf::read(&self.path)?;
        self.state = State::Problem(pdf.problem.map(Box::new));
        let (title, text, structure) = (pdf.title, pdf.text, pdf.structure);
        Ok(Document { id, title, text, format: Markup::Plain, structure })
    }
}

impl Iterator for Documents {
    type Item = Result<Document, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Unopened) {
            self.state = State::Done;
            let (file, id, kind) = match open(&self.path) {
                Ok(opened) => opened,
                Err(error) => return Some(Err(error)),
            };
            match kind {
                FileKind::JsonLines => self.state = State::Lines(JsonLines::new(file, id)),
                FileKind::Pdf => return Some(self.read_pdf(&file, id)),
                kind => return Some(read_whole(file, &self.path, id, kind)),
            }
        }
        let lines = match &mut self.state {
            State::Lines(lines) => lines,
            State::Problem(problem) => {
                let problem = problem.take();
                self.state = State::Done;
                return problem.map(|problem| Err(*problem));
            }
            State::Unopened | State::Done => return None,
        };
        let item = lines.next_document(&self.path);
        if !matches!(item, Some(Ok(_) | Err(ReadError::Line { .. }))) {
            self.state = State::Done;
        }
        item
    }
}

/// The open file, its document id, and what it holds.
fn open(path: &Path) -> Result<(File, String, FileKind), ReadError> {
    // Before opening: opening a pipe would wait for its writer.
    if !path.metadata().map_err(ReadError::io(path))?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let Some(kind) = FileKind::of(path).map_err(ReadError::io(path))? else {
        return Err(ReadError::Unsupported { path: path.to_owned() });
    };
    let absolute = std::path::absolute(path).map_err(ReadError::io(path))?;
    let id = absolute
        .into_os_string()
        .into_string()
        .map_err(|path| ReadError::PathNotUnicode { path: path.into() })?;
    let file = File::open(path).map_err(ReadError::io(path))?;
    Ok((file, id, kind))
}

fn read_whole(
    mut file: File,
    path: &Path,
    id: String,
    kind: FileKind,
) -> Result<Document, ReadError> {
    let (title, text, format, structure) = match kind {
        FileKind::Markdown => {
            let text = read_text(file, path, false)?;
            let title = front_matter::title(&text);
            let mut structure = Structure::default();
            let text = match markdown::without_comments(&text) {
                Some((rest, marks)) => {
                    structure.places = Places::Lines(marks);
                    rest
                }
                None => text,
            };
            (title, text, Markup::Markdown, structure)
        }
        FileKind::Html => {
            let (title, text, structure) =
                html::read(&read_text(file, path, true)?, html::Syntax::Html);
            (title, text, Markup::Plain, structure)
        }
        FileKind::Docx => {
            reject_compound_file(&mut file, path)?;
            let (title, text, structure) = docx::read(file, path)?;
            (title, text, Markup::Plain, structure)
        }
        FileKind::Epub => {
            let (title, text, structure) = epub::read(file, path)?;
            (title, text, Markup::Plain, structure)
        }
        FileKind::Code => (None, read_text(file, path, false)?, Markup::Code, Structure::default()),
        FileKind::Plain | FileKind::JsonLines | FileKind::Pdf => {
            (None, read_text(file, path, false)?, Markup::Plain, Structure::default())
        }
        FileKind::Legacy => return Err(ReadError::Legacy { path: path.to_owned() }),
    };
    Ok(Document { id, title, text, format, structure })
}

/// A text file's text, clean. `may_declare` where the file may say in which encoding it is.
fn read_text(file: File, path: &Path, may_declare: bool) -> Result<String, ReadError> {
    let bytes = bytes(file, path, MAX_DOCUMENT_BYTES)?;
    let declared = if may_declare { encoding::declared(&bytes) } else { None };
    let path = path.to_owned();
    match encoding::decode(&bytes, declared) {
        Ok(text) => Ok(clean(&text).into_owned()),
        Err(NotText::Binary(offset)) => Err(ReadError::Binary { path, offset: offset as u64 }),
        Err(NotText::Unknown(offset)) => Err(ReadError::UnknownEncoding { path, offset }),
    }
}

/// All of a file, of at most `limit` bytes.
fn bytes(file: File, path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(ReadError::io(path))?;
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// An encrypted DOCX is no ZIP file but a compound file, as the formats before it were.
fn reject_compound_file(file: &mut File, path: &Path) -> Result<(), ReadError> {
    let mut head = [0; 8];
    let length = file.read(&mut head).map_err(ReadError::io(path))?;
    file.rewind().map_err(ReadError::io(path))?;
    if &head[..length] == b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" {
        return Err(ReadError::Encrypted { path: path.to_owned() });
    }
    Ok(())
}

fn reject_utf16(path: &Path, bytes: &[u8]) -> Result<(), ReadError> {
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(ReadError::Utf16 { path: path.to_owned() });
    }
    Ok(())
}

/// One line, without control characters, at most [`MAX_TITLE_CHARS`]; `None` if nothing is left.
pub(crate) fn tidy_title(title: &str) -> Option<String> {
    let mut tidy = String::new();
    for word in title.split(|c: char| c.is_whitespace() || c.is_control()) {
        if tidy.len() > 4 * MAX_TITLE_CHARS {
            break;
        }
        if !word.is_empty() {
            let space = if tidy.is_empty() { "" } else { " " };
            tidy.push_str(space);
            tidy.extend(word.chars().take(MAX_TITLE_CHARS));
        }
    }
    let tidy: String = tidy.chars().take(MAX_TITLE_CHARS).collect();
    (!tidy.is_empty()).then_some(tidy)
}

/// A line as it is written. Other fields are allowed and ignored: published data sets have them.
#[derive(Deserialize)]
struct Record {
    id: Value,
    title: Option<String>,
    text: String,
}

#[derive(Debug)]
struct JsonLines {
    reader: BufReader<File>,
    /// The file's own id, the first part of its documents' ids.
    file_id: String,
    /// Lines read so far, which is the number of the current line.
    line: u64,
    /// Bytes read before the current line.
    offset: u64,
    buffer: Vec<u8>,
    /// Where each id was first used.
    seen: HashMap<String, u64>,
}

impl JsonLines {
    fn new(file: File, file_id: String) -> Self {
        let reader = BufReader::with_capacity(1 << 16, file);
        Self { reader, file_id, line: 0, offset: 0, buffer: Vec::new(), seen: HashMap::new() }
    }

    fn next_document(&mut self, path: &Path) -> Option<Result<Document, ReadError>> {
        loop {
            match self.next_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(ReadError::io(path)(error))),
            }
            if self.line == 1
                && let Err(error) = reject_utf16(path, &self.buffer)
            {
                return Some(Err(error));
            }
            if let Some(at) = self.buffer.iter().position(|&byte| byte == 0) {
                let offset = self.offset - self.buffer.len() as u64 + at as u64;
                return Some(Err(ReadError::Binary { path: path.to_owned(), offset }));
            }
            let document = self.document().map_err(|reason| ReadError::Line {
                path: path.to_owned(),
                line: self.line,
                reason,
            });
            if let Some(item) = document.transpose() {
                return Some(item);
            }
        }
    }

    /// Reads up to [`MAX_LINE_BYTES`] + 1 bytes of the next line into the buffer; `false` at the end.
    fn next_line(&mut self) -> io::Result<bool> {
        if self.buffer.len() > MAX_LINE_BYTES && self.buffer.last() != Some(&b'\n') {
            self.offset += self.reader.skip_until(b'\n')? as u64;
        }
        self.buffer.clear();
        let mut bounded = (&mut self.reader).take(MAX_LINE_BYTES as u64 + 1);
        let length = bounded.read_until(b'\n', &mut self.buffer)?;
        self.line += 1;
        self.offset += length as u64;
        Ok(length > 0)
    }

    /// The document on the line in the buffer; `None` if the line is blank.
    fn document(&mut self) -> Result<Option<Document>, LineError> {
        if self.buffer.len() > MAX_LINE_BYTES {
            return Err(LineError::TooLong);
        }
        let mut line = self.buffer.as_slice();
        if self.line == 1 {
            line = line.strip_prefix(UTF8_MARK).unwrap_or(line);
        }
        let line = std::str::from_utf8(line)
            .map_err(|error| LineError::NotUtf8 { offset: error.valid_up_to() })?;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let record: Record = serde_json::from_str(line).map_err(|error| json_error(&error))?;
        let id = match record.id {
            Value::String(id) if !id.trim().is_empty() => clean(&id).into_owned(),
            Value::Number(id) => id.to_string(),
            _ => return Err(LineError::Id),
        };
        if id.len() > MAX_ID_BYTES {
            return Err(LineError::Id);
        }
        if let Some(&first) = self.seen.get(&id) {
            return Err(LineError::Duplicate { id, first });
        }
        let document = Document {
            id: format!("{}#{id}", self.file_id),
            title: record.title.and_then(|title| tidy_title(&clean(&title))),
            text: clean(&record.text).into_owned(),
            format: Markup::Plain,
            structure: Structure::default(),
        };
        self.seen.insert(id, self.line);
        Ok(Some(document))
    }
}

/// The reader was given one line, so its own "at line 1" would mislead.
fn json_error(error: &serde_json::Error) -> LineError {
    let position = format!(" at line {} column {}", error.line(), error.column());
    let why = error.to_string();
    let why = why.strip_suffix(&position).unwrap_or(&why).to_owned();
    LineError::Json { why, column: error.column() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Vec<Result<Document, ReadError>>;

    fn read_bytes(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, Outcome) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let documents = read(&path).collect();
        (folder, documents)
    }

    fn read_error(name: &str, bytes: impl AsRef<[u8]>) -> ReadError {
        let (_folder, mut documents) = read_bytes(name, bytes);
        assert_eq!(documents.len(), 1);
        documents.remove(0).unwrap_err()
    }

    /// Line number and reason of each failed line.
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
    fn text_is_composed_with_unix_lines_and_no_mark() {
        let (folder, documents) =
            read_bytes("a.txt", "\u{FEFF}Tie\u{302}\u{301}ng\r\nVie\u{323}\u{302}t\rnhé");
        let document = documents[0].as_ref().unwrap();
        assert_eq!(document.text, "Tiếng\nViệt\nnhé");
        assert_eq!(document.format, Markup::Plain);
        assert_eq!(document.id, folder.path().join("a.txt").to_str().unwrap());
    }

    #[test]
    fn a_megabyte_of_combining_marks_is_normalized_in_time() {
        let begin = std::time::Instant::now();
        let text = format!("a{}", "\u{301}\u{323}".repeat(1 << 18));
        let (_folder, documents) = read_bytes("a.txt", text);
        assert!(documents[0].as_ref().unwrap().text.starts_with("ạ\u{323}"));
        assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn front_matter_names_a_markdown_document() {
        let (_folder, documents) = read_bytes("a.md", "---\ntitle: \"Xử lý: NLP\"\n---\n# A\n");
        assert_eq!(documents[0].as_ref().unwrap().title.as_deref(), Some("Xử lý: NLP"));
    }

    #[test]
    fn wrong_bytes_are_named_with_their_offset() {
        let error = read_error("a.txt", b"\xEF\xBB\xBFab\xFFc");
        assert!(matches!(error, ReadError::UnknownEncoding { offset: 5, .. }), "{error}");
        assert!(error.to_string().contains("a.txt"));
        let error = read_error("a.md", b"abc\0d");
        assert!(matches!(error, ReadError::Binary { offset: 3, .. }), "{error}");
        let (_folder, documents) = read_bytes("a.txt", b"\xFF\xFEa\0b\0");
        assert_eq!(documents[0].as_ref().unwrap().text, "ab");
        let error = read_error("a.jsonl", b"\xFF\xFE{\0}\0");
        assert!(matches!(error, ReadError::Utf16 { .. }), "{error}");
        let error = read_error("a.jsonl", b"\n\n\x7FELF\0\0\n{}\n");
        assert!(matches!(error, ReadError::Binary { offset: 6, .. }), "{error}");
        let error = read_error("a.zip", b"PK");
        assert!(matches!(error, ReadError::Unsupported { .. }), "{error}");
        let error = read_error("a.doc", b"\xD0\xCF\x11\xE0");
        assert!(matches!(error, ReadError::Legacy { .. }), "{error}");
    }

    #[test]
    fn missing_files_and_folders_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let missing: Outcome = read(&folder.path().join("a.md")).collect();
        assert!(matches!(missing[..], [Err(ReadError::Missing { .. })]));
        std::fs::create_dir(folder.path().join("b.md")).unwrap();
        let directory: Outcome = read(&folder.path().join("b.md")).collect();
        assert!(matches!(directory[..], [Err(ReadError::NotAFile { .. })]));
    }

    #[test]
    fn a_document_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        // Sparse: takes no disk. Its zeros would be a binary file, but the size is told first.
        File::create(&path).unwrap().set_len(MAX_DOCUMENT_BYTES as u64 + 1).unwrap();
        let documents: Outcome = read(&path).collect();
        assert!(matches!(documents[..], [Err(ReadError::TooLarge { .. })]));
    }

    #[test]
    fn json_lines_are_documents() {
        let lines = concat!(
            "\u{FEFF}{\"id\": \"a\", \"title\": \" Một \\n tựa \", \"text\": \"hai\\r\\nba\", \"more\": [1]}\r\n",
            "\r\n",
            "{\"id\": 7, \"text\": \"\"}\n",
            "{\"id\": \"b\", \"title\": null, \"text\": \"e\u{301}\"}",
        );
        let (folder, documents) = read_bytes("a.jsonl", lines);
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
    fn bad_lines_name_themselves_and_the_others_go_on() {
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
        let (_folder, documents) = read_bytes("a.jsonl", lines);
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
    fn an_endless_line_is_skipped_within_bounds() {
        let mut lines = vec![b'x'; 2 * MAX_LINE_BYTES + 9];
        lines.extend_from_slice(b"\n{\"id\": 1, \"text\": \"fine\"}\n");
        let (_folder, documents) = read_bytes("a.jsonl", lines);
        assert_eq!(line_errors(&documents), [(1, &LineError::TooLong)]);
        assert_eq!(documents[1].as_ref().unwrap().text, "fine");
    }

    #[test]
    fn deeply_nested_json_is_an_error_and_not_a_crash() {
        let (_folder, documents) = read_bytes("a.jsonl", "[".repeat(1 << 20));
        assert!(matches!(line_errors(&documents)[..], [(1, LineError::Json { .. })]));
    }

    #[test]
    fn titles_are_short_single_lines() {
        assert_eq!(tidy_title(" a\n\tb\u{1b}[31m ").as_deref(), Some("a b [31m"));
        assert_eq!(tidy_title(" \n"), None);
        assert_eq!(tidy_title(&"ế".repeat(1 << 20)).unwrap().chars().count(), MAX_TITLE_CHARS);
        assert_eq!(tidy_title(&"ế ".repeat(1 << 20)).unwrap().chars().count(), MAX_TITLE_CHARS);
    }
}
