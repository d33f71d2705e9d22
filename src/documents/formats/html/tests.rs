//! What of pages is read, and how.

use std::time::{Duration, Instant};

use super::*;
use crate::documents::Place;
use crate::documents::structure::LineCounter;

fn text(html: &str) -> String {
    extract(html, Syntax::Html).text
}

#[test]
fn what_surrounds_the_text_is_left_out() {
    let html = "<!DOCTYPE html><html><head><title>Bài một | Trang</title>
        <style>p {}</style><script>if (a < b) document.write('<p>x</p>')</script></head><body>
        <header><a href=/>Trang chủ</a></header><nav><ul><li>Mục</ul></nav>
        <div class='wrap SideBar left'>bên</div><form><label>Tìm</label><input name=q>
        <div role=search>tìm</div></form>
        <article><header><h1>Bài một</h1><p>Hà Nội, 1/1</p></header>
        <p>Đoạn&nbsp;<b>đ</b>ầu&hellip; <span hidden>ẩn</span><span style='DISPLAY: none'>ẩn</span><!-- không -->
        hết<br>dòng<p>Đoạn hai<aside>quảng cáo</aside></article><footer>© Trang</footer></body></html>";
    let Extract { title, text, structure, .. } = extract(html, Syntax::Html);
    assert_eq!(title.as_deref(), Some("Bài một"));
    assert_eq!(text, "Tìm\n\nBài một\n\nHà Nội, 1/1\n\nĐoạn đầu… hết\ndòng\n\nĐoạn hai");
    let sections = structure.sections.unwrap();
    assert_eq!(sections.last().unwrap().headings, ["Bài một"]);
}

#[test]
fn main_stands_for_the_page_if_it_has_text() {
    let long = "chữ ".repeat(60);
    let page = |main: &str| format!("<div>ngoài</div><main><p>{main}</main><div>sau</div>");
    assert_eq!(text(&page(&long)), long.trim());
    assert_eq!(text(&page("ngắn")), "ngoài\n\nngắn\n\nsau");
}

#[test]
fn a_page_of_nothing_but_menus_is_read_all_the_same() {
    assert_eq!(text("<nav><p>một</p></nav><script>hai</script>"), "một");
    // The header does not end, so it has the whole page.
    assert_eq!(text("<header><h1>A</h1><p>một"), "A\n\nmột");
}

#[test]
fn structure_and_lines() {
    let html = "<h1>A</h1>\n<ul><li>một\n<li>hai<ol start=3><li>x<li>y</ol></ul>\n\n\
        <pre>a  b\n  c</pre>\n<table><tr><th>tên<th>giá<tr><td>x<td>\n1 &lt; 2</table>\n\
        <h2>B <i>b</i></h2><p>cuối\n<h3></h3>";
    let Extract { text, structure, .. } = extract(html, Syntax::Html);
    assert_eq!(
        text,
        "A\n\n- một\n- hai\n  3. x\n  4. y\n\na  b\n  c\n\ntên | giá\nx | 1 < 2\n\nB b\n\ncuối"
    );
    let place = |word: &str| {
        let at = text.find(word).unwrap();
        structure.places.of(&(at..at + word.len()), &mut LineCounter::new("")).unwrap()
    };
    assert_eq!(place("- một\n- hai"), Place::Lines(2, 3));
    assert_eq!(place("a  b\n  c"), Place::Lines(5, 6));
    assert_eq!(place("x | 1 < 2"), Place::Lines(7, 8));
    assert_eq!(place("cuối"), Place::Lines(9, 9));
}

#[test]
fn wrong_nesting_loses_no_text() {
    assert_eq!(text("<p><b>một<p>hai</b> ba</p></div></i>bốn"), "một\n\nhai ba\n\nbốn");
    assert_eq!(text("<table><td>a</b>b<td>c</table>d</table>e"), "ab | c\n\nde");
    assert_eq!(text("<h1>A<h2>B<p>c"), "A\n\nB\n\nc");
    assert_eq!(text("<ul><li>a</ul><dt>b<dd>c"), "- a\n\nb\n\nc");
    assert_eq!(text("</td></tr></table></pre></h1></li>a<"), "a<");
    assert_eq!(text("a<b"), "a");
    assert_eq!(text(""), "");
}

