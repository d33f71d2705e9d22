//! What a story is being written to: the document itself, or a text box, whose paragraphs are no
//! part of the paragraph around it.

use super::LEVELS;
use super::numbering::Numbering;
use super::styles::{Position, Style, Styles};
use super::symbols;
use crate::documents::contents::Extract;
use crate::documents::formats::flow::{Flow, Rows, Script};
use crate::documents::section::BlockKind;
use crate::documents::structure::Places;

/// A piece of text that is put down somewhere else than where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub kind: BlockKind,
    pub text: String,
}

impl Passage {
    pub fn prose(text: String) -> Self {
        Self { kind: BlockKind::Prose, text }
    }

    pub fn lines(text: String) -> Self {
        Self { kind: BlockKind::Lines, text }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Frame {
    pub flow: Flow,
    paragraph: Option<Paragraph>,
    /// A paragraph that the next one goes on with, because its mark was deleted.
    joined: Option<Paragraph>,
    run: Run,
    /// The text so far ends above or below the line.
    position: Option<Position>,
    /// Open tables.
    tables: usize,
    /// The current row was deleted.
    pub row_is_deleted: bool,
}

/// The paragraph that is being read.
#[derive(Default)]
struct Paragraph {
    style: Option<String>,
    /// What it says about itself.
    own: Style,
    text: Text,
    joins_next: bool,
    /// What is put down after it.
    after: Vec<Passage>,
}

/// What a paragraph's text is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// There is none yet.
    #[default]
    None,
    Block,
    Item,
    /// A line of a table of contents.
    Contents,
}

/// How the text that follows looks.
#[derive(Default)]
struct Run {
    font: Option<String>,
    position: Option<Position>,
}

impl Frame {
    pub fn is_in_paragraph(&self) -> bool {
        self.paragraph.is_some()
    }

    pub fn begin_paragraph(&mut self) {
        self.run = Run::default();
        let mut paragraph = self.joined.take();
        match &mut paragraph {
            Some(paragraph) => paragraph.joins_next = false,
            None => self.flow.end_block(),
        }
        self.paragraph = Some(paragraph.unwrap_or_default());
    }

    pub fn set_style(&mut self, id: Option<String>) {
        if let Some(paragraph) = &mut self.paragraph {
            paragraph.style = id;
        }
    }

    /// What the paragraph says about itself.
    pub fn set_property(&mut self, name: &str, value: &str) {
        if let Some(paragraph) = &mut self.paragraph {
            paragraph.own.set(name, value);
        }
    }

    /// The next paragraph goes on with this one.
    pub fn join_next(&mut self) {
        if let Some(paragraph) = &mut self.paragraph {
            paragraph.joins_next = true;
        }
    }

    pub fn begin_run(&mut self) {
        self.run = Run::default();
    }

    /// How the run's text looks.
    pub fn set_run(&mut self, property: &str, value: Option<String>, styles: &Styles) {
        match property {
            "rFonts" => self.run.font = value,
            "rStyle" => self.run.position = styles.get(value.as_deref()).position,
            "vertAlign" => self.run.position = value.as_deref().map(Position::named),
            _ => {}
        }
    }

    /// Called before each text. Whether it is text of the document: lines of a table of contents
    /// are not. At the first text of a paragraph all is known that it says about itself.
    pub fn begin_text(
        &mut self,
        styles: &Styles,
        numbering: &mut Numbering,
        is_outline: bool,
    ) -> bool {
        let Some(paragraph) = self.paragraph.as_mut() else { return true };
        if paragraph.text != Text::None {
            return paragraph.text != Text::Contents;
        }
        paragraph.text = Text::Block;
        let style = paragraph.own.or(&styles.get(paragraph.style.as_deref()));
        if style.is_contents {
            paragraph.text = Text::Contents;
            return false;
        }
        let (level, marker) = paragraph.marker(&style, numbering);
        let heading = style.heading().filter(|_| is_outline && self.tables == 0);
        if let Some(level) = heading {
            self.flow.begin_heading(level);
        }
        match marker {
            Some(marker) if heading.is_none() && self.tables == 0 => {
                paragraph.text = Text::Item;
                self.flow.begin_item(level.min(LEVELS) + 1, &marker);
            }
            // In cells, list items are mere text.
            Some(marker) if heading.is_none() || marker != "-" => {
                self.flow.text(&format!("{marker} "));
            }
            _ => {}
        }
        true
    }

    /// Numbers a paragraph without text: Word does.
    pub fn count_item(&mut self, styles: &Styles, numbering: &mut Numbering) {
        if let Some(paragraph) = &self.paragraph
            && paragraph.text == Text::None
            && !paragraph.joins_next
        {
            let style = paragraph.own.or(&styles.get(paragraph.style.as_deref()));
            paragraph.marker(&style, numbering);
        }
    }

    pub fn write(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.set_position(self.run.position.filter(|position| *position != Position::OnLine));
        }
        let font = self.run.font.as_deref().unwrap_or_default();
        match symbols::readable(font, text) {
            Some(readable) => self.flow.text(&readable),
            None => self.flow.text(text),
        }
    }

