//! Which format a file is in: told by its extension, or, where that is none or an unknown one, by how
//! it begins. A dot in a name is not yet an extension, and text is text whatever its name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use encoding_rs::WINDOWS_1252;
use zip::ZipArchive;

use super::encoding::{self, FlawKind};
use super::formats::compound::{self, CompoundFile};
use super::formats::{FORMATS, FileFormat, Sign, TextHead};

/// Text in a folder that is only guessed to be a document is taken up to this size. Larger ones are
/// mostly logs and dumps, which take hours to embed; who wants one names it.
const MAX_GUESSED_BYTES: u64 = 8 << 20;
/// Extensions of files that are never text. There are many such files in some folders, and opening
/// each takes time.
const BINARY: [&str; 59] = [
    "7z", "a", "aac", "ai", "apk", "avi", "avif", "bin", "bmp", "bz2", "class", "db", "dll", "dmg",
    "dylib", "eot", "exe", "flac", "gif", "gz", "heic", "heif", "ico", "img", "iso", "jar", "lib",
    "lzma", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "o", "obj", "ogg", "opus",
    "otf", "psd", "pyc", "rar", "so", "sqlite", "swf", "tar", "tgz", "ttf", "wav", "webm", "webp",
    "wma", "wmv", "woff", "woff2", "xz", "zip",
];
/// A run of so many characters without a space is no word of a text but encoded or compressed data.
const LONG_RUN: usize = 256;
/// Bytes that are looked at in a file without an extension. Binary formats have a zero or a sign of
/// their own in far fewer.
const HEAD: usize = 8 << 10;
/// Characters at the start of a text that are looked for signs.
const START_CHARS: usize = 1024;
/// Bytes of a media type.
const MEDIA_TYPE: u64 = 256;
/// At most one in so many characters of a text is a control character.
const PRINTABLE: usize = 32;

/// The format of the file at `path`; `None` if it has no reader. A file without a known extension is
/// opened, so it has to be a regular one.
///
/// # Errors
/// The file cannot be opened or read.
pub(crate) fn recognize(path: &Path) -> io::Result<Option<&'static FileFormat>> {
    if let Some(format) = by_name(path) {
        return Ok(Some(format));
    }
    let extension = path.extension().map(OsStr::to_ascii_lowercase);
    let is_binary = extension.is_some_and(|it| BINARY.iter().any(|binary| it == *binary));
    if is_binary { Ok(None) } else { by_content(path) }
}

/// What a file that nobody named is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recognized {
    /// A document.
    Format,
    /// Text of an unknown type, too large to be taken on a guess.
    LargeText,
    /// Not a document.
    Unknown,
}

/// Whether the file at `path` is taken when its folder is.
pub(crate) fn recognize_in_folder(path: &Path) -> io::Result<Recognized> {
    if by_name(path).is_some() {
        return Ok(Recognized::Format);
    }
    let Some(format) = recognize(path)? else { return Ok(Recognized::Unknown) };
    let is_text = format.signs.iter().any(|sign| matches!(sign, Sign::Text(_) | Sign::AnyText));
    let is_large = is_text && path.metadata()?.len() > MAX_GUESSED_BYTES;
    Ok(if is_large { Recognized::LargeText } else { Recognized::Format })
}

/// Whether a file of this name is text, so that its size says how much there is to read.
pub fn is_text(path: &Path) -> bool {
    by_name(path).is_some_and(|format| !format.is_binary())
}

fn by_name(path: &Path) -> Option<&'static FileFormat> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    FORMATS.iter().find(|format| format.extensions.contains(&extension.as_str()))
}

/// The format of a file whose name says `named`, but which may be in another: many programs save RTF
/// and web pages as `.doc`, and people rename files. What begins as no other format is what its name
/// says.
///
/// # Errors
/// The file cannot be opened or read.
pub(crate) fn as_it_begins(
    path: &Path,
    named: &'static FileFormat,
) -> io::Result<&'static FileFormat> {
    let has = |format: &FileFormat, is_it: fn(&Sign) -> bool| format.signs.iter().any(is_it);
    if !named.is_binary() || has(named, |sign| matches!(sign, Sign::Text(_))) {
        return Ok(named);
    }
    let Some(found) = by_content(path)? else { return Ok(named) };
    // The names of these are older than the formats, and were those of texts.
    let may_be_text = has(named, |sign| matches!(sign, Sign::Stream(_)));
    let is_any_text = has(found, |sign| matches!(sign, Sign::AnyText));
    Ok(if is_any_text && !may_be_text { named } else { found })
}

