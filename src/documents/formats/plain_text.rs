//! Plain text and source code, and the text of files in formats whose markup is text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use encoding_rs::Encoding;

use super::TextHead;
use crate::documents::Markup;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::encoding::{self, NotText};
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_DOCUMENT_BYTES;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    Ok(Contents::One(Extract { text: text(file, path)?, ..Extract::default() }))
}

pub(crate) fn read_code(file: File, path: &Path) -> Result<Contents, ReadError> {
    let text = text(file, path)?;
    Ok(Contents::One(Extract { text, markup: Markup::Code, ..Extract::default() }))
}

/// Lines mean something in scripts, and in the files that programs look for by name: Makefile,
/// Dockerfile, Jenkinsfile.
pub(crate) fn is_code(head: &TextHead) -> bool {
    head.start.starts_with("#!") || head.file_name.to_ascii_lowercase().ends_with("file")
}

/// All of a text file, decoded and cleaned.
pub(crate) fn text(file: File, path: &Path) -> Result<String, ReadError> {
    decoded(&bytes(file, path)?, None, path)
}

/// The same of a file that says in which encoding it is; `declared` finds that out.
pub(crate) fn text_as_declared(
    file: File,
    path: &Path,
    declared: fn(&[u8]) -> &'static Encoding,
) -> Result<String, ReadError> {
    let bytes = bytes(file, path)?;
    // ISO-2022-JP is ASCII with escapes.
    let is_utf8 = !bytes.contains(&b'\x1b') && std::str::from_utf8(&bytes).is_ok();
    decoded(&bytes, (!is_utf8).then(|| declared(&bytes)), path)
}

fn decoded(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
    path: &Path,
) -> Result<String, ReadError> {
    let path = path.to_owned();
    match encoding::decode(bytes, declared) {
        Ok(text) => Ok(clean(&text).into_owned()),
        Err(NotText::Binary(offset)) => Err(ReadError::Binary { path, offset: offset as u64 }),
        Err(NotText::Unknown(offset)) => Err(ReadError::UnknownEncoding { path, offset }),
    }
}

fn bytes(file: File, path: &Path) -> Result<Vec<u8>, ReadError> {
    let limit = MAX_DOCUMENT_BYTES;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(ReadError::io(path))?;
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}
