//! Lexical analysis: text → words and terms, the same for documents and questions.
//!
//! The index keeps terms and retrieval asks for them; answers are compared with their sources by
//! terms too; the language of a question is told by its words.
//!
//! Vietnamese tones carry meaning (ma, má, mà, mã, mạ are five words), so the exact terms keep every
//! mark; the folded terms serve people who type without them. Most Vietnamese words have two
//! syllables ("học máy"), so pairs of neighbouring syllables are terms as well. They are always
//! folded: they make up half of the index, and marks matter less where two syllables agree. There is
//! no stemmer and no stop list: either damages every language but its own.

use std::ops::Range;
use std::sync::LazyLock;

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization;

use super::vietnamese::TONES;

/// Longer terms, in bytes, are not words (base64, long hashes) and are left out.
const MAX_TERM_BYTES: usize = 128;

/// Joins the two syllables of a pair. It is never part of a syllable, so no pair equals a term.
const PAIR_JOINT: char = '\u{1f}';

/// Which terms to take from a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TermKind {
    /// Words and syllables, with tone and vowel marks as written.
    Exact,
    /// The same, but Latin letters without marks, and d for đ.
    Folded,
    /// Two neighbours that only white space separates, or a sign within a code, folded.
    Pairs,
}

/// The terms of `text`, in order.
pub fn terms(text: &str, kind: TermKind) -> Vec<String> {
    let terms = Terms::new(text, kind);
    terms.spans.iter().map(|span| terms.text[span.clone()].to_owned()).collect()
}

/// The terms of a text, without a string for each.
struct Terms {
    /// All words, with [`PAIR_JOINT`] between them.
    text: String,
    /// Where each term is in `text`.
    spans: Vec<Range<usize>>,
}

impl Terms {
    fn new(text: &str, kind: TermKind) -> Self {
        let mut terms = Self { text: String::with_capacity(text.len()), spans: Vec::new() };
        // Where the previous word ends in `text`, and where it begins in `terms.text`.
        let mut previous: Option<(usize, usize)> = None;
        each_word(text, &mut |start, word| {
            let at = terms.text.len();
            push_word(word, kind, &mut terms.text);
            let end = terms.text.len();
            if end - at > MAX_TERM_BYTES {
                terms.text.truncate(at);
                previous = None;
                return;
            }
            match previous {
                _ if kind != TermKind::Pairs => terms.spans.push(at..end),
                Some((gap, left)) if makes_pair(&text[gap..start], &terms.text[left..end]) => {
                    terms.spans.push(left..end);
                }
                _ => {}
            }
            previous = Some((start + word.len(), at));
            terms.text.push(PAIR_JOINT);
        });
        terms
    }
}

/// Whether two words with this between them make a pair: white space, or, within the number of an
/// act or a standard, one sign ("15/2020/NĐ-CP", "01:2021").
fn makes_pair(between: &str, pair: &str) -> bool {
    let in_code = matches!(between, "/" | ":" | "-" | ".");
    between.chars().all(char::is_whitespace) || in_code && pair.contains(|c: char| c.is_numeric())
}

/// [`terms`] as a tokenizer of tantivy's, which analyses documents while it indexes them.
#[derive(Debug, Clone, Copy)]
pub struct TermTokenizer(pub TermKind);

/// The terms of one text, one after the other.
pub struct TermStream {
    terms: Terms,
    next: usize,
    token: Token,
}

impl Tokenizer for TermTokenizer {
    type TokenStream<'a> = TermStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream {
        TermStream { terms: Terms::new(text, self.0), next: 0, token: Token::default() }
    }
}