fn by_content(path: &Path) -> io::Result<Option<&'static FileFormat>> {
    let mut file = File::open(path)?;
    let mut head = Vec::with_capacity(HEAD);
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    let begins = |sign: &Sign| matches!(sign, Sign::Bytes(bytes) if head.starts_with(bytes));
    if let Some(format) = with_sign(begins) {
        return Ok(Some(format));
    }
    if head.starts_with(compound::SIGNATURE) {
        return by_streams(file);
    }
    if head.starts_with(b"PK\x03\x04") {
        file.rewind()?;
        return Ok(by_parts(file));
    }
    let Some(text) = text(&head) else { return Ok(None) };
    let start: String = text.trim_start().chars().take(START_CHARS).collect();
    let start = start.to_ascii_lowercase();
    if is_data(&text, &start) {
        return Ok(None);
    }
    let file_name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let head = TextHead { file_name, start: &start };
    Ok(with_sign(|sign| matches!(sign, Sign::Text(says_so) if says_so(&head)))
        .or_else(|| with_sign(|sign| matches!(sign, Sign::AnyText))))
}

/// Whether text says nothing to people: a key, a drawing, or data in an encoding of letters. A key
/// is better not in an index either.
fn is_data(text: &str, start: &str) -> bool {
    let is_armor = start.starts_with("-----begin ") && !start.starts_with("-----begin pgp signed");
    let is_drawing = start.starts_with('<') && start.contains("<svg");
    let runs = text.split(|c: char| c.is_whitespace() || !c.is_ascii());
    let encoded: usize = runs.map(str::len).filter(|&length| length >= LONG_RUN).sum();
    is_armor || is_drawing || encoded > text.len() / 2
}

fn by_parts(file: File) -> Option<&'static FileFormat> {
    let mut archive = ZipArchive::new(BufReader::new(file)).ok()?;
    let mut media_type = Vec::new();
    if let Ok(part) = archive.by_name("mimetype") {
        part.take(MEDIA_TYPE).read_to_end(&mut media_type).ok()?;
    }
    let has = |part: &str| archive.index_for_name(part).is_some();
    with_sign(|sign| match sign {
        Sign::Part(part) => has(part),
        Sign::MediaType(kind) => media_type.starts_with(kind.as_bytes()),
        _ => false,
    })
}

