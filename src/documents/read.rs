//! From a file to its documents.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Document;
use super::charset;
use super::contents::{Contents, Extract, Record};
use super::encoding;
use super::error::ReadError;
use super::formats::{FileFormat, supported};
use super::limits::MAX_DOCUMENT_BYTES;
use super::name::FileName;
use super::ocr::NoOcr;
use super::programs::Programs;
use super::recognize::{as_it_begins, recognize};
use super::record::record_id;

/// Reads the documents of one file without other programs. Nothing is opened before the first `next`.
#[must_use]
pub fn read(path: &Path) -> Documents<'static> {
    read_with(path, Programs::none())
}

/// As [`read`], with the programs that help.
#[must_use]
pub fn read_with<'p>(path: &Path, programs: &'p Programs) -> Documents<'p> {
    Documents { path: path.to_owned(), state: State::Unopened, programs }
}

/// The documents of one file, in its order. See [`read`].
///
/// After a [`ReadError::Line`] or a [`ReadError::Part`] the next documents follow. A document may be followed by
/// errors that say what of its file was left out. Any other error is the last item.
pub struct Documents<'p> {
    path: PathBuf,
    state: State,
    programs: &'p Programs,
}

enum State {
    Unopened,
    /// The file is a list of documents.
    Records {
        file_id: String,
        records: Box<dyn Iterator<Item = Result<Record, ReadError>> + Send>,
        /// What of the last record was left out.
        omitted: std::vec::IntoIter<ReadError>,
    },
    /// The file's one document was read, but for this.
    Omitted(std::vec::IntoIter<ReadError>),
    Done,
}

impl fmt::Debug for Documents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("path", &self.path).field("state", &self.state).finish()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unopened => "Unopened",
            Self::Records { .. } => "Records",
            Self::Omitted(_) => "Omitted",
            Self::Done => "Done",
        })
    }
}

impl Documents<'_> {
    /// Opens the file. Gives its document, if it holds only one.
    fn begin(&mut self) -> Result<Option<Document>, ReadError> {
        if let Some(reader) = self.programs.reader_of(&self.path) {
            let id = id_of(&self.path)?;
            let extract = self.programs.read(reader, &self.path)?;
            return Ok(Some(self.one(id, extract)));
        }
        let (file, id, format) = open(&self.path)?;
        let contents = match (format.read)(file, &self.path)? {
            Contents::Pictures(finish) => {
                Contents::One(finish(self.programs.ocr.as_ref().ok_or(NoOcr::Off))?)
            }
            contents => contents,
        };
        match contents {
            Contents::One(extract) => {
                debug_assert!(
                    format.cites.names(&extract.structure.places),
                    "{} cites a {:?}",
                    format.name,
                    format.cites
                );
                Ok(Some(self.one(id, extract)))
            }
            // Finished above.
            Contents::Pictures(_) => Ok(None),
            Contents::Many(records) => {
                self.state =
                    State::Records { file_id: id, records, omitted: Vec::new().into_iter() };
                Ok(None)
            }
        }
    }

    /// The only document of the file. What was left out of it follows.
    fn one(&mut self, id: String, mut extract: Extract) -> Document {
        let mut omitted = std::mem::take(&mut extract.omitted);
        let data = std::mem::take(&mut extract.data);
        if data.places > 0 {
            omitted.push(ReadError::Embedded {
                path: self.path.clone(),
                places: data.places,
                bytes: data.bytes,
                first: extract.structure.places.at(data.first),
            });
        }
        self.state = State::Omitted(omitted.into_iter());
        document(id, FileName::of(&self.path), extract)
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Unopened) {
            self.state = State::Done;
            if let Some(item) = self.begin().transpose() {
                return Some(item);
            }
        }
        match &mut self.state {
            State::Records { file_id, records, omitted } => {
                if let Some(error) = omitted.next() {
                    return Some(Err(error));
                }
                let item = records.next().map(|record| {
                    record.map(|Record { id, mut extract }| {
                        *omitted = std::mem::take(&mut extract.omitted).into_iter();
                        document(record_id(file_id, &id), FileName::default(), extract)
                    })
                });
                let goes_on = |error: &ReadError| {
                    matches!(error, ReadError::Line { .. } | ReadError::Part { .. })
                };
                if !item.as_ref().is_some_and(|item| item.as_ref().err().is_none_or(goes_on)) {
                    self.state = State::Done;
                }
                item
            }
            State::Omitted(omitted) => omitted.next().map(Err),
            State::Unopened | State::Done => None,
        }
    }
}

fn document(id: String, name: FileName, extract: Extract) -> Document {
    let Extract { title, keywords, tags, text, markup, structure, omitted: _, data: _ } = extract;
    Document { id, title, name, keywords, tags, text, format: markup, structure }
}

