//! Text under construction, for formats whose markup is not text: HTML, Office, EPUB, PDF.
//!
//! A reader says in order what it finds (text, the end of a block, a heading, a cell), and gets
//! readable text and its structure: list items with their markers, table rows on lines, headings on
//! lines of their own that belong to no block.
//!
//! Two things are easily lost on the way:
//!
//! - A cell of several rows or columns is the key of each of them. Between [`Flow::begin_cell`] and
//!   the cell's end, [`Flow::set_cell_columns`] and [`Flow::set_cell_rows`] say what it covers, and
//!   its text is repeated there. See [`Rows`] for how HTML and Word count.
//! - Raised and lowered text goes between [`Flow::begin_script`] and [`Flow::end_script`], so that
//!   10⁶ does not become 106. See [`Script`].
//!
//! A formula becomes text in a [`Formula`], which is then text of the flow.

mod formula;
mod output;
mod script;
mod table;
#[cfg(test)]
mod tests;

use crate::documents::clean::clean;
use crate::documents::contents::Extract;
use crate::documents::embedded::{LeftOut, without_data};
use crate::documents::section::BlockKind;
use crate::documents::structure::{Marks, Places};
use crate::documents::title::{MAX_TITLE_CHARS, tidy_title};
pub(crate) use formula::{Formula, Part};
use output::{Gap, Marked, Output};
pub(crate) use script::Script;
use script::Scripts;
pub(crate) use table::Rows;
use table::Table;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Flow {
    output: Output,
    /// The text of the current block, heading or cell.
    inline: Marked,
    /// White space is due before the next text.
    space: bool,
    /// Text is kept as it is.
    verbatim: bool,
    /// The level of the open heading.
    heading: Option<usize>,
    item: Item,
    /// The block before this one belonged to a list item.
    last_was_item: bool,
    /// Open tables, the innermost last.
    tables: Vec<Table>,
    /// Bytes of cells that stand in more than one place.
    repeated: usize,
    /// Raised and lowered text of the current block.
    scripts: Scripts,
    /// The line or page of the text that follows.
    number: Option<u32>,
}

/// Where the current block stands in its list.
#[derive(Default)]
enum Item {
    #[default]
    Outside,
    /// It opens an item with this indentation and marker.
    Opens(String),
    /// It goes on with an item.
    Continues,
}

impl Flow {
    /// The text that follows is from this line or page, counted from 1.
    pub fn at(&mut self, number: u32) {
        self.number = Some(number);
    }

    /// Text of the current block. White space is collapsed outside verbatim text.
    pub fn text(&mut self, text: &str) {
        if self.verbatim {
            self.write_script(text);
            self.push(text);
            return;
        }
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
            if word > 0 {
                self.write_script(if self.space { "" } else { &rest[..word] });
                if self.space && !self.inline.text.is_empty() && !self.inline.text.ends_with('\n') {
                    self.inline.text.push(' ');
                }
                self.space = false;
                self.push(&rest[..word]);
            }
            rest = &rest[word..];
            let blank = rest.len() - rest.trim_start().len();
            self.space |= blank > 0;
            rest = &rest[blank..];
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(number) = self.number {
            self.inline.mark(number);
        }
        match without_data(text) {
            Some((rest, left_out)) => {
                self.inline.text.push_str(&rest);
                let first = self.number.unwrap_or_default();
                self.output.data.add(LeftOut { first, ..left_out });
            }
            None => self.inline.text.push_str(text),
        }
    }

    /// The text that follows is raised or lowered, up to [`Flow::end_script`] or the end of its
    /// block. How it is written follows from it and from the text around it.
    pub fn begin_script(&mut self, script: Script) {
        self.scripts.begin(script, &mut self.inline, &mut self.space);
    }

    /// The innermost raised or lowered text that is open turns out to be this.
    pub fn set_script(&mut self, script: Script) {
        self.scripts.set(script);
    }

    /// The innermost raised or lowered text ends, if there is one.
    pub fn end_script(&mut self) {
        self.scripts.end(&mut self.inline, &mut self.space);
    }

    /// The script that ended last, if there is one, is written: what follows it is known.
    fn write_script(&mut self, after: &str) {
        self.scripts.write(after, &mut self.inline, &mut self.space);
    }

