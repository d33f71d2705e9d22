//! Encodes our terms so that a server-side analyzer keeps each as a single, unchanged word.
//!
//! Text is analysed on the client, as for a directory index, and the server gets space-separated
//! terms. Its `standard` tokenizer, available in every Milvus, splits on anything but letters and
//! digits and lower-cases letters; so alphabetic letters and digits are kept, and all other
//! characters are escaped.

use std::fmt::Write;

use crate::text::analyze::{TermKind, terms};

/// Joins the syllables of a pair. The dental click is a letter to every analyzer, and hardly occurs
/// in text.
const JOINT: char = 'ǀ';
/// Delimiters of an escaped character.
const ESCAPE: (char, char) = ('ǃ', 'ǂ');
/// In bytes. Some analyzers truncate longer words, so these are replaced by a hash.
const MAX_BYTES: usize = 200;

/// The kinds of terms stored for a chunk.
pub const KINDS: [TermKind; 3] = [TermKind::Exact, TermKind::Folded, TermKind::Pairs];

/// Encodes a term as a word for the server.
pub fn word(kind: TermKind, term: &str) -> String {
    let mut word = String::with_capacity(term.len() + 2);
    word.push(match kind {
        TermKind::Exact => 'e',
        TermKind::Folded => 'f',
        TermKind::Pairs => 'p',
    });
    for c in term.chars() {
        if is_plain(c) {
            word.push(c);
        } else if c == '\u{1f}' {
            word.push(JOINT);
        } else {
            let _ = write!(word, "{}{:x}{}", ESCAPE.0, u32::from(c), ESCAPE.1);
        }
    }
    if word.len() > MAX_BYTES {
        word.truncate(1);
        word.push_str(&blake3::hash(term.as_bytes()).to_hex());
    }
    word
}

/// All terms of a text, of all kinds, encoded.
pub fn words(text: &str) -> String {
    let of_kind = |kind| terms(text, kind).into_iter().map(move |term| word(kind, &term));
    KINDS.into_iter().flat_map(of_kind).collect::<Vec<String>>().join(" ")
}

/// Whether every analyzer treats `c` as part of a word and leaves it unchanged: digits, and
/// lower-case letters of scripts that separate words by spaces.
fn is_plain(c: char) -> bool {
    let alphabet = matches!(c, '\u{df}'..='\u{17f}' | '\u{1a0}'..='\u{1b0}' | '\u{370}'..='\u{3ff}'
        | '\u{400}'..='\u{481}' | '\u{48a}'..='\u{52f}' | '\u{1ea0}'..='\u{1eff}');
    c.is_ascii_lowercase() || c.is_ascii_digit() || alphabet && c.is_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_to_an_analyzer_and_no_two_terms_share_one() {
        let texts =
            ["Học máy, 3.5 lần", "can't", "ภาษาไทย", "自然言語", "ЭТО ДОМ", "é\u{301}x a_b"];
        let mut seen = std::collections::BTreeMap::new();
        for text in texts {
            for kind in KINDS {
                for term in terms(text, kind) {
                    let word = word(kind, &term);
                    assert!(word.chars().all(char::is_alphanumeric), "{word}");
                    assert_eq!(word.to_lowercase(), word);
                    let other = seen.insert(word.clone(), (kind, term.clone()));
                    assert!(other.is_none_or(|other| other == (kind, term)), "{word}");
                }
            }
        }
        assert_eq!(word(TermKind::Exact, "học"), "ehọc");
        assert_eq!(word(TermKind::Pairs, "hoc\u{1f}may"), "phocǀmay");
        assert_eq!(word(TermKind::Exact, "3.5"), "e3ǃ2eǂ5");
        assert_ne!(word(TermKind::Exact, &"ก".repeat(42)), word(TermKind::Exact, &"ก".repeat(41)));
        assert!(word(TermKind::Exact, &"ก".repeat(42)).len() <= MAX_BYTES);
        assert_eq!(words("học máy"), "ehọc emáy fhoc fmay phocǀmay");
    }
}
