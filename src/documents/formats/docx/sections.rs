//! The sections of a Word document: which headers and footers their pages have. What a section is
//! like stands at its end.

use quick_xml::events::{BytesStart, Event};

use crate::documents::formats::package::{attribute, lenient};

/// Tags of a section's properties that are looked at. There are some twenty.
const MAX_TAGS: usize = 256;

/// The element that describes a section.
const PROPERTIES: &str = "sectPr";
/// Bytes of the prefix of its name.
const MAX_PREFIX: usize = 64;

/// What is said about a section.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// It begins on a new page.
    pub on_new_page: bool,
    /// The ids of its headers and footers, as its pages show them.
    pub margins: Vec<String>,
}

/// The first section that ends in `xml`.
pub(super) fn next(xml: &str) -> Option<Section> {
    let mut at = 0;
    loop {
        at += xml[at..].find(PROPERTIES)?;
        let start = xml.floor_char_boundary(at.saturating_sub(MAX_PREFIX));
        let prefix = xml[start..at].rsplit_once('<').map(|(_, prefix)| prefix);
        let after = &xml[at + PROPERTIES.len()..];
        let is_name = after.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/');
        match prefix {
            Some(prefix) if is_name && (prefix.is_empty() || is_namespace(prefix)) => {
                return Some(Section::parse(&xml[at - prefix.len() - 1..]));
            }
            _ => at += PROPERTIES.len(),
        }
    }
}

/// `w:`
fn is_namespace(prefix: &str) -> bool {
    prefix.strip_suffix(':').is_some_and(|name| name.chars().all(char::is_alphanumeric))
}

impl Section {
    fn parse(xml: &str) -> Self {
        let mut section = Self { on_new_page: true, margins: Vec::new() };
        let (mut headers, mut footers) = (Vec::new(), Vec::new());
        let mut has_title_page = false;
        let mut reader = lenient(xml);
        for _ in 0..MAX_TAGS {
            let (tag, is_empty) = match reader.read_event() {
                Ok(Event::Start(tag)) => (tag, false),
                Ok(Event::Empty(tag)) => (tag, true),
                Ok(Event::End(tag)) if tag.local_name().as_ref() == "sectPr" => break,
                Ok(Event::Eof) | Err(_) => break,
                Ok(_) => continue,
            };
            match tag.local_name().as_ref() {
                "headerReference" => headers.extend(reference(&tag)),
                "footerReference" => footers.extend(reference(&tag)),
                "titlePg" => has_title_page = is_on(&tag),
                "type" => {
                    let kind = attribute(&tag, "val").unwrap_or_default();
                    section.on_new_page = !["continuous", "nextColumn"].contains(&kind.as_str());
                }
                // How the section was before somebody changed it.
                "sectPrChange" => break,
                "sectPr" if is_empty => break,
                _ => {}
            }
        }
        for mut references in [headers, footers] {
            references.retain(|(order, _)| *order > 0 || has_title_page);
            references.sort_by_key(|(order, _)| *order);
            section.margins.extend(references.into_iter().map(|(_, id)| id));
        }
        section
    }
}

/// Where in the order of pages a header stands, and its id.
fn reference(tag: &BytesStart) -> Option<(u8, String)> {
    let order = match attribute(tag, "type").as_deref() {
        Some("first") => 0,
        Some("even") => 2,
        _ => 1,
    };
    Some((order, attribute(tag, "id")?))
}

/// Whether a property that is there is meant.
pub(super) fn is_on(tag: &BytesStart) -> bool {
    attribute(tag, "val").is_none_or(|value| !["0", "false", "off"].contains(&value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_says_at_its_end_what_its_pages_have() {
        let xml = "<w:p>sectPr</w:p></w:sectPr><w:sectPr w:x=\"1\">\
            <w:footerReference w:type=\"default\" r:id=\"f\"/>\
            <w:headerReference w:type=\"even\" r:id=\"e\"/><w:headerReference w:type=\"default\" r:id=\"d\"/>\
            <w:headerReference w:type=\"first\" r:id=\"1\"/><w:type w:val=\"continuous\"/>\
            <w:titlePg/><w:sectPrChange><w:sectPr><w:titlePg w:val=\"0\"/></w:sectPr></w:sectPrChange></w:sectPr>";
        let section = next(xml).unwrap();
        assert_eq!(section.margins, ["1", "d", "e", "f"]);
        assert!(!section.on_new_page);
        let section =
            next(&xml.replace("<w:titlePg/>", "").replace("continuous", "nextPage")).unwrap();
        assert_eq!(section.margins, ["d", "e", "f"]);
        assert!(section.on_new_page);
        assert_eq!(next("<w:sectPr/>"), Some(Section { on_new_page: true, margins: Vec::new() }));
        assert_eq!(next("<w:p>sectPr</w:p>"), None);
    }
}
