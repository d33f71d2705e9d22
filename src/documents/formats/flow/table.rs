//! A table under construction: cells become rows of text, and a cell that covers several rows or
//! columns is repeated in each, because a row that is found alone has to say what it is about.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::output::Marked;

/// Text of repeated cells in one document, in bytes. With more, cells stand only where they begin.
const MAX_REPEATED: usize = 8 << 20;
/// Bytes of a cell that are repeated. Keys are short; a long cell is no key.
const MAX_KEY: usize = 240;
/// A cell that claims more columns than this covers as many as the rows above it have.
const MAX_COLUMNS: usize = 64;
/// What separates cells.
const SEPARATOR: &str = " | ";

/// Which rows a cell covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Its own.
    #[default]
    One,
    /// Its own and those after it, in which it is not mentioned again: HTML's `rowspan`. 0 means all
    /// that follow in the group.
    Count(usize),
    /// Its own, and each row after it that has a cell with [`Rows::Again`] in this column: Word's
    /// `vMerge="restart"`.
    First,
    /// It is part of the cell above it: Word's `vMerge` without a value.
    Again,
}

/// See the module's documentation.
#[expect(
    clippy::struct_excessive_bools,
    reason = "of a table, of its row, of a cell: each independent"
)]
#[derive(Default)]
pub(super) struct Table {
    pub rows: Marked,
    /// The cells of the current row so far.
    pub row: Marked,
    /// Its cells hold headings, lists or tables, so they are read one after the other.
    pub is_layout: bool,
    /// Whether a row is open, and its number.
    row_is_open: bool,
    row_number: usize,
    /// How many columns of the row are filled, and by how many cells.
    filled: usize,
    cells: usize,
    /// Whether a cell of the row's own has text.
    has_text: bool,
    cell: Option<Cell>,
    /// The row's last cell is also in this many more columns.
    more_columns: usize,
    last: Rc<str>,
    /// Cells of earlier rows that go on, by column.
    above: BTreeMap<usize, Above>,
    /// Columns of the widest row.
    width: usize,
    /// Whether the current row is a header row.
    row_is_header: bool,
    /// Where in `rows` the header rows end, and where the first row of several cells does.
    header_end: usize,
    columns_end: usize,
}

/// The cell that is being read.
struct Cell {
    columns: usize,
    rows: Rows,
}

/// A cell that goes on below.
struct Above {
    text: Rc<str>,
    /// The first row that it does not cover; `None` if the cells below it say so themselves.
    end: Option<usize>,
}

impl Table {
    pub fn in_cell(&self) -> bool {
        self.cell.is_some()
    }

    pub fn begin_row(&mut self) {
        self.row_is_open = true;
    }

    pub fn begin_cell(&mut self) {
        self.row_is_open = true;
        self.cell = Some(Cell { columns: 1, rows: Rows::One });
    }

    pub fn set_columns(&mut self, columns: usize) {
        if let Some(cell) = &mut self.cell {
            cell.columns = columns.max(1);
        }
    }

    pub fn set_rows(&mut self, rows: Rows) {
        if let Some(cell) = &mut self.cell {
            cell.rows = rows;
        }
    }

    /// The current cell ends without being a cell: the table is there for layout.
    pub fn leave_cell(&mut self) {
        self.cell = None;
    }

    /// The current cell ends, and this is its text. `repeated` counts the bytes of repeated cells.
    pub fn end_cell(&mut self, content: &Marked, repeated: &mut usize) {
        let Some(Cell { columns, rows }) = self.cell.take() else { return };
        if let Some(&(_, number)) = content.marks.first() {
            self.row.mark(number);
        }
        self.repeat_last(repeated);
        self.repeat_above(repeated);
        let column = self.filled;
        let is_empty = content.text.trim().is_empty();
        let again = self.above.get(&column).filter(|_| rows == Rows::Again && is_empty);
        let text = if let Some(above) = again {
            let text = Rc::clone(&above.text);
            self.put(&text, repeated);
            text
        } else {
            self.separate();
            let start = self.row.text.len();
            self.row.append(content);
            self.has_text |= !is_empty;
            key(&self.row.text[start..]).into()
        };
        let columns = match columns {
            ..=MAX_COLUMNS => columns,
            _ => self.width.saturating_sub(column).max(1),
        };
        if *repeated <= MAX_REPEATED {
            self.cover(column, columns, rows, &text);
        }
        self.filled = column + 1;
        self.cells += 1;
        self.more_columns = columns - 1;
        self.last = text;
    }

