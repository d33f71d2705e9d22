//! XML: the text of its elements in order.
//!
//! Books and articles (`DocBook`, TEI, JATS) are read as prose with their titles. In all other files
//! an element with nothing but text is a line, `name: text (attribute: value)`, and what is around
//! several of them is a paragraph. In prose, only attributes that have words are read.

use std::fs::File;
use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::flow::Flow;
use super::package::entity;
use super::{TextHead, html, plain_text};
use crate::documents::charset;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::{Places, newlines};

/// Elements whose `title` or `head` is a heading.
const DIVISIONS: [&str; 24] = [
    "book",
    "article",
    "part",
    "chapter",
    "appendix",
    "preface",
    "section",
    "sect1",
    "sect2",
    "sect3",
    "sect4",
    "sect5",
    "sec",
    "div",
    "div1",
    "div2",
    "div3",
    "div4",
    "topic",
    "body",
    "back",
    "front",
    "simplesect",
    "refsect1",
];
/// Elements that stand in a line of prose.
const INLINE: [&str; 30] = [
    "emphasis",
    "hi",
    "link",
    "ulink",
    "xref",
    "ref",
    "a",
    "b",
    "i",
    "u",
    "em",
    "strong",
    "code",
    "literal",
    "italic",
    "bold",
    "sub",
    "sup",
    "subscript",
    "superscript",
    "quote",
    "q",
    "term",
    "name",
    "persName",
    "placeName",
    "date",
    "foreign",
    "span",
    "ext-link",
];
/// What a file has that is prose.
const PROSE: [&str; 6] = ["<para>", "<para ", "<p>", "<p ", "<simpara>", "<tei:p>"];
/// Attributes that say something in one word.
const TELLING: [&str; 8] =
    ["title", "label", "alt", "caption", "description", "summary", "tooltip", "text"];
/// Attributes that programs read.
const TECHNICAL: [&str; 10] =
    ["id", "class", "style", "href", "src", "ref", "type", "space", "schemaLocation", "xmlns"];
/// Open elements. Files have a few dozen.
const MAX_DEPTH: usize = 1 << 14;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (xml, flaws) = plain_text::text_with_flaws(file, path, charset::of_page)?;
    let mut extract = extract(&xml, path);
    extract.omitted.extend(flaws);
    Ok(Contents::One(extract))
}

/// Whether a text begins as an XML file does.
pub(crate) fn is_xml(head: &TextHead) -> bool {
    head.start.starts_with("<?xml")
}

fn extract(xml: &str, path: &Path) -> Extract {
    let mut document = Document {
        is_prose: PROSE.iter().any(|element| xml.contains(element)),
        ..Document::default()
    };
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let (mut line, mut position, mut omitted) = (1, 0, Vec::new());
    loop {
        let event = reader.read_event();
        let at = (reader.buffer_position() as usize).clamp(position, xml.len());
        match event {
            Ok(Event::Start(tag)) => document.start(&tag, line),
            Ok(Event::Empty(tag)) => {
                document.start(&tag, line);
                document.end();
            }
            Ok(Event::End(_)) => document.end(),
            Ok(Event::Text(text)) => document.text(&text.xml10_content(), line),
            Ok(Event::CData(text)) => document.text(&text.xml10_content(), line),
            Ok(Event::GeneralRef(reference)) => document.text(&entity(&reference), line),
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => {
                omitted.push(ReadError::Part {
                    path: path.to_owned(),
                    part: format!("what follows line {line}"),
                    why: error.to_string(),
                });
                break;
            }
        }
        line += newlines(&xml.as_bytes()[position..at]);
        position = at;
    }
    Extract { omitted, ..document.finish() }
}

/// An open element.
struct Element {
    name: String,
    /// Text right in it, until it turns out what it belongs to.
    text: String,
    line: u32,
    has_children: bool,
    /// What its attributes say.
    attributes: Vec<(String, String)>,
    is_heading: bool,
    is_inline: bool,
}

#[derive(Default)]
struct Document {
    is_prose: bool,
    flow: Flow,
    elements: Vec<Element>,
    /// Elements that are open beyond those.
    deeper: usize,
    /// Open divisions.
    divisions: usize,
    /// Lines are being written.
    in_lines: bool,
}

