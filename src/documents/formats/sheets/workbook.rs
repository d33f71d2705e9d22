//! Reads workbooks of Excel as a job for a process of its own: the library that knows them takes the
//! memory that a file makes it take.

use std::fmt::Display;
use std::io::Cursor;
use std::time::Duration;

use calamine::{
    CellErrorType, Data, DataRef, Dimensions, ExcelDateTime, Reader, SheetType, Xls, XlsError,
    Xlsb, XlsbError, Xlsx, XlsxError,
};
use serde::{Deserialize, Serialize};

use super::date::Moment;
use super::grid::{Cell, Merged, Row};
use super::number_format::{SHORT_DATE, SHORT_DATE_AND_TIME, general, show};
use super::xls_formats::XlsFormats;
use crate::documents::limits::{MAX_UNPACKED_BYTES, MAX_WORKBOOK_BYTES};
use crate::support::worker::{Job, Output};

/// Rows in a message.
const BATCH: usize = 512;
/// What the job tells: for each sheet its name, its merged cells and its rows, and then how it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Sheet(String),
    Merged(Vec<Merged>),
    Rows(Vec<Row>),
    /// Formulas whose values the file does not have, and the row and column of the first.
    WithoutValue {
        formulas: usize,
        first: (u32, u32),
    },
    /// The sheet, or the rest of it, cannot be read.
    Failed(String),
    Done,
    Encrypted,
    Damaged(String),
}

/// Reads a workbook; see [`Message`].
pub static JOB: Job = Job {
    name: "workbook",
    max_input_bytes: MAX_WORKBOOK_BYTES as u64,
    max_output_bytes: 16 * MAX_UNPACKED_BYTES as u64,
    memory: 3 << 30,
    memory_per_input_byte: 8,
    cpu: Some(Duration::from_mins(5)),
    run: read,
};

fn read(bytes: &[u8], output: &mut Output) {
    let end = if bytes.starts_with(b"PK") {
        match Xlsx::new(Cursor::new(bytes)) {
            Ok(workbook) => read_xlsx(workbook, output),
            // The one part that every XLSX file has.
            Err(XlsxError::FileNotFound(_) | XlsxError::RelationshipNotFound) => {
                read_xlsb(bytes, output)
            }
            Err(XlsxError::Password) => Message::Encrypted,
            Err(error) => Message::Damaged(error.to_string()),
        }
    } else {
        read_xls(bytes, output)
    };
    let _ = output.send(&end);
}

fn read_xlsx(mut workbook: Xlsx<Cursor<&[u8]>>, output: &mut Output) -> Message {
    let is_1904 = workbook.has_1904_epoch();
    for name in worksheets(&workbook) {
        let merged = workbook.merge_cells_by_sheet_name(&name).unwrap_or_default();
        let mut rows = Rows::begin(&name, &merged, output);
        let mut cells = match workbook.worksheet_cells_reader(&name) {
            Ok(cells) => cells,
            Err(error) => {
                rows.fail(&error.to_string());
                continue;
            }
        };
        let formats = Formats::of(cells.styles());
        let mut has_empty_cells = false;
        let next = || {
            let cell = cells.next_cell_with_style_id()?;
            Ok(cell.map(|(cell, style)| {
                has_empty_cells |= matches!(cell.get_value(), DataRef::Empty);
                let value = shown(cell.get_value(), formats.code(style), is_1904);
                (cell.get_position(), value)
            }))
        };
        if !rows.take_all::<XlsxError>(next) {
            return Message::Done;
        }
        drop(cells);
        if has_empty_cells
            && let Some(message) = without_value(&mut workbook, &name)
            && output.send(&message).is_break()
        {
            return Message::Done;
        }
    }
    Message::Done
}

/// The formulas of a sheet whose values are not in the file: Excel computes and saves them, but not
/// every program that writes XLSX does.
fn without_value(workbook: &mut Xlsx<Cursor<&[u8]>>, name: &str) -> Option<Message> {
    let mut cells = workbook.worksheet_cells_reader(name).ok()?;
    let (mut formulas, mut first) = (0, None);
    // What cannot be read was told when the values were.
    while let Ok(Some(cell)) = cells.next_cell_with_formula_metadata() {
        if cell.formula.is_some() && matches!(cell.value, DataRef::Empty) {
            formulas += 1;
            first.get_or_insert(cell.pos);
        }
    }
    first.map(|first| Message::WithoutValue { formulas, first })
}

