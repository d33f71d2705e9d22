//! Text under construction, for formats whose markup is not text: HTML, DOCX, EPUB, PDF.
//!
//! A reader tells in order what it finds (text, the end of a block, a heading, a cell); out come
//! readable text and its [`Structure`]: list items with their markers, table rows on lines, headings
//! on lines of their own that belong to no block.

use std::borrow::Cow;

use crate::documents::clean::clean;
use crate::documents::read::{MAX_TITLE_CHARS, tidy_title};
use crate::documents::section::{Block, BlockKind, HeadingPath, Section};
use crate::documents::structure::{Marks, Places, Structure};

/// What separates a block from the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Items of one list.
    Line,
    Blank,
}

/// A text with the lines or pages that its parts are from.
#[derive(Default)]
struct Marked {
    text: String,
    marks: Marks,
}

impl Marked {
    /// What follows is from this line or page.
    fn mark(&mut self, number: u32) {
        if self.marks.last().is_none_or(|&(_, last)| last != number) {
            self.marks.push((self.text.len(), number));
        }
    }

    /// Adds `other` in its composed form, without what cannot be seen.
    fn append(&mut self, other: &Self) {
        let start = self.text.len();
        let cleaned = clean(&other.text);
        let is_as_it_was = matches!(cleaned, Cow::Borrowed(_));
        self.text.push_str(&cleaned);
        // Where a line or page begins once what is before it is clean.
        let (mut before, mut at) = (0, start);
        for &(mark, number) in &other.marks {
            let mark = other.text.floor_char_boundary(mark);
            let part = &other.text[before..mark];
            at += if is_as_it_was { part.len() } else { clean(part).len() };
            before = mark;
            if self.marks.last().is_none_or(|&(_, last)| last != number) {
                self.marks.push((at, number));
            }
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
    }
}

/// A table, until it ends or turns out to be structure.
struct Table {
    rows: Marked,
    /// Cells of the current row.
    row: Marked,
    cells: usize,
    in_cell: bool,
    /// Cells with headings, lists or tables in them arrange a page; they are read one by one.
    is_layout: bool,
}

/// See the module's documentation.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(crate) struct Flow {
    document: Marked,
    sections: Vec<Section>,
    blocks: Vec<Block>,
    path: HeadingPath,
    /// The block that is being read.
    inline: Marked,
    /// White space is due before the next text.
    space: bool,
    verbatim: bool,
    heading: Option<usize>,
    /// Marker and indentation of the list item that begins next.
    prefix: String,
    in_item: bool,
    last_was_item: bool,
    tables: Vec<Table>,
    /// The line or page of the text that comes.
    number: Option<u32>,
    first_heading: Option<String>,
}

impl Flow {
    /// The text that comes is from this line or page, counted from 1.
    pub fn at(&mut self, number: u32) {
        self.number = Some(number);
    }

