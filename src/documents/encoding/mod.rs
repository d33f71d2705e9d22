//! From bytes to text: which encoding a file is in.
//!
//! What is valid UTF-8 is UTF-8. Otherwise a byte order mark, the zeros of UTF-16, the declaration
//! of a web page, or the spelling decides: legacy Vietnamese encodings are told apart by decoding the
//! bytes in each and checking in which they spell Vietnamese syllables. If none of that helps it is
//! an error: a search would never find text in wrong letters.
//!
//! A few wrong bytes in a text, as a cut download, a crash or a pasted quote leave them, are flaws:
//! the text is read without them.

mod flaws;

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_16BE, UTF_16LE, WINDOWS_1258};
use unicode_normalization::UnicodeNormalization;

use crate::text::vietnamese::is_syllable;
use flaws::Survey;
pub(crate) use flaws::{Flaw, FlawKind};

pub(crate) const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Bytes that a guess looks at.
const SAMPLE: usize = 1 << 16;
/// A text is Vietnamese if this share of its words with marks are Vietnamese syllables.
const MIN_SHARE: f64 = 0.85;

/// Why bytes are not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotText {
    /// They hold a zero byte, which text never does.
    #[error("binary (a NUL byte at byte {0})")]
    Binary(usize),
    /// They are not UTF-8 (from that byte on), nor anything else that can be recognized.
    #[error("not UTF-8 at byte {0}")]
    Unknown(usize),
}

/// A text, and what in its bytes was none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded<'b> {
    pub text: Cow<'b, str>,
    pub flaws: Vec<Flaw>,
}

impl<'b> Decoded<'b> {
    fn whole(text: impl Into<Cow<'b, str>>) -> Self {
        Self { text: text.into(), flaws: Vec::new() }
    }
}

/// The text of a file without flaws. `declared` is what the file itself says, which is often wrong.
pub(crate) fn decode<'b>(
    bytes: &'b [u8],
    declared: Option<&'static Encoding>,
) -> Result<Cow<'b, str>, NotText> {
    let Decoded { text, flaws } = decode_with_flaws(bytes, declared)?;
    flaws.first().map_or(Ok(text), |flaw| Err(flaw.as_error()))
}

/// The text of a file, which may have a few flaws.
pub(crate) fn decode_with_flaws<'b>(
    bytes: &'b [u8],
    declared: Option<&'static Encoding>,
) -> Result<Decoded<'b>, NotText> {
    if let Some(encoding) = utf16(bytes) {
        let text = encoding.decode_with_bom_removal(bytes).0;
        let flaws = flaws::of_utf16(&text);
        if flaws.is_some_and(|flaw| flaw.is_rare_in(text.len())) {
            let flaws = flaws.into_iter().collect();
            return Ok(Decoded { text: Cow::Owned(text.into_owned()), flaws });
        } else if flaws.is_none() {
            return Ok(Decoded::whole(text.into_owned()));
        }
    }
    let as_declared = |encoding: &'static Encoding| {
        // As browsers do: a byte that means nothing there costs itself.
        Decoded::whole(encoding.decode_without_bom_handling(bytes).0.into_owned())
    };
    let has_zero = bytes.contains(&0);
    if declared == Some(ISO_2022_JP) && !has_zero {
        return Ok(as_declared(ISO_2022_JP));
    }
    let rest = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
    if !has_zero && let Ok(text) = std::str::from_utf8(rest) {
        return Ok(Decoded::whole(text));
    }
    let survey = Survey::of(bytes);
    if survey.is_utf8() {
        return Ok(survey.repaired(bytes));
    }
    if let Some(zeros) = survey.zeros {
        return Err(zeros.as_error());
    }
    if rest.len() == bytes.len()
        && let Some(text) = vietnamese(bytes)
    {
        return Ok(Decoded::whole(text));
    }
    match declared.filter(|encoding| *encoding != encoding_rs::UTF_8) {
        Some(declared) => Ok(as_declared(declared)),
        None if survey.is_ascii_but_for_a_few() => Ok(survey.repaired(bytes)),
        None => Err(survey.wrong.map_or(NotText::Unknown(0), flaws::Flaw::as_error)),
    }
}

/// The text of bytes that are surely UTF-8, but for a few.
pub(crate) fn repair(bytes: &[u8]) -> Option<Decoded<'_>> {
    let survey = Survey::of(bytes);
    survey.is_utf8().then(|| survey.repaired(bytes))
}