    /// What the cell means for the rows below it.
    fn cover(&mut self, column: usize, columns: usize, rows: Rows, text: &Rc<str>) {
        let end = match rows {
            Rows::Again => return,
            Rows::First => None,
            Rows::Count(0) => Some(usize::MAX),
            Rows::Count(count @ 2..) => Some(self.row_number.saturating_add(count)),
            Rows::One | Rows::Count(1) => {
                for column in column..column + columns {
                    self.above.remove(&column);
                }
                return;
            }
        };
        for column in column..column + columns {
            self.above.insert(column, Above { text: Rc::clone(text), end });
        }
    }

    pub fn end_row(&mut self, repeated: &mut usize) {
        if !std::mem::take(&mut self.row_is_open) {
            return;
        }
        if self.has_text && !self.is_layout {
            // A cell that is all of its row is a heading of the table: once says it.
            if self.cells > 1 {
                self.repeat_last(repeated);
            }
            self.repeat_above(repeated);
            self.width = self.width.max(self.filled);
            if !self.rows.text.is_empty() {
                self.rows.text.push('\n');
            }
            let is_below_headers = self.header_end + 1 >= self.rows.text.len();
            self.rows.append(&self.row);
            if self.row_is_header && is_below_headers {
                self.header_end = self.rows.text.len();
            }
            if self.columns_end == 0 && self.cells > 1 {
                self.columns_end = self.rows.text.len();
            }
        }
        self.row_is_header = false;
        self.row.clear();
        self.row_number += 1;
        (self.filled, self.cells, self.more_columns) = (0, 0, 0);
        self.has_text = false;
    }

    /// The current row is one of the header rows.
    pub fn header_row(&mut self) {
        self.row_is_header = true;
    }

    /// Bytes of `rows` that are the header, with its line end.
    pub fn header(&self) -> usize {
        let first_row = || self.rows.text.find('\n').unwrap_or(0);
        let end = match (self.header_end, self.columns_end) {
            (0, 0) => first_row(),
            (0, end) | (end, _) => end,
        };
        if end == 0 { 0 } else { (end + 1).min(self.rows.text.len()) }
    }

    /// No cell covers rows of more than one group.
    pub fn end_row_group(&mut self) {
        self.above.clear();
    }

    /// Puts the row's last cell into the other columns that it covers.
    fn repeat_last(&mut self, repeated: &mut usize) {
        let text = Rc::clone(&self.last);
        for _ in 0..std::mem::take(&mut self.more_columns) {
            self.put(&text, repeated);
            self.filled += 1;
        }
    }

    /// Puts the cells from above into the columns that follow.
    fn repeat_above(&mut self, repeated: &mut usize) {
        while let Some(Above { text, end: Some(end) }) = self.above.get(&self.filled) {
            if *end <= self.row_number {
                self.above.remove(&self.filled);
                return;
            }
            let text = Rc::clone(text);
            self.put(&text, repeated);
            self.filled += 1;
            self.cells += 1;
        }
    }

    /// Repeats a text as a cell of the row.
    fn put(&mut self, text: &str, repeated: &mut usize) {
        *repeated += text.len() + SEPARATOR.len();
        if *repeated > MAX_REPEATED {
            self.above.clear();
            return;
        }
        self.separate();
        self.row.text.push_str(text);
    }

    fn separate(&mut self) {
        if self.filled > 0 {
            self.row.text.push_str(SEPARATOR);
        }
    }
}

/// What of a cell's text is repeated.
fn key(text: &str) -> String {
    let text = text.trim();
    if text.len() <= MAX_KEY {
        return text.to_owned();
    }
    let start = &text[..text.floor_char_boundary(MAX_KEY)];
    format!("{}…", start.rsplit_once(' ').map_or(start, |(start, _)| start))
}
