//! Compares the real vocabularies of LLMs with their references.
//!
//! `tests/goldens/llm_tokenizers.py` fetches them, and writes what is expected.

use std::fs;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;

use super::checkpoint::gguf::Gguf;
use super::goldens::goldens;
use super::llama31_goldens::{Chat, Text, encode};
use super::tokenizer::LlmTokenizer;
use super::tokenizer::chat::ChatTemplate;

const NAMES: [&str; 8] =
    ["qwen3", "gpt4o", "gemma3", "llama2", "mistral-v1", "mistral-v3", "mistral-v7", "tekken"];

#[derive(Deserialize)]
struct Expected {
    bos: String,
    lines: Vec<Vec<u32>>,
    texts: Vec<Text>,
    chats: Vec<Chat>,
}

#[test]
#[ignore = "reads the vocabularies that tests/goldens/llm_tokenizers.py fetches"]
fn real_vocabularies_equal_their_references() {
    let folder = PathBuf::from(std::env::var_os("RAG_QUERY_TOKENIZERS").expect("a folder"));
    let lines = fs::read_to_string(goldens().join("llama31_lines.txt")).unwrap();
    for name in NAMES {
        let gguf = Gguf::open(&folder.join(format!("{name}.gguf"))).unwrap();
        let start = std::time::Instant::now();
        let tokenizer = LlmTokenizer::from_gguf(&gguf).unwrap();
        let loaded = start.elapsed();
        let expected = fs::read(folder.join(format!("{name}.json"))).unwrap();
        let expected: Expected = serde_json::from_slice(&expected).unwrap();
        let encode = |text: &str| encode(&tokenizer, text);
        let start = std::time::Instant::now();
        assert_eq!(lines.lines().count(), expected.lines.len());
        for (line, ids) in lines.lines().zip(&expected.lines) {
            assert_eq!(&encode(line), ids, "{name}: {line:?}");
        }
        println!("{name}: loaded in {loaded:.2?}, 1,000 lines in {:.2?}", start.elapsed());
        for Text { text, ids } in &expected.texts {
            assert_eq!(&encode(text), ids, "{name}: {text:?}");
        }
        for Chat { system, user, ids } in &expected.chats {
            let Some(Value::String(source)) = gguf.metadata().get("tokenizer.chat_template") else {
                panic!("{name} has no chat template");
            };
            let template = ChatTemplate::new(&tokenizer, source, &expected.bos, "</s>").unwrap();
            assert_eq!(&tokenizer.encode(&template.prompt(system, user)).unwrap(), ids, "{name}");
        }
    }
}
