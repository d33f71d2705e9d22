//! Spreadsheets: each sheet a section, its tables with their header row, its cells as they are shown.

mod date;
mod grid;
mod notes;
mod number_format;
pub(crate) mod open_document;
#[cfg(test)]
mod tests;
mod workbook;
mod xls_formats;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

use super::flow::Flow;
use super::{html, tables, xml};
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::{MAX_UNPACKED_BYTES, MAX_WORKBOOK_BYTES};
use crate::documents::structure::Places;
use crate::support::worker::{Input, Silence, Worker};
use grid::{Merged, Row};
use notes::Note;
pub use workbook::JOB;
use workbook::Message;

/// For some rows, or for what comes before the first.
const MAX_TIME: Duration = Duration::from_mins(2);
/// Cells of one sheet. All are in memory at once.
const MAX_CELLS: usize = 6_000_000;

/// The beginnings of ZIP files and of compound files, which workbooks are.
const ZIP: &[u8] = b"PK";
const COMPOUND_FILE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

pub(crate) fn read(mut file: File, path: &Path) -> Result<Contents, ReadError> {
    let length = file.metadata().map_err(ReadError::io(path))?.len();
    if length > MAX_WORKBOOK_BYTES as u64 {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit: MAX_WORKBOOK_BYTES });
    }
    let mut head = Vec::new();
    (&mut file).take(1024).read_to_end(&mut head).map_err(ReadError::io(path))?;
    file.rewind().map_err(ReadError::io(path))?;
    if !head.starts_with(ZIP) && !head.starts_with(COMPOUND_FILE) && !is_old_workbook(&head) {
        return read_text(file, path, &head);
    }
    let mut sheets = Sheets::new(path);
    if head.starts_with(ZIP) {
        let again = file.try_clone().map_err(ReadError::io(path))?;
        let (notes, error) = notes::read(again, path);
        sheets.notes = notes;
        sheets.omitted.extend(error);
        // The clone has moved the file's position.
        file.rewind().map_err(ReadError::io(path))?;
    }
    let worker = Worker::start(&JOB, Input::File(file)).map_err(ReadError::io(path))?;
    Ok(Contents::One(extract(&worker, sheets)?))
}

/// The records that the files of Excel 2 to 4 begin with.
fn is_old_workbook(head: &[u8]) -> bool {
    matches!(head, [0x09, 0x00 | 0x02 | 0x04 | 0x08, ..])
}

/// What many programs save under `.xls` are web pages, XML or text, which Excel opens too.
fn read_text(file: File, path: &Path, head: &[u8]) -> Result<Contents, ReadError> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let starts = head.trim_start_matches(['\u{feff}', '\u{fffd}']).trim_start();
    if starts.starts_with("<?xml") && !head.contains("<html") {
        xml::read(file, path)
    } else if starts.starts_with('<') {
        html::read(file, path)
    } else {
        tables::read(file, path)
    }
}

fn extract(worker: &Worker, mut sheets: Sheets) -> Result<Extract, ReadError> {
    let path = sheets.path.to_owned();
    loop {
        match worker.next(MAX_TIME) {
            Ok(Message::Sheet(name)) => sheets.begin(&name)?,
            Ok(Message::Merged(merged)) => sheets.merged = merged,
            Ok(Message::Rows(rows)) => sheets.take(rows),
            Ok(Message::WithoutValue { formulas, first }) => sheets.tell_unsaved(formulas, first),
            Ok(Message::Failed(why)) => sheets.leave_out_rest(&why),
            Ok(Message::Done) => return sheets.finish(),
            Ok(Message::Encrypted) => {
                return Err(ReadError::Encrypted { path });
            }
            Ok(Message::Damaged(why)) => {
                return Err(ReadError::Damaged { path, why });
            }
            Err(silence) => {
                let why = match silence {
                    Silence::TimedOut => format!("it takes longer than {MAX_TIME:?}"),
                    Silence::Ended => "its reader failed".to_owned(),
                };
                sheets.leave_out_rest(&why);
                return sheets.finish();
            }
        }
    }
}

/// The sheets of a workbook, written one after the other.
pub(crate) struct Sheets<'p> {
    path: &'p Path,
    flow: Flow,
    /// Of the current sheet.
    name: String,
    rows: Vec<Row>,
    merged: Vec<Merged>,
    /// Of all sheets, by their names.
    notes: HashMap<String, Vec<Note>>,
    cells: usize,
    is_cut: bool,
    /// Bytes of all text so far.
    bytes: usize,
    omitted: Vec<ReadError>,
}

impl<'p> Sheets<'p> {
    pub fn new(path: &'p Path) -> Self {
        Self {
            path,
            flow: Flow::default(),
            name: String::new(),
            rows: Vec::new(),
            merged: Vec::new(),
            notes: HashMap::new(),
            cells: 0,
            is_cut: false,
            bytes: 0,
            omitted: Vec::new(),
        }
    }

    /// A sheet begins; the one before it ends.
    pub fn begin(&mut self, name: &str) -> Result<(), ReadError> {
        self.end()?;
        name.clone_into(&mut self.name);
        self.flow.begin_heading(1);
        self.flow.text(name);
        self.flow.end_heading();
        Ok(())
    }

    pub fn take(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.cells += row.cells.len();
            self.bytes += row.cells.iter().map(|cell| cell.text.len()).sum::<usize>();
            if self.cells <= MAX_CELLS && self.bytes <= MAX_UNPACKED_BYTES {
                self.rows.push(row);
            } else if !self.is_cut {
                self.is_cut = true;
                self.leave_out_rest(&format!("more than {MAX_CELLS} cells"));
            }
        }
    }

    /// Notes that what follows in the current sheet is left out.
    pub fn leave_out_rest(&mut self, why: &str) {
        let row = self.rows.last().map_or(1, |row| row.row + 2);
        self.omitted.push(ReadError::Part {
            path: self.path.to_owned(),
            part: format!("sheet `{}` from row {row} on", self.name),
            why: why.to_owned(),
        });
    }

    /// Notes that the values of formulas in the current sheet are not in the file.
    fn tell_unsaved(&mut self, formulas: usize, (row, column): (u32, u32)) {
        let values = if formulas == 1 {
            "the value of a formula".to_owned()
        } else {
            format!("the values of {formulas} formulas")
        };
        let cell = format!("{}{}", column_letters(column), row.saturating_add(1));
        self.omitted.push(ReadError::Part {
            path: self.path.to_owned(),
            part: format!("{values} in the sheet `{}`, from cell {cell} on", self.name),
            why: "the program that wrote the file did not compute them".to_owned(),
        });
    }

    fn end(&mut self) -> Result<(), ReadError> {
        if self.bytes > MAX_UNPACKED_BYTES {
            return Err(ReadError::Unpacked {
                path: self.path.to_owned(),
                limit: MAX_UNPACKED_BYTES,
            });
        }
        let (mut rows, merged) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.merged));
        if let Some(notes) = self.notes.remove(&self.name) {
            notes::add(notes, &mut rows);
        }
        grid::write(rows, merged, &mut self.flow);
        self.cells = 0;
        self.is_cut = false;
        Ok(())
    }

    pub fn finish(mut self) -> Result<Extract, ReadError> {
        self.end()?;
        Ok(Extract { omitted: self.omitted, ..self.flow.finish(Places::Rows) })
    }
}

/// The name of a column, counted from 0: A to Z, AA, AB, ….
fn column_letters(column: u32) -> String {
    let (mut letters, mut rest) = (Vec::new(), u64::from(column) + 1);
    while rest > 0 {
        letters.push(char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}
