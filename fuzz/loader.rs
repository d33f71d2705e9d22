//! Fuzzes the loader: mutates the tiny GGUF models of the goldens, bytewise and by structure, and
//! opens each mutant as the program opens a model (header, configuration, tensors, tokenizer, chat
//! template), which must give a model or an error.
//!
//! ```text
//! cargo run --release --example fuzz-loader -- [--seconds N] [--seed N] [--replay FILE]
//! ```
//!
//! A finding is a panic, an allocation beyond [`MAX_MEMORY`] or a mutant that takes longer than
//! [`MAX_TIME`]; each is kept as a file in the folder that is printed, and the run ends with exit
//! code 1. If the process itself dies (a stack overflow, an abort), the mutant is in that folder as
//! `current.gguf`. It needs neither a nightly compiler nor libFuzzer.

#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, reason = "a tool for developers, which may stop anywhere")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rag_query::internals::generation::local::LlmFiles;
use rag_query::internals::support::random::SplitMix64;

/// Bytes that opening a mutant may take: the files have half a megabyte, a template may use some.
const MAX_MEMORY: usize = 64 << 20;
/// How long opening a mutant may take.
const MAX_TIME: Duration = Duration::from_secs(3);

/// Counts what the process holds.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Random numbers from a seed.
struct Random(SplitMix64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.bits()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A number of the kind that breaks programs.
    fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(4) as u64,
            1 => u64::MAX - self.below(64) as u64,
            2 => 1 << self.below(64),
            3 => (1_u64 << self.below(64)).wrapping_sub(1),
            4 => self.below(1000) as u64,
            _ => self.next(),
        }
    }
}

/// A GGUF file in pieces, none of which needs to be right.
#[derive(Clone)]
struct Model {
    version: u32,
    /// Added to the numbers of tensors and keys.
    miscount: (u64, u64),
    keys: Vec<Key>,
    tensors: Vec<Tensor>,
    data: Vec<u8>,
}

#[derive(Clone)]
struct Key {
    name: Vec<u8>,
    kind: u32,
    value: Bytes,
}

/// A value: bytes, or a list of them.
#[derive(Clone)]
enum Bytes {
    Plain(Vec<u8>),
    Text(Vec<u8>),
    List { kind: u32, items: Vec<Bytes> },
}

#[derive(Clone)]
struct Tensor {
    name: Vec<u8>,
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

/// Reads the well-formed files that mutation starts from.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes.to_vec()
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap())
    }

    fn text(&mut self) -> Vec<u8> {
        let length = self.u64() as usize;
        self.bytes(length)
    }

    fn value(&mut self, kind: u32) -> Bytes {
        match kind {
            0 | 1 | 7 => Bytes::Plain(self.bytes(1)),
            2 | 3 => Bytes::Plain(self.bytes(2)),
            4..=6 => Bytes::Plain(self.bytes(4)),
            8 => Bytes::Text(self.text()),
            9 => {
                let (kind, length) = (self.u32(), self.u64());
                Bytes::List { kind, items: (0..length).map(|_| self.value(kind)).collect() }
            }
            _ => Bytes::Plain(self.bytes(8)),
        }
    }
}

