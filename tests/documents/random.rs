//! Random documents of every format, and where in them each part of the text stands.
//!
//! Every piece of text begins with a marker of its own (`mk0001`; `hd0002` for headings), by which it
//! is found again whatever its reader did to it.

mod damage;
mod data;
mod office;

use std::fmt::Write as _;
use std::io::Write as _;

use rag_query::internals::support::random::SplitMix64;
use unicode_normalization::UnicodeNormalization;

use crate::pdf_file::{self, Font};
pub use damage::mutated;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Markdown,
    Plain,
    Html,
    Docx,
    Epub,
    Pdf,
    Csv,
    Xlsx,
    Json,
    Xml,
    Mail,
    Subtitles,
    Odt,
    Odp,
    Rtf,
    Pptx,
}

impl FileKind {
    pub const ALL: [Self; 16] = [
        Self::Markdown,
        Self::Plain,
        Self::Html,
        Self::Docx,
        Self::Epub,
        Self::Pdf,
        Self::Csv,
        Self::Xlsx,
        Self::Json,
        Self::Xml,
        Self::Mail,
        Self::Subtitles,
        Self::Odt,
        Self::Odp,
        Self::Rtf,
        Self::Pptx,
    ];

    pub fn extension(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Plain => "txt",
            Self::Html => "html",
            Self::Docx => "docx",
            Self::Epub => "epub",
            Self::Pdf => "pdf",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Mail => "eml",
            Self::Subtitles => "srt",
            Self::Odt => "odt",
            Self::Odp => "odp",
            Self::Rtf => "rtf",
            Self::Pptx => "pptx",
        }
    }
}

/// A piece of body text, as it was put into the file.
#[derive(Debug)]
pub struct Part {
    pub marker: String,
    /// The marker of the heading above it, if the format has headings and this one is short enough
    /// to count.
    pub heading: Option<String>,
    /// The page that a DOCX records, or that it is on in a PDF; the slide; the row of a sheet; the second.
    pub page: u32,
}

/// A file's parts by name: one without a name for text formats, the pages of a PDF, the parts of a
/// ZIP file otherwise.
pub type Parts = Vec<(String, String)>;

/// A random document.
pub struct Sample {
    kind: FileKind,
    pub source: Parts,
    /// In the document's order.
    pub parts: Vec<Part>,
}

impl Sample {
    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        pack(self.kind, &self.source)
    }

    /// The line of the file that a marker is on; `None` for files without lines.
    pub fn line(&self, marker: &str) -> Option<u32> {
        let [(name, text)] = &self.source[..] else { return None };
        if self.kind == FileKind::Subtitles {
            return None;
        }
        let before = &text[..text.find(marker).filter(|_| name.is_empty())?];
        Some(before.matches('\n').count() as u32 + 1)
    }
}

