//! The formats that are read: one row each of [`FORMATS`], from which recognition, messages and the
//! documentation follow.
//!
//! A new format is a [`Reader`] in a file of its own here, and a row.

pub(crate) mod compound;
mod doc;
mod docx;
mod email;
mod epub;
mod flow;
mod html;
mod ipynb;
mod json;
mod json_lines;
pub(crate) mod markdown;
mod numerals;
mod open_document;
mod package;
pub(crate) mod pdf;
mod picture;
pub(crate) mod plain_text;
mod ppt;
mod pptx;
mod rtf;
pub(crate) mod sheets;
mod subtitles;
mod tables;
mod xml;

use super::contents::Reader;
use super::structure::Places;

pub(crate) struct FileFormat {
    /// In the documentation.
    pub name: &'static str,
    /// In messages, for all of the format's extensions; `None` if it is only refused.
    pub offered_as: Option<&'static str>,
    /// In lower case, without the dot.
    pub extensions: &'static [&'static str],
    /// What tells the format in a file without a known extension.
    pub signs: &'static [Sign],
    pub cites: Unit,
    pub read: Reader,
}

impl FileFormat {
    /// Whether files are recognized by something other than their text.
    pub fn is_binary(&self) -> bool {
        self.signs.iter().any(|sign| !matches!(sign, Sign::Text(_) | Sign::AnyText))
    }
}