fn by_streams(file: File) -> io::Result<Option<&'static FileFormat>> {
    let Some(file) = CompoundFile::open(BufReader::new(file))? else { return Ok(None) };
    Ok(with_sign(|sign| matches!(sign, Sign::Stream(stream) if file.has(stream))))
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
        .find_map(|cut| encoding::decode_with_flaws(&head[..head.len() - cut], declared).ok())
        .filter(|decoded| decoded.flaws.iter().all(|flaw| flaw.kind == FlawKind::Wrong))?
        .text
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
        assert_eq!(format("a.GIF", "text"), None);
        assert_eq!(format("README.txt", b"\0"), Some("plain text"));
    }

    #[test]
    fn text_is_text_whatever_its_extension() {
        for name in ["README.vi", "Báo cáo 31.12", "Nghị định 15.2020", "máy.lst", "a."] {
            assert_eq!(format(name, "Số 6601: giá điện tăng\n"), Some("plain text"), "{name}");
            assert_eq!(format(name, b"\x7FELF\x02\x01\0\0"), None, "{name}");
        }
        assert_eq!(format("trang.aspx", "<!DOCTYPE html><p>a"), Some("HTML"));
        assert_eq!(format("mẫu.dotx", package("word/document.xml")), Some("DOCX"));
    }

    #[test]
    fn keys_drawings_and_encoded_data_are_no_text() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n";
        for name in ["id_ed25519", "server.pem"] {
            assert_eq!(format(name, key), None);
        }
        let signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nThe minutes.\n";
        assert_eq!(format("minutes.asc", signed), Some("plain text"));
        assert_eq!(format("a.svg", "<?xml version='1.0'?>\n<svg><path d='M 1 2'/></svg>"), None);
        assert_eq!(format("a.map", format!("{{\"mappings\":\"{}\"}}", "AAAA,".repeat(99))), None);
        // Scripts without spaces are text.
        assert_eq!(format("a.lst", "自然言語処理".repeat(99)), Some("plain text"));
    }

    #[test]
    fn large_text_is_taken_by_its_extension_or_its_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let large = |name: &str| {
            let path = folder.path().join(name);
            let lines = usize::try_from(MAX_GUESSED_BYTES / 16).unwrap() + 1;
            std::fs::write(&path, "a line of a log\n".repeat(lines)).unwrap();
            path
        };
        assert_eq!(recognize_in_folder(&large("a.lst")).unwrap(), Recognized::LargeText);
        assert_eq!(recognize_in_folder(&large("a.txt")).unwrap(), Recognized::Format);
        assert!(recognize(&folder.path().join("a.lst")).unwrap().is_some());
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
            // UTF-8 with a quote of Windows.
            b"\xc4\x91\xe1\xbb\xa7 d\xe1\xba\xa5u \x93hi",
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
        assert_eq!(format("feed", "<?xml version=\"1.0\"?><rss/>"), Some("XML"));
        assert_eq!(format("paper", "%PDF-1.7\n\0"), Some("PDF"));
        assert_eq!(format("letter", "{\\rtf1 a}"), Some("RTF"));
        assert_eq!(format("letter", package("word/document.xml")), Some("DOCX"));
        assert_eq!(format("book", package("META-INF/container.xml")), Some("EPUB"));
        assert_eq!(format("slides", package("ppt/presentation.xml")), Some("PPTX"));
        let odt =
            samples::package("a.zip", &[("mimetype", "application/vnd.oasis.opendocument.text")]);
        assert_eq!(format("text", std::fs::read(odt.1).unwrap()), Some("ODT"));
        assert_eq!(format("old", samples::compound(&[("WordDocument", b"x")])), Some("DOC"));
        assert_eq!(format("old", samples::compound(&[("PowerPoint Document", b"x")])), Some("PPT"));
        assert_eq!(format("other", samples::compound(&[("x", b"x")])), None);
    }

    #[test]
    fn a_file_is_read_as_what_it_is_and_not_as_what_it_is_called() {
        let read_as = |name: &str, content: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            as_it_begins(&path, recognize(&path).unwrap().unwrap()).unwrap().name
        };
        let word = samples::compound(&[("WordDocument", b"x")]);
        let slides = samples::compound(&[("PowerPoint Document", b"x")]);
        let docx = package("word/document.xml");
        assert_eq!(read_as("a.doc", &word), "DOC");
        assert_eq!(read_as("a.doc", b"{\\rtf1 a}"), "RTF");
        assert_eq!(read_as("a.doc", b"<html><p>a"), "HTML");
        assert_eq!(read_as("a.doc", b"plain text"), "plain text");
        assert_eq!(read_as("a.doc", &docx), "DOCX");
        assert_eq!(read_as("a.rtf", &word), "DOC");
        assert_eq!(read_as("a.rtf", &docx), "DOCX");
        assert_eq!(read_as("a.docx", &word), "DOC");
        assert_eq!(read_as("a.docx", &package("ppt/presentation.xml")), "PPTX");
        assert_eq!(read_as("a.docx", b"%PDF-1.4"), "PDF");
        assert_eq!(read_as("a.pptx", &slides), "PPT");
        // What begins as nothing else is what it is called, and its reader says what is wrong.
        assert_eq!(read_as("a.docx", b"PK no zip"), "DOCX");
        assert_eq!(read_as("a.docx", &samples::compound(&[("EncryptedPackage", b"x")])), "DOCX");
        assert_eq!(read_as("a.pdf", b"text %PDF-"), "PDF");
        assert_eq!(read_as("a.fodt", b"<?xml version='1.0'?><office:document/>"), "ODT");
        assert_eq!(read_as("a.md", &word), "Markdown");
    }

    #[test]
    fn binary_files_have_no_format() {
        let binary = [
            &b"\x7FELF\x02\x01\0\0"[..],
            b"GIF89a\x01\0",
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