/// In what surrounds the text and what is hidden, there may be all of it.
#[test]
fn a_page_whose_text_is_in_what_is_left_out_is_read_all_the_same() {
    let long = "Toàn bộ nội dung nằm đây, rất dài và quan trọng.";
    assert_eq!(
        text(&format!("<p>Ngắn.</p><div class='content sidebar'><p>{long}</div>")),
        format!("Ngắn.\n\n{long}")
    );
    let answers =
        "<div class=panel style='display:none'><p>Trả lời: phí là 7 nghìn.</p></div>".repeat(9);
    let faq = text(&format!("<h1>FAQ</h1><button>Phí?</button>{answers}"));
    assert_eq!(faq.matches("phí là 7 nghìn").count(), 9);
    assert!(faq.contains("Phí?"), "{faq}");
    // A menu of links is no text, however long.
    let menu = "<li><a href=x>Một mục rất dài của danh mục</a>".repeat(50);
    assert_eq!(text(&format!("<nav>{menu}</nav><p>{long}")), long);
    // `main` has a little, the page has much.
    let (main, rest) = ("chữ ".repeat(60), "ngoài ".repeat(600));
    assert!(text(&format!("<main>{main}</main><p>{rest}")).contains("ngoài"));
}

#[test]
fn what_is_left_out_of_the_text_and_what_is_not() {
    for (html, expected) in [
        ("<details><summary>Hỏi</summary>Đáp</details>", "Hỏi\n\nĐáp"),
        ("<p>a<p hidden=until-found>b", "a\n\nb"),
        ("<p>trước dài<template>{x}</template><noscript><p>bật</noscript>", "trước dài"),
        ("<template shadowrootmode=open><p>bóng</template>", "bóng"),
        ("<p>nội dung<dialog>đóng</dialog><dialog open>mở</dialog>", "nội dung\n\nmở"),
        ("<p hidden><b>ẩn<p>hiện ra dài hơn", "hiện ra dài hơn"),
        (
            "<header id=title-block-header><h1>Tựa</h1><p>Tác giả</header><p>a",
            "Tựa\n\nTác giả\n\na",
        ),
        (
            "<p>nội dung bài<aside class=note>Lưu ý</aside><aside>bên</aside>",
            "nội dung bài\n\nLưu ý",
        ),
        ("<section><header><h2>B</h2></header>b</section>", "B\n\nb"),
        ("<label>Tên</label> <input value='An'><input type=hidden value=x>", "Tên An"),
        ("<input type=checkbox checked> xong", "[x] xong"),
        ("<textarea>ghi <b>chú</textarea>", "ghi <b>chú"),
        ("Gói <select><option>A<option selected>B</select> nhé", "Gói\nA\n[x] B nhé"),
        ("<h2><button>Câu hỏi</button></h2><p>đáp", "Câu hỏi\n\nđáp"),
        (
            "<figure><img src=a.png alt='Sơ đồ kho'><figcaption>Hình 1</figcaption></figure>",
            "Sơ đồ kho\n\nHình 1",
        ),
        ("a<img alt=''>b<img alt=🙂>", "ab🙂"),
        ("<iframe srcdoc='<p>trong &amp;lt;khung'></iframe>", "trong <khung"),
        ("<table><caption>Bảng 1</caption><tr><td>a<td>b</table>", "Bảng 1\n\na | b"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢(かん)"),
        ("<dl><dt>RAG<dd>truy hồi</dl>", "RAG\n\ntruy hồi"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn text_after_a_drawing_is_text_of_the_page() {
    let paths = |end: &str| {
        format!("<p>trước</p><svg>{}{end}<p>sau</p>", "<path d='M0'/><g id=a>".repeat(600))
    };
    assert_eq!(text(&paths("</svg>")), "trước\n\nsau");
    assert_eq!(text(&paths("")), "trước\n\nsau");
    for (html, expected) in [
        ("<svg width=0 height=0/><p>a", "a"),
        ("<svg><style/><title/><script/></svg>a", "a"),
        ("<title>Tựa</title><svg><title>Kho</title><path/></svg> b", "Kho b"),
        (
            "<svg><text x=1>Cổng <tspan dy=1>1</tspan></text><text>Lối ra</text><defs>x</defs></svg>c",
            "Cổng 1\n\nLối ra\n\nc",
        ),
        ("<svg><foreignObject><div>trong<br>hình</div></foreignObject></svg>d", "trong\nhình\n\nd"),
        ("<svg><g><svg/></g></svg>e<svg></svg>f", "ef"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
    let title = extract("<svg><title>Kho</title></svg><title>Tựa</title>a", Syntax::Html).title;
    assert_eq!(title.as_deref(), Some("Tựa"));
}

#[test]
fn items_have_the_numbers_that_the_page_shows() {
    for (html, expected) in [
        ("<ol><li>Khoản<ol type=a><li>nộp<li>xin</ol></ol>", "1. Khoản\n  a. nộp\n  b. xin"),
        ("<ol><li>một<li value=9>chín<li>mười</ol>", "1. một\n9. chín\n10. mười"),
        ("<ol reversed><li>a<ul><li>x</ul><li>b<li>c</ol>", "3. a\n  - x\n2. b\n1. c"),
        ("<ol reversed start=9><li>a<li>b</ol>", "9. a\n8. b"),
        ("<ol type=I start=4><li>a<li type=1>b</ol>", "IV. a\n5. b"),
        ("<ol style='list-style-type: upper-alpha'><li>a</ol>", "A. a"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn merged_cells_powers_and_formulas() {
    for (html, expected) in [
        (
            "<table><tr><th>Vùng<th colspan=2>Giá<tr><td rowspan=2>Bắc<td>HN<td>12<tr><td>HP<td>9</table>",
            "Vùng | Giá | Giá\nBắc | HN | 12\nBắc | HP | 9",
        ),
        (
            "<table><tbody><tr><td rowspan=0>A<td>1<tr><td>2</tbody><tbody><tr><td>B<td>3</table>",
            "A | 1\nA | 2\nB | 3",
        ),
        ("10<sup>6</sup> người, năm 2024<sup>2</sup>", "10^6 người, năm 2024 (2)"),
        ("10<sup><a href=#n>6</a></sup>, 10<a href=#n><sup>6</sup></a>", "10 (6), 10 (6)"),
        ("45 m<sup>2</sup>, H<sub>2</sub>O, <sup>1</sup>/<sub>2</sub>", "45 m², H2O, 1/2"),
        (
            "10<span style='vertical-align: super'>6</span> <span style='vertical-align:sub'>x</span>",
            "10^6 x",
        ),
        ("8601<a role=doc-noteref href=#f>1</a>", "8601 (1)"),
        (
            "<math><mfrac><mn>1</mn><mn>4</mn></mfrac></math>, <math><msup><mn>10</mn><mn>8</mn></msup></math> m",
            "1/4, 10^8 m",
        ),
        (
            "<math display=block><semantics><mrow><mi>x</mi><mo>=</mo><msqrt><mn>2</mn></msqrt></mrow>\
             <annotation encoding=tex>x=\\sqrt2</annotation></semantics></math>a",
            "x=√2\n\na",
        ),
        (
            "<math><mi/><msup><mi>x</mi><none/></msup><mspace/><mtext>nếu<b>có</b></mtext><p>b",
            "x nếu có\n\nb",
        ),
        ("<math alttext='a+b'></math>", "a+b"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn xhtml_is_read_by_its_own_rules() {
    let xhtml = |text: &str| extract(text, Syntax::Xhtml).text;
    let page = "<?xml version=\"1.0\"?>\n<html><head><title/><script src='a.js'/></head><body>\n<p>Giá</p></body></html>";
    let Extract { text, structure, .. } = extract(page, Syntax::Xhtml);
    assert_eq!(text, "Giá");
    let place = structure.places.of(&(0..text.len()), &mut LineCounter::new(""));
    assert_eq!(place, Some(Place::Lines(3, 3)));
    for (page, expected) in [
        (
            "<!DOCTYPE html [<!ENTITY ten \"RAG\">]><p>a&nbsp;&ten;</p><p><![CDATA[x < 5 && y > 3]]></p>",
            "a RAG\n\nx < 5 && y > 3",
        ),
        ("<h:html><h:p>một</h:p><h:p>hai<h:br/>ba</h:p></h:html>", "một\n\nhai\nba"),
        ("<h:html><h:title>T</h:title><h:script/><h:script>x</h:script><h:p>a</h:p></h:html>", "a"),
        ("<p>a<br></br>b</p>", "a\nb"),
        ("<div/><p/><a id='x'/>chữ", "chữ"),
        ("<p>a <i/>b</p>", "a b"),
    ] {
        assert_eq!(xhtml(page), expected, "{page}");
    }
    assert!(is_xml("<!DOCTYPE html [<!ENTITY a 'b'>]><html>"));
    assert!(is_xml("<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN' 'a.dtd'><html>"));
    assert!(is_xml("<html lang=vi xmlns=\"http://www.w3.org/1999/xhtml\">"));
    assert!(!is_xml("<!DOCTYPE html><p>[a]"));
    // It says nothing of being XML, and would have no text.
    assert_eq!(self::text("<title/><script src=a.js /><p>Giá"), "Giá");
}

#[test]
fn chapters_have_nothing_around_them() {
    let chapter = "<header><h1>Một</h1></header><p>Thân<a epub:type='noteref' href='#f'>1</a></p>\
        <div class='sidebar'>khung</div><nav epub:type='toc'>mục lục</nav>\
        <aside epub:type='footnote' id='f' style='display:none'><p>Chú thích.</p></aside><footer>hết</footer>";
    let Extract { text, structure, .. } = extract(chapter, Syntax::Chapter);
    assert_eq!(text, "Một\n\nThân (1)\n\nkhung\n\nChú thích.\n\nhết");
    assert_eq!(structure.sections.unwrap()[0].headings, ["Một"]);
}

#[test]
fn a_page_is_told_by_how_it_begins() {
    let is = |start: &str| is_page(&TextHead { file_name: "page", start });
    assert!(is("<!doctype html>") && is("<!-- saved --> <html>") && is("<?xml?><!doctype html>"));
    assert!(!is("<?xml?><rss>") && !is("<p>") && !is("<!-- <html> "));
}

#[test]
fn hostile_pages_end_in_linear_time() {
    const SIZE: usize = 1 << 17;
    let fill = |part: &str| part.repeat(SIZE / part.len());
    let half = |a: &str, b: &str| a.repeat(SIZE / 2 / a.len()) + &b.repeat(SIZE / 2 / b.len());
    let numbered = |before: &str, after: &str| {
        let numbers = (0..SIZE / 12).map(|number| number.to_string());
        numbers.flat_map(|number| [before.to_owned(), number, after.to_owned()]).collect()
    };
    for html in [
        fill("<div>"),
        fill("<table><tr><td>"),
        fill("<table><td>x<h1>"),
        fill("<ul><li>x"),
        fill("<b><p>"),
        half("<a>", "</b>"),
        half("<b><td>", "</b>x"),
        half("<i>x", "</i>"),
        format!("<b><td>{}", half("<i>", "</b>")),
        fill("<"),
        fill("&#x41;"),
        fill("&"),
        fill("<!--"),
        fill("<script>"),
        fill("<title>"),
        fill("<pre>x\n"),
        fill("<svg>"),
        fill("<math><msup>"),
        fill("<sup>x"),
        fill("<sup>1</sup>/<sub>2</sub>"),
        fill("<ol reversed><li>"),
        fill("<iframe srcdoc='<p>'>"),
        half("<svg><g>", "</svg>"),
        half("<p><b>", "<p>"),
        format!("<table>{}", half("<td rowspan=9 colspan=60>x", "<tr><td>")),
        format!("<p class=\"{}\">", fill("a ")),
        format!("<p {}>", fill("a=b ")),
        fill("<![CDATA["),
        fill("<!DOCTYPE ["),
        numbered("<x", ">"),
        numbered("<p a", "=1>x"),
    ] {
        let begin = Instant::now();
        extract(&html, Syntax::Html);
        extract(&html, Syntax::Chapter);
        let took = begin.elapsed();
        let sample: String = html.chars().take(24).collect();
        assert!(took < Duration::from_mins(1), "{sample:?}: {took:?}");
    }
}
