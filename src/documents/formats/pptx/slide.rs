//! One slide, or the notes to it, read as a stream of tags.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::chart;
use crate::documents::formats::flow::{Flow, Rows, Script};
use crate::documents::formats::numerals::numeral;
use crate::documents::formats::package::{attribute, entity};

/// Different footers in one presentation.
pub(super) const MAX_FOOTERS: usize = 64;
/// Levels of text in a shape.
const LEVELS: usize = 9;

/// Charts and diagrams, by the relations that a slide calls them.
pub(super) type Graphics = HashMap<String, String>;

/// A slide that is being read.
#[expect(clippy::struct_excessive_bools, reason = "what is open at a point of the file")]
pub(super) struct Slide<'s> {
    flow: &'s mut Flow,
    graphics: &'s Graphics,
    shape: Shape,
    is_notes: bool,
    /// The text of the notes has begun.
    has_begun: bool,
    /// Open elements whose content is not read.
    left_out: usize,
    tables: usize,
    in_text: bool,
    in_number: bool,
    is_script: bool,
    paragraph: Paragraph,
    /// The numbers of the last items on each level of the shape.
    numbers: [u32; LEVELS],
    footer: String,
    footers: Vec<String>,
}

/// What a shape is on its slide.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A text box, or another shape with text.
    Box,
    /// The list of the slide's points.
    Points,
    Subtitle,
    Footer,
    /// The title, which was read before, or a placeholder.
    LeftOut,
}

/// What a paragraph says about itself.
#[derive(Default)]
struct Paragraph {
    level: usize,
    bullet: Bullet,
    has_begun: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Bullet {
    /// As its shape has it.
    #[default]
    Usual,
    None,
    Sign,
    Number {
        format: String,
        start: Option<u32>,
    },
}

impl Shape {
    /// By the type of a placeholder.
    fn of(kind: &str, is_notes: bool) -> Self {
        match kind {
            "title" | "ctrTitle" | "sldNum" | "dt" | "sldImg" => Self::LeftOut,
            "hdr" | "ftr" if is_notes => Self::LeftOut,
            "hdr" | "ftr" => Self::Footer,
            "subTitle" => Self::Subtitle,
            _ if is_notes => Self::Box,
            _ => Self::Points,
        }
    }
}

/// The title of a slide, wherever on it the shape stands that has it.
pub(super) fn title(xml: &str) -> quick_xml::Result<Option<String>> {
    let (mut title, mut in_title, mut in_text, mut left_out) = (String::new(), false, false, 0);
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok((!title.trim().is_empty()).then_some(title)),
            Event::Start(tag) => match tag.local_name().as_ref() {
                "Fallback" => left_out += 1,
                "sp" => in_title = false,
                "ph" => in_title |= is_title(&tag),
                "t" => in_text = in_title && left_out == 0,
                _ => {}
            },
            Event::Empty(tag) => match tag.local_name().as_ref() {
                "ph" => in_title |= is_title(&tag),
                "br" if in_title => title.push(' '),
                _ => {}
            },
            Event::Text(part) if in_text => title.push_str(&part.xml10_content()),
            Event::GeneralRef(part) if in_text => title.push_str(&entity(&part)),
            Event::End(tag) => match tag.local_name().as_ref() {
                "Fallback" => left_out -= 1,
                "t" => in_text = false,
                "p" if in_title => title.push(' '),
                "sp" => in_title = false,
                _ => {}
            },
            _ => {}
        }
    }
}

fn is_title(placeholder: &BytesStart) -> bool {
    matches!(attribute(placeholder, "type").as_deref(), Some("title" | "ctrTitle"))
}

impl<'s> Slide<'s> {
    pub fn new(flow: &'s mut Flow, graphics: &'s Graphics) -> Self {
        Self {
            flow,
            graphics,
            shape: Shape::Box,
            is_notes: false,
            has_begun: false,
            left_out: 0,
            tables: 0,
            in_text: false,
            in_number: false,
            is_script: false,
            paragraph: Paragraph::default(),
            numbers: [0; LEVELS],
            footer: String::new(),
            footers: Vec::new(),
        }
    }

