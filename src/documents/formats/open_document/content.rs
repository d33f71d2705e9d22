//! The body of an `OpenDocument` file, read as a stream of tags.

use std::collections::HashSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::lists::{Counters, LEVELS, List, Lists};
use super::styles::Styles;
use crate::documents::contents::Extract;
use crate::documents::formats::flow::{Flow, Rows, Script};
use crate::documents::formats::package::{attribute, entity};
use crate::documents::structure::{Marks, Places};

/// Spaces that one tag stands for.
const MAX_SPACES: usize = 64;

/// A document that is being read.
pub(super) struct Content {
    styles: Styles,
    flow: Flow,
    /// Open elements.
    open: Vec<Element>,
    /// Whether what is between tags is text: it is in paragraphs.
    in_text: bool,
    lists: Lists,
    outline: Counters,
    tables: usize,
    /// How many notes, comments or text boxes of a paragraph are open.
    asides: usize,
    /// What those of the current paragraph say, a line a paragraph.
    aside: String,
    /// What comes after the current paragraph.
    pending: Vec<String>,
    slide: u32,
    in_title: bool,
    /// The notes of a slide begin with the next text.
    notes_begin: bool,
    footers: Vec<String>,
}

/// An open element, and how things were before it.
struct Element {
    kind: Kind,
    was_text: bool,
}

enum Kind {
    Other,
    Paragraph,
    List,
    Item,
    Table,
    Row,
    Cell(Vec<List>),
    /// A note, a comment, a text box or another shape within a paragraph.
    Aside {
        lists: Vec<List>,
        is_box: bool,
    },
    SlideTitle,
    /// Text above the line, or below it.
    Raised,
}

impl Content {
    pub fn new(styles: Styles) -> Self {
        Self {
            styles,
            flow: Flow::default(),
            open: Vec::new(),
            in_text: false,
            lists: Lists::default(),
            outline: Counters::default(),
            tables: 0,
            asides: 0,
            aside: String::new(),
            pending: Vec::new(),
            slide: 0,
            in_title: false,
            notes_begin: false,
            footers: Vec::new(),
        }
    }

    /// What stands around the pages of a text, which its master pages have: headers come first, and
    /// footers last. Those of presentations are placeholders.
    pub fn read_around(&mut self, xml: &str) -> quick_xml::Result<()> {
        let Some(start) = xml.find("<office:master-styles") else { return Ok(()) };
        let around = &xml[start..];
        let around = around.split_once("</office:master-styles>").map_or("", |(around, _)| around);
        let mut seen = HashSet::new();
        let (mut line, mut is_header, mut in_text) = (String::new(), None, false);
        let mut left_out = 0_usize;
        let mut reader = Reader::from_str(around);
        reader.config_mut().check_end_names = false;
        loop {
            match reader.read_event()? {
                Event::Eof => return Ok(()),
                Event::Start(tag) => match tag.local_name().as_ref() {
                    _ if left_out > 0 => left_out += 1,
                    "page-number" | "page-count" | "date" | "time" | "file-name" => left_out = 1,
                    "header" | "header-first" | "header-left" => is_header = Some(true),
                    "footer" | "footer-first" | "footer-left" => is_header = Some(false),
                    "p" | "h" => in_text = is_header.is_some(),
                    _ => {}
                },
                Event::Empty(tag) => match tag.local_name().as_ref() {
                    "s" | "tab" | "line-break" => line.push(' '),
                    _ => {}
                },
                Event::End(_) if left_out > 0 => left_out -= 1,
                Event::End(tag) => match tag.local_name().as_ref() {
                    "p" | "h" => {
                        in_text = false;
                        let line = std::mem::take(&mut line);
                        let says_something = line.contains(char::is_alphabetic);
                        if says_something && seen.insert(line.clone()) {
                            self.take_around(line, is_header == Some(true));
                        }
                    }
                    "header" | "header-first" | "header-left" | "footer" | "footer-first"
                    | "footer-left" => is_header = None,
                    _ => {}
                },
                Event::Text(part) if in_text && left_out == 0 => {
                    line.push_str(&part.xml10_content());
                }
                Event::GeneralRef(reference) if in_text && left_out == 0 => {
                    line.push_str(&entity(&reference));
                }
                _ => {}
            }
        }
    }

    fn take_around(&mut self, line: String, is_header: bool) {
        if is_header {
            self.flow.text(&line);
            self.flow.end_block();
        } else {
            self.footers.push(line);
        }
    }

