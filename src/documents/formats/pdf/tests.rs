use std::fmt::Write;
use std::time::Instant;

use super::pdf_file::Font;
use super::*;
use crate::chunks::{ChunkSettings, chunk};
use crate::documents::{Document, Place};
use crate::support::random::SplitMix64;

/// What a test page shows.
enum Shows<'t> {
    Lines(&'t [&'t str]),
    /// A picture over the whole page, and a line of text on it.
    Picture(&'t str),
    /// Texts, each in its place and size. Letters are 0.6 of their size wide.
    Texts(&'t [(f32, f32, f32, &'t str)]),
    /// A picture over the whole page, and a line that is not painted, as programs recognize it.
    Recognized(&'t str),
}

/// A PDF file whose font names its letters in a `ToUnicode` map, as most programs write it.
fn pdf(pages: &[Shows], trailer: &str) -> Vec<u8> {
    annotated_pdf(pages, trailer, ["", "", ""])
}

/// Such a file with further entries of the catalogue, annotations on each page, and the content of a
/// form that is object 8.
fn annotated_pdf(
    pages: &[Shows],
    trailer: &str,
    [catalog, annotations, form]: [&str; 3],
) -> Vec<u8> {
    let mut font = Font::default();
    let contents: Vec<String> = pages.iter().map(|page| content(page, &mut font)).collect();
    let kids: Vec<String> = (0..pages.len()).map(|n| format!("{} 0 R", 9 + 2 * n)).collect();
    let form_codes = font.codes(form);
    let mut objects = vec![
        format!("<</Type/Catalog/Pages 2 0 R{catalog}>>"),
        format!("<</Type/Pages/Count {}/Kids[{}]>>", pages.len(), kids.join(" ")),
    ];
    objects.extend(font.objects());
    objects.push("<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>stream\nx\nendstream".to_owned());
    let drawn = format!("BT /F 10 Tf 2 5 Td <{form_codes}> Tj ET");
    objects.push(format!(
        "<</Type/XObject/Subtype/Form/BBox[0 0 200 20]/Resources<</Font<</F 3 0 R>>>>/Length {}>>stream\n{drawn}\nendstream",
        drawn.len()
    ));
    for (n, content) in contents.iter().enumerate() {
        objects.push(format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {} 0 R/Annots[{annotations}]/Resources<</Font<</F 3 0 R>>/XObject<</I 7 0 R>>>>>>",
            10 + 2 * n
        ));
        objects.push(pdf_file::stream(content));
    }
    pdf_file::file(&objects, trailer).into_bytes()
}

fn content(page: &Shows, font: &mut Font) -> String {
    let mut content = String::new();
    let mut draw = |x: f32, y: f32, size: f32, text: &str| {
        if text.is_empty() {
            return;
        }
        let codes = font.codes(text);
        write!(content, "BT /F {size} Tf {x} {y} Td <{codes}> Tj ET ").unwrap();
    };
    match page {
        Shows::Lines(lines) => {
            for (at, line) in lines.iter().enumerate() {
                draw(72.0, 700.0 - 40.0 * at as f32, 12.0, line);
            }
        }
        Shows::Texts(texts) => texts.iter().for_each(|&(x, y, size, text)| draw(x, y, size, text)),
        Shows::Picture(line) | Shows::Recognized(line) => draw(72.0, 700.0, 12.0, line),
    }
    match page {
        Shows::Lines(_) | Shows::Texts(_) => content,
        Shows::Picture(_) => format!("q 600 0 0 800 0 0 cm /I Do Q {content}"),
        Shows::Recognized(_) => format!("q 600 0 0 800 0 0 cm /I Do Q 3 Tr {content}"),
    }
}

fn read_bytes(bytes: Vec<u8>) -> Result<Extract, ReadError> {
    let worker = Worker::start(&JOB, Input::Bytes(bytes)).unwrap();
    let path = Path::new("/a.pdf");
    extract(receive(&worker, path, Duration::MAX)?, Vec::new(), NoOcr::Off, path)
}

fn read_pages(pages: &[Shows]) -> Result<Extract, ReadError> {
    read_bytes(pdf(pages, ""))
}

const STAMP: &str = "Người ký: CỔNG THÔNG TIN ĐIỆN TỬ CHÍNH PHỦ";
const LINE: &str = "Tiếng Việt có sáu thanh điệu, viết bằng dấu trên hay dưới nguyên âm.";

#[test]
fn tone_marks_and_pages() {
    let pages =
        [Shows::Lines(&[LINE]), Shows::Lines(&["Trang thứ hai nói về chữ quốc ngữ và lịch sử."])];
    let read = read_pages(&pages).unwrap();
    assert!(read.omitted.is_empty());
    assert!(read.text.contains(LINE), "{}", read.text);
    let document = Document {
        id: "/a.pdf".into(),
        text: read.text,
        structure: read.structure,
        ..Document::default()
    };
    let settings = ChunkSettings { max_tokens: 12, overlap_tokens: 0, max_heading_tokens: 0 };
    let chunks = chunk(&document, &settings, &|text| text.split_whitespace().count());
    let places: Vec<_> = chunks.iter().map(|chunk| chunk.place).collect();
    assert_eq!(places.first(), Some(&Some(Place::Pages(1, 1))));
    assert_eq!(places.last(), Some(&Some(Place::Pages(2, 2))));
}

