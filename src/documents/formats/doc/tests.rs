use std::path::Path;

use super::file::Part;
use crate::chunks::{ChunkSettings, chunk};
use crate::documents::samples::{compound, documents};
use crate::documents::{Document, ReadError};
use crate::support::random::SplitMix64;

/// Where the text begins in the main stream.
const TEXT: usize = 1024;
const LIST: [u8; 4] = [0x0b, 0x46, 1, 0];
const IN_TABLE: [u8; 3] = [0x16, 0x24, 1];

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn length(text: &str) -> u32 {
    text.encode_utf16().count() as u32
}

fn le(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A Word file under construction.
#[derive(Default)]
struct Builder {
    /// The paragraphs of the main text with their marks, their styles and their properties.
    paragraphs: Vec<(&'static str, u16, Vec<u8>)>,
    /// Notes, headers, nothing, comments, endnotes, boxes.
    stories: [&'static str; 7],
    /// Letters of the main text that have properties.
    letters: Vec<(&'static str, Vec<u8>)>,
    parts: Vec<(Part, Vec<u8>)>,
}

impl Builder {
    fn position(&self, of: &str) -> u32 {
        let text: String = self.paragraphs.iter().map(|(text, ..)| *text).collect();
        length(&text[..text.find(of).unwrap()])
    }

    fn bytes(self) -> Vec<u8> {
        let main: String = self.paragraphs.iter().map(|(text, ..)| *text).collect();
        let text = format!("{main}{}", self.stories.concat());
        let mut document = vec![0; TEXT];
        document[..2].copy_from_slice(&[0xec, 0xa5]);
        document[2] = 0xc1;
        document[32] = 14;
        document[62] = 22;
        document[152] = 93;
        let lengths: Vec<u32> =
            std::iter::once(main.as_str()).chain(self.stories).map(length).collect();
        document[76..76 + 32].copy_from_slice(&le(&lengths));
        document.extend(utf16(&text));
        document.resize(document.len().next_multiple_of(512), 0);

        let mut at = 0;
        let paragraphs = self.paragraphs.iter().map(|(text, style, properties)| {
            at += length(text);
            let mut properties = [&style.to_le_bytes()[..], properties].concat();
            if properties.len() % 2 == 0 {
                properties.push(0);
            }
            let words = properties.len().div_ceil(2) as u8;
            (at, [&[words][..], &properties].concat())
        });
        let paragraphs: Vec<_> = paragraphs.collect();
        let mut parts = self.parts;
        parts.push((Part::ParagraphPages, page(&mut document, &paragraphs, 13)));
        let mut letters = Vec::new();
        for (of, properties) in &self.letters {
            let start = length(&main[..main.find(of).unwrap()]);
            letters.push((start, Vec::new()));
            letters
                .push((start + length(of), [&[properties.len() as u8][..], properties].concat()));
        }
        parts.push((Part::CharacterPages, page(&mut document, &letters, 1)));
        let mut pieces = vec![2];
        pieces.extend(le(&[16, 0, length(&text)]));
        pieces.extend([&[0, 0][..], &le(&[TEXT as u32]), &[0, 0]].concat());
        parts.push((Part::Pieces, pieces));

        let mut table = vec![0; 8];
        for (part, bytes) in parts {
            let at = 154 + 8 * part as usize;
            document[at..at + 8].copy_from_slice(&le(&[table.len() as u32, bytes.len() as u32]));
            table.extend(bytes);
        }
        compound(&[("WordDocument", &document), ("0Table", &table)])
    }

    fn read(self) -> Document {
        let (_folder, mut documents) = documents("a.doc", self.bytes());
        documents.remove(0).unwrap()
    }
}

/// A page of properties, each up to a character; gives the table of the pages.
fn page(document: &mut Vec<u8>, runs: &[(u32, Vec<u8>)], entry: usize) -> Vec<u8> {
    let offset = |character: u32| TEXT as u32 + 2 * character;
    let number = (document.len() / 512) as u32;
    let mut page = vec![0; 512];
    page[511] = runs.len() as u8;
    let (mut end, mut last) = (511, 0);
    for (at, (character, properties)) in runs.iter().enumerate() {
        page[4 * at..4 * at + 4].copy_from_slice(&offset(last).to_le_bytes());
        page[4 * at + 4..4 * at + 8].copy_from_slice(&offset(*character).to_le_bytes());
        last = *character;
        if !properties.is_empty() {
            let start = (end - properties.len()) / 2 * 2;
            page[start..start + properties.len()].copy_from_slice(properties);
            page[4 * (runs.len() + 1) + entry * at] = (start / 2) as u8;
            end = start;
        }
    }
    document.extend(page);
    le(&[offset(0), offset(last), number])
}

/// Two styles: body text in a TCVN3 font, and the outermost heading.
fn styles() -> Vec<u8> {
    let style = |kind: u16, letters: &[u8]| {
        let mut style = [kind, 1 | 0xfff0, 2, 0, 0, 1, u16::from(b'x'), 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>();
        style.extend([2, 0, 0, 0, letters.len() as u8, 0]);
        style.extend(letters);
        [&(style.len() as u16).to_le_bytes()[..], &style].concat()
    };
    let mut sheet = vec![18, 0, 2, 0, 10, 0];
    sheet.resize(20, 0);
    sheet.extend(style(0, &[0x4f, 0x4a, 1, 0]));
    sheet.extend(style(1, &[]));
    sheet
}

fn fonts() -> Vec<u8> {
    let font = |name: &str| {
        let mut font = vec![0; 39];
        font.extend(utf16(name));
        font.extend([0, 0]);
        [&[font.len() as u8][..], &font].concat()
    };
    [&[2, 0, 0, 0][..], &font("Arial"), &font(".VnTime")].concat()
}

/// One list of one level, `Điều %1.`, which begins with 3.
fn list() -> [(Part, Vec<u8>); 2] {
    let mut list = [&[1, 0][..], &le(&[7])].concat();
    list.resize(2 + 26, 0);
    list.extend([1, 0]);
    let mut level = le(&[3]);
    level.resize(28, 0);
    level.extend([7, 0]);
    level.extend(utf16("Điều \0."));
    list.extend(level);
    let mut used = le(&[1, 7]);
    used.resize(4 + 16, 0);
    used.extend(le(&[0xffff_ffff]));
    [(Part::Lists, list), (Part::ListUses, used)]
}

#[test]
fn headings_lists_notes_and_what_is_left_out() {
    let mut builder = Builder {
        paragraphs: vec![
            ("Chương 1\r", 1, vec![]),
            ("Mở\u{2} đầu\u{5} hết\u{8}, xóa 10", 0, vec![0x4f, 0x4a]),
            ("6\u{b}\u{13} HYPERLINK x \u{14}nút\u{15}.\r", 0, vec![]),
            ("Phạm vi\r", 0, LIST.to_vec()),
            ("Đối tượng\r", 0, LIST.to_vec()),
            ("\u{13}TOC \\o\u{14}Mục 1\r\u{15}cuối\r", 0, vec![]),
        ],
        stories: [
            "\u{2}chú\rthích\r",
            "Số 15\rSố 15\r\u{13}PAGE\u{14}7\u{15}\rchân\r",
            "",
            "\u{5}hỏi lại\r",
            "",
            "trong hộp\r",
            "",
        ],
        letters: vec![(" xóa", vec![0x00, 0x08, 1]), ("6", vec![0x48, 0x2a, 1])],
        ..Builder::default()
    };
    let (note, comment, shape) =
        (builder.position("\u{2}"), builder.position("\u{5}"), builder.position("\u{8}"));
    let ends = |marks: &[u32], data: usize| [le(marks), vec![0; data]].concat();
    // Six separators, then even and odd header, even and odd footer.
    let headers = [0, 0, 0, 0, 0, 0, 0, 6, 12, 21, 26, 26, 26];
    builder.parts = vec![
        (Part::Styles, styles()),
        (Part::FootnoteMarks, ends(&[note, 999], 2)),
        (Part::Footnotes, le(&[0, 11, 12])),
        (Part::CommentMarks, ends(&[comment, 999], 30)),
        (Part::Comments, le(&[0, 9])),
        (Part::Shapes, [le(&[shape, 999, 42]), vec![0; 22]].concat()),
        (Part::Boxes, [le(&[0, 10, 11]), vec![0; 14], le(&[42]), vec![0; 26]].concat()),
        (Part::Headers, le(&headers)),
    ];
    builder.parts.extend(list());
    let document = builder.read();
    assert_eq!(
        document.text,
        "Số 15\n\nChương 1\n\nMở đầu hết, 10^6\nnút.\n\n(chú\n\nthích)\n\n(hỏi lại)\n\ntrong hộp\n\n\
         Điều 3. Phạm vi\nĐiều 4. Đối tượng\n\ncuối\n\nchân"
    );
    let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
    assert_eq!(chunks[1].headings, ["Chương 1"]);
    assert_eq!(chunks[1].place, None);
}

#[test]
fn tables_have_rows_and_merged_cells() {
    let row = |flags: [u8; 3]| {
        let mut row = vec![0x16, 0x24, 1, 0x17, 0x24, 1, 0x08, 0xd6, 70, 0, 3];
        row.extend([0; 8]);
        for flags in flags {
            row.push(flags);
            row.extend([0; 19]);
        }
        row
    };
    let cell = |text| (text, 0, IN_TABLE.to_vec());
    let builder = Builder {
        paragraphs: vec![
            ("trước\r", 0, vec![]),
            cell("Bắc\u{7}"),
            cell("Hà\r"),
            cell("Nội\u{7}"),
            cell("30\u{7}"),
            ("\u{7}", 0, row([0x60, 0, 0])),
            cell("\u{7}"),
            cell("Lào Cai\u{7}"),
            cell("\u{7}"),
            ("\u{7}", 0, row([0x20, 0x02, 0x01])),
            ("sau\r", 0, vec![]),
        ],
        ..Builder::default()
    };
    let text = builder.read().text;
    assert_eq!(text, "trước\n\nBắc | Hà Nội | 30\nBắc | Lào Cai | Lào Cai\n\nsau");
}

#[test]
fn fonts_show_other_letters() {
    let builder = Builder {
        paragraphs: vec![
            ("C\u{e9}ng h\u{df}a Vi\u{d6}t Nam \u{f0b7}\r", 0, vec![]),
            ("Café\r", 1, vec![]),
        ],
        letters: vec![("fé", vec![0x4f, 0x4a, 0, 0])],
        parts: vec![(Part::Styles, styles()), (Part::Fonts, fonts())],
        ..Builder::default()
    };
    assert_eq!(builder.read().text, "Cộng hòa Việt Nam •\n\nCafé");
}

#[test]
fn files_of_word_95_are_read_in_their_code_page() {
    let mut document = vec![0; 0x300];
    document[..2].copy_from_slice(&[0xdc, 0xa5]);
    document[6..8].copy_from_slice(&[0x2a, 0x04]);
    document[24..28].copy_from_slice(&le(&[0x300]));
    let text = b"Ti\xea\xecng Vi\xea\xf2t\rhai";
    document[52..56].copy_from_slice(&le(&[text.len() as u32]));
    document.extend(text);
    let (_folder, documents) = documents("a.doc", compound(&[("WordDocument", &document)]));
    assert_eq!(documents[0].as_ref().unwrap().text, "Tiếng Việt\n\nhai");
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = |bytes: Vec<u8>| documents("a.doc", bytes).1.remove(0).unwrap_err();
    let encrypted = error(compound(&[("EncryptedPackage", b"x")]));
    assert!(matches!(encrypted, ReadError::Encrypted { .. }), "{encrypted}");
    let mut document = vec![0xec, 0xa5, 0xc1, 0];
    document.resize(1024, 0);
    document[11] = 1;
    let encrypted = error(compound(&[("WordDocument", &document)]));
    assert!(matches!(encrypted, ReadError::Encrypted { .. }), "{encrypted}");
    let empty = error(compound(&[("WordDocument", b"")]));
    assert!(matches!(empty, ReadError::Damaged { .. }), "{empty}");
}

#[test]
fn damaged_files_end_in_an_error_or_in_text() {
    let mut builder = Builder {
        paragraphs: vec![
            ("một\u{2}\r", 1, vec![]),
            ("hai\r", 0, LIST.to_vec()),
            ("x\u{7}", 0, IN_TABLE.to_vec()),
        ],
        stories: ["chú\r", "đầu\r", "", "", "", "", ""],
        letters: vec![("hai", vec![0x48, 0x2a, 1])],
        ..Builder::default()
    };
    builder.parts = vec![(Part::Styles, styles()), (Part::Fonts, fonts())];
    builder.parts.extend(list());
    let whole = builder.bytes();
    let path = Path::new("a.doc");
    let mut random = SplitMix64::new(7);
    let begin = std::time::Instant::now();
    for round in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = if round % 2 == 0 { 0xff } else { random.below(256) as u8 };
        }
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let _ = super::read(file, path);
    }
    assert!(begin.elapsed().as_secs() < 120, "{:?}", begin.elapsed());
}