/// What a file is recognized by. Bytes decide before parts, and parts before text.
pub(crate) enum Sign {
    /// The file begins with these bytes.
    Bytes(&'static [u8]),
    /// The file is a ZIP file with a part of this name.
    Part(&'static str),
    /// The file is a ZIP file whose part `mimetype` begins so.
    MediaType(&'static str),
    /// The file is a compound file with a stream of this name.
    Stream(&'static str),
    /// The file is text, and its name and how it begins say so.
    Text(fn(&TextHead) -> bool),
    /// The file is text of no other format.
    AnyText,
}

/// What a [`Sign::Text`] looks at.
pub(crate) struct TextHead<'t> {
    pub file_name: &'t str,
    /// From the first letter on, in lower case.
    pub start: &'t str,
}

/// What a citation names beside the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Line,
    /// Where the file has pages.
    Page,
    /// Of a sheet, which is the heading.
    Row,
    Slide,
    /// Since a recording began.
    Time,
    /// The heading alone.
    Heading,
}

impl Unit {
    /// Whether citations from a document with these places name this unit, or no place at all.
    pub fn names(self, places: &Places) -> bool {
        match places {
            // Pages and text are also saved under the names of workbooks.
            Places::TextLines | Places::Lines(_) => matches!(self, Self::Line | Self::Row),
            Places::Pages(_) => self == Self::Page,
            Places::Rows(_) => self == Self::Row,
            Places::Slides(_) => self == Self::Slide,
            Places::Seconds { .. } => self == Self::Time,
            Places::Nowhere => true,
        }
    }
}

pub(crate) static FORMATS: &[FileFormat] = &[
    FileFormat {
        name: "Markdown",
        offered_as: Some(".md"),
        extensions: &["md", "markdown", "mdx", "qmd", "rmd"],
        signs: &[],
        cites: Unit::Line,
        read: markdown::read,
    },
    FileFormat {
        name: "plain text",
        offered_as: Some(".txt"),
        extensions: &["txt", "text", "rst", "adoc", "org", "tex"],
        signs: &[Sign::AnyText],
        cites: Unit::Line,
        read: plain_text::read,
    },
    FileFormat {
        name: "HTML",
        offered_as: Some(".html"),
        extensions: &["html", "htm", "xhtml"],
        signs: &[Sign::Text(html::is_page)],
        cites: Unit::Line,
        read: html::read,
    },
    FileFormat {
        name: "PDF",
        offered_as: Some(".pdf"),
        extensions: &["pdf"],
        signs: &[Sign::Bytes(b"%PDF-")],
        cites: Unit::Page,
        read: pdf::read,
    },
    FileFormat {
        name: "pictures",
        offered_as: Some("pictures of text such as .png"),
        extensions: &["png", "jpg", "jpeg", "tif", "tiff"],
        signs: &[
            Sign::Bytes(b"\x89PNG\r\n\x1a\n"),
            Sign::Bytes(b"\xff\xd8\xff"),
            Sign::Bytes(b"II*\0"),
            Sign::Bytes(b"MM\0*"),
        ],
        cites: Unit::Page,
        read: picture::read,
    },
    FileFormat {
        name: "DOCX",
        offered_as: Some(".docx"),
        extensions: &["docx", "docm", "dotx", "dotm"],
        signs: &[Sign::Part("word/document.xml")],
        cites: Unit::Page,
        read: docx::read,
    },
    FileFormat {
        name: "DOC",
        offered_as: Some(".doc"),
        extensions: &["doc", "dot"],
        signs: &[Sign::Stream("WordDocument")],
        cites: Unit::Heading,
        read: doc::read,
    },
    FileFormat {
        name: "PPTX",
        offered_as: Some(".pptx"),
        extensions: &["pptx", "ppsx", "pptm", "ppsm", "potx", "potm"],
        signs: &[Sign::Part("ppt/presentation.xml")],
        cites: Unit::Slide,
        read: pptx::read,
    },
    FileFormat {
        name: "PPT",
        offered_as: Some(".ppt"),
        extensions: &["ppt", "pps", "pot"],
        signs: &[Sign::Stream("PowerPoint Document")],
        cites: Unit::Slide,
        read: ppt::read,
    },
    FileFormat {
        name: "ODT",
        offered_as: Some(".odt"),
        extensions: &["odt", "ott", "fodt"],
        signs: &[
            Sign::MediaType("application/vnd.oasis.opendocument.text"),
            Sign::Text(open_document::is_flat_text),
        ],
        cites: Unit::Heading,
        read: open_document::read,
    },
    FileFormat {
        name: "ODP",
        offered_as: Some(".odp"),
        extensions: &["odp", "otp", "fodp"],
        signs: &[
            Sign::MediaType("application/vnd.oasis.opendocument.presentation"),
            Sign::Text(open_document::is_flat_presentation),
        ],
        cites: Unit::Slide,
        read: open_document::read,
    },
    FileFormat {
        name: "RTF",
        offered_as: Some(".rtf"),
        extensions: &["rtf"],
        signs: &[Sign::Bytes(b"{\\rtf")],
        cites: Unit::Heading,
        read: rtf::read,
    },
    FileFormat {
        name: "EPUB",
        offered_as: Some(".epub"),
        extensions: &["epub"],
        signs: &[Sign::Part("META-INF/container.xml")],
        cites: Unit::Heading,
        read: epub::read,
    },
    FileFormat {
        name: "JSON Lines",
        offered_as: Some(".jsonl"),
        extensions: &["jsonl"],
        signs: &[],
        cites: Unit::Line,
        read: json_lines::read,
    },
    FileFormat {
        name: "Excel",
        offered_as: Some(".xlsx"),
        extensions: &["xlsx", "xlsm", "xltx", "xltm", "xlsb", "xls", "xlt"],
        signs: &[Sign::Part("xl/workbook.xml"), Sign::Part("xl/workbook.bin")],
        cites: Unit::Row,
        read: sheets::read,
    },
    FileFormat {
        name: "ODS",
        offered_as: Some(".ods"),
        extensions: &["ods", "ots"],
        signs: &[Sign::MediaType("application/vnd.oasis.opendocument.spreadsheet")],
        cites: Unit::Row,
        read: sheets::open_document::read,
    },
    FileFormat {
        name: "flat ODS",
        offered_as: None,
        extensions: &["fods"],
        signs: &[],
        cites: Unit::Row,
        read: sheets::open_document::read_flat,
    },
    FileFormat {
        name: "CSV",
        offered_as: Some(".csv"),
        extensions: &["csv", "tsv", "tab"],
        signs: &[],
        cites: Unit::Line,
        read: tables::read,
    },
    FileFormat {
        name: "JSON",
        offered_as: Some(".json"),
        extensions: &["json", "ndjson", "geojson", "json5", "jsonc", "webmanifest"],
        signs: &[],
        cites: Unit::Line,
        read: json::read,
    },
    FileFormat {
        name: "XML",
        offered_as: Some(".xml"),
        extensions: &["xml", "rss", "atom", "dbk", "docbook", "tei", "opml", "xliff", "xlf"],
        signs: &[Sign::Text(xml::is_xml)],
        cites: Unit::Line,
        read: xml::read,
    },
    FileFormat {
        name: "Jupyter notebooks",
        offered_as: Some(".ipynb"),
        extensions: &["ipynb"],
        signs: &[],
        cites: Unit::Heading,
        read: ipynb::read,
    },
    FileFormat {
        name: "e-mail",
        offered_as: Some(".eml"),
        extensions: &["eml"],
        signs: &[Sign::Text(email::is_message)],
        cites: Unit::Heading,
        read: email::read,
    },
    FileFormat {
        name: "Apple Mail",
        offered_as: None,
        extensions: &["emlx"],
        signs: &[],
        cites: Unit::Heading,
        read: email::read_emlx,
    },
    FileFormat {
        name: "mailboxes",
        offered_as: Some(".mbox"),
        extensions: &["mbox", "mbx"],
        signs: &[Sign::Text(email::is_mailbox)],
        cites: Unit::Heading,
        read: email::read_mailbox,
    },
    FileFormat {
        name: "subtitles",
        offered_as: Some(".srt"),
        extensions: &["srt", "vtt"],
        signs: &[],
        cites: Unit::Time,
        read: subtitles::read,
    },
    FileFormat {
        name: "logs",
        offered_as: Some(".log"),
        extensions: &["log"],
        signs: &[],
        cites: Unit::Line,
        read: plain_text::read_code,
    },
    FileFormat {
        name: "Outlook messages",
        offered_as: None,
        extensions: &["msg"],
        signs: &[Sign::Stream("__properties_version1.0")],
        cites: Unit::Heading,
        read: email::refuse_outlook,
    },
    FileFormat {
        name: "source code",
        offered_as: Some("source code such as .py or .rs"),
        extensions: &[
            "bash", "bat", "c", "cc", "cfg", "clj", "cmake", "conf", "cpp", "cs", "cu", "cuh",
            "cxx", "dart", "el", "erl", "ex", "exs", "fs", "go", "gradle", "graphql", "h", "hpp",
            "hs", "hxx", "ini", "java", "jl", "js", "jsx", "kt", "kts", "lisp", "lua", "m", "mjs",
            "ml", "mm", "nim", "nix", "pas", "php", "pl", "pm", "proto", "ps1", "py", "r", "rb",
            "rs", "scala", "scm", "sh", "sol", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts",
            "tsx", "v", "vb", "vue", "yaml", "yml", "zig",
        ],
        signs: &[Sign::Text(plain_text::is_code)],
        cites: Unit::Line,
        read: plain_text::read_code,
    },
];

/// The formats that are read, for messages.
pub(crate) fn supported() -> String {
    let mut supported: Vec<&str> = FORMATS.iter().filter_map(|format| format.offered_as).collect();
    supported.push("and any other text");
    supported.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn messages_offer_what_is_read() {
        assert_eq!(
            supported(),
            ".md, .txt, .html, .pdf, pictures of text such as .png, .docx, .doc, .pptx, .ppt, .odt, .odp, \
             .rtf, .epub, .jsonl, .xlsx, .ods, .csv, .json, .xml, .ipynb, .eml, .mbox, .srt, .log, \
             source code such as .py or .rs, and any other text"
        );
    }

    #[test]
    fn every_extension_belongs_to_one_format_and_is_written_in_lower_case() {
        let mut seen = HashSet::new();
        for extension in FORMATS.iter().flat_map(|format| format.extensions) {
            assert!(seen.insert(extension), "{extension} is there twice");
            assert_eq!(*extension, extension.to_ascii_lowercase());
        }
    }

    #[test]
    fn the_documentation_lists_every_format() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
        let documentation = fs::read_to_string(path).unwrap();
        for format in FORMATS {
            let extensions: Vec<String> =
                format.extensions.iter().map(|extension| format!("`.{extension}`")).collect();
            let extensions = extensions.join(", ");
            assert!(documentation.contains(&extensions), "{}: {extensions}", format.name);
            let unit = match format.cites {
                Unit::Line => "line",
                Unit::Page => "page",
                Unit::Row => "row",
                Unit::Slide => "slide",
                Unit::Time => "time",
                Unit::Heading => "heading",
            };
            let row = format!("| {} | {unit} |", format.name);
            assert!(format.offered_as.is_none() || documentation.contains(&row), "{row}");
        }
    }
}
