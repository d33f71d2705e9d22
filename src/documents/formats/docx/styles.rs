//! The styles of a Word document: which of them make a paragraph a heading or a list item.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use super::{LEVELS, MAX_NAMED};
use crate::documents::formats::package::{attribute, lenient};

/// What a style, or a paragraph itself, says about its place in the outline and in lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// 1 for the outermost heading, 0 for body text.
    outline: Option<usize>,
    pub list: Option<u32>,
    pub level: Option<usize>,
    /// Its paragraphs are lines of a table of contents.
    pub is_contents: bool,
    pub position: Option<Position>,
    based_on: Option<String>,
}

/// Above or below the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Above,
    Below,
    /// On the line, whatever the style says.
    OnLine,
}

impl Position {
    pub fn named(name: &str) -> Self {
        match name {
            "superscript" => Self::Above,
            "subscript" => Self::Below,
            _ => Self::OnLine,
        }
    }
}

impl Style {
    /// 1 for the outermost heading.
    pub fn heading(&self) -> Option<usize> {
        self.outline.filter(|&level| level > 0)
    }

    /// Takes over what one of a paragraph's properties says. `value` is its `val` attribute.
    pub fn set(&mut self, property: &str, value: &str) {
        match property {
            "outlineLvl" => self.outline = outline_level(value),
            "numId" => self.list = value.trim().parse().ok(),
            "ilvl" => self.level = value.trim().parse().ok(),
            "vertAlign" => self.position = Some(Position::named(value)),
            _ => {}
        }
    }

    /// This, and where it says nothing, what `other` says.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            outline: self.outline.or(other.outline),
            // A level without a list is one of the other's list.
            list: self.list.or(other.list),
            level: self.level.or(other.level.filter(|_| self.list.is_none())),
            is_contents: self.is_contents || other.is_contents,
            position: self.position.or(other.position),
            based_on: None,
        }
    }

    fn define(&mut self, tag: &BytesStart) {
        let value = attribute(tag, "val").unwrap_or_default();
        match tag.local_name().as_ref() {
            "name" => self.take_name(&value),
            "basedOn" => self.based_on = Some(value),
            property => self.set(property, &value),
        }
    }

    /// What the name says, as Word has it in every language: `heading 2`, `Title`, `toc 1`.
    fn take_name(&mut self, name: &str) {
        let name = name.to_ascii_lowercase().replace(' ', "");
        let level =
            |name: &str| name.parse().ok().filter(|level: &usize| (1..=LEVELS).contains(level));
        let level_after = |start| name.strip_prefix(start).and_then(level);
        let heading = level_after("heading").or((name == "title").then_some(1));
        self.outline = self.outline.or(heading);
        self.is_contents |= level_after("toc").or(level_after("contents")).is_some()
            || ["tocheading", "contentsheading", "tableoffigures"].contains(&name.as_str());
    }
}

/// All styles of a document.
#[derive(Default)]
pub(super) struct Styles {
    by_id: HashMap<String, Style>,
    /// The style of paragraphs that name none.
    default: Option<String>,
}

impl Styles {
    /// The styles by their ids. Whether that is all of them: damaged XML ends them.
    pub fn parse(xml: &str) -> (Self, bool) {
        let mut styles = Self::default();
        let mut current: Option<(String, Style)> = None;
        let mut reader = lenient(xml);
        let is_whole = loop {
            match reader.read_event() {
                Ok(Event::Eof) => break true,
                Err(_) => break false,
                Ok(Event::Start(tag) | Event::Empty(tag)) => {
                    if tag.local_name().as_ref() == "style" {
                        styles.by_id.extend(current.take());
                        let id = attribute(&tag, "styleId").unwrap_or_default();
                        if is_default_paragraph(&tag) {
                            styles.default = Some(id.clone());
                        }
                        let has_room = styles.by_id.len() < MAX_NAMED;
                        current = has_room.then(|| (id, Style::default()));
                    } else if let Some((_, style)) = &mut current {
                        style.define(&tag);
                    }
                }
                Ok(_) => {}
            }
        };
        styles.by_id.extend(current);
        styles.inherit();
        (styles, is_whole)
    }

    /// Takes over what styles say from those they are based on, one generation at a time. There are
    /// at most [`LEVELS`] generations, so cycles end.
    fn inherit(&mut self) {
        for _ in 0..LEVELS {
            let heirs: Vec<(String, Style)> = self
                .by_id
                .iter()
                .filter_map(|(id, style)| {
                    let parent = self.by_id.get(style.based_on.as_ref()?)?;
                    let based_on = parent.based_on.clone();
                    Some((id.clone(), Style { based_on, ..style.or(parent) }))
                })
                .collect();
            if heirs.is_empty() {
                break;
            }
            self.by_id.extend(heirs);
        }
    }

    /// A style by its id, or of paragraphs that name none. A style that is not defined is what its
    /// id says.
    pub fn get(&self, id: Option<&str>) -> Style {
        let Some(id) = id.or(self.default.as_deref()) else { return Style::default() };
        self.by_id.get(id).cloned().unwrap_or_else(|| {
            let mut style = Style::default();
            style.take_name(id);
            style
        })
    }
}

fn is_default_paragraph(tag: &BytesStart) -> bool {
    let is = |name, values: [&str; 2]| {
        attribute(tag, name).is_some_and(|value| values.contains(&value.as_str()))
    };
    is("default", ["1", "true"]) && is("type", ["paragraph", ""])
}

/// Outline levels count from 0; 9 is body text.
fn outline_level(value: &str) -> Option<usize> {
    let level: usize = value.trim().parse().ok()?;
    Some(if level < LEVELS { level + 1 } else { 0 })
}
