//! ZIP files that hold documents (DOCX, PPTX, ODT, EPUB), unpacked within bounds, and what their XML has in
//! common.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use unicode_normalization::UnicodeNormalization;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::documents::charset;
use crate::documents::clean::clean;
use crate::documents::encoding;
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::title::tidy_title;

/// Relations of one part that are remembered. Large documents have thousands of pictures.
const MAX_RELATIONS: usize = 1 << 16;

/// An open ZIP file.
pub(crate) struct Package<'p, R = BufReader<File>> {
    path: &'p Path,
    archive: ZipArchive<R>,
    /// Bytes that may still be unpacked.
    room: usize,
    /// The number of each part by its name as [`folded`] writes it, once one was not found under
    /// its own.
    folded: Option<HashMap<String, usize>>,
}

/// Another part that a part refers to.
pub(crate) struct Relation {
    /// By which the part calls it.
    pub id: String,
    /// The last word of its type: `styles`, `header`.
    pub kind: String,
    /// The name of the part.
    pub target: String,
}

impl<'p> Package<'p> {
    pub fn open(file: File, path: &'p Path) -> Result<Self, ReadError> {
        Self::of(BufReader::new(file), path, MAX_UNPACKED_BYTES)
    }
}

impl<'p, R: Read + Seek> Package<'p, R> {
    fn of(source: R, path: &'p Path, room: usize) -> Result<Self, ReadError> {
        match ZipArchive::new(source) {
            Ok(archive) => Ok(Self { path, archive, room, folded: None }),
            Err(error) => Err(damaged(path, &error)),
        }
    }

    /// Reads a ZIP file that is a part of this one. What it unpacks to counts as text of this one.
    pub fn within<T>(
        &mut self,
        bytes: Vec<u8>,
        read: impl FnOnce(&mut Package<'p, Cursor<Vec<u8>>>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut inner = Package::of(Cursor::new(bytes), self.path, self.room)?;
        let read = read(&mut inner);
        self.room = inner.room;
        read
    }

    pub fn path(&self) -> &'p Path {
        self.path
    }

    /// The names of all parts, in no order.
    pub fn names(&self) -> Vec<String> {
        self.archive
            .file_names_raw()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// The text of a part; `None` if there is no such part.
    ///
    /// # Errors
    /// The part is damaged or encrypted, or more than may still be unpacked.
    pub fn part(&mut self, name: &str) -> Result<Option<String>, ReadError> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        let is_utf8 = std::str::from_utf8(&bytes).is_ok();
        let declared = if is_utf8 { None } else { charset::declared(&bytes) };
        match encoding::decode(&bytes, declared) {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(reason) => Err(ReadError::Damaged {
                path: self.path.to_owned(),
                why: format!("`{}` in it is {reason}", shown_name(name)),
            }),
        }
    }

    /// The bytes of a part, likewise.
    pub fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let path = self.path;
        let Some(number) = self.find(name) else { return Ok(None) };
        let part = self.archive.by_index(number).map_err(|error| damaged(path, &error))?;
        let mut bytes = Vec::new();
        part.take(self.room as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(path, &ZipError::Io(error)))?;
        if bytes.len() > self.room {
            return Err(ReadError::Unpacked { path: path.to_owned(), limit: MAX_UNPACKED_BYTES });
        }
        self.room -= bytes.len();
        Ok(Some(bytes))
    }

    /// The number of a part: of the one with exactly this name, else of one whose name is written
    /// otherwise.
    pub fn find(&mut self, name: &str) -> Option<usize> {
        if let Some(number) = self.archive.index_for_name(name) {
            return Some(number);
        }
        let archive = &self.archive;
        let names = self.folded.get_or_insert_with(|| {
            let mut numbers = HashMap::new();
            for (number, name) in archive.file_names_raw().enumerate() {
                numbers.entry(folded(&String::from_utf8_lossy(name))).or_insert(number);
            }
            numbers
        });
        names.get(&folded(name)).copied()
    }

    /// The parts that a part refers to; none if it does not say, or in damaged XML.
    pub fn relations(&mut self, part: &str) -> Vec<Relation> {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        let relations = resolve(folder, &format!("_rels/{name}.rels"));
        let Ok(Some(xml)) = self.part(&relations) else { return Vec::new() };
        let mut relations = Vec::new();
        let mut reader = Reader::from_str(&xml);
        while let Ok(event) = reader.read_event() {
            let (Event::Start(tag) | Event::Empty(tag)) = event else {
                if matches!(event, Event::Eof) {
                    break;
                }
                continue;
            };
            let is_outside = attribute(&tag, "TargetMode").is_some_and(|mode| mode == "External");
            if let (Some(kind), Some(target), false) =
                (attribute(&tag, "Type"), attribute(&tag, "Target"), is_outside)
            {
                relations.push(Relation {
                    id: attribute(&tag, "Id").unwrap_or_default(),
                    kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
                    target: resolve(folder, &target),
                });
            }
            if relations.len() == MAX_RELATIONS {
                break;
            }
        }
        relations
    }
}

