//! DOC: the text of Word 97 to 2003, and the plain text of Word 6 and 95.
//!
//! Read by hand, because the libraries that do it lose the numbers of lists, comments, or the text
//! of boxes. Deleted text, tables of contents and the instructions of fields are left out; headers
//! and footers are read once.

mod file;
mod line;
mod lists;
mod properties;
mod styles;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::rc::Rc;

use super::compound::{CompoundFile, u32_at};
use super::flow::{Flow, Rows, Script};
use super::rtf::Letters;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::Places;
use file::{Part, Positions, Story, WordFile};
use line::{Fields, Line};
use lists::Lists;
use properties::{Letter, Paragraph, Runs};
use styles::{Styles, fonts};
use text::{Character, Text};

const PARAGRAPH: char = '\r';
const CELL: char = '\u{7}';
const LINE: char = '\u{b}';
const PAGE: char = '\u{c}';
const COLUMN: char = '\u{e}';
/// Headers and footers of a section.
const AROUND: usize = 6;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let opened = CompoundFile::open(BufReader::new(file)).map_err(ReadError::io(path))?;
    let Some(mut file) = opened else {
        let why = "it does not begin as Word's files do".to_owned();
        return Err(ReadError::Damaged { path: path.to_owned(), why });
    };
    if file.is_encrypted() {
        return Err(ReadError::Encrypted { path: path.to_owned() });
    }
    let title = file.title().map_err(ReadError::io(path))?;
    let word = WordFile::open(&mut file, path)?;
    Ok(Contents::One(Extract { title, ..extract(&word) }))
}

fn extract(word: &WordFile) -> Extract {
    let mut reader = Reader::new(word);
    let lasts = reader.around();
    reader.main();
    for line in lasts {
        reader.flow.text(&line);
        reader.flow.end_block();
    }
    reader.flow.finish(|_| Places::Nowhere)
}

/// What of a paragraph comes after it.
struct Aside {
    /// Where in the text it is anchored.
    position: u32,
    text: String,
}

/// A document that is being read.
struct Reader<'f> {
    word: &'f WordFile,
    text: Rc<Text>,
    paragraphs: Runs<Paragraph>,
    letters: Runs<Letter>,
    styles: Styles,
    lists: Lists,
    fonts: Vec<Option<Letters>>,
    flow: Flow,
    in_table: bool,
    /// The current row so far, and the paragraphs of its current cell.
    cells: Vec<Vec<Line>>,
    cell: Vec<Line>,
}

impl<'f> Reader<'f> {
    fn new(word: &'f WordFile) -> Self {
        Self {
            word,
            text: Rc::new(Text::of(word)),
            paragraphs: Runs::paragraphs(word),
            letters: Runs::letters(word),
            styles: Styles::of(word),
            lists: Lists::of(word),
            fonts: fonts(word),
            flow: Flow::default(),
            in_table: false,
            cells: Vec::new(),
            cell: Vec::new(),
        }
    }

    /// Headers are written, each line once; footers are given back.
    fn around(&mut self) -> Vec<String> {
        let (start, _) = self.word.story(Story::Headers);
        let positions = Positions::new(self.word.part(Part::Headers), 0);
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        // What separates notes comes before those of the sections.
        for (at, (first, end)) in positions.ranges().enumerate().skip(AROUND) {
            let text = self.plain((start.saturating_add(first), start.saturating_add(end)));
            let is_footer = matches!(at % AROUND, 2 | 3 | 5);
            if is_footer { &mut lasts } else { &mut firsts }.push(text);
        }
        firsts.push(self.plain(self.word.story(Story::HeaderBoxes)));
        let mut seen = HashSet::new();
        let mut lines = |texts: &[String]| {
            let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
            let lines = lines.filter(|line| line.contains(char::is_alphabetic));
            lines.filter(|line| seen.insert((*line).to_owned())).map(str::to_owned).collect()
        };
        let firsts: Vec<String> = lines(&firsts);
        for line in firsts {
            self.flow.text(&line);
            self.flow.end_block();
        }
        lines(&lasts)
    }

    /// The text of a range, a line a paragraph.
    fn plain(&self, range: (u32, u32)) -> String {
        let (mut fields, mut line) = (Fields::default(), Line::default());
        for character in self.text.characters(self.word, range) {
            if !fields.take(character.unit) {
                continue;
            }
            match character.unit {
                PARAGRAPH | CELL | LINE | PAGE | COLUMN => line.push('\n', None, None),
                _ => self.push(character, &mut line),
            }
        }
        line.plain()
    }

