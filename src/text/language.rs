//! The language of a question: the language of its answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::analyze::words;

/// Frequent words that give Vietnamese away when it is typed without marks. Words that English,
/// French or German have as well (an, do, la, no, so …) count only in [`VIETNAMESE_PAIRS`].
const VIETNAMESE: &[&str] = &[
    "khong", "duoc", "nhung", "cua", "trong", "nguoi", "nhu", "nao", "sao", "gi", "vay", "khac",
    "nghia", "viec", "dung", "bao", "nhieu", "cach", "giua", "cho", "voi", "duoi", "truoc", "sau",
    "tieng", "viet", "lam", "phai", "cung", "thi", "ai", "dau", "hoc",
];

/// Question words of two syllables, without marks: "nlp la gi" is certain, though "la" alone is not.
const VIETNAMESE_PAIRS: &[[&str; 2]] = &[
    ["la", "gi"],
    ["la", "ai"],
    ["la", "sao"],
    ["nhu", "the"],
    ["the", "nao"],
    ["tai", "sao"],
    ["bao", "nhieu"],
    ["o", "dau"],
];

/// Frequent English words: function words first, then what questions are made of.
const ENGLISH: &[&str] = &[
    "the", "of", "and", "is", "are", "was", "were", "what", "which", "who", "whom", "whose",
    "when", "where", "why", "how", "does", "do", "did", "can", "could", "should", "would", "will",
    "to", "in", "for", "with", "by", "from", "between", "explain", "define", "describe", "list",
    "tell", "me", "it", "its", "that", "this", "an", "a", "be", "has", "have", "had", "many",
    "much",
];

/// The English words that other languages have in the same letters: they count half.
const SHARED: &[&str] = &["a", "an", "do", "in", "me", "was", "will", "can"];

/// Vietnamese letters that other languages in Latin script hardly have, beside those with a hook, a
/// dot below, a horn, or two marks.
const VIETNAMESE_LETTERS: &[char] = &['ơ', 'ư', 'đ', 'ì', 'ĩ', 'ũ'];

/// A language that answers are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// With or without its marks.
    Vietnamese,
    English,
    /// Another language, or one that cannot be told from so few words.
    Other,
}

impl Language {
    /// Tells the language from the question's letters, then from its frequent words.
    pub fn of(question: &str) -> Self {
        let text: String = question.nfc().flat_map(char::to_lowercase).collect();
        if text.chars().any(is_vietnamese_letter) {
            return Self::Vietnamese;
        }
        if text.chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
            return Self::Other;
        }
        let words: Vec<&str> = words(&text).into_iter().map(|(_, word)| word).collect();
        let count = |list: &[&str]| words.iter().filter(|word| list.contains(word)).count();
        let certain =
            words.windows(2).any(|pair| VIETNAMESE_PAIRS.iter().any(|known| known == pair));
        let english = 2 * count(ENGLISH) - count(SHARED);
        let vietnamese = 2 * count(VIETNAMESE) + 4 * usize::from(certain);
        match english.cmp(&vietnamese) {
            std::cmp::Ordering::Less => Self::Vietnamese,
            std::cmp::Ordering::Greater if english > 1 => Self::English,
            _ => Self::Other,
        }
    }

    /// ISO 639-1 code; `None` for [`Language::Other`].
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Vietnamese => Some("vi"),
            Self::English => Some("en"),
            Self::Other => None,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vietnamese => "Vietnamese",
            Self::English => "English",
            Self::Other => "the language of the question",
        })
    }
}

/// Whether a letter tells Vietnamese from other languages in Latin script.
fn is_vietnamese_letter(c: char) -> bool {
    if VIETNAMESE_LETTERS.contains(&c) {
        return true;
    }
    let mut parts = std::iter::once(c).nfd();
    if !parts.next().is_some_and(|letter| letter.is_ascii_alphabetic()) {
        return false;
    }
    let marks: Vec<char> = parts.collect();
    marks.iter().any(|mark| matches!(mark, '\u{309}' | '\u{323}' | '\u{31b}')) || marks.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vietnamese_with_and_without_marks() {
        for question in [
            "NLP là gì?",
            "nlp la gi",
            "Học máy khác học sâu như thế nào?",
            "hoc may khac hoc sau nhu the nao",
            "tai sao can tach tu tieng viet",
            "PhoBERT được huấn luyện trên dữ liệu nào?",
            "BLEU do dieu gi trong dich may?",
            "Ai đề xuất TF-IDF?",
        ] {
            assert_eq!(Language::of(question), Language::Vietnamese, "{question}");
        }
        let decomposed: String = "Tiếng Việt".nfd().collect();
        assert_eq!(Language::of(&decomposed), Language::Vietnamese);
    }

    #[test]
    fn english() {
        for question in [
            "What is NLP?",
            "How does attention work?",
            "who proposed TF-IDF?",
            "Explain retrieval-augmented generation",
            "What is the difference between BLEU and ROUGE?",
            "Which tokenizer does BERT use?",
        ] {
            assert_eq!(Language::of(question), Language::English, "{question}");
        }
    }

    #[test]
    fn other_languages_are_not_taken_for_english() {
        for question in [
            "Was ist ein Reranker?",
            "¿Qué es el NLP?",
            "NLPとは何ですか",
            "自然语言处理",
            "Что такое NLP?",
            "Qu'est-ce que le NLP ?",
            "",
            "NLP?",
            "Wo ist der Bahnhof?",
            "자연어 처리란 무엇인가",
            "ΐ",
            "Ce este învățarea automată?",
        ] {
            assert_eq!(Language::of(question), Language::Other, "{question}");
        }
    }
}
