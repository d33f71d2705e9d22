//! Files that are damaged, made for another program, or made to do harm: a clear error, no panic,
//! and no memory beyond the file's own size.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::quantized::gguf_file::Value;

use super::checkpoint::files::{Opened, open, open_gguf};
use super::checkpoint::gguf::{Gguf, integer};
use super::placement::DeviceChoice;
use super::tokenizer::chat::{ChatTemplate, variables};
use super::{Llm, LlmFiles};
use crate::support::random::SplitMix64;
use crate::text::jinja;

/// What reading any file of these tests may take, in bytes. The files have half a megabyte.
const MEMORY: usize = 24 << 20;
/// And how long.
const TIME: Duration = Duration::from_secs(5);

/// Counts what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        MOST.try_with(|most| most.set(most.get().max(held.get())))
    });
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`, which must stay within the bounds of memory and time.
fn bounded<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (before, start) = (HELD.get(), Instant::now());
    MOST.set(before);
    let result = work();
    let most = (MOST.get() - before) as usize;
    assert!(most <= MEMORY, "{what} took {most} bytes");
    assert!(start.elapsed() < TIME, "{what} took {:?}", start.elapsed());
    result
}

/// The whole chain of an error that must be one and contain `expected`.
fn refused<T>(what: &str, expected: &str, work: impl FnOnce() -> Result<T>) -> String {
    let message = match bounded(what, work) {
        Ok(_) => panic!("{what} was accepted"),
        Err(error) => format!("{error:#}"),
    };
    assert!(message.contains(expected), "{what}: {message:?} lacks {expected:?}");
    assert!(message.len() < 2000, "{what}: an error of {} bytes", message.len());
    message
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama")
}

fn whole() -> Vec<u8> {
    fs::read(tiny().join("model.gguf")).unwrap()
}

fn read(bytes: &[u8]) -> Result<Opened> {
    open_gguf(Gguf::from_bytes(bytes)?)
}

/// A GGUF file to be written, right or wrong.
#[derive(Clone)]
struct Model {
    version: u32,
    counts: Option<(u64, u64)>,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    /// As in the file: columns first.
    shape: Vec<u64>,
    kind: u32,
    data: Vec<u8>,
    /// Instead of the right one.
    offset: Option<u64>,
}

impl Model {
    /// The tiny Llama of the goldens, tensors by name.
    fn tiny() -> Self {
        let gguf = Gguf::open(&tiny().join("model.gguf")).unwrap();
        let metadata: BTreeMap<_, _> = gguf.all_metadata().into_iter().collect();
        let mut names: Vec<_> = gguf.shapes().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        let tensors = names.into_iter().map(|name| {
            let view = gguf.view(&name).unwrap();
            let shape = view.shape.iter().rev().map(|&length| length as u64).collect();
            Tensor { name, shape, kind: 0, data: view.data.to_vec(), offset: None }
        });
        Self {
            version: 3,
            counts: None,
            metadata: metadata.into_iter().collect(),
            tensors: tensors.collect(),
        }
    }

    fn set(mut self, key: &str, value: Value) -> Self {
        self.metadata.retain(|(other, _)| other != key);
        self.metadata.push((key.to_owned(), value));
        self
    }

    fn without(mut self, key: &str) -> Self {
        let keys = self.metadata.len();
        self.metadata.retain(|(other, _)| other != key);
        assert!(self.metadata.len() < keys, "no {key} to remove");
        self
    }

    fn tensor(mut self, name: &str, change: impl FnOnce(&mut Tensor)) -> Self {
        change(self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        let counts = (self.tensors.len() as u64, self.metadata.len() as u64);
        let (tensors, keys) = self.counts.unwrap_or(counts);
        out.extend(tensors.to_le_bytes());
        out.extend(keys.to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut out, key);
            out.extend(kind(value).to_le_bytes());
            self::value(&mut out, value);
        }
        let mut next = 0;
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().for_each(|length| out.extend(length.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(next).to_le_bytes());
            next += (tensor.data.len() as u64).next_multiple_of(32);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(&tensor.data);
        }
        out
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(n) => out.push(*n),
        Value::I8(n) => out.extend(n.to_le_bytes()),
        Value::U16(n) => out.extend(n.to_le_bytes()),
        Value::I16(n) => out.extend(n.to_le_bytes()),
        Value::U32(n) => out.extend(n.to_le_bytes()),
        Value::I32(n) => out.extend(n.to_le_bytes()),
        Value::F32(n) => out.extend(n.to_le_bytes()),
        Value::Bool(n) => out.push(u8::from(*n)),
        Value::String(n) => text(out, n),
        Value::Array(list) => {
            out.extend(list.first().map_or(4, kind).to_le_bytes());
            out.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|each| self::value(out, each));
        }
        Value::U64(n) => out.extend(n.to_le_bytes()),
        Value::I64(n) => out.extend(n.to_le_bytes()),
        Value::F64(n) => out.extend(n.to_le_bytes()),
    }
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

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
    // As a user meets it.
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
    text(&mut bytes, "deep");
    bytes.extend(9u32.to_le_bytes());
    for _ in 0..100_000 {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
    }
    refused("a deep list", "nested", || read(&bytes));
    // A byte of the file must not become 24 bytes of memory without end.
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    text(&mut bytes, "long");
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

/// candle's reader divided by it.
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
        ("Qwen", "\"qwen3\"", tiny().set("general.architecture", string("qwen3"))),
        ("no architecture", "general.architecture", tiny().without("general.architecture")),
        ("a number as architecture", "is not text", {
            tiny().set("general.architecture", Value::U32(1))
        }),
        ("YaRN", "\"yarn\"", tiny().set("llama.rope.scaling.type", string("yarn"))),
        ("linear", "linear", tiny().set("llama.rope.scaling.factor", Value::F32(4.0))),
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
        ("SentencePiece", "\"llama\" tokenizer", {
            tiny().set("tokenizer.ggml.model", string("llama"))
        }),
        ("an unknown cut", "tekken", tiny().set("tokenizer.ggml.pre", string("tekken"))),
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
    // Twice the same token: as many ids, but fewer different tokens.
    let again = tokens(|list| list[380] = list[379].clone());
    assert!(read(&again).is_ok());
    let other = tokens(|list| list[5] = Value::U32(5));
    refused("a number among the tokens", "", || read(&other));
}

/// Found by fuzzing: the tokenizers library panics where a merge is longer than every token.
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
    // Not counted: a caught panic may print its backtrace, which takes memory.
    let error = open_folder(dir.path()).err().map(|error| format!("{error:#}")).unwrap();
    assert!(error.contains("tokenizer.json"), "{error}");
}

fn template(source: &str) -> Result<ChatTemplate> {
    ChatTemplate::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned())
}

const FINE: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

#[test]
fn templates_that_are_wrong_or_never_end_are_refused() {
    template(FINE).unwrap();
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000));
    let lists = format!("{{{{ {}1{} }}}}", "[".repeat(30_000), "]".repeat(30_000));
    let blocks = "{% if 1 %}".repeat(3_000) + &"{% endif %}".repeat(3_000);
    let minus = format!("{{{{ {}1 }}}}", "-".repeat(65_000));
    let not = format!("{{{{ {} 1 }}}}", "not ".repeat(16_000));
    let concat = format!("{{{{ 1{} }}}}", "~1".repeat(32_000));
    let filters = format!("{{{{ 'x'{} }}}}", "|trim".repeat(13_000));
    let attributes = format!("{{{{ messages{} }}}}", ".x".repeat(32_000));
    let power = format!("{{{{ 2{} }}}}", "**2".repeat(21_000));
    let ternary = format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(5_000));
    for source in [
        "",
        "{% for m in messages %}",
        "{{ messages[",
        "{{ nonsense() }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{{ raise_exception('no system role') }}",
        "{{ messages[0].content }}{{ messages[0].content }}{{ messages[1].content }}",
        // Endless, or nearly.
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{{ loop([[1]]) }}{% endfor %}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{{ f() }}{% endcall %}",
        "{{ range(10**9)|list|length }}",
        "{{ range(10**18)|sum }}",
        // Large.
        "{{ 'x' * 10**9 }}",
        "{{ ('x' * 10**5) * 10**5 }}",
        "{{ 'x'|center(10**9) }}",
        "{{ 'x'.center(10**9) }}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ 'x'.rjust(10**9) }}",
        "{{ 'x'.zfill(10**9) }}",
        "{{ 'x'|indent(10**9) }}",
        "{{ ('x\n' * 10**4)|indent(10**5) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '%.1000000000f'|format(1.0) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ [1] * 10**9 }}",
        "{{ ([1] * 10**5) * 10**4 }}",
        "{{ (1,) * 10**9 }}",
        "{{ range(10**5)|join('x' * 10**5) }}",
        "{{ ('ab' * 10**4)|replace('a', 'x' * 10**5) }}",
        "{{ ('ab' * 10**4).replace('a', 'x' * 10**5) }}",
        "{{ ('x' * 10**5).replace('', 'x' * 10**5) }}",
        "{{ ('x' * 10**4).join(range(10**5)|map('string')) }}",
        "{{ range(10**5)|batch(1, 'x' * 10**6)|list }}",
        "{{ range(2)|batch(10**9, 'x')|list }}",
        "{{ range(2)|slice(10**9)|list }}",
        "{{ 10**(10**9) }}",
        "{{ range(10**5)|list|tojson(10**6) }}",
        "{{ [[[[1]]]]|tojson(indent=10**8) }}",
        "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x }}{{ ns.x|tojson }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
        "{% set ns = namespace(x={}) %}{% for i in range(9000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x|tojson }}{{ ns.x == ns.x }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns|tojson }}",
        // What fuel alone does not pay for: lists of the same list, and lists that grow by copies.
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
        "{% set ns = namespace(x=('x',)) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x[0:] %}{% endfor %}{{ ns.x|length }}",
        "{% set ns = namespace(x=['x']|map('upper')) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|list|length }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x ~ '' }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|string }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|join }}",
        "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ''.join(ns.x) }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% set ns.y = {'a': ns.y, 'b': ns.y} %}{% endfor %}{{ ns.x == ns.y }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x, ns.y]|unique|list|length }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x, ns.y]|sort|length }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ {ns.x: 1, ns.y: 2}|length }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x is eq(ns.y) }}{{ ns.x in [ns.y] }}",
        "{% set ns = namespace(x=['x'], y=['x']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{% for z in [ns.x, ns.y] %}{{ loop.changed(z) }}{% endfor %}",
        "{% macro f(x, n) %}{{ f([x, x], n - 1) if n else x ~ '' }}{% endmacro %}{{ f([1], 60) }}",
        "{% macro f(x, n) %}{{ f(x + x, n - 1) if n else x|length }}{% endmacro %}{{ f([1], 60) }}",
        "{% for x in [[1]] recursive %}{{ loop([[x, x]]) }}{% endfor %}",
        "{% for x in [messages] recursive %}{{ loop([x + x]) }}{% endfor %}",
        "{% set ns = namespace(s='x' * 10**6) %}{% set ns.x = [ns.s, ns.s, ns.s, ns.s] %}{% for i in range(9999) %}{{ ns.x == [ns.s ~ '', ns.s ~ '', ns.s ~ '', ns.s ~ ''] }}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x[0:] %}{% endfor %}",
        "{% set ns = namespace(x=range(100)) %}{% for i in range(99999) %}{% set ns.x = ns.x|map('string') %}{% endfor %}",
        "{{ messages * 10**8 == messages * 10**8 }}",
        "{{ [[1] * 10**8] * 10**8 == [[1] * 10**8] * 10**8 }}",
        "{{ 10**8 * [10**8 * [1]] == 10**8 * [10**8 * [1]] }}",
        "{{ 10**8 * (10**8 * (1,),) == 10**8 * (10**8 * (1,),) }}",
        "{{ 10**8 * ([1]) == 10**8 * ([1]) }}",
        // Namespaces that hold themselves.
        "{% set a = namespace() %}{% set a.x = a %}{% set b = namespace() %}{% set b.x = b %}{{ a == b }}",
        "{% set a = namespace() %}{% set b = namespace(x=a) %}{% set a.x = b %}{{ a == b }}{{ a ~ '' }}",
        "{% set a = namespace() %}{% set a.x = [a] %}{{ a.x ~ '' }}",
        "{% set a = namespace() %}{% set a.x = a.values() %}{{ a.x ~ '' }}",
        "{% set a = namespace() %}{% set a.x = a|items %}{{ a.x ~ '' }}",
        "{% set a = namespace() %}{% set a.x = a|list %}{% set a.x = a|dictsort %}{{ dict(a) ~ '' }}{{ dict(x=a) ~ '' }}",
        "{% set a = namespace() %}{% set b = namespace() %}{% macro f() %}{% set a.x = a %}{% set b.x = b %}{% endmacro %}{{ {a: 1, b: f()} }}",
        "{% set a = namespace() %}{% set b = namespace() %}{% for x in [1] %}{% set a.x = loop %}{{ a ~ '' }}{{ loop.changed(loop) }}{% endfor %}{{ nonsense() }}",
        "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}",
        "{% for x in [1] %}{{ loop.cycle(*[]) }}{% endfor %}",
        "{% for x in [1] %}{{ [loop, loop] ~ '' }}{% endfor %}",
        "{% set x = [1]|chain([2])|zip([3]) %}",
        nested.as_str(),
        lists.as_str(),
        blocks.as_str(),
        minus.as_str(),
        not.as_str(),
        concat.as_str(),
        filters.as_str(),
        attributes.as_str(),
        power.as_str(),
        ternary.as_str(),
    ] {
        let what = source.chars().take(200).collect::<String>();
        refused(&what, "template", || template(source));
        // Once more where its memory is counted, unless it is refused unread.
        if source.len() > 1000 {
            continue;
        }
        let variables = variables("<s>", "</s>");
        let here = || bounded(&what, || drop(jinja::render_here(source, &variables)));
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(64 << 20);
            thread.spawn_scoped(scope, here).unwrap().join().unwrap();
        });
    }
    // As many operators as are allowed.
    for source in [
        format!("{{{{ {}1 }}}}", "-".repeat(2900)),
        format!("{{{{ {}1 }}}}", "not ".repeat(2900)),
        format!("{{{{ 1{} }}}}", "~1".repeat(2900)),
        format!("{{{{ 'x'{} }}}}", "|trim".repeat(2900)),
        format!("{{{{ messages{} }}}}", ".x".repeat(2900)),
        format!("{{{{ 1{} }}}}", "**1".repeat(1400)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(1400)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(900)),
    ] {
        refused(&source[..50], "template", || template(&source));
    }
    // Much of a fine one.
    refused("a long template", "65536", || template(&FINE.repeat(10_000)));
    refused("a long prompt", "bytes", || template(&(FINE.to_owned() + "{{ 'x' * 70000 }}")));
}

/// As a user meets it.
#[test]
fn a_template_that_takes_too_much_is_named_with_its_file_and_the_way_out() {
    let doubling = "{% set ns = namespace(x=['x']) %}{% for i in range(60) %}\
                    {% set ns.x = ns.x + ns.x %}{% endfor %}";
    let endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    for (source, expected) in [
        (doubling, "too much memory or time"),
        (endless, "too much memory or time"),
        ("{% for", "not valid"),
        ("{{ nonsense() }}", "nonsense is unknown"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        let model = Model::tiny().set("tokenizer.chat_template", string(source));
        fs::write(&path, model.bytes()).unwrap();
        let load = || Llm::load(&LlmFiles::Gguf(path.clone()), DeviceChoice::Cpu, 64);
        let message = refused(source, expected, load);
        for part in ["model.gguf", "chat template", "from another publisher"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

/// Cuts the tiny model in parts, as `gguf-split` does, and returns their paths.
fn split(dir: &Path, parts: usize) -> Vec<PathBuf> {
    let tiny = Model::tiny();
    let total = tiny.tensors.len();
    let paths: Vec<PathBuf> = (1..=parts)
        .map(|number| dir.join(format!("tiny-{number:05}-of-{parts:05}.gguf")))
        .collect();
    for (number, path) in paths.iter().enumerate() {
        // The first holds no tensors, as with `--no-tensor-first-split`.
        let share = |number: usize| number.saturating_sub(1) * total / (parts - 1);
        let tensors = match number {
            0 => vec![],
            _ => tiny.tensors[share(number)..share(number + 1)].to_vec(),
        };
        let metadata = if number == 0 { tiny.metadata.clone() } else { vec![] };
        let model = Model { metadata, tensors, ..tiny.clone() }
            .set("split.no", Value::U16(number as u16))
            .set("split.count", Value::U16(parts as u16))
            .set("split.tensors.count", Value::I32(total as i32));
        fs::write(path, model.bytes()).unwrap();
    }
    paths
}

#[test]
fn a_split_model_opens_as_one_by_any_part() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Gguf::open(&tiny().join("model.gguf")).unwrap();
    for path in split(dir.path(), 4) {
        let gguf = Gguf::open(&path).unwrap();
        assert_eq!(gguf.weight_bytes(), whole.weight_bytes());
        for (name, _) in whole.shapes() {
            let (a, b) = (gguf.view(name).unwrap(), whole.view(name).unwrap());
            assert_eq!((a.dtype, &a.shape, &*a.data), (b.dtype, &b.shape, &*b.data), "{name}");
        }
        let Opened { config, .. } = open(&LlmFiles::Gguf(path)).unwrap();
        assert_eq!(config, read(&self::whole()).unwrap().config);
    }
}

#[test]
fn a_split_model_that_is_not_whole_is_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Gguf::open(path).map(drop);
    let paths = split(dir.path(), 4);
    let third = fs::read(&paths[2]).unwrap();
    fs::remove_file(&paths[2]).unwrap();
    let message =
        refused("a missing part", "tiny-00003-of-00004.gguf is missing", || open(&paths[0]));
    assert!(message.contains("part 3 of 4"), "{message}");
    refused("a missing part", "tiny-00003-of-00004.gguf", || open(&paths[3]));
    fs::copy(&paths[1], &paths[2]).unwrap();
    refused("a part twice", "is not part 3 of 4", || open(&paths[0]));
    fs::write(&paths[2], &third[..third.len() - 100]).unwrap();
    refused("a part cut off", "tiny-00003-of-00004.gguf", || open(&paths[0]));
    fs::write(&paths[2], whole()).unwrap();
    refused("a whole model as a part", "is not part 3 of 4", || open(&paths[0]));
    fs::write(&paths[2], &third).unwrap();
    open(&paths[0]).unwrap();
    let renamed = dir.path().join("model.gguf");
    fs::copy(&paths[1], &renamed).unwrap();
    refused("a part under another name", "-00002-of-00004.gguf", || open(&renamed));

    let part = |number: u16, count: u16, total: i32, tensors: &[Tensor]| {
        let keys = Model { metadata: vec![], tensors: tensors.to_vec(), ..Model::tiny() };
        keys.set("split.no", Value::U16(number))
            .set("split.count", Value::U16(count))
            .set("split.tensors.count", Value::I32(total))
            .bytes()
    };
    let tensors = Model::tiny().tensors;
    let paths =
        ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"].map(|name| dir.path().join(name));
    fs::write(&paths[0], part(0, 2, 5, &tensors[..2])).unwrap();
    fs::write(&paths[1], part(1, 2, 5, &tensors[2..4])).unwrap();
    refused("a tensor fewer", "4 tensors together, not 5", || open(&paths[0]));
    fs::write(&paths[1], part(1, 2, 5, &tensors[1..4])).unwrap();
    refused("a tensor in two parts", &tensors[1].name, || open(&paths[0]));
    fs::write(&paths[0], part(7, 2, 5, &tensors[..2])).unwrap();
    refused("part 8 of 2", "split.no", || open(&paths[0]));
    fs::write(&paths[0], part(0, u16::MAX, 5, &tensors[..2])).unwrap();
    refused("65535 parts", "-of-65535.gguf", || open(&paths[0]));
}

/// The tiny Hugging Face folder, in a place where it can be damaged.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(tiny()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "gguf") {
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    dir
}

fn open_folder(dir: &Path) -> Result<Opened> {
    open(&LlmFiles::at(dir)?)
}

/// Changes a JSON file of the folder.
fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join(file);
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
}

type Json = (serde_json::Map<String, serde_json::Value>, Vec<u8>);

/// Header and data of a safetensors file.
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
    fs::write(dir.path().join("chat_template.jinja"), FINE).unwrap();
    assert!(open_folder(dir.path()).is_ok());
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

#[test]
fn a_json_file_without_end_is_not_read() {
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
    {
        let dir = folder();
        // Sparse: it takes no disk.
        fs::File::create(dir.path().join(file)).unwrap().set_len(1 << 40).unwrap();
        let start = Instant::now();
        let error = open_folder(dir.path()).err().map(|error| format!("{error:#}")).unwrap();
        assert!(error.contains(file) && error.contains("larger than"), "{error}");
        assert!(error.contains("download it again"), "{error}");
        assert!(start.elapsed() < TIME);
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
        let _ = bounded("flipped bits", || super::checkpoint::shards::shapes(&files));
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

/// Splits the tiny folder's weights in two shards with an index.
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
    // Others in the folder are none of its own.
    fs::copy(tiny().join("model.safetensors"), dir.path().join("consolidated.safetensors"))
        .unwrap();
    let Opened { checkpoint, .. } = open_folder(dir.path()).unwrap();
    assert!(
        matches!(checkpoint, super::checkpoint::Checkpoint::Safetensors(files) if files.len() == 2)
    );
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
        json["weight_map"]["x"] = "model-00001-of-00002.safetensors".into()
    });
    refused("a missing shard", "model-00002-of-00002.safetensors", || open_folder(dir.path()));
}

#[test]
fn the_header_of_llama_3_1_is_read_in_tens_of_milliseconds() {
    // As many strings as Llama 3.1 has: 128,256 tokens and 280,147 merges.
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

/// Nothing that the loader calls may rely on [`integer`] accepting a sign.
#[test]
fn negative_numbers_are_no_counts() {
    assert_eq!(integer(&Value::I64(-1)), None);
    assert_eq!(integer(&Value::I8(7)), Some(7));
}
