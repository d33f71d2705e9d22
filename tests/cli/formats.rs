//! Books and PDF files. Those that cannot be read are named, with what to do, and the good files beside
//! them are indexed.

use std::io::Write as _;

use crate::harness::{Outcome, Sandbox};
use crate::pdf_file;

const SENTENCE: &str = "The lighthouse keeper counts the ships every evening.";
const CHAPTER: &str = "Người gác đèn biển đếm tàu mỗi buổi chiều.";

/// A PDF of one page with this content, in Helvetica as `/F` and with a picture as `/I`.
fn pdf(content: &str, trailer: &str) -> String {
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Count 1/Kids[3 0 R]>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>/XObject<</I 6 0 R>>>>>>".to_owned(),
        pdf_file::stream(content),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_owned(),
        "<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>stream\nx\nendstream".to_owned(),
    ];
    pdf_file::file(&objects, trailer)
}

/// The content of a page that shows [`SENTENCE`].
fn shown() -> String {
    format!("BT /F 12 Tf 72 700 Td ({SENTENCE}) Tj ET")
}

fn scan() -> String {
    pdf("q 600 0 0 800 0 0 cm /I Do Q", "")
}

fn locked_pdf() -> String {
    let key = "0123456789abcdef".repeat(4);
    let encrypt = format!("<</Filter/Standard/V 1/R 2/P -4/Length 40/O<{key}>/U<{key}>>>");
    pdf(&shown(), &format!("/ID[<00><00>]/Encrypt{encrypt}"))
}

/// A PDF that kills its reader, which follows the arrays until its stack is full.
fn endless_pdf() -> String {
    const DEPTH: usize = 3_000_000;
    pdf(&format!("{}{} TJ {}", "[".repeat(DEPTH), "]".repeat(DEPTH), shown()), "")
}

/// A ZIP file of these parts.
fn packed(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut zip = zip::ZipWriter::new(&mut bytes);
    for (name, content) in parts {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
    bytes.into_inner()
}

/// A book of one chapter, perhaps with a note that some of it is encrypted.
fn book(chapter: &[u8], is_locked: bool) -> Vec<u8> {
    let container =
        "<container><rootfiles><rootfile full-path=\"book.opf\"/></rootfiles></container>";
    let contents = "<package xmlns:dc=\"d\"><metadata><dc:title>Đèn biển</dc:title></metadata>\
        <manifest><item id=\"a\" href=\"a.xhtml\" media-type=\"application/xhtml+xml\"/></manifest>\
        <spine><itemref idref=\"a\"/></spine></package>";
    let mut parts: Vec<(&str, &[u8])> = vec![
        ("META-INF/container.xml", container.as_bytes()),
        ("book.opf", contents.as_bytes()),
        ("a.xhtml", chapter),
    ];
    if is_locked {
        parts.push(("META-INF/encryption.xml", b"<encryption><EncryptedData><CipherData><CipherReference URI=\"a.xhtml\"/></CipherData></EncryptedData></encryption>"));
    }
    packed(&parts)
}

fn open_book() -> Vec<u8> {
    let chapter = format!("<html><body><h1>Chương một</h1><p>{CHAPTER}</p></body></html>");
    book(chapter.as_bytes(), false)
}

/// What a search finds first: document, text, headings and place.
#[track_caller]
fn best(sandbox: &Sandbox, query: &str) -> serde_json::Value {
    let args = ["search", "--json", "--no-rerank", query];
    sandbox.run(&args).exits(0).json_lines().remove(0)
}

#[test]
fn a_file_without_extension_is_what_it_holds() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/README", SENTENCE);
    sandbox.write("notes/book", open_book());
    sandbox.write("notes/program", b"\x7FELF\x02\x01\x01\0\0\0");
    let summary = sandbox.run(&["--json", "index", "--strict", "notes"]).exits(0).json();
    assert_eq!(summary["indexed"], 7, "{summary}");
    assert_eq!(summary["files"]["left_out"][0]["why"], "unknown-type", "{summary}");
    assert_eq!(best(&sandbox, SENTENCE)["document"], "notes/README");
    assert_eq!(best(&sandbox, CHAPTER)["document"], "notes/book");
    sandbox.run(&["index", "notes"]).exits(0).tells(&["7 unchanged", "left out: 1 binary"]);
    sandbox
        .run(&["index", "notes/program"])
        .exits(1)
        .tells(&["notes/program", "no supported format"]);
}

