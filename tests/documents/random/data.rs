//! Random files of data: sheets, tables, records, messages, subtitles.

use std::fmt::Write as _;

use super::{FileKind, Parts, Writer};

impl Writer {
    pub(super) fn data(&mut self) -> Parts {
        match self.kind {
            FileKind::Csv => self.csv(),
            FileKind::Xlsx => return self.workbook(),
            FileKind::Json => self.json(),
            FileKind::Xml => self.xml(),
            FileKind::Mail => self.mail(),
            FileKind::Subtitles => self.subtitles(),
            kind => unreachable!("{kind:?} is no kind of data"),
        }
        vec![(String::new(), self.out.clone())]
    }

    fn csv(&mut self) {
        let delimiter = self.any(&[",", ";", "\t"]);
        for _ in 0..2 + self.random.below(30) {
            for column in 0..3 {
                let mut cell = self.body(12).replace('"', "\"\"");
                if self.one_in(4) {
                    cell = cell.replacen(' ', "\n", 2);
                }
                write!(self.out, "{}\"{cell}\"", if column > 0 { delimiter } else { "" }).unwrap();
            }
            let end = self.any(&["\n", "\r\n", ",\n"]);
            self.out.push_str(end);
        }
    }

    fn workbook(&mut self) -> Parts {
        let name = self.marker("hd");
        self.heading = Some(name.clone());
        let mut row = 0;
        for _ in 0..2 + self.random.below(30) {
            row += 1 + u32::from(self.one_in(5));
            write!(self.out, "<row r=\"{row}\">").unwrap();
            self.page = row;
            for column in ["A", "B", "D", "XFD"] {
                if self.one_in(4) {
                    continue;
                }
                let text = self.body(12);
                write!(
                    self.out,
                    "<c r=\"{column}{row}\" t=\"inlineStr\"><is><t>{text}</t></is></c>"
                )
                .unwrap();
            }
            self.out.push_str("</row>");
        }
        let relations = "<Relationships><Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>";
        let workbook = format!(
            "<workbook xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"{name}\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
        );
        vec![
            (
                "xl/worksheets/sheet1.xml".to_owned(),
                format!("<worksheet><sheetData>{}</sheetData></worksheet>", self.out),
            ),
            (
                "_rels/.rels".to_owned(),
                relations
                    .replace("worksheets/sheet1.xml", "xl/workbook.xml")
                    .replace("/worksheet\"", "/officeDocument\""),
            ),
            ("xl/workbook.xml".to_owned(), workbook),
            ("xl/_rels/workbook.xml.rels".to_owned(), relations.to_owned()),
        ]
    }

    fn json(&mut self) {
        let mut records = Vec::new();
        for _ in 0..2 + self.random.below(20) {
            let texts: Vec<String> =
                (0..4).map(|_| serde_json::to_string(&self.body(20)).unwrap()).collect();
            records.push(format!(
                "{{\n\"a\": {},\n \"b\": {{\"c\": {}}}, \"d\": [1, {},\n{}]}}",
                texts[0], texts[1], texts[2], texts[3]
            ));
        }
        write!(self.out, "[{}]", records.join(",\n")).unwrap();
    }

    fn xml(&mut self) {
        self.out.push_str("<?xml version=\"1.0\"?>\n<list>\n");
        for _ in 0..2 + self.random.below(20) {
            let (first, second, third) = (self.body(12), self.body(12), self.body(12));
            writeln!(self.out, "<item><a>{first}</a>\n <b>{second}\n</b>{third}</item>").unwrap();
        }
        self.out.push_str("</list>\n");
    }

    fn mail(&mut self) {
        self.out.push_str(
            "From: an@example.com\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        );
        for _ in 0..2 + self.random.below(20) {
            let text = self.body(40);
            write!(self.out, "{text}\r\n\r\n").unwrap();
        }
    }

    fn subtitles(&mut self) {
        let mut second = 0;
        for _ in 0..2 + self.random.below(40) {
            second += 1 + self.random.below(30) as u32;
            self.page = second;
            let (first, other) = (self.body(8), self.body(8));
            write!(
                self.out,
                "00:{:02}:{:02},100 --> 00:{:02}:{:02},900\n{first}\n{other}\n\n",
                second / 60,
                second % 60,
                second / 60,
                second % 60
            )
            .unwrap();
        }
    }
}