/// The name of the encoding in which [`decode_with_flaws`] reads bytes; `None` if they are no text.
pub(crate) fn name(bytes: &[u8], declared: Option<&'static Encoding>) -> Option<&'static str> {
    let Decoded { text, flaws } = decode_with_flaws(bytes, declared).ok()?;
    if text.as_bytes() == bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes) {
        return Some("UTF-8");
    }
    if let Some(encoding) = utf16(bytes) {
        return Some(encoding.name());
    }
    if !flaws.is_empty() {
        return Some("UTF-8");
    }
    let decoders: [(&str, Decoder); 3] =
        [("windows-1258", windows_1258), ("TCVN3", tcvn3), ("VNI", vni)];
    let is_it = |(_, decode): &&(&str, Decoder)| decode(bytes).as_deref() == Some(&*text);
    let legacy = decoders.iter().find(is_it).map(|(name, _)| *name);
    legacy.or(declared.map(Encoding::name)).or(Some("?"))
}

/// UTF-16, told by its mark, or else by the zeros of its Latin letters, spaces and line ends.
fn utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    if bytes.starts_with(b"\xFF\xFE") {
        return Some(UTF_16LE);
    }
    if bytes.starts_with(b"\xFE\xFF") {
        return Some(UTF_16BE);
    }
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let zeros = |odd: usize| sample.iter().skip(odd).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let many = (sample.len() / 8).max(1);
    match bytes.len().is_multiple_of(2) {
        true if odd >= many && even == 0 => Some(UTF_16LE),
        true if even >= many && odd == 0 => Some(UTF_16BE),
        _ => None,
    }
}

/// Decodes bytes in one encoding; `None` if they mean nothing there.
type Decoder = fn(&[u8]) -> Option<String>;

/// The text, if it is Vietnamese in an encoding from before Unicode.
fn vietnamese(bytes: &[u8]) -> Option<String> {
    // All letters are ASCII: the quotes and dashes are the same in all encodings.
    if bytes.iter().all(|&byte| byte < 0x80 || punctuation(byte).is_some()) {
        return windows_1258(bytes);
    }
    let decoders: [Decoder; 3] = [windows_1258, tcvn3, vni];
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let shares = decoders.map(|decode| decode(sample).map_or(0.0, |text| share(&text)));
    let best = (0..decoders.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b]))?;
    // If two readings are equally good, neither can be trusted.
    let clear = shares.iter().enumerate().all(|(i, &other)| i == best || other < shares[best]);
    (shares[best] >= MIN_SHARE && clear).then(|| decoders[best](bytes)).flatten()
}

/// The share of Vietnamese syllables among the words with letters beyond ASCII, 0 to 1.
fn share(text: &str) -> f64 {
    let (mut words, mut syllables) = (0_u32, 0_u32);
    // Other signs count as letters: they are what a wrong decoding makes of letters.
    let between = |c: char| {
        (c.is_ascii() && !c.is_ascii_alphabetic()) || "\u{a0}“”‘’–—…«»•°§©®×·".contains(c)
    };
    for word in text.split(between).filter(|word| !word.is_ascii()) {
        words += 1;
        syllables += u32::from(is_syllable(word));
    }
    f64::from(syllables) / f64::from(words.max(1))
}

/// Windows-1258: Vietnamese letters with combining tones.
fn windows_1258(bytes: &[u8]) -> Option<String> {
    let text = WINDOWS_1258.decode_without_bom_handling_and_without_replacement(bytes)?;
    // Microsoft's Â + ̣  is another order than Unicode's, so composing comes after decomposing.
    Some(text.nfc().collect())
}

/// The letters of TCVN3 (TCVN 5712:1993 VN3, "ABC") from byte 0xA1 on. Capitals with tones are
/// written as small letters, in a font of capitals. 0xB0 to 0xB4, 0xC0 to 0xC5 and others are not
/// letters.
const TCVN3: &str = "\
ĂÂÊÔƠƯĐăâêôơưđ\0\0\0\0\0\0àảãáạ\0ằẳẵắ\0\0\0\0\0\0\0ặầẩẫấậè\0ẻẽéẹềểễếệìỉ\0\0\0ĩíịò\0ỏõóọồổỗốộờởỡớợù\0ủũúụ\
ừửữứựỳỷỹýỵ";

