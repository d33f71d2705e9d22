//! Random documents of word processors, and random presentations.

use std::fmt::Write as _;

use super::{FileKind, Parts, Writer};

impl Writer {
    pub(super) fn office(&mut self) -> Parts {
        match self.kind {
            FileKind::Rtf => self.rtf(),
            FileKind::Odt => {
                for _ in 0..self.random.below(24) {
                    let block = self.odt_block();
                    self.out.push_str(&block);
                }
                vec![("content.xml".to_owned(), odf("text", &self.out))]
            }
            FileKind::Odp => {
                for page in 1..=1 + self.random.below(8) as u32 {
                    self.page = page;
                    let slide = self.odp_slide();
                    self.out.push_str(&slide);
                }
                vec![("content.xml".to_owned(), odf("presentation", &self.out))]
            }
            FileKind::Pptx => self.pptx(),
            kind => unreachable!("{kind:?} is no office format"),
        }
    }

    /// A heading of a few words, or one that is too long to be one.
    fn title(&mut self) -> String {
        if self.one_in(12) {
            self.heading = None;
            return self.body(20) + &" dài".repeat(300);
        }
        let marker = self.marker("hd");
        self.heading = Some(marker.clone());
        format!("{marker} {}", self.any(&["tựa", "Tựa đề", "1. Mở đầu"]))
    }

    fn cells(&mut self, columns: usize) -> Vec<String> {
        (0..columns).map(|_| self.body(12)).collect()
    }

    fn odt_block(&mut self) -> String {
        match self.random.below(8) {
            0 | 1 => {
                let level = 1 + self.random.below(6);
                format!("<text:h text:outline-level=\"{level}\">{}</text:h>", self.title())
            }
            2..5 => format!("<text:p>{}</text:p>", self.body(60)),
            5 => {
                let (first, inner, last) = (self.body(20), self.body(20), self.body(20));
                format!(
                    "<text:list><text:list-item><text:p>{first}</text:p><text:list><text:list-item>\
                     <text:p>{inner}</text:p></text:list-item></text:list></text:list-item>\
                     <text:list-item><text:p>{last}</text:p></text:list-item></text:list>"
                )
            }
            6 => {
                let text = self.body(20);
                let note = self.body(10);
                format!(
                    "<text:p>{text}<text:note><text:note-citation>1</text:note-citation><text:note-body>\
                     <text:p>{note}</text:p></text:note-body></text:note></text:p>"
                )
            }
            _ => self.odf_table(),
        }
    }

    fn odf_table(&mut self) -> String {
        let columns = 1 + self.random.below(4);
        let mut table = "<table:table>".to_owned();
        for _ in 0..=self.random.below(6) {
            table.push_str("<table:table-row>");
            for cell in self.cells(columns) {
                write!(table, "<table:table-cell><text:p>{cell}</text:p></table:table-cell>")
                    .unwrap();
            }
            table.push_str("</table:table-row>");
        }
        table + "</table:table>"
    }

    fn odp_slide(&mut self) -> String {
        let frame = |class: &str, text: &str| {
            format!(
                "<draw:frame presentation:class=\"{class}\"><draw:text-box><text:p>{text}</text:p></draw:text-box></draw:frame>"
            )
        };
        let mut slide = "<draw:page>".to_owned();
        self.heading = None;
        if self.one_in(2) {
            slide.push_str(&frame("title", &self.title()));
        }
        for _ in 0..self.random.below(5) {
            slide.push_str(&frame("outline", &self.body(40)));
        }
        if self.one_in(3) {
            slide.push_str(&self.odf_table());
        }
        slide + "</draw:page>"
    }

    fn rtf(&mut self) -> Parts {
        let mut file =
            "{\\rtf1\\ansi\\uc1{\\stylesheet{\\s0 Normal;}{\\s1 heading 1;}{\\s2 heading 2;}}\n"
                .to_owned();
        for _ in 0..self.random.below(24) {
            match self.random.below(8) {
                0 | 1 => {
                    let style = 1 + self.random.below(2);
                    let title = rtf(&self.title());
                    writeln!(file, "\\pard\\plain\\s{style} {title}\\par")
                }
                2..5 => writeln!(file, "{{\\pard {}\\par}}", rtf(&self.body(60))),
                5 => {
                    writeln!(file, "{{\\listtext -\\tab}}\\pard\\ls1 {}\\par", rtf(&self.body(20)))
                }
                6 => {
                    let (text, note) = (self.body(20), self.body(10));
                    writeln!(file, "\\pard {}{{\\footnote {}}}\\par", rtf(&text), rtf(&note))
                }
                _ => {
                    let columns = 1 + self.random.below(4);
                    for _ in 0..=self.random.below(6) {
                        file.push_str("\\trowd");
                        (0..columns).for_each(|at| write!(file, "\\cellx{at}").unwrap());
                        file.push_str("\\pard\\intbl ");
                        for cell in self.cells(columns) {
                            write!(file, "{}\\cell ", rtf(&cell)).unwrap();
                        }
                        file.push_str("\\row\n");
                    }
                    Ok(())
                }
            }
            .unwrap();
        }
        vec![(String::new(), file + "}")]
    }

    fn pptx(&mut self) -> Parts {
        let (mut list, mut links) = (String::new(), String::new());
        let mut parts = Parts::new();
        for page in 1..=1 + self.random.below(8) as u32 {
            self.page = page;
            write!(list, "<p:sldId id=\"{}\" r:id=\"r{page}\"/>", 255 + page).unwrap();
            write!(links, "<Relationship Id=\"r{page}\" Type=\"x/slide\" Target=\"s{page}.xml\"/>")
                .unwrap();
            let slide = self.pptx_slide();
            parts.push((format!("ppt/s{page}.xml"), slide));
        }
        let presentation =
            format!("<p:presentation><p:sldIdLst>{list}</p:sldIdLst></p:presentation>");
        parts.push(("ppt/presentation.xml".to_owned(), presentation));
        let links = format!("<Relationships>{links}</Relationships>");
        parts.push(("ppt/_rels/presentation.xml.rels".to_owned(), links));
        parts
    }

    fn pptx_slide(&mut self) -> String {
        let shape = |kind: &str, text: &str| {
            format!(
                "<p:sp><p:nvPr><p:ph type=\"{kind}\"/></p:nvPr><p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
            )
        };
        let mut slide = "<p:sld>".to_owned();
        self.heading = None;
        if self.one_in(2) {
            slide.push_str(&shape("title", &self.title()));
        }
        for _ in 0..self.random.below(5) {
            slide.push_str(&shape("body", &self.body(40)));
        }
        if self.one_in(3) {
            let columns = 1 + self.random.below(4);
            slide.push_str("<p:graphicFrame><a:tbl>");
            for _ in 0..=self.random.below(5) {
                slide.push_str("<a:tr>");
                for cell in self.cells(columns) {
                    write!(slide, "<a:tc><a:p><a:r><a:t>{cell}</a:t></a:r></a:p></a:tc>").unwrap();
                }
                slide.push_str("</a:tr>");
            }
            slide.push_str("</a:tbl></p:graphicFrame>");
        }
        slide + "</p:sld>"
    }
}

fn odf(kind: &str, body: &str) -> String {
    format!(
        "<office:document-content><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
}

/// A text as RTF writes it.
fn rtf(text: &str) -> String {
    let mut out = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b'\\' | b'{' | b'}')) => out.extend(['\\', char::from(byte)]),
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => write!(out, "\\u{}?", unit as i16).unwrap(),
        }
    }
    out
}