    /// Puts a character into a line, as its properties have it.
    fn push(&self, character: Character, line: &mut Line) {
        let letter = self.letters.at(character.offset).copied().unwrap_or_default();
        if letter.is_deleted {
            return;
        }
        let usual = || self.styles.font(self.paragraphs.at(character.offset)?);
        let font = letter.font.or_else(usual);
        let letters = |font: u16| self.fonts.get(usize::from(font)).copied().flatten();
        let font_letters = font.and_then(letters);
        let sign = |font: Option<Letters>, byte: u8| {
            let is_greek = font == Some(Letters::Symbol);
            let signs = if is_greek { Letters::Symbol } else { Letters::Signs };
            signs.decode(&[byte]).chars().next().unwrap_or('•')
        };
        let (unit, letters) = match (character.unit, letter.sign) {
            ('(', Some((font, code))) => (sign(letters(font), code as u8), None),
            (unit @ '\u{f000}'..='\u{f0ff}', _) => (sign(font_letters, unit as u8), None),
            ('\t', _) => (' ', None),
            ('\u{1e}', _) => ('-', None),
            ('\0'..' ', _) if character.unit != '\n' => return,
            (unit, _) => (unit, font_letters.filter(|letters| letters.are_vietnamese())),
        };
        line.push(unit, letters, letter.is_raised);
    }

    fn main(&mut self) {
        let mut asides = self.asides();
        asides.sort_by_key(|aside| aside.position);
        let mut asides = asides.into_iter().peekable();
        let (mut fields, mut line) = (Fields::default(), Line::default());
        let mut pending = Vec::new();
        let text = Rc::clone(&self.text);
        for character in text.characters(self.word, self.word.story(Story::Main)) {
            while let Some(aside) = asides.next_if(|it| it.position <= character.position) {
                pending.push(aside.text);
            }
            if !fields.take(character.unit) {
                continue;
            }
            match character.unit {
                PARAGRAPH | CELL | PAGE => {
                    let notes = std::mem::take(&mut pending);
                    self.end_paragraph(character, std::mem::take(&mut line), notes);
                }
                LINE | COLUMN => line.push('\n', None, None),
                _ => self.push(character, &mut line),
            }
        }
        pending.extend(asides.map(|aside| aside.text));
        self.end_row(&Paragraph::default());
        self.end_table();
        self.write(line, &Paragraph::default());
        self.write_asides(&pending);
    }

    /// Notes, comments and boxes.
    fn asides(&self) -> Vec<Aside> {
        let mut asides = Vec::new();
        for (marks, data, texts, story) in [
            (Part::FootnoteMarks, 2, Part::Footnotes, Story::Footnotes),
            (Part::CommentMarks, 30, Part::Comments, Story::Comments),
            (Part::EndnoteMarks, 2, Part::Endnotes, Story::Endnotes),
        ] {
            let marks = Positions::new(self.word.part(marks), data);
            let texts = Positions::new(self.word.part(texts), 0);
            for (at, range) in texts.ranges().enumerate().take(marks.len()) {
                let Some(position) = marks.position(at) else { break };
                asides.extend(self.aside(position, story, range, false));
            }
        }
        // Boxes are found by the number of their shape.
        let shapes = Positions::new(self.word.part(Part::Shapes), 26);
        let anchors: HashMap<u32, u32> = (0..shapes.len())
            .filter_map(|at| Some((u32_at(shapes.data(at), 0)?, shapes.position(at)?)))
            .collect();
        let boxes = Positions::new(self.word.part(Part::Boxes), 22);
        for (at, range) in boxes.ranges().enumerate() {
            let shape = u32_at(boxes.data(at), 14).unwrap_or(u32::MAX);
            // Those of groups have none of their own, and come last.
            let position = anchors.get(&shape).copied().unwrap_or(u32::MAX);
            asides.extend(self.aside(position, Story::Boxes, range, true));
        }
        asides
    }

