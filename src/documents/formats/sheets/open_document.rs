//! ODS: the sheets of an `OpenDocument` spreadsheet. It has the text that each cell shows beside the
//! cell's value.

use std::fs::File;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::Sheets;
use super::grid::{Cell, Merged, Row};
use crate::documents::charset;
use crate::documents::contents::Contents;
use crate::documents::error::ReadError;
use crate::documents::formats::package::{Package, attribute, element_text, entity};
use crate::documents::formats::plain_text;
use crate::documents::title::{MAX_TITLE_CHARS, tidy_title};

/// Rows or columns that a repeated cell with text is written for. Empty ones are repeated a million
/// times to the end of the sheet.
const MAX_REPEATS: u32 = 1000;
/// Columns of a sheet, more than any program has.
const MAX_COLUMNS: u32 = 1 << 16;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let mut package = Package::open(file, path)?;
    let damaged = |why: &str| ReadError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let content = match package.part("content.xml") {
        Ok(Some(content)) => content,
        Ok(None) => return Err(damaged("it has no content")),
        Err(error) => {
            let manifest = package.part("META-INF/manifest.xml").ok().flatten().unwrap_or_default();
            let is_encrypted = manifest.contains("encryption-data");
            return Err(match is_encrypted {
                true => ReadError::Encrypted { path: path.to_owned() },
                false => error,
            });
        }
    };
    let meta = package.part("meta.xml").ok().flatten().unwrap_or_default();
    contents(&content, element_text(&meta, "title"), path)
}

/// An `OpenDocument` spreadsheet that is one XML file.
pub(crate) fn read_flat(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (xml, flaws) = plain_text::text_with_flaws(file, path, charset::of_page)?;
    let title = element_text(&xml, "title");
    let mut contents = contents(&xml, title, path)?;
    if let Contents::One(extract) = &mut contents {
        extract.omitted.extend(flaws);
    }
    Ok(contents)
}

fn contents(xml: &str, title: Option<String>, path: &Path) -> Result<Contents, ReadError> {
    let mut reading = Reading::new(path);
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = false;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => reading.start(&tag)?,
            Ok(Event::Empty(tag)) => {
                reading.start(&tag)?;
                reading.end(tag.local_name().as_ref());
            }
            Ok(Event::End(tag)) => reading.end(tag.local_name().as_ref()),
            Ok(Event::Text(text)) => reading.text(&text.xml10_content()),
            Ok(Event::CData(text)) => reading.text(&text.xml10_content()),
            Ok(Event::GeneralRef(reference)) => reading.text(&entity(&reference)),
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => {
                reading.sheets.leave_out_rest(&error.to_string());
                break;
            }
        }
    }
    let mut extract = reading.sheets.finish()?;
    extract.title = title.and_then(|title| tidy_title(&title));
    Ok(Contents::One(extract))
}

struct Reading<'p> {
    sheets: Sheets<'p>,
    /// Tables in cells are part of their cell.
    tables: usize,
    row: u32,
    column: u32,
    row_repeats: u32,
    cells: Vec<Cell>,
    merged: Vec<Merged>,
    cell: Option<OpenCell>,
    /// Text is read: in a paragraph of a cell, a note or a shape.
    paragraphs: usize,
    /// Elements whose text is not shown.
    hidden: usize,
}

struct OpenCell {
    repeats: u32,
    text: String,
    is_value: bool,
}

impl<'p> Reading<'p> {
    fn new(path: &'p Path) -> Self {
        Self {
            sheets: Sheets::new(path),
            tables: 0,
            row: 0,
            column: 0,
            row_repeats: 1,
            cells: Vec::new(),
            merged: Vec::new(),
            cell: None,
            paragraphs: 0,
            hidden: 0,
        }
    }

    fn start(&mut self, tag: &BytesStart) -> Result<(), ReadError> {
        match tag.local_name().as_ref() {
            "table" => {
                self.tables += 1;
                if self.tables == 1 {
                    self.sheets.begin(&attribute(tag, "name").unwrap_or_default())?;
                    self.row = 0;
                }
            }
            "table-row" if self.tables == 1 => {
                self.column = 0;
                self.row_repeats = count(tag, "number-rows-repeated");
            }
            "table-cell" | "covered-table-cell" if self.tables == 1 => self.start_cell(tag),
            "p" | "h" => {
                self.paragraphs += 1;
                self.text("\n");
            }
            "s" => self.text(&" ".repeat(count(tag, "c").min(MAX_REPEATS) as usize)),
            "tab" | "line-break" => self.text(" "),
            // When a note was written, and by whom, is no text of it.
            "creator" | "date" => self.hidden += 1,
            _ => {}
        }
        Ok(())
    }

    fn start_cell(&mut self, tag: &BytesStart) {
        let kind = attribute(tag, "value-type");
        let is_value = kind.is_some_and(|kind| kind != "string");
        let repeats = count(tag, "number-columns-repeated");
        let (rows, columns) =
            (count(tag, "number-rows-spanned"), count(tag, "number-columns-spanned"));
        if rows > 1 || columns > 1 {
            self.merged.push(Merged {
                first_row: self.row,
                last_row: self.row.saturating_add(rows - 1),
                first_column: self.column,
                last_column: self.column.saturating_add(columns - 1),
            });
        }
        self.cell = Some(OpenCell { repeats, text: String::new(), is_value });
    }

    fn text(&mut self, text: &str) {
        if let Some(cell) = self.cell.as_mut().filter(|_| self.paragraphs > 0 && self.hidden == 0) {
            cell.text.push_str(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "table" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.sheets.merged = std::mem::take(&mut self.merged);
                }
            }
            "table-row" if self.tables == 1 => self.end_row(),
            "table-cell" | "covered-table-cell" if self.tables == 1 => self.end_cell(),
            "p" | "h" => self.paragraphs = self.paragraphs.saturating_sub(1),
            "creator" | "date" => self.hidden = self.hidden.saturating_sub(1),
            _ => {}
        }
    }

    fn end_cell(&mut self) {
        let Some(cell) = self.cell.take() else { return };
        let text = cell.text.trim();
        if !text.is_empty() {
            let is_short = text.len() <= MAX_TITLE_CHARS;
            for column in 0..cell.repeats.min(if is_short { MAX_REPEATS } else { 1 }) {
                let column = self.column.saturating_add(column);
                if column < MAX_COLUMNS {
                    let (text, is_value) = (text.to_owned(), cell.is_value);
                    self.cells.push(Cell { column, text, is_value, is_repeated: false });
                }
            }
        }
        self.column = self.column.saturating_add(cell.repeats);
    }

    fn end_row(&mut self) {
        self.end_cell();
        let cells = std::mem::take(&mut self.cells);
        if !cells.is_empty() {
            for row in 0..self.row_repeats.min(MAX_REPEATS) {
                let row = self.row.saturating_add(row);
                self.sheets.take(vec![Row { row, cells: cells.clone() }]);
            }
        }
        self.row = self.row.saturating_add(self.row_repeats);
    }
}

/// A number of repetitions, at least 1.
fn count(tag: &BytesStart, name: &str) -> u32 {
    attribute(tag, name).and_then(|count| count.parse().ok()).unwrap_or(1).max(1)
}
