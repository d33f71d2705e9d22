//! RTF: headings, lists, tables and notes of what Word, `LibreOffice` and `WordPad` write.
//!
//! Text is in the encoding of its font. Pictures, the instructions of fields, tables of contents and
//! deleted text are left out; headers and last are read once.

mod fonts;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use super::flow::{Flow, Script};
use crate::documents::bytes::bytes_of;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::structure::Places;
use crate::documents::title::tidy_title;
pub(crate) use fonts::Letters;
use state::{Destination, Group, Paragraph, character};
use table::Table;
use tokens::{Token, Tokens};

/// Groups within groups that are told apart.
const MAX_DEPTH: usize = 1 << 12;
/// Fonts and styles that are remembered, each.
const MAX_NAMED: usize = 1 << 14;
/// A font's or style's name, or the instruction of a field.
const MAX_NAME_BYTES: usize = 1 << 10;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let bytes = bytes_of(file, path, MAX_UNPACKED_BYTES)?;
    if !bytes.trim_ascii_start().starts_with(b"{\\rtf") {
        let why = "it does not begin as RTF files do".to_owned();
        return Err(ReadError::Damaged { path: path.to_owned(), why });
    }
    Ok(Contents::One(extract(&bytes)))
}

/// The text of a document that begins as RTF files do.
pub(crate) fn extract(bytes: &[u8]) -> Extract {
    let mut reader = Rtf::new();
    for token in Tokens::new(bytes) {
        reader.take(&token);
    }
    reader.finish()
}

/// A document that is being read.
struct Rtf {
    flow: Flow,
    group: Group,
    /// The groups around the current one.
    outer: Vec<Group>,
    /// Groups that are open beyond [`MAX_DEPTH`].
    too_deep: usize,
    /// Bytes whose letters are not known yet: some are halves.
    bytes: Vec<u8>,
    /// The first half of a character beyond 16 bits.
    surrogate: Option<u16>,
    /// What replaces the last `\u` for older programs, and is not read.
    replacement: usize,
    /// The encoding of the document and of each font.
    letters: Letters,
    fonts: HashMap<i32, Letters>,
    default_font: i32,
    /// The one that is being defined.
    font: i32,
    /// The heading level of each style.
    styles: HashMap<i32, usize>,
    style: (i32, Option<usize>),
    /// Of a font, a style or a field.
    name: String,
    paragraph: Paragraph,
    in_paragraph: bool,
    /// How the text before stands.
    is_raised: Option<bool>,
    marker: String,
    table: Table,
    /// What a note or a box says, and those of the current paragraph.
    aside: String,
    pending: Vec<String>,
    around: String,
    around_seen: HashSet<String>,
    /// Footers.
    last: Vec<String>,
    title: String,
}

impl Rtf {
    fn new() -> Self {
        let letters = Letters::of_code_page(1252);
        Self {
            flow: Flow::default(),
            group: Group::new(letters),
            outer: Vec::new(),
            too_deep: 0,
            bytes: Vec::new(),
            surrogate: None,
            replacement: 0,
            letters,
            fonts: HashMap::new(),
            default_font: 0,
            font: 0,
            styles: HashMap::new(),
            style: (0, None),
            name: String::new(),
            paragraph: Paragraph::default(),
            in_paragraph: false,
            is_raised: None,
            marker: String::new(),
            table: Table::default(),
            aside: String::new(),
            pending: Vec::new(),
            around: String::new(),
            around_seen: HashSet::new(),
            last: Vec::new(),
            title: String::new(),
        }
    }

    fn take(&mut self, token: &Token) {
        match *token {
            Token::Text(text) => {
                self.group.is_new = false;
                let skipped = self.replacement.min(text.len());
                self.replacement -= skipped;
                if self.group.is_read() {
                    self.bytes.extend_from_slice(&text[skipped..]);
                }
            }
            Token::Byte(_) if self.replacement > 0 => self.replacement -= 1,
            Token::Byte(byte) => {
                self.group.is_new = false;
                if self.group.is_read() {
                    self.bytes.push(byte);
                }
            }
            Token::Open => {
                self.write_bytes();
                self.open();
            }
            Token::Close => {
                self.write_bytes();
                self.close();
            }
            Token::Symbol(symbol) => {
                self.write_bytes();
                self.symbol(symbol);
            }
            Token::Word(word, number) => {
                self.write_bytes();
                self.word(std::str::from_utf8(word).unwrap_or_default(), number);
            }
        }
    }

