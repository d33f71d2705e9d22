//! The tables of an RTF file: rows of cells, which are defined before they come.

use super::Rtf;
use crate::documents::formats::flow::Rows;

/// Cells of a row that may be merged with others.
const MAX_CELLS: usize = 64;

/// How far the current table is.
#[derive(Default)]
pub(super) struct Table {
    pub is_open: bool,
    pub in_row: bool,
    pub in_cell: bool,
    /// How the cells of the row are merged, as far as it says so; and how many of them ended.
    cells: Vec<Merged>,
    next: Merged,
    ended: usize,
}

/// How a cell is merged with others.
#[derive(Clone, Copy, Default)]
struct Merged {
    /// With the one before it.
    is_covered: bool,
    goes_down: bool,
    /// With the one above it.
    is_below: bool,
}

impl Table {
    /// Takes in how the cells of a row are. Says whether the word was about that.
    pub fn define(&mut self, word: &str) -> bool {
        match word {
            "trowd" => {
                self.in_row |= self.is_open;
                self.cells.clear();
                self.next = Merged::default();
            }
            "clmrg" => self.next.is_covered = true,
            "clvmgf" => self.next.goes_down = true,
            "clvmrg" => self.next.is_below = true,
            "cellx" => {
                let cell = std::mem::take(&mut self.next);
                if self.cells.len() < MAX_CELLS {
                    self.cells.push(cell);
                }
            }
            _ => return false,
        }
        true
    }
}

impl Rtf {
    pub(super) fn begin_cell(&mut self) {
        if !std::mem::replace(&mut self.table.is_open, true) {
            self.flow.begin_table();
        }
        if !std::mem::replace(&mut self.table.in_cell, true) {
            self.flow.begin_cell();
            let cells = self.table.cells.get(self.table.ended..).unwrap_or_default();
            let covered = cells.iter().skip(1).take_while(|cell| cell.is_covered).count();
            self.flow.set_cell_columns(1 + covered);
            match cells.first() {
                Some(cell) if cell.goes_down => self.flow.set_cell_rows(Rows::First),
                Some(cell) if cell.is_below => self.flow.set_cell_rows(Rows::Again),
                _ => {}
            }
        }
        self.table.in_row = true;
    }

    pub(super) fn end_cell(&mut self) {
        let cell = self.table.cells.get(self.table.ended).copied().unwrap_or_default();
        // The text of a covered cell is that of the one before it.
        if !cell.is_covered || self.table.in_cell {
            self.begin_cell();
            self.end_paragraph();
            self.flow.end_cell();
        }
        self.table.in_cell = false;
        self.table.ended += 1;
    }

    pub(super) fn end_row(&mut self) {
        self.flow.end_row();
        self.in_paragraph = false;
        self.table.in_row = false;
        self.table.in_cell = false;
        self.table.ended = 0;
    }

    pub(super) fn end_table(&mut self) {
        if std::mem::take(&mut self.table).is_open {
            self.flow.end_table();
        }
    }
}
