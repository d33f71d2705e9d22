//! JSON: its values in order, each on a line with the path that leads to it, and the lines of the file
//! that they are on.
//!
//! The file is read as tokens, never as a tree, so nesting costs nothing. What is not quite JSON
//! (comments, a comma too many, several values after each other, an end too early) is read all the
//! same.

use std::fs::File;
use std::path::Path;

use super::plain_text;
use crate::documents::Markup;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::embedded::{LeftOut, without_data};
use crate::documents::error::ReadError;
use crate::documents::structure::{Marks, Places, Structure};

/// Names of a path that are written. Beyond that the outermost are left out.
const MAX_PATH: usize = 6;
/// Bytes of a name that are written.
const MAX_NAME: usize = 100;
/// Open objects and arrays that are remembered.
const MAX_DEPTH: usize = 1 << 14;
/// Bytes after which a line of several values ends.
const LONG_LINE: usize = 200;
/// Numbers that are written of those under one path without words between them: coordinates and
/// measurements come by the thousand, and nobody searches for them.
const MAX_NUMBERS: usize = 32;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (text, omitted) = plain_text::text(file, path)?;
    Ok(Contents::One(Extract { omitted, ..extract(&text) }))
}

fn extract(json: &str) -> Extract {
    let mut writer = Writer::default();
    for (token, line) in (Tokens { rest: json, line: 1 }) {
        writer.take(&token, line);
    }
    writer.finish()
}

#[derive(Debug, PartialEq)]
enum Token<'t> {
    /// `{` or `[`.
    Open {
        is_object: bool,
    },
    /// `}` or `]`.
    Close,
    Colon,
    Comma,
    /// The inside of a string, with its escapes.
    String(&'t str),
    /// A number, `true`, `null`, or a word that is not JSON.
    Word(&'t str),
}

/// The tokens of a text, and their lines.
struct Tokens<'t> {
    rest: &'t str,
    line: u32,
}

impl<'t> Iterator for Tokens<'t> {
    type Item = (Token<'t>, u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = self.rest.chars().next()?;
            let line = self.line;
            let token = match first {
                '\n' => {
                    self.line = self.line.saturating_add(1);
                    None
                }
                _ if first.is_whitespace() => None,
                '{' | '[' => Some(Token::Open { is_object: first == '{' }),
                '}' | ']' => Some(Token::Close),
                ':' => Some(Token::Colon),
                ',' => Some(Token::Comma),
                '"' => return Some((self.string(), line)),
                '/' if self.rest.starts_with("//") => {
                    self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
                    continue;
                }
                '/' if self.rest.starts_with("/*") => {
                    self.skip(self.rest.find("*/").map_or(self.rest.len(), |end| end + 2));
                    continue;
                }
                _ => {
                    let ends = |c: char| c.is_whitespace() || "{}[]:,\"".contains(c);
                    let end = self.rest.find(ends).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    return Some((Token::Word(word), line));
                }
            };
            self.rest = &self.rest[first.len_utf8()..];
            if let Some(token) = token {
                return Some((token, line));
            }
        }
    }
}

impl<'t> Tokens<'t> {
    fn skip(&mut self, length: usize) {
        self.line = self.line.saturating_add(self.rest[..length].matches('\n').count() as u32);
        self.rest = &self.rest[length..];
    }

    fn string(&mut self) -> Token<'t> {
        let inside = &self.rest[1..];
        let mut is_escaped = false;
        let end = inside.bytes().position(|byte| match byte {
            _ if is_escaped => {
                is_escaped = false;
                false
            }
            b'\\' => {
                is_escaped = true;
                false
            }
            byte => byte == b'"',
        });
        let end = end.unwrap_or(inside.len());
        self.skip((end + 2).min(self.rest.len()));
        Token::String(&inside[..end])
    }
}

/// An open object or array.
struct Container {
    is_object: bool,
    /// The name of the value that follows.
    name: Option<String>,
    /// Whether other objects or arrays are in it.
    has_containers: bool,
}

/// Text under construction.
#[derive(Default)]
struct Writer {
    text: String,
    marks: Marks,
    open: Vec<Container>,
    /// Objects and arrays that are open beyond those.
    deeper: usize,
    /// A string that may turn out to be a name.
    pending: Option<(String, bool, u32)>,
    /// The path of the last line, which values in one array share.
    last_path: Option<String>,
    numbers: usize,
    data: LeftOut,
    /// Where the last line begins.
    line_start: usize,
}