/// See [`TCVN3`]; `None` for bytes that are no letters of it.
pub(crate) fn tcvn3(bytes: &[u8]) -> Option<String> {
    let letters: Vec<char> = TCVN3.chars().collect();
    let letter = |byte: u8| match byte {
        ..0x80 => Some(char::from(byte)),
        // The punctuation that Windows programs put in.
        0x80..=0xa0 => punctuation(byte),
        _ => letters.get(usize::from(byte) - 0xa1).copied().filter(|&letter| letter != '\0'),
    };
    let text: String = bytes.iter().map(|&byte| letter(byte)).collect::<Option<_>>()?;
    Some(capitals(&text))
}

/// Writes the small letters of words in capitals as capitals: `QUèC` is what `QUỐC` was typed as.
fn capitals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_letter = rest.starts_with(char::is_alphabetic);
        let end = rest.find(|c: char| c.is_alphabetic() != is_letter).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_capitals = word.chars().filter(char::is_ascii_uppercase).count() > 1
            && !word.contains(|c: char| c.is_ascii_lowercase());
        if is_capitals {
            out.extend(word.chars().flat_map(char::to_uppercase));
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out
}

/// Quotes and dashes of Windows code pages.
fn punctuation(byte: u8) -> Option<char> {
    match byte {
        0x85 => Some('…'),
        0x91 => Some('‘'),
        0x92 => Some('’'),
        0x93 => Some('“'),
        0x94 => Some('”'),
        0x95 => Some('•'),
        0x96 => Some('–'),
        0x97 => Some('—'),
        0xa0 => Some('\u{a0}'),
        _ => None,
    }
}

/// The letters of VISCII (RFC 1456) from byte 0x80 on.
const VISCII: &str = "\
ẠẮẰẶẤẦẨẬẼẸẾỀỂỄỆỐỒỔỖỘỢỚỜỞỊỎỌỈỦŨỤỲÕắằặấầẩậẽẹếềểễệốồổỗỠƠộờởịỰỨỪỬơớƯÀÁÂÃẢĂẳẵÈÉÊẺÌÍĨỳĐứÒÓÔạỷừửÙÚỹỵÝỡư\
àáâãảăữẫèéêẻìíĩỉđựòóôõỏọụùúũủýợỮ";

/// VISCII, which takes even control characters for rare letters. Only who says that a text is in it can
/// know.
pub(crate) fn viscii(bytes: &[u8]) -> String {
    let letters: Vec<char> = VISCII.chars().collect();
    let letter = |&byte: &u8| match byte {
        0x02 => 'Ẳ',
        0x05 => 'Ẵ',
        0x06 => 'Ẫ',
        0x14 => 'Ỷ',
        0x19 => 'Ỹ',
        0x1e => 'Ỵ',
        ..0x80 => char::from(byte),
        _ => letters[usize::from(byte) - 0x80],
    };
    bytes.iter().map(letter).collect()
}

/// VNI for Windows: a letter, then a byte for its marks. These are the bytes after small letters;
/// after capitals they are 0x20 less.
const VNI_MARKS: [(u8, &str); 15] = [
    (0xf9, "\u{301}"),
    (0xf8, "\u{300}"),
    (0xfb, "\u{309}"),
    (0xf5, "\u{303}"),
    (0xef, "\u{323}"),
    (0xe2, "\u{302}"),
    (0xe1, "\u{302}\u{301}"),
    (0xe0, "\u{302}\u{300}"),
    (0xe5, "\u{302}\u{309}"),
    (0xe3, "\u{302}\u{303}"),
    (0xe4, "\u{302}\u{323}"),
    (0xea, "\u{306}"),
    (0xe9, "\u{306}\u{301}"),
    (0xe8, "\u{306}\u{300}"),
    (0xeb, "\u{306}\u{323}"),
];
const VNI_MORE_MARKS: [(u8, &str); 2] = [(0xfa, "\u{306}\u{309}"), (0xfc, "\u{306}\u{303}")];
/// Letters of one byte.
const VNI_LETTERS: [(u8, char); 9] = [
    (0xf1, 'đ'),
    (0xf4, 'ơ'),
    (0xf6, 'ư'),
    (0xed, 'í'),
    (0xec, 'ì'),
    (0xe6, 'ỉ'),
    (0xf3, 'ĩ'),
    (0xf2, 'ị'),
    (0xee, 'ỵ'),
];

