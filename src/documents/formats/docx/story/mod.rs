//! Reads a story of a Word document: the text itself, its notes, a header. Each is a stream of
//! tags, of which a stack says what is open; no depth of nesting costs more than its bytes.
//!
//! What is not in the printed text is left out: deleted and moved text, field codes, tables of
//! contents, the old copies of drawings.

mod content;

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};

use super::MAX_NAMED;
use super::fields::{self, Fields};
use super::frame::{Frame, Passage};
use super::math::Math;
use super::numbering::Numbering;
use super::pages::Pages;
use super::sections;
use super::styles::Styles;
use crate::documents::contents::Extract;
use crate::documents::formats::flow::Flow;
use crate::documents::formats::package::{attribute, entity, lenient};

/// Elements within one another. Of what is nested deeper, only the text is read.
const MAX_DEPTH: usize = 1 << 14;
/// Text boxes within text boxes. What is nested deeper is text of the one around it.
const MAX_FRAMES: usize = 16;
/// Stands for what is told from page to page, until its paragraph ends.
pub(super) const RUNNING: char = '\u{f8ff}';

/// What the parts of a document say that its stories refer to, each by its id. What was put down is
/// removed: a hostile story could refer to one a million times.
#[derive(Default)]
pub(super) struct Parts {
    pub styles: Styles,
    pub numbering: Numbering,
    /// Notes and comments as they stand behind their paragraph, by the name of the element that
    /// refers to them and their id.
    pub notes: HashMap<String, String>,
    /// Headers, footers, diagrams and charts.
    pub passages: HashMap<String, Vec<Passage>>,
    /// Embedded documents.
    pub documents: HashMap<String, Extract>,
    /// Its title, which headers often repeat.
    pub title: Option<String>,
}

/// Which of a document's stories is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Body,
    /// All footnotes, endnotes or comments.
    Notes,
    /// A header or a footer.
    Margin,
}

/// A story that is being read.
pub(super) struct Story<'p> {
    kind: Kind,
    parts: &'p mut Parts,
    /// What is open, the innermost last.
    open: Vec<Element>,
    /// Open elements of which nothing is read.
    left_out: usize,
    /// Whose properties are being read.
    properties: Properties,
    /// Open alternatives, and whether one was taken.
    alternatives: Vec<bool>,
    frame: Frame,
    /// What is around the text box that is being read.
    around: Vec<Frame>,
    pages: Pages,
    fields: Fields,
    math: Math,
    /// Open elements whose text is not read.
    muted: usize,
    /// The small letters above a word, while they are read or until the word has ended.
    ruby: Option<String>,
    in_ruby: bool,
    /// Notes that were read, by id, and the id of the one that is being read.
    notes: HashMap<String, String>,
    note: String,
    /// A section has ended with the current paragraph.
    section_ends: bool,
    /// Texts of headers and footers so far.
    margins: HashSet<String>,
    objects: Vec<String>,
}

/// What an open element means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Other,
    Paragraph,
    /// A paragraph within a paragraph: text of a drawing.
    BoxedParagraph,
    Box,
    Text,
    Instruction,
    /// These were read before.
    Properties(Properties),
    Alternatives,
    Table,
    Row,
    Cell,
    Note,
    /// A content control.
    Control,
    Muted,
    /// A formula, or a part of one.
    Math,
    /// Formulas on lines of their own.
    Formulas,
    Ruby,
    RubyBase,
}

/// Whose properties an element is among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Properties {
    None,
    Paragraph,
    /// The mark that ends a paragraph.
    Mark,
    Run,
    Cell,
    Row,
    Control,
    Form,
    Other,
}

/// What was read of a story.
pub(super) struct Told {
    pub flow: Flow,
    pub pages_are_recorded: bool,
    pub notes: HashMap<String, String>,
    /// Damaged XML has not ended it.
    pub is_whole: bool,
    /// Objects of other programs, of which only their pictures are seen.
    pub objects: Vec<String>,
}