impl Writer {
    fn take(&mut self, token: &Token, line: u32) {
        match token {
            Token::Colon => {
                if let Some((mut name, ..)) = self.pending.take()
                    && let Some(container) = self.open.last_mut()
                {
                    name.truncate(name.floor_char_boundary(MAX_NAME));
                    container.name = Some(name);
                }
            }
            Token::Comma => self.write_pending(),
            Token::String(raw) => {
                self.write_pending();
                self.pending = Some((unescaped(raw), false, line));
            }
            Token::Word(word) => {
                self.write_pending();
                let is_number = word.parse::<f64>().is_ok();
                self.pending = Some(((*word).to_owned(), is_number, line));
            }
            Token::Open { is_object } => {
                self.write_pending();
                self.open(*is_object);
            }
            Token::Close => {
                self.write_pending();
                self.close();
            }
        }
    }

    fn open(&mut self, is_object: bool) {
        if self.open.len() >= MAX_DEPTH {
            self.deeper += 1;
            return;
        }
        let is_element = self.open.last().is_none_or(|around| !around.is_object);
        if let Some(around) = self.open.last_mut() {
            around.has_containers = true;
        }
        if is_object && is_element {
            self.end_paragraph();
        }
        self.open.push(Container { is_object, name: None, has_containers: false });
    }

    fn close(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        let Some(closed) = self.open.pop() else { return };
        let is_element = self.open.last().is_none_or(|around| !around.is_object);
        if closed.is_object && (is_element || closed.has_containers) {
            self.end_paragraph();
        }
    }

    /// The elements of an array are paragraphs of their own.
    fn end_paragraph(&mut self) {
        self.end_numbers();
        self.last_path = None;
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.truncate(self.text.trim_end_matches('\n').len());
            self.text.push_str("\n\n");
        }
    }

    /// `users.address.city`: the names that lead to the current value.
    fn path(&self) -> String {
        let innermost = self.open.iter().rev().take(8 * MAX_PATH);
        let names = innermost.filter_map(|container| container.name.as_deref());
        let mut names: Vec<&str> = names.take(MAX_PATH).collect();
        names.reverse();
        names.join(".")
    }

    fn write_pending(&mut self) {
        let Some((value, is_number, line)) = self.pending.take() else { return };
        let value = value.trim();
        if value.is_empty() || value == "null" {
            return;
        }
        // Pictures and keys that are written in letters.
        let without_data = without_data(value);
        if let Some((_, data)) = &without_data {
            self.data.add(LeftOut { first: line, ..*data });
        }
        let value = without_data.as_ref().map_or(value, |(rest, _)| rest.as_str());
        let path = self.path();
        let in_array = self.open.last().is_some_and(|container| !container.is_object);
        let continues = in_array && self.last_path.as_deref() == Some(path.as_str());
        if is_number && continues {
            self.numbers += 1;
            if self.numbers >= MAX_NUMBERS {
                return;
            }
        } else {
            self.end_numbers();
        }
        let is_long = self.text.len() - self.line_start > LONG_LINE && !is_number;
        if continues && !is_long && !value.contains('\n') {
            self.text.push_str(", ");
            self.marks.push((self.text.len(), line));
            self.text.push_str(value);
            return;
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.line_start = self.text.len();
        self.marks.push((self.text.len(), line));
        if !path.is_empty() {
            self.text.push_str(&path);
            self.text.push_str(": ");
        }
        self.text.push_str(value);
        self.last_path = Some(path);
    }

    fn end_numbers(&mut self) {
        if self.numbers >= MAX_NUMBERS {
            self.text.push_str(", …");
        }
        self.numbers = 0;
    }

    fn finish(mut self) -> Extract {
        self.write_pending();
        self.end_numbers();
        let text = self.text.trim_end().len();
        self.text.truncate(text);
        let structure = Structure { places: Places::Lines(self.marks), ..Structure::default() };
        Extract {
            text: self.text,
            markup: Markup::Code,
            structure,
            data: self.data,
            ..Extract::default()
        }
    }
}

