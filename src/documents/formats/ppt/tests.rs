use crate::chunks::{ChunkSettings, chunk};
use crate::documents::samples::{compound, documents};
use crate::documents::{Document, Place, ReadError};
use crate::support::random::SplitMix64;

fn record(version: u16, instance: u16, kind: u16, content: &[u8]) -> Vec<u8> {
    let mut record = (version | instance << 4).to_le_bytes().to_vec();
    record.extend(kind.to_le_bytes());
    record.extend((content.len() as u32).to_le_bytes());
    record.extend(content);
    record
}

fn container(kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    record(0xf, 0, kind, &records.concat())
}

fn le(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A text of a kind, in 16 bits a letter.
fn text(kind: u32, text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [record(0, 0, super::TEXT_KIND, &le(&[kind])), record(0, 0, super::TEXT, &units)].concat()
}

/// The number of a slide's part, and that of the slide.
fn numbers(part: u32, slide: u32) -> Vec<u8> {
    record(0, 0, super::SLIDE_NUMBERS, &le(&[part, 0, 0, slide, 0]))
}

/// Two slides, of which the second was saved first, and notes to the first.
fn presentation() -> Vec<u8> {
    let shape =
        |text: Vec<u8>| container(0x040c, &[container(0xf004, &[container(0xf00d, &[text])])]);
    let list =
        |instance, content: &[Vec<u8>]| record(0xf, instance, super::SLIDE_LIST, &content.concat());
    let document = container(
        super::DOCUMENT,
        &[
            list(1, &[numbers(9, 9)]),
            list(
                0,
                &[numbers(2, 256), text(0, "Tựa\u{b}đề"), text(1, "ý một\rý hai"), numbers(3, 257)],
            ),
            list(2, &[numbers(4, 0)]),
        ],
    );
    let first = container(super::SLIDE, &[shape(text(1, "ý một\rý hai")), shape(text(4, "hộp"))]);
    let small = record(0, 0, super::SMALL_TEXT, b"caf\xe9");
    let second = container(super::SLIDE, &[shape(small)]);
    let notes = container(
        super::NOTES,
        &[
            record(0, 0, super::NOTES_NUMBERS, &le(&[256, 0])),
            shape(text(2, "nói thêm")),
            shape(text(4, "*")),
        ],
    );
    let (mut stream, mut places) = (Vec::new(), Vec::new());
    // An old version of the first slide comes first.
    let old = container(super::SLIDE, &[shape(text(4, "cũ"))]);
    for part in [old, second, document, first, notes] {
        places.push(stream.len() as u32);
        stream.extend(part);
    }
    let mut edit = |last: u32, runs: &[u32]| {
        let directory = stream.len() as u32;
        stream.extend(record(0, 0, super::PLACES, &le(runs)));
        let place = stream.len() as u32;
        stream.extend(record(0, 0, super::EDIT, &le(&[0, 0, last, directory, 1, 0, 0])));
        place
    };
    let first_edit = edit(u32::MAX, &[2 | 2 << 20, places[0], places[1]]);
    let last_edit = edit(first_edit, &[1 | 2 << 20, places[2], places[3], 4 | 1 << 20, places[4]]);
    let user = record(0, 0, 0x0ff6, &le(&[20, 0xe391_c05f, last_edit]));
    compound(&[("Current User", &user), ("PowerPoint Document", &stream)])
}

fn read(bytes: Vec<u8>) -> Result<Document, ReadError> {
    documents("a.ppt", bytes).1.remove(0)
}

#[test]
fn slides_come_in_order_with_their_notes() {
    let document = read(presentation()).unwrap();
    assert_eq!(document.text, "Tựa đề\n\n- ý một\n- ý hai\n\nhộp\n\nNotes: nói thêm\n\ncafé");
    let chunks = chunk(&document, &ChunkSettings::default(), &str::len);
    assert_eq!(chunks[0].headings, ["Tựa đề"]);
    assert_eq!(chunks[0].place, Some(Place::Slides(1, 1)));
    assert_eq!((chunks[1].headings.len(), chunks[1].place), (0, Some(Place::Slides(2, 2))));
}

#[test]
fn slides_are_found_without_lists() {
    let slide = container(super::SLIDE, &[text(0, "Tựa"), text(4, "hộp")]);
    let document = read(compound(&[("PowerPoint Document", &slide)])).unwrap();
    assert_eq!(document.text, "Tựa\n\nhộp");
}

#[test]
fn what_cannot_be_read_is_named() {
    let user = record(0, 0, 0x0ff6, &le(&[20, super::ENCRYPTED, 0]));
    let encrypted = compound(&[("Current User", &user), ("PowerPoint Document", b"x")]);
    assert!(matches!(read(encrypted), Err(ReadError::Encrypted { .. })));
    assert!(matches!(read(b"\xD0\xCF\x11\xE0".to_vec()), Err(ReadError::Damaged { .. })));
    assert!(matches!(read(compound(&[("PP40", b"x")])), Err(ReadError::Damaged { .. })));
}

#[test]
fn damaged_files_end_in_an_error_or_in_text() {
    let whole = presentation();
    let mut random = SplitMix64::new(7);
    for round in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = if round % 2 == 0 { 0xff } else { random.below(256) as u8 };
        }
        bytes.truncate(random.below(2 * whole.len()).max(512));
        let _ = read(bytes);
    }
    let nested =
        |depth| (0..depth).fold(text(4, "đáy"), |inner, _| record(0xf, 0, super::SLIDE, &inner));
    for (depth, is_read) in [(200, true), (2_000, false)] {
        let document = read(compound(&[("PowerPoint Document", &nested(depth))])).unwrap();
        assert_eq!(document.text.contains("đáy"), is_read, "{depth}");
    }
}