    fn end_scripts(&mut self) {
        self.scripts.end_all(&mut self.inline, &mut self.space);
    }

    /// Whether the text so far has to stay on one line.
    fn is_one_line(&self) -> bool {
        let in_cell = self.tables.last().is_some_and(|table| table.in_cell() && !table.is_layout);
        self.heading.is_some() || in_cell
    }

    /// A line break inside a block.
    pub fn line_break(&mut self) {
        self.write_script("");
        if self.verbatim {
            self.push("\n");
        } else if self.is_one_line() {
            self.space = true;
        } else if !self.inline.text.is_empty() {
            self.inline.text.push('\n');
            self.space = false;
        }
    }

    /// The current block ends. In headings and cells that is only white space.
    pub fn end_block(&mut self) {
        if self.is_one_line() {
            self.space = true;
        } else {
            self.flush(BlockKind::Prose);
        }
    }

    /// A list item begins, with its marker, `depth` lists deep (from 1).
    pub fn begin_item(&mut self, depth: usize, marker: &str) {
        self.arrange();
        self.end_block();
        self.item = Item::Opens(format!("{}{marker} ", "  ".repeat(depth.clamp(1, 8) - 1)));
    }

    /// The current list item ends.
    pub fn end_item(&mut self) {
        self.end_block();
        self.item = Item::Outside;
    }

    /// A heading begins; `level` is 1 for the outermost.
    pub fn begin_heading(&mut self, level: usize) {
        self.arrange();
        self.end_heading();
        self.end_block();
        if matches!(self.item, Item::Opens(_)) {
            self.item = Item::Continues;
        }
        self.heading = Some(level);
    }

    /// Whether a heading is open and has text.
    pub fn has_heading(&self) -> bool {
        self.heading.is_some() && !self.inline.text.is_empty()
    }

    /// The current heading ends, if there is one.
    pub fn end_heading(&mut self) {
        let Some(level) = self.heading.take() else { return };
        self.end_scripts();
        let title = clean(&self.inline.text);
        match tidy_title(&title) {
            // A long "heading" is a paragraph in large letters.
            Some(_) if title.chars().nth(MAX_TITLE_CHARS).is_some() => self.flush(BlockKind::Prose),
            Some(title) => {
                self.output.push_heading(level, title, &self.inline);
                self.last_was_item = false;
            }
            None => {}
        }
        self.inline.clear();
        self.space = false;
    }

    /// What follows is under no heading.
    pub fn leave_headings(&mut self) {
        self.end_heading();
        self.end_block();
        self.output.leave_headings();
    }

    /// Verbatim text begins: code.
    pub fn begin_verbatim(&mut self) {
        self.arrange();
        self.end_heading();
        self.flush(BlockKind::Prose);
        self.verbatim = true;
    }

    /// The verbatim text ends, if there is some.
    pub fn end_verbatim(&mut self) {
        if std::mem::take(&mut self.verbatim) {
            // The line break after the opening tag is not part of the text.
            self.inline.drop_leading_newlines();
            self.flush(BlockKind::Lines);
        }
    }

    /// A table begins, perhaps in a cell of another one.
    pub fn begin_table(&mut self) {
        self.arrange();
        self.end_heading();
        self.end_verbatim();
        self.flush(BlockKind::Prose);
        self.tables.push(Table::default());
    }

    /// A row begins; the one before it ends. A row that has cells need not be begun.
    pub fn begin_row(&mut self) {
        self.end_row();
        if let Some(table) = self.tables.last_mut() {
            table.begin_row();
        }
    }

    /// A cell begins; the one before it ends.
    pub fn begin_cell(&mut self) {
        self.end_cell();
        if let Some(table) = self.tables.last_mut() {
            table.begin_cell();
        }
    }

    /// The current cell covers so many columns; its text is repeated in each. Word: `gridSpan`.
    pub fn set_cell_columns(&mut self, columns: usize) {
        if let Some(table) = self.tables.last_mut() {
            table.set_columns(columns);
        }
    }

    /// The current cell covers these rows; its text is repeated in each.
    pub fn set_cell_rows(&mut self, rows: Rows) {
        if let Some(table) = self.tables.last_mut() {
            table.set_rows(rows);
        }
    }

