//! How far int8 is from float32, in one line of JSON: the cosine of each sentence's two vectors.
//!
//! ```text
//! cargo bench --bench precision -- FOLDER index/notes/*.md
//! ```
//!
//! `FOLDER` has `config.json`, `tokenizer.json` and `model.safetensors`; a sentence is a line of
//! the files that is not empty. `--vectors` prints a line for each sentence before that: its
//! token ids and both vectors, for `benches/vs-onnxruntime` to compare with its own.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use rag_query::internals::compute::SimdLevel;
use rag_query::internals::embedding::encoder::{
    Encoder, EncoderCheckpoint, EncoderConfig, Sequence, TextTokenizer,
};
use rag_query::internals::embedding::normalize;
use rag_query::internals::models::catalogue::Precision;
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// A folder with `config.json`, `tokenizer.json` and `model.safetensors`
    folder: PathBuf,
    /// Text files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How one vector is made of the tokens'
    #[arg(long, value_enum, default_value_t = Pooling::Mean)]
    pooling: Pooling,
    /// What a sentence starts with
    #[arg(long, default_value = "passage: ")]
    prefix: String,
    /// Print the vectors too
    #[arg(long)]
    vectors: bool,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pooling {
    Mean,
    Cls,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let config = EncoderConfig::read(&args.folder.join("config.json"))?;
    let tokenizer = TextTokenizer::load(&args.folder.join("tokenizer.json"))?
        .with_window(config.max_tokens())?;
    let tensors = EncoderCheckpoint::open(&args.folder.join("model.safetensors"))?;
    let exact = Encoder::load(&config, &tensors, Precision::F32)?;
    let coded = Encoder::load(&config, &tensors, Precision::Int8)?;
    let mut cosines = Vec::new();
    for file in &args.files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let text = Sequence::from(&tokenizer.encode(&format!("{}{line}", args.prefix))?);
            let exact = vector(&exact, &text, args.pooling);
            let coded = vector(&coded, &text, args.pooling);
            cosines.push(exact.iter().zip(&coded).map(|(a, b)| f64::from(a * b)).sum());
            if args.vectors {
                println!("{}", json!({ "ids": text.ids, "f32": exact, "int8": coded }));
            }
        }
    }
    ensure!(!cosines.is_empty(), "the files have no text");
    cosines.sort_by(f64::total_cmp);
    let line = json!({
        "cpu": SimdLevel::detect().name(),
        "sentences": cosines.len(),
        "cosine_min": cosines[0],
        "cosine_median": cosines[cosines.len() / 2],
    });
    println!("{line}");
    Ok(())
}

/// A sentence's unit vector.
fn vector(encoder: &Encoder, text: &Sequence, pooling: Pooling) -> Vec<f32> {
    let hidden = encoder.forward(&[text]);
    let counted = if pooling == Pooling::Mean { text.len() } else { 1 };
    let mut rows = hidden.rows(0).take(counted);
    let mut vector = rows.next().expect("a text has tokens").to_vec();
    for row in rows {
        vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    normalize(&mut vector);
    vector
}