impl<'p> Story<'p> {
    /// Reads a story.
    pub fn read(kind: Kind, xml: &str, parts: &'p mut Parts) -> Told {
        let mut story = Self {
            kind,
            parts,
            open: Vec::new(),
            left_out: 0,
            properties: Properties::None,
            alternatives: Vec::new(),
            frame: Frame::default(),
            around: Vec::new(),
            pages: Pages::default(),
            fields: Fields::default(),
            math: Math::default(),
            muted: 0,
            ruby: None,
            in_ruby: false,
            notes: HashMap::new(),
            note: String::new(),
            section_ends: false,
            margins: HashSet::new(),
            objects: Vec::new(),
        };
        let is_whole = story.read_all(xml);
        while let Some(element) = story.open.pop() {
            story.end(element);
        }
        story.close_paragraph();
        Told {
            flow: story.frame.flow,
            pages_are_recorded: story.pages.are_recorded,
            notes: story.notes,
            is_whole,
            objects: story.objects,
        }
    }

    fn read_all(&mut self, xml: &str) -> bool {
        if self.kind == Kind::Body {
            self.frame.flow.at(1);
            self.put_margins(sections::next(xml), xml);
        }
        let mut reader = lenient(xml);
        loop {
            match reader.read_event() {
                Ok(Event::Eof) => return self.open.is_empty() && self.left_out == 0,
                Err(_) => return false,
                Ok(Event::Start(tag)) => {
                    let name = tag.local_name();
                    if self.left_out > 0 || self.leaves_out(name.as_ref(), false) {
                        self.left_out += 1;
                    } else {
                        let element = self.begin(name.as_ref(), &tag);
                        self.open.push(element);
                    }
                }
                Ok(Event::Empty(tag)) => {
                    let name = tag.local_name();
                    if self.left_out == 0 && !self.leaves_out(name.as_ref(), true) {
                        let element = self.begin(name.as_ref(), &tag);
                        self.end(element);
                    }
                }
                Ok(Event::End(_)) if self.left_out > 0 => self.left_out -= 1,
                Ok(Event::End(_)) => {
                    if let Some(element) = self.open.pop() {
                        self.end(element);
                    }
                }
                Ok(Event::Text(part)) => self.characters(&part.xml10_content()),
                Ok(Event::CData(part)) => self.characters(&part.xml10_content()),
                Ok(Event::GeneralRef(reference)) => self.characters(&entity(&reference)),
                Ok(_) => {}
            }
            if self.section_ends && !self.frame.is_in_paragraph() {
                self.section_ends = false;
                let position = usize::try_from(reader.buffer_position()).unwrap_or(xml.len());
                let section = sections::next(xml.get(position..).unwrap_or_default());
                if section.as_ref().is_some_and(|section| section.on_new_page) {
                    self.pages.break_page();
                }
                self.put_margins(section, xml);
            }
        }
    }

    /// Whether an element is not in the printed text.
    fn leaves_out(&mut self, name: &str, is_empty: bool) -> bool {
        match name {
            // Beside a paragraph's mark or a row they say that these were deleted.
            "del" | "moveFrom" => self.properties == Properties::None,
            "delText" | "delInstrText" => true,
            "Choice" => match self.alternatives.last_mut() {
                Some(is_taken) => std::mem::replace(is_taken, *is_taken || !is_empty),
                None => false,
            },
            "Fallback" => self.alternatives.last() == Some(&true),
            "tc" => self.frame.row_is_deleted,
            // How something was before somebody changed it.
            name => self.properties != Properties::None && name.ends_with("Change"),
        }
    }

    /// Characters between two tags.
    fn characters(&mut self, text: &str) {
        match self.open.last() {
            _ if self.left_out > 0 => {}
            Some(Element::Text) => self.text(text),
            Some(Element::Instruction) => self.fields.instruction(text),
            _ => {}
        }
    }