impl Document {
    fn start(&mut self, tag: &BytesStart, line: u32) {
        if self.elements.len() >= MAX_DEPTH {
            self.deeper += 1;
            return;
        }
        let name = tag.local_name().as_ref().to_owned();
        let around = self.elements.last().map(|around| around.name.clone()).unwrap_or_default();
        let is_heading = self.is_prose
            && matches!(name.as_str(), "title" | "head")
            && (DIVISIONS.contains(&around.as_str())
                || matches!(around.as_str(), "info" | "articleinfo" | "bookinfo"));
        let is_inline = self.is_prose && INLINE.contains(&name.as_str());
        self.put_down();
        if !is_inline && self.is_prose {
            self.flow.end_block();
        }
        if let Some(around) = self.elements.last_mut() {
            around.has_children = true;
        }
        self.divisions += usize::from(DIVISIONS.contains(&name.as_str()));
        if is_heading {
            self.flow.at(line);
            self.flow.begin_heading(self.divisions.clamp(1, 6));
        }
        self.elements.push(Element {
            name,
            text: String::new(),
            line,
            has_children: false,
            attributes: attributes(tag),
            is_heading,
            is_inline,
        });
        if self.is_prose {
            self.say_words();
        }
    }

    /// In prose, attributes with words are text of their own, before that of the element.
    fn say_words(&mut self) {
        let Some(element) = self.elements.last_mut() else { return };
        let line = element.line;
        let mut words = std::mem::take(&mut element.attributes);
        words.retain(|(name, value)| {
            let is_words = value.contains(char::is_whitespace) || !value.is_ascii();
            is_words || TELLING.contains(&name.as_str())
        });
        let is_inline = element.is_inline || element.is_heading;
        for (_, value) in words.into_iter().filter(|_| !is_inline) {
            self.line(&value, line);
        }
    }

    fn text(&mut self, text: &str, line: u32) {
        let Some(element) = self.elements.last_mut() else { return };
        if self.is_prose {
            self.flow.at(line);
            self.flow.text(text);
            element.has_children |= !text.trim().is_empty();
            return;
        }
        if element.text.trim().is_empty() {
            element.line =
                line + newlines(&text.as_bytes()[..text.len() - text.trim_start().len()]);
        }
        element.text.push_str(text);
    }

    fn end(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        if self.elements.last().is_some_and(|element| !element.has_children) {
            self.put_down_leaf();
        } else {
            self.put_down();
            if !self.is_prose {
                self.end_lines();
            }
        }
        let Some(element) = self.elements.pop() else { return };
        self.divisions -= usize::from(DIVISIONS.contains(&element.name.as_str()));
        if element.is_heading {
            self.flow.end_heading();
        } else if self.is_prose && !element.is_inline {
            self.flow.end_block();
        }
    }

    /// The attributes of an element with others in it, and text between these.
    fn put_down(&mut self) {
        let Some(element) = self.elements.last_mut() else { return };
        let text = std::mem::take(&mut element.text);
        let line = element.line;
        let attributes = listed(&std::mem::take(&mut element.attributes));
        if !attributes.is_empty() {
            let line_of_attributes = format!("{} {attributes}", element.name);
            self.line(&line_of_attributes, line);
        }
        if !text.trim().is_empty() {
            self.line(&text, line);
        }
    }

    /// An element with nothing but text.
    fn put_down_leaf(&mut self) {
        let Some(element) = self.elements.last_mut() else { return };
        let text = std::mem::take(&mut element.text);
        let attributes = listed(&std::mem::take(&mut element.attributes));
        let (name, line) = (element.name.clone(), element.line);
        if !text.trim().is_empty() {
            // Feeds have web pages as text.
            let is_page = ["</", "<br", "<p>"].iter().any(|tag| text.contains(tag));
            let page = is_page.then(|| html::extract(&text, html::Syntax::Html).text);
            let text = page.as_ref().unwrap_or(&text).trim();
            let attributes = match attributes.is_empty() {
                true => attributes,
                false => format!(" ({attributes})"),
            };
            self.line(&format!("{name}: {text}{attributes}"), line);
        } else if !attributes.is_empty() {
            self.line(&format!("{name} {attributes}"), line);
        }
    }

    fn line(&mut self, text: &str, line: u32) {
        if self.is_prose {
            self.flow.at(line);
            self.flow.text(text);
            self.flow.end_block();
            return;
        }
        if !std::mem::replace(&mut self.in_lines, true) {
            self.flow.begin_verbatim();
        }
        self.flow.at(line);
        for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
            self.flow.text(part);
            self.flow.text("\n");
        }
    }

    fn end_lines(&mut self) {
        if std::mem::take(&mut self.in_lines) {
            self.flow.end_verbatim();
        }
    }

    fn finish(mut self) -> Extract {
        while !self.elements.is_empty() {
            self.end();
        }
        self.end_lines();
        self.flow.finish(Places::Lines)
    }
}