    /// The body of a document or of a flat file.
    pub fn read_body(&mut self, xml: &str) -> quick_xml::Result<()> {
        let mut reader = Reader::from_str(xml);
        let mut in_body = false;
        let mut left_out = 0_usize;
        loop {
            match reader.read_event()? {
                Event::Eof => return Ok(()),
                Event::Start(tag) => {
                    if !in_body {
                        in_body = tag.local_name().as_ref() == "body";
                    } else if left_out > 0 || is_left_out(&tag) {
                        left_out += 1;
                    } else {
                        self.start(&tag);
                    }
                }
                Event::Empty(tag) if in_body && left_out == 0 && !is_left_out(&tag) => {
                    self.start(&tag);
                    self.end();
                }
                Event::End(_) if left_out > 0 => left_out -= 1,
                Event::End(_) if in_body => self.end(),
                Event::Text(part) if self.in_text && left_out == 0 => {
                    self.text(&part.xml10_content());
                }
                Event::CData(part) if self.in_text && left_out == 0 => {
                    self.text(&part.xml10_content());
                }
                Event::GeneralRef(reference) if self.in_text && left_out == 0 => {
                    self.text(&entity(&reference));
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, tag: &BytesStart) {
        let was_text = self.in_text;
        let name = tag.local_name();
        let is_shape = tag.name().prefix().is_some_and(|prefix| prefix.as_ref() == "draw");
        let kind = match name.as_ref() {
            "p" | "h" => {
                self.begin_paragraph(tag);
                Kind::Paragraph
            }
            "s" => {
                let count = attribute(tag, "c").and_then(|count| count.parse().ok()).unwrap_or(1);
                self.text(&" ".repeat(count.min(MAX_SPACES)));
                Kind::Other
            }
            "tab" => {
                self.text(" ");
                Kind::Other
            }
            "line-break" => {
                self.line_break();
                Kind::Other
            }
            "span" => self.span(tag),
            "list" => {
                self.lists.begin(tag);
                Kind::List
            }
            "list-item" | "list-header" => {
                self.lists.begin_item(tag);
                Kind::Item
            }
            "note" | "annotation" if was_text => self.begin_aside(false),
            _ if is_shape && was_text => self.begin_aside(true),
            "table" => {
                self.begin_table();
                Kind::Table
            }
            "table-row" => {
                self.begin_row();
                Kind::Row
            }
            "table-cell" => {
                self.begin_cell(tag);
                Kind::Cell(self.lists.set_aside())
            }
            "page" => {
                self.begin_slide();
                Kind::Other
            }
            "notes" => {
                self.notes_begin = true;
                Kind::Other
            }
            "frame" if attribute(tag, "class").as_deref() == Some("title") => {
                self.in_title = true;
                Kind::SlideTitle
            }
            _ => Kind::Other,
        };
        self.open.push(Element { kind, was_text });
    }

    fn end(&mut self) {
        let Some(Element { kind, was_text }) = self.open.pop() else { return };
        self.in_text = was_text;
        match kind {
            Kind::Other => {}
            Kind::Paragraph => self.end_paragraph(),
            Kind::List => self.lists.end(),
            Kind::Item => {
                self.lists.end_item();
                if self.asides == 0 && self.tables == 0 {
                    self.flow.end_item();
                }
            }
            Kind::Table => self.end_table(),
            Kind::Row => self.end_row(),
            Kind::Cell(lists) => {
                self.lists.bring_back(lists);
                self.end_cell();
            }
            Kind::Aside { lists, is_box } => {
                self.lists.bring_back(lists);
                self.end_aside(is_box);
            }
            Kind::SlideTitle => {
                self.in_title = false;
                self.flow.end_heading();
            }
            Kind::Raised => self.flow.end_script(),
        }
    }

    fn span(&mut self, tag: &BytesStart) -> Kind {
        let style = attribute(tag, "style-name").unwrap_or_default();
        match self.styles.raised(&style) {
            Some(is_raised) if self.asides == 0 && self.in_text => {
                self.flow.begin_script(if is_raised { Script::Super } else { Script::Sub });
                Kind::Raised
            }
            _ => Kind::Other,
        }
    }

    fn text(&mut self, text: &str) {
        if self.asides > 0 {
            self.aside.push_str(text);
        } else {
            self.flow.text(text);
        }
    }

    fn line_break(&mut self) {
        if self.asides > 0 {
            self.aside.push('\n');
        } else {
            self.flow.line_break();
        }
    }

    fn begin_paragraph(&mut self, tag: &BytesStart) {
        self.in_text = true;
        let is_heading = tag.local_name().as_ref() == "h";
        let style = attribute(tag, "style-name").unwrap_or_default();
        let level = attribute(tag, "outline-level").and_then(|level| level.parse().ok());
        let level: usize = level.unwrap_or(1).clamp(1, LEVELS);
        let levels = self.styles.list(self.lists.style());
        let mut marker = self.lists.marker(levels);
        if is_heading && self.lists.depth() == 0 {
            marker = self.heading_number(tag, &style, level);
        }
        if self.asides == 0 && std::mem::take(&mut self.notes_begin) {
            self.flow.text("Notes: ");
        }
        let is_title = self.styles.is_title(&style) && self.slide == 0;
        if self.asides > 0 || self.tables > 0 {
            // In boxes and cells, headings and list items are mere text.
            if let Some(marker) = marker {
                self.text(&format!("{marker} "));
            }
        } else if is_heading || is_title || self.in_title {
            if !(self.in_title && self.flow.has_heading()) {
                self.flow.begin_heading(if is_heading { level } else { 1 });
            }
            if let Some(marker) = marker.filter(|marker| marker != "-") {
                self.flow.text(&format!("{marker} "));
            }
        } else if let Some(marker) = marker {
            self.flow.begin_item(self.lists.depth(), &marker);
        }
    }

    fn heading_number(&mut self, tag: &BytesStart, style: &str, level: usize) -> Option<String> {
        let is_bare = attribute(tag, "is-list-header").as_deref() == Some("true");
        if is_bare || !self.styles.is_numbered(style) {
            return None;
        }
        let start = attribute(tag, "start-value").and_then(|start| start.parse().ok());
        self.outline.next(&self.styles.outline, level - 1, start)
    }

    fn end_paragraph(&mut self) {
        if self.asides > 0 {
            self.aside.push('\n');
            return;
        }
        if !self.in_title {
            self.flow.end_heading();
        }
        self.flow.end_block();
        for aside in std::mem::take(&mut self.pending) {
            for line in aside.lines() {
                self.flow.text(line);
                self.flow.end_block();
            }
        }
    }

    fn begin_aside(&mut self, is_box: bool) -> Kind {
        self.in_text = false;
        self.asides += 1;
        if !self.aside.is_empty() {
            self.aside.push(' ');
        }
        if !is_box {
            self.aside.push('(');
        }
        Kind::Aside { lists: self.lists.set_aside(), is_box }
    }

    fn end_aside(&mut self, is_box: bool) {
        self.asides -= 1;
        if !is_box {
            self.aside.truncate(self.aside.trim_end().len());
            self.aside.push(')');
        }
        if self.asides == 0 {
            let aside = std::mem::take(&mut self.aside);
            if aside.contains(char::is_alphanumeric) {
                self.pending.push(aside);
            }
        }
    }

    fn begin_table(&mut self) {
        self.tables += 1;
        if self.asides == 0 && self.tables == 1 {
            self.flow.begin_table();
        }
    }

    fn begin_row(&mut self) {
        if self.asides == 0 && self.tables == 1 {
            self.flow.begin_row();
        }
    }

    fn begin_cell(&mut self, tag: &BytesStart) {
        // A table within a cell is read as the cell's text.
        if self.asides == 0 && self.tables == 1 {
            let number = |name: &str| attribute(tag, name).and_then(|value| value.parse().ok());
            self.flow.begin_cell();
            self.flow.set_cell_columns(number("number-columns-spanned").unwrap_or(1));
            self.flow.set_cell_rows(Rows::Count(number("number-rows-spanned").unwrap_or(1).max(1)));
        }
    }

    fn end_cell(&mut self) {
        if self.asides > 0 {
            self.aside.truncate(self.aside.trim_end().len());
            self.aside.push_str(" | ");
        } else if self.tables == 1 {
            self.flow.end_cell();
        }
    }

    fn end_row(&mut self) {
        if self.asides > 0 {
            self.aside.push('\n');
        } else if self.tables == 1 {
            self.flow.end_row();
        }
    }

    fn end_table(&mut self) {
        self.tables = self.tables.saturating_sub(1);
        if self.asides == 0 && self.tables == 0 {
            self.flow.end_table();
        }
    }

    fn begin_slide(&mut self) {
        self.slide = self.slide.saturating_add(1);
        self.notes_begin = false;
        self.flow.leave_headings();
        self.flow.at(self.slide);
    }

    pub fn has_slides(&self) -> bool {
        self.slide > 0
    }

    pub fn finish(mut self, places: impl FnOnce(Marks) -> Places) -> Extract {
        for footer in std::mem::take(&mut self.footers) {
            self.flow.text(&footer);
            self.flow.end_block();
        }
        self.flow.finish(places)
    }
}

/// Deleted text, lists of contents, placeholders of slides, and programs.
fn is_left_out(tag: &BytesStart) -> bool {
    match tag.local_name().as_ref() {
        "tracked-changes" | "covered-table-cell" | "table-of-content" | "illustration-index"
        | "table-index" | "object-index" | "user-index" | "alphabetical-index" | "binary-data"
        | "scripts" | "script" | "forms" | "note-citation" | "ruby-text" => true,
        "frame" | "custom-shape" => matches!(
            attribute(tag, "class").as_deref(),
            Some("page-number" | "date-time" | "footer" | "header")
        ),
        _ => false,
    }
}
