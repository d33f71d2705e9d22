//! Measures the tokenizer of an encoder beside the `tokenizers` library's own reading of the same
//! file: seconds to load it, and seconds for each text. One line of JSON.
//!
//! ```text
//! cargo bench --bench tokenizer -- TOKENIZER.json FILE…
//! ```
//!
//! Each non-empty line of a FILE is a text.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use rag_query::internals::embedding::encoder::TextTokenizer;
use rag_query::internals::measure::median;
use serde_json::json;
use tokenizers::Tokenizer;

#[derive(Parser)]
struct Args {
    /// `tokenizer.json`
    tokenizer: PathBuf,
    /// Texts, one a line
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Times that everything is done, in turns
    #[arg(long, default_value_t = 7)]
    turns: usize,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut texts = Vec::new();
    for file in &args.files {
        let text = fs::read_to_string(file)?;
        texts.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    ensure!(!texts.is_empty(), "the files have no text");
    let (mut ours, mut library) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..args.turns {
        let start = Instant::now();
        let tokenizer = TextTokenizer::load(&args.tokenizer)?;
        ours[0].push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for text in &texts {
            tokenizer.encode(text)?;
        }
        ours[1].push(start.elapsed().as_secs_f64() / texts.len() as f64);
        drop(tokenizer);

        let failed = |error| anyhow!("{error}");
        let start = Instant::now();
        let tokenizer = Tokenizer::from_file(&args.tokenizer).map_err(failed)?;
        library[0].push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for text in &texts {
            tokenizer.encode(text.as_str(), true).map_err(failed)?;
        }
        library[1].push(start.elapsed().as_secs_f64() / texts.len() as f64);
    }
    let [load, text] = ours.map(median);
    let [library_load, library_text] = library.map(median);
    let line = json!({
        "texts": texts.len(),
        "load_s": load,
        "library_load_s": library_load,
        "load_ratio": library_load / load,
        "text_s": text,
        "library_text_s": library_text,
        "text_ratio": library_text / text,
    });
    println!("{line}");
    Ok(())
}
