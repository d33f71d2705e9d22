//! Sentences that only say that the documents do not answer; these need no support.

use crate::text::analyze::words;

/// Nouns for the sources of an answer.
const SOURCES: &str = "passage passages document documents text context information source \
    sources answer liệu đoạn văn thông nguồn ngữ";
/// Negations.
const NEGATIONS: &str = "not no cannot none unable neither insufficient không chưa chẳng";
/// Verbs for what sources do or do not do with an answer.
const SAYS: &str = "contain contains mention mentions mentioned provide provides provided say says \
    state states specify include find found answer enough given available about chứa nêu cập cấp \
    tìm nói trả đủ nhắc có";
/// Conjunctions after which a new claim begins.
const GOES_ON: &str = "but however nhưng tuy";
/// Maximum length of a refusal, in words.
const MAX_WORDS: usize = 40;

/// Whether `statement` only says that the documents do not answer.
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
