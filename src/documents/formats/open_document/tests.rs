use crate::chunks::{ChunkSettings, chunk};
use crate::documents::samples::{documents, package};
use crate::documents::{Document, Place, ReadError, read};

const STYLES: &str = "\
    <style:style style:name=\"H\" style:family=\"paragraph\"/>\
    <style:style style:name=\"Bare\" style:family=\"paragraph\" style:parent-style-name=\"H\" style:list-style-name=\"\"/>\
    <style:style style:name=\"P1\" style:family=\"paragraph\" style:parent-style-name=\"Title\"/>\
    <style:style style:name=\"Title\" style:family=\"paragraph\" style:parent-style-name=\"P1\"/>\
    <text:outline-style><text:outline-level-style text:level=\"1\" style:num-format=\"I\" style:num-prefix=\"Chương \" style:num-suffix=\".\"/>\
    <text:outline-level-style text:level=\"2\" text:display-levels=\"2\" style:num-format=\"1\"/></text:outline-style>\
    <text:list-style style:name=\"L1\">\
    <text:list-level-style-number text:level=\"1\" style:num-format=\"1\" style:num-prefix=\"Điều \" style:num-suffix=\".\" text:start-value=\"3\"/>\
    <text:list-level-style-number text:level=\"2\" style:num-format=\"a\" style:num-suffix=\")\" loext:num-list-format=\"%1%.%2%)\"/>\
    <text:list-level-style-bullet text:level=\"3\" text:bullet-char=\"•\"/></text:list-style>";

/// A flat text with this body.
fn flat(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><office:document office:mimetype=\"application/vnd.oasis.opendocument.text\">\
         <office:meta><dc:title>Bộ &amp; luật</dc:title></office:meta><office:styles>{STYLES}</office:styles>\
         <office:body><office:text>{body}</office:text></office:body></office:document>"
    )
}

fn text_of(body: &str) -> String {
    let (_folder, mut documents) = documents("a.fodt", flat(body));
    assert_eq!(documents.len(), 1);
    documents.remove(0).unwrap().text
}

fn read_one(name: &str, parts: &[(&str, &str)]) -> Result<Document, ReadError> {
    let (_folder, path) = package(name, parts);
    read(&path).next().unwrap()
}

#[test]
fn headings_have_their_numbers_and_title() {
    let body = "<text:p text:style-name=\"P1\">Sổ tay</text:p>\
        <text:h text:outline-level=\"1\" text:style-name=\"H\">Mở đầu</text:h><text:p>một</text:p>\
        <text:h text:outline-level=\"2\" text:style-name=\"H\">Phạm&#32;vi</text:h><text:p>hai</text:p>\
        <text:h text:outline-level=\"2\" text:style-name=\"Bare\">Khác</text:h><text:p>ba</text:p>";
    let (_folder, documents) = documents("a.fodt", flat(body));
    let document = documents[0].as_ref().unwrap();
    assert_eq!(document.title.as_deref(), Some("Bộ & luật"));
    let chunks = chunk(document, &ChunkSettings::default(), &str::len);
    let above = |text: &str| {
        let chunk = chunks.iter().find(|chunk| document.text[chunk.span.clone()].contains(text));
        chunk.unwrap().headings.clone()
    };
    assert_eq!(above("hai"), ["Bộ & luật", "Chương I. Mở đầu", "I.1 Phạm vi"]);
    assert_eq!(above("ba"), ["Bộ & luật", "Chương I. Mở đầu", "Khác"]);
    assert_eq!(chunks[0].place, None);
}

#[test]
fn lists_count_as_their_program_counts() {
    let item = |text: &str| format!("<text:list-item><text:p>{text}</text:p></text:list-item>");
    let body = format!(
        "<text:list text:style-name=\"L1\"><text:list-item><text:p>một</text:p><text:p>tiếp</text:p>\
         <text:list>{}{}</text:list></text:list-item>{}</text:list><text:p>giữa</text:p>\
         <text:list text:style-name=\"L1\" text:continue-numbering=\"true\">{}<text:list-item><text:list>{}</text:list>\
         </text:list-item><text:list-item text:start-value=\"9\"><text:p>chín</text:p></text:list-item></text:list>\
         <text:list text:style-name=\"L1\"><text:list-header><text:p>đầu</text:p></text:list-header>{}</text:list>\
         <text:list><text:list-item><text:p>gạch</text:p></text:list-item></text:list>",
        item("a"),
        item("b"),
        item("hai"),
        item("ba"),
        item("c"),
        item("lại"),
    );
    assert_eq!(
        text_of(&body),
        "Điều 3. một\ntiếp\n  3.a) a\n  3.b) b\nĐiều 4. hai\n\ngiữa\n\nĐiều 5. ba\n  5.a) c\n\
         Điều 9. chín\n\nđầu\n\nĐiều 3. lại\n- gạch"
    );
}