#[test]
fn scans_are_named_even_with_a_stamp() {
    let error = read_pages(&[Shows::Picture(""), Shows::Picture("")]).err().unwrap();
    assert!(matches!(error, ReadError::Scanned { without: 2, pages: 2, .. }), "{error}");
    let error = read_pages(&[Shows::Lines(&[])]).err().unwrap();
    assert!(matches!(error, ReadError::Scanned { without: 0, pages: 1, .. }), "{error}");
    let read = read_pages(&[Shows::Picture(""), Shows::Picture(STAMP)]).unwrap();
    assert_eq!(read.text, STAMP);
    assert!(
        matches!(read.omitted[..], [ReadError::Scanned { without: 2, pages: 2, .. }]),
        "{:?}",
        read.omitted
    );
    // A cover does not make a scan; of four pages, three do, and the fourth is read.
    let read = read_pages(&[Shows::Picture(""), Shows::Lines(&[LINE])]).unwrap();
    assert!(read.omitted.is_empty());
    let pages =
        [Shows::Lines(&[LINE]), Shows::Picture(""), Shows::Picture(""), Shows::Picture(STAMP)];
    let read = read_pages(&pages).unwrap();
    assert!(read.text.contains("Tiếng Việt") && read.text.contains(STAMP));
    assert!(
        matches!(read.omitted[..], [ReadError::Scanned { without: 3, pages: 4, first: 2, .. }]),
        "{:?}",
        read.omitted
    );
}

#[test]
fn a_page_of_few_letters_is_no_scan() {
    let read = read_pages(&[Shows::Lines(&["Mã kho: 4711"]), Shows::Lines(&["A"])]).unwrap();
    assert_eq!(read.text, "Mã kho: 4711\n\nA");
    assert!(read.omitted.is_empty());
}

