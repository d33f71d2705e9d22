//! Measures an encoder on the CPU: one line of JSON for each shape of batch, on random tokens.
//!
//! ```text
//! cargo bench --bench encoder -- FOLDER --precision int8 --threads 2 --shape 1x12 --shape 20,300,7
//! ```
//!
//! `FOLDER` has `config.json` and `model.safetensors`. `benches/vs-onnxruntime` takes turns with it.

#![allow(unsafe_code, reason = "sets an environment variable before threads start")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rag_query::internals::compute::SimdLevel;
use rag_query::internals::embedding::encoder::{
    Encoder, EncoderCheckpoint, EncoderConfig, Sequence, batches,
};
use rag_query::internals::measure::{median_seconds, peak};
use rag_query::internals::models::catalogue::Precision;
use rag_query::internals::support::random::SplitMix64;
use serde_json::json;

/// What libraries read the number of threads from, once, at their first use.
const THREADS: &str = "RAYON_NUM_THREADS";

#[derive(Parser)]
struct Args {
    /// A folder with `config.json` and `model.safetensors`
    folder: PathBuf,
    /// `f32` or `int8`
    #[arg(long, default_value = "int8")]
    precision: String,
    /// Threads [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
    /// Seconds to measure each shape
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Texts × tokens of each, or the tokens of each text
    #[arg(long = "shape", default_value = "1x12")]
    shapes: Vec<String>,
    /// Tokens in a batch [default: all texts in one]
    #[arg(long)]
    budget: Option<usize>,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(threads) = args.threads {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(THREADS, threads.to_string()) };
    }
    let precision = match args.precision.as_str() {
        "f32" => Precision::F32,
        "int8" => Precision::Int8,
        other => anyhow::bail!("{other:?} is neither f32 nor int8"),
    };
    let config = EncoderConfig::read(&args.folder.join("config.json"))?;
    let (encoder, load_s) = load(&args.folder, &config, precision)?;
    let peak = peak::operations(precision);
    for shape in &args.shapes {
        let lengths = lengths(shape)?;
        let window = config.max_tokens();
        ensure!(lengths.iter().all(|&tokens| tokens <= window), "the model reads {window} tokens");
        let texts: Vec<Sequence> = (0..)
            .zip(&lengths)
            .map(|(seed, &tokens)| random(seed, tokens, config.vocabulary))
            .collect();
        let batches: Vec<Vec<&Sequence>> = batches(&lengths, args.budget.unwrap_or(usize::MAX))
            .into_iter()
            .map(|batch| batch.into_iter().map(|i| &texts[i]).collect())
            .collect();
        let seconds = median_seconds(args.seconds, 3, || {
            for batch in &batches {
                drop(encoder.forward(batch));
            }
        });
        let operations: usize = lengths.iter().map(|&tokens| encoder.operations(tokens)).sum();
        let operations = 2.0 * operations as f64;
        let line = json!({
            "shape": shape,
            "precision": args.precision,
            "cpu": SimdLevel::detect().name(),
            "load_s": load_s,
            "seconds": seconds,
            "sequences_per_s": lengths.len() as f64 / seconds,
            "gflops": operations / seconds / 1e9,
            "peak_gflops": peak,
        });
        println!("{line}");
    }
    Ok(())
}

/// How many tokens each text has.
fn lengths(shape: &str) -> Result<Vec<usize>> {
    let parse = || -> Result<Vec<usize>, std::num::ParseIntError> {
        match shape.split_once('x') {
            Some((texts, tokens)) => Ok(vec![tokens.parse()?; texts.parse()?]),
            None => shape.split(',').map(str::parse).collect(),
        }
    };
    let lengths = parse().context("a shape is TEXTSxTOKENS, or TOKENS,TOKENS,…")?;
    ensure!(!lengths.is_empty() && !lengths.contains(&0), "a text has one token at least");
    Ok(lengths)
}

fn load(folder: &Path, config: &EncoderConfig, precision: Precision) -> Result<(Encoder, f64)> {
    let open = || {
        let start = Instant::now();
        let tensors = EncoderCheckpoint::open(&folder.join("model.safetensors"))?;
        let encoder = Encoder::load(config, &tensors, precision)?;
        anyhow::Ok((encoder, start.elapsed().as_secs_f64()))
    };
    // Once to have the file in the page cache.
    drop(open()?);
    open()
}

fn random(seed: u64, tokens: usize, vocabulary: usize) -> Sequence {
    let mut random = SplitMix64::new(seed);
    let ids = (0..tokens).map(|_| random.below(vocabulary) as u32).collect();
    Sequence { ids, types: vec![0; tokens] }
}