impl Model {
    fn read(path: &Path) -> Self {
        let file = fs::read(path).unwrap();
        let mut reader = Reader(&file);
        assert_eq!(reader.bytes(4), b"GGUF");
        let version = reader.u32();
        let (tensors, keys) = (reader.u64(), reader.u64());
        let keys = (0..keys)
            .map(|_| {
                let (name, kind) = (reader.text(), reader.u32());
                Key { name, kind, value: reader.value(kind) }
            })
            .collect();
        let tensors = (0..tensors)
            .map(|_| {
                let (name, dimensions) = (reader.text(), reader.u32());
                let shape = (0..dimensions).map(|_| reader.u64()).collect();
                Tensor { name, shape, kind: reader.u32(), offset: reader.u64() }
            })
            .collect();
        let start = (file.len() - reader.0.len()).next_multiple_of(32);
        Self { version, miscount: (0, 0), keys, tensors, data: file[start..].to_vec() }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).wrapping_add(self.miscount.0).to_le_bytes());
        out.extend((self.keys.len() as u64).wrapping_add(self.miscount.1).to_le_bytes());
        for Key { name, kind, value } in &self.keys {
            text(&mut out, name);
            out.extend(kind.to_le_bytes());
            value.write(&mut out);
        }
        for Tensor { name, shape, kind, offset } in &self.tensors {
            text(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            for length in shape {
                out.extend(length.to_le_bytes());
            }
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(&self.data);
        out
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

impl Bytes {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(bytes) => out.extend(bytes),
            Self::Text(bytes) => text(out, bytes),
            Self::List { kind, items } => {
                out.extend(kind.to_le_bytes());
                out.extend((items.len() as u64).to_le_bytes());
                for item in items {
                    item.write(out);
                }
            }
        }
    }

    fn mutate(&mut self, random: &mut Random) {
        match self {
            Self::Plain(bytes) => {
                let number = random.number().to_le_bytes();
                let length = bytes.len().min(8);
                bytes[..length].copy_from_slice(&number[..length]);
            }
            Self::Text(bytes) => mutate_text(bytes, random),
            Self::List { kind, items } => match random.below(6) {
                0 => *kind = random.below(14) as u32,
                1 => items.truncate(random.below(items.len() + 1)),
                2 if !items.is_empty() => {
                    let copied = items[random.below(items.len())].clone();
                    items.insert(random.below(items.len()), copied);
                }
                3 if !items.is_empty() => {
                    let (a, b) = (random.below(items.len()), random.below(items.len()));
                    items.swap(a, b);
                }
                _ => {
                    for _ in 0..=random.below(4) {
                        let at = random.below(items.len());
                        if let Some(item) = items.get_mut(at) {
                            item.mutate(random);
                        }
                    }
                }
            },
        }
    }
}

/// What matters in keys, tokens and templates.
const WORDS: &[&str] = &[
    "llama",
    "gpt2",
    "llama-bpe",
    "smollm",
    "default",
    "gpt-2",
    "none",
    "yarn",
    "linear",
    " ",
    "",
    "\0",
    "Ġ",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-%}",
    "{% for x in messages %}",
    "{% endfor %}",
    "{{ x.content }}",
    "{% if x.role == 'user' %}",
    "{% endif %}",
    "{% set ns = namespace(x=[]) %}",
    "{% set ns.x = [ns.x, ns.x] %}",
    "{% set ns.x = ns.x + ns.x %}",
    "{% set ns.x = {'a': ns.x, 'b': ns} %}",
    "{% set ns.x = ns %}",
    "{% for i in range(60) %}",
    "{{ ns.x }}",
    "{{ ns.x == ns }}",
    "{% break %}",
    "(1,)",
    "{'a': ns.x}",
    "|unique",
    "|items",
    "|map(attribute='x')",
    "|string",
    "loop.changed(x)",
    "loop.cycle(x)",
    "namespace(x=ns)",
    "==",
    "<",
    " in ",
    "{% macro f(x) %}",
    "{% endmacro %}",
    "{{ f(f) }}",
    "range(10**9)",
    "'x' * 10**9",
    "|center(10**9)",
    "|tojson",
    "|length",
    "|list",
    "|join(x)",
    "|replace('', x)",
    "|sort",
    "|batch(9)",
    "|indent(10**9)",
    ".split('')",
    ".replace('a', 'b')",
    ".format(1)",
    "[::-1]",
    "[0]",
    "[-1]",
    "[10**18:]",
    "messages",
    "loop.index0",
    "bos_token",
    "raise_exception('x')",
    "{% for x in y recursive %}",
    "{{ loop(x) }}",
    "{% filter upper %}",
    "{% endfilter %}",
    "{% call f() %}",
    "{% endcall %}",
    "{% include 'x' %}",
    "{% set x %}",
    "{% endset %}",
    "~",
    "+",
    "*",
    "**",
    "//",
    "%",
    "/ 0",
    "(",
    ")",
    "[",
    "]",
    "'",
    "\"",
    "\\",
    "\u{e000}system\u{e001}",
    "\u{e000}user\u{e001}",
    "9223372036854775807",
    "-1",
    "1e999",
];

