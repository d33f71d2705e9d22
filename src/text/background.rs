//! How much a word says in general, whatever the documents at hand are about.
//!
//! An index about one thing has the words for that thing in every passage, so by its own count they
//! weigh nothing, although they are what a question is about. Whether passages answer a question is
//! judged by these weights instead.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::analyze::{TermKind, exact, fold};

/// Words and how often they occur, made by models/fetch-word-frequencies: lines of a frequency in
/// centibels below one, and the words that have it. A word of several languages has that of the
/// language in which it is most frequent.
const FREQUENCIES: &str = include_str!("../../models/word-frequencies.txt");

/// Words in a typical passage.
const PASSAGE_WORDS: f32 = 100.0;
/// Passages of an imagined collection about everything: a word that it lacks weighs as much as one
/// that none of them has.
const PASSAGES: f32 = 20_000.0;

/// The weights of the words that are known, as written and without marks.
struct Weights {
    exact: HashMap<String, f32>,
    folded: HashMap<String, f32>,
}

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| Weights::parse(FREQUENCIES));

impl Weights {
    fn parse(text: &str) -> Self {
        let (mut words, mut folded) = (HashMap::new(), HashMap::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(' ');
            let Some(Ok(centibels)) = fields.next().map(str::parse::<f32>) else { continue };
            let frequency = 10f32.powf(-centibels / 100.0);
            for word in fields {
                // Several spellings of a word are one term, as frequent as all of them together.
                let word = exact(word);
                *folded.entry(fold(&word)).or_insert(0.0) += frequency;
                *words.entry(word).or_insert(0.0) += frequency;
            }
        }
        for frequency in words.values_mut().chain(folded.values_mut()) {
            *frequency = idf(*frequency);
        }
        Self { exact: words, folded }
    }
}

/// The idf of a word with this share of all words: ln(1 + (N − n + ½) / (n + ½)), where n of N
/// passages have it.
fn idf(frequency: f32) -> f32 {
    let passages = PASSAGES * (1.0 - (-PASSAGE_WORDS * frequency).exp());
    (1.0 + (PASSAGES - passages + 0.5) / (passages + 0.5)).ln()
}

/// What a word weighs: near 0 if nearly every passage has it, 10.6 if it is not among the frequent
/// words of any language that is known. `word` is a term of this kind, and no pair.
pub fn weight(word: &str, kind: TermKind) -> f32 {
    let known = match kind {
        TermKind::Exact => &WEIGHTS.exact,
        TermKind::Folded | TermKind::Pairs => &WEIGHTS.folded,
    };
    known.get(word).copied().unwrap_or_else(|| idf(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_text_has_weighs_little_and_what_few_have_much() {
        let exact = |word| weight(word, TermKind::Exact);
        for word in ["the", "là", "und", "и", "的"] {
            assert!(exact(word) < 1.0, "{word} {}", exact(word));
        }
        assert!(exact("house") > 2.0 && exact("house") < 6.0, "{}", exact("house"));
        assert!(exact("rental") > exact("house"));
        assert!((exact("xqzvw") - 10.6).abs() < 0.01, "{}", exact("xqzvw"));
    }

    #[test]
    fn spellings_of_a_word_share_its_weight_and_marks_can_be_left_out() {
        // "hoà" and "hòa" are one term of the analyzer.
        assert!(weight(&exact("hòa"), TermKind::Exact) < 7.0);
        assert_eq!(exact("hòa"), exact("hoà"));
        // Without marks it stands for more words, so it says less.
        assert!(weight("khong", TermKind::Folded) < 1.0);
        assert!(weight("ban", TermKind::Folded) < weight("bán", TermKind::Exact));
    }

    #[test]
    fn lines_are_a_frequency_and_its_words() {
        let weights = Weights::parse("# a comment\n100 a\n300 hòa hoà\n");
        assert!((weights.exact["a"] - idf(0.1)).abs() < 1e-6);
        assert!((weights.exact["hoà"] - idf(0.002)).abs() < 1e-5);
        assert!((weights.folded["hoa"] - idf(0.002)).abs() < 1e-5);
    }
}
