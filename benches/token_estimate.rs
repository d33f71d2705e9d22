//! Compares the estimate of a prompt's tokens with real tokenizers: the table of docs/remote.md.
//!
//! `benches/token-estimate` fetches the tokenizers and runs this. It prints, for each tokenizer and set
//! of texts, the real tokens as a share of the estimate: of all texts together, and of the text where
//! it is highest. An estimate that is too low for a modern tokenizer is an error.

use std::fs;
use std::path::{Path, PathBuf};

use rag_query::internals::generation::remote::estimate;
use rag_query::internals::prompt::Messages;
use serde_json::Value;
use tokenizers::Tokenizer;

const TOKENIZERS: [&str; 6] = ["llama3_1", "gpt4o", "qwen3", "gemma3", "deepseek_v3", "llama2"];
/// Llama 2's tokenizer is older than those that the estimate was fitted to.
const NOT_FITTED: &str = "llama2";
const LANGUAGES: [&str; 7] = ["vi", "en", "de", "ru", "ar", "th", "zh"];
/// The highest share of the estimate that one text may reach.
const MAX_SHARE: f64 = 1.06;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from);
    let usage = "usage: token_estimate TOKENIZERS [FOLDER with xquad-LANGUAGE/corpus.jsonl]";
    let tokenizers = args.next().expect(usage);
    let mut sets = vec![("notes".to_owned(), sections(Path::new("index/notes")))];
    if let Some(folder) = args.next() {
        sets.extend(LANGUAGES.map(|language| {
            let corpus = folder.join(format!("xquad-{language}/corpus.jsonl"));
            (language.to_owned(), paragraphs(&corpus))
        }));
    }
    for name in TOKENIZERS {
        let file = tokenizers.join(name).join("tokenizer.json");
        let tokenizer = Tokenizer::from_file(&file).expect("a tokenizer");
        for (set, texts) in &sets {
            let (share, highest) = shares(&tokenizer, texts);
            println!("{name:12} {set:5} {share:.2} {highest:.2}");
            assert!(name == NOT_FITTED || highest < MAX_SHARE, "{name} {set}: {highest}");
        }
    }
}

/// Real tokens as a share of the estimate: of all texts, and the highest of one text.
fn shares(tokenizer: &Tokenizer, texts: &[String]) -> (f64, f64) {
    let (mut real, mut estimated, mut highest) = (0, 0, 0.0_f64);
    for text in texts {
        let count = tokenizer.encode(text.as_str(), false).expect("a text").len();
        let estimate = estimate_of(text);
        highest = highest.max(count as f64 / estimate as f64);
        real += count;
        estimated += estimate;
    }
    (real as f64 / estimated as f64, highest)
}

/// The estimate for a text alone, without the chat format around it.
fn estimate_of(text: &str) -> usize {
    let of = |user: &str| estimate(&Messages { system: String::new(), user: user.to_owned() });
    of(text) - of("")
}

/// The sections of the notes in a folder.
fn sections(folder: &Path) -> Vec<String> {
    let notes = fs::read_dir(folder).expect("the sample notes");
    let notes = notes.map(|note| fs::read_to_string(note.expect("a note").path()).expect("text"));
    notes
        .flat_map(|note| note.split("\n#").map(str::to_owned).collect::<Vec<_>>())
        .filter(|section| section.len() > 80)
        .collect()
}

/// The texts of a corpus in JSON Lines.
fn paragraphs(corpus: &Path) -> Vec<String> {
    let corpus = fs::read_to_string(corpus).expect("a corpus");
    let text = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["text"].clone();
    corpus.lines().map(|line| text(line).as_str().expect("a text").to_owned()).collect()
}
