//! Sentences that only say that the documents do not answer: they need no support.

use crate::text::analyze::words;

/// What may hold an answer.
const SOURCES: &str = "passage passages document documents text context information source \
    sources answer liệu đoạn văn thông nguồn ngữ";
/// Words that deny.
const NEGATIONS: &str = "not no cannot none unable neither insufficient không chưa chẳng";
/// What sources do with an answer, and what is done with one.
const SAYS: &str = "contain contains mention mentions mentioned provide provides provided say says \
    state states specify include find found answer enough given available about chứa nêu cập cấp \
    tìm nói trả đủ nhắc có";
/// What comes after these is a statement again.
const GOES_ON: &str = "but however nhưng tuy";
/// The longest of these sentences, in words.
const MAX_WORDS: usize = 40;

/// Whether a sentence only says that the documents do not answer.
pub fn is_refusal(statement: &str) -> bool {
    let words: Vec<String> =
        words(statement).into_iter().map(|(_, word)| word.to_lowercase()).collect();
    let has = |list: &str| words.iter().any(|word| list.split(' ').any(|listed| listed == word));
    let contracted = words.iter().any(|word| word.ends_with("n't") || word.ends_with("n’t"));
    words.len() <= MAX_WORDS
        && has(SOURCES)
        && (contracted || has(NEGATIONS))
        && has(SAYS)
        && !has(GOES_ON)
}
