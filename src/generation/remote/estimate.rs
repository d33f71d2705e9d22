//! Estimates a prompt's token count for a model whose tokenizer is on a server.
//!
//! Each character counts by script, with weights fitted to the tokenizers of Llama 3.1, GPT-4o,
//! Qwen 3, Gemma 3 and DeepSeek V3 on seven languages. The estimate errs on the high side
//! (docs/remote.md); `benches/token-estimate` measures it.

use crate::prompt::Messages;

/// Tokens a chat format adds around two messages. Llama 3's adds about 40, including its dates.
const CHAT_FORMAT: usize = 64;

/// Estimates the tokens of `messages`, erring on the high side.
pub fn estimate(messages: &Messages) -> usize {
    CHAT_FORMAT + tokens(&messages.system) + tokens(&messages.user)
}

/// Whether a server that counts `reported` tokens has read only a part of `messages`.
pub fn is_cut(messages: &Messages, reported: usize) -> bool {
    let fewest =
        [&messages.system, &messages.user].map(|text| text.chars().map(least).sum::<usize>());
    let fewest = fewest.iter().sum::<usize>() / 100;
    // Ollama cuts a prompt to exactly its context.
    let is_whole_context = reported >= 1024 && reported.is_multiple_of(256);
    reported > 0 && (reported < fewest || is_whole_context && reported < estimate(messages) / 2)
}

/// What a character takes at the least, in hundredths of a token, as part of a longer text: no
/// tokenizer that we know writes text of any language with so few.
fn least(c: char) -> usize {
    match c {
        _ if c.is_ascii_alphabetic() => 15,
        _ if c.is_ascii_digit() => 30,
        // Runs of the same sign are one token.
        _ if c.is_ascii() || c.is_whitespace() => 0,
        _ => 20,
    }
}

fn tokens(text: &str) -> usize {
    text.chars().map(hundredths).sum::<usize>().div_ceil(100)
}

/// Cost of a character, in hundredths of a token.
fn hundredths(c: char) -> usize {
    match c {
        _ if c.is_ascii_alphabetic() => 30,
        _ if c.is_ascii_whitespace() => 15,
        // Some tokenizers use one token per digit.
        _ if c.is_ascii_digit() => 100,
        _ if c.is_ascii() => 125,
        // Latin letters with diacritics, which split words into more tokens.
        'À'..='ɏ' | '\u{300}'..='\u{36f}' | 'Ḁ'..='ỿ' => 100,
        // Greek, Cyrillic, Hebrew, Arabic.
        'Ͱ'..='\u{7ff}' => 55,
        // Non-ASCII punctuation and symbols, and everything outside the Basic Multilingual Plane.
        '\u{80}'..='\u{bf}'
        | '\u{2000}'..='\u{2bff}'
        | '\u{3000}'..='\u{303f}'
        | '\u{ff00}'..='\u{ffef}'
        | '\u{10000}'.. => 450,
        _ => 75,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_was_cut_is_told_from_an_estimate_that_is_high() {
        let text = "The flag of Norland is red, and its star is white. ".repeat(100);
        let messages = Messages { system: String::new(), user: text };
        // Llama 3.1 has 13 tokens for the sentence.
        assert!(!is_cut(&messages, 1300));
        assert!(is_cut(&messages, 512));
        assert!(!is_cut(&messages, 0), "not reported");
        let table = Messages { system: String::new(), user: "| ---------- |\n12.50 ".repeat(300) };
        assert!(!is_cut(&table, 1500));
    }

    /// Computed by hand.
    #[test]
    fn letters_count_by_their_scripts() {
        assert_eq!(tokens(""), 0);
        // 8 letters, 2 spaces, 2 digits: 2.4 + 0.3 + 2.
        assert_eq!(tokens("word word 12"), 5);
        // 3 signs, a digit, a space, a letter: 3.75 + 1 + 0.15 + 0.3.
        assert_eq!(tokens("[1]: x"), 6);
        assert_eq!(tokens("Tiếng Việt"), 5);
        assert_eq!(tokens("мир"), 2);
        assert_eq!(tokens("世界"), 2);
        assert_eq!(tokens("→"), 5);
        let messages = Messages { system: "abc".to_owned(), user: "12".to_owned() };
        assert_eq!(estimate(&messages), CHAT_FORMAT + 1 + 2);
    }
}