/// See [`VNI_MARKS`]; `None` for bytes that are no letters of it.
pub(crate) fn vni(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        let small = byte | 0x20;
        let mark = VNI_MARKS.iter().chain(&VNI_MORE_MARKS).find(|(mark, _)| *mark == small);
        let letter = VNI_LETTERS.iter().find(|(letter, _)| *letter == small);
        match (byte, mark, letter) {
            (..0x80, ..) => text.push(char::from(byte)),
            (0x80..=0xbf, ..) => text.push(punctuation(byte)?),
            (_, Some((_, marks)), _) => {
                let follows_a_vowel = text.ends_with([
                    'a', 'e', 'o', 'u', 'y', 'ơ', 'ư', 'A', 'E', 'O', 'U', 'Y', 'Ơ', 'Ư',
                ]);
                if !follows_a_vowel {
                    return None;
                }
                text.push_str(marks);
            }
            (_, None, Some((_, letter))) if byte == small => text.push(*letter),
            (_, None, Some((_, letter))) => text.extend(letter.to_uppercase()),
            _ => return None,
        }
    }
    Some(text.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền \
        lợi. “Mọi con người” đều được tạo hoá ban cho lý trí và lương tâm – Ở Đắk Lắk, ưỡn ẹo, kỹ \
        nghệ, ngẫm nghĩ, thẳng thắn, lặng lẽ, bằng chứng, ỷ lại, quỵt, ngoẵng, rõ ràng, ừ, hỗn, ẩm.";

    /// Bytes of TCVN3 and VNI, by the tables that read them; the tables are checked against text
    /// from elsewhere in `a_known_text_in_each_encoding`.
    fn as_tcvn3(text: &str) -> Vec<u8> {
        let letters: Vec<char> = TCVN3.chars().collect();
        let byte = |c: char| match c {
            c if c.is_ascii() => c as u8,
            c => (0x80..=0xa0)
                .find(|&byte| punctuation(byte) == Some(c))
                .or_else(|| {
                    letters.iter().position(|&letter| letter == c).map(|at| at as u8 + 0xa1)
                })
                .unwrap_or_else(|| panic!("{c}")),
        };
        text.chars().map(byte).collect()
    }

    fn as_vni(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for c in text.chars() {
            let small = c.to_lowercase().next().unwrap();
            let capital = u8::from(small != c) * 0x20;
            if c.is_ascii() {
                bytes.push(c as u8);
            } else if let Some(byte) = (0x80..=0xa0).find(|&byte| punctuation(byte) == Some(c)) {
                bytes.push(byte);
            } else if let Some((byte, _)) = VNI_LETTERS.iter().find(|(_, letter)| *letter == small)
            {
                bytes.push(byte - capital);
            } else {
                let (letter, mark) = ["a", "e", "o", "u", "y", "ơ", "ư"]
                    .iter()
                    .flat_map(|letter| {
                        VNI_MARKS.iter().chain(&VNI_MORE_MARKS).map(move |mark| (letter, mark))
                    })
                    .find(|(letter, (_, marks))| {
                        format!("{letter}{marks}").nfc().eq(std::iter::once(small))
                    })
                    .unwrap_or_else(|| panic!("{c}"));
                let letter =
                    if capital > 0 { letter.to_uppercase() } else { (*letter).to_string() };
                bytes.extend(as_vni(&letter));
                bytes.push(mark.0 - capital);
            }
        }
        bytes
    }

    fn as_windows_1258(text: &str) -> Vec<u8> {
        // Its letters are those with quality (â, ơ); tones follow them.
        let mut bytes = Vec::new();
        for c in text.chars() {
            let is_tone = |c: &char| "\u{300}\u{301}\u{303}\u{309}\u{323}".contains(*c);
            let (tones, letters): (Vec<char>, Vec<char>) =
                std::iter::once(c).nfd().partition(is_tone);
            let rest: String = letters.into_iter().nfc().chain(tones).collect();
            let (encoded, _, failed) = WINDOWS_1258.encode(&rest);
            assert!(!failed, "{rest}");
            bytes.extend_from_slice(&encoded);
        }
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<String, NotText> {
        decode(bytes, None).map(Cow::into_owned)
    }

    #[test]
    fn legacy_encodings_are_told_apart() {
        let text: String = TEXT.nfc().collect();
        assert_eq!(decoded(&as_windows_1258(&text)).as_ref(), Ok(&text));
        assert_eq!(decoded(&as_vni(&text)).as_ref(), Ok(&text));
        // Capitals with tones are small letters there.
        let text = text.replace('Ở', "ở");
        assert_eq!(decoded(&as_tcvn3(&text)).as_ref(), Ok(&text));
        assert_eq!(decoded(b"C\xe9NG HO\xb5").as_deref(), Ok("CỘNG HOÀ"));
        for encoder in [as_tcvn3, as_vni, as_windows_1258] {
            assert_eq!(decoded(&encoder("Việt Nam")).as_deref(), Ok("Việt Nam"));
        }
    }

    #[test]
    fn a_known_text_in_each_encoding() {
        // "Cộng hòa xã hội chủ nghĩa Việt Nam", as the fonts' own programs wrote it.
        let tcvn3 = b"C\xe9ng h\xdfa x\xb7 h\xe9i ch\xf1 ngh\xdca Vi\xd6t Nam";
        let vni = b"Co\xe4ng ho\xf8a xa\xf5 ho\xe4i chu\xfb ngh\xf3a Vie\xe4t Nam";
        let windows = b"C\xf4\xf2ng h\xf2a";
        let expected = "Cộng hòa xã hội chủ nghĩa Việt Nam";
        assert_eq!(decoded(tcvn3).as_deref(), Ok(expected));
        assert_eq!(decoded(vni).as_deref(), Ok(expected));
        assert_eq!([tcvn3, &vni[..]].map(|bytes| name(bytes, None)), [Some("TCVN3"), Some("VNI")]);
        assert_eq!(name("Việt".as_bytes(), None), Some("UTF-8"));
        assert_eq!(name(b"\xFF\xFEa\0", None), Some("UTF-16LE"));
        assert_eq!(name(b"\0\x01\x02", None), None);
        assert_ne!(decoded(windows).as_deref(), Ok("CộNG"));
    }

    #[test]
    fn viscii_has_every_letter_once() {
        let all: Vec<u8> = (0x80..=0xff).collect();
        let letters: std::collections::HashSet<char> = viscii(&all).chars().collect();
        assert_eq!(letters.len(), 128);
        assert_eq!(viscii(b"Vi\xaet Nam, ti\xaang \x02"), "Việt Nam, tiếng Ẳ");
    }

    #[test]
    fn utf16_with_and_without_mark() {
        for (mark, text) in [("\u{feff}", TEXT), ("", TEXT), ("", "ab\n")] {
            let units: Vec<u16> = format!("{mark}{text}").encode_utf16().collect();
            let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            assert_eq!(decoded(&little).as_deref(), Ok(text));
            assert_eq!(decoded(&big).as_deref(), Ok(text));
        }
        assert_eq!(decoded(b"\xEF\xBB\xBFab").as_deref(), Ok("ab"));
    }

    #[test]
    fn an_unknown_encoding_is_an_error() {
        for bytes in [
            &b"Caf\xe9 au lait"[..],
            b"f\xfcr \xdcbung und Gr\xf6\xdfe",
            b"\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd",
            b"\xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0",
            b"utf-8 \xc3\xa9 b\xe1 \xff",
        ] {
            assert!(matches!(decoded(bytes), Err(NotText::Unknown(_))), "{:?}", decoded(bytes));
        }
        assert_eq!(decoded(b"abc\0d"), Err(NotText::Binary(3)));
        assert_eq!(decoded(b"\xEF\xBB\xBFab\xFFc"), Err(NotText::Unknown(5)));
        assert_eq!(decoded(b"\x93Hi\x94 \x96 ok").as_deref(), Ok("“Hi” – ok"));
    }

    #[test]
    fn what_a_file_declares_counts_if_nothing_else_says_more() {
        let read = |bytes: &[u8], encoding| decode(bytes, Some(encoding)).unwrap().into_owned();
        assert_eq!(read(b"Caf\xe9 \x81", encoding_rs::WINDOWS_1252), "Café \u{81}");
        assert_eq!(read("Café".as_bytes(), encoding_rs::WINDOWS_1252), "Café");
        assert_eq!(read(b"\x1b$B$3\x1b(B", ISO_2022_JP), "こ");
        assert_eq!(read(b"\x82\xb1\xff", encoding_rs::SHIFT_JIS), "こ\u{fffd}");
        assert!(decode(b"Caf\xe9", Some(encoding_rs::UTF_8)).is_err());
    }
}
