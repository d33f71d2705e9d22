//! How long a prompt is for a model whose tokenizer is not here.
//!
//! Every letter counts by its script, with weights that were fitted to the tokenizers of Llama 3.1,
//! GPT-4o, Qwen 3, Gemma 3 and DeepSeek V3 on seven languages: rather too many tokens than too few
//! (docs/remote.md).

use crate::prompt::Messages;

/// Tokens of a chat format around two messages. Llama 3's takes some 40, with its dates.
const CHAT_FORMAT: usize = 64;

/// How many tokens messages have, rather too many than too few.
pub fn estimate(messages: &Messages) -> usize {
    CHAT_FORMAT + tokens(&messages.system) + tokens(&messages.user)
}

fn tokens(text: &str) -> usize {
    text.chars().map(hundredths).sum::<usize>().div_ceil(100)
}

/// What a letter adds, in hundredths of a token.
fn hundredths(c: char) -> usize {
    match c {
        _ if c.is_ascii_alphabetic() => 30,
        _ if c.is_ascii_whitespace() => 15,
        // Some tokenizers take digits one by one.
        _ if c.is_ascii_digit() => 100,
        _ if c.is_ascii() => 125,
        // Latin letters with marks, which break words up.
        'À'..='ɏ' | '\u{300}'..='\u{36f}' | 'Ḁ'..='ỿ' => 100,
        // Greek, Cyrillic, Hebrew, Arabic.
        'Ͱ'..='\u{7ff}' => 55,
        // Punctuation and symbols that ASCII lacks, and what lies beyond the first plane.
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
    use std::path::Path;

    use serde_json::Value;
    use tokenizers::Tokenizer;

    use super::*;

    /// By hand.
    #[test]
    fn estimates_are_by_kinds_of_letters() {
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

    /// The paragraphs of a set of documents, or the sections of the sample notes.
    fn texts(set: &str) -> Vec<String> {
        if set == "notes" {
            let files = std::fs::read_dir("index/notes").unwrap();
            let notes = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
            return notes
                .flat_map(|note| note.split("\n#").map(str::to_owned).collect::<Vec<_>>())
                .filter(|section| section.len() > 80)
                .collect();
        }
        let corpus = std::fs::read_to_string(format!("../shared/eval/{set}/corpus.jsonl")).unwrap();
        let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].clone();
        corpus.lines().map(|line| text(line).as_str().unwrap().to_owned()).collect()
    }

    /// `benches/token-estimate` brings the tokenizers. Prints real tokens as a share of the
    /// estimate: of all texts together, and of the text where it is highest.
    #[test]
    #[ignore = "reads tokenizers from RAG_QUERY_TOKENIZERS and the evaluation data in ../shared"]
    fn real_tokenizers_have_fewer_tokens_than_estimated() {
        let folder = std::env::var("RAG_QUERY_TOKENIZERS").unwrap();
        for name in ["llama3_1", "gpt4o", "qwen3", "gemma3", "deepseek_v3", "llama2"] {
            let file = Path::new(&folder).join(name).join("tokenizer.json");
            let tokenizer = Tokenizer::from_file(file).unwrap();
            for set in ["notes", "vi", "en", "de", "ru", "ar", "th", "zh"] {
                let texts =
                    texts(&if set == "notes" { set.into() } else { format!("xquad-{set}") });
                let (mut real, mut estimated, mut highest) = (0, 0, 0.0_f64);
                for text in texts {
                    let count = tokenizer.encode(text.as_str(), false).unwrap().len();
                    highest = highest.max(count as f64 / tokens(&text) as f64);
                    real += count;
                    estimated += tokens(&text);
                }
                eprintln!("{name:12} {set:5} {:.2} {highest:.2}", real as f64 / estimated as f64);
                assert!(name == "llama2" || highest < 1.06, "{name} {set}");
            }
        }
    }
}