/// A string as it is meant, or as it is written if its escapes are wrong.
fn unescaped(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let text = serde_json::from_str::<String>(&format!("\"{}\"", raw.replace('\n', "\\n")));
    text.map_or_else(|_| raw.to_owned(), |text| clean(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use crate::documents::samples::documents;
    use crate::documents::structure::LineCounter;
    use crate::documents::{Document, Place};

    fn document(json: impl AsRef<[u8]>) -> Document {
        let (_folder, mut documents) = documents("a.json", json);
        documents.remove(0).unwrap()
    }

    fn text(json: &str) -> String {
        document(json).text
    }

    #[test]
    fn values_are_lines_with_their_path() {
        let json = r#"{
            "tên": "An", "tuổi": 30, "vip": true, "ghi chú": null, "rỗng": "",
            "địa chỉ": {"phố": "Hàng Bài", "thành phố": "Hà N\u1ed9i"},
            "thẻ": ["a", "b c", 5], "trích": "một\nhai \"ba\""
        }"#;
        assert_eq!(
            text(json),
            "tên: An\ntuổi: 30\nvip: true\nđịa chỉ.phố: Hàng Bài\nđịa chỉ.thành phố: Hà Nội\n\
             thẻ: a, b c, 5\ntrích: một\nhai \"ba\""
        );
    }

    #[test]
    fn records_are_paragraphs_with_lines_of_the_file() {
        let json = "[\n{\"id\": 1,\n \"tên\": \"An\"},\n{\"id\": 2,\n \"tên\": \"Bình\"}\n]";
        let document = document(json);
        assert_eq!(document.text, "id: 1\ntên: An\n\nid: 2\ntên: Bình");
        let at = document.text.find("Bình").unwrap();
        let mut lines = LineCounter::new(&document.text);
        let place = document.structure.places.of(&(at..at + 5), &mut lines);
        assert_eq!(place, Some(Place::Lines(5, 5)));
        assert_eq!(text("{\"a\": [{\"b\": 1}, {\"b\": 2}]}"), "a.b: 1\n\na.b: 2");
    }

    #[test]
    fn what_is_not_quite_json_is_read() {
        assert_eq!(text("// lời\n{\"a\": 1, /* b */ \"c\": [1, 2,],}"), "a: 1\nc: 1, 2");
        assert_eq!(text("{\"a\": 1}\n{\"a\": 2}"), "a: 1\n\na: 2");
        assert_eq!(text("{\"a\": \"không hết"), "a: không hết");
        assert_eq!(text("chữ thường"), "chữ\nthường");
        assert_eq!(text("\"\\q\""), "\\q");
        assert_eq!(text("]}]},,::"), "");
    }

    #[test]
    fn floods_of_numbers_and_encoded_data_stay_small() {
        let points = "[105.1, 21.2],".repeat(10_000);
        let json = format!("{{\"tên\": \"Hồ\", \"coordinates\": [[{points} [1, 2]]], \"sau\": 1}}");
        let text = text(&json);
        assert!(text.len() < 1000, "{}", text.len());
        assert!(
            text.starts_with("tên: Hồ\ncoordinates: 105.1, 21.2, 105.1")
                && text.ends_with(", …\nsau: 1")
        );
        let data = "iVBORw0KGgoAAAANSUhEUgAAB9AAAAfQCAYAAACaOMR5".repeat(100);
        let picture = format!("{{\"a\": \"data:image/png;base64,{data}\", \"b\": 1}}");
        let text = self::text(&picture);
        assert!(text.len() < 100 && text.ends_with("\nb: 1"), "{text}");
    }

    #[test]
    fn hostile_files_take_linear_time() {
        let begin = std::time::Instant::now();
        assert_eq!(text(&"[".repeat(1 << 20)), "");
        assert_eq!(text(&"{\"a\":".repeat(1 << 18)), "");
        assert!(
            text(&format!("{}1{}", "{\"a\":".repeat(30_000), "}".repeat(30_000))).ends_with(": 1")
        );
        text(&"\"\\".repeat(1 << 19));
        text(&"/*".repeat(1 << 19));
        assert!(begin.elapsed() < std::time::Duration::from_mins(1), "{:?}", begin.elapsed());
    }
}
