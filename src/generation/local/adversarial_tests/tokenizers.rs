//! Tokenizers that do not match their model, or that make the tokenizers library panic.

use candle_core::quantized::gguf_file::Value;

use super::gguf_file::{Model, string};
use super::safetensors::{edit, folder, open_folder};
use super::{read, refused};

#[test]
fn a_tokenizer_of_another_size_is_refused_with_both_sizes() {
    let tokens = |change: fn(&mut Vec<Value>)| {
        let mut model = Model::tiny();
        for (key, value) in &mut model.metadata {
            if let (Value::Array(list), "tokenizer.ggml.tokens") = (value, key.as_str()) {
                change(list);
            }
        }
        model.bytes()
    };
    let more = tokens(|list| list.push(string("more")));
    let message = refused("a token more", "385", || read(&more));
    assert!(message.contains("384"), "{message}");
    let fewer = tokens(|list| drop(list.pop()));
    refused("a token fewer", "383", || read(&fewer));
    // A duplicate token: the same number of ids, but fewer distinct tokens.
    let again = tokens(|list| list[380] = list[379].clone());
    assert!(read(&again).is_ok());
    let other = tokens(|list| list[5] = Value::U32(5));
    refused("a number among the tokens", "", || read(&other));
}

/// Found by fuzzing: the tokenizers library panics on a merge longer than every token.
#[test]
fn a_merge_longer_than_every_token_is_refused() {
    let long = "a".repeat(300);
    let mut model = Model::tiny();
    for (key, value) in &mut model.metadata {
        match (value, key.as_str()) {
            (Value::Array(list), "tokenizer.ggml.tokens") => list[5] = string(&long),
            (Value::Array(list), "tokenizer.ggml.merges") => {
                list[0] = string(&format!("{long} {long}"));
            }
            _ => {}
        }
    }
    refused("a long merge", "makes no token", || read(&model.bytes()));
    let dir = folder();
    edit(dir.path(), "tokenizer.json", |json| {
        json["model"]["vocab"][&long] = 5.into();
        json["model"]["merges"][0] = serde_json::json!([long, long]);
    });
    // Memory is not measured here: a caught panic may print a backtrace, which allocates.
    let error = open_folder(dir.path()).err().map(|error| format!("{error:#}")).unwrap();
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn a_tokenizer_json_of_another_size_is_refused_with_both_sizes() {
    let dir = folder();
    edit(dir.path(), "tokenizer.json", |json| {
        let mut last = json["added_tokens"][0].clone();
        (last["id"], last["content"]) = (384.into(), "<|more|>".into());
        json["added_tokens"].as_array_mut().unwrap().push(last);
    });
    let message = refused("a token more", "385", || open_folder(dir.path()));
    assert!(message.contains("384"), "{message}");
}
