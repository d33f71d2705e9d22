//! The real tokenizer of multilingual-e5-small against the `tokenizers` library, token by token.
//!
//! `models/prepare-demo` makes it; the test command runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{Encoding, Tokenizer, TruncationParams};
use unicode_normalization::UnicodeNormalization;

use super::TextTokenizer;
use crate::support::random::SplitMix64;

fn path() -> PathBuf {
    let models = std::env::var_os("RAG_QUERY_MODELS").map_or_else(
        || dirs::data_dir().expect("a data folder").join("rag-query/models"),
        PathBuf::from,
    );
    let path = models.join("multilingual-e5-small-q4_0/tokenizer.json");
    assert!(path.is_file(), "{} is missing: run models/prepare-demo", path.display());
    path
}

static OURS: LazyLock<TextTokenizer> = LazyLock::new(|| TextTokenizer::load(&path()).unwrap());

/// The same tokenizer as the library reads it, but for the pieces of the special tokens: it would
/// find them in a text. Here they are control characters, which the normalizer takes out of texts.
static LIBRARY: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut json: Value = serde_json::from_slice(&fs::read(path()).unwrap()).unwrap();
    for added in json["added_tokens"].take().as_array().unwrap() {
        let id = usize::try_from(added["id"].as_u64().unwrap()).unwrap();
        json["model"]["vocab"][id][0] = Value::from(format!("\u{1}{id}"));
    }
    json["added_tokens"] = Value::Array(Vec::new());
    Tokenizer::from_bytes(serde_json::to_vec(&json).unwrap()).unwrap()
});

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn assert_same(ours: &Encoding, library: &Encoding, text: &str) {
    assert_eq!(ours.get_ids(), library.get_ids(), "{text:?}");
    assert_eq!(ours.get_offsets(), library.get_offsets(), "{text:?}");
    assert_eq!(ours.get_type_ids(), library.get_type_ids(), "{text:?}");
    assert_eq!(ours.get_special_tokens_mask(), library.get_special_tokens_mask(), "{text:?}");
}

fn check(text: &str) {
    let composed: String = text.nfc().collect();
    let library = LIBRARY.encode(composed.as_str(), true).unwrap();
    assert_same(&OURS.encode(text).unwrap(), &library, text);
    let count = LIBRARY.encode_fast(composed, false).unwrap().len();
    assert_eq!(OURS.count(text), count, "{text:?}");
}

#[test]
fn real_texts() {
    let mut texts =
        vec![fs::read_to_string(repository("tests/goldens/llama31_lines.txt")).unwrap()];
    for note in fs::read_dir(repository("index/notes")).unwrap() {
        texts.push(fs::read_to_string(note.unwrap().path()).unwrap());
    }
    let mut lines = 0;
    for text in &texts {
        check(text);
        for line in text.lines() {
            check(line);
            // Decomposed.
            check(&line.nfd().collect::<String>());
            lines += 1;
        }
    }
    assert!(lines > 1500, "{lines}");
}

#[test]
fn transformers_has_the_same_tokens() {
    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        prefix: String,
        text: String,
        ids: Vec<u32>,
    }
    let json = fs::read(repository("tests/goldens/embedder.json")).unwrap();
    let golden: Golden = serde_json::from_slice(&json).unwrap();
    assert!(!golden.cases.is_empty());
    for Case { prefix, text, ids } in golden.cases {
        assert_eq!(OURS.encode(&format!("{prefix}{text}")).unwrap().get_ids(), ids, "{text:?}");
    }
}

#[test]
fn strange_texts() {
    for text in [
        "",
        " ",
        "   \t\r\n  ",
        "a",
        "▁",
        "▁▁▁a▁b▁",
        " a  b ",
        "</s>",
        "a</s>b<s><mask> <unk><pad>",
        "\0\u{1}\u{7f}\u{9f}\u{feff}\u{fffd}",
        "a\u{200b}b\u{200d}c\u{2028}d\u{a0}e\u{3000}f",
        "ﬁ ﷺ ㎒ ½ Å ｶﾞ ①",
        "👩‍👩‍👧‍👦👍🏽🇻🇳",
        "e\u{302}\u{301}\u{302}\u{301}\u{323}\u{323}",
        "\u{301}\u{302} \u{301}",
        "ไม่มีช่องว่างระหว่างคำในภาษาไทย",
        "自然语言处理是人工智能的一个分支。",
        "معالجة اللغة الطبيعية",
        "\u{10ffff}\u{e000}\u{1f9ff}\u{2ffff}\u{d7ff}",
    ] {
        check(text);
    }
    for unit in ["a", "à", "中", "🙂", "\u{301}", "\u{10fffe}", "▁", "</s>", "ab", "-"] {
        check(&unit.repeat(700));
    }
}

/// Letters, marks and spaces of every kind next to each other.
#[test]
fn random_texts() {
    let mut random = SplitMix64::new(1);
    let mut below = |limit: u32| random.below(limit as usize) as u32;
    let words = ["học", "máy", "hoà", "Việt", "the", "</s>", "<mask>", "..", "中文", "ไม่", "ﬀ"];
    for _ in 0..4000 {
        let mut text = String::new();
        for _ in 0..=below(40) {
            match below(8) {
                0 => text.push_str(words[below(words.len() as u32) as usize]),
                1 => text.push(' '),
                2 => text.extend(char::from_u32(below(0x80))),
                3 => text.extend(char::from_u32(0x80 + below(0x2000))),
                4 => text.extend(char::from_u32(0x300 + below(0x70))),
                5 => text.extend(char::from_u32(0x2000 + below(0x2000))),
                6 => text.extend(char::from_u32(0x3400 + below(0xcc00))),
                _ => text.extend(char::from_u32(below(0x11_0000))),
            }
        }
        check(&text);
    }
}

#[test]
fn pairs_in_windows() {
    let text = fs::read_to_string(repository("index/notes/01-nlp-la-gi.md")).unwrap();
    let (question, long) = ("NLP là gì?", text.as_str());
    for window in [8, 9, 15, 64, 512] {
        let ours = TextTokenizer::load(&path()).unwrap().with_window(window).unwrap();
        let mut library = LIBRARY.clone();
        let truncation = TruncationParams { max_length: window, ..TruncationParams::default() };
        library.with_truncation(Some(truncation)).unwrap();
        for (first, second) in
            [(question, long), (long, question), (long, long), (question, ""), ("", "")]
        {
            let expected = library.encode((first, second), true).unwrap();
            let encoding = ours.encode_pair(first, second).unwrap();
            assert!(encoding.len() <= window);
            assert_same(&encoding, &expected, first);
        }
    }
}
