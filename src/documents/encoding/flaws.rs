//! The few bytes of a text that are no text, and whether they are few enough to read the rest.

use std::borrow::Cow;

use super::{Decoded, NotText, UTF8_MARK};
use crate::documents::structure::newlines;

/// At most one in so many bytes of a text is a control character.
const PRINTABLE: usize = 32;
/// Bytes of text for each run of zero bytes. A crash leaves one in the middle of a log; a binary
/// file has many.
const BYTES_PER_ZEROS: usize = 16;
/// Bytes of text for each wrong byte, where nothing else says that it is UTF-8. Text in another
/// encoding has one in every few words.
const ASCII_PER_WRONG: usize = 512;
/// Characters of UTF-16 for each that is wrong.
const UTF16_PER_WRONG: usize = 64;

/// What is wrong with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlawKind {
    /// They are no UTF-8, or half a character of UTF-16. U+FFFD stands in their place.
    Wrong,
    /// Zeros, which are dropped.
    Zero,
}

/// Bytes of one kind that are not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub kind: FlawKind,
    /// In how many places they are.
    pub places: usize,
    /// The first of them, in bytes from the start of the file, and its line, from 1.
    pub offset: usize,
    pub line: u32,
}

impl Flaw {
    /// For those who take only text without flaws.
    pub fn as_error(self) -> NotText {
        match self.kind {
            FlawKind::Wrong => NotText::Unknown(self.offset),
            FlawKind::Zero => NotText::Binary(self.offset),
        }
    }

    /// Whether a text of UTF-16, of so many bytes in UTF-8, is text but for this.
    pub fn is_rare_in(self, bytes: usize) -> bool {
        self.places.saturating_mul(UTF16_PER_WRONG) <= bytes
    }
}

/// What is wrong in a text that was decoded from UTF-16.
pub(super) fn of_utf16(text: &str) -> Option<Flaw> {
    let is_wrong = ['\u{fffd}', '\0'];
    let before = &text[..text.find(is_wrong)?];
    Some(Flaw {
        kind: FlawKind::Wrong,
        places: text.matches(is_wrong).count(),
        offset: before.encode_utf16().count() * 2,
        line: newlines(before.as_bytes()).saturating_add(1),
    })
}

/// What there is in bytes that are not quite UTF-8.
#[derive(Debug, Default)]
pub(super) struct Survey {
    bytes: usize,
    has_mark: bool,
    /// Characters beyond ASCII: chance hardly makes any.
    characters: usize,
    controls: usize,
    /// Sequences that are not UTF-8.
    pub wrong: Option<Flaw>,
    /// Runs of zeros.
    pub zeros: Option<Flaw>,
}

impl Survey {
    pub fn of(bytes: &[u8]) -> Self {
        let mut survey = Self { has_mark: bytes.starts_with(UTF8_MARK), ..Self::default() };
        let (mut offset, mut after_zero) = (0, false);
        for chunk in bytes.utf8_chunks() {
            for (at, c) in chunk.valid().char_indices() {
                let is_zero = c == '\0';
                if is_zero && !after_zero {
                    note(&mut survey.zeros, FlawKind::Zero, offset + at, bytes);
                }
                after_zero = is_zero;
                survey.bytes += usize::from(!is_zero) * c.len_utf8();
                survey.characters += usize::from(!c.is_ascii());
                survey.controls += usize::from(c.is_control() && !c.is_whitespace() && !is_zero);
            }
            offset += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                after_zero = false;
                note(&mut survey.wrong, FlawKind::Wrong, offset, bytes);
            }
            offset += chunk.invalid().len();
        }
        survey
    }

    /// Whether the bytes are surely UTF-8 but for a few.
    pub fn is_utf8(&self) -> bool {
        let wrong = self.wrong.map_or(0, |flaw| flaw.places);
        let is_marked = self.has_mark && wrong.saturating_mul(BYTES_PER_ZEROS) <= self.bytes;
        let has_characters = self.characters >= 2 && self.characters >= wrong.saturating_mul(2);
        self.is_text() && (wrong == 0 || is_marked || has_characters)
    }

    /// Whether the bytes are ASCII, whatever the encoding of a few others.
    pub fn is_ascii_but_for_a_few(&self) -> bool {
        let wrong = self.wrong.map_or(0, |flaw| flaw.places);
        self.is_text() && wrong.saturating_mul(ASCII_PER_WRONG) <= self.bytes
    }

    fn is_text(&self) -> bool {
        let zeros = self.zeros.map_or(0, |flaw| flaw.places);
        self.controls.saturating_mul(PRINTABLE) <= self.bytes
            && zeros.saturating_mul(BYTES_PER_ZEROS) <= self.bytes
    }

    /// The text, with U+FFFD for wrong bytes and without zeros.
    pub fn repaired<'b>(&self, bytes: &[u8]) -> Decoded<'b> {
        let bytes = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
        let mut text = String::from_utf8_lossy(bytes);
        if self.zeros.is_some() {
            text = Cow::Owned(text.replace('\0', ""));
        }
        let flaws = self.wrong.into_iter().chain(self.zeros).collect();
        Decoded { text: Cow::Owned(text.into_owned()), flaws }
    }
}

