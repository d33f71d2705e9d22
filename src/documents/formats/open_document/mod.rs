//! `OpenDocument` texts and presentations (ODT, ODP), packed or in one flat XML file: headings, lists
//! with their numbers, tables, notes, comments and text boxes.
//!
//! Deleted text, tables of contents and the placeholders of a presentation's master are left out.
//! What is written around the pages (headers, footers) is read once.

mod content;
mod lists;
mod styles;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::TextHead;
use super::package::{Package, element_text};
use crate::documents::bytes::bytes_of;
use crate::documents::contents::{Contents, Extract};
use crate::documents::encoding;
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::structure::Places;
use content::Content;
use styles::Styles;

/// Whether a text without an extension is a flat document.
pub(crate) fn is_flat_text(head: &TextHead) -> bool {
    is_flat(head, "application/vnd.oasis.opendocument.text")
}

pub(crate) fn is_flat_presentation(head: &TextHead) -> bool {
    is_flat(head, "application/vnd.oasis.opendocument.presentation")
}

/// The attribute that says it may stand behind many declarations of namespaces.
fn is_flat(head: &TextHead, kind: &str) -> bool {
    head.start.starts_with("<?xml") && head.start.contains(&format!("office:mimetype=\"{kind}\""))
}

pub(crate) fn read(mut file: File, path: &Path) -> Result<Contents, ReadError> {
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head).map_err(ReadError::io(path))?;
    file.rewind().map_err(ReadError::io(path))?;
    let extract =
        if head.starts_with(b"PK") { packed(file, path)? } else { flat(&text(file, path)?, path)? };
    Ok(Contents::One(extract))
}

fn packed(file: File, path: &Path) -> Result<Extract, ReadError> {
    let mut package = Package::open(file, path)?;
    let manifest = package.part("META-INF/manifest.xml")?.unwrap_or_default();
    if manifest.contains("encryption-data") {
        return Err(ReadError::Encrypted { path: path.to_owned() });
    }
    let Some(content) = package.part("content.xml")? else {
        let why = "there is no text in it; it may be another kind of file".to_owned();
        return Err(ReadError::Damaged { path: path.to_owned(), why });
    };
    let styles = package.part("styles.xml")?.unwrap_or_default();
    let meta = package.part("meta.xml")?.unwrap_or_default();
    let extract = extract(&[&styles, &content], path)?;
    Ok(Extract { title: element_text(&meta, "title"), ..extract })
}

/// The text of a flat file.
fn text(file: File, path: &Path) -> Result<String, ReadError> {
    let bytes = bytes_of(file, path, MAX_UNPACKED_BYTES)?;
    match encoding::decode(&bytes, None) {
        Ok(text) => Ok(text.into_owned()),
        Err(reason) => {
            Err(ReadError::Damaged { path: path.to_owned(), why: format!("it is {reason}") })
        }
    }
}

fn flat(document: &str, path: &Path) -> Result<Extract, ReadError> {
    // Drawings have titles too.
    let meta = document.find("<office:meta>").map_or("", |start| &document[start..]);
    let meta = meta.split_once("</office:meta>").map_or("", |(meta, _)| meta);
    let extract = extract(&[document], path)?;
    Ok(Extract { title: element_text(meta, "title"), ..extract })
}

/// The text of these parts, of which the last has the body.
fn extract(parts: &[&str], path: &Path) -> Result<Extract, ReadError> {
    let damaged = |error: quick_xml::Error| ReadError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut styles = Styles::default();
    for part in parts {
        styles.read(part).map_err(damaged)?;
    }
    let mut content = Content::new(styles);
    for part in parts {
        content.read_around(part).map_err(damaged)?;
    }
    let Some(body) = parts.last() else { return Ok(Extract::default()) };
    content.read_body(body).map_err(damaged)?;
    let has_slides = content.has_slides();
    Ok(content.finish(|marks| if has_slides { Places::Slides(marks) } else { Places::Nowhere }))
}
