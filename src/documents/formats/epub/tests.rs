use std::io::Write as _;

use super::*;
use crate::documents::samples::{Outcome, package};
use crate::documents::{Document, read};

const CONTAINER: &str =
    "<container><rootfiles><rootfile full-path=\"OPS/book.opf\"/></rootfiles></container>";
const CONTENTS: &str = "<package xmlns:dc=\"d\"><metadata><dc:title>Sách &amp; vở</dc:title></metadata><manifest>\
    <item id=\"n\" href=\"nav.xhtml\" media-type=\"application/xhtml+xml\" properties=\"nav\"/>\
    <item id=\"b\" href=\"text/hai%20b.xhtml\" media-type=\"application/xhtml+xml\"/>\
    <item id=\"a\" href=\"text/../một.xhtml\" media-type=\"application/xhtml+xml\"/>\
    <item id=\"c\" href=\"bìa.jpg\" media-type=\"image/jpeg\"/></manifest>\
    <spine><itemref idref=\"n\"/><itemref idref=\"a\"/><itemref idref=\"c\"/><itemref idref=\"b\"/><itemref idref=\"a\"/></spine></package>";

/// A book with these rows of the manifest (id, link, type), all of them in the spine.
fn contents(items: &[(&str, &str, &str)]) -> String {
    let item = |(id, href, kind): &(&str, &str, &str)| {
        format!("<item id=\"{id}\" href=\"{href}\" media-type=\"{kind}\"/>")
    };
    let reference = |(id, ..): &(&str, &str, &str)| format!("<itemref idref=\"{id}\"/>");
    let manifest: String = items.iter().map(item).collect();
    let spine: String = items.iter().map(reference).collect();
    format!("<package><manifest>{manifest}</manifest><spine>{spine}</spine></package>")
}

fn page(text: &str) -> String {
    format!("<html><body><p>{text}</p></body></html>")
}

fn outcome(parts: &[(&str, &str)]) -> Outcome {
    let (_folder, path) = package("a.epub", parts);
    read(&path).collect()
}

/// The book's text, if nothing of it is left out.
fn whole(parts: &[(&str, &str)]) -> String {
    let mut outcome = outcome(parts);
    assert_eq!(outcome.len(), 1, "{outcome:?}");
    outcome.remove(0).unwrap().text
}

/// A book, and what is said about it.
fn with_messages(outcome: Outcome) -> (Document, Vec<String>) {
    let mut outcome = outcome.into_iter();
    let book = outcome.next().unwrap().unwrap();
    (book, outcome.map(|message| message.unwrap_err().to_string()).collect())
}

const XHTML: &str = "application/xhtml+xml";

#[test]
fn chapters_in_reading_order() {
    let one = "<?xml version=\"1.0\"?><html><head><title/><script src=\"x.js\"/></head><body><h1>Một<a id=\"x\"/></h1><p>Tie&#x302;&#x301;ng</p></body></html>";
    let two = "<html><head><title>Hai</title></head><body><p>ba<br/>bốn</p><div/><p>năm</p></body></html>";
    let outcome = outcome(&[
        ("META-INF/container.xml", CONTAINER),
        ("OPS/book.opf", CONTENTS),
        ("OPS/nav.xhtml", "<h1>Mục lục</h1><nav><p>Một</p></nav>"),
        ("OPS/một.xhtml", one),
        ("OPS/text/hai b.xhtml", two),
    ]);
    let [Ok(document)] = &outcome[..] else { panic!("{outcome:?}") };
    assert_eq!(document.title.as_deref(), Some("Sách & vở"));
    assert_eq!(document.text, "Một\n\nTiếng\n\nba\nbốn\n\nnăm");
    let found: Vec<_> = document
        .structure
        .sections
        .iter()
        .flatten()
        .map(|section| {
            (section.headings.join(" > "), &document.text[section.blocks[0].span.clone()])
        })
        .collect();
    assert_eq!(found, [("Một".to_owned(), "Tiếng"), ("Hai".to_owned(), "ba\nbốn")]);
    assert_eq!(document.structure.places, Places::Nowhere);
}

#[test]
fn a_file_that_is_not_a_book_is_damaged() {
    for parts in [
        &[("mimetype", "application/epub+zip")][..],
        &[("META-INF/container.xml", CONTAINER)],
        &[("META-INF/container.xml", "<a><b>")],
    ] {
        let error = outcome(parts).remove(0).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    }
}