/// A text file as it is, or a PDF or ZIP file of its parts.
pub fn pack(kind: FileKind, parts: &Parts) -> Vec<u8> {
    if kind == FileKind::Pdf {
        return pdf(parts);
    }
    if let [(name, text)] = &parts[..]
        && name.is_empty()
    {
        return text.clone().into_bytes();
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut zip = zip::ZipWriter::new(&mut bytes);
    for (name, text) in parts {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    bytes.into_inner()
}

/// The document that belongs to a seed.
pub fn sample(kind: FileKind, seed: u64) -> Sample {
    let mut writer = Writer {
        random: SplitMix64::new(seed),
        kind,
        out: String::new(),
        parts: Vec::new(),
        markers: 0,
        heading: None,
        page: 1,
        has_pages: seed.is_multiple_of(2),
        notes: String::new(),
        embedded: Vec::new(),
    };
    let source = match kind {
        FileKind::Markdown => {
            if writer.one_in(3) {
                writer.out.push_str("---\ntitle: \"Tựa\"\n---\n\n");
            }
            writer.blocks();
            vec![(String::new(), writer.out.clone())]
        }
        FileKind::Plain => {
            writer.blocks();
            vec![(String::new(), writer.out.clone())]
        }
        FileKind::Html => {
            let around = writer.one_in(2);
            let head = "<!DOCTYPE html>\n<html><head><title>Tựa &amp; đề</title>\n<style>p {}</style></head><body>\n";
            writer.out.push_str(head);
            writer.out.push_str(if around { "<nav>menu</nav>\n<main><div>\n" } else { "" });
            writer.blocks();
            writer.out.push_str(if around { "</div></main><footer>end</footer>" } else { "" });
            writer.out.push_str("</body></html>\n");
            vec![(String::new(), writer.out.clone())]
        }
        FileKind::Docx => {
            let letterhead = if writer.one_in(3) { writer.body(12) } else { String::new() };
            writer.blocks();
            writer.word_parts(&letterhead)
        }
        FileKind::Epub => writer.book(),
        FileKind::Pdf => writer.pages(),
        FileKind::Odt | FileKind::Odp | FileKind::Rtf | FileKind::Pptx => writer.office(),
        _ => writer.data(),
    };
    Sample { kind, source, parts: writer.parts }
}

fn styles() -> String {
    let style = |level: usize| {
        format!(
            "<w:style w:styleId=\"h{level}\"><w:name w:val=\"heading {level}\"/><w:pPr><w:outlineLvl w:val=\"{}\"/></w:pPr></w:style>",
            level - 1
        )
    };
    format!("<w:styles xmlns:w=\"w\">{}</w:styles>", (1..=6).map(style).collect::<String>())
}

const NUMBERING: &str = "<w:numbering xmlns:w=\"w\"><w:abstractNum w:abstractNumId=\"4\">\
    <w:lvl><w:numFmt w:val=\"decimal\"/><w:lvlText w:val=\"%1.\"/></w:lvl>\
    <w:lvl><w:numFmt w:val=\"bullet\"/><w:lvlText w:val=\"\"/></w:lvl></w:abstractNum>\
    <w:num w:numId=\"7\"><w:abstractNumId w:val=\"4\"/></w:num></w:numbering>";

/// Syllables, and what is hard about text: scripts without spaces, marks, signs, emoji.
const WORDS: [&str; 24] = [
    "tiếng",
    "việt",
    "ngữ",
    "đường",
    "thuở",
    "hoà",
    "hòa",
    "nghiêng",
    "The",
    "keeper",
    "counts",
    "2026",
    "漢字仮名交じり文",
    "ภาษาไทยไม่มีช่องว่าง",
    "नमस्ते",
    "می\u{200c}خواهم",
    "שלום",
    "👨\u{200d}👩\u{200d}👧",
    "한국어",
    "e\u{302}\u{301}",
    "ﬁn",
    "½",
    "ß",
    "Ω",
];
/// What cannot be seen, or only with what is before it.
const INVISIBLE: [char; 12] = [
    '\u{200b}', '\u{200c}', '\u{200d}', '\u{feff}', '\u{ad}', '\u{202e}', '\u{202c}', '\u{2066}',
    '\u{2069}', '\u{200f}', '\u{2060}', '\u{301}',
];
/// What may stand around a paragraph of a page, and is not to cost any of its text.
const AROUND_PARAGRAPHS: [(&str, &str); 8] = [
    ("", ""),
    ("", ""),
    ("<svg><g><path d=\"M0\"/></g><title/></svg>", "<hr/>"),
    ("<svg width=\"0\"/>", "<svg><path d=\"M0\"></svg>"),
    ("<section><header>", "</header></section>"),
    ("<aside class=\"note\">", "</aside>"),
    ("<details open=\"open\">", "</details>"),
    ("<math><mfrac><mn>1</mn><mn>4</mn></mfrac><none/></math>", "<p hidden=\"hidden\">ẩn</p>"),
];
/// Breaks that end no line.
const BREAKS: [char; 5] = ['\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
/// Signs that mean something to XML, and to Markdown only at other places than inside a word.
const SIGNS: [&str; 6] = ["a&b", "1<2", "\"trích\"", "(ngoặc)", "5%,", "–"];

struct Writer {
    random: SplitMix64,
    kind: FileKind,
    out: String,
    parts: Vec<Part>,
    markers: usize,
    heading: Option<String>,
    page: u32,
    has_pages: bool,
    /// The footnotes of a DOCX, and the pages embedded in it.
    notes: String,
    embedded: Vec<String>,
}

impl Writer {
    fn one_in(&mut self, n: usize) -> bool {
        self.random.below(n) == 0
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())]
    }

    fn marker(&mut self, kind: &str) -> String {
        self.markers += 1;
        format!("{kind}{:04}", self.markers)
    }

    fn word(&mut self) -> String {
        if self.kind == FileKind::Pdf {
            // No scripts that run to the left: where their letters stand does not say their order.
            let words = [&WORDS[..13], &["한국어", "½", "ß", "Ω", "e\u{302}\u{301}"]].concat();
            let stop = if self.one_in(8) { self.any(&[".", "!", "?", ",", "。"]) } else { "" };
            return format!("{}{stop}", self.any(&words));
        }
        let mut word = match self.random.below(40) {
            0 => "x".repeat(1 + self.random.below(3000)),
            1 => self
                .any(&["漢", "ế", "ก", "か", "🙂", "a\u{301}"])
                .repeat(1 + self.random.below(400)),
            2 | 3 if self.kind != FileKind::Markdown => self.any(&SIGNS).to_owned(),
            4..6 => self.any(&WORDS).nfd().collect(),
            6 if self.one_in(12) => format!("data:image/png;base64,{}", self.base64()),
            7 if self.one_in(12) => self.base64(),
            _ => self.any(&WORDS).to_owned(),
        };
        if self.one_in(12) {
            let at = self.random.below(word.chars().count() + 1);
            let at = word.char_indices().nth(at).map_or(word.len(), |(at, _)| at);
            let invisible = self.any(&INVISIBLE);
            word.insert(at, invisible);
        }
        if self.one_in(30) && matches!(self.kind, FileKind::Markdown | FileKind::Plain) {
            word.push(self.any(&BREAKS));
            word.push_str("tiếp");
        }
        if self.one_in(8) {
            word.push_str(self.any(&[".", "!", "?", ",", "。", "…", ":", ";"]));
        }
        word
    }

    /// What a picture in a text looks like.
    fn base64(&mut self) -> String {
        let bytes = self.random.below(4000);
        let letters = b"ABCDEFGHIJKLMNOPqrstuvwxyz0123456789+/";
        (0..bytes).map(|_| char::from(self.any(letters))).collect()
    }

    /// A piece of text as the file has it.
    fn words(&mut self, marker: &str, max_words: usize) -> String {
        let mut text = marker.to_owned();
        for _ in 0..self.random.below(max_words) {
            text.push(' ');
            let word = self.word();
            text.push_str(&self.escaped(&word));
        }
        text
    }

    fn escaped(&mut self, word: &str) -> String {
        let has_entities = matches!(
            self.kind,
            FileKind::Html
                | FileKind::Docx
                | FileKind::Epub
                | FileKind::Xlsx
                | FileKind::Xml
                | FileKind::Odt
                | FileKind::Odp
                | FileKind::Pptx
        );
        if !has_entities {
            return word.to_owned();
        }
        let mut text = String::new();
        for c in word.chars() {
            match c {
                '&' => text.push_str("&amp;"),
                '<' => text.push_str("&lt;"),
                c if !c.is_ascii() && self.one_in(30) => {
                    write!(text, "&#x{:x};", c as u32).unwrap();
                }
                c => text.push(c),
            }
        }
        text
    }

    /// A piece of body text.
    fn body(&mut self, max_words: usize) -> String {
        let marker = self.marker("mk");
        let text = self.words(&marker, max_words);
        let part = Part { marker, heading: self.heading.clone(), page: self.page };
        self.parts.push(part);
        text
    }

    fn blocks(&mut self) {
        for _ in 0..self.random.below(24) {
            match self.random.below(10) {
                0..3 => self.heading(),
                3..6 => self.paragraph(),
                6 | 7 => self.list(),
                8 => self.table(),
                _ => self.code(),
            }
        }
    }

    fn heading(&mut self) {
        let level = 1 + self.random.below(6);
        // A "heading" as long as a page is not one, whatever its markup says.
        let is_long = self.one_in(12);
        if self.kind == FileKind::Plain || is_long {
            let text = self.body(30);
            let long = if is_long { " dài".repeat(300) } else { String::new() };
            self.write_heading(level, &format!("{text}{long}"));
            self.heading = None;
            return;
        }
        let marker = self.marker("hd");
        let mut text = marker.clone();
        for _ in 0..self.random.below(9) {
            let word = self.any(&WORDS);
            write!(text, " {}", self.escaped(word)).unwrap();
        }
        self.write_heading(level, &text);
        self.heading = Some(marker);
    }

    fn write_heading(&mut self, level: usize, text: &str) {
        match self.kind {
            FileKind::Markdown => write!(self.out, "{} {text}\n\n", "#".repeat(level)),
            FileKind::Plain => write!(self.out, "{text}\n\n"),
            FileKind::Html | FileKind::Epub => writeln!(self.out, "<h{level}>{text}</h{level}>"),
            FileKind::Pdf => unreachable!("a PDF does not say what is a heading"),
            FileKind::Docx => {
                let paragraph = docx_paragraph(&format!("<w:pStyle w:val=\"h{level}\"/>"), text);
                write!(self.out, "{paragraph}")
            }
            _ => unreachable!("these are written elsewhere"),
        }
        .unwrap();
    }

    fn paragraph(&mut self) {
        if self.kind == FileKind::Docx && self.has_pages && self.one_in(3) {
            self.page += 1;
            self.out.push_str("<w:p><w:r><w:lastRenderedPageBreak/></w:r></w:p>");
        }
        let max_words = self.any(&[8, 40, 400]);
        let mut text = self.body(max_words);
        if self.kind != FileKind::Docx && self.one_in(3) {
            // Lines end anywhere.
            text = text.replacen(' ', "\n", 5);
        }
        match self.kind {
            FileKind::Markdown => {
                if self.one_in(6) {
                    self.out.push_str("<!-- a\ncomment -->\n\n");
                }
                let quote = if self.one_in(6) { "> " } else { "" };
                write!(self.out, "{quote}{text}\n\n")
            }
            FileKind::Plain => write!(self.out, "{text}\n\n"),
            FileKind::Html | FileKind::Epub => {
                let (before, after) = self.any(&AROUND_PARAGRAPHS);
                writeln!(self.out, "{before}<p>{text}</p>{after}")
            }
            FileKind::Docx => {
                self.word_paragraph(&text);
                Ok(())
            }
            FileKind::Pdf => write!(self.out, "{}\n\n", wrapped(&text)),
            _ => unreachable!("these are written elsewhere"),
        }
        .unwrap();
    }

    /// A paragraph of a DOCX, perhaps with what Word puts into paragraphs.
    fn word_paragraph(&mut self, text: &str) {
        let run = |text: &str| format!("<w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r>");
        let (before, after) = match self.random.below(12) {
            0 => {
                let text = self.body(12);
                let text = docx_paragraph("<w:pStyle w:val=\"h1\"/>", &text);
                let copy = text.clone();
                (String::new(), format!(
                    "<w:r><mc:AlternateContent><mc:Choice><w:txbxContent>{text}</w:txbxContent></mc:Choice>\
                     <mc:Fallback><w:txbxContent>{copy}</w:txbxContent></mc:Fallback></mc:AlternateContent></w:r>"
                ))
            }
            1 => {
                let text = self.body(12);
                let id = self.markers;
                let note = docx_paragraph("", &text);
                write!(self.notes, "<w:footnote w:id=\"{id}\">{note}</w:footnote>").unwrap();
                (String::new(), format!("<w:r><w:footnoteReference w:id=\"{id}\"/></w:r>"))
            }
            2 => {
                let text = self.body(12);
                let id = self.embedded.len();
                self.embedded.push(format!("<html><body><p>{text}</p></body></html>"));
                (String::new(), format!("</w:p><w:altChunk r:id=\"e{id}\"/><w:p>"))
            }
            3 => ("<w:r><w:fldChar w:fldCharType=\"begin\"/><w:instrText>IF 1</w:instrText>\
                   <w:fldChar w:fldCharType=\"separate\"/></w:r>".to_owned(),
                  "<w:r><w:fldChar w:fldCharType=\"end\"/></w:r>".to_owned()),
            4 => ("<w:del><w:r><w:delText>bỏ</w:delText></w:r></w:del><w:ins>".to_owned(),
                  "</w:ins>".to_owned()),
            5 => (String::new(), "<w:r><w:rPr><w:vertAlign w:val=\"superscript\"/></w:rPr><w:t>2</w:t></w:r>\
                   <m:oMath><m:f><m:num><m:t>1</m:t></m:num><m:den><m:t>2</m:t></m:den></m:f></m:oMath>".to_owned()),
            6 => ("</w:p><w:p><w:pPr><w:pStyle w:val=\"TOC1\"/></w:pPr><w:r><w:t>Mục 9</w:t></w:r></w:p><w:p>".to_owned(),
                  String::new()),
            _ => (String::new(), String::new()),
        };
        write!(self.out, "<w:p>{before}{}{after}</w:p>", run(text)).unwrap();
    }

    /// All parts of a DOCX.
    fn word_parts(&self, letterhead: &str) -> Parts {
        let mut relations =
            "<Relationship Id=\"h\" Type=\"x/header\" Target=\"h.xml\"/>".to_owned();
        let mut parts: Parts = Vec::new();
        for (id, page) in self.embedded.iter().enumerate() {
            write!(
                relations,
                "<Relationship Id=\"e{id}\" Type=\"x/aFChunk\" Target=\"e{id}.html\"/>"
            )
            .unwrap();
            parts.push((format!("word/e{id}.html"), page.clone()));
        }
        let body = format!(
            "<w:document xmlns:w=\"w\"><w:body>{}<w:sectPr><w:headerReference r:id=\"h\"/></w:sectPr></w:body></w:document>",
            self.out
        );
        let named = [
            ("word/document.xml", body),
            ("word/styles.xml", styles()),
            ("word/numbering.xml", NUMBERING.to_owned()),
            ("word/footnotes.xml", format!("<w:footnotes>{}</w:footnotes>", self.notes)),
            ("word/h.xml", format!("<w:hdr>{}</w:hdr>", docx_paragraph("", letterhead))),
            ("word/_rels/document.xml.rels", format!("<Relationships>{relations}</Relationships>")),
        ];
        parts.extend(named.map(|(name, text)| (name.to_owned(), text)));
        parts
    }

    /// A list, with lists in its items.
    fn list(&mut self) {
        let is_html = matches!(self.kind, FileKind::Html | FileKind::Epub);
        let mut depth = 0;
        for _ in 0..=self.random.below(9) {
            let deeper = self.random.below(depth + 2).min(6);
            let text = self.body(20);
            if is_html {
                while depth > deeper {
                    self.out.push_str("</li></ul>");
                    depth -= 1;
                }
                let open = if deeper > depth || depth == 0 { "<ul>" } else { "</li>" };
                depth = deeper.max(1);
                writeln!(self.out, "{open}<li>{text}").unwrap();
                continue;
            }
            depth = deeper;
            match self.kind {
                FileKind::Docx => {
                    let list = format!(
                        "<w:numPr><w:ilvl w:val=\"{depth}\"/><w:numId w:val=\"7\"/></w:numPr>"
                    );
                    write!(self.out, "{}", docx_paragraph(&list, &text))
                }
                _ => writeln!(self.out, "{}- {text}", "  ".repeat(depth)),
            }
            .unwrap();
        }
        self.out.push_str(&"</li></ul>".repeat(if is_html { depth } else { 0 }));
        self.out.push('\n');
    }

    fn table(&mut self) {
        let most_rows = self.any(&[6, 6, 6, 24]);
        let (rows, columns) = (1 + self.random.below(most_rows), 1 + self.random.below(4));
        let (open, close) = match self.kind {
            FileKind::Html | FileKind::Epub => ("<table>\n", "</table>\n"),
            FileKind::Docx => ("<w:tbl>", "</w:tbl>"),
            _ => ("", "\n"),
        };
        // The first cell of a page's table may be the key of all its rows.
        let is_page = matches!(self.kind, FileKind::Html | FileKind::Epub);
        let has_key = is_page && columns > 1 && self.one_in(3);
        self.out.push_str(open);
        for row in 0..rows {
            let own = columns - usize::from(has_key && row > 0);
            // Word records the page of a row in each of its cells.
            let turns = self.kind == FileKind::Docx && self.has_pages && self.one_in(6);
            self.page += u32::from(turns);
            let cells: Vec<String> = (0..own).map(|_| self.body(12)).collect();
            match self.kind {
                FileKind::Html | FileKind::Epub => {
                    let tag = if row == 0 && columns > 1 { "th" } else { "td" };
                    let cells = cells.join(&format!("</{tag}><{tag}>"));
                    let span = if has_key && row == 0 { rows } else { 1 };
                    writeln!(self.out, "<tr><{tag} rowspan=\"{span}\">{cells}</{tag}></tr>")
                }
                FileKind::Docx => {
                    let merged = self.any(&[
                        "",
                        "",
                        "<w:gridSpan w:val=\"2\"/>",
                        "<w:vMerge w:val=\"restart\"/>",
                    ]);
                    let cell = |(at, cell): (usize, &String)| {
                        let merged = if at == 0 { merged } else { "" };
                        format!(
                            "<w:tc><w:tcPr>{merged}</w:tcPr>{}</w:tc>",
                            docx_paragraph("", cell)
                        )
                    };
                    let turn =
                        if turns { "<w:r><w:lastRenderedPageBreak/></w:r><w:r>" } else { "<w:r>" };
                    let cells: String = cells.iter().enumerate().map(cell).collect();
                    write!(self.out, "<w:tr>{}</w:tr>", cells.replace("<w:r>", turn))
                }
                _ => {
                    let rule = format!("|{}\n", "---|".repeat(columns));
                    let rule = if row == 0 { rule } else { String::new() };
                    write!(self.out, "| {} |\n{rule}", cells.join(" | "))
                }
            }
            .unwrap();
        }
        self.out.push_str(close);
    }

    fn code(&mut self) {
        let lines: Vec<String> = (0..=self.random.below(20)).map(|_| self.body(10)).collect();
        match self.kind {
            FileKind::Markdown => write!(self.out, "```\n{}\n```\n\n", lines.join("\n  ")),
            FileKind::Plain | FileKind::Pdf => write!(self.out, "{}\n\n", lines.join("\n  ")),
            FileKind::Html | FileKind::Epub => {
                writeln!(self.out, "<pre>{}</pre>", lines.join("\n  "))
            }
            FileKind::Docx => {
                let lines: String = lines.iter().map(|line| docx_paragraph("", line)).collect();
                write!(self.out, "{lines}")
            }
            _ => unreachable!("these are written elsewhere"),
        }
        .unwrap();
    }

    /// Paragraphs on pages.
    fn pages(&mut self) -> Parts {
        let mut source = Parts::new();
        for page in 1..=1 + self.random.below(5) as u32 {
            self.page = page;
            "Một trang có chữ, không phải ảnh.\n\n".clone_into(&mut self.out);
            for _ in 0..=self.random.below(8) {
                self.paragraph();
            }
            source.push((format!("page {page}"), self.out.clone()));
        }
        source
    }

    fn book(&mut self) -> Parts {
        let mut source: Parts = vec![(
            "META-INF/container.xml".to_owned(),
            "<container><rootfiles><rootfile full-path=\"OPS/book.opf\"/></rootfiles></container>"
                .to_owned(),
        )];
        let (mut manifest, mut spine) = (String::new(), String::new());
        for chapter in 0..=self.random.below(4) {
            self.out.clear();
            self.heading = None;
            self.blocks();
            let page = format!(
                "<?xml version=\"1.0\"?><html><head><title/></head><body>{}</body></html>",
                self.out
            );
            let name = self.any(&["OPS/", "ops/", "OPS\\", "OPS/Text/../"]);
            source.push((format!("{name}c{chapter}.xhtml"), page));
            let href = self.any(&["", "./", "../OPS/", "/OPS/", "%2E/"]);
            let kind = self.any(&["application/xhtml+xml", "text/x-oeb1-document", ""]);
            write!(
                manifest,
                "<item id=\"c{chapter}\" href=\"{href}c{chapter}.xhtml\" media-type=\"{kind}\"/>"
            )
            .unwrap();
            write!(spine, "<itemref idref=\"c{chapter}\"/>").unwrap();
        }
        let contents = format!(
            "<package xmlns:dc=\"d\"><metadata><dc:title>Sách</dc:title></metadata><manifest>{manifest}</manifest><spine>{spine}</spine></package>"
        );
        source.push(("OPS/book.opf".to_owned(), contents));
        source
    }
}

/// Text in lines of about 80 characters.
fn wrapped(text: &str) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        length += 1 + word.chars().count();
        let is_full = length > 80;
        lines.push_str(if is_full { "\n" } else { " " });
        lines.push_str(word);
        length = if is_full { word.chars().count() } else { length };
    }
    lines.trim_start().to_owned()
}