/// A part's name in one spelling, however it is written: composed, in small letters, with `/`.
/// Systems disagree about the Unicode form of names and about capitals.
fn folded(name: &str) -> String {
    let name: String = name.nfc().flat_map(char::to_lowercase).collect();
    resolve("", &name)
}

/// The name of the part that a path relative to a folder leads to; from the root if the path begins
/// with `/`. Some programs write `\`.
pub(crate) fn resolve(folder: &str, path: &str) -> String {
    let folder = if path.starts_with(['/', '\\']) { "" } else { folder };
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split(['/', '\\']) {
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

fn damaged(path: &Path, error: &ZipError) -> ReadError {
    let path = path.to_owned();
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => ReadError::Encrypted { path },
        error => ReadError::Damaged { path, why: error.to_string() },
    }
}

/// An encrypted Office document is not a ZIP file but a compound file, as the formats before DOCX
/// were.
pub(crate) fn reject_compound_file(file: &mut File, path: &Path) -> Result<(), ReadError> {
    let mut head = [0; 8];
    let length = file.read(&mut head).map_err(ReadError::io(path))?;
    file.rewind().map_err(ReadError::io(path))?;
    if &head[..length] == b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" {
        return Err(ReadError::Encrypted { path: path.to_owned() });
    }
    Ok(())
}

/// A name from a file, as messages show it.
pub(crate) fn shown_name(name: &str) -> String {
    tidy_title(&clean(name)).unwrap_or_default()
}

/// Reads XML as far as it makes sense: programs get some of it wrong.
pub(crate) fn lenient(xml: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    reader
}

/// An attribute, by its name without the namespace.
pub(crate) fn attribute(tag: &BytesStart, name: &str) -> Option<String> {
    let mut attributes = tag.attributes();
    let attributes = attributes.with_checks(false).flatten();
    let mut named = attributes.filter(|attribute| attribute.key.local_name().as_ref() == name);
    Some(named.next()?.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

/// The character that `&…;` stands for; entities that a file defines itself stand for nothing.
pub(crate) fn entity(reference: &BytesRef) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(reference).unwrap_or_default().to_owned(),
    }
}

/// The text of the first element of this name, as a title; `None` in damaged XML.
pub(crate) fn element_text(xml: &str, name: &str) -> Option<String> {
    let (mut text, mut inside) = (String::new(), false);
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Eof => return None,
            Event::Start(tag) => inside |= tag.local_name().as_ref() == name,
            Event::Text(part) if inside => text.push_str(&part.xml10_content()),
            Event::CData(part) if inside => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if inside => text.push_str(&entity(&reference)),
            Event::End(_) if inside => return tidy_title(&clean(&text)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::samples;

    #[test]
    fn a_part_is_found_however_its_name_is_written() {
        let names =
            ["OPS\\a.xhtml", "Text/Chu\u{31b}o\u{31b}ng 1.xhtml", "./word//X.xml", "same", "Same"];
        let parts: Vec<(&str, &str)> = names.iter().map(|&name| (name, name)).collect();
        let (_folder, path) = samples::package("a.zip", &parts);
        let mut package = Package::open(File::open(&path).unwrap(), &path).unwrap();
        let mut part = |name: &str| package.part(name).unwrap();
        for (asked, found) in [
            ("OPS/a.xhtml", Some(names[0])),
            ("ops/A.XHTML", Some(names[0])),
            ("text/ch\u{1b0}\u{1a1}ng 1.xhtml", Some(names[1])),
            ("/word/x.xml", Some(names[2])),
            ("Same", Some("Same")),
            ("same", Some("same")),
            ("SAME", Some("same")),
            ("b", None),
        ] {
            assert_eq!(part(asked).as_deref(), found, "{asked}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(resolve("a/b", "../c/./d"), "a/c/d");
        assert_eq!(resolve("a/b", "/c"), "c");
        assert_eq!(resolve("", "../../x"), "x");
    }

    #[test]
    fn relations_name_parts() {
        let xml = "<Relationships><Relationship Id=\"a\" Type=\"http://x/styles\" Target=\"../s.xml\"/>\
            <Relationship Id=\"b\" Type=\"y/hyperlink\" Target=\"http://z\" TargetMode=\"External\"/>\
            <Relationship Id=\"c\" Type=\"header\" Target=\"/h.xml\"/></Relationships>";
        let (_folder, path) = samples::package("a.zip", &[("w/_rels/d.xml.rels", xml)]);
        let mut package = Package::open(File::open(&path).unwrap(), &path).unwrap();
        let relations: Vec<_> =
            package.relations("w/d.xml").into_iter().map(|it| (it.kind, it.target)).collect();
        let expected = [("styles", "s.xml"), ("header", "h.xml")];
        assert_eq!(relations, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