#[test]
fn chapters_are_found_as_reading_systems_find_them() {
    for (href, name) in [
        ("Text/Ch%C6%B0%C6%A1ng%201.xhtml", "OPS/text/CHƯƠNG 1.xhtml"),
        ("Text/Ch%C6%B0%C6%A1ng%201.xhtml", "OPS/Text/Chu\u{31b}o\u{31b}ng 1.xhtml"),
        ("Text/1.xhtml", "OPS\\Text\\1.xhtml"),
        ("Text\\1.xhtml", "OPS/Text/1.xhtml"),
        ("./Text//../1.xhtml?x=1#top", "OPS/1.xhtml"),
        ("/OPS/1.xhtml", "OPS/1.xhtml"),
        ("1.xhtml", "1.xhtml"),
        ("100%25.xhtml", "OPS/100%.xhtml"),
        ("a%20b.xhtml", "OPS/a%20b.xhtml"),
        ("what?.xhtml", "OPS/what?.xhtml"),
    ] {
        let text = whole(&[
            ("META-INF/container.xml", CONTAINER),
            ("OPS/book.opf", &contents(&[("a", href, XHTML)])),
            (name, &page("7321")),
        ]);
        assert_eq!(text, "7321", "{href} is {name}");
    }
}

#[test]
fn pages_are_told_from_other_parts() {
    for (href, kind) in [
        ("1.html", "text/x-oeb1-document"),
        ("1.htm", "application/x-dtbncx+xml"),
        ("1.html", "text/html"),
        ("1.XHTML", ""),
        ("1", ""),
        ("1.xml", XHTML),
    ] {
        let text = whole(&[
            ("META-INF/container.xml", CONTAINER),
            ("OPS/book.opf", &contents(&[("a", href, kind), ("b", "b.png", "image/png")])),
            (&format!("OPS/{href}"), &page("7330")),
        ]);
        assert_eq!(text, "7330", "{href} of type {kind}");
    }
}

#[test]
fn pages_outside_of_the_reading_order_come_last_and_substitutes_stand_in() {
    let contents = "<package><manifest><item id=\"notes\" href=\"notes.xhtml\"/>\
        <item id=\"a\" href=\"a.pdf\" media-type=\"application/pdf\" fallback=\"b\"/>\
        <item id=\"b\" href=\"b.xhtml\" fallback=\"b\"/><item id=\"c\" href=\"c.xhtml\"/></manifest>\
        <spine><itemref idref=\"a\"/><itemref idref=\"c\" linear=\"no\"/></spine></package>";
    let text = whole(&[
        ("META-INF/container.xml", CONTAINER),
        ("OPS/book.opf", contents),
        ("OPS/notes.xhtml", &page("chú thích")),
        ("OPS/b.xhtml", &page("thay")),
        ("OPS/c.xhtml", &page("phụ")),
    ]);
    assert_eq!(text, "thay\n\nphụ\n\nchú thích");
}

#[test]
fn a_book_without_container_or_list_is_read_all_the_same() {
    let opf = contents(&[("a", "a.xhtml", XHTML)]);
    assert_eq!(whole(&[("OPS/book.opf", &opf), ("OPS/a.xhtml", &page("một"))]), "một");
    let container = "<container><rootfile full-path=\"a.pdf\" media-type=\"application/pdf\"/>\
        <rootfile full-path=\"gone.opf\"/><rootfile full-path=\"/OPS/book.opf\" \
        media-type=\"application/oebps-package+xml\"/></container>";
    let parts = [
        ("META-INF/container.xml", container),
        ("OPS/book.opf", "<package/>"),
        ("OPS/b 2%.xhtml", &page("hai")),
        ("OPS/a.xhtml", &page("một")),
    ];
    assert_eq!(whole(&parts), "một\n\nhai");
}

#[test]
fn a_table_of_contents_with_text_beside_it_is_a_chapter() {
    let contents = CONTENTS.replace("một.xhtml", "nav.xhtml");
    let page = "<html><body><nav><ol><li>Lời tựa</li></ol></nav><h1>Lời tựa</h1><p>Chào.</p></body></html>";
    let outcome = outcome(&[
        ("META-INF/container.xml", CONTAINER),
        ("OPS/book.opf", &contents),
        ("OPS/nav.xhtml", page),
        ("OPS/text/hai b.xhtml", "<p>hai</p>"),
    ]);
    let [Ok(document)] = &outcome[..] else { panic!("{outcome:?}") };
    assert_eq!(document.text, "Lời tựa\n\nChào.\n\nhai");
}

#[test]
fn chapters_that_cannot_be_read_are_named_and_the_others_taken() {
    let contents =
        contents(&[("a", "a.xhtml", XHTML), ("b", "b.xhtml", XHTML), ("c", "c.xhtml", XHTML)])
            .replace("</spine>", "<itemref idref=\"lost\"/></spine>");
    let (document, messages) = with_messages(outcome(&[
        ("META-INF/container.xml", CONTAINER),
        ("OPS/book.opf", &contents),
        ("OPS/a.xhtml", &page("một")),
        ("OPS/b.xhtml", "\0\0"),
    ]));
    assert_eq!(document.text, "một");
    let [bad, missing, lost] = &messages[..] else { panic!("{messages:?}") };
    assert!(bad.contains("a.epub` was read without chapter 2 of 4, `b.xhtml`"), "{bad}");
    assert!(missing.contains("chapter 3 of 4, `c.xhtml` (it is missing)"), "{missing}");
    assert!(lost.contains("chapter 4 of 4, `lost`"), "{lost}");
}