fn read_xlsb(bytes: &[u8], output: &mut Output) -> Message {
    let mut workbook = match Xlsb::new(Cursor::new(bytes)) {
        Ok(workbook) => workbook,
        Err(XlsbError::Password) => return Message::Encrypted,
        Err(error) => return Message::Damaged(error.to_string()),
    };
    for name in worksheets(&workbook) {
        let mut rows = Rows::begin(&name, &[], output);
        let mut cells = match workbook.worksheet_cells_reader(&name) {
            Ok(cells) => cells,
            Err(error) => {
                rows.fail(&error.to_string());
                continue;
            }
        };
        let next = || {
            let cell = cells.next_cell()?;
            Ok(cell.map(|cell| (cell.get_position(), shown(cell.get_value(), None, false))))
        };
        if !rows.take_all::<XlsbError>(next) {
            return Message::Done;
        }
    }
    Message::Done
}

fn read_xls(bytes: &[u8], output: &mut Output) -> Message {
    let mut workbook = match Xls::new(Cursor::new(bytes)) {
        Ok(workbook) => workbook,
        Err(XlsError::Password) => return Message::Encrypted,
        // Encrypted workbooks of newer versions are in the same kind of container.
        Err(_) if has_encrypted_package(bytes) => return Message::Encrypted,
        Err(error) => return Message::Damaged(error.to_string()),
    };
    let (formats, is_1904) = (XlsFormats::of(bytes), workbook.has_1904_epoch());
    for name in worksheets(&workbook) {
        let merged = workbook.merge_cells_by_sheet_name(&name).unwrap_or_default();
        let place = workbook.sheets_metadata().iter().position(|sheet| sheet.name == name);
        let formats = formats.of_sheet(place.unwrap_or(usize::MAX));
        let mut rows = Rows::begin(&name, &merged, output);
        match workbook.worksheet_range(&name) {
            Ok(range) => {
                let (first_row, first_column) = range.start().unwrap_or_default();
                for (row, column, value) in range.used_cells() {
                    let (row, column) = (first_row + row as u32, first_column + column as u32);
                    let shown = shown_of_xls(value, formats.code(row, column), is_1904);
                    if !rows.take(row, column, shown) {
                        return Message::Done;
                    }
                }
            }
            Err(error) => rows.fail(&error.to_string()),
        }
        rows.send();
    }
    Message::Done
}

fn has_encrypted_package(bytes: &[u8]) -> bool {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.windows(name.len()).any(|part| part == name)
}

/// Hidden sheets are read too; charts and programs have no cells.
fn worksheets<'b, R: Reader<Cursor<&'b [u8]>>>(workbook: &R) -> Vec<String> {
    let sheets = workbook.sheets_metadata().iter();
    let sheets =
        sheets.filter(|sheet| matches!(sheet.typ, SheetType::WorkSheet | SheetType::MacroSheet));
    sheets.map(|sheet| sheet.name.clone()).collect()
}

/// The format codes of cell styles.
struct Formats(Vec<Option<String>>);

impl Formats {
    fn of(styles: &[calamine::Style]) -> Self {
        let code = |style: &calamine::Style| {
            let format = style.number_format.as_ref()?;
            let by_country = [SHORT_DATE, SHORT_DATE_AND_TIME];
            let plain = by_country.iter().find(|(id, _)| format.format_id == Some(*id));
            let code = plain.map_or(format.format_code.as_str(), |(_, code)| code);
            (!code.eq_ignore_ascii_case("General") && code != "@").then(|| code.to_owned())
        };
        Self(styles.iter().map(code).collect())
    }

    fn code(&self, style: usize) -> Option<&str> {
        self.0.get(style)?.as_deref()
    }
}

/// What a cell shows, and whether that is a number or the like.
type Shown = Option<(String, bool)>;

fn shown(value: &DataRef, code: Option<&str>, is_1904: bool) -> Shown {
    let number = |value: f64| Some((number(value, code, is_1904), true));
    match value {
        DataRef::Int(value) => number(*value as f64),
        DataRef::Float(value) => number(*value),
        DataRef::DateTime(moment) if code.is_some() => number(moment.as_f64()),
        DataRef::DateTime(moment) => Some((iso(moment), true)),
        DataRef::String(text) => Some((text.clone(), false)),
        DataRef::SharedString(text) => Some(((*text).to_owned(), false)),
        DataRef::Bool(value) => Some(boolean(*value)),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Some((text.clone(), true)),
        DataRef::Error(error) => Some(failure(error)),
        DataRef::Empty => None,
    }
}

