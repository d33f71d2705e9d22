use crate::documents::samples::package;
use crate::documents::section::Section;
use crate::documents::structure::LineCounter;
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
    let headings: Vec<String> = headings(&document).into_iter().map(|(above, _)| above).collect();
    assert_eq!(headings, ["Chương & I", "Chương & I > Mục 1"]);
    assert_eq!(place(&document, "Phạm vi"), Some(Place::Pages(1, 1)));
    assert_eq!(place(&document, "Sang trang"), Some(Place::Pages(2, 2)));
}

#[test]
fn without_page_breaks_there_are_no_pages() {
    let document = read_one(&[("word/document.xml", &body(&paragraph("", "x")))]).unwrap();
    assert_eq!(place(&document, "x"), None);
}

#[test]
fn a_file_that_is_not_a_document_is_damaged() {
    let error = read_one(&[("xl/workbook.xml", "<x/>")]).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    let error = read_one(&[("word/document.xml", "<w:p><w:t></w:r>")]).unwrap_err();
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

/// A document's text. Nothing of it is left out.
fn text_of(parts: &[(&str, &str)]) -> String {
    let (_folder, path) = package("a.docx", parts);
    let mut outcome: Vec<_> = read(&path).collect();
    assert_eq!(outcome.len(), 1, "{outcome:?}");
    outcome.remove(0).unwrap().text
}

fn text_of_body(xml: &str) -> String {
    text_of(&[("word/document.xml", &body(xml))])
}

/// A document, and what is said to be left out.
fn with_messages(parts: &[(&str, &str)]) -> (Document, Vec<String>) {
    let (_folder, path) = package("a.docx", parts);
    let mut outcome = read(&path);
    let document = outcome.next().unwrap().unwrap();
    (document, outcome.map(|message| message.unwrap_err().to_string()).collect())
}

fn run(properties: &str, text: &str) -> String {
    format!("<w:r><w:rPr>{properties}</w:rPr><w:t xml:space=\"preserve\">{text}</w:t></w:r>")
}

/// The text below each path of headings.
fn headings(document: &Document) -> Vec<(String, String)> {
    let below = |section: &Section| {
        let (first, last) = (&section.blocks[0].span, &section.blocks.last().unwrap().span);
        let text = document.text[first.start..last.end].to_owned();
        (section.headings.join(" > "), text)
    };
    let sections = document.structure.sections.iter().flatten();
    sections.filter(|section| !section.blocks.is_empty()).map(below).collect()
}

/// Where a word stands.
fn place(document: &Document, word: &str) -> Option<Place> {
    let at = document.text.find(word).unwrap();
    document.structure.places.of(&(at..at + word.len()), &mut LineCounter::new(""))
}

/// The relations of `word/document.xml`: id, kind and target.
fn relations(relations: &[(&str, &str, &str)]) -> String {
    let relation = |(id, kind, target): &(&str, &str, &str)| {
        format!("<Relationship Id=\"{id}\" Type=\"http://x/{kind}\" Target=\"{target}\"/>")
    };
    let relations: String = relations.iter().map(relation).collect();
    format!("<Relationships>{relations}</Relationships>")
}

const RELATIONS: &str = "word/_rels/document.xml.rels";

#[test]
fn a_table_of_contents_is_left_out() {
    let line = |style: &str| paragraph(&format!("<w:pStyle w:val=\"{style}\"/>"), "Phạm vi 2");
    let control = "<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val=\"Table of Contents\"/></w:docPartObj></w:sdtPr>\
        <w:sdtContent><w:p><w:r><w:t>Mục lục</w:t><w:lastRenderedPageBreak/></w:r></w:p></w:sdtContent></w:sdt>";
    let styles =
        "<w:styles><w:style w:styleId=\"MucLuc1\"><w:name w:val=\"toc 1\"/></w:style></w:styles>";
    let field = "<w:p><w:r><w:fldChar w:fldCharType=\"begin\"/><w:instrText> TOC \\o \"1-3\" </w:instrText>\
        <w:fldChar w:fldCharType=\"separate\"/></w:r><w:hyperlink w:anchor=\"_Toc1\"><w:r><w:t>Phạm vi 2</w:t></w:r></w:hyperlink></w:p>\
        <w:p><w:r><w:fldChar w:fldCharType=\"end\"/></w:r></w:p>";
    let xml =
        [control, &line("MucLuc1"), &line("TOC2"), field, &paragraph("", "thân bài")].concat();
    let parts = [("word/document.xml", &*body(&xml)), ("word/styles.xml", styles)];
    assert_eq!(text_of(&parts), "thân bài");
    // The pages of a table of contents count.
    let document = read_one(&parts).unwrap();
    assert_eq!(place(&document, "thân bài"), Some(Place::Pages(2, 2)));
}

#[test]
fn a_paragraphs_own_list_holds_in_any_order_and_empty_items_count() {
    let list = "<w:numPr><w:ilvl w:val=\"0\"/><w:numId w:val=\"7\"/></w:numPr>";
    let styles = "<w:styles><w:style w:styleId=\"Compact\"><w:name w:val=\"Compact\"/></w:style>\
        <w:style w:styleId=\"Listed\"><w:pPr><w:numPr><w:ilvl w:val=\"1\"/><w:numId w:val=\"7\"/></w:numPr></w:pPr></w:style></w:styles>";
    let style = |id: &str| format!("<w:pStyle w:val=\"{id}\"/>");
    let xml = [
        paragraph(&(list.to_owned() + &style("Compact")), "phạm vi"),
        paragraph(&(style("Listed") + list), "đối tượng"),
        format!("<w:p><w:pPr>{list}</w:pPr></w:p>"),
        paragraph(&style("Listed"), "một"),
        paragraph(&(style("Listed") + "<w:numPr><w:numId w:val=\"0\"/></w:numPr>"), "không số"),
        paragraph(list, "giải thích"),
    ];
    let text = text_of(&[
        ("word/document.xml", &body(&xml.concat())),
        ("word/styles.xml", styles),
        ("word/numbering.xml", NUMBERING),
    ]);
    assert_eq!(
        text,
        "Điều 3. phạm vi\nĐiều 4. đối tượng\n  a) một\n\nkhông số\n\nĐiều 6. giải thích"
    );
}

#[test]
fn the_level_of_a_style_may_be_named_by_its_list() {
    let styles = "<w:styles><w:style w:styleId=\"h2\"><w:name w:val=\"heading 2\"/><w:pPr><w:numPr><w:numId w:val=\"1\"/></w:numPr></w:pPr></w:style></w:styles>";
    let numbering = "<w:numbering><w:abstractNum w:abstractNumId=\"0\"><w:lvl w:ilvl=\"0\"><w:numFmt w:val=\"upperRoman\"/><w:lvlText w:val=\"%1.\"/></w:lvl>\
        <w:lvl w:ilvl=\"1\"><w:numFmt w:val=\"decimal\"/><w:pStyle w:val=\"h2\"/><w:lvlText w:val=\"%2)\"/></w:lvl></w:abstractNum>\
        <w:num w:numId=\"1\"><w:abstractNumId w:val=\"0\"/></w:num></w:numbering>";
    let xml = paragraph("<w:pStyle w:val=\"h2\"/>", "Mục") + &paragraph("", "thân");
    let text = text_of(&[
        ("word/document.xml", &body(&xml)),
        ("word/styles.xml", styles),
        ("word/numbering.xml", numbering),
    ]);
    assert_eq!(text, "1) Mục\n\nthân");
}

#[test]
fn a_row_turns_one_page_and_breaks_without_text_count() {
    let cell = |text: &str| {
        format!("<w:tc><w:p><w:r><w:lastRenderedPageBreak/><w:t>{text}</w:t></w:r></w:p></w:tc>")
    };
    let row = format!("<w:tbl><w:tr>{}{}{}</w:tr></w:tbl>", cell("ô 0"), cell("ô 1"), cell("ô 2"));
    let xml = [
        &paragraph("", "mở đầu"),
        &row,
        &paragraph("", "kết luận"),
        "<w:p><w:r><w:br w:type=\"page\"/></w:r></w:p><w:p/>",
        &paragraph("", "trang ba"),
        "<w:p><w:pPr><w:sectPr/></w:pPr></w:p>",
        &paragraph("", "trang bốn"),
        "<w:p><w:pPr><w:sectPr/></w:pPr><w:r><w:br w:type=\"page\"/></w:r></w:p>",
        "<w:p><w:r><w:lastRenderedPageBreak/><w:t>trang năm</w:t></w:r></w:p>",
        "<w:sectPr><w:type w:val=\"continuous\"/></w:sectPr>",
    ]
    .concat();
    let document = read_one(&[("word/document.xml", &body(&xml))]).unwrap();
    for (word, page) in [("mở", 1), ("ô 2", 2), ("kết", 2), ("ba", 3), ("bốn", 4), ("năm", 5)]
    {
        assert_eq!(place(&document, word), Some(Place::Pages(page, page)), "{word}");
    }
}

#[test]
fn a_text_box_is_a_block_of_its_own() {
    let shape = |text: &str| {
        format!(
            "<w:r><mc:AlternateContent><mc:Choice Requires=\"wps\"><w:drawing><wps:txbx><w:txbxContent>{}</w:txbxContent></wps:txbx></w:drawing></mc:Choice>\
             <mc:Fallback><w:pict><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>",
            paragraph("<w:outlineLvl w:val=\"0\"/>", text),
            paragraph("", text)
        )
    };
    let outline = "<w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr>";
    let xml = [
        format!("<w:p>{outline}{}{}</w:p>", shape("HỘP A"), run("", "Chương 1")),
        paragraph("", "thân một"),
        format!("<w:p>{outline}{}{}{}</w:p>", run("", "Chương "), shape("HỘP B"), run("", "2")),
        format!(
            "<w:p>{}<w:r><w:pict><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></w:pict></w:r>{}</w:p>",
            run("", "một "),
            paragraph("", "HỘP C"),
            run("", "câu")
        ),
        format!(
            "<w:tbl><w:tr><w:tc><w:p>{}{}</w:p></w:tc><w:tc>{}</w:tc></w:tr></w:tbl>",
            shape("HỘP D"),
            run("", "ô"),
            paragraph("", "x")
        ),
        "<mc:AlternateContent><mc:Choice Requires=\"w16\"/><mc:Fallback>".to_owned()
            + &paragraph("", "thay thế")
            + "</mc:Fallback></mc:AlternateContent>",
    ];
    let document = read_one(&[("word/document.xml", &body(&xml.concat()))]).unwrap();
    assert_eq!(
        headings(&document),
        [
            ("Chương 1".to_owned(), "HỘP A\n\nthân một".to_owned()),
            (
                "Chương 2".to_owned(),
                "HỘP B\n\nmột câu\n\nHỘP C\n\nô HỘP D | x\n\nthay thế".to_owned()
            ),
        ]
    );
}

#[test]
fn boxes_within_boxes_end_in_linear_time() {
    let begin = std::time::Instant::now();
    let open = "<w:p><w:r><w:t>x</w:t><w:txbxContent>";
    let close = "</w:txbxContent></w:r></w:p>";
    let deep = open.repeat(1 << 14) + &close.repeat(1 << 14);
    let text = text_of_body(&deep);
    assert_eq!(text.matches('x').count(), 1 << 14);
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn notes_and_comments_stand_behind_their_paragraph() {
    let note = |name: &str, text: &str| {
        format!(
            "<w:{name}s><w:{name} w:id=\"2\">{}{}</w:{name}></w:{name}s>",
            paragraph("", text),
            paragraph("", "hết")
        )
    };
    let xml = "<w:p><w:r><w:t>Bồi thường gấp đôi</w:t><w:endnoteReference w:id=\"2\"/><w:footnoteReference w:id=\"2\"/>\
        <w:t>.</w:t><w:commentReference w:id=\"2\"/></w:r></w:p>".to_owned() + &paragraph("", "sau");
    let relations = relations(&[("r1", "endnotes", "/word/other.xml")]);
    let text = text_of(&[
        ("word/document.xml", &body(&xml)),
        (RELATIONS, &relations),
        ("word/other.xml", &note("endnote", "Theo Nghị định")),
        ("word/footnotes.xml", &note("footnote", "Luật số 45")),
        ("word/comments.xml", &note("comment", "Xem lại")),
    ]);
    assert_eq!(
        text,
        "Bồi thường gấp đôi.\n\n(Theo Nghị định hết)\n\n(Luật số 45 hết)\n\n[comment: Xem lại hết]\n\nsau"
    );
}

#[test]
fn headers_and_footers_stand_once_where_they_begin() {
    let page = "<w:r><w:fldChar w:fldCharType=\"begin\"/><w:instrText>PAGE</w:instrText><w:fldChar w:fldCharType=\"separate\"/><w:t>3</w:t><w:fldChar w:fldCharType=\"end\"/></w:r>";
    let header = |text: &str| format!("<w:hdr>{text}</w:hdr>");
    let first = header(&(paragraph("", "Số: 12/QĐ") + &paragraph("", "Hà Nội, ngày 5/6")));
    let other = header(&(paragraph("", "Quyết định") + &paragraph("", "Công ty A")));
    let footer = header(&format!(
        "<w:p>{}{page}</w:p><w:p>{}{page}{}<w:fldSimple w:instr=\" NUMPAGES \"><w:r><w:t>9</w:t></w:r></w:fldSimple></w:p>",
        run("", "Số 12/QĐ, trang "),
        run("", "Trang "),
        run("", " trên ")
    ));
    let section = |first: &str, more: &str| {
        format!(
            "<w:sectPr><w:headerReference w:type=\"first\" r:id=\"{first}\"/><w:headerReference w:type=\"default\" r:id=\"h2\"/>\
            <w:footerReference w:type=\"default\" r:id=\"f\"/>{more}</w:sectPr>"
        )
    };
    let xml = paragraph("<w:outlineLvl w:val=\"0\"/>", "Quyết định")
        + "<w:p><w:pPr>"
        + &section("h1", "<w:titlePg/>")
        + "</w:pPr><w:r><w:t>thân</w:t></w:r></w:p>"
        + &paragraph("", "phụ lục")
        + &section("h3", "");
    let text = text_of(&[
        ("word/document.xml", &body(&xml)),
        (
            RELATIONS,
            &relations(&[
                ("h1", "header", "h1.xml"),
                ("h2", "header", "h2.xml"),
                ("h3", "header", "h3.xml"),
                ("f", "footer", "f.xml"),
            ]),
        ),
        ("word/h1.xml", &first),
        ("word/h2.xml", &other),
        ("word/h3.xml", &header(&paragraph("", "không hiện"))),
        ("word/f.xml", &footer),
    ]);
    assert_eq!(
        text,
        "Số: 12/QĐ\n\nHà Nội, ngày 5/6\n\nCông ty A\n\nSố 12/QĐ, trang\n\nQuyết định\n\nthân\n\nphụ lục"
    );
}

#[test]
fn signs_forms_and_fields_are_what_people_see() {
    let field = |instruction: &str, result: &str| {
        format!(
            "<w:r><w:fldChar w:fldCharType=\"begin\"/><w:instrText>{instruction}</w:instrText>{result}<w:fldChar w:fldCharType=\"end\"/></w:r>"
        )
    };
    let check = "<w:r><w:fldChar w:fldCharType=\"begin\"><w:ffData><w:checkBox><w:default w:val=\"0\"/><w:checked/></w:checkBox></w:ffData></w:fldChar>\
        <w:instrText>FORMCHECKBOX</w:instrText><w:fldChar w:fldCharType=\"end\"/></w:r>";
    let control = "<w:sdt><w:sdtPr><w14:checkbox><w14:checked w14:val=\"1\"/></w14:checkbox></w:sdtPr><w:sdtContent><w:r><w:t>☒</w:t></w:r></w:sdtContent></w:sdt>";
    for (xml, expected) in [
        ("<w:r><w:sym w:font=\"Wingdings\" w:char=\"F0FE\"/><w:t> đồng ý</w:t></w:r>".to_owned(), "☑ đồng ý"),
        (run("<w:rFonts w:ascii=\"Symbol\"/>", "x \u{f0b3} 2"), "x ≥ 2"),
        (check.to_owned() + control, "☒☒"),
        (field("REF a", "<w:fldChar w:fldCharType=\"separate\"/><w:t>kết quả</w:t>"), "kết quả"),
        (field("SYMBOL 168 \\f Wingdings", ""), "☐"),
        (field("XE \"mục từ\"", ""), ""),
        ("<w:fldSimple w:instr=\"DATE\"><w:r><w:t>5/6</w:t></w:r></w:fldSimple>".to_owned(), "5/6"),
        ("<w:r><w:t>a</w:t><w:noBreakHyphen/><w:t>b</w:t><w:softHyphen/><w:t>c</w:t><w:tab/><w:t>d</w:t></w:r>".to_owned(), "a-bc d"),
        (run("<w:vanish/>", "ẩn"), "ẩn"),
        ("<w:ruby><w:rubyPr/><w:rt>".to_owned() + &run("", "かんじ") + "</w:rt><w:rubyBase>" + &run("", "漢字") + "</w:rubyBase></w:ruby>", "漢字(かんじ)"),
        ("<w:hyperlink>".to_owned() + &run("", "liên kết") + "</w:hyperlink>", "liên kết"),
        ("<w:ins>".to_owned() + &run("", "thêm") + "</w:ins><w:del><w:r><w:delText>bỏ</w:delText><w:sym w:font=\"Symbol\" w:char=\"61\"/></w:r></w:del>", "thêm"),
        ("<w:r><w:t>trước</w:t><w:br w:type=\"page\"/><w:t>sau</w:t></w:r>".to_owned(), "trước\nsau"),
        ("<w:r><w:t><![CDATA[a < b]]></w:t></w:r>".to_owned(), "a < b"),
        (run("", "không kết thúc ") + "<w:r><w:fldChar w:fldCharType=\"begin\"/></w:r>" + &run("", "mà còn"), "không kết thúc mà còn"),
    ] {
        assert_eq!(text_of_body(&format!("<w:p>{xml}</w:p>")), expected, "{xml}");
    }
}

#[test]
fn powers_and_formulas_keep_their_numbers() {
    let xml = [
        format!("<w:p>{}{}{}{}</w:p>", run("", "Mật độ 10"), run("<w:vertAlign w:val=\"superscript\"/>", "1"),
            run("<w:vertAlign w:val=\"superscript\"/>", "2"), run("", " người")),
        format!("<w:p>{}<m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>{}</w:p>",
            run("", "Tỷ lệ là "), run("", ", mỗi bên")),
        "<w:p><m:oMathPara><m:oMath><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>6</m:t></m:r></m:sup></m:sSup></m:oMath>\
         <m:oMath><m:r><m:t>y</m:t></m:r></m:oMath></m:oMathPara></w:p>".to_owned(),
    ];
    assert_eq!(text_of_body(&xml.concat()), "Mật độ 10^12 người\n\nTỷ lệ là 1/2, mỗi bên\n\nx^6 y");
}

#[test]
fn merged_cells_stand_in_each_of_their_rows_and_columns() {
    let cell = |properties: &str, text: &str| {
        format!("<w:tc><w:tcPr>{properties}</w:tcPr>{}</w:tc>", paragraph("", text))
    };
    let row = |cells: &[String]| format!("<w:tr>{}</w:tr>", cells.concat());
    let xml = format!(
        "<w:tbl>{}{}{}{}</w:tbl>",
        row(&[cell("", "Vùng"), cell("<w:gridSpan w:val=\"2\"/>", "Giá")]),
        row(&[cell("<w:vMerge w:val=\"restart\"/>", "Bắc"), cell("", "Hà Nội"), cell("", "12")]),
        row(&[cell("<w:vMerge/>", ""), cell("", "Hải Phòng"), cell("", "9")]),
        "<w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p><w:r><w:t>bỏ</w:t></w:r></w:p></w:tc></w:tr>",
    );
    assert_eq!(text_of_body(&xml), "Vùng | Giá | Giá\nBắc | Hà Nội | 12\nBắc | Hải Phòng | 9");
}

#[test]
fn a_paragraph_whose_mark_was_deleted_goes_on() {
    let deleted = "<w:rPr><w:del w:id=\"1\"/></w:rPr>";
    let xml = [
        paragraph(deleted, "Điều khoản "),
        paragraph("", "này"),
        paragraph(deleted, "hết"),
        "<w:tbl><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>".to_owned(),
    ];
    assert_eq!(text_of_body(&xml.concat()), "Điều khoản này\n\nhết");
    let large = paragraph("<w:framePr w:dropCap=\"drop\" w:lines=\"3\"/>", "N");
    assert_eq!(text_of_body(&(large + &paragraph("", "gày xưa"))), "Ngày xưa");
}

#[test]
fn tables_and_controls_within_tables_keep_their_text() {
    let inner = format!(
        "<w:tbl><w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr></w:tbl>",
        paragraph("", "c"),
        paragraph("", "d")
    );
    let xml = format!(
        "<w:tbl><w:sdt><w:sdtContent><w:tr><w:sdt><w:sdtContent><w:tc>{}</w:tc></w:sdtContent></w:sdt><w:tc>{}{inner}{}</w:tc></w:tr></w:sdtContent></w:sdt></w:tbl>",
        paragraph("", "a"),
        paragraph("", "b"),
        paragraph("", "e")
    );
    let text = text_of_body(&xml);
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["a", "b", "c", "d", "e"]);
}

#[test]
fn embedded_documents_are_read_where_they_stand() {
    let (_folder, inner) =
        package("b.docx", &[("word/document.xml", &body(&paragraph("", "trong")))]);
    let inner = std::fs::read(inner).unwrap();
    let relations = relations(&[
        ("r1", "aFChunk", "a.html"),
        ("r2", "aFChunk", "m.mht"),
        ("r3", "aFChunk", "t.txt"),
        ("r4", "aFChunk", "b.docx"),
        ("r5", "aFChunk", "f.xml"),
        ("r6", "aFChunk", "gone.html"),
        ("r7", "aFChunk", "r.rtf"),
    ]);
    let chunk = |id: &str| format!("<w:altChunk r:id=\"{id}\"/>");
    let xml = paragraph("<w:outlineLvl w:val=\"0\"/>", "Kính gửi")
        + &(1..=6).map(|n| chunk(&format!("r{n}"))).collect::<String>()
        + &chunk("r7")
        + &chunk("r1")
        + &paragraph("", "Trân trọng");
    let message = "MIME-Version: 1.0\nContent-Type: multipart/related; type=\"text/html\"; boundary=\"--b\"\n\n\
        ----b\nContent-Type: text/html; charset=\"utf-8\"\nContent-Transfer-Encoding: quoted-printable\n\
        Content-Location: file:///C:/d.html\n\n<!DOCTYPE html><p>30 tri=E1=BB=87u</p>\n\n\
        ----b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Location: file:///C:/1.png\n\niVBORw0KGgo=\n\n----b--\n";
    let flat = format!(
        "<?xml version=\"1.0\"?><pkg:package><pkg:part><w:document><w:body>{}</w:body></w:document></pkg:part></pkg:package>",
        paragraph("", "phẳng")
    );
    let (_folder, path) = package(
        "a.docx",
        &[
            ("word/document.xml", &body(&xml)),
            (RELATIONS, &relations),
            ("word/a.html", "<h2>Lương</h2><p>20 triệu.</p>"),
            ("word/m.mht", message),
            ("word/t.txt", "chữ\n\nthường"),
            ("word/f.xml", &flat),
            ("word/r.rtf", "{\\rtf1\\ansi\\ansicpg1252 gi\\u224 ?u\\par}"),
        ],
    );
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut zip = zip::ZipWriter::new_append(file).unwrap();
    zip.start_file("word/b.docx", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, &inner).unwrap();
    zip.finish().unwrap();
    let outcome: Vec<_> = read(&path).collect();
    let [Ok(document), Err(missing)] = &outcome[..] else { panic!("{outcome:?}") };
    assert_eq!(
        document.text,
        "Kính gửi\n\nLương\n\n20 triệu.\n\n30 triệu\n\nchữ\n\nthường\n\ntrong\n\nphẳng\n\ngiàu\n\nTrân trọng"
    );
    assert!(missing.to_string().contains("word/gone.html"), "{missing}");
    assert_eq!(headings(document)[0].0, "Kính gửi > Lương");
}

#[test]
fn graphics_have_words() {
    let xml = "<w:p><w:r><w:t>Hình 1</w:t><w:drawing><wp:inline><wp:docPr descr=\"Sơ đồ tổ chức\"/><a:graphic><a:graphicData><dgm:relIds r:dm=\"d\"/></a:graphicData></a:graphic></wp:inline></w:drawing>\
        <w:drawing><wp:docPr descr=\"IMG_1.JPG\"/><c:chart r:id=\"c\"/></w:drawing><w:pict><v:shape alt=\"Dấu đỏ\"><v:textpath string=\"MẬT\"/></v:shape></w:pict></w:r></w:p>";
    let text = text_of(&[
        ("word/document.xml", &body(xml)),
        (RELATIONS, &relations(&[("d", "diagramData", "d.xml"), ("c", "chart", "c.xml")])),
        ("word/d.xml", "<dgm:pt><a:t>Giám đốc</a:t></dgm:pt>"),
        ("word/c.xml", "<c:title><a:t>Doanh thu</a:t></c:title>"),
    ]);
    assert_eq!(text, "Hình 1\n\n[Sơ đồ tổ chức]\n\nGiám đốc\n\nDoanh thu\n\n[Dấu đỏ]\n\nMẬT");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_taken() {
    let object = "<w:r><w:object><o:OLEObject ProgID=\"Equation.3\"/></w:object></w:r>";
    let (document, messages) = with_messages(&[
        (
            "word/document.xml",
            &format!(
                "<w:document><w:p><w:r><w:t>một</w:t></w:r>{object}</w:p><w:p><w:r><w:t>hai</w:t></w:r></w:p><w:p"
            ),
        ),
        ("word/styles.xml", "<w:styles><w:style"),
        ("word/footnotes.xml", "\0"),
    ]);
    assert_eq!(document.text, "một\n\nhai");
    let told = ["the end of its styles", "word/footnotes.xml", "without its end", "Equation.3"];
    assert_eq!(messages.len(), told.len(), "{messages:?}");
    for (message, told) in messages.iter().zip(told) {
        assert!(message.contains(told), "{message}");
    }
}

#[test]
fn the_document_may_have_another_name() {
    let root = "<Relationships><Relationship Type=\"http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument\" Target=\"/Word\\Document2.xml\"/></Relationships>";
    let styles =
        "<w:styles><w:style w:styleId=\"a\"><w:name w:val=\"heading 1\"/></w:style></w:styles>";
    let document = read_one(&[
        ("_rels/.rels", root),
        (
            "word/document2.xml",
            &body(&(paragraph("<w:pStyle w:val=\"a\"/>", "Đề") + &paragraph("", "thân"))),
        ),
        ("word/_rels/document2.xml.rels", &relations(&[("s", "styles", "styles2.xml")])),
        ("word/styles2.xml", styles),
    ])
    .unwrap();
    assert_eq!(headings(&document), [("Đề".to_owned(), "thân".to_owned())]);
}

#[test]
fn a_list_whose_items_have_long_numbers_ends_in_time() {
    let begin = std::time::Instant::now();
    let numbering = format!(
        "<w:numbering><w:abstractNum w:abstractNumId=\"4\"><w:lvl><w:numFmt w:val=\"decimal\"/><w:lvlText w:val=\"{}\"/></w:lvl></w:abstractNum>\
        <w:num w:numId=\"7\"><w:abstractNumId w:val=\"4\"/></w:num></w:numbering>",
        "%1".repeat(200_000)
    );
    let text = text_of(&[
        ("word/document.xml", &body(&item(0, "a").repeat(20_000))),
        ("word/numbering.xml", &numbering),
    ]);
    assert!(text.len() < 20_000 * 256);
    assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
}