    /// The current row is one of the table's header rows (`w:tblHeader`, `thead`), which are
    /// repeated where the table is cut. Counts only for rows at the top. In a table without any it
    /// is the first row, with the next if the first is a single cell: the name of the table.
    pub fn header_row(&mut self) {
        if let Some(table) = self.tables.last_mut() {
            table.header_row();
        }
    }

    /// The current cell ends, if there is one.
    pub fn end_cell(&mut self) {
        self.end_heading();
        self.end_verbatim();
        let Some(table) = self.tables.last_mut().filter(|table| table.in_cell()) else { return };
        if table.is_layout {
            table.leave_cell();
            self.flush(BlockKind::Prose);
            return;
        }
        self.scripts.end_all(&mut self.inline, &mut self.space);
        table.end_cell(&self.inline, &mut self.repeated);
        self.inline.clear();
        self.space = false;
    }

    /// The current row ends, if there is one.
    pub fn end_row(&mut self) {
        self.end_cell();
        if let Some(table) = self.tables.last_mut() {
            table.end_row(&mut self.repeated);
        }
    }

    /// A group of rows ends, beyond which no cell goes: HTML's `tbody`.
    pub fn end_row_group(&mut self) {
        self.end_row();
        if let Some(table) = self.tables.last_mut() {
            table.end_row_group();
        }
    }

    /// The current table ends, if there is one.
    pub fn end_table(&mut self) {
        self.end_row();
        if let Some(table) = self.tables.pop() {
            self.put_down_rows(&table.rows, table.header());
        }
    }

    /// What follows does not belong in a data cell, so the table around it, if there is one, is
    /// there for the page's layout. What was read of it so far is put down.
    fn arrange(&mut self) {
        let Some(table) = self.tables.last_mut() else { return };
        if table.is_layout || !table.in_cell() {
            return;
        }
        table.is_layout = true;
        let header = table.header();
        let (rows, row) = (std::mem::take(&mut table.rows), std::mem::take(&mut table.row));
        self.put_down_rows(&rows, header);
        self.put_down(BlockKind::Prose, &row, Gap::Blank);
        self.flush(BlockKind::Prose);
    }

    /// Puts the rows of a table down, the first `header` bytes of which are its header.
    fn put_down_rows(&mut self, rows: &Marked, header: usize) {
        self.put_down(BlockKind::Table { header }, rows, Gap::Blank);
    }

    /// Puts the current block down.
    fn flush(&mut self, kind: BlockKind) {
        if self.heading.is_some() {
            return;
        }
        self.end_scripts();
        self.space = false;
        if self.inline.text.trim().is_empty() {
            self.inline.clear();
            return;
        }
        let mut block = std::mem::take(&mut self.inline);
        let in_item = !matches!(self.item, Item::Outside);
        let gap = if in_item && self.last_was_item { Gap::Line } else { Gap::Blank };
        if let Item::Opens(prefix) = &self.item {
            block.prefix(prefix);
            self.item = Item::Continues;
        }
        self.put_down(kind, &block, gap);
        self.last_was_item = in_item;
    }

    fn put_down(&mut self, kind: BlockKind, block: &Marked, gap: Gap) {
        if !block.text.trim().is_empty() {
            self.output.push_block(kind, block, gap);
            self.last_was_item = false;
        }
    }

    /// Puts down a text that was read elsewhere, below the headings so far. Its places are not taken
    /// over.
    pub fn put_extract(&mut self, extract: &Extract) {
        self.end_heading();
        self.end_verbatim();
        self.arrange();
        self.flush(BlockKind::Prose);
        self.output.push_extract(extract, self.number);
        self.last_was_item = false;
    }

    /// The first heading, for a document that has no title.
    pub fn first_heading(&self) -> Option<&str> {
        self.output.first_heading.as_deref()
    }

    /// The text and its structure; `places` says what the numbers given to [`Flow::at`] were.
    pub fn finish(mut self, places: impl FnOnce(Marks) -> Places) -> Extract {
        self.end_heading();
        self.end_verbatim();
        while !self.tables.is_empty() {
            self.end_table();
        }
        self.flush(BlockKind::Prose);
        self.output.finish(places)
    }
}
