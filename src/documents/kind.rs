//! What a file holds: told by its extension, or, where it has none, by how it begins.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use zip::ZipArchive;

use super::encoding;

/// The extensions that have a reader, for messages.
pub(crate) const SUPPORTED: &str = ".md, .txt, .html, .pdf, .docx, .epub, .jsonl, source code such as .py or .rs, and text without extension";

/// Bytes that tell what a file without an extension holds. Binary formats have a zero or a sign of
/// their own in far fewer.
const HEAD: usize = 8 << 10;
/// Of so many characters of a text one may be a control character.
const PRINTABLE: usize = 32;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Markdown,
    Plain,
    Code,
    JsonLines,
    Html,
    Docx,
    Pdf,
    Epub,
    /// Formats without a reader that people take for supported: named, not passed over.
    Legacy,
}

impl FileKind {
    /// What the file at `path` holds; `None` if no reader has it. A file without an extension is
    /// opened, so it has to be a regular one.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match path.extension() {
            Some(extension) => Ok(extension.to_str().and_then(Self::of_extension)),
            None => Self::of_content(path),
        }
    }

    fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "md" | "markdown" | "mdx" | "qmd" | "rmd" => Some(Self::Markdown),
            "txt" | "text" | "rst" | "adoc" | "org" | "tex" => Some(Self::Plain),
            "jsonl" => Some(Self::JsonLines),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            "docx" => Some(Self::Docx),
            "pdf" => Some(Self::Pdf),
            "epub" => Some(Self::Epub),
            "doc" | "rtf" | "odt" => Some(Self::Legacy),
            extension => CODE.contains(&extension).then_some(Self::Code),
        }
    }

    /// By the signs that formats begin with; otherwise it is a text, or nothing that can be read.
    fn of_content(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let mut head = Vec::with_capacity(HEAD);
        (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
        if head.starts_with(b"%PDF-") {
            return Ok(Some(Self::Pdf));
        }
        if head.starts_with(b"{\\rtf") {
            return Ok(Some(Self::Legacy));
        }
        if head.starts_with(b"PK\x03\x04") {
            file.rewind()?;
            return Ok(Self::of_package(file));
        }
        let Some(text) = text(&head) else { return Ok(None) };
        let begin = text.trim_start().chars().take(1024).collect::<String>().to_ascii_lowercase();
        let is_page = begin.starts_with("<!doctype html")
            || begin.starts_with("<html")
            || (begin.starts_with("<?xml") && begin.contains("<html"));
        // Lines mean something in scripts, and in what programs look for by its name: Makefile,
        // Dockerfile, Jenkinsfile.
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let is_code = begin.starts_with("#!") || name.to_ascii_lowercase().ends_with("file");
        Ok(Some(match (is_page, is_code) {
            (true, _) => Self::Html,
            (false, true) => Self::Code,
            (false, false) => Self::Plain,
        }))
    }

    /// Of a ZIP file, by the parts that its reader asks for.
    fn of_package(file: File) -> Option<Self> {
        let archive = ZipArchive::new(io::BufReader::new(file)).ok()?;
        let has = |name: &str| archive.index_for_name(name).is_some();
        if has("word/document.xml") {
            Some(Self::Docx)
        } else {
            has("META-INF/container.xml").then_some(Self::Epub)
        }
    }
}

/// Source code and configuration that people write by hand.
const CODE: [&str; 69] = [
    "bash", "bat", "c", "cc", "cfg", "clj", "cmake", "conf", "cpp", "cs", "cu", "cuh", "cxx",
    "dart", "el", "erl", "ex", "exs", "fs", "go", "gradle", "graphql", "h", "hpp", "hs", "hxx",
    "ini", "java", "jl", "js", "jsx", "kt", "kts", "lisp", "lua", "m", "mjs", "ml", "mm", "nim",
    "nix", "pas", "php", "pl", "pm", "proto", "ps1", "py", "r", "rb", "rs", "scala", "scm", "sh",
    "sol", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts", "tsx", "v", "vb", "vue", "yaml",
    "yml", "zig",
];

/// How a file begins, if that is text in an encoding that can be told.
fn text(head: &[u8]) -> Option<String> {
    // The last character may be cut in two.
    let longest = if head.len() == HEAD { 3 } else { 0 };
    let text = (0..=longest)
        .find_map(|cut| encoding::decode(&head[..head.len() - cut], None).ok())?
        .into_owned();
    let odd = text.chars().filter(|c| c.is_control() && !c.is_whitespace()).count();
    (odd * PRINTABLE <= text.chars().count()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn kind(name: &str, content: impl AsRef<[u8]>) -> Option<FileKind> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        FileKind::of(&path).unwrap()
    }

    /// A ZIP file with one part.
    fn package(part: &str) -> Vec<u8> {
        let mut bytes = io::Cursor::new(Vec::new());
        let mut zip = zip::ZipWriter::new(&mut bytes);
        zip.start_file(part, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"<x/>").unwrap();
        zip.finish().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn an_extension_says_it_whatever_the_content() {
        assert_eq!(kind("a.MD", "%PDF-1.4"), Some(FileKind::Markdown));
        assert_eq!(kind("a.png", "text"), None);
        assert_eq!(kind("a.", "text"), None);
        assert_eq!(kind("README.txt", b"\0"), Some(FileKind::Plain));
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
            assert_eq!(kind("NOTES", content), Some(FileKind::Plain), "{content:?}");
        }
        assert_eq!(kind("tool", "#!/bin/sh\nexit\n"), Some(FileKind::Code));
        assert_eq!(kind("Makefile", "all:\n\tcc a.c\n"), Some(FileKind::Code));
        assert_eq!(kind("index", "\n<!DOCTYPE HTML><p>a"), Some(FileKind::Html));
        let page = "<?xml version=\"1.0\"?>\n<html xmlns=\"x\"><p>a</p></html>";
        assert_eq!(kind("index", page), Some(FileKind::Html));
        assert_eq!(kind("feed", "<?xml version=\"1.0\"?><rss/>"), Some(FileKind::Plain));
        assert_eq!(kind("paper", "%PDF-1.7\n\0"), Some(FileKind::Pdf));
        assert_eq!(kind("letter", "{\\rtf1 a}"), Some(FileKind::Legacy));
        assert_eq!(kind("letter", package("word/document.xml")), Some(FileKind::Docx));
        assert_eq!(kind("book", package("META-INF/container.xml")), Some(FileKind::Epub));
    }

    #[test]
    fn what_is_no_text_is_nothing() {
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
            assert_eq!(kind("data", content), None, "{content:?}");
        }
        assert_eq!(kind("app", package("META-INF/MANIFEST.MF")), None);
    }

    /// Wherever the part that is looked at ends.
    #[test]
    fn a_character_that_is_cut_is_no_damage() {
        for shift in 0..4 {
            let text = format!("{}{}", "x".repeat(shift), "ế🙂".repeat(HEAD));
            assert_eq!(kind("NOTES", &text), Some(FileKind::Plain), "{shift}");
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
            assert_eq!(kind("NOTES", marked), Some(FileKind::Plain), "{shift}");
        }
        let mut late = "text ".repeat(HEAD).into_bytes();
        late.push(0xff);
        assert_eq!(kind("NOTES", late), Some(FileKind::Plain));
    }
}
