//! A question in the form that every stage gets.

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// The longest question, in bytes: a page of text is a question, a book is not.
const MAX_BYTES: usize = 16 << 10;

/// A question that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// Nothing but white space.
    #[error("the question is empty")]
    Empty,
    /// A line of JSON Lines that is not as it should be.
    #[error(
        "the line is no JSON object with a text as its `question`: write {{\"id\": …, \"question\": \"…\"}}"
    )]
    NotJson,
    /// Too long, with its length in bytes.
    #[error("the question has {0} bytes; at most {MAX_BYTES} are read")]
    TooLong(usize),
}

/// The question trimmed, composed (NFC), and on one line. A normalized question stays as it is.
pub fn normalize(text: &str) -> Result<String, QuestionError> {
    let text = text.trim();
    check_length(text)?;
    let composed: String = text.nfc().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let question = composed.split_whitespace().collect::<Vec<_>>().join(" ");
    // A few characters become longer when they are composed.
    check_length(&question)?;
    if question.is_empty() { Err(QuestionError::Empty) } else { Ok(question) }
}

fn check_length(text: &str) -> Result<(), QuestionError> {
    if text.len() > MAX_BYTES { Err(QuestionError::TooLong(text.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_composed_trimmed_and_bounded() {
        let decomposed: String = "  NLP\tlà \u{1b}[31mgì?\n".nfd().collect();
        assert_eq!(normalize(&decomposed).unwrap(), "NLP là [31mgì?");
        assert_eq!(normalize(" \n\t "), Err(QuestionError::Empty));
        assert_eq!(normalize(&"x".repeat(1 << 20)), Err(QuestionError::TooLong(1 << 20)));
    }

    #[test]
    fn a_normalized_question_stays_as_it_is() {
        let question = normalize("  What\u{a0} is \u{1b} A\u{308}?\u{2028}").unwrap();
        assert_eq!(normalize(&question), Ok(question));
        // Composition excludes DEVANAGARI LETTER QA, of three bytes: it becomes two letters of six.
        let grows = "\u{958}".repeat(MAX_BYTES / 3);
        assert!(matches!(normalize(&grows), Err(QuestionError::TooLong(_))));
    }
}