/// The format in which the file at `path` is read, or the program that reads it, and the encoding of a
/// text.
pub fn reader_of<'p>(
    path: &Path,
    programs: &'p Programs,
) -> Option<(&'p str, Option<&'static str>)> {
    if let Some(reader) = programs.reader_of(path) {
        return Some((reader.program(), None));
    }
    let format = recognize(path).ok()??;
    let format = as_it_begins(path, format).ok()?;
    if format.is_binary() {
        return Some((format.name, None));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_DOCUMENT_BYTES as u64).read_to_end(&mut bytes).ok()?;
    Some((format.name, encoding::name(&bytes, charset::declared(&bytes))))
}

/// The open file, its document id, and its format.
fn open(path: &Path) -> Result<(File, String, &'static FileFormat), ReadError> {
    let id = id_of(path)?;
    let Some(format) = recognize(path).map_err(ReadError::io(path))? else {
        return Err(ReadError::Unsupported { path: path.to_owned(), supported: supported() });
    };
    let format = as_it_begins(path, format).map_err(ReadError::io(path))?;
    let file = File::open(path).map_err(ReadError::io(path))?;
    Ok((file, id, format))
}

/// The document id of a regular file: its absolute path.
fn id_of(path: &Path) -> Result<String, ReadError> {
    // Nothing else is opened: opening a pipe would wait for its writer.
    if !path.metadata().map_err(ReadError::io(path))?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let absolute = std::path::absolute(path).map_err(ReadError::io(path))?;
    let id = absolute.into_os_string().into_string();
    id.map_err(|path| ReadError::PathNotUnicode { path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Markup;
    use crate::documents::samples::{Outcome, documents};

    fn read_error(name: &str, bytes: impl AsRef<[u8]>) -> ReadError {
        let (_folder, mut documents) = documents(name, bytes);
        assert_eq!(documents.len(), 1);
        documents.remove(0).unwrap_err()
    }

    #[test]
    fn text_is_composed_with_unix_lines_and_no_mark() {
        let (folder, documents) =
            documents("a.txt", "\u{FEFF}Tie\u{302}\u{301}ng\r\nVie\u{323}\u{302}t\rnhé");
        let document = documents[0].as_ref().unwrap();
        assert_eq!(document.text, "Tiếng\nViệt\nnhé");
        assert_eq!(document.format, Markup::Plain);
        assert_eq!(document.id, folder.path().join("a.txt").to_str().unwrap());
    }

    #[test]
    fn a_megabyte_of_combining_marks_is_normalized_in_time() {
        let begin = std::time::Instant::now();
        let text = format!("a{}", "\u{301}\u{323}".repeat(1 << 18));
        let (_folder, documents) = documents("a.txt", text);
        assert!(documents[0].as_ref().unwrap().text.starts_with("ạ\u{323}"));
        assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn front_matter_names_a_markdown_document() {
        let (_folder, documents) = documents("a.md", "---\ntitle: \"Xử lý: NLP\"\n---\n# A\n");
        assert_eq!(documents[0].as_ref().unwrap().title.as_deref(), Some("Xử lý: NLP"));
    }

    #[test]
    fn wrong_bytes_are_named_with_their_offset() {
        let error = read_error("a.txt", b"\xEF\xBB\xBFab\xFFc");
        assert!(matches!(error, ReadError::UnknownEncoding { offset: 5, .. }), "{error}");
        assert!(error.to_string().contains("a.txt"));
        let error = read_error("a.md", b"abc\0d");
        assert!(matches!(error, ReadError::Binary { offset: 3, .. }), "{error}");
        let (_folder, documents) = documents("a.txt", b"\xFF\xFEa\0b\0");
        assert_eq!(documents[0].as_ref().unwrap().text, "ab");
        let error = read_error("a.zip", b"PK");
        assert!(matches!(error, ReadError::Unsupported { .. }), "{error}");
        let error = read_error("a.doc", b"\xD0\xCF\x11\xE0");
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
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
        let outcome: Outcome = read(&path).collect();
        assert!(matches!(outcome[..], [Err(ReadError::TooLarge { .. })]));
    }

    #[test]
    fn a_record_that_fails_does_not_end_the_file_but_any_other_error_does() {
        let line = |line| ReadError::Line {
            path: "a".into(),
            line,
            reason: crate::documents::error::LineError::Id,
        };
        let record = |id: &str| Ok(Record { id: id.to_owned(), extract: Extract::default() });
        let missing = Err(ReadError::Missing { path: "a".into() });
        let records = vec![record("1"), Err(line(2)), record("3"), missing, record("5")];
        let state = State::Records {
            file_id: "/a.jsonl".to_owned(),
            records: Box::new(records.into_iter()),
            omitted: Vec::new().into_iter(),
        };
        let programs = Programs::default();
        let found: Vec<String> = Documents { path: "a".into(), state, programs: &programs }
            .map(|item| item.map_or_else(|_| "error".to_owned(), |document| document.id))
            .collect();
        assert_eq!(found, ["/a.jsonl#1", "error", "/a.jsonl#3", "error"]);
    }
}
