use std::path::Path;
use std::time::{Duration, Instant};

use crate::documents::error::ReadError;
use crate::documents::samples::{Outcome, documents, package};
use crate::documents::structure::LineCounter;
use crate::documents::{Document, Place, read};

const NAMESPACE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

fn relations(relations: &[(&str, &str, &str)]) -> String {
    let relation = |(id, kind, target): &(&str, &str, &str)| {
        format!("<Relationship Id=\"{id}\" Type=\"{NAMESPACE}/{kind}\" Target=\"{target}\"/>")
    };
    format!("<Relationships>{}</Relationships>", relations.iter().map(relation).collect::<String>())
}

/// An XLSX file of two sheets, the second of them hidden.
fn workbook(first: &str, second: &str) -> Outcome {
    let workbook = format!(
        "<workbook xmlns:r=\"{NAMESPACE}\"><sheets><sheet name=\"Giá\" sheetId=\"1\" r:id=\"r1\"/>\
         <sheet name=\"Ẩn\" sheetId=\"2\" state=\"hidden\" r:id=\"r2\"/></sheets></workbook>"
    );
    let styles = "<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"dd/mm/yyyy\"/><numFmt numFmtId=\"165\" formatCode=\"#,##0\\ &quot;đ&quot;\"/></numFmts>\
        <cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"164\"/><xf numFmtId=\"165\"/><xf numFmtId=\"10\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>";
    let strings = "<sst><si><t>Mã &amp; tên</t></si><si><r><t xml:space=\"preserve\">Ngày </t></r><r><t>bán</t></r></si></sst>";
    let comments = "<comments><commentList><comment ref=\"A9\"><text><t>lời bình</t></text></comment></commentList></comments>";
    let workbook_relations = relations(&[
        ("r1", "worksheet", "worksheets/sheet1.xml"),
        ("r2", "worksheet", "worksheets/sheet2.xml"),
        ("r3", "styles", "styles.xml"),
        ("r4", "sharedStrings", "sharedStrings.xml"),
    ]);
    let (_folder, path) = package(
        "a.xlsx",
        &[
            ("_rels/.rels", &relations(&[("r", "officeDocument", "xl/workbook.xml")])),
            ("xl/workbook.xml", workbook.as_str()),
            ("xl/_rels/workbook.xml.rels", &workbook_relations),
            ("xl/styles.xml", styles),
            ("xl/sharedStrings.xml", strings),
            ("xl/worksheets/sheet1.xml", first),
            ("xl/worksheets/sheet2.xml", second),
            (
                "xl/worksheets/_rels/sheet1.xml.rels",
                &relations(&[("c", "comments", "../comments1.xml")]),
            ),
            ("xl/comments1.xml", comments),
        ],
    );
    read(&path).collect()
}

const FIRST: &str = "<worksheet><dimension ref=\"A1:XFD1048576\"/><sheetData>\
    <row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c><c r=\"C1\" t=\"inlineStr\"><is><t>Giá</t></is></c><c r=\"D1\" t=\"str\"><f>A1</f><v>Tỷ lệ</v></c></row>\
    <row r=\"2\"><c r=\"A2\" t=\"inlineStr\"><is><t>Bắc</t></is></c><c r=\"B2\" s=\"1\"><v>46086</v></c><c r=\"C2\" s=\"2\"><v>1500000</v></c><c r=\"D2\" s=\"3\"><v>0.125</v></c></row>\
    <row r=\"3\"><c r=\"B3\" s=\"4\"><v>46086</v></c><c r=\"C3\" t=\"e\"><v>#N/A</v></c><c r=\"D3\" t=\"b\"><v>1</v></c></row>\
    </sheetData><mergeCells><mergeCell ref=\"A2:A3\"/></mergeCells></worksheet>";
const SECOND: &str = "<worksheet><sheetData><row r=\"7\"><c r=\"C7\" t=\"inlineStr\"><is><t>kín</t></is></c></row></sheetData></worksheet>";

