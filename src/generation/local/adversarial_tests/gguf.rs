//! GGUF files: headers, metadata and the tensor table.

use std::fs;
use std::time::{Duration, Instant};

use candle_core::quantized::gguf_file::Value;

use super::gguf_file::{Model, Tensor, string, write_text};
use super::{bounded, read, refused, whole};
use crate::generation::local::checkpoint::files::open_gguf;
use crate::generation::local::checkpoint::gguf::{Gguf, integer};
use crate::generation::local::placement::DeviceChoice;
use crate::generation::local::{Llm, LlmFiles};
use crate::support::random::SplitMix64;

#[test]
fn the_writer_of_these_tests_writes_what_is_accepted() {
    let opened = bounded("the tiny model", || read(&Model::tiny().bytes())).unwrap();
    assert_eq!(opened.config, read(&whole()).unwrap().config);
    assert_eq!(opened.tokenizer.vocabulary(), 384);
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let whole = whole();
    let mut random = SplitMix64::new(1);
    let start = (0..64).chain((0..200).map(|_| random.below(whole.len()))).collect::<Vec<_>>();
    for cut in start {
        refused(&format!("the file cut at {cut}"), "download", || read(&whole[..cut]));
    }
    // End to end, as a user would see it.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    for cut in [0, 1, 8, 30, 5_000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let files = LlmFiles::Gguf(path.clone());
        let load = || Llm::load(&files, DeviceChoice::Cpu, 64);
        let message = refused(&format!("the file cut at {cut}"), "cut.gguf", load);
        assert!(!message.contains("panic"), "{message}");
    }
}

#[test]
fn flipped_bytes_in_the_header_never_panic() {
    let whole = whole();
    let header = whole.len() - Gguf::from_bytes(&whole).unwrap().weight_bytes() as usize;
    let mut random = SplitMix64::new(2);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            bytes[random.below(header)] = random.below(256) as u8;
        }
        bounded("a file with flipped bytes", || match Gguf::from_bytes(&bytes) {
            Err(_) => refused += 1,
            // Building a tokenizer takes a thousand times longer than reading a header.
            Ok(gguf) if round % 20 == 0 => match open_gguf(gguf) {
                Err(_) => refused += 1,
                Ok(_) => accepted += 1,
            },
            Ok(_) => {}
        });
    }
    assert!(refused > 1000, "only {refused} of them were noticed");
    assert!(accepted > 10, "a letter of a token may change: {accepted}");
}

#[test]
fn counts_beyond_the_file_are_refused_before_memory_is_taken() {
    for count in [1 << 12, 1 << 32, 1 << 60, u64::MAX] {
        let tiny = Model::tiny();
        let (tensors, keys) = (tiny.tensors.len() as u64, tiny.metadata.len() as u64);
        for counts in [(count, keys), (tensors, count)] {
            let bytes = Model { counts: Some(counts), ..tiny.clone() }.bytes();
            refused(&format!("counts {counts:?}"), "download it again", || read(&bytes));
        }
    }
    // Lengths of strings and lists.
    let whole = whole();
    for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "general.architecture"] {
        let at = whole.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
        let length = at + key.len() + if key == "general.architecture" { 4 } else { 8 };
        for absurd in [1_u64 << 24, 1 << 40, u64::MAX] {
            let mut bytes = whole.clone();
            bytes[length..length + 8].copy_from_slice(&absurd.to_le_bytes());
            refused(&format!("{key} of length {absurd}"), key, || read(&bytes));
        }
    }
}

#[test]
fn lists_in_lists_and_many_values_are_bounded() {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    write_text(&mut bytes, "deep");
    bytes.extend(9u32.to_le_bytes());
    for _ in 0..100_000 {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
    }
    refused("a deep list", "nested", || read(&bytes));
    // A list element of one byte must not expand to 24 bytes of memory without limit.
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    write_text(&mut bytes, "long");
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend((16u64 << 20).to_le_bytes());
    bytes.resize(bytes.len() + (16 << 20), 0);
    refused("a long list", "values", || Gguf::from_bytes(&bytes).map(drop));
}