/// `name: value, name: value`.
fn listed(attributes: &[(String, String)]) -> String {
    let listed = attributes.iter().map(|(name, value)| format!("{name}: {value}"));
    listed.collect::<Vec<String>>().join(", ")
}

/// The attributes that are not for programs only.
fn attributes(tag: &BytesStart) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for attribute in tag.attributes().with_checks(false).flatten() {
        let key = attribute.key.as_ref();
        let name = attribute.key.local_name().as_ref().to_owned();
        let is_technical = key.starts_with("xml") || TECHNICAL.contains(&name.as_str());
        if let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0)
            && !is_technical
            && value.contains(char::is_alphanumeric)
        {
            found.push((name, value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::samples::{Outcome, documents};
    use crate::documents::structure::LineCounter;
    use crate::documents::{Document, Place};

    fn outcome(xml: impl AsRef<[u8]>) -> Outcome {
        documents("a.xml", xml).1
    }

    fn document(xml: &str) -> Document {
        outcome(xml).remove(0).unwrap()
    }

    fn text(xml: &str) -> String {
        document(xml).text.trim_end().to_owned()
    }

    #[test]
    fn elements_of_data_are_lines_with_their_names() {
        let xml = "<?xml version=\"1.0\"?>\n<hoá-đơn số=\"12\" xmlns=\"urn:x\">\n <khách>\n  <tên>Nguyễn &amp; An</tên>\n\
                   <tiền đơn-vị=\"VND\">500</tiền>\n </khách>\n <ghi-chú/>\n <hàng mã=\"A 1\" id=\"x\"/>\n</hoá-đơn>";
        let document = document(xml);
        assert_eq!(
            document.text.trim_end(),
            "hoá-đơn số: 12\ntên: Nguyễn & An\ntiền: 500 (đơn-vị: VND)\n\nhàng mã: A 1"
        );
        let at = document.text.find("tiền").unwrap();
        let mut lines = LineCounter::new(&document.text);
        assert_eq!(
            document.structure.places.of(&(at..at + 4), &mut lines),
            Some(Place::Lines(5, 5))
        );
    }

    #[test]
    fn an_element_of_nothing_but_attributes_says_them() {
        assert_eq!(text("<a><row Id=\"7\" Name=\"An\"/></a>"), "row Id: 7, Name: An");
    }

    #[test]
    fn docbook_and_tei_are_prose_with_headings() {
        let xml = "<book><title>Sách</title><chapter><title>Chương <emphasis>một</emphasis></title>\
                   <para>Xin <emphasis>chào</emphasis> bạn.</para><section><title>Mục</title>\
                   <para>Hai.</para></section></chapter></book>";
        let document = document(xml);
        assert_eq!(document.text, "Sách\n\nChương một\n\nXin chào bạn.\n\nMục\n\nHai.");
        let headings: Vec<String> = document
            .structure
            .sections
            .unwrap()
            .iter()
            .map(|section| section.headings.join(" > "))
            .collect();
        assert_eq!(headings.last().map(String::as_str), Some("Sách > Chương một > Mục"));
        let tei = "<TEI><text><body><div><head>Bài</head><p>Trời <hi>xanh</hi>.</p></div></body></text></TEI>";
        assert_eq!(self::document(tei).text, "Bài\n\nTrời xanh.");
    }

    #[test]
    fn mixed_text_keeps_its_order() {
        assert_eq!(text("<a>một<b>hai</b>ba<![CDATA[ <bốn> ]]></a>"), "một\nb: hai\nba <bốn>");
        let feed = "<rss><item><title>Tin</title><description>&lt;p&gt;Nội dung&lt;/p&gt;</description></item></rss>";
        assert_eq!(text(feed), "title: Tin\ndescription: Nội dung");
    }

    #[test]
    fn what_is_damaged_is_named_and_the_rest_is_taken() {
        let outcome = outcome("<a><b>chữ</b>\n<c <");
        assert_eq!(outcome[0].as_ref().unwrap().text.trim_end(), "b: chữ");
        assert!(matches!(outcome[1], Err(ReadError::Part { .. })), "{:?}", outcome[1]);
    }

    #[test]
    fn deep_nesting_and_entities_are_harmless() {
        let begin = std::time::Instant::now();
        let deep = format!("{}chữ", "<a>".repeat(1 << 19));
        document(&deep);
        document(&"</a>".repeat(1 << 19));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"&c;&c;\"><!ENTITY c \"nổ nổ\">]><a>x &b; y</a>";
        assert_eq!(text(bomb), "a: x  y");
        assert!(begin.elapsed() < std::time::Duration::from_mins(1), "{:?}", begin.elapsed());
    }
}