    fn aside(&self, position: u32, story: Story, range: (u32, u32), is_box: bool) -> Option<Aside> {
        let (start, end) = self.word.story(story);
        let range = (start.saturating_add(range.0), start.saturating_add(range.1).min(end));
        let text = self.plain(range);
        let text = text.trim();
        let says_something = text.contains(char::is_alphanumeric);
        let text = if is_box { text.to_owned() } else { format!("({text})") };
        says_something.then_some(Aside { position, text })
    }

    fn end_paragraph(&mut self, mark: Character, mut line: Line, notes: Vec<String>) {
        let paragraph = self.paragraphs.at(mark.offset).cloned();
        let is_known = paragraph.is_some();
        let paragraph = paragraph.unwrap_or_default();
        let ends_row = paragraph.ends_row
            || (!is_known && mark.unit == CELL && line.is_empty() && self.cell.is_empty());
        if ends_row {
            self.end_row(&paragraph);
            return;
        }
        if paragraph.tables == 0 && mark.unit != CELL {
            self.end_row(&Paragraph::default());
            self.end_table();
            self.write(line, &paragraph);
            self.write_asides(&notes);
            return;
        }
        if let Some(marker) = self.styles.list(&paragraph).and_then(|list| self.lists.marker(list))
            && !line.is_empty()
        {
            line.prefix(&format!("{marker} "));
        }
        self.cell.push(line);
        for note in notes {
            self.cell.push(Line::of(note));
        }
        // Cells of tables within a cell are its text.
        if mark.unit == CELL && paragraph.tables < 2 {
            self.cells.push(std::mem::take(&mut self.cell));
        }
    }

    fn end_row(&mut self, row: &Paragraph) {
        if !self.cell.is_empty() {
            self.cells.push(std::mem::take(&mut self.cell));
        }
        let cells = std::mem::take(&mut self.cells);
        if cells.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.in_table, true) {
            self.flow.begin_table();
        }
        let merged = |at: usize| row.cells.get(at).copied().unwrap_or_default();
        for (at, cell) in cells.into_iter().enumerate() {
            let is_empty = cell.iter().all(Line::is_empty);
            if merged(at).is_covered && is_empty {
                continue;
            }
            self.flow.begin_cell();
            let covered = (at + 1..row.cells.len()).take_while(|&at| merged(at).is_covered);
            self.flow.set_cell_columns(1 + covered.count());
            if merged(at).goes_down {
                self.flow.set_cell_rows(Rows::First);
            } else if merged(at).is_below {
                self.flow.set_cell_rows(Rows::Again);
            }
            for line in cell {
                write_line(line, &mut self.flow);
                self.flow.end_block();
            }
            self.flow.end_cell();
        }
        self.flow.end_row();
    }

    fn end_table(&mut self) {
        if std::mem::take(&mut self.in_table) {
            self.flow.end_table();
        }
    }

    /// A paragraph outside of tables.
    fn write(&mut self, line: Line, paragraph: &Paragraph) {
        if self.styles.is_contents(paragraph) {
            return;
        }
        let list = self.styles.list(paragraph).filter(|_| !line.is_empty());
        let marker = list.and_then(|list| self.lists.marker(list));
        if let Some(level) = self.styles.heading(paragraph) {
            self.flow.begin_heading(level);
            if let Some(marker) = marker.filter(|marker| marker.contains(char::is_alphanumeric)) {
                self.flow.text(&format!("{marker} "));
            }
            write_line(line, &mut self.flow);
            self.flow.end_heading();
        } else if let Some(marker) = marker {
            let level = list.map_or(0, |(_, level)| level);
            self.flow.begin_item(level + 1, &marker);
            write_line(line, &mut self.flow);
            self.flow.end_item();
        } else {
            write_line(line, &mut self.flow);
            self.flow.end_block();
        }
    }

    fn write_asides(&mut self, asides: &[String]) {
        for line in asides.iter().flat_map(|aside| aside.lines()) {
            self.flow.text(line);
            self.flow.end_block();
        }
    }
}

fn write_line(line: Line, flow: &mut Flow) {
    for (text, is_raised) in line.parts() {
        if let Some(is_raised) = is_raised {
            flow.begin_script(if is_raised { Script::Super } else { Script::Sub });
        }
        for (at, text) in text.split('\n').enumerate() {
            if at > 0 {
                flow.line_break();
            }
            flow.text(text);
        }
        if is_raised.is_some() {
            flow.end_script();
        }
    }
}
