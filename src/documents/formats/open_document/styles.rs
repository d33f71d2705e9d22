//! The styles of an `OpenDocument` file: how lists and headings are numbered, which letters are
//! raised, and which paragraphs are the document's title.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::lists::{LEVELS, Level};
use crate::documents::formats::package::attribute;

/// Styles that are remembered, each kind.
const MAX_NAMED: usize = 1 << 16;
/// Generations of styles that are based on one another; cycles end there.
const GENERATIONS: usize = 16;

#[derive(Default)]
pub(super) struct Styles {
    paragraphs: HashMap<String, Paragraph>,
    lists: HashMap<String, Vec<Level>>,
    /// How headings are numbered.
    pub outline: Vec<Level>,
    raised: HashMap<String, bool>,
}

#[derive(Default)]
struct Paragraph {
    parent: Option<String>,
    /// `Some("")` for paragraphs of no list.
    list: Option<String>,
}

/// What list levels belong to while they are read.
enum Group {
    Outside,
    List(String),
    Outline,
}

impl Styles {
    /// Takes in the styles of a part; those of later parts go before those of earlier ones.
    pub fn read(&mut self, xml: &str) -> quick_xml::Result<()> {
        let (mut group, mut letters) = (Group::Outside, None);
        let mut reader = Reader::from_str(xml);
        loop {
            let (tag, is_open) = match reader.read_event()? {
                Event::Eof => return Ok(()),
                Event::Start(tag) => (tag, true),
                Event::Empty(tag) => (tag, false),
                Event::End(tag) => {
                    if matches!(tag.local_name().as_ref(), "list-style" | "outline-style") {
                        group = Group::Outside;
                    }
                    continue;
                }
                _ => continue,
            };
            match tag.local_name().as_ref() {
                "style" => letters = self.style(&tag),
                "text-properties" => {
                    if let Some(name) = &letters {
                        self.letters(name, &tag);
                    }
                }
                "list-style" if is_open => {
                    group = Group::List(attribute(&tag, "name").unwrap_or_default());
                }
                "outline-style" if is_open => group = Group::Outline,
                "list-level-style-number"
                | "list-level-style-bullet"
                | "list-level-style-image"
                | "outline-level-style" => self.level(&group, &tag),
                _ => {}
            }
        }
    }

    /// Takes in a style; gives its name if it is one of letters.
    fn style(&mut self, tag: &BytesStart) -> Option<String> {
        let name = attribute(tag, "name")?;
        match attribute(tag, "family")?.as_str() {
            "paragraph" if self.paragraphs.len() < MAX_NAMED => {
                let parent = attribute(tag, "parent-style-name");
                let list = attribute(tag, "list-style-name");
                self.paragraphs.insert(name, Paragraph { parent, list });
                None
            }
            "text" => Some(name),
            _ => None,
        }
    }

    fn letters(&mut self, style: &str, tag: &BytesStart) {
        // `super 58%`, or `33% 58%` of the line's height.
        let position = attribute(tag, "text-position").unwrap_or_default();
        let position = position.split_whitespace().next().unwrap_or_default();
        let percent = position.trim_end_matches('%').parse::<f32>().unwrap_or(0.0);
        if self.raised.len() < MAX_NAMED && (position == "super" || percent > 0.0) {
            self.raised.insert(style.to_owned(), true);
        } else if self.raised.len() < MAX_NAMED && (position == "sub" || percent < 0.0) {
            self.raised.insert(style.to_owned(), false);
        }
    }

    fn level(&mut self, group: &Group, tag: &BytesStart) {
        let levels = match group {
            Group::Outside => return,
            Group::Outline => &mut self.outline,
            Group::List(_) if self.lists.len() >= MAX_NAMED => return,
            Group::List(name) => self.lists.entry(name.clone()).or_default(),
        };
        let Some(at @ 1..=LEVELS) = attribute(tag, "level").and_then(|level| level.parse().ok())
        else {
            return;
        };
        levels.resize_with(levels.len().max(at), Level::default);
        levels[at - 1] = Level::of(tag);
    }

    /// The levels of a list style.
    pub fn list(&self, name: &str) -> &[Level] {
        self.lists.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether letters of this style are above the line; `None` if they are on it.
    pub fn raised(&self, style: &str) -> Option<bool> {
        self.raised.get(style).copied()
    }

    /// Whether paragraphs of this style are the document's title.
    pub fn is_title(&self, style: &str) -> bool {
        self.ancestry(style).any(|(name, _)| name == "Title")
    }

    /// Whether headings of this style are numbered with the others.
    pub fn is_numbered(&self, style: &str) -> bool {
        self.ancestry(style).find_map(|(_, style)| style.list.as_deref()) != Some("")
    }

    /// A style, the one it is based on, and so on.
    fn ancestry<'s>(&'s self, style: &'s str) -> impl Iterator<Item = (&'s str, &'s Paragraph)> {
        let named = |name: &'s str| Some((name, self.paragraphs.get(name)?));
        std::iter::successors(named(style), move |(_, style)| named(style.parent.as_deref()?))
            .take(GENERATIONS)
    }
}
