//! In which encoding the bytes of an RTF file are: that of their font.

use std::borrow::Cow;

use encoding_rs::Encoding;

use crate::documents::encoding::{tcvn3, vni};

/// The encoding of a run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    Encoding(&'static Encoding),
    /// `.VnTime` and its like: fonts that show other letters for the bytes of Windows-1252.
    Tcvn3,
    /// `VNI-Times` and its like.
    Vni,
    /// The Greek letters and the signs of Symbol.
    Symbol,
    /// Signs of which only bullets mean something: Wingdings.
    Signs,
}

impl Letters {
    pub fn of_code_page(page: i32) -> Self {
        let name: &[u8] = match page {
            708 => b"iso-8859-6",
            866 => b"ibm866",
            874 => b"windows-874",
            932 => b"shift_jis",
            936 => b"gbk",
            949 | 1361 => b"euc-kr",
            950 => b"big5",
            1250 => b"windows-1250",
            1251 => b"windows-1251",
            1253 => b"windows-1253",
            1254 => b"windows-1254",
            1255 => b"windows-1255",
            1256 => b"windows-1256",
            1257 => b"windows-1257",
            1258 => b"windows-1258",
            10000 => b"macintosh",
            65001 => b"utf-8",
            _ => b"windows-1252",
        };
        Self::Encoding(Encoding::for_label(name).unwrap_or(encoding_rs::WINDOWS_1252))
    }

    /// `None` if the font leaves it to the document.
    pub fn of_charset(charset: i32) -> Option<Self> {
        let page = match charset {
            0 => 1252,
            2 => return Some(Self::Signs),
            77 => 10000,
            128 => 932,
            129 => 949,
            130 => 1361,
            134 => 936,
            136 => 950,
            161 => 1253,
            162 => 1254,
            163 => 1258,
            177 => 1255,
            178 => 1256,
            186 => 1257,
            204 => 1251,
            222 => 874,
            238 => 1250,
            _ => return None,
        };
        Some(Self::of_code_page(page))
    }

    /// `None` if the font's name says nothing about its letters.
    pub fn of_font(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        if name.starts_with("symbol") {
            Some(Self::Symbol)
        } else if name.starts_with(".vn") {
            Some(Self::Tcvn3)
        } else if name.starts_with("vni") {
            Some(Self::Vni)
        } else {
            None
        }
    }

    /// By the language that a program was in.
    pub fn of_language(language: u16) -> Self {
        let page = match language & 0x03ff {
            0x01 => 1256,
            0x04 if language == 0x0404 => 950,
            0x04 => 936,
            0x05 | 0x0e | 0x15 | 0x1a | 0x1b | 0x24 => 1250,
            0x08 => 1253,
            0x0d => 1255,
            0x11 => 932,
            0x12 => 949,
            0x19 | 0x22 | 0x23 | 0x02 | 0x2f => 1251,
            0x1e => 874,
            0x1f => 1254,
            0x25..=0x27 => 1257,
            0x2a => 1258,
            _ => 1252,
        };
        Self::of_code_page(page)
    }

    /// Whether a font shows Vietnamese letters for others.
    pub fn are_vietnamese(self) -> bool {
        matches!(self, Self::Tcvn3 | Self::Vni)
    }

    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Encoding(encoding) => encoding.decode_without_bom_handling(bytes).0,
            Self::Tcvn3 => tcvn3(bytes).map_or_else(|| latin(bytes), Cow::Owned),
            Self::Vni => vni(bytes).map_or_else(|| latin(bytes), Cow::Owned),
            Self::Symbol => bytes.iter().map(|&byte| symbol(byte)).collect(),
            Self::Signs => bytes.iter().map(|&byte| sign(byte)).collect(),
        }
    }
}

fn latin(bytes: &[u8]) -> Cow<'_, str> {
    encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0
}

/// What Symbol shows for `A` to `Z` and for `a` to `z`.
const CAPITALS: &str = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ";
const SMALL: &str = "αβχδεφγηιϕκλμνοπθρστυϖωξψζ";

pub(super) fn symbol(byte: u8) -> char {
    let letter = |letters: &str, first| letters.chars().nth(usize::from(byte - first));
    match byte {
        b'A'..=b'Z' => letter(CAPITALS, b'A').unwrap_or('•'),
        b'a'..=b'z' => letter(SMALL, b'a').unwrap_or('•'),
        b' '..=b'~' => char::from(byte),
        0xa3 => '≤',
        0xa5 => '∞',
        0xae => '→',
        0xb0 => '°',
        0xb1 => '±',
        0xb3 => '≥',
        0xb4 => '×',
        0xb8 => '÷',
        0xb9 => '≠',
        0xbb => '≈',
        0xde => '⇒',
        _ => '•',
    }
}

/// Check boxes, and what stands before list items.
fn sign(byte: u8) -> char {
    match byte {
        b' ' => ' ',
        0x6f | 0xa8 => '☐',
        0xfb | 0xfd => '☒',
        0xfc | 0xfe => '☑',
        _ => '•',
    }
}