fn place(document: &Document, part: &str) -> Option<Place> {
    let at = document.text.find(part).unwrap();
    document.structure.places.of(&(at..at + part.len()), &mut LineCounter::new(&document.text))
}

#[test]
fn cells_are_read_as_they_are_shown() {
    let outcome = workbook(FIRST, SECOND);
    assert_eq!(outcome.len(), 1, "{outcome:?}");
    let document = outcome[0].as_ref().unwrap();
    assert_eq!(
        document.text,
        "Giá\n\nMã & tên | Ngày bán | Giá | Tỷ lệ\nBắc | 05/03/2026 | 1,500,000 đ | 12.50%\n\
         Bắc | 2026-03-05 | #N/A | TRUE\n\nlời bình\n\nẨn\n\nkín"
    );
    assert_eq!(place(document, "#N/A"), Some(Place::Rows(3, 3)));
    assert_eq!(place(document, "kín"), Some(Place::Rows(7, 7)));
}

/// openpyxl and others write formulas alone; Excel computes their values when it opens the file.
#[test]
fn formulas_without_a_value_are_named() {
    let first = "<worksheet><sheetData><row r=\"1\"><c r=\"A1\"><v>4471</v></c><c r=\"B1\" s=\"1\"/>\
        <c r=\"C1\" t=\"str\"><f>IF(A1,\"\",1)</f><v></v></c></row>\
        <row r=\"9\"><c r=\"AB9\"><f>A1*2</f><v></v></c><c r=\"AC9\"><f>A1*3</f></c></row></sheetData></worksheet>";
    let outcome = workbook(first, SECOND);
    assert!(outcome[0].as_ref().unwrap().text.contains("4471"));
    let [_, Err(error)] = &outcome[..] else { panic!("{outcome:?}") };
    let told = "without the values of 2 formulas in the sheet `Giá`, from cell AB9 on";
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!([0, 25, 26, 701, 702].map(super::column_letters), ["A", "Z", "AA", "ZZ", "AAA"]);
}

#[test]
fn a_sheet_that_is_damaged_is_named_and_the_others_are_read() {
    let outcome = workbook(&FIRST[..FIRST.len() / 2], SECOND);
    assert!(outcome[0].as_ref().unwrap().text.contains("kín"), "{outcome:?}");
    assert!(
        matches!(&outcome[1], Err(ReadError::Part { part, .. }) if part.contains("Giá")),
        "{outcome:?}"
    );
}

#[test]
fn what_is_no_workbook_is_an_error() {
    for bytes in [&b"PK\x03\x04 broken"[..], b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 broken"] {
        let (_folder, outcome) = documents("a.xlsx", bytes);
        assert!(matches!(outcome[..], [Err(ReadError::Damaged { .. })]), "{outcome:?}");
    }
    let mut encrypted = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
    encrypted.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    let (_folder, outcome) = documents("a.xlsx", encrypted);
    assert!(matches!(outcome[..], [Err(ReadError::Encrypted { .. })]), "{outcome:?}");
}

#[test]
fn pages_and_text_that_were_saved_as_workbooks_are_read() {
    let text =
        |content: &str| documents("a.xls", content).1.remove(0).unwrap().text.trim_end().to_owned();
    assert_eq!(text("<html><table><tr><td>Mã</td><td>Giá</td></tr></table></html>"), "Mã | Giá");
    assert_eq!(text("Mã\tGiá\nA\t5\n"), "Mã | Giá\nA | 5");
    assert!(text("<?xml version=\"1.0\"?><Workbook><Data>Mã</Data></Workbook>").contains("Mã"));
}

fn open_document(content: &str) -> Outcome {
    let content = format!(
        "<office:document-content><office:body><office:spreadsheet>{content}</office:spreadsheet></office:body></office:document-content>"
    );
    let (_folder, path) = package("a.ods", &[("content.xml", &content)]);
    read(&path).collect()
}