/// Counts a flaw, and where the first of its kind is.
fn note(flaw: &mut Option<Flaw>, kind: FlawKind, offset: usize, bytes: &[u8]) {
    let first =
        || Flaw { kind, places: 0, offset, line: newlines(&bytes[..offset]).saturating_add(1) };
    flaw.get_or_insert_with(first).places += 1;
}

#[cfg(test)]
mod tests {
    use super::super::decode_with_flaws;
    use super::*;

    fn decoded(bytes: &[u8]) -> (String, Vec<(FlawKind, usize, usize, u32)>) {
        let Decoded { text, flaws } = decode_with_flaws(bytes, None).unwrap();
        let flaws = flaws.into_iter().map(|it| (it.kind, it.places, it.offset, it.line));
        (text.into_owned(), flaws.collect())
    }

    #[test]
    fn a_few_wrong_bytes_are_marked() {
        let cut = "Dòng một hợp lệ.\n".as_bytes();
        let bytes = [cut, b"\xe1\xbb\n", "Dòng ba.".as_bytes()].concat();
        let (text, flaws) = decoded(&bytes);
        assert_eq!(text, "Dòng một hợp lệ.\n\u{fffd}\nDòng ba.");
        assert_eq!(flaws, [(FlawKind::Wrong, 1, cut.len(), 2)]);
        // Quotes of Windows, pasted into UTF-8.
        let (text, flaws) = decoded("đủ dấu \u{1}hi\u{1}".replace('\u{1}', "").as_bytes());
        assert_eq!((text.as_str(), flaws.len()), ("đủ dấu hi", 0));
        let quoted = ["Quy định số 8 đủ dấu ".as_bytes(), b"\x93hi\x94"].concat();
        let (text, flaws) = decoded(&quoted);
        assert_eq!(text, "Quy định số 8 đủ dấu \u{fffd}hi\u{fffd}");
        assert_eq!(flaws[0].1, 2);
        // One in a long log of ASCII.
        let log = ["all is well\n".repeat(100).as_bytes(), b"caf\xe9\n"].concat();
        assert_eq!(decoded(&log).1, [(FlawKind::Wrong, 1, 1203, 101)]);
        // A file that ends inside a character, with a byte order mark.
        let bytes = [UTF8_MARK, b"a text of letters ", b"\xe1\xba"].concat();
        assert_eq!(decoded(&bytes).0, "a text of letters \u{fffd}");
    }

    #[test]
    fn a_few_zeros_are_dropped() {
        let log = "nhật ký ổn định\n".repeat(3);
        let bytes = [log.as_bytes(), &[0; 5000], b"sau\0 hai"].concat();
        let (text, flaws) = decoded(&bytes);
        assert_eq!(text, format!("{log}sau hai"));
        assert_eq!(flaws, [(FlawKind::Zero, 2, log.len(), 4)]);
    }

    #[test]
    fn utf16_may_have_a_flaw_too() {
        let text = "Một văn bản đủ dài.\n".repeat(9);
        let mut units: Vec<u16> = format!("\u{feff}{text}").encode_utf16().collect();
        units.push(0xd800);
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let (found, flaws) = decoded(&bytes);
        assert_eq!(found, format!("{text}\u{fffd}"));
        assert_eq!((flaws[0].1, flaws[0].3), (1, 10));
    }

    #[test]
    fn binary_files_and_other_encodings_are_none() {
        let program: Vec<u8> = (0..4096_u32).map(|n| (n * n % 251) as u8).collect();
        let zeros = [b"SQLite format 3\0".as_slice(), &[0; 4096]].concat();
        let russian = b"\xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0 ".repeat(100);
        let german = "f\u{fc}r \u{dc}bung und Gr\u{f6}\u{df}e ";
        let german: Vec<u8> = german.chars().cycle().take(4000).map(|c| c as u8).collect();
        for bytes in [&program, &zeros, &russian, &german, &b"abc\0d".to_vec(), &vec![0; 99]] {
            assert!(decode_with_flaws(bytes, None).is_err(), "{:?}", &bytes[..5]);
        }
    }
}
