use crate::chunks::{ChunkSettings, chunk};
use crate::documents::samples::package;
use crate::documents::{Document, Place, ReadError, read};
use std::fmt::Write as _;

fn relations(of: &[(&str, &str, &str)]) -> String {
    let relation = |&(id, kind, target): &(&str, &str, &str)| {
        format!("<Relationship Id=\"{id}\" Type=\"http://x/{kind}\" Target=\"{target}\"/>")
    };
    format!("<Relationships>{}</Relationships>", of.iter().map(relation).collect::<String>())
}

fn shape(kind: &str, paragraphs: &str) -> String {
    let placeholder = if kind.is_empty() {
        String::new()
    } else {
        format!("<p:nvPr><p:ph type=\"{kind}\"/></p:nvPr>")
    };
    format!("<p:sp>{placeholder}<p:txBody>{paragraphs}</p:txBody></p:sp>")
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<a:p>{properties}<a:r><a:rPr/><a:t>{text}</a:t></a:r></a:p>")
}

fn slide(shapes: &[String]) -> String {
    format!(
        "<p:sld><p:cSld><p:spTree><p:grpSp>{}</p:grpSp></p:spTree></p:cSld></p:sld>",
        shapes.concat()
    )
}

/// A presentation of these slides, and these parts besides.
fn deck(slides: &[String], others: &[(&str, &str)]) -> (Document, Vec<ReadError>) {
    let mut list = "<p:presentation><p:sldIdLst>".to_owned();
    let mut targets = Vec::new();
    let mut parts = Vec::new();
    for (at, slide) in slides.iter().enumerate() {
        // Not in the order of the files' names.
        let name = format!("slides/slide{}.xml", slides.len() - at);
        write!(list, "<p:sldId id=\"{}\" r:id=\"r{at}\"/>", 256 + at).unwrap();
        targets.push((format!("r{at}"), name.clone()));
        parts.push((format!("ppt/{name}"), slide.clone()));
    }
    list.push_str("</p:sldIdLst></p:presentation>");
    let targets: Vec<(&str, &str, &str)> =
        targets.iter().map(|(id, target)| (id.as_str(), "slide", target.as_str())).collect();
    parts.push(("ppt/presentation.xml".to_owned(), list));
    parts.push(("ppt/_rels/presentation.xml.rels".to_owned(), relations(&targets)));
    let mut parts: Vec<(&str, &str)> =
        parts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    parts.retain(|(_, text)| !text.is_empty());
    parts.extend(others);
    let (_folder, path) = package("a.pptx", &parts);
    let mut documents = read(&path);
    let document = documents.next().unwrap().unwrap();
    (document, documents.map(Result::unwrap_err).collect())
}

#[test]
fn titles_points_boxes_notes_and_comments() {
    let first = slide(&[
        shape(
            "body",
            &[
                paragraph("", "ý một"),
                paragraph("<a:pPr lvl=\"1\"/>", "ý con"),
                paragraph(
                    "<a:pPr><a:buAutoNum type=\"alphaLcParenR\" startAt=\"2\"/></a:pPr>",
                    "đánh số",
                ),
                paragraph(
                    "<a:pPr><a:buAutoNum type=\"alphaLcParenR\" startAt=\"2\"/></a:pPr>",
                    "tiếp",
                ),
                paragraph("<a:pPr><a:buNone/></a:pPr>", "không dấu"),
            ]
            .concat(),
        ),
        shape("title", "<a:p><a:r><a:t>Tựa &amp;</a:t></a:r><a:br/><a:r><a:t>đề</a:t></a:r></a:p>"),
        shape(
            "",
            "<a:p><a:r><a:t>10</a:t></a:r><a:r><a:rPr baseline=\"30000\"/><a:t>6</a:t></a:r><a:br/><a:r><a:t>dòng</a:t></a:r></a:p>",
        ),
        shape("sldNum", "<a:p><a:fld type=\"slidenum\"><a:t>1</a:t></a:fld></a:p>"),
        shape("ftr", &paragraph("", "Công ty")),
    ]);
    let second =
        slide(&[shape("", &paragraph("", "không tựa")), shape("ftr", &paragraph("", "Công ty"))])
            .replacen("<p:sld>", "<p:sld show=\"0\">", 1);
    let notes = slide(&[
        shape("sldImg", ""),
        shape("body", &[paragraph("", "nói thêm"), paragraph("", "nữa")].concat()),
        shape("sldNum", &paragraph("", "1")),
    ]);
    let comments = "<p:cmLst><p:cm><p:text>hỏi lại</p:text></p:cm></p:cmLst>";
    let links = relations(&[("a", "notesSlide", "../notes.xml"), ("b", "comments", "../c.xml")]);
    let (document, omitted) = deck(
        &[first, second],
        &[
            ("ppt/slides/_rels/slide2.xml.rels", &links),
            ("ppt/notes.xml", &notes),
            ("ppt/c.xml", comments),
        ],
    );
    assert!(omitted.is_empty(), "{omitted:?}");
    assert_eq!(
        document.text,
        "Tựa & đề\n\n- ý một\n  - ý con\nb) đánh số\nc) tiếp\n\nkhông dấu\n\n10^6\ndòng\n\n(hỏi lại)\n\n\
         Notes: nói thêm\n\nnữa\n\nkhông tựa\n\nCông ty"
    );
    let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
    assert_eq!(chunks[0].headings, ["Tựa & đề"]);
    assert_eq!(chunks[0].place, Some(Place::Slides(1, 1)));
    let last = chunks.last().unwrap();
    assert_eq!((last.headings.len(), last.place), (0, Some(Place::Slides(2, 2))));
}