    /// Runs one after the other that are raised are one raised text.
    fn set_position(&mut self, position: Option<Position>) {
        if position == self.position {
            return;
        }
        if self.position.is_some() {
            self.flow.end_script();
        }
        if let Some(position) = position {
            let is_above = position == Position::Above;
            self.flow.begin_script(if is_above { Script::Super } else { Script::Sub });
        }
        self.position = position;
    }

    pub fn end_paragraph(&mut self) {
        let Some(paragraph) = self.paragraph.take() else { return };
        self.set_position(None);
        if paragraph.joins_next && paragraph.text != Text::None {
            self.joined = Some(paragraph);
        } else {
            self.finish(paragraph);
        }
    }

    /// Nothing follows that a paragraph whose mark was deleted could be joined with.
    pub fn finish_joined(&mut self) {
        if let Some(paragraph) = self.joined.take() {
            self.finish(paragraph);
        }
    }

    fn finish(&mut self, paragraph: Paragraph) {
        self.flow.end_heading();
        if paragraph.text == Text::Item {
            self.flow.end_item();
        } else {
            self.flow.end_block();
        }
        self.put_down(paragraph.after);
    }

    /// Puts passages down after the current paragraph, or here if there is none.
    pub fn put_after(&mut self, passages: impl IntoIterator<Item = Passage>) {
        match &mut self.paragraph {
            Some(paragraph) => paragraph.after.extend(passages),
            None => self.put_down(passages),
        }
    }

    pub fn put_down(&mut self, passages: impl IntoIterator<Item = Passage>) {
        for passage in passages {
            let keeps_lines = passage.kind != BlockKind::Prose && self.tables == 0;
            if keeps_lines {
                self.flow.begin_verbatim();
            }
            self.flow.text(&passage.text);
            if keeps_lines {
                self.flow.end_verbatim();
            } else {
                self.flow.end_block();
            }
        }
    }

    /// Puts down a document that is embedded in this one.
    pub fn put_document(&mut self, document: &Extract) {
        self.flow.put_extract(document);
    }

    pub fn begin_table(&mut self) {
        self.tables += 1;
        self.flow.begin_table();
    }

    pub fn begin_row(&mut self) {
        self.row_is_deleted = false;
        self.flow.begin_row();
    }

    /// The row is repeated at the top of each page that the table is on.
    pub fn set_header_row(&mut self) {
        self.flow.header_row();
    }

    /// The row begins only behind some columns.
    pub fn skip_columns(&mut self, count: Option<String>) {
        let columns = number(count);
        if columns > 0 {
            self.flow.begin_cell();
            self.flow.set_cell_columns(columns);
            self.flow.end_cell();
        }
    }

    pub fn begin_cell(&mut self) {
        self.flow.begin_cell();
    }

    /// What the cell covers.
    pub fn set_cell(&mut self, property: &str, value: Option<String>) {
        match property {
            "gridSpan" => self.flow.set_cell_columns(number(value)),
            "vMerge" => {
                let is_first = value.is_some_and(|value| value == "restart");
                self.flow.set_cell_rows(if is_first { Rows::First } else { Rows::Again });
            }
            _ => {}
        }
    }

    pub fn end_cell(&mut self) {
        self.flow.end_cell();
    }

    pub fn end_row(&mut self) {
        self.row_is_deleted = false;
        self.flow.end_row();
    }

    pub fn end_table(&mut self) {
        self.tables = self.tables.saturating_sub(1);
        self.flow.end_table();
    }

    /// All that was written, as passages for another place.
    pub fn passages(self) -> Vec<Passage> {
        passages(&self.flow.finish(|_| Places::Nowhere))
    }
}

/// The blocks of a text and the headings between them.
pub(super) fn passages(extract: &Extract) -> Vec<Passage> {
    let text = extract.text.as_str();
    let mut passages = Vec::new();
    let mut add = |kind, text: &str| {
        if !text.trim().is_empty() {
            passages.push(Passage { kind, text: text.trim().to_owned() });
        }
    };
    let mut at = 0;
    let sections = extract.structure.sections.iter().flatten();
    for block in sections.flat_map(|section| &section.blocks) {
        add(BlockKind::Prose, &text[at..block.span.start]);
        add(block.kind, &text[block.span.clone()]);
        at = block.span.end;
    }
    add(BlockKind::Prose, &text[at..]);
    passages
}

fn number(value: Option<String>) -> usize {
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

impl Paragraph {
    /// The paragraph's level in its list, and what is printed before it.
    fn marker(&self, style: &Style, numbering: &mut Numbering) -> (usize, Option<String>) {
        let Some(list) = style.list else { return (0, None) };
        let of_style = || numbering.level_of_style(list, self.style.as_deref()?);
        let level = style.level.or_else(of_style).unwrap_or(0);
        (level, numbering.marker(list, level))
    }
}
