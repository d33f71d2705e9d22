//! Lexical analysis: text → terms, the same for documents and questions.
//!
//! Vietnamese tones carry meaning (ma, má, mà, mã, mạ are five words), so the exact terms keep
//! every mark; the folded terms serve people who type without them. Most Vietnamese words have
//! two syllables ("học máy"), so pairs of neighbouring syllables are terms as well. There is no
//! stemmer and no stop list: each of them damages every language but its own.

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// Terms longer than this are no words (base64, long hashes) and are left out, in bytes.
const MAX_TERM_BYTES: usize = 128;

/// Joins the two syllables of a pair. Never part of a syllable, so that no pair equals a term.
const PAIR_JOINT: char = '\u{1f}';

/// Which of the two lexical fields the terms are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Tone and vowel marks as written.
    Kept,
    /// Latin letters without marks, and d for đ.
    Folded,
}

/// The terms of `text`: every word or syllable in order, then every pair of neighbours that only
/// white space separates.
pub fn terms(text: &str, marks: Marks) -> Vec<String> {
    let mut terms = Vec::new();
    let mut pairs = Vec::new();
    let mut previous: Option<(usize, String)> = None;
    for (start, word) in words(text) {
        let term = match marks {
            Marks::Kept => exact(word),
            Marks::Folded => fold(&exact(word)),
        };
        if term.len() > MAX_TERM_BYTES {
            previous = None;
            continue;
        }
        if let Some((end, left)) = &previous
            && text[*end..start].chars().all(char::is_whitespace)
        {
            pairs.push(format!("{left}{PAIR_JOINT}{term}"));
        }
        previous = Some((start + word.len(), term.clone()));
        terms.push(term);
    }
    terms.append(&mut pairs);
    terms
}

/// [`terms`] as tantivy's tokenizer, so that documents are analysed while they are indexed.
#[derive(Debug, Clone, Copy)]
pub struct TermTokenizer(pub Marks);

/// The terms of one text, in turn.
pub struct TermStream {
    terms: std::vec::IntoIter<String>,
    token: Token,
}

impl Tokenizer for TermTokenizer {
    type TokenStream<'a> = TermStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream {
        TermStream { terms: terms(text, self.0).into_iter(), token: Token::default() }
    }
}

impl TokenStream for TermStream {
    fn advance(&mut self) -> bool {
        let Some(term) = self.terms.next() else { return false };
        self.token.text = term;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// Whether folding changes nothing: the text is written without any mark.
pub fn is_unmarked(text: &str) -> bool {
    let text = exact(text);
    fold(&text) == text
}

/// The words of `text` by Unicode's rules (UAX #29), with a dictionary or a model for scripts
/// that do not separate them, each with its byte offset.
pub fn words(text: &str) -> Vec<(usize, &str)> {
    let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
    let mut start = 0;
    let mut words = Vec::new();
    for (end, kind) in segmenter.segment_str(text).iter_with_word_type() {
        if kind.is_word_like() {
            words.push((start, &text[start..end]));
        }
        start = end;
    }
    words
}

/// Lower case, composed, and with one tone placement.
fn exact(word: &str) -> String {
    let lower: String = word.nfc().flat_map(char::to_lowercase).nfc().collect();
    unify_tone_placement(lower)
}

/// Vietnamese writes the tone of an open oa, oe or uy on either vowel (hòa = hoà); the terms carry
/// it on the second.
fn unify_tone_placement(word: String) -> String {
    const TONES: [char; 5] = ['\u{300}', '\u{301}', '\u{309}', '\u{303}', '\u{323}'];
    let mut tail = word.char_indices().rev();
    let (Some((last_at, last)), Some((first_at, first))) = (tail.next(), tail.next()) else {
        return word;
    };
    let mut decomposed = std::iter::once(first).nfd();
    let (Some(vowel), Some(tone), None) = (decomposed.next(), decomposed.next(), decomposed.next())
    else {
        return word;
    };
    if !matches!((vowel, last), ('o', 'a' | 'e') | ('u', 'y')) || !TONES.contains(&tone) {
        return word;
    }
    let moved = [vowel, last, tone].into_iter().nfc();
    debug_assert_eq!(last_at + last.len_utf8(), word.len());
    word[..first_at].chars().chain(moved).collect()
}

/// Latin letters lose their marks; other scripts keep theirs, which are letters of their own.
fn fold(word: &str) -> String {
    word.nfd()
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .map(|c| if c == 'đ' { 'd' } else { c })
        .nfc()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Vec<String> {
        terms(text, Marks::Kept)
    }

    #[test]
    fn syllables_and_their_pairs() {
        assert_eq!(kept("Học máy, AI"), ["học", "máy", "ai", "học\u{1f}máy"]);
    }

    #[test]
    fn tones_are_different_words() {
        for group in
            [&["ma", "má", "mà", "mã", "mạ", "mả"][..], &["năm", "nam"], &["bàn", "bán", "bạn"]]
        {
            for (i, left) in group.iter().enumerate() {
                for right in &group[i + 1..] {
                    assert_ne!(kept(left), kept(right));
                    assert_eq!(terms(left, Marks::Folded), terms(right, Marks::Folded));
                }
            }
        }
    }

    #[test]
    fn decomposed_text_gives_the_same_terms() {
        let composed = "Tiếng Việt";
        let decomposed: String = composed.nfd().collect();
        assert_ne!(composed, decomposed);
        assert_eq!(kept(composed), kept(&decomposed));
    }

    #[test]
    fn both_tone_placements_are_one_term() {
        for (old, new) in [
            ("hòa", "hoà"),
            ("khỏe", "khoẻ"),
            ("thúy", "thuý"),
            ("ủy", "uỷ"),
            ("HÓA", "hoá"),
            ("tọa", "toạ"),
        ] {
            assert_eq!(kept(old), kept(new), "{old} and {new}");
        }
        assert_ne!(kept("hoan"), kept("hoàn"));
        assert_eq!(kept("toán"), ["toán"]);
    }

    #[test]
    fn folding_covers_d_with_stroke_and_leaves_other_scripts_alone() {
        assert_eq!(terms("Đường", Marks::Folded), ["duong"]);
        assert_eq!(terms("ที่", Marks::Folded), terms("ที่", Marks::Kept));
        assert!(is_unmarked("nlp la gi?"));
        assert!(!is_unmarked("NLP là gì?"));
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_words() {
        let words = words("自然语言处理很有趣");
        assert!(words.len() > 2, "{words:?}");
    }
}