#[test]
fn absurd_tensors_are_refused_by_name() {
    let name = "blk.0.ffn_up.weight";
    let change = |change: fn(&mut Tensor)| Model::tiny().tensor(name, change).bytes();
    let far = |offset| {
        let change = |tensor: &mut Tensor| tensor.offset = Some(offset);
        Model::tiny().tensor(name, change).bytes()
    };
    for (what, bytes) in [
        ("no dimensions", change(|tensor| tensor.shape = vec![])),
        ("five dimensions", change(|tensor| tensor.shape = vec![1; 5])),
        ("2^32 - 1 dimensions", {
            let mut bytes = change(|_| {});
            let at = bytes.windows(name.len()).position(|w| w == name.as_bytes()).unwrap();
            bytes[at + name.len()..at + name.len() + 4].fill(0xff);
            bytes
        }),
        ("a length of 0", change(|tensor| tensor.shape = vec![64, 0])),
        ("a length of 2^63", change(|tensor| tensor.shape = vec![64, 1 << 63])),
        ("lengths whose product overflows", change(|tensor| tensor.shape = vec![1 << 32; 4])),
        ("lengths beyond the file", change(|tensor| tensor.shape = vec![64, 1 << 40])),
        ("half a block", change(|tensor| (tensor.kind, tensor.shape) = (2, vec![33, 2]))),
        ("an offset beyond the file", far(1 << 40)),
        ("an offset that overflows", far(u64::MAX - 31)),
        ("an offset at the end of the file", far(32 * 15_000)),
        ("an offset that is not aligned", far(4)),
        ("another tensor's bytes", far(0)),
    ] {
        refused(what, name, || read(&bytes));
    }
    let mut twice = Model::tiny();
    twice.tensors.push(twice.tensors[3].clone());
    refused("a tensor twice", &twice.tensors[3].name, || read(&twice.bytes()));
    let mut twice = Model::tiny();
    twice.metadata.push(twice.metadata[3].clone());
    refused("a key twice", &twice.metadata[3].0, || read(&twice.bytes()));
}

/// candle's reader divided by this value.
#[test]
fn an_alignment_that_is_none_is_refused() {
    for alignment in [0, 1, 3, 4, 48, 1 << 22, u32::MAX] {
        let model = Model::tiny().set("general.alignment", Value::U32(alignment));
        let what = format!("alignment {alignment}");
        refused(&what, "general.alignment", || read(&model.bytes()));
    }
    let model = Model::tiny().set("general.alignment", string("32"));
    refused("alignment in letters", "general.alignment", || read(&model.bytes()));
}