    /// Text of the current block; white space is collapsed outside of verbatim text.
    pub fn text(&mut self, text: &str) {
        if self.verbatim {
            self.push(text);
            return;
        }
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
            if word > 0 {
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
        self.inline.text.push_str(text);
    }

    /// A line break inside a block.
    pub fn line_break(&mut self) {
        let in_cell = self.tables.last().is_some_and(|table| table.in_cell && !table.is_layout);
        if self.verbatim {
            self.push("\n");
        } else if self.heading.is_some() || in_cell {
            self.space = true;
        } else if !self.inline.text.is_empty() {
            self.inline.text.push('\n');
            self.space = false;
        }
    }

    /// The current block ends. Within headings and cells it is only white space.
    pub fn end_block(&mut self) {
        let in_cell = self.tables.last().is_some_and(|table| table.in_cell && !table.is_layout);
        if self.heading.is_some() || in_cell {
            self.space = true;
        } else {
            self.flush(BlockKind::Prose);
        }
    }

    /// A list item begins, with its marker, `depth` lists deep (from 1).
    pub fn begin_item(&mut self, depth: usize, marker: &str) {
        self.arranges();
        self.end_block();
        self.prefix = format!("{}{marker} ", "  ".repeat(depth.clamp(1, 8) - 1));
        self.in_item = true;
    }

    /// The current list item ends.
    pub fn end_item(&mut self) {
        self.end_block();
        self.prefix.clear();
        self.in_item = false;
    }

    /// A heading begins; `level` is 1 for the outermost.
    pub fn begin_heading(&mut self, level: usize) {
        self.arranges();
        self.end_heading();
        self.end_block();
        self.prefix.clear();
        self.heading = Some(level);
    }

    /// Whether a heading is open and has text.
    pub fn has_heading(&self) -> bool {
        self.heading.is_some() && !self.inline.text.is_empty()
    }

    /// The current heading ends, if there is one.
    pub fn end_heading(&mut self) {
        let Some(level) = self.heading.take() else { return };
        let title = clean(&self.inline.text);
        match tidy_title(&title) {
            // A long "heading" is a paragraph in large letters.
            Some(_) if title.chars().nth(MAX_TITLE_CHARS).is_some() => self.flush(BlockKind::Prose),
            Some(title) => {
                self.close_section();
                self.separate(Gap::Blank);
                self.document.append(&self.inline);
                self.path.enter(level, Some(title.clone()));
                self.first_heading.get_or_insert(title);
                self.last_was_item = false;
            }
            None => {}
        }
        self.inline.clear();
        self.space = false;
    }

    /// Text to be kept as it is begins: code.
    pub fn begin_verbatim(&mut self) {
        self.arranges();
        self.end_heading();
        self.flush(BlockKind::Prose);
        self.verbatim = true;
    }

    /// Text to be kept as it is ends.
    pub fn end_verbatim(&mut self) {
        if std::mem::take(&mut self.verbatim) {
            // The line break after the opening tag is no part of the text.
            let blank = self.inline.text.len() - self.inline.text.trim_start_matches('\n').len();
            self.inline.text.drain(..blank);
            self.inline.marks.iter_mut().for_each(|mark| mark.0 = mark.0.saturating_sub(blank));
            self.flush(BlockKind::Lines);
        }
    }

    /// A table begins, perhaps inside a cell of another one.
    pub fn begin_table(&mut self) {
        self.arranges();
        self.end_heading();
        self.end_verbatim();
        self.flush(BlockKind::Prose);
        self.tables.push(Table {
            rows: Marked::default(),
            row: Marked::default(),
            cells: 0,
            in_cell: false,
            is_layout: false,
        });
    }

    /// A cell begins; the one before it ends.
    pub fn begin_cell(&mut self) {
        self.end_cell();
        if let Some(table) = self.tables.last_mut() {
            table.in_cell = true;
        }
    }

    /// The current cell ends, if there is one.
    pub fn end_cell(&mut self) {
        self.end_heading();
        self.end_verbatim();
        let Some(table) = self.tables.last_mut().filter(|table| table.in_cell) else { return };
        table.in_cell = false;
        if table.is_layout {
            self.flush(BlockKind::Prose);
            return;
        }
        if table.cells > 0 {
            table.row.text.push_str(" | ");
        }
        table.cells += 1;
        table.row.append(&self.inline);
        self.inline.clear();
        self.space = false;
    }

    /// The current row ends, if there is one.
    pub fn end_row(&mut self) {
        self.end_cell();
        let Some(table) = self.tables.last_mut() else { return };
        table.cells = 0;
        if table.row.text.contains(|c: char| !c.is_whitespace() && c != '|') {
            if !table.rows.text.is_empty() {
                table.rows.text.push('\n');
            }
            let row = std::mem::take(&mut table.row);
            table.rows.append(&row);
        }
        table.row.clear();
    }

    /// The current table ends, if there is one.
    pub fn end_table(&mut self) {
        self.end_row();
        if let Some(table) = self.tables.pop() {
            self.push_block(BlockKind::Lines, &table.rows, Gap::Blank);
        }
    }

    /// What comes is no part of a data cell: the table around it, if any, arranges a page. What it
    /// has so far is put down.
    fn arranges(&mut self) {
        let Some(table) = self.tables.last_mut() else { return };
        if table.is_layout || !table.in_cell {
            return;
        }
        table.is_layout = true;
        let (rows, row) = (std::mem::take(&mut table.rows), std::mem::take(&mut table.row));
        self.push_block(BlockKind::Lines, &rows, Gap::Blank);
        self.push_block(BlockKind::Prose, &row, Gap::Blank);
        self.flush(BlockKind::Prose);
    }

    /// Puts the current block down.
    fn flush(&mut self, kind: BlockKind) {
        if self.heading.is_some() {
            return;
        }
        self.space = false;
        if self.inline.text.trim().is_empty() {
            self.inline.clear();
            return;
        }
        let mut block = std::mem::take(&mut self.inline);
        let gap = if self.in_item && self.last_was_item { Gap::Line } else { Gap::Blank };
        let prefix = std::mem::take(&mut self.prefix);
        if !prefix.is_empty() {
            block.text.insert_str(0, &prefix);
            block.marks.iter_mut().skip(1).for_each(|mark| mark.0 += prefix.len());
        }
        self.push_block(kind, &block, gap);
        self.last_was_item = self.in_item;
    }

    fn push_block(&mut self, kind: BlockKind, block: &Marked, gap: Gap) {
        if block.text.trim().is_empty() {
            return;
        }
        self.separate(gap);
        let start = self.document.text.len();
        self.document.append(block);
        self.last_was_item = false;
        if !self.document.text[start..].trim().is_empty() {
            self.blocks.push(Block { span: start..self.document.text.len(), kind });
        }
    }

    fn separate(&mut self, gap: Gap) {
        let text = &mut self.document.text;
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            text.push_str(if gap == Gap::Line { "\n" } else { "\n\n" });
        }
    }

    fn close_section(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        if !blocks.is_empty() {
            self.sections.push(Section { headings: self.path.titles(), blocks });
        }
    }

    /// The first heading, for a document that has no title.
    pub fn first_heading(&self) -> Option<&str> {
        self.first_heading.as_deref()
    }

    /// Text and structure; `places` says what the numbers given to [`Flow::at`] were.
    pub fn finish(mut self, places: impl FnOnce(Marks) -> Places) -> (String, Structure) {
        self.end_heading();
        self.end_verbatim();
        while !self.tables.is_empty() {
            self.end_table();
        }
        self.flush(BlockKind::Prose);
        self.close_section();
        let structure =
            Structure { sections: Some(self.sections), places: places(self.document.marks) };
        (self.document.text, structure)
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
        let (text, structure) = flow.finish(Places::Pages);
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
        let (text, structure) = flow.finish(Places::Lines);
        let Places::Lines(marks) = structure.places else { panic!("a page has lines") };
        assert_eq!(text, format!("{}\nhai\né ba", "á".repeat(50)));
        assert_eq!(marks[1], (text.find("hai").unwrap(), 2));
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
        let (text, structure) = flow.finish(|_| Places::Nowhere);
        assert_eq!(text, "menu\n\ntrước\n\nTựa\n\nchữ\n\nx\n\ncuối");
        let headings: Vec<_> =
            structure.sections.unwrap().into_iter().map(|s| s.headings).collect();
        assert_eq!(headings, [vec![], vec!["Tựa".to_owned()]]);
    }
}
