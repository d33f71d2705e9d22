//! Which format a file is in: told by its extension, or, where it has none, by how it begins.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use encoding_rs::WINDOWS_1252;
use zip::ZipArchive;

use super::encoding;
use super::formats::{FORMATS, FileFormat, Sign, TextHead};

/// Bytes that are looked at in a file without an extension. Binary formats have a zero or a sign of
/// their own in far fewer.
const HEAD: usize = 8 << 10;
/// Characters at the start of a text that are looked for signs.
const START_CHARS: usize = 1024;
/// At most one in so many characters of a text is a control character.
const PRINTABLE: usize = 32;

/// The format of the file at `path`; `None` if it has no reader. A file without an extension is
/// opened, so it has to be a regular one.
///
/// # Errors
/// The file cannot be opened or read.
pub(crate) fn recognize(path: &Path) -> io::Result<Option<&'static FileFormat>> {
    match path.extension() {
        Some(extension) => Ok(extension.to_str().and_then(by_extension)),
        None => by_content(path),
    }
}

fn by_extension(extension: &str) -> Option<&'static FileFormat> {
    let extension = extension.to_ascii_lowercase();
    FORMATS.iter().find(|format| format.extensions.contains(&extension.as_str()))
}

fn by_content(path: &Path) -> io::Result<Option<&'static FileFormat>> {
    let mut file = File::open(path)?;
    let mut head = Vec::with_capacity(HEAD);
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    let begins = |sign: &Sign| matches!(sign, Sign::Bytes(bytes) if head.starts_with(bytes));
    if let Some(format) = with_sign(begins) {
        return Ok(Some(format));
    }
    if head.starts_with(b"PK\x03\x04") {
        file.rewind()?;
        return Ok(by_parts(file));
    }
    let Some(text) = text(&head) else { return Ok(None) };
    let start: String = text.trim_start().chars().take(START_CHARS).collect();
    let file_name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let head = TextHead { file_name, start: &start.to_ascii_lowercase() };
    Ok(with_sign(|sign| matches!(sign, Sign::Text(says_so) if says_so(&head)))
        .or_else(|| with_sign(|sign| matches!(sign, Sign::AnyText))))
}

fn by_parts(file: File) -> Option<&'static FileFormat> {
    let archive = ZipArchive::new(BufReader::new(file)).ok()?;
    let has = |part: &str| archive.index_for_name(part).is_some();
    with_sign(|sign| matches!(sign, Sign::Part(part) if has(part)))
}

fn with_sign(is_there: impl Fn(&Sign) -> bool) -> Option<&'static FileFormat> {
    FORMATS.iter().find(|format| format.signs.iter().any(&is_there))
}

/// How a file begins, if that is text in an encoding that can be recognized.
fn text(head: &[u8]) -> Option<String> {
    // The last character may be cut in two.
    let max_cut = if head.len() == HEAD { 3 } else { 0 };
    // What begins with a tag may be a page that says further on in which encoding it is.
    let declared = head.trim_ascii_start().starts_with(b"<").then_some(WINDOWS_1252);
    let text = (0..=max_cut)
        .find_map(|cut| encoding::decode(&head[..head.len() - cut], declared).ok())?
        .into_owned();
    let odd = text.chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
    (odd * PRINTABLE <= text.chars().count()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::samples;

    fn format(name: &str, content: impl AsRef<[u8]>) -> Option<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        recognize(&path).unwrap().map(|format| format.name)
    }

    /// A ZIP file with one part.
    fn package(part: &str) -> Vec<u8> {
        let (_folder, path) = samples::package("a.zip", &[(part, "<x/>")]);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn an_extension_says_it_whatever_the_content() {
        assert_eq!(format("a.MD", "%PDF-1.4"), Some("Markdown"));
        assert_eq!(format("a.png", "text"), None);
        assert_eq!(format("a.", "text"), None);
        assert_eq!(format("README.txt", b"\0"), Some("plain text"));
    }

    #[test]
    fn without_an_extension_the_content_says_it() {
        let plain = [
            &b""[..],
            b"MIT License\n\nCopyright",
            "Ghi chú: tiếng Việt có dấu".as_bytes(),
            // UTF-16 and TCVN3.
            b"\xFF\xFEa\0b\0",
            b"C\xe9ng h\xdfa x\xb7 h\xe9i ch\xf1 ngh\xdca Vi\xd6t Nam",
            b"page\x0cbreak and \x1b[1mbold\x1b[0m words in a terminal's log of some length",
        ];
        for content in plain {
            assert_eq!(format("NOTES", content), Some("plain text"), "{content:?}");
        }
        assert_eq!(format("tool", "#!/bin/sh\nexit\n"), Some("source code"));
        assert_eq!(format("Makefile", "all:\n\tcc a.c\n"), Some("source code"));
        assert_eq!(format("index", "\n<!DOCTYPE HTML><p>a"), Some("HTML"));
        assert_eq!(format("index", b"<html><meta charset=latin1><p>caf\xe9"), Some("HTML"));
        let page = "<?xml version=\"1.0\"?>\n<html xmlns=\"x\"><p>a</p></html>";
        assert_eq!(format("index", page), Some("HTML"));
        assert_eq!(format("feed", "<?xml version=\"1.0\"?><rss/>"), Some("plain text"));
        assert_eq!(format("paper", "%PDF-1.7\n\0"), Some("PDF"));
        assert_eq!(format("letter", "{\\rtf1 a}"), Some("older formats"));
        assert_eq!(format("letter", package("word/document.xml")), Some("DOCX"));
        assert_eq!(format("book", package("META-INF/container.xml")), Some("EPUB"));
    }

    #[test]
    fn binary_files_have_no_format() {
        let binary = [
            &b"\x7FELF\x02\x01\0\0"[..],
            b"\x89PNG\r\n\x1a\n",
            b"\x1f\x8b\x08\x03\xfe\xed",
            b"text with a \0 in it",
            b"\xca\xfe\xba\xbe\x03\xff",
            b"\x01\x02\x03\x04 no zero, but no text",
            b"PK\x03\x04 broken",
            b"Caf\xe9 in an encoding that cannot be told",
        ];
        for content in binary {
            assert_eq!(format("data", content), None, "{content:?}");
        }
        assert_eq!(format("app", package("META-INF/MANIFEST.MF")), None);
    }

    /// Wherever the part that is looked at ends.
    #[test]
    fn a_character_that_is_cut_does_no_damage() {
        for shift in 0..4 {
            let text = format!("{}{}", "x".repeat(shift), "ế🙂".repeat(HEAD));
            assert_eq!(format("NOTES", &text), Some("plain text"), "{shift}");
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
            assert_eq!(format("NOTES", marked), Some("plain text"), "{shift}");
        }
        let mut late = "text ".repeat(HEAD).into_bytes();
        late.push(0xff);
        assert_eq!(format("NOTES", late), Some("plain text"));
    }
}
