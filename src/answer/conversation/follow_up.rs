//! Detects questions that depend on earlier turns.
//!
//! The rules are deliberately conservative: rewriting a standalone question is worse than missing a
//! follow-up, which is merely searched for as typed. So only short questions qualify, and a pronoun
//! counts only if nothing before it could be its antecedent. Of the 2,380 Vietnamese and English
//! questions in XQuAD, 9 are flagged; each asks about a "he" or "this …" that its paragraph names
//! (docs/prompt.md; counted by `benches/rewriting.rs`).

use std::collections::BTreeSet;

use crate::text::analyze::{is_unmarked, words};
use crate::text::language::Language;

/// Openings that continue an earlier turn.
const GOES_ON: &[&str] = &[
    "and",
    "but",
    "or",
    "then",
    "also",
    "what about",
    "how about",
    "what else",
    "anything else",
    "why not",
    "why is that",
    "how so",
    "in that case",
    "tell me more",
    "more about",
    "còn",
    "thế còn",
    "vậy còn",
    "the con",
    "vay con",
    "vậy",
    "vậy thì",
    "thế thì",
    "rồi",
    "nhưng",
    "và",
    "hay",
    "ngoài ra",
    "nếu vậy",
    "nếu thế",
];
/// After a leading `còn`, these ask about what remains rather than continue a turn.
const LEFT: &[&str] = &["bao", "lại", "mấy", "ai", "gì", "sống", "tồn", "nguyên", "trinh"];
/// Vietnamese anaphora.
const STANDS_FOR: &[&str] = &[
    "nó",
    "chúng",
    "cái đó",
    "cái này",
    "cái nào",
    "điều đó",
    "điều này",
    "việc đó",
    "việc này",
    "cách đó",
    "cách này",
    "ở đó",
    "ông ấy",
    "bà ấy",
    "anh ấy",
    "cô ấy",
    "người đó",
    "hai cái",
    "loại đó",
    "loại này",
    "phương pháp này",
    "phương pháp đó",
];
/// English anaphora.
const PRONOUNS: &[&str] = &[
    "it", "its", "they", "them", "their", "theirs", "he", "him", "his", "she", "her", "hers",
    "this", "that", "these", "those",
];
/// After these, `it` is expletive: "how long does it take".
const EXPLETIVE: &[&str] = &[
    "take",
    "takes",
    "took",
    "mean",
    "means",
    "possible",
    "necessary",
    "important",
    "essential",
    "clear",
    "true",
    "better",
    "good",
    "bad",
    "hard",
    "easy",
    "safe",
    "legal",
    "worth",
    "like",
    "cost",
    "called",
    "that",
    "to",
    "from",
    "rain",
    "rains",
];
/// Words that cannot be a pronoun's antecedent.
const FUNCTION_WORDS: &[&str] = &[
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "is", "are", "was",
    "were", "does", "do", "did", "can", "could", "should", "would", "will", "has", "have", "had",
    "be", "been", "the", "a", "an", "of", "in", "on", "at", "to", "for", "with", "by", "from",
    "about", "and", "or", "but", "not", "then", "so", "also", "much", "many", "long", "far",
    "often", "some", "any", "all", "other", "else", "there", "use", "main", "one", "ones", "ai",
    "gì", "nào", "sao", "thế", "vì", "tại", "làm", "khi", "đâu", "ở", "bao", "nhiêu", "mấy", "có",
    "là", "không", "được", "của", "và", "về", "trong", "từ", "cho", "với", "thì", "mà", "những",
    "các", "đã", "sẽ", "đang", "như", "đến", "bởi", "còn", "hãy", "để", "bị", "ra", "cái", "việc",
    "vậy", "tên", "ví", "dụ", "nữa", "thêm", "giải", "thích",
];

/// Maximum length of a follow-up, in words (syllables in Vietnamese).
const MAX_WORDS: usize = 10;
/// Maximum length, in words, at which a question without any content word is a follow-up.
const MAX_WORDS_WITHOUT_CONTENT: usize = 4;
/// Maximum words before a pronoun that ends the question or follows "… của".
const MAX_WORDS_BEFORE_PRONOUN: usize = 5;

/// Whether `question` depends on earlier turns.
pub fn is_follow_up(question: &str) -> bool {
    let written: Vec<&str> = words(question).into_iter().map(|(_, word)| word).collect();
    let words: Vec<String> = written.iter().map(|word| word.to_lowercase()).collect();
    if words.is_empty() || words.len() > MAX_WORDS {
        return false;
    }
    let without_content = words.iter().all(|word| is_function_word(word));
    if goes_on(&words) || (without_content && words.len() <= MAX_WORDS_WITHOUT_CONTENT) {
        return true;
    }
    // English pronouns count only in English: "he dieu hanh" is unmarked "hệ điều hành".
    match Language::of(question) {
        Language::English => stands_for_in_english(&written, &words),
        _ => stands_for_in_vietnamese(&written, &words),
    }
}

/// The content words of a text, lower-cased.
pub fn content(text: &str) -> BTreeSet<String> {
    let words = words(text).into_iter().map(|(_, word)| word.to_lowercase());
    let empty = |word: &str| {
        is_function_word(word) || PRONOUNS.contains(&word) || STANDS_FOR.contains(&word)
    };
    words.filter(|word| !empty(word)).collect()
}

fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.contains(&word)
}