fn mutate_text(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => drop(bytes.splice(at..at, random.one_of(WORDS).bytes())),
            1 => *bytes = random.one_of(WORDS).bytes().collect(),
            2 if at < bytes.len() => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at),
            4 => {
                let end = at + random.below(bytes.len() - at + 1);
                bytes.drain(at..end);
            }
            _ if bytes.len() < 10_000 => {
                let end = at + random.below(bytes.len() - at + 1);
                let copied = bytes[at..end].to_vec();
                let times = 1 + random.below(20);
                bytes.splice(at..at, copied.repeat(times));
            }
            _ => {}
        }
    }
}

/// A change of the kind that a damaged, foreign or hostile file may have.
fn mutate(model: &mut Model, random: &mut Random) {
    let (key, tensor) = (random.below(model.keys.len()), random.below(model.tensors.len()));
    match random.below(20) {
        0 => model.version = random.number() as u32,
        1 => model.miscount.0 = random.number(),
        2 => model.miscount.1 = random.number(),
        3 if !model.keys.is_empty() => drop(model.keys.remove(key)),
        4 if !model.keys.is_empty() => model.keys.push(model.keys[key].clone()),
        5 if !model.keys.is_empty() => model.keys[key].kind = random.below(14) as u32,
        6 if !model.keys.is_empty() => mutate_text(&mut model.keys[key].name, random),
        7..=9 if !model.keys.is_empty() => model.keys[key].value.mutate(random),
        // The template, which is a program.
        10..=12 => {
            let template = model.keys.iter_mut().find(|key| key.name.ends_with(b"chat_template"));
            if let Some(key) = template {
                key.value.mutate(random);
            }
        }
        13 if !model.tensors.is_empty() => drop(model.tensors.remove(tensor)),
        14 if !model.tensors.is_empty() => model.tensors.push(model.tensors[tensor].clone()),
        15 if !model.tensors.is_empty() => mutate_text(&mut model.tensors[tensor].name, random),
        16 if !model.tensors.is_empty() => model.tensors[tensor].kind = random.below(45) as u32,
        17 if !model.tensors.is_empty() => model.tensors[tensor].offset = random.number(),
        18 if !model.tensors.is_empty() => {
            let shape = &mut model.tensors[tensor].shape;
            match random.below(4) {
                0 => shape.push(random.number()),
                1 => drop(shape.pop()),
                _ => {
                    if let Some(length) = shape.last_mut() {
                        *length = random.number();
                    }
                }
            }
        }
        _ => {
            let key = Key {
                name: random.one_of(KEYS).bytes().collect(),
                kind: *random.one_of(&[4, 5, 6, 7, 10, 12]),
                value: Bytes::Plain(vec![0; 8]),
            };
            model.keys.push(key);
        }
    }
}

const KEYS: &[&str] = &[
    "general.alignment",
    "llama.expert_count",
    "llama.rope.scaling.type",
    "llama.rope.scaling.factor",
    "llama.rope.dimension_count",
    "llama.attention.key_length",
    "llama.attention.head_count_kv",
    "split.count",
    "split.no",
    "split.tensors.count",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.token_type",
];

struct Options {
    seconds: u64,
    seed: u64,
    replay: Option<PathBuf>,
}

fn options() -> Options {
    let mut options = Options { seconds: 60, seed: 1, replay: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--seconds" => options.seconds = value.parse().unwrap(),
            "--seed" => options.seed = value.parse().unwrap(),
            "--replay" => options.replay = Some(value.into()),
            _ => panic!("usage: fuzz-loader [--seconds N] [--seed N] [--replay FILE]"),
        }
    }
    options
}

