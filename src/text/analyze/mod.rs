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
//!
//! What is written in several ways is one term: compatibility characters ([`letters`]), spellings
//! ([`spelling`]), numbers in groups ([`numbers`]). Where it may be one thing or several, all are
//! terms: an identifier and its [`parts`], a number with spaces and its groups.

mod letters;
mod numbers;
mod parts;
mod spelling;
mod words;

use std::ops::Range;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

pub use spelling::{exact, fold};
pub use words::words;

/// Version of the way from a text to its terms. It is raised when that changes: an index keeps the
/// terms that it was built with.
pub const ANALYZER: u32 = 2;

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
    kind: TermKind,
    /// All words, with [`PAIR_JOINT`] between them.
    text: String,
    /// Where each term is in `text`.
    spans: Vec<Range<usize>>,
}

/// A word, an identifier or a number, as the neighbour of another.
struct Unit {
    /// Where it is in the source.
    source: Range<usize>,
    /// Where it is in [`Terms::text`].
    whole: Range<usize>,
    /// Its first part and its last.
    ends: Option<[Range<usize>; 2]>,
}

impl Terms {
    fn new(text: &str, kind: TermKind) -> Self {
        let text = letters::plain(text);
        let words = words(&text);
        let mut terms = Self { kind, text: String::with_capacity(text.len()), spans: Vec::new() };
        let mut previous: Option<Unit> = None;
        let mut at = 0;
        while at < words.len() {
            let groups = numbers::spaced(&text, &words[at..]);
            let units = match groups {
                _ if numbers::is_one_number(groups) => 1,
                _ => groups.max(1),
            };
            for _ in 0..units {
                let words = &words[at..at + groups.max(1) / units];
                let unit = terms.unit(words);
                if let (Some(left), Some(right)) = (&previous, &unit) {
                    terms.pair(left, right, &text[left.source.end..right.source.start]);
                }
                previous = unit;
                at += words.len();
            }
        }
        terms
    }

    /// Takes the terms of a word, or of several words that are the groups of one number: first the
    /// whole, then its parts. `None` if it is too long for a word.
    fn unit(&mut self, words: &[(usize, &str)]) -> Option<Unit> {
        let (&(start, first), &(last_start, last)) = (words.first()?, words.last()?);
        let source = start..last_start + last.len();
        let parts: Vec<&str> = match words {
            [_] => parts::parts(first),
            groups => groups.iter().map(|&(_, group)| group).collect(),
        };
        let number = match words {
            [_] => None,
            _ => Some(parts.concat()),
        };
        let whole = self.word(number.as_deref().unwrap_or(first));
        let parts: Vec<Range<usize>> =
            parts.into_iter().filter_map(|part| self.word(part)).collect();
        if self.kind == TermKind::Pairs {
            for pair in parts.windows(2) {
                self.push_pair(&pair[0], &pair[1]);
            }
        }
        let ends = parts.first().cloned().zip(parts.last().cloned()).map(<[_; 2]>::from);
        // What is too long, but has parts, stands for itself by these.
        let whole = whole.or_else(|| parts.last().cloned())?;
        Some(Unit { source, whole, ends })
    }

    /// Takes the term of one word or part.
    fn word(&mut self, word: &str) -> Option<Range<usize>> {
        match numbers::ungrouped(word) {
            Some(number) => {
                let digits = self.write(&number.digits);
                if number.is_ambiguous {
                    self.write(word);
                }
                digits
            }
            None => self.write(word),
        }
    }

    /// Writes a word as terms have it, and counts it as one unless these are pairs.
    fn write(&mut self, word: &str) -> Option<Range<usize>> {
        let start = self.text.len();
        spelling::push_word(word, self.kind, &mut self.text);
        let span = start..self.text.len();
        if span.len() > MAX_TERM_BYTES {
            self.text.truncate(start);
            return None;
        }
        self.text.push(PAIR_JOINT);
        if self.kind != TermKind::Pairs {
            self.spans.push(span.clone());
        }
        Some(span)
    }

    /// Takes the pairs of two neighbours with this between them: of both as a whole, and of the parts
    /// where they meet.
    fn pair(&mut self, left: &Unit, right: &Unit, between: &str) {
        if self.kind != TermKind::Pairs {
            return;
        }
        let meeting = (left.ends.is_some() || right.ends.is_some()).then(|| {
            let last = left.ends.as_ref().map_or(&left.whole, |[_, last]| last);
            let first = right.ends.as_ref().map_or(&right.whole, |[first, _]| first);
            (last, first)
        });
        for (left, right) in [Some((&left.whole, &right.whole)), meeting].into_iter().flatten() {
            if self.makes_pair(left, right, between) {
                self.push_pair(left, right);
            }
        }
    }

    /// Whether two words with this between them make a pair: white space, or, within the number of an
    /// act or a standard, one sign ("15/2020/NĐ-CP", "01:2021", "10^6").
    fn makes_pair(&self, left: &Range<usize>, right: &Range<usize>, between: &str) -> bool {
        let has_number = |word: &Range<usize>| self.text[word.clone()].contains(char::is_numeric);
        let in_code = matches!(between, "/" | ":" | "-" | "." | "^");
        between.chars().all(char::is_whitespace)
            || in_code && (has_number(left) || has_number(right))
    }

