//! Exact match and F1 of answers, as in SQuAD (Rajpurkar et al. 2016).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::answer::without_citations;

/// Scores of an answer, each the best over all expected answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Likeness {
    /// 1 if equal after normalization, else 0.
    pub exact_match: f64,
    /// Harmonic mean of word precision and word recall.
    pub f1: f64,
}

/// Compares an answer with the expected ones; `None` if there are none. Articles are ignored in
/// English only: elsewhere `a` and `an` are ordinary words (Vietnamese `an toàn`).
pub fn likeness(answer: &str, expected: &[String], english: bool) -> Option<Likeness> {
    let words = normalized(&without_citations(answer), english);
    let nearest = expected.iter().map(|expected| {
        let expected = normalized(expected, english);
        Likeness { exact_match: f64::from(u8::from(words == expected)), f1: f1(&words, &expected) }
    });
    nearest.reduce(|a, b| Likeness {
        exact_match: a.exact_match.max(b.exact_match),
        f1: a.f1.max(b.f1),
    })
}

fn f1(words: &[String], expected: &[String]) -> f64 {
    if words.is_empty() || expected.is_empty() {
        return f64::from(u8::from(words == expected));
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in expected {
        *left.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in words {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    2.0 * f64::from(common) / (words.len() + expected.len()) as f64
}

/// Words in NFC and lower case, without punctuation and, in English, without articles.
fn normalized(text: &str, english: bool) -> Vec<String> {
    let plain: String = text.nfc().filter(|&c| !is_punctuation(c)).collect::<String>();
    let plain = plain.to_lowercase();
    let article = |word: &&str| english && matches!(*word, "a" | "an" | "the");
    plain.split_whitespace().filter(|word| !article(word)).map(str::to_owned).collect()
}

/// ASCII, typographic and East Asian punctuation.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c,
            '¡' | '§' | '«' | '¶' | '·' | '»' | '¿'
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}'
            | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}'
            | '\u{ff5b}'..='\u{ff65}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(answer: &str, expected: &[&str], english: bool) -> (f64, f64) {
        let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        let likeness = likeness(answer, &expected, english).unwrap();
        (likeness.exact_match, likeness.f1)
    }

    #[test]
    fn case_punctuation_citations_and_composition_do_not_matter() {
        let decomposed: String = "Hà Nội".nfd().collect();
        assert_eq!(compared("hà nội. [1]", &[&decomposed], false), (1.0, 1.0));
        assert_eq!(compared("“The Panthers” [1, 2]", &["Panthers"], true), (1.0, 1.0));
    }

    #[test]
    fn articles_are_words_where_the_text_is_not_english() {
        assert_eq!(compared("an toàn", &["toàn"], false).0, 0.0);
        assert_eq!(compared("an apple", &["apple"], true).0, 1.0);
    }

    #[test]
    fn words_count_as_often_as_they_occur() {
        // 2 of 4 answer words match, 2 of 2 expected ones: P = ½, R = 1.
        let (exact, f1) = compared("là 24 lần thôi", &["24 lần"], false);
        assert_eq!(exact, 0.0);
        assert!((f1 - 2.0 / 3.0).abs() < 1e-12);
        assert!((compared("lần lần", &["lần"], false).1 - 2.0 / 3.0).abs() < 1e-12);
        // The best of several expected answers counts.
        assert_eq!(compared("bốn", &["bốn lựa chọn", "bốn"], false), (1.0, 1.0));
        assert_eq!(compared("", &["bốn"], false), (0.0, 0.0));
        assert!(likeness("bốn", &[], false).is_none());
    }
}
