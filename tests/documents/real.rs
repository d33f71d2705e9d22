//! Real documents. They lie in `../shared/eval/docs`, so these tests are ignored by default:
//! `cargo test --release --test documents -- --ignored`.

use std::path::{Path, PathBuf};

use rag_query::chunks::{Chunk, ChunkSettings, chunk};
use rag_query::documents::{self as ingest, Document, Filter, Place};

/// About as many tokens as a real tokenizer counts.
fn count(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum()
}

fn documents(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/eval/docs").join(name)
}

fn read(name: &str) -> Document {
    let mut documents = ingest::read(&documents(name));
    documents.next().expect("a file gives something").expect("the file can be read")
}

/// The chunk with a sentence in it, whatever its line breaks.
fn find(document: &Document, sentence: &str) -> Chunk {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = words(sentence);
    chunk(document, &ChunkSettings::default(), &count)
        .into_iter()
        .find(|chunk| words(&document.text[chunk.span.clone()]).contains(&sentence))
        .unwrap_or_else(|| panic!("{sentence:?} is in no chunk of {}", document.id))
}

fn lines(chunk: &Chunk) -> (u32, u32) {
    match chunk.place {
        Some(Place::Lines(first, last)) => (first, last),
        other => panic!("{other:?}"),
    }
}

/// That the chunk's lines of the file have the words.
fn assert_on_its_lines(name: &str, sentence: &str, words: &str) {
    let document = read(name);
    let (first, last) = lines(&find(&document, sentence));
    let source = std::fs::read_to_string(documents(name)).expect("UTF-8");
    let shown = source.lines().skip(first as usize - 1).take((last - first + 1) as usize);
    let shown = shown.collect::<Vec<_>>().join(" ");
    assert!(shown.contains(words), "{name}: lines {first}-{last} are {shown}");
}

#[test]
#[ignore = "reads ../shared/eval"]
fn known_sentences_are_found_where_they_are() {
    assert_on_its_lines(
        "html-debian-installation-guide-vi/ch03s02.html",
        "make sure to back up every file that is now on your system",
        "make sure to back up every file",
    );
    assert_on_its_lines(
        "html-debian-maint-guide-vi/dreq.vi.html",
        "Dòng 9 là tên của gói nhị phân.",
        "là tên của gói nhị phân",
    );
    assert_on_its_lines(
        "md-d2l-vn/chapter_introduction/index_vn.md",
        "Để xây dựng *bộ não* của ứng dụng này",
        "Để xây dựng *bộ não* của ứng dụng này",
    );
    assert_on_its_lines(
        "txt-law/45_2019_QH14.txt",
        "Người sử dụng lao động là doanh nghiệp",
        "Người sử dụng lao động là doanh nghiệp",
    );
    let law = read("docx/bo-luat-lao-dong.docx");
    let chunk = find(&law, "Bộ luật Lao động quy định tiêu chuẩn lao động; quyền, nghĩa vụ");
    assert_eq!(chunk.place, Some(Place::Pages(1, 2)));
}

#[test]
#[ignore = "reads ../shared/eval"]
fn pages_have_no_navigation_and_markdown_no_comments() {
    let page = read("html-debian-installation-guide-vi/ch03s02.html");
    assert_eq!(page.title.as_deref(), Some("3.2. Sao lưu mọi dữ liệu đã có đi !"));
    assert!(!page.text.contains("Trước đó") && !page.text.contains("Kế tiếp"), "{}", page.text);
    let book = read("md-d2l-vn/chapter_introduction/index_vn.md");
    assert!(!book.text.contains("Until recently"));
    assert!(book.text.contains("Cho tới tận gần đây"));
}

#[test]
#[ignore = "reads ../shared/eval"]
fn one_text_in_several_encodings() {
    let title = "Tuyên ngôn toàn thế giới về nhân quyền";
    for name in ["Vietnamese-UTF8.txt", "udhr2-vie-decomposed.txt", "Vietnamese-ALRN-UTF8.txt"] {
        let text = read(&format!("txt-encodings-udhr/{name}")).text;
        assert!(text.contains(title), "{name}: {text}");
    }
    // Some letters of this file were replaced by ASCII before it came here; the others are right.
    let text = read("txt-encodings-udhr/Vietnamese-TCVN.txt").text;
    for word in ["ngôn toàn", "Hợp", "tháng 12 năm 1948", "Việc", "nhân phẩm"] {
        let damaged = word == "nhân phẩm";
        assert_eq!(text.contains(word), !damaged, "{word}");
    }
}

#[test]
#[ignore = "reads ../shared/eval"]
fn every_document_is_read_or_named() {
    let walk = ingest::walk(&[documents("")], &Filter::default()).expect("the folder is there");
    assert!(walk.files.len() > 250, "{}", walk.files.len());
    for file in &walk.files {
        let name = file.to_string_lossy();
        for document in ingest::read(file) {
            match document {
                Ok(document) => {
                    let chunks = chunk(&document, &ChunkSettings::default(), &count);
                    let text = document.text.len();
                    assert!(!chunks.is_empty() || text < 200, "{name}: {text} bytes, no chunk");
                    assert!(!document.text.contains('\u{fffd}'), "{name}");
                }
                Err(error) => {
                    let scan =
                        name.contains("pdf-scanned-gov") && error.to_string().contains("scan");
                    assert!(scan || name.ends_with(".doc"), "{error}");
                }
            }
        }
    }
}

#[test]
#[ignore = "reads ../shared/eval"]
fn a_book_in_pdf_keeps_its_marks_and_pages() {
    let book = read("pdf-text/lshort-vi.pdf");
    let found =
        find(&book, "Các lệnh của LTEX cần phải được nhập vào theo đúng chữ hoa và chữ thường");
    assert_eq!(found.place, Some(Place::Pages(20, 20)));
    assert_eq!(found.headings.last().map(String::as_str), Some("1.3.3 Một số lệnh của LTEX"));
    let guide = read("pdf-text/maint-guide.vi.pdf");
    let found = find(&guide, "Các chương trình sử dụng GNU autoconf tuân theo các quy ước của GNU");
    assert_eq!(found.place, Some(Place::Pages(20, 20)));
}

#[test]
#[ignore = "reads ../shared/eval"]
fn scans_are_named() {
    let walk = ingest::walk(&[documents("pdf-scanned-gov")], &Filter::default())
        .expect("the folder is there");
    assert_eq!(walk.files.len(), 4);
    for file in &walk.files {
        let error = ingest::read(file).next().expect("an item").expect_err("a scan");
        assert!(error.to_string().contains("ocrmypdf"), "{error}");
    }
}