#[test]
fn a_book_and_a_pdf_are_found_by_their_words() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/book.epub", open_book());
    sandbox.write("notes/page.pdf", pdf(&shown(), ""));
    assert_eq!(
        sandbox.run(&["--json", "index", "--strict", "notes"]).exits(0).json()["indexed"],
        7
    );
    let documents = sandbox.run(&["index", "list"]).exits(0).stdout;
    assert!(documents.contains("notes/book.epub") && documents.contains("notes/page.pdf"));
    let chapter = best(&sandbox, CHAPTER);
    assert_eq!(chapter["document"], "notes/book.epub");
    assert_eq!(chapter["text"], CHAPTER);
    assert_eq!(chapter["heading"], "Đèn biển > Chương một");
    let page = best(&sandbox, SENTENCE);
    assert_eq!(page["document"], "notes/page.pdf");
    assert_eq!(page["text"], SENTENCE);
    assert_eq!(page["pages"], serde_json::json!([1, 1]), "{page}");
}

/// Indexes a folder with a file that cannot be read and two good ones. The file is named along with
/// each of `parts`, which include what to do, and the others are indexed all the same.
#[track_caller]
fn is_named(name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("mixed")).unwrap();
    let file = format!("mixed/{name}");
    sandbox.write(&file, content);
    sandbox.write("mixed/book.epub", open_book());
    sandbox.write("mixed/note.txt", format!("{SENTENCE}\n"));
    let parts = [&[file.as_str()], parts].concat();
    let named = |outcome: Outcome| {
        assert_eq!(outcome.stderr.matches(name).count(), 1, "{outcome:#?}");
        outcome.tells(&parts)
    };
    named(sandbox.run(&["index", "mixed"]).exits(0));
    assert_eq!(best(&sandbox, CHAPTER)["document"], "mixed/book.epub");
    assert_eq!(best(&sandbox, SENTENCE)["document"], "mixed/note.txt");
    let listed = sandbox.run(&["index", "list"]).exits(0).stdout;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    // It is reported at each run, and a script that must not miss it asks for `--strict`.
    named(sandbox.run(&["index", "mixed"]).exits(0));
    named(sandbox.run(&["index", "--strict", "mixed"]).exits(1));
    let summary = sandbox.run(&["--json", "index", "--strict", "mixed"]).exits(1).json();
    let problems = summary["problems"].as_array().unwrap();
    assert_eq!((&summary["unchanged"], problems.len()), (&serde_json::json!(2), 1), "{summary}");
    named(sandbox.run(&["index", "--dry-run", "--strict", "mixed"]).exits(1));
    sandbox.run(&["index", "verify"]).exits(0);
}

#[test]
fn an_encrypted_pdf_is_named() {
    is_named("locked.pdf", locked_pdf(), &["encrypted", "save a copy without a password"]);
}

#[test]
fn a_scanned_pdf_is_named() {
    is_named("scan.pdf", scan(), &["a scan?", "recognition is off"]);
}

#[test]
fn an_encrypted_book_is_named() {
    let cipher = [0x17, 0x00, 0xff, 0xfe, 0x81].repeat(40);
    is_named(
        "locked.epub",
        book(&cipher, true),
        &["protected against copying (DRM)", "without protection"],
    );
}

#[test]
fn a_broken_book_is_named() {
    let broken = packed(&[("mimetype", b"application/epub+zip")]);
    is_named("broken.epub", broken, &["cannot be read", "save it again"]);
}

#[test]
fn a_pdf_that_kills_its_reader_is_named() {
    is_named("endless.pdf", endless_pdf(), &["its reader failed at page 1", "save it again"]);
}

/// One process for each PDF tells what it reads, a line of JSON each.
#[test]
fn the_reader_of_pdf_tells_pages_and_how_it_ended() {
    let sandbox = Sandbox::new();
    let read = |file: &str| sandbox.run_with_stdin(&["__worker", "pdf"], file).exits(0).stdout;
    let page = read(&pdf(&shown(), ""));
    let lines: Vec<serde_json::Value> =
        page.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{page}");
    assert_eq!(lines[0], serde_json::json!({ "Title": null }));
    assert_eq!(lines[1]["Page"]["parts"], serde_json::json!([{ "Text": SENTENCE }]));
    assert_eq!(lines[2], "Done");
    assert_eq!(read(&locked_pdf()), "\"Encrypted\"\n");
    let damaged = read("nothing");
    assert!(damaged.starts_with("{\"Damaged\":"), "{damaged}");
    assert_eq!(sandbox.run(&["__worker", "other"]).exits(1).stdout, "");
    // Nobody listens: it ends, and says nothing.
    sandbox.write("page.pdf", pdf(&shown(), ""));
    let mut command = sandbox.command(&["__worker", "pdf"]);
    let (listener, pipe) = std::io::pipe().unwrap();
    drop(listener);
    command.stdin(std::fs::File::open(sandbox.path("page.pdf")).unwrap());
    let outcome = Outcome::of(command.stdout(pipe).output().unwrap());
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
}
