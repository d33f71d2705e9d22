//! ZIP files that hold documents (DOCX, EPUB), unpacked within bounds, and what their XML has in
//! common.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::documents::clean::clean;
use crate::documents::encoding;
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::title::tidy_title;

/// An open ZIP file.
pub(crate) struct Package<'p> {
    path: &'p Path,
    archive: ZipArchive<BufReader<File>>,
    /// Bytes that may still be unpacked.
    room: usize,
}

impl<'p> Package<'p> {
    pub fn open(file: File, path: &'p Path) -> Result<Self, ReadError> {
        match ZipArchive::new(BufReader::new(file)) {
            Ok(archive) => Ok(Self { path, archive, room: MAX_UNPACKED_BYTES }),
            Err(error) => Err(damaged(path, &error)),
        }
    }

    /// The text of a part; `None` if there is no such part.
    ///
    /// # Errors
    /// The part is damaged or encrypted, or more than may still be unpacked.
    pub fn part(&mut self, name: &str) -> Result<Option<String>, ReadError> {
        let path = self.path;
        let part = match self.archive.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(path, &error)),
        };
        let mut bytes = Vec::new();
        part.take(self.room as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(path, &ZipError::Io(error)))?;
        if bytes.len() > self.room {
            return Err(ReadError::Unpacked { path: path.to_owned(), limit: MAX_UNPACKED_BYTES });
        }
        self.room -= bytes.len();
        match encoding::decode(&bytes, None) {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(reason) => Err(ReadError::Damaged {
                path: path.to_owned(),
                why: format!("`{name}` in it is {reason}"),
            }),
        }
    }
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
            Event::GeneralRef(reference) if inside => text.push_str(&entity(&reference)),
            Event::End(_) if inside => return tidy_title(&clean(&text)),
            _ => {}
        }
    }
}
