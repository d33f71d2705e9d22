//! Compatibility characters as plain ones: ligatures, full-width and "bold" letters, squared units.
//!
//! Unicode's NFKC says what they stand for, but not where a word ends then: it makes "10⁶" into 106
//! and "1½" into 11⁄2. So what belongs to no word beside it is set apart here, before words are
//! found. All other compatibility characters (Thai vowels, which the dictionary knows as they are
//! written; ligatures of Latin letters) are left to the spelling of terms.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// `text` with plain characters where that decides about words.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(|c| role(c).is_some()) else { return Cow::Borrowed(text) };
    let mut plain = String::with_capacity(text.len());
    plain.push_str(&text[..first]);
    for c in text[first..].chars() {
        let after_digit = plain.ends_with(char::is_numeric);
        match role(c) {
            None => {
                plain.push(c);
                continue;
            }
            // "10⁶" is read like "10^6", and "m²" like "m2".
            Some(Role::Script) if after_digit => plain.push('^'),
            Some(Role::Letter | Role::Script) => {}
            Some(Role::Apart) => plain.push(' '),
        }
        // A fraction has a slash of its own.
        plain.extend(std::iter::once(c).nfkc().map(|c| if c == '\u{2044}' { '/' } else { c }));
        if role(c) == Some(Role::Apart) && is_closed(c) {
            plain.push(' ');
        }
    }
    // A mark of half width was a character of its own.
    Cow::Owned(plain.nfc().collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Part of the word it stands in.
    Letter,
    /// Raised or lowered.
    Script,
    /// Never part of the word or number before it.
    Apart,
}

fn role(c: char) -> Option<Role> {
    if matches!(c, '\0'..'\u{b2}' | '\u{c0}'..'\u{2070}') {
        return None; // nearly all letters
    }
    match c {
        '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{209c}' => Some(Role::Script),
        '\u{bc}'..='\u{be}'      // fractions
        | '\u{2150}'..='\u{215f}'
        | '\u{2189}'
        | '\u{2460}'..='\u{24b5}' // enclosed numbers and letters
        | '\u{3200}'..='\u{33ff}' // enclosed and squared words and units
        => Some(Role::Apart),
        '\u{2100}'..='\u{214f}' if !matches!(c, '\u{2120}' | '\u{2122}') => Some(Role::Letter),
        '\u{2160}'..='\u{217f}'     // Roman numerals
        | '\u{24b6}'..='\u{24e9}'   // circled letters
        | '\u{fb00}'..='\u{fdfb}'   // ligatures, Hebrew and Arabic forms
        | '\u{fe70}'..='\u{fefc}'
        | '\u{ff01}'..='\u{ffef}'   // full and half width
        | '\u{1d400}'..='\u{1d7ff}' // mathematical letters
        | '\u{1ee00}'..='\u{1eeff}'
        | '\u{1f130}'..='\u{1f169}' // squared letters
        => Some(Role::Letter),
        _ => None,
    }
}

/// Whether what follows never belongs to it either. A unit goes on: "㎏/㎡".
fn is_closed(c: char) -> bool {
    matches!(c, '\u{bc}'..='\u{be}' | '\u{2150}'..='\u{24b5}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stay_in_their_words_and_signs_do_not_join_them() {
        for (text, expected) in [
            ("ﬁnancial oﬃce", "financial office"),
            ("ＨＡＮＯＩ　１２", "HANOI　12"),
            ("𝗞𝗵𝘂𝘆ế𝗻 𝗺ã𝗶", "Khuyến mãi"),
            ("Ⓗⓔⓛⓛⓞ Ⅷ", "Hello VIII"),
            ("45㎡, m², CO₂", "45 m2, m2, CO2"),
            ("10⁶", "10^6"),
            ("1½", "1 1/2 "),
            ("①Một", " 1 Một"),
            ("Windows™ ภาษาน้ำ", "Windows™ ภาษาน้ำ"),
            ("ｶﾞｽ", "ガス"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        assert!(matches!(plain("Tiếng Việt, ngữ nghĩa · 25°"), Cow::Borrowed(_)));
    }
}
