//! The lists of an `OpenDocument` file: what is printed before each item.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use crate::documents::formats::numerals::numeral;
use crate::documents::formats::package::attribute;

/// Levels of lists and headings.
pub(super) const LEVELS: usize = 10;
/// A marker is cut to this length.
const MAX_MARKER_CHARS: usize = 64;
/// Lists whose numbers are remembered.
const MAX_LISTS: usize = 1 << 16;

/// One level of a list: how its items are numbered.
#[derive(Clone, Default)]
pub(super) struct Level {
    is_number: bool,
    /// `1`, `a`, `A`, `i`, `I`; nothing for no number.
    format: String,
    prefix: String,
    suffix: String,
    /// How many levels' numbers are printed.
    shown: usize,
    start: u32,
    /// `%1%.%2%)`, which newer programs write besides.
    pattern: Option<String>,
}

impl Level {
    pub fn of(tag: &BytesStart) -> Self {
        let number = |name: &str| attribute(tag, name).and_then(|value| value.parse().ok());
        Self {
            is_number: !matches!(
                tag.local_name().as_ref(),
                "list-level-style-bullet" | "list-level-style-image"
            ),
            format: attribute(tag, "num-format").unwrap_or_default(),
            prefix: attribute(tag, "num-prefix").unwrap_or_default(),
            suffix: attribute(tag, "num-suffix").unwrap_or_default(),
            shown: number("display-levels").map_or(1, |levels: u32| levels as usize),
            start: number("start-value").unwrap_or(1),
            pattern: attribute(tag, "num-list-format"),
        }
    }

    fn numeral(&self, number: u32) -> String {
        let format = match self.format.as_str() {
            "" => return String::new(),
            "a" => "lowerLetter",
            "A" => "upperLetter",
            "i" => "lowerRoman",
            "I" => "upperRoman",
            _ => "decimal",
        };
        numeral(number, format)
    }
}

/// The numbers of the last items on each level of one list.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters([Option<u32>; LEVELS]);

impl Counters {
    /// What is printed before the next item on this level, counted from 0; `None` for nothing.
    pub fn next(&mut self, levels: &[Level], level: usize, start: Option<u32>) -> Option<String> {
        let own = levels.get(level)?;
        let counter = &mut self.0[level];
        let following = counter.map_or(own.start, |number| number.saturating_add(1));
        *counter = Some(start.unwrap_or(following));
        self.0[level + 1..].fill(None);
        if !own.is_number {
            return Some("-".to_owned());
        }
        let number = |at: usize| {
            let level = &levels[at];
            level.numeral(self.0[at].unwrap_or(level.start))
        };
        let marker = if let Some(pattern) = &own.pattern {
            (0..=level).fold(pattern.clone(), |marker, at| {
                marker.replace(&format!("%{}%", at + 1), &number(at))
            })
        } else if own.format.is_empty() {
            return None;
        } else {
            let first = (level + 1).saturating_sub(own.shown.max(1));
            let numbers: Vec<String> =
                (first..=level).map(number).filter(|number| !number.is_empty()).collect();
            format!("{}{}{}", own.prefix, numbers.join("."), own.suffix)
        };
        let marker: String = marker.trim().chars().take(MAX_MARKER_CHARS).collect();
        (!marker.is_empty()).then_some(marker)
    }

    fn restart(&mut self, level: usize) {
        self.0[level.min(LEVELS)..].fill(None);
    }
}

/// The open lists, innermost last, and how far all lists have counted.
#[derive(Default)]
pub(super) struct Lists {
    open: Vec<List>,
    counters: HashMap<String, Counters>,
}

/// An open list.
pub(super) struct List {
    style: String,
    item: Item,
}

/// The current item of a list.
enum Item {
    None,
    /// Its marker is due at its first paragraph.
    Begins {
        start: Option<u32>,
    },
    Goes,
}

impl Lists {
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Lists that are open outside of a cell or a box do not count in it.
    pub fn set_aside(&mut self) -> Vec<List> {
        std::mem::take(&mut self.open)
    }

    pub fn bring_back(&mut self, outside: Vec<List>) {
        self.open = outside;
    }

    pub fn begin(&mut self, tag: &BytesStart) {
        let goes_on = attribute(tag, "continue-numbering").as_deref() == Some("true")
            || attribute(tag, "continue-list").is_some();
        let named = attribute(tag, "style-name");
        let restarts = !goes_on && (named.is_some() || self.open.is_empty());
        let outer = self.open.last().map(|list| list.style.clone());
        let style = named.or(outer).unwrap_or_default();
        if restarts && let Some(counters) = self.counters.get_mut(&style) {
            counters.restart(self.open.len());
        }
        self.open.push(List { style, item: Item::None });
    }

    pub fn end(&mut self) {
        self.open.pop();
    }

    pub fn begin_item(&mut self, tag: &BytesStart) {
        if let Some(list) = self.open.last_mut() {
            let start = attribute(tag, "start-value").and_then(|start| start.parse().ok());
            let is_header = tag.local_name().as_ref() == "list-header";
            list.item = if is_header { Item::Goes } else { Item::Begins { start } };
        }
    }

    pub fn end_item(&mut self) {
        if let Some(list) = self.open.last_mut() {
            list.item = Item::None;
        }
    }

    /// The style of the innermost list.
    pub fn style(&self) -> &str {
        self.open.last().map_or("", |list| &list.style)
    }

    /// What is printed before the paragraph that begins, if it is the first of an item; `levels` are
    /// those of the list's style.
    pub fn marker(&mut self, levels: &[Level]) -> Option<String> {
        let level = self.open.len().checked_sub(1)?.min(LEVELS - 1);
        let list = self.open.last_mut()?;
        let Item::Begins { start } = list.item else { return None };
        list.item = Item::Goes;
        if levels.is_empty() || self.counters.len() >= MAX_LISTS {
            return Some("-".to_owned());
        }
        self.counters.entry(list.style.clone()).or_default().next(levels, level, start)
    }
}