#[test]
fn tables_charts_and_diagrams() {
    let cell = |attributes: &str, text: &str| {
        format!("<a:tc {attributes}><a:txBody>{}</a:txBody></a:tc>", paragraph("", text))
    };
    let rows =
        [["rowSpan=\"2\"", "", "gridSpan=\"2\"", "hMerge=\"1\""], ["vMerge=\"1\"", "", "", ""]];
    let texts = [["Bắc", "Hà Nội", "30", ""], ["", "Lào Cai", "9", "8"]];
    let row = |at: usize| {
        let cells: String =
            (0..4).map(|cell_at| cell(rows[at][cell_at], texts[at][cell_at])).collect();
        format!("<a:tr>{cells}</a:tr>")
    };
    let table = format!("<p:graphicFrame><a:tbl>{}{}</a:tbl></p:graphicFrame>", row(0), row(1));
    let point = |at: usize, value: &str| format!("<c:pt idx=\"{at}\"><c:v>{value}</c:v></c:pt>");
    let series = |name: &str, values: &str| {
        format!(
            "<c:ser><c:tx>{}</c:tx><c:cat>{}{}</c:cat><c:val>{values}</c:val></c:ser>",
            point(0, name),
            point(0, "Q1"),
            point(1, "Q2")
        )
    };
    let chart = format!(
        "<c:chart><c:title><a:p><a:r><a:t>Doanh thu</a:t></a:r></a:p></c:title>{}{}</c:chart>",
        series("2023", &[point(0, "5"), point(1, "6")].concat()),
        series("2024", &point(1, "7")),
    );
    let diagram = "<dgm:dataModel><dgm:pt><dgm:t><a:p><a:r><a:t>bước một</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:dataModel>";
    let graphics = "<p:graphicFrame><c:chart r:id=\"c\"/></p:graphicFrame><p:graphicFrame><dgm:relIds r:dm=\"d\"/></p:graphicFrame>";
    let links = relations(&[("c", "chart", "../c.xml"), ("d", "diagramData", "../d.xml")]);
    let (document, _) = deck(
        &[slide(&[table, graphics.to_owned()])],
        &[
            ("ppt/slides/_rels/slide1.xml.rels", &links),
            ("ppt/c.xml", &chart),
            ("ppt/d.xml", diagram),
        ],
    );
    assert_eq!(
        document.text,
        "Bắc | Hà Nội | 30 | 30\nBắc | Lào Cai | 9 | 8\n\nDoanh thu\n\n | 2023 | 2024\nQ1 | 5 | \nQ2 | 6 | 7\n\nbước một"
    );
}

#[test]
fn a_slide_that_cannot_be_read_is_named_and_the_others_are_read() {
    let good = slide(&[shape("", &paragraph("", "còn"))]);
    let (document, omitted) = deck(&["<p:sld><a:p></p:sld>".to_owned(), String::new(), good], &[]);
    assert_eq!(document.text, "còn");
    assert_eq!(omitted.len(), 2, "{omitted:?}");
    assert!(omitted[0].to_string().contains("slide3.xml"), "{}", omitted[0]);
    let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
    assert_eq!(chunks[0].place, Some(Place::Slides(3, 3)));
}

#[test]
fn what_is_no_presentation_is_named() {
    let (_folder, path) = package("a.pptx", &[("x", "y")]);
    let error = read(&path).next().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
}