#[test]
fn running_heads_are_left_out() {
    let sheet = |number: usize, heading: bool| {
        let head = Part::Text(format!("{number} Sổ tay chữ viết"));
        let chapter = Part::Text(format!("1.2 Dấu thanh {number}"));
        let mut parts = vec![if number > 4 { chapter } else { head }];
        parts.extend(heading.then(|| Part::Heading(1, "1.2 Dấu thanh".to_owned())));
        parts.extend([Part::Text(LINE.to_owned()), Part::Text(format!("- {number} -"))]);
        Sheet { parts, ..Sheet::default() }
    };
    let pages: Vec<Sheet> = (1..=6).map(|number| sheet(number, number == 3)).collect();
    let Extract { text, structure, .. } = write(&pages);
    let left = text.replace(LINE, "x").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(left, "x x 1.2 Dấu thanh x x x x");
    let Places::Pages(marks) = structure.places else { panic!("a PDF has pages") };
    assert_eq!(marks.iter().map(|mark| mark.1).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_password_is_needed() {
    let key = "0123456789abcdef".repeat(4);
    let trailer = format!(
        "/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/Length 40/O<{key}>/U<{key}>>>"
    );
    let error = read_bytes(pdf(&[Shows::Lines(&[LINE])], &trailer)).err().unwrap();
    assert!(matches!(error, ReadError::Encrypted { .. }), "{error}");
}

#[test]
fn damaged_files_end_in_an_error_or_in_text() {
    let whole = pdf(&[Shows::Lines(&[LINE, LINE]), Shows::Picture(STAMP)], "");
    let mut random = SplitMix64::new(7);
    let begin = Instant::now();
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.truncate(at.max(8)),
                _ => {
                    let part = bytes[at..(at + random.below(64)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        let _ = read_bytes(bytes);
    }
    for bytes in [&b""[..], b"%PDF-1.7", b"%PDF-1.7\n%%EOF", &[0; 4096]] {
        assert!(read_bytes(bytes.to_vec()).is_err());
    }
    assert!(begin.elapsed().as_secs() < 60);
}

#[test]
fn file_names_are_not_titles() {
    assert_eq!(title("Sổ  tay\n"), Some("Sổ tay".to_owned()));
    assert_eq!(title("Microsoft Word - BaoCao"), None);
    assert_eq!(title("luan-van.TEX"), None);
    assert_eq!(title(" "), None);
}

#[test]
fn a_recognized_page_is_text() {
    let read = read_pages(&[Shows::Recognized("Số 188 về việc cấp phép")]).unwrap();
    assert_eq!(read.text, "Số 188 về việc cấp phép");
    assert!(read.omitted.is_empty());
}

#[test]
fn scripts_stay_at_their_words() {
    let size = 11.0;
    let mut x = 72.0;
    let mut texts = Vec::new();
    for (rise, text) in [
        (0.0, "Mật độ 10"),
        (5.3, "6"),
        (0.0, ", H"),
        (-5.3, "2"),
        (0.0, "O, năm 2023"),
        (5.3, "1"),
        (0.0, ", ngày 2"),
        (5.3, "nd"),
        (0.0, "."),
    ] {
        let size = if rise == 0.0 { size } else { 0.97 * size };
        texts.push((x, 680.0 + rise, size, text));
        x += 0.6 * size * text.chars().count() as f32;
    }
    texts.insert(0, (72.0, 692.8, size, "Đoạn văn này có hai dòng và còn dài hơn."));
    texts.extend([(72.0, 653.0, 6.0, "1"), (76.0, 650.0, 10.0, "Ghi chú")]);
    let read = read_pages(&[Shows::Texts(&texts)]).unwrap();
    let text = read.text.replace('\n', " ");
    assert!(text.contains("hơn. Mật độ 10^6, H2O, năm 2023^1, ngày 2nd."), "{text}");
    assert!(text.contains("Ghi chú") && !text.contains("^1Ghi"), "{text}");
}

#[test]
fn small_letters_beside_large_ones_are_no_scripts() {
    let texts = [
        (72.0, 650.0, 36.0, "N"),
        (94.0, 672.0, 12.0, "gày xưa có một"),
        (94.0, 658.0, 12.0, "người rất nghèo"),
    ];
    let read = read_pages(&[Shows::Texts(&texts)]).unwrap();
    assert!(
        read.text.contains("gày xưa có một") && read.text.contains("người rất nghèo"),
        "{}",
        read.text
    );
}

#[test]
fn what_is_drawn_twice_stands_once() {
    let texts = [
        (72.0, 700.0, 12.0, "In đậm 7709"),
        (72.3, 700.0, 12.0, "In đậm 7709"),
        (72.3, 700.3, 12.0, "In đậm 7709"),
        (72.0, 600.0, 12.0, "In đậm 7709"),
        (72.0, 500.0, 12.0, "Số l"),
        (100.8, 500.0, 12.0, "l"),
        (108.0, 500.0, 12.0, "l"),
    ];
    let read = read_pages(&[Shows::Texts(&texts)]).unwrap();
    assert_eq!(read.text.matches("7709").count(), 2, "{}", read.text);
    assert!(read.text.contains("Số lll"), "{}", read.text);
}

fn widget(rect: &str, entries: &str) -> String {
    format!("<</Type/Annot/Subtype/Widget/Rect[{rect}]{entries}>>")
}

#[test]
fn what_is_filled_in_stands_where_its_field_is() {
    let page = Shows::Texts(&[
        (72.0, 700.0, 12.0, "Họ tên:"),
        (72.0, 660.0, 12.0, "Đồng ý:"),
        (72.0, 620.0, 12.0, "Nơi ở:"),
        (72.0, 580.0, 12.0, "Số:"),
        (72.0, 540.0, 12.0, "Ẩn:"),
    ]);
    // "Trần" in UTF-16, the display text of an option, a value in the appearance only.
    let fields = [
        widget("140 694 340 714", "/FT/Tx/V<FEFF005400721EA7006E>"),
        widget("140 654 160 674", "/FT/Btn/AS/Yes/V/Yes"),
        widget("200 654 220 674", "/FT/Btn/AS/Off"),
        widget("140 614 340 634", "/FT/Ch/V(hn)/Opt[[(sg)(Saigon)][(hn)(Hanoi)]]"),
        widget("140 574 340 594", "/FT/Tx/AP<</N 8 0 R>>"),
        widget("140 534 340 554", "/F 2/FT/Tx/V(secret)"),
        "<</Subtype/FreeText/Rect[140 400 300 420]/Contents(Typed)>>".to_owned(),
        "<</Subtype/Text/Rect[10 400 20 420]/Contents(A note)>>".to_owned(),
        "<</Subtype/Popup/Rect[10 400 20 420]/Contents(A note)>>".to_owned(),
    ]
    .concat();
    let file = annotated_pdf(&[page], "", ["/AcroForm<</XFA(x)>>", &fields, "4711 trong khung"]);
    let read = read_bytes(file).unwrap();
    let words = read.text.split_whitespace().collect::<Vec<_>>().join(" ");
    for found in [
        "Họ tên: Trần",
        "Đồng ý: [x] [ ]",
        "Nơi ở: Hanoi",
        "Số: 4711 trong khung",
        "Typed",
        "A note",
    ] {
        assert!(words.replace(" | ", " ").contains(found), "{found} in {words}");
    }
    assert_eq!(words.matches("A note").count(), 1);
    assert!(!words.contains("secret"));
    assert!(matches!(&read.omitted[..], [ReadError::Part { part, .. }] if part.contains("XFA")));
}

#[test]
fn time_grows_with_pages_and_no_faster() {
    let time = |pages: usize| {
        let lines: Vec<Shows> = (0..pages).map(|_| Shows::Lines(&[LINE])).collect();
        let file = pdf(&lines, "");
        let begin = Instant::now();
        read_bytes(file).unwrap();
        begin.elapsed()
    };
    time(10);
    let (few, many) = (time(200), time(800));
    assert!(many < 8 * few, "{few:?} for 200 pages, {many:?} for 800");
}