    fn write_bytes(&mut self) {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            let text = self.group.letters.decode(&bytes);
            self.text(&text);
            self.bytes = bytes;
            self.bytes.clear();
        }
    }

    fn open(&mut self) {
        self.replacement = 0;
        if self.outer.len() == MAX_DEPTH {
            self.too_deep += 1;
            return;
        }
        self.outer.push(self.group);
        self.group = self.group.inner();
    }

    fn close(&mut self) {
        self.replacement = 0;
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        let Some(outer) = self.outer.pop() else { return };
        let ended = std::mem::replace(&mut self.group, outer);
        if !ended.owns {
            // A font or a style of a table of them.
            match ended.destination {
                Destination::Fonts => self.define_font(),
                Destination::Styles => self.define_style(),
                _ => {}
            }
            return;
        }
        match ended.destination {
            Destination::Instruction => {
                let name = std::mem::take(&mut self.name);
                let field = name.split_whitespace().next().unwrap_or_default().to_uppercase();
                let is_left_out = ["TOC", "INDEX", "PAGE", "NUMPAGES", "SECTIONPAGES", "TC", "XE"];
                self.group.without_result = is_left_out.contains(&field.as_str());
            }
            Destination::Aside { is_box } => self.end_aside(is_box),
            Destination::Around { is_header } => self.end_around(is_header),
            Destination::Fonts => self.define_font(),
            Destination::Styles => self.define_style(),
            _ => {}
        }
    }

    fn symbol(&mut self, symbol: u8) {
        match symbol {
            b'*' => self.group.is_optional = true,
            b'\\' | b'{' | b'}' => {
                let text = char::from(symbol).to_string();
                self.text(&text);
            }
            b'~' => self.text("\u{a0}"),
            b'_' => self.text("-"),
            b'\r' | b'\n' => self.end_paragraph(),
            b'\t' => self.text(" "),
            _ => {}
        }
    }

    fn word(&mut self, word: &str, number: Option<i32>) {
        if word == "u" {
            self.group.is_new = false;
            self.unicode(number.unwrap_or(0) as u16);
            return;
        }
        if std::mem::take(&mut self.group.is_new)
            && let Some(destination) = self.group.destination_of(word)
        {
            self.enter(destination);
            return;
        }
        if let Some(text) = character(word) {
            self.text(text);
        } else if !self.break_off(word) && !self.letter(word, number) {
            self.shape(word, number);
        }
    }

    /// A group of text that is not the document's own begins.
    fn enter(&mut self, destination: Destination) {
        let within = std::mem::replace(&mut self.group.destination, destination);
        self.group.owns = true;
        match destination {
            Destination::Marker => self.marker.clear(),
            Destination::Fonts | Destination::Styles | Destination::Instruction => {
                self.name.clear();
            }
            // What is said in a note about it is part of it.
            Destination::Aside { .. } if matches!(within, Destination::Aside { .. }) => {
                self.group.owns = false;
            }
            _ => {}
        }
    }

    /// Ends of paragraphs, cells, rows and lines. Says whether it was one.
    fn break_off(&mut self, word: &str) -> bool {
        match word {
            "par" | "sect" | "page" | "column" => self.end_paragraph(),
            "cell" if self.group.destination == Destination::Body => self.end_cell(),
            "row" if self.group.destination == Destination::Body => self.end_row(),
            "nestcell" if self.group.destination == Destination::Body => self.text(" "),
            "cell" | "nestcell" => self.text(" | "),
            "row" | "nestrow" | "line" | "lbr" | "softline" => self.line_break(),
            _ => return self.group.destination == Destination::Body && self.table.define(word),
        }
        true
    }

    /// Which letters bytes stand for, and which are read. Says whether the word was about that.
    fn letter(&mut self, word: &str, number: Option<i32>) -> bool {
        let value = number.unwrap_or(0);
        match word {
            "mac" => self.default_letters(10000),
            "ansi" | "pc" | "pca" => self.default_letters(1252),
            "ansicpg" => self.default_letters(value),
            "deff" => self.default_font = value,
            "f" if self.group.destination == Destination::Fonts => self.font = value,
            "f" => self.group.letters = self.fonts.get(&value).copied().unwrap_or(self.letters),
            "fcharset" if self.group.destination == Destination::Fonts => {
                if let Some(letters) = Letters::of_charset(value) {
                    self.remember_font(letters);
                }
            }
            "cpg" if self.group.destination == Destination::Fonts => {
                self.remember_font(Letters::of_code_page(value));
            }
            "plain" => {
                self.group.letters =
                    self.fonts.get(&self.default_font).copied().unwrap_or(self.letters);
                self.group.is_deleted = false;
                self.group.is_raised = None;
            }
            "uc" => self.group.replacement = usize::try_from(value).unwrap_or(1).min(16),
            "super" => self.group.is_raised = Some(true),
            "sub" => self.group.is_raised = Some(false),
            "nosupersub" => self.group.is_raised = None,
            // By half points.
            "up" => self.group.is_raised = (value > 0).then_some(true),
            "dn" => self.group.is_raised = (value > 0).then_some(false),
            "deleted" => self.group.is_deleted = number != Some(0),
            _ => return false,
        }
        true
    }

    /// What the current paragraph is.
    fn shape(&mut self, word: &str, number: Option<i32>) {
        let value = number.unwrap_or(0);
        let is_style = self.group.destination == Destination::Styles;
        if self.group.destination != Destination::Body && !is_style {
            return;
        }
        match word {
            "pard" => self.paragraph = Paragraph::default(),
            "intbl" => self.paragraph.in_table = true,
            "s" if is_style => self.style.0 = value,
            "s" => self.paragraph.heading = self.styles.get(&value).copied(),
            "outlinelevel" => {
                let level = usize::try_from(value).ok().filter(|&level| level < 9);
                let level = level.map(|level| level + 1);
                if is_style {
                    self.style.1 = level;
                } else {
                    self.paragraph.heading = level;
                }
            }
            "ilvl" => self.paragraph.level = usize::try_from(value).unwrap_or(0).min(8),
            _ => {}
        }
    }

    fn default_letters(&mut self, page: i32) {
        self.letters = Letters::of_code_page(page);
        self.group.letters = self.letters;
    }

    fn remember_font(&mut self, letters: Letters) {
        if self.fonts.len() < MAX_NAMED {
            self.fonts.insert(self.font, letters);
        }
    }

    fn define_font(&mut self) {
        let name = std::mem::take(&mut self.name);
        if let Some(letters) = Letters::of_font(&name) {
            self.remember_font(letters);
        }
    }

    /// Headings are told by outline level or by name.
    fn define_style(&mut self) {
        let name = std::mem::take(&mut self.name);
        let name = name.trim_end_matches(';').trim().to_lowercase();
        let (number, level) = std::mem::take(&mut self.style);
        let named = name.strip_prefix("heading ").and_then(|level| level.trim().parse().ok());
        let named = named.filter(|level| (1..=9).contains(level));
        let level = level.or(named).or((name == "title").then_some(1));
        if let Some(level) = level
            && self.styles.len() < MAX_NAMED
        {
            self.styles.insert(number, level);
        }
    }

    fn unicode(&mut self, unit: u16) {
        self.replacement = self.group.replacement;
        let first = self.surrogate.take();
        if (0xd800..0xdc00).contains(&unit) {
            self.surrogate = Some(unit);
            return;
        }
        // Fonts of signs have them here.
        if (0xf000..0xf100).contains(&unit) {
            let is_greek = self.group.letters == Letters::Symbol;
            let signs = if is_greek { Letters::Symbol } else { Letters::Signs };
            let sign = signs.decode(&[unit as u8]).into_owned();
            self.text(&sign);
            return;
        }
        let units = first.into_iter().chain([unit]);
        let text: String = char::decode_utf16(units).filter_map(Result::ok).collect();
        self.text(&text);
    }

    fn text(&mut self, text: &str) {
        if self.group.is_deleted {
            return;
        }
        match self.group.destination {
            Destination::Body => {
                if !text.trim().is_empty() {
                    self.begin_paragraph();
                    self.raise(self.group.is_raised);
                }
                self.flow.text(text);
            }
            Destination::Aside { .. } => self.aside.push_str(text),
            Destination::Around { .. } => self.around.push_str(text),
            Destination::Marker => self.marker.push_str(text),
            Destination::Title => self.title.push_str(text),
            Destination::Fonts | Destination::Styles | Destination::Instruction => {
                let room = MAX_NAME_BYTES.saturating_sub(self.name.len());
                self.name.push_str(&text[..text.floor_char_boundary(room)]);
            }
            Destination::Skipped | Destination::Frame => {}
        }
    }

    /// What follows is raised or lowered so.
    fn raise(&mut self, is_raised: Option<bool>) {
        if self.is_raised == is_raised {
            return;
        }
        if self.is_raised.is_some() {
            self.flow.end_script();
        }
        if let Some(is_raised) = is_raised {
            self.flow.begin_script(if is_raised { Script::Super } else { Script::Sub });
        }
        self.is_raised = is_raised;
    }

    fn line_break(&mut self) {
        match self.group.destination {
            Destination::Body => self.flow.line_break(),
            Destination::Aside { .. } => self.aside.push('\n'),
            Destination::Around { .. } => self.around.push('\n'),
            _ => {}
        }
    }

    /// Called at the first text of a paragraph: all that it says about itself comes before.
    fn begin_paragraph(&mut self) {
        if std::mem::replace(&mut self.in_paragraph, true) {
            return;
        }
        let in_table = self.paragraph.in_table || self.table.in_row;
        if in_table {
            self.begin_cell();
        } else {
            self.end_table();
        }
        let marker = std::mem::take(&mut self.marker);
        let marker = clean(&marker).split_whitespace().collect::<Vec<_>>().join(" ");
        let is_bullet = !marker.contains(char::is_alphanumeric);
        if in_table {
            if !marker.is_empty() {
                self.flow.text(&format!("{marker} "));
            }
        } else if let Some(level) = self.paragraph.heading {
            self.flow.begin_heading(level);
            if !is_bullet {
                self.flow.text(&format!("{marker} "));
            }
        } else if !marker.is_empty() {
            let marker = if is_bullet { "-" } else { &marker };
            self.flow.begin_item(self.paragraph.level + 1, marker);
        }
    }

    fn end_paragraph(&mut self) {
        match self.group.destination {
            Destination::Body => {}
            _ => return self.line_break(),
        }
        self.raise(None);
        self.flow.end_heading();
        if self.table.in_cell {
            self.flow.end_block();
        } else {
            self.flow.end_item();
        }
        self.in_paragraph = false;
        self.marker.clear();
        self.write_asides();
    }

    fn write_asides(&mut self) {
        for aside in std::mem::take(&mut self.pending) {
            for line in aside.lines() {
                self.flow.text(line);
                self.flow.end_block();
            }
        }
    }

    fn end_aside(&mut self, is_box: bool) {
        let aside = std::mem::take(&mut self.aside);
        let aside = aside.trim();
        let aside = if is_box { aside.to_owned() } else { format!("({aside})") };
        if aside.contains(char::is_alphanumeric) {
            self.pending.push(aside);
        }
        if !self.in_paragraph && !self.table.is_open {
            self.write_asides();
        }
    }

    /// Headers stand before their section, so what is read of the document so far is whole.
    fn end_around(&mut self, is_header: bool) {
        let around = std::mem::take(&mut self.around);
        for line in around.lines().map(str::trim) {
            let says_something = line.contains(char::is_alphabetic);
            if !says_something || !self.around_seen.insert(line.to_owned()) {
                continue;
            }
            if !is_header || self.in_paragraph || self.table.is_open {
                self.last.push(line.to_owned());
            } else {
                self.flow.text(line);
                self.flow.end_block();
            }
        }
    }

    fn finish(mut self) -> Extract {
        self.write_bytes();
        // Of a file that is cut off, what is open is not lost.
        self.end_aside(false);
        self.end_around(false);
        self.group.destination = Destination::Body;
        self.end_paragraph();
        self.end_table();
        self.write_asides();
        for line in std::mem::take(&mut self.last) {
            self.flow.text(&line);
            self.flow.end_block();
        }
        let title = tidy_title(&clean(&self.title));
        Extract { title, ..self.flow.finish(|_| Places::Nowhere) }
    }
}
