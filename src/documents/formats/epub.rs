//! EPUB: the chapters of a book in its reading order, each a page as on the web.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::html;
use super::package::{Package, attribute, element_text};
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::section::Section;
use crate::documents::structure::{Places, Structure};

/// Large books have a few hundred.
const MAX_CHAPTERS: usize = 10_000;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let mut package = Package::open(file, path)?;
    let damaged = |why: &str| ReadError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let container = package.part("META-INF/container.xml")?.unwrap_or_default();
    let Some(opf) = root_file(&container) else {
        return Err(damaged("it does not name its contents"));
    };
    let Some(contents) = package.part(&opf)? else {
        return Err(damaged("its contents are missing"));
    };
    let protected = package.part("META-INF/encryption.xml")?.is_some();
    let title = element_text(&contents, "title");
    let folder = opf.rsplit_once('/').map_or("", |(folder, _)| folder);

    let mut text = String::new();
    let mut sections: Vec<Section> = Vec::new();
    for href in spine(&contents) {
        let chapter = match package.part(&resolve(folder, &href)) {
            Ok(Some(chapter)) => chapter,
            Ok(None) => continue,
            // It is not text, and the book says that some of it is encrypted.
            Err(ReadError::Damaged { .. }) if protected => {
                return Err(ReadError::Encrypted { path: path.to_owned() });
            }
            Err(error) => return Err(error),
        };
        let chapter = html::extract(&chapter, html::Syntax::Xml);
        if chapter.text.trim().is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let start = text.len();
        text.push_str(&chapter.text);
        for mut section in chapter.structure.sections.unwrap_or_default() {
            for block in &mut section.blocks {
                block.span = block.span.start + start..block.span.end + start;
            }
            // A chapter whose heading is a picture has at least a title.
            if section.headings.is_empty() && chapter.title != title {
                section.headings.extend(chapter.title.clone());
            }
            sections.push(section);
        }
    }
    let structure = Structure { sections: Some(sections), places: Places::Nowhere };
    Ok(Contents::One(Extract { title, text, structure, ..Extract::default() }))
}

/// The part that describes the book's contents, as the container names it.
fn root_file(container: &str) -> Option<String> {
    let mut reader = Reader::from_str(container);
    loop {
        match reader.read_event().ok()? {
            Event::Eof => return None,
            Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == "rootfile" => {
                return attribute(&tag, "full-path");
            }
            _ => {}
        }
    }
}

/// The chapters' files in reading order. Damaged XML ends the list.
fn spine(contents: &str) -> Vec<String> {
    let mut files: HashMap<String, String> = HashMap::new();
    let mut order = Vec::new();
    let mut reader = Reader::from_str(contents);
    while let Ok(event) = reader.read_event() {
        let (Event::Start(tag) | Event::Empty(tag)) = event else {
            if matches!(event, Event::Eof) {
                break;
            }
            continue;
        };
        match tag.local_name().as_ref() {
            "item" => {
                // The table of contents repeats every heading.
                let is_contents =
                    attribute(&tag, "properties").is_some_and(|it| it.contains("nav"));
                let is_page =
                    attribute(&tag, "media-type").is_some_and(|kind| kind.contains("html"));
                if let (Some(id), Some(href), true, false) =
                    (attribute(&tag, "id"), attribute(&tag, "href"), is_page, is_contents)
                {
                    files.insert(id, href);
                }
            }
            // Each file once: a hostile spine could name one a million times.
            "itemref" => order.extend(attribute(&tag, "idref").and_then(|id| files.remove(&id))),
            _ => {}
        }
        if files.len() + order.len() > MAX_CHAPTERS {
            break;
        }
    }
    order
}

/// The name of the part that a link relative to a folder leads to: `../text/a%20b.xhtml#c`.
fn resolve(folder: &str, href: &str) -> String {
    let href = href.split('#').next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(character) if byte == b'%' => {
                bytes.push(character);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    let href = String::from_utf8_lossy(&bytes);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in href.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{ChunkSettings, chunk};
    use crate::documents::read;
    use crate::documents::samples::package;

    const CONTAINER: &str =
        "<container><rootfiles><rootfile full-path=\"OPS/book.opf\"/></rootfiles></container>";
    const CONTENTS: &str = "<package xmlns:dc=\"d\"><metadata><dc:title>Sách &amp; vở</dc:title></metadata><manifest>\
        <item id=\"n\" href=\"nav.xhtml\" media-type=\"application/xhtml+xml\" properties=\"nav\"/>\
        <item id=\"b\" href=\"text/hai%20b.xhtml\" media-type=\"application/xhtml+xml\"/>\
        <item id=\"a\" href=\"text/../một.xhtml\" media-type=\"application/xhtml+xml\"/>\
        <item id=\"c\" href=\"bìa.jpg\" media-type=\"image/jpeg\"/></manifest>\
        <spine><itemref idref=\"n\"/><itemref idref=\"a\"/><itemref idref=\"c\"/><itemref idref=\"b\"/><itemref idref=\"a\"/></spine></package>";

    #[test]
    fn chapters_in_reading_order() {
        let one = "<?xml version=\"1.0\"?><html><head><title/><script src=\"x.js\"/></head><body><h1>Một<a id=\"x\"/></h1><p>Tie&#x302;&#x301;ng</p></body></html>";
        let two = "<html><head><title>Hai</title></head><body><p>ba<br/>bốn</p><div/><p>năm</p></body></html>";
        let (_folder, path) = package(
            "a.epub",
            &[
                ("META-INF/container.xml", CONTAINER),
                ("OPS/book.opf", CONTENTS),
                ("OPS/nav.xhtml", "<p>Mục lục</p>"),
                ("OPS/một.xhtml", one),
                ("OPS/text/hai b.xhtml", two),
            ],
        );
        let document = read(&path).next().unwrap().unwrap();
        assert_eq!(document.title.as_deref(), Some("Sách & vở"));
        assert_eq!(document.text, "Một\n\nTiếng\n\nba\nbốn\n\nnăm");
        let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
        let found: Vec<_> = chunks
            .iter()
            .map(|chunk| (chunk.headings.join(" > "), &document.text[chunk.span.clone()]))
            .collect();
        assert_eq!(
            found,
            [
                ("Sách & vở > Một".to_owned(), "Tiếng"),
                ("Sách & vở > Hai".to_owned(), "ba\nbốn\n\nnăm")
            ]
        );
        assert!(chunks.iter().all(|chunk| chunk.place.is_none()));
    }

    #[test]
    fn a_file_that_is_not_a_book_is_damaged() {
        for parts in [
            &[("mimetype", "application/epub+zip")][..],
            &[("META-INF/container.xml", CONTAINER)],
            &[("META-INF/container.xml", "<a><b>")],
        ] {
            let (_folder, path) = package("a.epub", parts);
            let error = read(&path).next().unwrap().unwrap_err();
            assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn links_stay_inside() {
        assert_eq!(resolve("a/b", "../c/./d%20e%zz.xhtml#f"), "a/c/d e%zz.xhtml");
        assert_eq!(resolve("", "../../x"), "x");
    }
}