    pub fn notes(flow: &'s mut Flow, graphics: &'s Graphics) -> Self {
        Self { is_notes: true, ..Self::new(flow, graphics) }
    }

    pub fn footers(self) -> Vec<String> {
        self.footers
    }

    pub fn read(&mut self, xml: &str) -> quick_xml::Result<()> {
        let mut reader = Reader::from_str(xml);
        loop {
            match reader.read_event()? {
                Event::Eof => {
                    self.flow.end_block();
                    return Ok(());
                }
                Event::Start(tag) => {
                    let name = tag.local_name();
                    if self.left_out > 0 || name.as_ref() == "Fallback" {
                        self.left_out += 1;
                        continue;
                    }
                    self.in_text = name.as_ref() == "t" && !self.in_number;
                    self.start(name.as_ref(), &tag);
                }
                Event::Empty(tag) if self.left_out == 0 => {
                    let name = tag.local_name();
                    self.start(name.as_ref(), &tag);
                    self.left_out = 0;
                    self.end(name.as_ref());
                }
                Event::End(_) if self.left_out > 0 => self.left_out -= 1,
                Event::End(tag) => {
                    self.in_text = false;
                    self.end(tag.local_name().as_ref());
                }
                Event::Text(part) if self.in_text && self.left_out == 0 => {
                    self.text(&part.xml10_content());
                }
                Event::GeneralRef(part) if self.in_text && self.left_out == 0 => {
                    self.text(&entity(&part));
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, name: &str, tag: &BytesStart) {
        match name {
            "sp" | "graphicFrame" | "cxnSp" => {
                self.shape = Shape::Box;
                self.numbers = [0; LEVELS];
            }
            "ph" if self.tables == 0 => {
                let kind = attribute(tag, "type").unwrap_or_default();
                self.shape = Shape::of(&kind, self.is_notes);
            }
            "p" => {
                self.end_paragraph();
                self.paragraph = Paragraph::default();
            }
            "pPr" | "buNone" | "buChar" | "buBlip" | "buAutoNum" => self.property(name, tag),
            "rPr" => self.script(tag),
            "fld" => {
                let kind = attribute(tag, "type").unwrap_or_default();
                self.in_number = kind == "slidenum" || kind.starts_with("datetime");
            }
            "br" => self.line_break(),
            "den" => self.text("/"),
            "tbl" => {
                self.tables += 1;
                if self.tables == 1 {
                    self.flow.begin_table();
                }
            }
            "tc" if self.tables == 1 => self.begin_cell(tag),
            "chart" => self.graphic(attribute(tag, "id")),
            "relIds" => self.graphic(attribute(tag, "dm")),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" => self.end_paragraph(),
            "r" => self.end_script(),
            "fld" => self.in_number = false,
            "tr" if self.tables == 1 => self.flow.end_row(),
            "tc" if self.tables == 1 => self.flow.end_cell(),
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.flow.end_table();
                }
            }
            _ => {}
        }
    }

    fn property(&mut self, name: &str, tag: &BytesStart) {
        let number = |name: &str| attribute(tag, name).and_then(|value| value.parse().ok());
        match name {
            "pPr" => {
                let level = number("lvl").map_or(0, |level: u32| level as usize);
                self.paragraph.level = level.min(LEVELS - 1);
            }
            "buNone" => self.paragraph.bullet = Bullet::None,
            "buAutoNum" => {
                let format = attribute(tag, "type").unwrap_or_default();
                self.paragraph.bullet = Bullet::Number { format, start: number("startAt") };
            }
            _ => self.paragraph.bullet = Bullet::Sign,
        }
    }

    /// A raised or lowered run begins, unless it is on the line.
    fn script(&mut self, tag: &BytesStart) {
        self.end_script();
        let baseline = attribute(tag, "baseline").unwrap_or_default();
        let baseline: i32 = baseline.trim_end_matches('%').parse().unwrap_or(0);
        if baseline != 0 && self.is_read() {
            self.begin_paragraph();
            self.flow.begin_script(if baseline > 0 { Script::Super } else { Script::Sub });
            self.is_script = true;
        }
    }

    fn end_script(&mut self) {
        if std::mem::take(&mut self.is_script) {
            self.flow.end_script();
        }
    }

    /// Whether the text of the shape goes to the slide.
    fn is_read(&self) -> bool {
        !matches!(self.shape, Shape::LeftOut | Shape::Footer)
    }

    fn text(&mut self, text: &str) {
        if self.shape == Shape::Footer {
            self.footer.push_str(text);
        } else if self.is_read() {
            if !text.trim().is_empty() {
                self.begin_paragraph();
            }
            self.flow.text(text);
        }
    }

    fn line_break(&mut self) {
        if self.is_read() {
            self.flow.line_break();
        }
    }

    /// Called at the first text of a paragraph: all that it says about itself comes before.
    fn begin_paragraph(&mut self) {
        if std::mem::replace(&mut self.paragraph.has_begun, true) {
            return;
        }
        if self.is_notes && !std::mem::replace(&mut self.has_begun, true) {
            self.flow.text("Notes: ");
            return;
        }
        let level = self.paragraph.level;
        self.numbers[level + 1..].fill(0);
        let marker = match &self.paragraph.bullet {
            Bullet::Number { format, start } => {
                let last = self.numbers[level];
                let first = start.unwrap_or(1);
                let number = if last == 0 { first } else { last.saturating_add(1) };
                self.numbers[level] = number;
                Some(numbered(number, format))
            }
            bullet => {
                self.numbers[level] = 0;
                let is_point = *bullet == Bullet::Usual && self.shape == Shape::Points;
                (*bullet == Bullet::Sign || is_point).then(|| "-".to_owned())
            }
        };
        let Some(marker) = marker else { return };
        if self.tables == 0 {
            self.flow.begin_item(level + 1, &marker);
        } else if marker != "-" {
            self.flow.text(&format!("{marker} "));
        }
    }

    fn end_paragraph(&mut self) {
        self.end_script();
        if self.shape == Shape::Footer {
            let footer = std::mem::take(&mut self.footer).trim().to_owned();
            if footer.contains(char::is_alphabetic) && self.footers.len() < MAX_FOOTERS {
                self.footers.push(footer);
            }
        } else if std::mem::take(&mut self.paragraph.has_begun) {
            if self.tables == 0 {
                self.flow.end_item();
            } else {
                self.flow.end_block();
            }
        }
    }

    /// Cells that are covered are there too, and say so.
    fn begin_cell(&mut self, tag: &BytesStart) {
        let is_true = |name: &str| {
            attribute(tag, name).is_some_and(|value| matches!(value.as_str(), "1" | "true"))
        };
        let count = |name: &str| {
            attribute(tag, name).and_then(|value| value.parse().ok()).unwrap_or(1_usize)
        };
        if is_true("hMerge") {
            self.left_out = 1;
            return;
        }
        self.flow.begin_cell();
        self.flow.set_cell_columns(count("gridSpan"));
        if is_true("vMerge") {
            self.flow.set_cell_rows(Rows::Again);
        } else if count("rowSpan") > 1 {
            self.flow.set_cell_rows(Rows::First);
        }
    }

    /// A chart or a diagram.
    fn graphic(&mut self, relation: Option<String>) {
        let graphics = self.graphics;
        if let Some(xml) = relation.and_then(|relation| graphics.get(&relation)) {
            // What is damaged in it ends it.
            let _ = chart::read(xml, self.flow);
        }
    }
}

/// `1.`, `a)`, `(iv)`.
fn numbered(number: u32, format: &str) -> String {
    let numeral = if format.starts_with("alphaLc") {
        numeral(number, "lowerLetter")
    } else if format.starts_with("alphaUc") {
        numeral(number, "upperLetter")
    } else if format.starts_with("romanLc") {
        numeral(number, "lowerRoman")
    } else if format.starts_with("romanUc") {
        numeral(number, "upperRoman")
    } else {
        number.to_string()
    };
    if format.ends_with("ParenBoth") {
        format!("({numeral})")
    } else if format.ends_with("ParenR") {
        format!("{numeral})")
    } else if format.ends_with("Plain") {
        numeral
    } else {
        format!("{numeral}.")
    }
}