#[test]
fn ods_cells_are_read_as_they_are_shown() {
    let cell = |kind: &str, more: &str, text: &str| {
        format!(
            "<table:table-cell office:value-type=\"{kind}\" {more}><text:p>{text}</text:p></table:table-cell>"
        )
    };
    let rows = [
        [
            cell("string", "", "Vùng"),
            cell("string", "", "Tỷ<text:s/>lệ"),
            cell("string", "", "Ngày"),
        ]
        .concat(),
        [
            cell("string", "table:number-rows-spanned=\"2\"", "Bắc"),
            cell("percentage", "office:value=\"0.125\"", "12,5%"),
            cell("date", "", "05/03/2026"),
        ]
        .concat(),
        [
            "<table:covered-table-cell/>".to_owned(),
            cell("float", "table:number-columns-repeated=\"2\"", "7"),
            "<table:table-cell table:number-columns-repeated=\"16381\"/>".to_owned(),
        ]
        .concat(),
    ];
    let rows = rows
        .iter()
        .map(|row| format!("<table:table-row>{row}</table:table-row>"))
        .collect::<Vec<_>>()
        .concat();
    let empty = "<table:table-row table:number-rows-repeated=\"1048000\"><table:table-cell table:number-columns-repeated=\"16384\"/></table:table-row>";
    let note = "<table:table-row><table:table-cell><office:annotation><dc:creator>An</dc:creator><text:p>ghi chú</text:p></office:annotation></table:table-cell></table:table-row>";
    let outcome = open_document(&format!(
        "<table:table table:name=\"Trang\">{rows}{empty}{note}</table:table>"
    ));
    let document = outcome[0].as_ref().unwrap();
    assert_eq!(
        document.text,
        "Trang\n\nVùng | Tỷ lệ | Ngày\nBắc | 12,5% | 05/03/2026\nBắc | 7 | 7\n\nghi chú"
    );
    assert_eq!(place(document, "ghi chú"), Some(Place::Rows(1_048_004, 1_048_004)));
}

#[test]
fn hostile_repetitions_stay_within_bounds() {
    let begin = Instant::now();
    let row = "<table:table-row table:number-rows-repeated=\"4000000000\"><table:table-cell table:number-columns-repeated=\"4000000000\"><text:p>x</text:p></table:table-cell></table:table-row>";
    let outcome = open_document(&format!("<table:table table:name=\"a\">{row}</table:table>"));
    assert!(outcome[0].as_ref().unwrap().text.len() < 5_000_000);
    let _ = open_document(&"<table:table><table:table-row>".repeat(100_000));
    let merged = (1..20_000)
        .map(|row| format!("<mergeCell ref=\"A{row}:XFD1048576\"/>"))
        .collect::<Vec<_>>()
        .concat();
    let rows = (1..2000)
        .map(|row| {
            format!("<row r=\"{row}\"><c r=\"A{row}\" t=\"inlineStr\"><is><t>x</t></is></c></row>")
        })
        .collect::<Vec<_>>()
        .concat();
    let sheet = format!(
        "<worksheet><sheetData>{rows}</sheetData><mergeCells>{merged}</mergeCells></worksheet>"
    );
    assert!(workbook(&sheet, SECOND)[0].as_ref().unwrap().text.len() < 5_000_000);
    let far = "<worksheet><sheetData><row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row></sheetData></worksheet>";
    assert!(workbook(far, SECOND)[0].is_ok());
    assert!(begin.elapsed() < Duration::from_mins(3), "{:?}", begin.elapsed());
}

/// Of XLS files too, whose formats are in records of their own. The file is xlwt's.
#[test]
fn cells_of_xls_are_read_as_they_are_shown() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sheets");
    let outcome: Outcome = read(&fixtures.join("number-formats.xls")).collect();
    let text = &outcome[0].as_ref().unwrap().text;
    for row in [
        "12.5% | 1,500,000 đ | 05/03/2026 | 14:30 | 0.5",
        "100.0% | -2,500 đ | 31/12/2025 | 7:05 | 12",
        "1000.00% | 1100.00% | 1200.00% | 1300.00% | 1400.00%",
    ] {
        assert!(text.contains(row), "{text}");
    }
}
