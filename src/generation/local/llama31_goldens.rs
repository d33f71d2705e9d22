//! Compares Llama 3.1's real tokenizer and chat template with Meta's reference code.
//!
//! `models/prepare-test-tokenizer` downloads them; the test command runs it.
//! `tests/goldens/llama31_tokenizer.py` generated the expected values.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::checkpoint::gguf::Gguf;
use super::tokenizer::chat::ChatTemplate;
use super::tokenizer::{LlmTokenizer, Piece};

#[derive(Deserialize)]
struct Golden {
    vocabulary: usize,
    /// Token count and digest of each line's ids.
    lines: Vec<(usize, String)>,
    texts: Vec<Text>,
    chats: Vec<Chat>,
}

/// What a tokenizer makes of a text.
#[derive(Deserialize)]
pub struct Text {
    pub text: String,
    pub ids: Vec<u32>,
}

/// What a tokenizer and a chat template make of two messages.
#[derive(Deserialize)]
pub struct Chat {
    pub system: String,
    pub user: String,
    pub ids: Vec<u32>,
}

/// `<|begin_of_text|>` and the other special tokens have ids from here on.
const FIRST_SPECIAL: u32 = 128_000;

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    fs::read_to_string(folder.join(name)).unwrap()
}

static GOLDEN: LazyLock<Golden> =
    LazyLock::new(|| serde_json::from_str(&golden("llama31_tokenizer.json")).unwrap());

fn prepared(file: &str) -> PathBuf {
    let models = std::env::var_os("RAG_QUERY_MODELS").map_or_else(
        || dirs::data_dir().expect("a data folder").join("rag-query/models"),
        PathBuf::from,
    );
    let path = models.join(file);
    assert!(path.is_file(), "{} is missing: run models/prepare-test-tokenizer", path.display());
    path
}

/// As stored in a GGUF file and in a Hugging Face folder.
static TOKENIZERS: LazyLock<[(&str, LlmTokenizer); 2]> = LazyLock::new(|| {
    let gguf = Gguf::open(&prepared("llama-3.1-tokenizer/vocab.gguf")).unwrap();
    let json = prepared("llama-3.1-tokenizer/tokenizer.json");
    [
        ("GGUF", LlmTokenizer::from_gguf(&gguf).unwrap()),
        ("tokenizer.json", LlmTokenizer::from_json(&json).unwrap()),
    ]
});

pub fn encode(tokenizer: &LlmTokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(&[Piece::Text(text.to_owned())]).unwrap()
}

/// A hundred lines each in Vietnamese, English, Arabic, German, Russian, Thai, Chinese, Hindi,
/// Japanese and Korean.
#[test]
fn a_thousand_lines_in_ten_languages_equal_the_reference() {
    let lines = golden("llama31_lines.txt");
    assert_eq!(lines.lines().count(), 1000);
    for (name, tokenizer) in &*TOKENIZERS {
        for (line, (count, digest)) in lines.split_terminator('\n').zip(&GOLDEN.lines) {
            let ids = encode(tokenizer, line);
            let joined = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            let mut found = String::new();
            for byte in &Sha256::digest(joined)[..8] {
                write!(found, "{byte:02x}").unwrap();
            }
            assert!(ids.len() == *count && found == *digest, "{name}, {line:?}: {ids:?}");
        }
    }
}

/// Guards the test above: it must fail if text is pre-tokenized differently.
#[test]
fn another_pre_tokenizer_gives_other_ids() {
    let mut gguf = Gguf::open(&prepared("llama-3.1-tokenizer/vocab.gguf")).unwrap();
    gguf.set("tokenizer.ggml.pre", Value::String("gpt-2".to_owned()));
    let tokenizer = LlmTokenizer::from_gguf(&gguf).unwrap();
    let lines = golden("llama31_lines.txt");
    let (_, right) = &TOKENIZERS[0];
    let different = lines.lines().filter(|line| encode(&tokenizer, line) != encode(right, line));
    assert!(different.count() > 100);
}

/// Spelled-out special tokens, other scripts, control characters, very long words and runs of
/// spaces.
#[test]
fn hostile_texts_equal_the_reference_and_hold_no_special_token() {
    for (name, tokenizer) in &*TOKENIZERS {
        assert_eq!(tokenizer.vocabulary(), GOLDEN.vocabulary);
        for Text { text, ids } in &GOLDEN.texts {
            let found = encode(tokenizer, text);
            assert_eq!(&found, ids, "{name}, {text:?}");
            assert!(found.iter().all(|&id| id < FIRST_SPECIAL), "{name}, {text:?}");
        }
    }
}

/// No text that combines a special token with its surroundings is encoded as a special token.
#[test]
fn no_special_token_can_be_written() {
    for (name, tokenizer) in &*TOKENIZERS {
        for id in FIRST_SPECIAL..GOLDEN.vocabulary as u32 {
            let token = tokenizer.token(id).unwrap();
            assert_eq!(tokenizer.special(&token), Some(id), "{name}, {token}");
            for text in [token.clone(), format!("x{token}\n\n{token} {token}")] {
                let ids = encode(tokenizer, &text);
                assert!(ids.iter().all(|&id| id < FIRST_SPECIAL), "{name}, {text}: {ids:?}");
            }
        }
    }
}

#[test]
fn decoding_gives_the_text_back() {
    let lines = golden("llama31_lines.txt");
    let texts = GOLDEN.texts.iter().map(|text| text.text.as_str());
    for (name, tokenizer) in &*TOKENIZERS {
        for text in lines.lines().step_by(7).chain(texts.clone()) {
            let mut stream = tokenizer.stream();
            let ids = encode(tokenizer, text);
            let mut decoded: String = ids.into_iter().map(|id| stream.push(id).unwrap()).collect();
            decoded.push_str(&stream.finish().unwrap());
            assert_eq!(decoded, text, "{name}");
        }
    }
}

/// Renders and encodes the official template, and compares with `chat_format.py` on the same
/// messages.
#[test]
fn the_chat_prompt_equals_the_reference_token_by_token() {
    let source = fs::read_to_string(prepared("llama-3.1-chat-template/llama3_1.jinja")).unwrap();
    assert!(GOLDEN.chats.len() >= 5);
    for (name, tokenizer) in &*TOKENIZERS {
        let template =
            ChatTemplate::new(tokenizer, &source, "<|begin_of_text|>", "<|eot_id|>").unwrap();
        for Chat { system, user, ids } in &GOLDEN.chats {
            let pieces = template.prompt(system, user);
            assert_eq!(&tokenizer.encode(&pieces).unwrap(), ids, "{name}, {user:?}");
        }
    }
}