fn goes_on(words: &[String]) -> bool {
    // Longest match first: "vậy còn" before "vậy".
    let beginnings = GOES_ON.iter().filter(|beginning| begins(words, beginning));
    let Some(beginning) = beginnings.max_by_key(|beginning| beginning.len()) else { return false };
    match (*beginning, words.get(1)) {
        ("còn", Some(next)) => !LEFT.contains(&next.as_str()),
        // On its own, "hay" means "interesting".
        ("or" | "hay", None) => false,
        _ => true,
    }
}

fn begins(words: &[String], beginning: &str) -> bool {
    let mut words = words.iter();
    beginning.split(' ').all(|part| words.next().is_some_and(|word| word == part))
}

fn stands_for_in_english(written: &[&str], words: &[String]) -> bool {
    let is_pronoun = |word: &String| PRONOUNS.contains(&word.as_str());
    let Some(at) = words.iter().position(is_pronoun) else { return false };
    let next = words.get(at + 1).map_or("", String::as_str);
    if words[at] == "it" && EXPLETIVE.contains(&next) || words[at] == "that" && !next.is_empty() {
        return false;
    }
    // "What are its drawbacks?"
    let nothing_before = words[..at].iter().all(|word| is_function_word(word));
    // "Who invented it?"
    let at_the_end = next.is_empty()
        && at <= MAX_WORDS_BEFORE_PRONOUN
        && !written[1..at.max(1)].iter().any(is_name);
    nothing_before || at_the_end
}

fn stands_for_in_vietnamese(written: &[&str], words: &[String]) -> bool {
    let marked = |word: &String| !is_unmarked(word);
    STANDS_FOR.iter().any(|pronoun| {
        let Some(at) = (0..words.len()).find(|&at| begins(&words[at..], pronoun)) else {
            return false;
        };
        let next = words.get(at + 1).map_or("", String::as_str);
        // "chúng ta" is "we".
        if *pronoun == "chúng" && matches!(next, "ta" | "tôi" | "mình") || !words.iter().any(marked)
        {
            return false;
        }
        let nothing_before = words[..at].iter().all(|word| is_function_word(word));
        // "Nhược điểm của nó là gì?", and not "BERT khác gì GPT và nó …".
        let named = written[..at]
            .iter()
            .enumerate()
            .any(|(i, word)| is_acronym(word) || (i > 0 && is_name(word)) || *word == "và");
        let near = matches!(*pronoun, "nó" | "chúng") && at < MAX_WORDS_BEFORE_PRONOUN && !named;
        nothing_before || near
    })
}

/// Whether a word inside a question looks like a proper name.
fn is_name(word: &&str) -> bool {
    *word != "I" && word.starts_with(|c: char| c.is_uppercase() || c.is_numeric())
}

fn is_acronym(word: &str) -> bool {
    word.chars().count() > 1 && word.chars().all(|c| c.is_uppercase() || c.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_with_something_is_a_follow_up() {
        for question in [
            "còn nhược điểm?",
            "Còn nhược điểm thì sao?",
            "Thế còn BERT?",
            "vay con gpt?",
            "Vậy chi phí bao nhiêu?",
            "Nó là gì?",
            "Nó được dùng ở đâu?",
            "Nhược điểm của nó là gì?",
            "Ai tạo ra nó?",
            "Ông ấy sinh năm nào?",
            "Tại sao?",
            "Vì sao vậy?",
            "Ví dụ?",
            "Phương pháp này có nhược điểm gì?",
            "Cách đó tốn bao nhiêu bộ nhớ?",
            "and its drawbacks?",
            "And what does it cost?",
            "What are its drawbacks?",
            "What about BERT?",
            "Why?",
            "Why not?",
            "Who invented it?",
            "How does it work?",
            "Where are they used?",
            "When did he publish this?",
            "tell me more",
            "But is that expensive?",
        ] {
            assert!(is_follow_up(question), "{question}");
        }
    }

    #[test]
    fn what_stands_by_itself_is_none() {
        for question in [
            "NLP là gì?",
            "nlp la gi",
            "So sánh BERT và GPT",
            "Còn bao nhiêu loài hổ trên thế giới?",
            "Thế Canh tân diễn ra trong kỷ nào?",
            "Con sông nào chạy dọc theo Jacksonville?",
            "con meo la gi",
            "he dieu hanh la gi",
            "he mat troi co may hanh tinh",
            "Chúng ta nghỉ ngày nào?",
            "Transformer và ứng dụng của nó?",
            "BERT khác GPT ở chỗ nó đọc hai chiều phải không?",
            "Họ Nguyễn có bao nhiêu người?",
            "Hệ thống này được gọi là gì trong tài liệu về an toàn lao động của công ty?",
            "What is NLP?",
            "What is it called when a model invents facts?",
            "How long does it take to train BERT?",
            "Is it possible to fine-tune BERT on one GPU?",
            "How far is it from Hanoi to Hue?",
            "What is the theorem that Gauss proved?",
            "How do birds know their way?",
            "Why did Tesla say he was broke?",
            "Which tokenizer does BERT use and how large is its vocabulary?",
            "Was ist ein Reranker?",
            "Andorra?",
            "NLP",
            "",
            "?",
        ] {
            assert!(!is_follow_up(question), "{question}");
        }
    }

    /// The labelled questions about the sample notes are all standalone.
    #[test]
    fn no_question_about_the_notes_is_taken_for_a_follow_up() {
        let questions = include_str!("../../../tests/questions-notes.jsonl");
        for line in questions.lines().filter(|line| !line.is_empty()) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let question = line["question"].as_str().unwrap();
            assert!(!is_follow_up(question), "{question}");
        }
    }
}
