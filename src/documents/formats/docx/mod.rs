//! DOCX: headings, paragraphs, lists and tables of a Word document, with the pages that Word saw.
//!
//! The parts are read as streams of tags. What is not in the printed text is left out: deleted and
//! moved text, field codes, headers and footers, the old copies of drawings.

mod numbering;
mod styles;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::flow::{Flow, Rows};
use super::package::{Package, attribute, element_text, entity, reject_compound_file};
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::Places;
use numbering::Numbering;
use styles::Style;

/// Levels of headings and lists in Word.
const LEVELS: usize = 9;
/// Styles, lists and notes that are remembered, each. Word's own limit is about 4,000 styles.
const MAX_NAMED: usize = 1 << 16;

pub(crate) fn read(mut file: File, path: &Path) -> Result<Contents, ReadError> {
    reject_compound_file(&mut file, path)?;
    let mut package = Package::open(file, path)?;
    let main = main_part(&mut package);
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside =
        |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let Some(document) = package.part(&main)? else {
        let why = "there is no text in it; it may be another kind of file".to_owned();
        return Err(ReadError::Damaged { path: path.to_owned(), why });
    };
    let styles = package.part(&beside("styles.xml"))?.unwrap_or_default();
    let numbering = package.part(&beside("numbering.xml"))?.unwrap_or_default();
    let notes = package.part(&beside("footnotes.xml"))?.unwrap_or_default();
    let core = package.part("docProps/core.xml")?.unwrap_or_default();

    let word = Word::parse(&document, &styles, &numbering, &notes)
        .map_err(|error| ReadError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    let title = element_text(&core, "title");
    // Word records where its pages ended; other programs do not.
    let has_pages = word.page > 1;
    let places = |marks| if has_pages { Places::Pages(marks) } else { Places::Nowhere };
    Ok(Contents::One(Extract { title, ..word.flow.finish(places) }))
}

/// The part that holds the text, as the package's relations name it.
fn main_part(package: &mut Package) -> String {
    let mut relations = package.relations("").into_iter();
    let main = relations.find(|relation| relation.kind == "officeDocument");
    main.map_or_else(|| "word/document.xml".to_owned(), |relation| relation.target)
}

/// The text of each footnote, by its id.
fn footnotes(xml: &str) -> quick_xml::Result<HashMap<String, String>> {
    let mut notes = HashMap::new();
    let mut id = String::new();
    let (mut text, mut in_text) = (String::new(), false);
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(notes),
            Event::Start(tag) => match tag.local_name().as_ref() {
                "footnote" => {
                    id = attribute(&tag, "id").unwrap_or_default();
                    text.clear();
                }
                "t" => in_text = true,
                _ => {}
            },
            Event::Text(part) if in_text => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if in_text => text.push_str(&entity(&reference)),
            Event::End(tag) => match tag.local_name().as_ref() {
                "t" => in_text = false,
                "p" | "tab" => text.push(' '),
                "footnote" if !text.trim().is_empty() && notes.len() < MAX_NAMED => {
                    notes.insert(std::mem::take(&mut id), text.trim().to_owned());
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// A document that is being read.
#[derive(Default)]
struct Word {
    styles: HashMap<String, Style>,
    numbering: Numbering,
    notes: HashMap<String, String>,
    flow: Flow,
    page: u32,
    /// What the current paragraph says about itself, until its first text.
    style: Option<Style>,
    is_item: bool,
    /// Notes that the current paragraph refers to.
    pending_notes: Vec<String>,
    /// Open elements whose content is not read.
    left_out: usize,
    tables: usize,
}

impl Word {
    fn parse(
        document: &str,
        styles: &str,
        numbering: &str,
        notes: &str,
    ) -> quick_xml::Result<Self> {
        let mut word = Self {
            styles: styles::parse(styles)?,
            numbering: Numbering::parse(numbering)?,
            notes: footnotes(notes)?,
            ..Self::default()
        };
        word.read(document)?;
        Ok(word)
    }

    fn read(&mut self, xml: &str) -> quick_xml::Result<()> {
        self.turn_page();
        let mut in_text = false;
        let mut reader = Reader::from_str(xml);
        loop {
            match reader.read_event()? {
                Event::Eof => return Ok(()),
                Event::Start(tag) => {
                    let name = tag.local_name();
                    if self.left_out > 0 || matches!(name.as_ref(), "Fallback" | "moveFrom") {
                        self.left_out += 1;
                        continue;
                    }
                    in_text = name.as_ref() == "t";
                    self.start(name.as_ref(), &tag);
                }
                Event::Empty(tag) if self.left_out == 0 => {
                    let name = tag.local_name();
                    self.start(name.as_ref(), &tag);
                    self.end(name.as_ref());
                }
                Event::End(_) if self.left_out > 0 => self.left_out -= 1,
                Event::End(tag) => {
                    in_text = false;
                    self.end(tag.local_name().as_ref());
                }
                Event::Text(part) if in_text && self.left_out == 0 => {
                    self.text(&part.xml10_content());
                }
                Event::GeneralRef(reference) if in_text && self.left_out == 0 => {
                    self.text(&entity(&reference));
                }
                _ => {}
            }
        }
    }

    fn turn_page(&mut self) {
        self.page = self.page.saturating_add(1);
        self.flow.at(self.page);
    }

    fn start(&mut self, name: &str, tag: &BytesStart) {
        let value = || attribute(tag, "val");
        match name {
            "p" => {
                self.flow.end_block();
                self.style = Some(Style::default());
            }
            "pStyle" => {
                let style = value().and_then(|id| self.styles.get(&id).cloned());
                self.style = style.or(self.style.take());
            }
            "outlineLvl" | "numId" | "ilvl" => {
                if let Some(style) = &mut self.style {
                    style.set(name, &value().unwrap_or_default());
                }
            }
            "tab" | "ptab" => self.flow.text(" "),
            "br" | "cr" if attribute(tag, "type").as_deref() != Some("page") => {
                self.flow.line_break();
            }
            // Word writes it after each page break, whoever made it.
            "lastRenderedPageBreak" => self.turn_page(),
            "noBreakHyphen" => self.text("-"),
            "footnoteReference" => self.pending_notes.extend(attribute(tag, "id")),
            "tbl" => {
                self.tables += 1;
                if self.tables == 1 {
                    self.flow.begin_table();
                }
            }
            // A table within a cell is read as the cell's text.
            "tc" if self.tables == 1 => self.flow.begin_cell(),
            "gridSpan" if self.tables == 1 => {
                let columns = value().and_then(|columns| columns.parse().ok());
                self.flow.set_cell_columns(columns.unwrap_or(1));
            }
            "vMerge" if self.tables == 1 => {
                let begins = value().as_deref() == Some("restart");
                self.flow.set_cell_rows(if begins { Rows::First } else { Rows::Again });
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" => self.end_paragraph(),
            "tr" if self.tables == 1 => self.flow.end_row(),
            "tc" if self.tables == 1 => self.flow.end_cell(),
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.flow.end_table();
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(style) = self.style.take_if(|_| !text.trim().is_empty()) {
            self.begin_paragraph(&style);
        }
        self.flow.text(text);
    }

    /// Called at the first text of a paragraph: all that it says about itself comes before.
    fn begin_paragraph(&mut self, style: &Style) {
        let marker = style.list.and_then(|list| self.numbering.marker(list, style.level));
        if self.tables > 0 {
            // In cells, headings and list items are mere text.
            if let Some(marker) = marker {
                self.flow.text(&format!("{marker} "));
            }
        } else if let Some(level) = style.heading {
            self.flow.begin_heading(level);
            if let Some(marker) = marker.filter(|marker| marker != "-") {
                self.flow.text(&format!("{marker} "));
            }
        } else if let Some(marker) = marker {
            self.is_item = true;
            self.flow.begin_item(style.level.min(LEVELS) + 1, &marker);
        }
    }

    fn end_paragraph(&mut self) {
        self.style = None;
        let notes: Vec<String> = std::mem::take(&mut self.pending_notes)
            .iter()
            .filter_map(|id| self.notes.remove(id))
            .collect();
        self.flow.end_heading();
        if std::mem::take(&mut self.is_item) {
            self.flow.end_item();
        } else {
            self.flow.end_block();
        }
        for note in notes {
            self.flow.text(&format!("({note})"));
            self.flow.end_block();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::chunks::{ChunkSettings, chunk};
    use crate::documents::samples::package;
    use crate::documents::{Document, Place, ReadError, read};

    fn body(xml: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><w:document xmlns:w=\"w\" xmlns:mc=\"mc\"><w:body>{xml}</w:body></w:document>"
        )
    }

    fn paragraph(properties: &str, text: &str) -> String {
        format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
    }

    fn read_one(parts: &[(&str, &str)]) -> Result<Document, ReadError> {
        let (_folder, path) = package("a.docx", parts);
        read(&path).next().unwrap()
    }

    const STYLES: &str = "<w:styles xmlns:w=\"w\">\
        <w:style w:styleId=\"u1\"><w:name w:val=\"heading 1\"/><w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr></w:style>\
        <w:style w:styleId=\"u2\"><w:name w:val=\"Đề mục\"/><w:basedOn w:val=\"u3\"/></w:style>\
        <w:style w:styleId=\"u3\"><w:name w:val=\"heading 2\"/><w:basedOn w:val=\"u2\"/></w:style></w:styles>";
    const NUMBERING: &str = "<w:numbering xmlns:w=\"w\"><w:abstractNum w:abstractNumId=\"4\">\
        <w:lvl><w:start w:val=\"3\"/><w:numFmt w:val=\"decimal\"/><w:lvlText w:val=\"Điều %1.\"/></w:lvl>\
        <w:lvl><w:numFmt w:val=\"lowerLetter\"/><w:lvlText w:val=\"%2)\"/></w:lvl>\
        <w:lvl><w:numFmt w:val=\"bullet\"/><w:lvlText w:val=\"\"/></w:lvl></w:abstractNum>\
        <w:num w:numId=\"7\"><w:abstractNumId w:val=\"4\"/></w:num></w:numbering>";

    fn item(level: usize, text: &str) -> String {
        let list = format!("<w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"7\"/></w:numPr>");
        paragraph(&list, text)
    }

    #[test]
    fn headings_lists_tables_notes_and_pages() {
        let xml = body(&[
            paragraph("<w:pStyle w:val=\"u1\"/>", "Chương &amp; I"),
            paragraph("", "Mở Tie&#x302;&#x301;ng"),
            paragraph("<w:pStyle w:val=\"u2\"/>", "Mục 1"),
            item(0, "Phạm vi"),
            item(1, "một"),
            item(1, "hai"),
            item(2, "ba"),
            "<w:p><w:r><w:lastRenderedPageBreak/><w:t xml:space=\"preserve\">Sang </w:t><w:t>trang</w:t>\
             <w:footnoteReference w:id=\"2\"/></w:r><w:del><w:r><w:delText>xóa</w:delText></w:r></w:del>\
             <w:moveFrom><w:r><w:t>dời</w:t></w:r></w:moveFrom></w:p>".to_owned(),
            item(0, "Đối tượng"),
            format!("<w:tbl><w:tr><w:tc>{}</w:tc><w:tc>{}{}</w:tc></w:tr><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>",
                paragraph("", "a"), paragraph("", "b"), paragraph("", "c")),
            "<mc:AlternateContent><mc:Choice>".to_owned() + &paragraph("", "hộp") + "</mc:Choice><mc:Fallback>"
                + &paragraph("", "hộp") + "</mc:Fallback></mc:AlternateContent>",
        ].concat());
        let notes = "<w:footnotes xmlns:w=\"w\"><w:footnote w:id=\"2\"><w:p><w:r><w:t>Luật số 45</w:t></w:r></w:p></w:footnote></w:footnotes>";
        let core = "<c:x xmlns:dc=\"d\" xmlns:c=\"c\"><dc:title>Bộ luật</dc:title></c:x>";
        let document = read_one(&[
            ("word/document.xml", &xml),
            ("word/styles.xml", STYLES),
            ("word/numbering.xml", NUMBERING),
            ("word/footnotes.xml", notes),
            ("docProps/core.xml", core),
        ])
        .unwrap();
        assert_eq!(document.title.as_deref(), Some("Bộ luật"));
        assert_eq!(
            document.text,
            "Chương & I\n\nMở Tiếng\n\nMục 1\n\nĐiều 3. Phạm vi\n  a) một\n  b) hai\n    - ba\n\n\
             Sang trang\n\n(Luật số 45)\n\nĐiều 4. Đối tượng\n\na | b c\n\nhộp"
        );
        let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
        assert_eq!(chunks[0].headings, ["Bộ luật", "Chương & I"]);
        assert_eq!(chunks[1].headings, ["Bộ luật", "Chương & I", "Mục 1"]);
        assert_eq!(chunks[1].place, Some(Place::Pages(1, 2)));
    }

    #[test]
    fn without_page_breaks_there_are_no_pages() {
        let document = read_one(&[("word/document.xml", &body(&paragraph("", "x")))]).unwrap();
        let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
        assert_eq!(chunks[0].place, None);
    }

    #[test]
    fn a_file_that_is_not_a_document_is_damaged() {
        let error = read_one(&[("xl/workbook.xml", "<x/>")]).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        let error = read_one(&[("word/document.xml", "<w:p><w:t>a</w:r>")]).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.docx");
        std::fs::write(&path, b"PK\x03\x04 not a zip").unwrap();
        let error = read(&path).next().unwrap().unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        std::fs::write(&path, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 a compound file").unwrap();
        let error = read(&path).next().unwrap().unwrap_err();
        assert!(matches!(error, ReadError::Encrypted { .. }), "{error}");
    }

    #[test]
    fn a_bomb_is_refused_and_depth_does_not_matter() {
        let bomb = format!("<w:document>{}", " ".repeat((128 << 20) + 1));
        let error = read_one(&[("word/document.xml", &bomb)]).unwrap_err();
        assert!(matches!(error, ReadError::Unpacked { .. }), "{error}");
        let deep = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>x</w:t></w:r>".repeat(1 << 16);
        // Unclosed: an error, or the text so far; never a crash.
        let _ = read_one(&[("word/document.xml", &deep)]);
        let laughs =
            "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><w:p><w:t>&b;</w:t></w:p>";
        assert_eq!(read_one(&[("word/document.xml", laughs)]).unwrap().text, "");
    }
}
