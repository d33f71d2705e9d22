//! The styles of a Word document: which of them make a paragraph a heading or a list item.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{LEVELS, MAX_NAMED};
use crate::documents::formats::package::attribute;

/// What a paragraph style, or a paragraph itself, says about its place in the outline and in lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// 1 for the outermost heading.
    pub heading: Option<usize>,
    pub list: Option<u32>,
    pub level: usize,
    based_on: Option<String>,
}

impl Style {
    /// Takes over what one of a paragraph's properties says. `value` is its `val` attribute.
    pub fn set(&mut self, property: &str, value: &str) {
        match property {
            "outlineLvl" => self.heading = outline_level(value),
            "numId" => self.list = value.parse().ok(),
            "ilvl" => self.level = value.parse().unwrap_or(0),
            _ => {}
        }
    }

    fn define(&mut self, tag: &BytesStart) {
        let value = attribute(tag, "val");
        match tag.local_name().as_ref() {
            "name" => self.heading = self.heading.or(value.and_then(|name| named_level(&name))),
            "basedOn" => self.based_on = value,
            property => self.set(property, &value.unwrap_or_default()),
        }
    }
}

/// The styles by their ids. Headings are told by outline level or by name.
pub(super) fn parse(xml: &str) -> quick_xml::Result<HashMap<String, Style>> {
    let mut styles = HashMap::new();
    let mut current: Option<(String, Style)> = None;
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) => {
                if tag.local_name().as_ref() == "style" {
                    let id = attribute(&tag, "styleId").unwrap_or_default();
                    current = (styles.len() < MAX_NAMED).then(|| (id, Style::default()));
                } else if let Some((_, style)) = &mut current {
                    style.define(&tag);
                }
            }
            Event::End(tag) if tag.local_name().as_ref() == "style" => {
                styles.extend(current.take());
            }
            _ => {}
        }
    }
    inherit(&mut styles);
    Ok(styles)
}

/// Takes over what styles say from those they are based on, one generation at a time. There are at
/// most [`LEVELS`] generations, so cycles end.
fn inherit(styles: &mut HashMap<String, Style>) {
    for _ in 0..LEVELS {
        let heirs: Vec<(String, Style)> = styles
            .iter()
            .filter_map(|(id, style)| {
                let parent = styles.get(style.based_on.as_ref()?)?;
                let mut style = style.clone();
                style.heading = style.heading.or(parent.heading);
                style.list = style.list.or(parent.list);
                style.based_on.clone_from(&parent.based_on);
                Some((id.clone(), style))
            })
            .collect();
        if heirs.is_empty() {
            break;
        }
        styles.extend(heirs);
    }
}

/// `heading 2` and `Title`, as Word names them in every language.
fn named_level(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("heading ") {
        Some(level) => level.trim().parse().ok().filter(|level| (1..=LEVELS).contains(level)),
        None => (name == "title").then_some(1),
    }
}

/// Outline levels count from 0; 9 is body text.
fn outline_level(value: &str) -> Option<usize> {
    value.trim().parse().ok().filter(|&level: &usize| level < LEVELS).map(|level| level + 1)
}