    fn begin(&mut self, name: &str, tag: &BytesStart) -> Element {
        if self.properties != Properties::None {
            return self.begin_property(name, tag);
        }
        match name {
            "t" => Element::Text,
            _ if self.open.len() > MAX_DEPTH => Element::Other,
            "oMath" if !self.math.is_open() => {
                self.math.begin();
                Element::Math
            }
            _ if self.math.is_open() && self.math.start(name, tag) => Element::Math,
            "oMathPara" => Element::Formulas,
            "instrText" => Element::Instruction,
            "pPr" => self.enter(Properties::Paragraph),
            "rPr" => self.enter(Properties::Run),
            "tcPr" => self.enter(Properties::Cell),
            "trPr" => self.enter(Properties::Row),
            "sdtPr" => self.enter(Properties::Control),
            "ffData" => self.enter(Properties::Form),
            "tblPr" | "tblGrid" | "tblPrEx" | "sectPr" | "ctrlPr" | "rubyPr" => {
                self.enter(Properties::Other)
            }
            "AlternateContent" => {
                self.alternatives.push(false);
                Element::Alternatives
            }
            _ => match self.begin_block(name, tag) {
                Element::Other => self.begin_inline(name, tag),
                element => element,
            },
        }
    }

    fn enter(&mut self, properties: Properties) -> Element {
        Element::Properties(std::mem::replace(&mut self.properties, properties))
    }

    /// What a paragraph, a run, a cell, … says about itself.
    fn begin_property(&mut self, name: &str, tag: &BytesStart) -> Element {
        let value = || attribute(tag, "val");
        match (self.properties, name) {
            (Properties::Paragraph, "rPr") => return self.enter(Properties::Mark),
            (Properties::Paragraph, "sectPr") => {
                self.section_ends = self.around.is_empty();
                return self.enter(Properties::Other);
            }
            // A large first letter is a paragraph of its own, though it begins a word of the next.
            (Properties::Paragraph, "framePr") if is_drop_cap(tag) => {
                self.frame.join_next();
            }
            (Properties::Paragraph, "pStyle") => self.frame.set_style(value()),
            (Properties::Paragraph, _) => {
                self.frame.set_property(name, &value().unwrap_or_default());
            }
            (Properties::Mark, "del" | "moveFrom") => self.frame.join_next(),
            (Properties::Run, "vertAlign" | "rStyle" | "rFonts") => {
                let font = ["ascii", "hAnsi", "cs"].iter().find_map(|name| attribute(tag, name));
                self.frame.set_run(name, value().or(font), &self.parts.styles);
            }
            (Properties::Row, "del") => self.frame.row_is_deleted = true,
            (Properties::Row, "tblHeader") if sections::is_on(tag) => self.frame.set_header_row(),
            (Properties::Row, "gridBefore") => self.frame.skip_columns(value()),
            (Properties::Cell, "gridSpan" | "vMerge") => {
                self.frame.set_cell(name, value());
            }
            (Properties::Control, "docPartGallery")
                if value().is_some_and(|gallery| gallery.contains("Table of Contents")) =>
            {
                self.mute_control();
            }
            (Properties::Form, _) => self.fields.set_form(name, value()),
            _ => {}
        }
        Element::Other
    }

    /// Leaves out the content of the content control whose properties these are.
    fn mute_control(&mut self) {
        let near = self.open.iter_mut().rev().take(4);
        if let Some(control) = near.into_iter().find(|element| **element == Element::Control) {
            *control = Element::Muted;
            self.muted += 1;
        }
    }

    fn begin_block(&mut self, name: &str, tag: &BytesStart) -> Element {
        match name {
            "p" if self.frame.is_in_paragraph() && self.around.len() < MAX_FRAMES => {
                self.begin_box();
                self.begin_paragraph();
                Element::BoxedParagraph
            }
            "p" => {
                self.begin_paragraph();
                Element::Paragraph
            }
            "txbxContent" if self.around.len() < MAX_FRAMES => {
                self.begin_box();
                Element::Box
            }
            "tbl" => {
                self.close_paragraph();
                self.frame.begin_table();
                Element::Table
            }
            "tr" => {
                self.pages.begin_row();
                self.frame.begin_row();
                Element::Row
            }
            "tc" => {
                self.pages.begin_cell();
                self.frame.begin_cell();
                Element::Cell
            }
            "sdt" => Element::Control,
            "altChunk" => {
                self.close_paragraph();
                let document = attribute(tag, "id").and_then(|id| self.parts.documents.remove(&id));
                if let Some(document) = document {
                    self.frame.put_document(&document);
                }
                Element::Other
            }
            "footnote" | "endnote" | "comment"
                if self.kind == Kind::Notes && self.around.is_empty() =>
            {
                self.begin_note(tag);
                Element::Note
            }
            _ => Element::Other,
        }
    }

