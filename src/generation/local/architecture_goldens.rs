//! Compares models of other architectures with transformers, on tiny random ones.
//!
//! `tests/goldens/architectures.py` generated the files and expected values.

use std::fs;

use serde::Deserialize;

use super::goldens::{Logits, TOLERANCE, goldens, greedy, largest_difference};
use super::model::probe;
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
    logits: Vec<Logits>,
    greedy: Vec<u32>,
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