fn main() -> ExitCode {
    // Chat templates are rendered in processes of their own, as in the tool.
    if let Some(exit) = rag_query::serve_job() {
        return exit.report();
    }
    let Options { seconds, seed, replay } = options();
    if let Some(path) = replay {
        let (outcome, bytes, time) = open(&path);
        println!("{outcome:?}\n{bytes} bytes, {time:?}");
        return ExitCode::SUCCESS;
    }
    let seeds = seeds();
    let folder = std::env::temp_dir().join(format!("fuzz-loader-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    println!("seed {seed}, for {seconds} s; findings go to {}", folder.display());
    std::panic::set_hook(Box::new(|_| {}));
    let path = folder.join("current.gguf");
    let mut random = Random(SplitMix64::new(seed));
    let mut tally = Tally::default();
    let (start, mut reported) = (Instant::now(), Instant::now());
    while start.elapsed() < Duration::from_secs(seconds) {
        fs::write(&path, mutant(&seeds, &mut random)).unwrap();
        if let Some(finding) = tally.try_one(&path) {
            let kept = folder.join(format!("finding-{}.gguf", tally.findings));
            fs::copy(&path, &kept).unwrap();
            println!("FOUND {finding}: {}", kept.display());
        }
        if reported.elapsed() > Duration::from_mins(1) {
            reported = Instant::now();
            println!("{:>6} s: {tally}", start.elapsed().as_secs());
        }
    }
    println!("{tally}");
    for (kind, count) in &tally.refusals {
        println!("{count:>10}  {kind}");
    }
    if tally.findings > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The models that mutants are made from.
fn seeds() -> Vec<Model> {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama");
    let seed = |name| {
        let model = Model::read(&goldens.join(name));
        let original = fs::read(goldens.join(name)).unwrap();
        assert_eq!(model.write(), original, "{name} is not understood");
        model
    };
    ["model.gguf", "tied.gguf"].map(seed).into()
}

/// A model file with a few changes, of its fields or of its bytes.
fn mutant(seeds: &[Model], random: &mut Random) -> Vec<u8> {
    let mut model = random.one_of(seeds).clone();
    let bytewise = random.below(4) == 0;
    if !bytewise {
        for _ in 0..=random.below(3) {
            mutate(&mut model, random);
        }
    }
    let mut bytes = model.write();
    let header = bytes.len() - model.data.len().min(bytes.len());
    if bytewise {
        for _ in 0..=random.below(8) {
            bytes[random.below(header)] = random.next() as u8;
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
    }
    bytes
}

/// What became of the mutants so far.
#[derive(Default)]
struct Tally {
    runs: u64,
    accepted: u64,
    findings: u64,
    max_bytes: usize,
    max_time: Duration,
    refusals: BTreeMap<String, u64>,
}

impl Tally {
    /// Opens a mutant; says what is wrong with how that went.
    fn try_one(&mut self, path: &Path) -> Option<String> {
        let (outcome, bytes, time) = open(path);
        self.runs += 1;
        self.max_bytes = self.max_bytes.max(bytes);
        self.max_time = self.max_time.max(time);
        let mut finding = None;
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Refused(message) => *self.refusals.entry(kind(&message)).or_default() += 1,
            Outcome::Panicked(message) => finding = Some(format!("panic: {message}")),
        }
        if bytes > MAX_MEMORY {
            finding = Some(format!("{bytes} bytes"));
        } else if time > MAX_TIME && open(path).2 > MAX_TIME {
            // Twice: the machine may have been busy, or this program stopped.
            finding = Some(format!("{time:?}"));
        }
        self.findings += u64::from(finding.is_some());
        finding
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, accepted, findings, max_bytes, max_time, refusals } = self;
        write!(
            f,
            "{runs} mutants, {accepted} accepted, {} kinds of refusal, {findings} findings; at most \
             {max_bytes} bytes and {max_time:?}",
            refusals.len()
        )
    }
}

#[derive(Debug)]
enum Outcome {
    Accepted,
    Refused(String),
    Panicked(String),
}

/// Opens a model; also the bytes that it took at most, and the time.
fn open(path: &Path) -> (Outcome, usize, Duration) {
    let files = LlmFiles::Gguf(path.to_owned());
    let (before, start) = (HELD.load(Relaxed), Instant::now());
    PEAK.store(before, Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(|| files.check()));
    let (bytes, time) = (PEAK.load(Relaxed) - before, start.elapsed());
    let outcome = match outcome {
        Ok(Ok(())) => Outcome::Accepted,
        Ok(Err(error)) => Outcome::Refused(format!("{error:#}")),
        Err(panic) => Outcome::Panicked(match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => {
                panic.downcast::<&str>().map_or_else(|_| String::new(), |m| (*m).to_owned())
            }
        }),
    };
    (outcome, bytes, time)
}

/// An error's message without what differs from mutant to mutant.
fn kind(message: &str) -> String {
    let message = message.split_once("current.gguf: ").map_or(message, |(_, rest)| rest);
    let mut quoted = false;
    let mut kind = String::new();
    for letter in message.chars() {
        match letter {
            '"' | '`' => quoted = !quoted,
            _ if quoted || letter.is_ascii_digit() => {}
            _ => kind.push(letter),
        }
    }
    kind.chars().take(90).collect()
}
