//! Which format code each cell of an XLS workbook has: the library that reads the values does not say.
//!
//! Source: [MS-XLS] 2.4, and for the codes that have only a number ECMA-376, part 1, 18.8.30.

use std::collections::HashMap;
use std::io::Cursor;

use super::number_format::{SHORT_DATE, SHORT_DATE_AND_TIME};
use crate::documents::formats::compound::{CompoundFile, u16_at, u32_at};
use crate::documents::limits::MAX_WORKBOOK_BYTES;

// Types of records.
const FORMULA: u16 = 0x06;
const END_OF_PART: u16 = 0x0a;
const SHEET: u16 = 0x85;
const SEVERAL_NUMBERS: u16 = 0xbd;
const CELL_FORMAT: u16 = 0xe0;
const NUMBER: u16 = 0x203;
const SHORT_NUMBER: u16 = 0x27e;
const CODE: u16 = 0x41e;
const BEGIN_OF_PART: u16 = 0x809;
/// The version whose texts are Unicode.
const EXCEL_97: u16 = 0x600;

/// Codes that a workbook may leave out.
const BUILT_IN: [(u16, &str); 25] = [
    (1, "0"),
    (2, "0.00"),
    (3, "#,##0"),
    (4, "#,##0.00"),
    (9, "0%"),
    (10, "0.00%"),
    (11, "0.00E+00"),
    (12, "# ?/?"),
    (13, "# ??/??"),
    (14, SHORT_DATE.1),
    (15, "d-mmm-yy"),
    (16, "d-mmm"),
    (17, "mmm-yy"),
    (18, "h:mm AM/PM"),
    (19, "h:mm:ss AM/PM"),
    (20, "h:mm"),
    (21, "h:mm:ss"),
    (22, SHORT_DATE_AND_TIME.1),
    (37, "#,##0;(#,##0)"),
    (38, "#,##0;(#,##0)"),
    (39, "#,##0.00;(#,##0.00)"),
    (40, "#,##0.00;(#,##0.00)"),
    (45, "mm:ss"),
    (46, "[h]:mm:ss"),
    (47, "mm:ss.0"),
];

/// The format codes of a workbook.
#[derive(Default)]
pub(super) struct XlsFormats {
    stream: Vec<u8>,
    /// Where each sheet begins in the stream.
    sheets: Vec<u32>,
    /// The code's number of each cell format.
    cell_formats: Vec<u16>,
    codes: HashMap<u16, String>,
}

/// The format codes of a sheet's cells, by row and column.
pub(super) struct SheetFormats<'f> {
    formats: &'f XlsFormats,
    cells: HashMap<(u32, u32), u16>,
}

impl XlsFormats {
    /// Those of a workbook; none if it cannot be read.
    pub fn of(bytes: &[u8]) -> Self {
        let file = CompoundFile::open(Cursor::new(bytes)).ok().flatten();
        let stream = file.and_then(|mut file| {
            ["Workbook", "Book"]
                .iter()
                .find_map(|name| file.stream(name, MAX_WORKBOOK_BYTES).ok()?)
        });
        let mut formats = Self { stream: stream.unwrap_or_default(), ..Self::default() };
        let stream = std::mem::take(&mut formats.stream);
        let mut version = EXCEL_97;
        for (kind, data) in records(&stream, 0) {
            match kind {
                BEGIN_OF_PART => version = u16_at(data, 0).unwrap_or(version),
                SHEET => formats.sheets.push(u32_at(data, 0).unwrap_or(u32::MAX)),
                CELL_FORMAT => formats.cell_formats.push(u16_at(data, 2).unwrap_or(0)),
                CODE => {
                    if let (Some(number), Some(code)) = (u16_at(data, 0), code(data, version)) {
                        formats.codes.insert(number, code);
                    }
                }
                END_OF_PART => break,
                _ => {}
            }
        }
        formats.stream = stream;
        formats
    }

    /// Those of the sheet at this place among all sheets.
    pub fn of_sheet(&self, sheet: usize) -> SheetFormats<'_> {
        let mut cells = HashMap::new();
        let start = self.sheets.get(sheet).map_or(usize::MAX, |start| *start as usize);
        // Charts are parts within.
        let mut depth = 0;
        for (kind, data) in records(&self.stream, start) {
            let at = |at| u16_at(data, at);
            match kind {
                BEGIN_OF_PART => depth += 1,
                END_OF_PART if depth <= 1 => break,
                END_OF_PART => depth -= 1,
                NUMBER | SHORT_NUMBER | FORMULA => {
                    if let (Some(row), Some(column), Some(format)) = (at(0), at(2), at(4)) {
                        cells.insert((row.into(), column.into()), format);
                    }
                }
                SEVERAL_NUMBERS => {
                    let (Some(row), Some(first)) = (at(0), at(2)) else { continue };
                    // Of each a format and a number; the last column follows.
                    for (column, number) in (u32::from(first)..).zip(data[4..].chunks_exact(6)) {
                        let format = u16_at(number, 0).unwrap_or(0);
                        cells.insert((row.into(), column), format);
                    }
                }
                _ => {}
            }
        }
        SheetFormats { formats: self, cells }
    }

    fn code(&self, cell_format: u16) -> Option<&str> {
        let number = *self.cell_formats.get(usize::from(cell_format))?;
        let by_country = [SHORT_DATE, SHORT_DATE_AND_TIME];
        let own = self.codes.get(&number).map(String::as_str);
        let own = own.filter(|_| by_country.iter().all(|(id, _)| *id != u32::from(number)));
        let built_in = || BUILT_IN.iter().find(|(id, _)| *id == number).map(|(_, code)| *code);
        own.or_else(built_in).filter(|code| !code.eq_ignore_ascii_case("General") && *code != "@")
    }
}

impl SheetFormats<'_> {
    /// The code of a cell that has one of its own.
    pub fn code(&self, row: u32, column: u32) -> Option<&str> {
        self.formats.code(*self.cells.get(&(row, column))?)
    }
}

/// The types and contents of the records from `start` on.
fn records(stream: &[u8], start: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = stream.get(start..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let data = rest.get(4..4 + length)?;
        rest = &rest[4 + length..];
        Some((kind, data))
    })
}

/// A format code in a record.
fn code(data: &[u8], version: u16) -> Option<String> {
    let latin = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect();
    if version < EXCEL_97 {
        return Some(latin(data.get(3..3 + usize::from(*data.get(2)?))?));
    }
    let length = usize::from(u16_at(data, 2)?);
    if data.get(4)? & 1 == 0 {
        return Some(latin(data.get(5..5 + length)?));
    }
    let letters: Vec<u16> =
        data.get(5..5 + 2 * length)?.chunks_exact(2).filter_map(|pair| u16_at(pair, 0)).collect();
    Some(String::from_utf16_lossy(&letters))
}