#[test]
fn a_wrong_checksum_costs_one_chapter() {
    let contents = contents(&[("a", "a.xhtml", XHTML), ("b", "b.xhtml", XHTML)]);
    let (_folder, path) =
        package("a.epub", &[("META-INF/container.xml", CONTAINER), ("OPS/book.opf", &contents)]);
    // The chapters are stored as they are, so that a byte of one can be changed.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut zip = zip::ZipWriter::new_append(file).unwrap();
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, text) in [("OPS/a.xhtml", page("7304")), ("OPS/b.xhtml", page("7306"))] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|part| part == b"7304").unwrap();
    bytes[at] = b'8';
    std::fs::write(&path, bytes).unwrap();
    let (document, messages) = with_messages(read(&path).collect());
    assert_eq!(document.text, "7306");
    assert!(messages[0].contains("chapter 1 of 2"), "{messages:?}");
}

#[test]
fn of_many_missing_chapters_the_first_are_named() {
    let items: Vec<String> = (0..100).map(|n| format!("{n}.xhtml")).collect();
    let items: Vec<_> = items.iter().map(|name| (name.as_str(), name.as_str(), XHTML)).collect();
    let (document, messages) = with_messages(outcome(&[
        ("META-INF/container.xml", CONTAINER),
        ("OPS/book.opf", &contents(&items)),
        ("OPS/50.xhtml", &page("năm mươi")),
    ]));
    assert_eq!(document.text, "năm mươi");
    assert_eq!(messages.len(), MAX_NAMED + 1);
    assert!(messages[MAX_NAMED].contains("91 more"), "{messages:?}");
}

#[test]
fn a_chapter_is_decoded_as_it_declares() {
    let contents = contents(&[("a", "a.xhtml", XHTML), ("b", "b.xhtml", XHTML)]);
    let (_folder, path) =
        package("a.epub", &[("META-INF/container.xml", CONTAINER), ("OPS/book.opf", &contents)]);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut zip = zip::ZipWriter::new_append(file).unwrap();
    let latin =
        b"<?xml version=\"1.0\" encoding=\"windows-1252\"?><html><p>caf\xe9 7301</p></html>";
    let wide = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-16\"?><html><p>đầu 7302</p></html>";
    let wide: Vec<u8> = wide.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (name, bytes) in [("OPS/a.xhtml", &latin[..]), ("OPS/b.xhtml", &wide)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    let (document, messages) = with_messages(read(&path).collect());
    assert_eq!(document.text, "café 7301\n\nđầu 7302");
    assert!(messages.is_empty(), "{messages:?}");
}

#[test]
fn protected_books_are_named_and_hidden_fonts_do_not_matter() {
    let encryption = |method: &str| {
        format!(
            "<encryption><EncryptedData><EncryptionMethod Algorithm=\"{method}\"/>\
             <CipherData><CipherReference URI=\"OPS/a.xhtml\"/></CipherData></EncryptedData></encryption>"
        )
    };
    let aes = encryption("http://www.w3.org/2001/04/xmlenc#aes256-cbc");
    let font = encryption(FONT_METHODS[0]);
    let contents = contents(&[("a", "a.xhtml", XHTML), ("b", "b.xhtml", XHTML)]);
    let parts = |encryption, a, b| {
        outcome(&[
            ("META-INF/container.xml", CONTAINER),
            ("META-INF/encryption.xml", encryption),
            ("OPS/book.opf", &contents),
            ("OPS/a.xhtml", a),
            ("OPS/b.xhtml", b),
        ])
    };
    let (một, hai) = (page("một"), page("hai"));
    let (document, messages) = with_messages(parts(&font, &một, &hai));
    assert_eq!((document.text.as_str(), messages.len()), ("một\n\nhai", 0));
    let (document, messages) = with_messages(parts(&aes, "\0\u{1}", &hai));
    assert_eq!(document.text, "hai");
    assert!(messages[0].contains("it is encrypted"), "{messages:?}");
    let error = parts(&aes, "\0\u{1}", "").remove(0).unwrap_err();
    assert!(matches!(error, ReadError::Protected { .. }), "{error}");
}

#[test]
fn damage_in_the_list_of_chapters_is_named() {
    let contents = contents(&[("a", "a.xhtml", XHTML)]).replace("</package>", "<itemref idref=\"b");
    let (document, messages) = with_messages(outcome(&[
        ("META-INF/container.xml", CONTAINER),
        ("OPS/book.opf", &contents),
        ("OPS/a.xhtml", &page("một")),
    ]));
    assert_eq!(document.text, "một");
    assert!(messages[0].contains("list of chapters"), "{messages:?}");
}