    fn begin_inline(&mut self, name: &str, tag: &BytesStart) -> Element {
        match name {
            "r" => self.frame.begin_run(),
            "tab" | "ptab" => self.space(),
            "br" | "cr" => {
                if attribute(tag, "type").is_some_and(|kind| kind == "page") && self.is_body() {
                    self.pages.break_page();
                }
                self.line_break();
            }
            "lastRenderedPageBreak" if self.is_body() => self.pages.record(),
            "noBreakHyphen" => self.text("-"),
            "sym" => self.sign(tag),
            "fldChar" => self.field(&attribute(tag, "fldCharType").unwrap_or_default()),
            "fldSimple" => {
                let instruction = attribute(tag, "instr").unwrap_or_default();
                if self.kind == Kind::Margin && fields::is_running(&instruction) {
                    self.text(&RUNNING.to_string());
                    return self.mute();
                }
            }
            "hyperlink" if self.fields.is_contents() && leads_to_heading(tag) => {
                return self.mute();
            }
            "footnoteReference" | "endnoteReference" | "commentReference" => self.note(name, tag),
            "docPr" | "shape" | "rect" | "textpath" => self.picture(name, tag),
            "chart" | "relIds" => {
                let id = attribute(tag, "dm").or_else(|| attribute(tag, "id"));
                let passages = id.and_then(|id| self.parts.passages.remove(&id));
                self.frame.put_after(passages.unwrap_or_default());
            }
            "OLEObject" if self.objects.len() < MAX_NAMED => {
                self.objects.push(attribute(tag, "ProgID").unwrap_or_default());
            }
            "rt" if !self.in_ruby => {
                (self.ruby, self.in_ruby) = (Some(String::new()), true);
                return Element::Ruby;
            }
            "rubyBase" => return Element::RubyBase,
            _ => {}
        }
        Element::Other
    }

    fn end(&mut self, element: Element) {
        match element {
            Element::Other
            | Element::Text
            | Element::Instruction
            | Element::Control
            | Element::Formulas => {}
            Element::Properties(before) => self.properties = before,
            Element::Alternatives => drop(self.alternatives.pop()),
            Element::Muted => self.muted -= 1,
            Element::Paragraph => self.end_paragraph(),
            Element::BoxedParagraph => {
                self.end_paragraph();
                self.end_box();
            }
            Element::Box => self.end_box(),
            Element::Table => {
                self.close_paragraph();
                self.frame.end_table();
            }
            Element::Row => {
                self.pages.end_row();
                self.frame.end_row();
            }
            Element::Cell => {
                self.close_paragraph();
                self.pages.end_cell();
                self.frame.end_cell();
            }
            Element::Note => self.end_note(),
            Element::Math => {
                if let Some(formula) = self.math.end() {
                    self.text(&formula);
                    if self.open.last() == Some(&Element::Formulas) {
                        self.space();
                    }
                }
            }
            Element::Ruby => self.in_ruby = false,
            Element::RubyBase => {
                if let Some(ruby) = self.ruby.take().filter(|ruby| !ruby.is_empty()) {
                    self.text(&format!("({ruby})"));
                }
            }
        }
    }

    fn is_body(&self) -> bool {
        self.kind == Kind::Body && self.around.is_empty()
    }

    fn mute(&mut self) -> Element {
        self.muted += 1;
        Element::Muted
    }
}

/// Whether a link is to a heading, as those of a table of contents are.
fn leads_to_heading(tag: &BytesStart) -> bool {
    attribute(tag, "anchor").is_some_and(|anchor| anchor.starts_with("_Toc"))
}

/// Whether a paragraph is a large first letter.
fn is_drop_cap(tag: &BytesStart) -> bool {
    attribute(tag, "dropCap").is_some_and(|kind| kind != "none")
}