#[test]
fn a_tensor_type_that_candle_lacks_is_named_with_what_to_download() {
    for (kind, name) in [
        (16, "IQ2_XXS"),
        (20, "IQ4_NL"),
        (23, "IQ4_XS"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (39, "MXFP4"),
        (28, "F64"),
        (4, "Q4_2"),
        (12345, "number 12345"),
    ] {
        let model = Model::tiny().tensor("blk.1.attn_q.weight", |tensor| tensor.kind = kind);
        let message = refused(name, name, || read(&model.bytes()));
        assert!(message.contains("blk.1.attn_q.weight") && message.contains("Q4_K_M"), "{message}");
    }
}

#[test]
fn other_versions_and_other_files_are_told_apart() {
    for (version, expected) in [(1, "version 1"), (4, "version 4"), (3 << 24, "big-endian")] {
        let bytes = Model { version, ..Model::tiny() }.bytes();
        refused(expected, expected, || read(&bytes));
    }
    assert!(read(&Model { version: 2, ..Model::tiny() }.bytes()).is_ok());
    refused("a Git LFS pointer", "git lfs pull", || {
        read(b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 4920739232\n")
    });
    refused("a GGML file", "before GGUF", || read(b"tjgg\x03\0\0\0and so on, for long"));
    refused("a web page", "does not begin as", || read(b"<!DOCTYPE html><html><body>404"));
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.gguf");
    refused("no file", "absent.gguf", || Gguf::open(&absent).map(drop));
    refused("a folder", "is not a file", || Gguf::open(dir.path()).map(drop));
}

#[test]
fn a_model_of_another_kind_is_named_with_what_to_download() {
    let tiny = Model::tiny;
    for (what, expected, model) in [
        ("Falcon", "\"falcon\"", tiny().set("general.architecture", string("falcon"))),
        ("Falcon, and what works", "\"llama\" (Llama, Mistral), \"qwen2\"", {
            tiny().set("general.architecture", string("falcon"))
        }),
        ("Falcon, and what else", "\"gemma3\" (Gemma 3), \"phi3\" (Phi-3, Phi-3.5, Phi-4)", {
            tiny().set("general.architecture", string("falcon"))
        }),
        ("no architecture", "general.architecture", tiny().without("general.architecture")),
        ("a number as architecture", "is not text", {
            tiny().set("general.architecture", Value::U32(1))
        }),
        ("YaRN", "\"yarn\"", tiny().set("llama.rope.scaling.type", string("yarn"))),
        ("Mixtral", "8 experts", tiny().set("llama.expert_count", Value::U32(8))),
        ("a soft cap", "softcapping", {
            tiny().set("llama.attn_logit_softcapping", Value::F32(50.0))
        }),
        ("an encoder", "causal", tiny().set("llama.attention.causal", Value::Bool(false))),
        ("other values", "value_length", {
            tiny().set("llama.attention.value_length", Value::U32(8))
        }),
        ("half rotated", "dimension_count", {
            tiny().set("llama.rope.dimension_count", Value::U32(8))
        }),
        ("heads by layer", "head_count_kv", {
            let heads = Value::Array(vec![Value::U32(2), Value::U32(1)]);
            tiny().set("llama.attention.head_count_kv", heads)
        }),
        ("another tokenizer", "\"t5\" tokenizer", {
            tiny().set("tokenizer.ggml.model", string("t5"))
        }),
        ("SentencePiece without scores", "tokenizer.ggml.scores", {
            tiny().set("tokenizer.ggml.model", string("llama"))
        }),
        ("an unknown cut", "\"jais\"", tiny().set("tokenizer.ggml.pre", string("jais"))),
        ("a base model", "Instruct", tiny().without("tokenizer.chat_template")),
        ("an eos beyond", "eos_token_id", {
            tiny().set("tokenizer.ggml.eos_token_id", Value::U32(384))
        }),
    ] {
        let message = refused(what, expected, || read(&model.bytes()));
        let next = ["download", "it knows", "this program reads"];
        assert!(next.iter().any(|next| message.contains(next)), "{message}");
    }
}

#[test]
fn absurd_dimensions_of_the_model_are_refused() {
    for key in [
        "llama.embedding_length",
        "llama.block_count",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.attention.key_length",
        "llama.feed_forward_length",
        "llama.context_length",
    ] {
        for value in [Value::U32(0), Value::U64(1 << 40), Value::I32(-1), Value::F32(f32::NAN)] {
            let what = format!("{key} = {value:?}");
            let model = Model::tiny().set(key, value);
            refused(&what, "", || read(&model.bytes()));
        }
    }
    for value in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        let model = Model::tiny().set("llama.rope.freq_base", Value::F32(value));
        refused("a RoPE base", "RoPE base", || read(&model.bytes()));
        let model =
            Model::tiny().set("llama.attention.layer_norm_rms_epsilon", Value::F32(value - 1.0));
        refused("an epsilon", "epsilon", || read(&model.bytes()));
    }
    for key in [
        "llama.embedding_length",
        "llama.block_count",
        "llama.attention.head_count",
        "llama.feed_forward_length",
        "llama.context_length",
        "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
    ] {
        let model = Model::tiny().without(key);
        refused(&format!("no {key}"), key, || read(&model.bytes()));
    }
}

#[test]
fn tensors_are_compared_with_the_configuration_before_they_are_loaded() {
    let shorter = |tensor: &mut Tensor| tensor.shape[0] = 32;
    for name in [
        "token_embd.weight",
        "output.weight",
        "output_norm.weight",
        "rope_freqs.weight",
        "blk.1.attn_norm.weight",
        "blk.1.attn_k.weight",
        "blk.0.ffn_down.weight",
    ] {
        let shorter = |tensor: &mut Tensor| {
            shorter(tensor);
            tensor.shape[0] = if tensor.name == "rope_freqs.weight" { 4 } else { 32 };
        };
        let model = Model::tiny().tensor(name, shorter);
        refused(name, name, || read(&model.bytes()));
    }
    for name in ["token_embd.weight", "output_norm.weight", "blk.1.attn_v.weight"] {
        let mut model = Model::tiny();
        model.tensors.retain(|tensor| tensor.name != name);
        refused(name, name, || read(&model.bytes()));
    }
    for name in ["blk.0.attn_q.bias", "blk.2.attn_q.weight", "blk.0.ffn_gate_inp.weight"] {
        let mut model = Model::tiny();
        let data = vec![0; 64 * 4];
        let (name, shape) = (name.to_owned(), vec![64]);
        model.tensors.push(Tensor { name: name.clone(), shape, kind: 0, data, offset: None });
        refused(&name, &name, || read(&model.bytes()));
    }
    let fewer = Model::tiny().set("llama.block_count", Value::U32(1));
    refused("a layer too many", "blk.1.", || read(&fewer.bytes()));
}

#[test]
fn the_header_of_llama_3_1_is_read_in_tens_of_milliseconds() {
    // As many strings as in Llama 3.1: 128,256 tokens and 280,147 merges.
    let strings =
        |count: usize| Value::Array((0..count).map(|i| string(&format!("Ġtok{i}"))).collect());
    let kinds = Value::Array(vec![Value::I32(1); 128_256]);
    let bytes = Model::tiny()
        .set("tokenizer.ggml.tokens", strings(128_256))
        .set("tokenizer.ggml.token_type", kinds)
        .set("tokenizer.ggml.merges", strings(280_147))
        .bytes();
    let time = || {
        let start = Instant::now();
        let gguf = Gguf::from_bytes(&bytes).unwrap();
        (start.elapsed(), gguf).0
    };
    let best = (0..5).map(|_| time()).min().unwrap();
    eprintln!("{} bytes of header in {best:?}", bytes.len());
    assert!(best < Duration::from_millis(250), "{best:?}");
}

/// The loader must not rely on [`integer`] accepting negative values.
#[test]
fn negative_numbers_are_no_counts() {
    assert_eq!(integer(&Value::I64(-1)), None);
    assert_eq!(integer(&Value::I8(7)), Some(7));
}