    fn push_pair(&mut self, left: &Range<usize>, right: &Range<usize>) {
        if left.end + PAIR_JOINT.len_utf8() == right.start {
            self.spans.push(left.start..right.end);
            return;
        }
        let mut pair = self.text[left.clone()].to_owned();
        pair.push(PAIR_JOINT);
        pair.push_str(&self.text[right.clone()]);
        let start = self.text.len();
        self.text.push_str(&pair);
        self.spans.push(start..self.text.len());
        self.text.push(PAIR_JOINT);
    }
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

/// The two words of a term of [`TermKind::Pairs`].
pub fn words_of_pair(pair: &str) -> impl Iterator<Item = &str> {
    pair.split(PAIR_JOINT)
}

/// Whether the text is written without any mark, so that folding changes nothing.
pub fn is_unmarked(text: &str) -> bool {
    let text = spelling::exact(text);
    spelling::fold(&text) == text
}

#[cfg(test)]
mod tests {
    use icu_segmenter::WordSegmenter;
    use icu_segmenter::options::WordBreakInvariantOptions;
    use unicode_normalization::UnicodeNormalization;

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
    fn what_is_written_in_several_ways_is_one_term() {
        for (written, typed) in [
            ("ﬁnancial", "financial"),
            ("ＨＡＮＯＩ", "hanoi"),
            ("𝗞𝗵𝘂𝘆ế𝗻", "khuyến"),
            ("45㎡", "45 m2"),
            ("m²", "m2"),
            ("10⁶", "10^6"),
            ("Ðường", "đường"),
            ("trƣờng", "trường"),
            ("bác sỹ", "bác sĩ"),
            ("1.000.000 đồng", "1,000,000 đồng"),
            ("1.000.000", "1000000"),
            ("12.345,67", "12345.67"),
        ] {
            for kind in [TermKind::Exact, TermKind::Folded, TermKind::Pairs] {
                assert_eq!(terms(written, kind), terms(typed, kind), "{written} and {typed}");
            }
        }
        assert_eq!(exact_terms("Það"), ["það"]);
        assert_eq!(exact_terms("3.5 2024.10 01.02.2026"), ["3.5", "2024.10", "01.02.2026"]);
    }

    #[test]
    fn what_may_be_one_thing_or_several_is_all_of_them() {
        assert_eq!(exact_terms("1.000"), ["1000", "1.000"]);
        assert_eq!(exact_terms("1 000 000 đồng"), ["1000000", "1", "000", "000", "đồng"]);
        assert_eq!(exact_terms("HTTPServer"), ["httpserver", "http", "server"]);
        assert_eq!(exact_terms("get_user.py"), ["get_user.py", "get", "user", "py"]);
        assert_eq!(exact_terms("1.500.000đ"), ["1.500.000đ", "1500000", "đ"]);
        let columns = "100 200 300 400 500 600";
        assert_eq!(exact_terms(columns).join(" "), columns);
    }

    #[test]
    fn parts_are_pairs_among_themselves_and_with_their_neighbours() {
        let pairs = |text: &str| terms(text, TermKind::Pairs).join(" ").replace(PAIR_JOINT, "+");
        assert_eq!(pairs("getUserName"), "get+user user+name");
        assert_eq!(pairs("hàm utf8 có"), "utf+8 ham+utf8 ham+utf utf8+co 8+co");
        assert_eq!(pairs("1 000 đồng"), "1+000 1000+dong 000+dong");
        assert_eq!(pairs("10⁶ m"), "10+6 6+m");
    }

    #[test]
    fn long_identifiers_are_found_by_their_parts() {
        let name = ["name"; 40].join("_");
        assert_eq!(exact_terms(&name), ["name"; 40]);
        assert_eq!(exact_terms(&"1 000".repeat(1 << 16)).len(), (1 << 16) + 1);
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_words() {
        let words = words("自然语言处理很有趣");
        assert!(words.len() > 2, "{words:?}");
    }

    /// The words as ICU alone finds them.
    fn slowly(text: &str) -> Vec<&str> {
        let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
        let mut start = 0;
        let mut words = Vec::new();
        for end in segmenter.segment_str(text) {
            if text[start..end].contains(char::is_alphanumeric) {
                words.push(&text[start..end]);
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
            let found = words(text);
            assert!(found.iter().all(|&(start, word)| text[start..].starts_with(word)));
            let found: Vec<&str> = found.into_iter().map(|(_, word)| word).collect();
            assert_eq!(found, slowly(text), "{text:?}");
            for word in found {
                let exact = spelling::exact(word);
                let fold = spelling::fold(&exact);
                for (kind, slow) in [(TermKind::Exact, exact), (TermKind::Folded, fold)] {
                    let mut spelt = String::new();
                    spelling::push_word(word, kind, &mut spelt);
                    assert_eq!(spelt, slow, "{word} {kind:?}");
                }
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
