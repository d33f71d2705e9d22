//! Compares models of other architectures with transformers, on tiny random ones.
//!
//! `tests/goldens/architectures.py` generated the files and expected values.

use std::fmt::Write;
use std::fs;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::goldens::{Logits, TOLERANCE, goldens, greedy, largest, largest_difference};
use super::model::probe;
use super::tokenizer::Piece;
use crate::generation::local::*;

#[derive(Deserialize)]
struct Goldens {
    models: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    system: String,
    user: String,
    /// Tokens that end an answer.
    ends: Vec<String>,
    prompt_ids: Vec<u32>,
    texts: Vec<Text>,
    /// Of the ids of the 1,000 lines.
    lines: String,
    logits: Vec<Logits>,
    greedy: Vec<u32>,
    /// In a context that needs no scaling.
    short: Option<Logits>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

fn models() -> Vec<Golden> {
    let json = fs::read(goldens().join("architectures.json")).unwrap();
    serde_json::from_slice::<Goldens>(&json).unwrap().models
}

fn load(name: &str) -> Llm {
    let path = goldens().join(format!("tiny-architectures/{name}.gguf"));
    Llm::load(&LlmFiles::Gguf(path), DeviceChoice::Cpu, 1024).unwrap()
}

#[test]
fn logits_equal_transformers_for_any_chunks_also_as_a_gpu_computes_them() {
    for Golden { name, prompt_ids, logits, .. } in models() {
        let check = |how: &str| {
            let mut llm = load(&name);
            for chunk in [1, 7, 512] {
                let difference = largest_difference(llm.model(), &logits, &prompt_ids, chunk);
                println!("{name}, {how}, chunks of {chunk}: off by {difference}");
                assert!(difference < TOLERANCE, "{name}, {how}, chunks of {chunk}: {difference}");
            }
        };
        check("on the CPU");
        probe::as_on_a_gpu(|| check("as on a GPU"));
    }
}

#[test]
fn the_chat_prompt_and_64_greedy_tokens_equal_the_reference() {
    for Golden { name, system, user, ends, prompt_ids, greedy: expected, .. } in models() {
        let llm = load(&name);
        assert_eq!(llm.encode_chat(&system, &user).unwrap(), prompt_ids, "{name}");
        assert_eq!(expected.len(), 64);
        assert_eq!(greedy(&llm, &prompt_ids), expected, "{name}");
        for end in ends {
            let id = llm.tokenizer.special(&end).unwrap();
            assert!(llm.end_of_text.contains(&id), "{name}: {end}");
        }
    }
}

/// Phi has other divisors of its frequencies where the context is no longer than its original one.
#[test]
fn a_short_context_has_frequencies_of_its_own() {
    let mut checked = 0;
    for Golden { name, prompt_ids, short, .. } in models() {
        let Some(short) = short else { continue };
        let path = goldens().join(format!("tiny-architectures/{name}.gguf"));
        let context = short.position + 1;
        let mut llm = Llm::load(&LlmFiles::Gguf(path), DeviceChoice::Cpu, context).unwrap();
        let mut cache = llm.model().cache(context).unwrap();
        let logits = llm.model().forward(&prompt_ids[..context], &mut cache).unwrap();
        let difference = largest(&logits.to_vec1().unwrap(), &short.logits);
        assert!(difference < TOLERANCE, "{name}: {difference}");
        checked += 1;
    }
    assert_eq!(checked, 1);
}

/// Spelled-out special tokens, spaces, and letters of any script, and back.
#[test]
fn hostile_texts_and_a_thousand_lines_equal_the_reference() {
    let lines = fs::read_to_string(goldens().join("llama31_lines.txt")).unwrap();
    for Golden { name, texts, lines: expected, .. } in models() {
        let llm = load(&name);
        let encode = |text: &str| llm.tokenizer.encode(&[Piece::Text(text.to_owned())]).unwrap();
        for Text { text, ids } in texts {
            assert_eq!(encode(&text), ids, "{name}: {text:?}");
            let mut stream = llm.tokenizer.stream();
            let mut decoded: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
            decoded.push_str(&stream.finish().unwrap());
            assert_eq!(decoded, written(&name, &text), "{name}");
        }
        let mut digest = Sha256::new();
        for line in lines.lines() {
            let ids: Vec<String> = encode(line).iter().map(u32::to_string).collect();
            digest.update(ids.join(",") + "\n");
        }
        assert_eq!(hexadecimal(&digest.finalize()), expected, "{name}");
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// Also where a vocabulary gives text a space.
#[test]
fn words_begin_with_a_space_and_without_one() {
    for Golden { name, .. } in models() {
        let tokenizer = load(&name).tokenizer;
        let first = tokenizer.beginnings("no").unwrap();
        let first: Vec<String> = first.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
        for word in ["no", "No", "NO"] {
            let begins = |token: &String| !token.is_empty() && word.starts_with(token.as_str());
            assert!(first.iter().any(begins), "{name}: {word} in {first:?}");
        }
        assert!(first.iter().any(|token| token.starts_with(['▁', 'Ġ'])), "{name}: {first:?}");
    }
}

/// What is left of a text that was encoded and decoded.
fn written(name: &str, text: &str) -> String {
    match name {
        "qwen2" | "qwen3" => text.nfc().collect(),
        "phi4" => text.to_owned(),
        // SentencePiece has one character for this and for spaces.
        _ => text.replace('▁', " "),
    }
}

#[derive(Deserialize)]
struct Quantized {
    models: Vec<QuantizedGolden>,
}

#[derive(Deserialize)]
struct QuantizedGolden {
    name: String,
    prompt_ids: Vec<u32>,
    /// From transformers, with the file's weights in float32.
    exact: Vec<Logits>,
    /// By how much llama.cpp is off them.
    noise: f32,
    /// The tokens that come for certain.
    greedy: Vec<u32>,
}

/// `Q4_K_M`, as llama.cpp quantizes.
#[test]
fn quantized_models_are_as_near_to_the_exact_logits_as_llama_cpp() {
    let json = fs::read(goldens().join("architectures_quantized.json")).unwrap();
    for golden in serde_json::from_slice::<Quantized>(&json).unwrap().models {
        let QuantizedGolden { name, prompt_ids, exact, noise, greedy: expected } = golden;
        let mut llm = load(&name);
        for chunk in [7, 512] {
            let off = largest_difference(llm.model(), &exact, &prompt_ids, chunk);
            println!("{name}, chunks of {chunk}: off by {off}, llama.cpp by {noise}");
            assert!(off <= 1.5 * noise, "{name}, chunks of {chunk}: {off}, llama.cpp: {noise}");
        }
        let found = greedy(&llm, &prompt_ids);
        assert_eq!(found.get(..expected.len()), Some(&expected[..]), "{name}");
    }
}

/// The cache takes what was planned, and the weights fit what the architecture says.
#[test]
fn the_plan_holds_the_cache() {
    for Golden { name, .. } in models() {
        let path = goldens().join(format!("tiny-architectures/{name}.gguf"));
        let opened = checkpoint::files::open(&LlmFiles::Gguf(path)).unwrap();
        let demand = Demand::new(&opened.checkpoint, &opened.config, DeviceChoice::Cpu);
        let mut llm = load(&name);
        let bytes = llm.model().cache(64).unwrap().bytes();
        assert_eq!(bytes, demand.plan(64).kv_cache, "{name}");
    }
}