impl TokenStream for TermStream {
    fn advance(&mut self) -> bool {
        let Some(span) = self.terms.spans.get(self.next) else { return false };
        self.next += 1;
        self.token.text.clear();
        self.token.text.push_str(&self.terms.text[span.clone()]);
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

/// Whether the text is written without any mark, so that folding changes nothing.
pub fn is_unmarked(text: &str) -> bool {
    let text = exact(text);
    fold(&text) == text
}

/// The words of `text` by Unicode's rules (UAX #29), with a dictionary or a model for scripts
/// that do not separate them, each with its byte offset.
pub fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    each_word(text, &mut |start, word| words.push((start, word)));
    words
}

/// Calls `found` with every word of `text` and its byte offset.
///
/// ASCII white space always separates words, so each run between is cut by itself: plain Latin text
/// here, which is a tenth of the work, and all other text by ICU.
fn each_word<'a>(text: &'a str, found: &mut impl FnMut(usize, &'a str)) {
    let mut segmenter = None;
    let mut start = 0;
    for run in text.split(|c: char| c.is_ascii_whitespace()) {
        if !each_latin_word(run, &mut |at, word| found(start + at, word)) {
            let segmenter = segmenter.get_or_insert_with(|| {
                WordSegmenter::new_auto(WordBreakInvariantOptions::default())
            });
            let mut from = 0;
            // Does not go by ICU's word types: a word that ends in a combining mark has none.
            for end in segmenter.segment_str(run).skip(1) {
                if run[from..end].contains(char::is_alphanumeric) {
                    found(start + from, &run[from..end]);
                }
                from = end;
            }
        }
        start += run.len() + 1;
    }
}

/// Finds the words of a run without white space. If it takes ICU to do so, finds none and returns
/// `false`: if there is a letter of another script, or a sign that may join what is beside it.
fn each_latin_word<'a>(run: &'a str, found: &mut impl FnMut(usize, &'a str)) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || latin(c).is_some();
    // What joins two letters or two digits, as in "3.5" or "can't".
    let joins = |c: char| matches!(c, '.' | ',' | ':' | ';' | '\'');
    let mut before = [' '; 2];
    for c in run.chars() {
        if !(is_word(c) || c.is_ascii_punctuation() && c != '_')
            || is_word(before[0]) && joins(before[1]) && is_word(c)
        {
            return false;
        }
        before = [before[1], c];
    }
    let mut start = 0;
    for word in run.split(|c: char| c.is_ascii_punctuation()) {
        if !word.is_empty() {
            found(start, word);
        }
        start += word.len() + 1;
    }
    true
}

/// The Latin letters that stay one character in every normal form: each as terms have it, exact and
/// folded.
static LATIN: LazyLock<[Option<[char; 2]>; 0x350]> = LazyLock::new(|| {
    std::array::from_fn(|at| {
        let letter = char::from_u32(if at < 0x250 { at } else { at - 0x250 + 0x1e00 } as u32)?;
        let one = |text: String| {
            let mut letters = text.chars();
            letters.next().filter(|_| letters.next().is_none())
        };
        if !letter.is_alphabetic() || letter < '\u{c0}' {
            return None;
        }
        let exact = exact(letter.encode_utf8(&mut [0; 4]));
        Some([one(exact.clone())?, one(fold(&exact))?])
    })
});

fn latin(c: char) -> Option<[char; 2]> {
    match c as usize {
        at @ 0..0x250 => LATIN[at],
        at @ 0x1e00..0x1f00 => LATIN[at - 0x1e00 + 0x250],
        _ => None,
    }
}

/// Appends a word as terms have it.
fn push_word(word: &str, kind: TermKind, text: &mut String) {
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
    if kind == TermKind::Exact && text.ends_with(['a', 'e', 'y']) {
        let word = unify_tone_placement(text.split_off(start));
        text.push_str(&word);
    }
}

/// Lower case, composed, and with one tone placement.
fn exact(word: &str) -> String {
    let lower: String = word.nfc().flat_map(char::to_lowercase).nfc().collect();
    unify_tone_placement(lower)
}

/// Vietnamese writes the tone of an open oa, oe or uy on either vowel (hòa = hoà); terms have it on
/// the second.
fn unify_tone_placement(word: String) -> String {
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

    fn exact_terms(text: &str) -> Vec<String> {
        terms(text, TermKind::Exact)
    }

    #[test]
    fn syllables_and_their_pairs() {
        assert_eq!(exact_terms("Học máy, AI"), ["học", "máy", "ai"]);
        assert_eq!(terms("Học máy, AI", TermKind::Folded), ["hoc", "may", "ai"]);
        assert_eq!(terms("Học máy, AI đó", TermKind::Pairs), ["hoc\u{1f}may", "ai\u{1f}do"]);
        let long = "x".repeat(MAX_TERM_BYTES + 1);
        assert_eq!(terms(&format!("a {long} b c"), TermKind::Pairs), ["b\u{1f}c"]);
        assert_eq!(exact_terms(&format!("a {long} b")), ["a", "b"]);
    }

    /// The number of an act or a standard is a chain of pairs.
    #[test]
    fn codes_are_pairs_in_a_row() {
        let pairs = |text: &str| terms(text, TermKind::Pairs).join(" ").replace(PAIR_JOINT, "+");
        assert_eq!(pairs("Điều 12"), "dieu+12");
        assert_eq!(pairs("QCVN 01:2021"), "qcvn+01 01+2021");
        assert_eq!(pairs("15/2020/NĐ-CP"), "15+2020 2020+nd");
        assert_eq!(pairs("COVID-19, x-y"), "covid+19");
        assert_eq!(pairs("12: Điều"), "");
    }

    #[test]
    fn tones_are_different_words() {
        for group in
            [&["ma", "má", "mà", "mã", "mạ", "mả"][..], &["năm", "nam"], &["bàn", "bán", "bạn"]]
        {
            for (i, left) in group.iter().enumerate() {
                for right in &group[i + 1..] {
                    assert_ne!(exact_terms(left), exact_terms(right));
                    assert_eq!(terms(left, TermKind::Folded), terms(right, TermKind::Folded));
                }
            }
        }
    }

    #[test]
    fn decomposed_text_gives_the_same_terms() {
        let composed = "Tiếng Việt";
        let decomposed: String = composed.nfd().collect();
        assert_ne!(composed, decomposed);
        assert_eq!(exact_terms(composed), exact_terms(&decomposed));
        assert_eq!(exact_terms("con ma\u{301}, x"), exact_terms("con má, x"));
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
            assert_eq!(exact_terms(old), exact_terms(new), "{old} and {new}");
        }
        assert_ne!(exact_terms("hoan"), exact_terms("hoàn"));
        assert_eq!(exact_terms("toán"), ["toán"]);
    }

