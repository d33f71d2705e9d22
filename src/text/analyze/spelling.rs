//! How terms spell a word: one form for all the ways in which the same word is written.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

use super::TermKind;
use crate::text::vietnamese;

/// The Latin letters that terms spell alike in every word: each as they have it, exact and folded.
static LATIN: LazyLock<[Option<[char; 2]>; 0x350]> = LazyLock::new(|| {
    std::array::from_fn(|at| {
        let letter = char::from_u32(if at < 0x250 { at } else { at - 0x250 + 0x1e00 } as u32)?;
        let one = |text: String| {
            let mut letters = text.chars();
            letters.next().filter(|_| letters.next().is_none())
        };
        if !letter.is_alphabetic() || letter < '\u{c0}' || vietnamese::is_look_alike(letter) {
            return None;
        }
        let exact = exact(letter.encode_utf8(&mut [0; 4]));
        Some([one(exact.clone())?, one(fold(&exact))?])
    })
});

/// How terms have a Latin letter, exact and folded; `None` if that takes a look at the word.
pub(super) fn latin(c: char) -> Option<[char; 2]> {
    match c as usize {
        at @ 0..0x250 => LATIN[at],
        at @ 0x1e00..0x1f00 => LATIN[at - 0x1e00 + 0x250],
        _ => None,
    }
}

/// Appends a word as terms of this kind have it.
pub(super) fn push_word(word: &str, kind: TermKind, text: &mut String) {
    let start = text.len();
    for c in word.chars() {
        match latin(c) {
            _ if c.is_ascii() => text.push(c.to_ascii_lowercase()),
            Some([exact, folded]) => {
                text.push(if kind == TermKind::Exact { exact } else { folded });
            }
            None => {
                text.truncate(start);
                let exact = exact(word);
                text.push_str(&if kind == TermKind::Exact { exact } else { fold(&exact) });
                return;
            }
        }
    }
    let may_have_another = match kind {
        TermKind::Exact => text[start..].ends_with(vietnamese::HAS_TWO_SPELLINGS),
        // No tone is left to be placed.
        TermKind::Folded | TermKind::Pairs => text[start..].ends_with('y'),
    };
    if may_have_another {
        let word = vietnamese::one_spelling(text.split_off(start));
        text.push_str(&word);
    }
}

/// Lower case, without compatibility characters, composed, and in one spelling.
pub fn exact(word: &str) -> String {
    let lower: String = word.nfkc().flat_map(char::to_lowercase).nfkc().collect();
    vietnamese::one_spelling(vietnamese::right_letters(lower))
}

/// Latin letters lose their marks; other scripts keep theirs, which are letters of their own.
pub fn fold(word: &str) -> String {
    word.nfd()
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .map(|c| if c == 'đ' { 'd' } else { c })
        .nfc()
        .collect()
}