/// A PDF file of these pages, line by line, in a font of one width with a `ToUnicode` map.
fn pdf(pages: &Parts) -> Vec<u8> {
    const LEADING: usize = 16;
    let mut font = Font::default();
    let mut of_pages = Vec::new();
    for (number, (_, text)) in pages.iter().enumerate() {
        let height = 100 + LEADING * text.lines().count();
        let mut content = String::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let y = height - 50 - LEADING * at;
            let codes = font.codes(line);
            write!(content, "BT /F 12 Tf 50 {y} Td <{codes}> Tj ET ").unwrap();
        }
        of_pages.push(format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 700 {height}]/Contents {} 0 R/Resources<</Font<</F 3 0 R>>>>>>",
            8 + 2 * number
        ));
        of_pages.push(pdf_file::stream(&content));
    }
    let kids: Vec<String> = (0..pages.len()).map(|n| format!("{} 0 R", 7 + 2 * n)).collect();
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        format!("<</Type/Pages/Count {}/Kids[{}]>>", pages.len(), kids.join(" ")),
    ];
    objects.extend(font.objects());
    objects.append(&mut of_pages);
    pdf_file::file(&objects, "").into_bytes()
}

fn docx_paragraph(properties: &str, text: &str) -> String {
    format!(
        "<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r></w:p>"
    )
}