    #[test]
    fn folding_covers_d_with_stroke_and_leaves_other_scripts_alone() {
        assert_eq!(terms("Đường", TermKind::Folded), ["duong"]);
        assert_eq!(terms("ที่", TermKind::Folded), terms("ที่", TermKind::Exact));
        assert!(is_unmarked("nlp la gi?"));
        assert!(!is_unmarked("NLP là gì?"));
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_words() {
        let words = words("自然语言处理很有趣");
        assert!(words.len() > 2, "{words:?}");
    }

    /// The words as ICU alone finds them, and their terms without any shortcut.
    fn slowly(text: &str, kind: TermKind) -> Vec<String> {
        let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
        let mut start = 0;
        let mut words = Vec::new();
        for end in segmenter.segment_str(text) {
            if text[start..end].contains(char::is_alphanumeric) {
                let exact = exact(&text[start..end]);
                words.push(if kind == TermKind::Exact { exact } else { fold(&exact) });
            }
            start = end;
        }
        words
    }

    #[test]
    fn shortcuts_find_what_icu_finds() {
        let signs: String = ('\t'..='\n').chain(' '..='~').collect();
        let parts = [
            "a",
            "Ế",
            "1",
            "đ",
            "ƀ",
            "İ",
            "ß",
            "a\u{301}",
            "ไทย",
            "你好",
            "\u{200d}",
            "\u{a0}",
            "’",
            "😀",
            "\u{301}",
            "ŉ",
            "ả",
        ];
        let check = |text: &str| {
            for kind in [TermKind::Exact, TermKind::Folded] {
                assert_eq!(terms(text, kind), slowly(text, kind), "{text:?} {kind:?}");
            }
            for (start, word) in words(text) {
                assert_eq!(&text[start..start + word.len()], word);
            }
        };
        for left in parts {
            for right in parts {
                for sign in signs.chars() {
                    check(&format!("{left}{sign}{right}"));
                    check(&format!("x{sign}{left}{sign}{sign}{right}{sign}"));
                    check(&format!("{left}.{sign}{right} {sign}"));
                }
            }
        }
        for letter in (0x80..0x250).chain(0x1e00..0x1f00).filter_map(char::from_u32) {
            check(&format!("a{letter} {letter}y.{letter}-{letter}1'"));
        }
    }
}
