use crate::documents::error::ReadError;
use crate::documents::samples::{Outcome, documents};
use std::fmt::Write as _;

fn outcome(name: &str, bytes: impl AsRef<[u8]>) -> Outcome {
    documents(name, bytes).1
}

const HEAD: &str = "From: =?UTF-8?B?Tmd1eeG7hW4gQW4=?= <an@example.com>\r\nTo: Binh <binh@example.com>, c@example.com\r\n\
    Date: Thu, 5 Mar 2026 14:07:09 +0700\r\nSubject: =?utf-8?Q?H=E1=BB=8Dp_tu=E1=BA=A7n?=\r\nMIME-Version: 1.0\r\n";

#[test]
fn a_message_has_its_fields_and_text() {
    let eml = format!(
        "{HEAD}Content-Type: text/plain; charset=utf-8\r\n\r\nChào Bình,\r\n\r\nMai họp lúc 9 giờ.\r\n"
    );
    let outcome = outcome("a.eml", eml);
    let document = outcome[0].as_ref().unwrap();
    assert_eq!(outcome.len(), 1);
    assert_eq!(document.title.as_deref(), Some("Họp tuần"));
    assert_eq!(
        document.text.trim_end(),
        "From: Nguyễn An <an@example.com>\nTo: Binh <binh@example.com>, c@example.com\nDate: 2026-03-05 14:07\n\
         Subject: Họp tuần\n\nChào Bình,\n\nMai họp lúc 9 giờ."
    );
    let blocks = document.sections().flat_map(|section| section.into_owned().blocks);
    let covered: String = blocks.map(|block| &document.text[block.span]).collect();
    assert!(covered.contains("Mai họp lúc 9 giờ.") && covered.contains("binh@example.com"));
}

#[test]
fn the_page_is_read_where_the_text_only_says_that_there_is_one() {
    let eml = format!(
        "{HEAD}Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nXem HTML\r\n\
         --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<h1>Tin</h1><p>Giá xăng tăng từ ngày mai, theo bộ.</p>\r\n--b--\r\n"
    );
    let text = &outcome("a.eml", eml)[0].as_ref().unwrap().text.clone();
    assert!(text.contains("Giá xăng tăng") && !text.contains("Xem HTML"), "{text}");
}

#[test]
fn attachments_are_read_by_the_readers_of_their_formats() {
    let eml = format!(
        "{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nĐính kèm.\r\n\
         --b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"ghi.md\"\r\nContent-Transfer-Encoding: base64\r\n\r\nIyBU4buxYQoKTuG7mWkgZHVuZw==\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nFrom: x@example.com\r\nSubject: Cũ\r\n\r\nThư cũ.\r\n\
         --b\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n\
         --b\r\nContent-Type: application/zip; name=b.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n--b--\r\n"
    );
    let outcome = outcome("a.eml", eml);
    let document = outcome[0].as_ref().unwrap();
    let headings = |text: &str| {
        let mut sections = document.sections().filter(|section| {
            section.blocks.iter().any(|block| document.text[block.span.clone()].contains(text))
        });
        sections.next().map(|section| section.headings.join(" > "))
    };
    assert_eq!(headings("Nội dung").as_deref(), Some("ghi.md > Tựa"));
    assert_eq!(headings("Thư cũ.").as_deref(), Some("Cũ"));
    assert!(document.text.contains("a.png") && document.text.contains("b.zip"));
    assert!(
        matches!(&outcome[1..], [Err(ReadError::Part { part, .. })] if part.contains("b.zip")),
        "{outcome:?}"
    );
}

#[test]
fn old_encodings_are_read() {
    let windows = b"Subject: a\r\nContent-Type: text/plain; charset=windows-1258\r\nContent-Transfer-Encoding: 8bit\r\n\r\nVi\xea\xf2t Nam\r\n";
    assert!(outcome("a.eml", windows)[0].as_ref().unwrap().text.contains("Việt Nam"));
    let viscii = b"Subject: a\r\nContent-Type: text/plain; charset=viscii\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nVi=AEt Nam, ti=AAng\r\n";
    assert!(outcome("a.eml", viscii)[0].as_ref().unwrap().text.contains("Việt Nam, tiếng"));
    let unsaid = b"Subject: a\r\n\r\nC\xe9ng h\xdfa x\xb7 h\xe9i ch\xf1 ngh\xdca Vi\xd6t Nam\r\n";
    assert!(outcome("a.eml", unsaid)[0].as_ref().unwrap().text.contains("Cộng hòa xã hội"));
}

#[test]
fn a_mailbox_is_a_document_a_message() {
    let mbox = "From an@example.com Thu Mar  5 14:07:09 2026\nSubject: Một\n\nChữ\nFrom here on, no message begins.\n\n>From quoted\n>>From twice\n\n\
                From b@example.com Fri Mar  6 01:02:03 2026\nSubject: Hai\n\nKhác\n";
    let outcome = outcome("a.mbox", mbox);
    let documents: Vec<_> = outcome.iter().map(|item| item.as_ref().unwrap()).collect();
    assert_eq!(documents.len(), 2);
    assert!(documents[0].id.ends_with("a.mbox#1") && documents[1].id.ends_with("a.mbox#2"));
    assert_eq!(documents[0].title.as_deref(), Some("Một"));
    assert!(
        documents[0]
            .text
            .contains("Chữ\nFrom here on, no message begins.\n\nFrom quoted\n>From twice")
    );
    assert_eq!(documents[1].title.as_deref(), Some("Hai"));
}

#[test]
fn messages_of_apple_mail_have_a_length_and_properties() {
    let message = "Subject: Táo\n\nNội dung\n";
    let emlx = format!("{}\n{message}<?xml version=\"1.0\"?><plist/>\n", message.len());
    let outcome = outcome("1.emlx", emlx);
    let text = &outcome[0].as_ref().unwrap().text;
    assert!(text.contains("Nội dung") && !text.contains("plist"), "{text}");
}

#[test]
fn hostile_messages_end() {
    let begin = std::time::Instant::now();
    let nested = "Content-Type: message/rfc822\n\n".repeat(100_000);
    assert!(matches!(outcome("a.eml", nested)[..], [Err(ReadError::Damaged { .. })]));
    let deep = "Content-Type: message/rfc822\n\n".repeat(400) + "Subject: x\n\ny";
    let _ = outcome("a.eml", deep);
    let mut multiparts = String::new();
    for n in 0..5000 {
        writeln!(multiparts, "Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}").unwrap();
    }
    let _ = outcome("a.eml", multiparts);
    let _ = outcome("a.eml", "--b\n".repeat(100_000));
    let _ = outcome("a.mbox", "From a 1:1\n".repeat(100_000));
    assert!(begin.elapsed() < std::time::Duration::from_mins(2), "{:?}", begin.elapsed());
}
