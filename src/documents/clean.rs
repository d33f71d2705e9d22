//! Text as it is kept: composed (NFC), `\n` line ends, nothing that cannot be seen.
//!
//! Invisible characters split words for search (a soft hyphen, a zero-width space), and those that
//! turn the writing direction can make a text look like another one.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::text::vietnamese::TONES;

/// See the module's documentation. Borrows if there is nothing to do.
///
/// Vietnamese arrives both composed and decomposed; without NFC, neither the lexical index nor the
/// tokenizers' normalizers would treat the two alike.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let Some(first) = text.char_indices().find(|&(_, c)| !is_plain(c)) else {
        return Cow::Borrowed(text);
    };
    let mut visible = Cow::Borrowed(text);
    if text[first.0..].chars().any(is_special) {
        visible = Cow::Owned(without_specials(text));
    }
    match is_nfc_quick(visible.chars()) {
        IsNormalized::Yes => visible,
        _ => Cow::Owned(in_order(visible.nfc().collect())),
    }
}

/// Puts tones last. Some programs write a vowel's tone before the mark that makes it another vowel
/// (`e ́ ̂` for ế): to Unicode these are different letters, to people they are the same.
fn in_order(text: String) -> String {
    if !text.contains(['\u{302}', '\u{306}']) {
        return text;
    }
    let mut letters: Vec<char> = text.nfd().collect();
    for at in 2..letters.len() {
        let vowel = matches!(letters[at - 2], 'a' | 'e' | 'o' | 'A' | 'E' | 'O');
        if vowel && TONES.contains(&letters[at - 1]) && matches!(letters[at], '\u{302}' | '\u{306}')
        {
            letters.swap(at - 1, at);
        }
    }
    letters.into_iter().nfc().collect()
}

/// The letters and signs of most text, which are composed and visible already.
fn is_plain(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='~' | '\u{a0}'..='\u{ac}' | '\u{ae}'..='\u{2ff}'
        | '\u{1ea0}'..='\u{1ef9}' | '\u{2010}'..='\u{2027}' | '\u{4e00}'..='\u{9fff}')
}

/// Whether the character is dropped or replaced.
fn is_special(c: char) -> bool {
    replacement(c) != Some(c) || is_joiner(c)
}

/// What to write for a character: nothing for invisible and control characters.
#[expect(clippy::match_same_arms, reason = "each kind has its own comment")]
fn replacement(c: char) -> Option<char> {
    match c {
        '\t' | '\n' => Some(c),
        // The line end of old Macs.
        '\r' => Some('\n'),
        // Breaks of lines and pages that no editor counts as lines, so that places stay right.
        '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => None,
        // Soft hyphen, zero-width space, word joiner, byte order mark.
        '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => None,
        // Direction: marks, embeddings, overrides, isolates.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => {
            None
        }
        // Annotations, and tags that only programs see.
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => None,
        _ => Some(c),
    }
}

/// Zero-width (non-)joiners: they change how letters look in some scripts, and make emoji; elsewhere
/// they are only invisible.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner makes a visible difference after this character.
fn joins(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{109f}' | '\u{1780}'..='\u{1cff}'
        | '\u{2600}'..='\u{27bf}' | '\u{a800}'..='\u{abff}' | '\u{fb50}'..='\u{fe0f}'
        | '\u{10a00}'..='\u{11fff}' | '\u{1f000}'..='\u{1faff}')
}

fn without_specials(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut previous = ' ';
    while let Some(c) = characters.next() {
        if c == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        let kept = if is_joiner(c) { joins(previous).then_some(c) } else { replacement(c) };
        if let Some(kept) = kept {
            visible.push(kept);
            previous = kept;
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_gone() {
        assert_eq!(
            clean("\u{feff}Tie\u{302}\u{301}ng\r\nVie\u{323}\u{302}t\rnhé"),
            "Tiếng\nViệt\nnhé"
        );
        assert_eq!(clean("học\u{ad} má\u{200b}y\u{2060} e\u{200b}\u{301}"), "học máy é");
        assert_eq!(clean("a\u{202e}txt.exe\u{202c} \u{2066}b\u{2069}\u{200f}"), "atxt.exe b");
        assert_eq!(
            clean("bell\u{7} esc\u{1b}[31m\0 \u{e0041}x\u{c}y\u{2028}z"),
            "bell esc[31m x y z"
        );
        assert!(matches!(clean("Tiếng Việt – “đã” gọn\t漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn tones_come_after_the_vowel_they_are_on() {
        assert_eq!(
            clean("thế giới vè\u{302} Quó\u{302}c rà\u{306}ng e\u{302}\u{301}"),
            "thế giới về Quốc rằng ế"
        );
        assert_eq!(clean("x\u{302} \u{306}"), "x\u{302} \u{306}");
    }

    #[test]
    fn joiners_stay_where_they_are_seen() {
        let persian = "می\u{200c}خواهم";
        let hindi = "क्\u{200d}ष";
        let family = "👨\u{200d}👩\u{200d}👧";
        for text in [persian, hindi, family] {
            assert_eq!(clean(text), text);
        }
        assert_eq!(clean("mật\u{200d}khẩu\u{200c}"), "mậtkhẩu");
    }

    #[test]
    fn every_plain_character_needs_nothing() {
        for c in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|&c| is_plain(c)) {
            assert_eq!(without_specials(&c.to_string()), c.to_string(), "{c:?}");
            assert!(std::iter::once(c).nfc().eq([c]), "{c:?}");
        }
    }
}
