//! Hugging Face folders: configuration, safetensors files and their index.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::templates::FINE as FINE_TEMPLATE;
use super::{MAX_TIME, bounded, refused, tiny};
use crate::generation::local::LlmFiles;
use crate::generation::local::checkpoint::Safetensors;
use crate::generation::local::checkpoint::files::{Opened, open};
use crate::support::random::SplitMix64;

/// A copy of the tiny Hugging Face folder, to be corrupted.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(tiny()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "gguf") {
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    dir
}

pub fn open_folder(dir: &Path) -> Result<Opened> {
    open(&LlmFiles::at(dir)?)
}

/// Modifies a JSON file of the folder.
pub fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join(file);
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
}

type Json = (serde_json::Map<String, serde_json::Value>, Vec<u8>);

/// The header and data of a safetensors file.
fn safetensors(path: &Path) -> Json {
    let bytes = fs::read(path).unwrap();
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    (serde_json::from_slice(header).unwrap(), data.to_vec())
}

fn write_safetensors(path: &Path, (header, data): &Json) {
    let header = serde_json::to_vec(header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_that_describes_another_computation_is_refused() {
    for (what, key, value, expected) in [
        ("Qwen", "model_type", "\"qwen3\"", "\"qwen3\""),
        ("GELU", "hidden_act", "\"gelu\"", "\"gelu\""),
        ("biases", "attention_bias", "true", "biases"),
        ("GPTQ", "quantization_config", r#"{"quant_method": "gptq"}"#, "\"gptq\""),
        ("YaRN", "rope_scaling", r#"{"rope_type": "yarn", "factor": 4}"#, "\"yarn\""),
        ("old YaRN", "rope_scaling", r#"{"type": "yarn", "factor": 4}"#, "\"yarn\""),
        ("half a rule", "rope_scaling", r#"{"rope_type": "llama3", "factor": 8}"#, "low_freq"),
        ("half rotated", "rope_parameters", r#"{"partial_rotary_factor": 0.5}"#, "part"),
        ("another vocabulary", "vocab_size", "320", "embed_tokens"),
        ("a layer fewer", "num_hidden_layers", "1", "model.layers.1."),
        ("a layer more", "num_hidden_layers", "3", "model.layers.2."),
        ("10^9 layers", "num_hidden_layers", "1000000000", "number of layers"),
        ("no heads", "num_attention_heads", "0", "number of heads"),
        ("negative", "hidden_size", "-64", "config.json"),
    ] {
        let dir = folder();
        edit(dir.path(), "config.json", |json| json[key] = serde_json::from_str(value).unwrap());
        refused(what, expected, || open_folder(dir.path()));
    }
    let dir = folder();
    edit(dir.path(), "generation_config.json", |json| json["eos_token_id"] = 999.into());
    refused("an eos beyond the model", "999", || open_folder(dir.path()));
    let dir = folder();
    edit(dir.path(), "tokenizer_config.json", |json| json["chat_template"] = "{% for".into());
    refused("a broken template", "tokenizer_config.json", || open_folder(dir.path()));
    edit(dir.path(), "tokenizer_config.json", |json| json["chat_template"] = ().into());
    refused("a base model", "Instruct", || open_folder(dir.path()));
    fs::write(dir.path().join("chat_template.jinja"), FINE_TEMPLATE).unwrap();
    assert!(open_folder(dir.path()).is_ok());
}

#[test]
fn a_json_file_without_end_is_not_read() {
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
    {
        let dir = folder();
        // Sparse, so it occupies no disk space.
        fs::File::create(dir.path().join(file)).unwrap().set_len(1 << 40).unwrap();
        let start = Instant::now();
        let error = open_folder(dir.path()).err().map(|error| format!("{error:#}")).unwrap();
        assert!(error.contains(file) && error.contains("larger than"), "{error}");
        assert!(error.contains("download it again"), "{error}");
        assert!(start.elapsed() < MAX_TIME);
        fs::write(dir.path().join(file), "[".repeat(1_000_000)).unwrap();
        refused("a deep file", file, || open_folder(dir.path()));
    }
}

#[test]
fn safetensors_are_compared_with_the_configuration_before_they_are_loaded() {
    let path = |dir: &tempfile::TempDir| dir.path().join("model.safetensors");
    let whole = fs::read(tiny().join("model.safetensors")).unwrap();
    let mut random = SplitMix64::new(3);
    let dir = folder();
    for _ in 0..50 {
        let cut = random.below(whole.len());
        fs::write(path(&dir), &whole[..cut]).unwrap();
        refused(&format!("cut at {cut}"), "model.safetensors", || open_folder(dir.path()));
    }
    for length in [1_u64 << 26, 1 << 40, u64::MAX] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(path(&dir), &bytes).unwrap();
        refused("a long header", "header", || open_folder(dir.path()));
    }
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        bytes[random.below(8 + header)] ^= 1 << random.below(8);
        fs::write(path(&dir), &bytes).unwrap();
        let files = [path(&dir)];
        let _ = bounded("flipped bits", || Safetensors::open(&files));
    }
    let original = safetensors(&tiny().join("model.safetensors"));
    let change = |change: fn(&mut Json)| {
        let dir = folder();
        let mut file = original.clone();
        change(&mut file);
        write_safetensors(&path(&dir), &file);
        dir
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    let dir = change(|(header, _)| {
        let tensor = header.remove("model.layers.1.mlp.up_proj.weight").unwrap();
        header.insert("model.layers.1.mlp.fc.weight".to_owned(), tensor);
    });
    refused("a tensor of another name", name, || open_folder(dir.path()));
    let dir = change(|(header, _)| {
        header["model.layers.1.mlp.up_proj.weight"]["shape"] = serde_json::json!([64, 128]);
    });
    refused("another shape", name, || open_folder(dir.path()));
    let dir = change(|(header, _)| {
        header["model.layers.1.mlp.up_proj.weight"]["dtype"] = "I32".into();
    });
    refused("another type", "I32", || open_folder(dir.path()));
    let dir = change(|(header, data)| {
        let end = data.len();
        data.extend([0; 256]);
        let bias =
            serde_json::json!({"dtype": "F32", "shape": [64], "data_offsets": [end, end + 256]});
        header.insert("model.layers.0.self_attn.q_proj.bias".to_owned(), bias);
    });
    refused("a bias", "q_proj.bias", || open_folder(dir.path()));
}

/// Splits the tiny folder's weights into two shards with an index.
fn shard(dir: &Path) {
    let whole = dir.join("model.safetensors");
    let (header, data) = safetensors(&whole);
    let mut map = serde_json::Map::new();
    for number in 0..2 {
        let name = format!("model-{:05}-of-00002.safetensors", number + 1);
        let (mut part, mut bytes) = (serde_json::Map::new(), Vec::new());
        let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
        for (tensor, info) in tensors.skip(number).step_by(2) {
            let at = |i: usize| info["data_offsets"][i].as_u64().unwrap() as usize;
            let start = bytes.len();
            bytes.extend(&data[at(0)..at(1)]);
            let mut info = info.clone();
            info["data_offsets"] = serde_json::json!([start, bytes.len()]);
            part.insert(tensor.clone(), info);
            map.insert(tensor.clone(), name.clone().into());
        }
        write_safetensors(&dir.join(name), &(part, bytes));
    }
    let index = serde_json::json!({"metadata": {"total_size": data.len()}, "weight_map": map});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::remove_file(whole).unwrap();
}

#[test]
fn a_sharded_model_needs_every_shard_and_nothing_outside_its_folder() {
    const INDEX: &str = "model.safetensors.index.json";
    let dir = folder();
    shard(dir.path());
    open_folder(dir.path()).unwrap();
    // Other weight files in the folder must be ignored.
    fs::copy(tiny().join("model.safetensors"), dir.path().join("consolidated.safetensors"))
        .unwrap();
    open_folder(dir.path()).unwrap();
    fs::remove_file(dir.path().join(INDEX)).unwrap();
    refused("tensors twice", "two of the safetensors files", || open_folder(dir.path()));

    let dir = folder();
    shard(dir.path());
    edit(dir.path(), INDEX, |json| json["metadata"]["total_size"] = (1 << 30).into());
    refused("less than promised", "1073741824", || open_folder(dir.path()));
    for name in ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "model.bin"] {
        edit(dir.path(), INDEX, |json| json["weight_map"]["x"] = name.into());
        refused(name, "no safetensors file in its folder", || open_folder(dir.path()));
    }
    fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    edit(dir.path(), INDEX, |json| {
        json["weight_map"]["x"] = "model-00001-of-00002.safetensors".into();
    });
    refused("a missing shard", "model-00002-of-00002.safetensors", || open_folder(dir.path()));
}
