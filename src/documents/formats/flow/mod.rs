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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_exact_spans_and_pages() {
        let mut flow = Flow::default();
        flow.at(1);
        flow.begin_heading(1);
        flow.text(" Chương \n 1 ");
        flow.end_heading();
        flow.text("Mo\u{302}\u{323}t\u{200b} hai");
        flow.end_block();
        flow.begin_item(1, "-");
        flow.text("ba");
        flow.at(2);
        flow.end_item();
        flow.begin_item(2, "1.");
        flow.text("bốn");
        flow.end_item();
        flow.begin_table();
        flow.begin_cell();
        flow.text("a");
        flow.begin_cell();
        flow.text("b");
        flow.end_block();
        flow.text("c");
        flow.end_row();
        flow.begin_cell();
        flow.end_row();
        flow.end_table();
        let Extract { text, structure, .. } = flow.finish(Places::Pages);
        assert_eq!(text, "Chương 1\n\nMột hai\n\n- ba\n  1. bốn\n\na | b c");
        assert_eq!(
            structure.places,
            Places::Pages(vec![(0, 1), (text.find("  1. b").unwrap(), 2)])
        );
        let sections = structure.sections.unwrap();
        assert_eq!(sections.len(), 1);
        assert_eq!(sections[0].headings, ["Chương 1"]);
        let blocks: Vec<&str> =
            sections[0].blocks.iter().map(|block| &text[block.span.clone()]).collect();
        assert_eq!(blocks, ["Một hai", "- ba", "  1. bốn", "a | b c"]);
    }

    #[test]
    fn lines_begin_where_they_do_after_cleaning() {
        let mut flow = Flow::default();
        flow.begin_verbatim();
        flow.at(1);
        flow.text(&format!("{}\n", "a\u{301}\u{200b}".repeat(50)));
        flow.at(2);
        flow.text("hai\n");
        // The mark of the third line is inside of a letter once it is composed.
        flow.text("e");
        flow.at(3);
        flow.text("\u{301} ba");
        flow.end_verbatim();
        let Extract { text, structure, .. } = flow.finish(Places::Lines);
        let Places::Lines(marks) = structure.places else { panic!("a page has lines") };
        assert_eq!(text, format!("{}\nhai\né ba", "á".repeat(50)));
        assert_eq!(marks[1], (text.find("hai").unwrap(), 2));
    }

    /// A table of cells with their columns and rows; rows are separated by `None`.
    fn table(cells: &[Option<(&str, usize, Rows)>]) -> String {
        let mut flow = Flow::default();
        flow.begin_table();
        for cell in cells {
            let Some((text, columns, rows)) = *cell else {
                flow.begin_row();
                continue;
            };
            flow.begin_cell();
            flow.set_cell_columns(columns);
            flow.set_cell_rows(rows);
            flow.text(text);
        }
        flow.end_table();
        flow.finish(|_| Places::Nowhere).text
    }

    #[test]
    fn a_table_knows_its_header() {
        let header = |rows: &[(&[&str], bool)]| {
            let mut flow = Flow::default();
            flow.begin_table();
            for (cells, is_header) in rows {
                flow.begin_row();
                for cell in *cells {
                    flow.begin_cell();
                    flow.text(cell);
                }
                if *is_header {
                    flow.header_row();
                }
            }
            flow.end_table();
            let Extract { text, structure, .. } = flow.finish(|_| Places::Nowhere);
            let block = structure.sections.unwrap().remove(0).blocks.remove(0);
            let BlockKind::Table { header } = block.kind else { panic!("{block:?}") };
            text[block.span][..header].to_owned()
        };
        let (one, two): (&[&str], &[&str]) = (&["a"], &["b", "c"]);
        assert_eq!(header(&[(two, false), (two, false)]), "b | c\n");
        assert_eq!(header(&[(one, false), (two, false), (two, false)]), "a\nb | c\n");
        assert_eq!(header(&[(one, false), (one, false)]), "a\n");
        assert_eq!(
            header(&[(two, true), (two, true), (two, false), (two, true)]),
            "b | c\nb | c\n"
        );
        assert_eq!(header(&[(two, false), (two, true), (two, false)]), "b | c\n");
        assert_eq!(header(&[(two, false)]), "b | c");
    }

    #[test]
    fn merged_cells_are_the_keys_of_all_their_rows_and_columns() {
        let cell = |text| Some((text, 1, Rows::One));
        let count = |text, rows| Some((text, 1, Rows::Count(rows)));
        let html = [
            cell("Vùng"),
            Some(("Giá", 2, Rows::One)),
            None,
            count("Bắc", 2),
            cell("9"),
            count("*", 3),
            None,
            cell("8"),
            None,
            cell("Nam"),
            cell("7"),
            None,
            None,
            cell("x"),
            cell("y"),
            cell("z"),
        ];
        assert_eq!(
            table(&html),
            "Vùng | Giá | Giá\nBắc | 9 | *\nBắc | 8 | *\nNam | 7 | *\nx | y | z"
        );
        let word = [
            Some(("Bắc", 1, Rows::First)),
            cell("9"),
            None,
            Some(("", 1, Rows::Again)),
            cell("8"),
            None,
            Some(("Nam", 1, Rows::First)),
            cell("7"),
            None,
            cell("x"),
            cell("6"),
            None,
            Some(("", 1, Rows::Again)),
            cell("5"),
        ];
        assert_eq!(table(&word), "Bắc | 9\nBắc | 8\nNam | 7\nx | 6\n | 5");
        // The heading of the whole table, and a cell that says only "as wide as the table".
        let wide = [
            Some(("Bảng", 3, Rows::One)),
            None,
            cell("a"),
            cell("b"),
            cell("c"),
            None,
            cell("d"),
            Some(("e", 1_000_000, Rows::One)),
        ];
        assert_eq!(table(&wide), "Bảng\na | b | c\nd | e | e");
    }

    #[test]
    fn merged_cells_multiply_nothing_without_bounds() {
        let long = "chữ ".repeat(1000);
        let cell = Some((long.as_str(), 64, Rows::Count(0)));
        let row = [cell, cell, Some(("x", 1, Rows::One)), None];
        let text = table(&row.repeat(300));
        assert_eq!(text.matches('x').count(), 300);
        assert!(text.len() < 600 * long.len() + (20 << 20), "{}", text.len());
    }

    #[test]
    fn scripts_end_with_their_block_and_change_no_number() {
        let mut flow = Flow::default();
        let script = |flow: &mut Flow, script, text: &str| {
            flow.begin_script(script);
            flow.text(text);
            flow.end_script();
        };
        flow.text("Mật độ 10");
        script(&mut flow, Script::Super, "6");
        flow.text(" người, dài 2");
        script(&mut flow, Script::Super, "1");
        flow.text("/");
        script(&mut flow, Script::Sub, "2");
        flow.text(" m");
        script(&mut flow, Script::Super, "2");
        flow.text("; H");
        script(&mut flow, Script::Sub, "2");
        flow.text("O năm 2024");
        script(&mut flow, Script::Note, "3");
        flow.end_block();
        flow.text("chưa ");
        flow.begin_script(Script::Super);
        flow.text("hết một câu dài mà ai đó muốn viết nhỏ");
        flow.end_block();
        flow.text("sau");
        let text = flow.finish(|_| Places::Nowhere).text;
        assert_eq!(
            text,
            "Mật độ 10^6 người, dài 2 1/2 m²; H2O năm 2024 (3)\n\n\
             chưa hết một câu dài mà ai đó muốn viết nhỏ\n\nsau"
        );
    }

    #[test]
    fn a_table_around_headings_is_layout() {
        let mut flow = Flow::default();
        flow.begin_table();
        flow.begin_cell();
        flow.text("menu");
        flow.begin_cell();
        flow.text("trước");
        flow.begin_heading(1);
        flow.text("Tựa");
        flow.end_heading();
        flow.text("chữ");
        flow.end_block();
        flow.begin_table();
        flow.begin_cell();
        flow.text("x");
        flow.end_table();
        flow.text("cuối");
        flow.end_table();
        let Extract { text, structure, .. } = flow.finish(|_| Places::Nowhere);
        assert_eq!(text, "menu\n\ntrước\n\nTựa\n\nchữ\n\nx\n\ncuối");
        let headings: Vec<_> =
            structure.sections.unwrap().into_iter().map(|s| s.headings).collect();
        assert_eq!(headings, [vec![], vec!["Tựa".to_owned()]]);
    }
}