fn number(value: f64, code: Option<&str>, is_1904: bool) -> String {
    code.map_or_else(|| general(value), |code| show(value, code, is_1904))
}

fn shown_of_xls(value: &Data, code: Option<&str>, is_1904: bool) -> Shown {
    let number = |value: f64| Some((number(value, code, is_1904), true));
    match value {
        Data::Int(value) => number(*value as f64),
        Data::Float(value) => number(*value),
        Data::DateTime(moment) if code.is_some() => number(moment.as_f64()),
        Data::DateTime(moment) => Some((iso(moment), true)),
        Data::String(text) => Some((text.clone(), false)),
        Data::Bool(value) => Some(boolean(*value)),
        Data::DateTimeIso(text) | Data::DurationIso(text) => Some((text.clone(), true)),
        Data::Error(error) => Some(failure(error)),
        Data::Empty => None,
    }
}

fn boolean(value: bool) -> (String, bool) {
    (if value { "TRUE" } else { "FALSE" }.to_owned(), true)
}

fn failure(error: &CellErrorType) -> (String, bool) {
    (error.to_string(), true)
}

/// A date or time without a format code: by its parts.
fn iso(moment: &ExcelDateTime) -> String {
    let number = moment.as_f64();
    if moment.is_duration() {
        return show(number, "[h]:mm:ss", false);
    }
    let (year, ..) = moment.to_ymd_hms_milli();
    let of_1900 = Moment::of(number, false, 0);
    // Which of the two calendars a workbook has, the library knows and does not tell.
    let is_1904 = number >= 1.0 && of_1900.as_ref().is_some_and(|it| it.year() != u32::from(year));
    Moment::of(number, is_1904, 0).map_or_else(|| general(number), |moment| moment.iso())
}

/// The rows of a sheet on their way.
struct Rows<'o, 'p> {
    output: &'o mut Output<'p>,
    batch: Vec<Row>,
    is_heard: bool,
}

impl<'o, 'p> Rows<'o, 'p> {
    fn begin(name: &str, merged: &[Dimensions], output: &'o mut Output<'p>) -> Self {
        let merged = merged.iter().map(|cells| Merged {
            first_row: cells.start.0,
            last_row: cells.end.0,
            first_column: cells.start.1,
            last_column: cells.end.1,
        });
        let is_heard = output.send(&Message::Sheet(name.to_owned())).is_continue()
            && output.send(&Message::Merged(merged.collect())).is_continue();
        Self { output, batch: Vec::new(), is_heard }
    }

    /// Takes the cells of a sheet, each at its row and column, up to one that cannot be read; `false`
    /// if nobody listened any more when a cell came.
    fn take_all<E: Display>(
        &mut self,
        mut next: impl FnMut() -> Result<Option<((u32, u32), Shown)>, E>,
    ) -> bool {
        loop {
            match next() {
                Ok(Some(((row, column), shown))) => {
                    if !self.take(row, column, shown) {
                        return false;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.fail(&error.to_string());
                    break;
                }
            }
        }
        self.send();
        true
    }

    /// Takes a cell; `false` if nobody listens any more.
    fn take(&mut self, row: u32, column: u32, shown: Shown) -> bool {
        let Some((text, is_value)) = shown.filter(|(text, _)| !text.trim().is_empty()) else {
            return self.is_heard;
        };
        let cell = Cell { column, text, is_value, is_repeated: false };
        if let Some(last) = self.batch.last_mut().filter(|last| last.row == row) {
            last.cells.push(cell);
        } else {
            if self.batch.len() >= BATCH {
                self.send();
            }
            self.batch.push(Row { row, cells: vec![cell] });
        }
        self.is_heard
    }

    fn send(&mut self) {
        let rows = Message::Rows(std::mem::take(&mut self.batch));
        self.is_heard &= self.output.send(&rows).is_continue();
    }

    fn fail(&mut self, why: &str) {
        self.send();
        self.is_heard &= self.output.send(&Message::Failed(why.to_owned())).is_continue();
    }
}
