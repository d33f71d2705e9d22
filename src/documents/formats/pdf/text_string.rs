//! Text outside of pages: values of fields and notes.

/// Reads a text string: UTF-16 or UTF-8 if it says so, else the encoding that PDF has for text.
pub(super) fn text_string(bytes: &[u8]) -> String {
    let text = match bytes {
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|&byte| letter(byte)).collect(),
        },
    };
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// `PDFDocEncoding`, which is Latin-1 but for these.
fn letter(byte: u8) -> char {
    const FROM_0X80: [char; 33] = [
        '•', '†', '‡', '…', '—', '–', 'ƒ', '⁄', '‹', '›', '−', '‰', '„', '“', '”', '‘', '’', '‚',
        '™', 'ﬁ', 'ﬂ', 'Ł', 'Œ', 'Š', 'Ÿ', 'Ž', 'ı', 'ł', 'œ', 'š', 'ž', '\u{fffd}', '€',
    ];
    match byte {
        0x80..=0xa0 => FROM_0X80[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_is_read() {
        assert_eq!(text_string(b"\xfe\xff\x1e\xbf\0\r\0\nx"), "ế\n");
        assert_eq!(text_string(b"\xff\xfe\xbf\x1e"), "ế");
        assert_eq!(text_string("\u{feff}ế".as_bytes()), "ế");
        assert_eq!(text_string("Tiếng".as_bytes()), "Tiếng");
        assert_eq!(text_string(b"caf\xe9 \x80 5\xa0"), "café • 5€");
        assert_eq!(text_string(b"a\rb"), "a\nb");
    }
}