#[test]
fn what_is_anchored_in_a_paragraph_comes_after_it() {
    let body = "<text:h text:outline-level=\"1\" text:style-name=\"Bare\">Chương <draw:frame><draw:text-box>\
        <text:p>hộp <text:note><text:note-citation>2</text:note-citation><text:note-body><text:p>trong hộp</text:p>\
        </text:note-body></text:note></text:p><table:table><table:table-row><table:table-cell><text:p>x</text:p>\
        </table:table-cell><table:table-cell><text:p>y</text:p></table:table-cell></table:table-row></table:table>\
        </draw:text-box></draw:frame>1</text:h>\
        <text:p>Năm 2024<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>chú</text:p>\
        <text:p>thích</text:p></text:note-body></text:note> qua<office:annotation><dc:creator>Lan</dc:creator>\
        <text:p>hỏi lại</text:p></office:annotation>.<text:line-break/>Dòng<text:s text:c=\"3\"/>hai</text:p>";
    assert_eq!(
        text_of(body),
        "Chương 1\n\nhộp (trong hộp)\n\nx | y |\n\nNăm 2024 qua.\nDòng hai\n\n(chú\n\nthích)\n\n(hỏi lại)"
    );
}

#[test]
fn deleted_text_contents_and_forms_are_left_out() {
    let body = "<text:tracked-changes><text:changed-region><text:deletion><text:p>xóa</text:p></text:deletion>\
        </text:changed-region></text:tracked-changes><text:table-of-content><text:index-body><text:p>Mục 1</text:p>\
        </text:index-body></text:table-of-content><text:p>còn</text:p>";
    assert_eq!(text_of(body), "còn");
}

#[test]
fn slides_are_places_and_their_titles_headings() {
    let frame = |class: &str, text: &str| {
        format!(
            "<draw:frame presentation:class=\"{class}\"><draw:text-box>{text}</draw:text-box></draw:frame>"
        )
    };
    let point = |text: &str| {
        format!("<text:list><text:list-item><text:p>{text}</text:p></text:list-item></text:list>")
    };
    let body = [
        "<draw:page>".to_owned(),
        frame("title", "<text:p>Tựa</text:p><text:p>hai dòng</text:p>"),
        frame("outline", &point("ý")),
        frame("page-number", "<text:p>1</text:p>"),
        format!("<presentation:notes><draw:page-thumbnail/>{}</presentation:notes></draw:page>", frame("notes", "<text:p>nói</text:p><text:p>thêm</text:p>")),
        "<draw:page><draw:g><draw:custom-shape><text:p>hình</text:p></draw:custom-shape></draw:g></draw:page>".to_owned(),
    ].concat();
    let content = format!(
        "<office:document-content><office:body><office:presentation>{body}</office:presentation></office:body></office:document-content>"
    );
    let document = read_one("a.odp", &[("content.xml", &content)]).unwrap();
    assert_eq!(document.text, "Tựa hai dòng\n\n- ý\n\nNotes: nói\n\nthêm\n\nhình");
    let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
    assert_eq!(chunks[0].headings, ["Tựa hai dòng"]);
    assert_eq!(chunks[0].place, Some(Place::Slides(1, 1)));
    assert_eq!((&chunks[1].headings, chunks[1].place), (&Vec::new(), Some(Place::Slides(2, 2))));
}

#[test]
fn headers_and_footers_are_read_once() {
    let styles = "<office:document-styles><office:master-styles><style:master-page><style:header><text:p>Số 15/QĐ</text:p>\
        </style:header><style:header-left><text:p>Số 15/QĐ</text:p></style:header-left><style:footer><text:p>trang \
        <text:page-number>3</text:page-number></text:p><text:p><text:page-number>3</text:page-number></text:p></style:footer>\
        </style:master-page></office:master-styles></office:document-styles>";
    let content = "<office:document-content><office:body><office:text><text:p>thân</text:p></office:text></office:body></office:document-content>";
    let parts = [("styles.xml", styles), ("content.xml", content)];
    assert_eq!(read_one("a.odt", &parts).unwrap().text, "Số 15/QĐ\n\nthân\n\ntrang");
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = read_one("a.odt", &[("mimetype", "x")]).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    let manifest = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>";
    let parts = [("META-INF/manifest.xml", manifest), ("content.xml", "\u{fffd}")];
    let error = read_one("a.odt", &parts).unwrap_err();
    assert!(matches!(error, ReadError::Encrypted { .. }), "{error}");
    let error = read_one("a.odt", &[("content.xml", "<office:body><text:p>a</office:body>")]);
    assert!(matches!(error, Err(ReadError::Damaged { .. })));
}

#[test]
fn depth_costs_nothing() {
    for (open, close) in [
        ("<text:list><text:list-item>", "</text:list-item></text:list>"),
        ("<text:span>", "</text:span>"),
        (
            "<table:table><table:table-row><table:table-cell>",
            "</table:table-cell></table:table-row></table:table>",
        ),
        ("<draw:frame><draw:text-box><text:p>", "</text:p></draw:text-box></draw:frame>"),
    ] {
        const DEPTH: usize = 20_000;
        let body = format!(
            "<text:p>{}<text:p>đáy</text:p>{}</text:p>",
            open.repeat(DEPTH),
            close.repeat(DEPTH)
        );
        assert!(text_of(&body).contains("đáy"), "{open}");
    }
}
