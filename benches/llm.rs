//! Loads a model, reads a prompt, writes an answer, and prints how long each took as one line of
//! JSON. One run is one sample: scripts alternate runs of what they compare.
//!
//! ```text
//! cargo bench --bench llm -- model.gguf --device cpu --threads 2 --prefill 512 --decode 64
//! ```

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rag_query::cli::Exit;
use rag_query::gpu::GpuError;
use rag_query::llm::placement::DeviceChoice;
use rag_query::llm::{Generation, Llm, LlmFiles, SamplingOptions};
use serde_json::json;

/// What libraries read the number of threads from, once, at their first use.
const THREADS: &str = "RAYON_NUM_THREADS";
/// Prompts to try before the model is told to stop ending its answers early.
const ATTEMPTS: u32 = 8;

#[derive(Parser)]
struct Args {
    /// A GGUF file or a Hugging Face folder
    model: PathBuf,
    /// `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads on the CPU [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prefill: u32,
    /// Tokens to write after it
    #[arg(long, default_value_t = 64)]
    decode: usize,
    /// Tokens that the cache has room for [default: as many as are needed]
    #[arg(long)]
    context: Option<usize>,
    /// Read the prompt once before measuring: kernels are loaded and weights repacked then
    #[arg(long)]
    warm: bool,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let gpu = error.chain().any(|cause| cause.is::<GpuError>());
            ExitCode::from(if gpu { Exit::NoGpu } else { Exit::Error } as u8)
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    if let Some(threads) = args.threads.map(|threads| threads.to_string())
        && std::env::var(THREADS).as_deref() != Ok(&threads)
    {
        return again_with(&threads);
    }
    let context = args.context.unwrap_or(args.prefill as usize + args.decode + 1);
    let start = Instant::now();
    let llm = Llm::load(&LlmFiles::at(&args.model)?, args.device, context)?;
    let load = start.elapsed();
    let loaded_rss = memory("VmRSS:");
    if args.warm {
        generate(&llm, &prompt(&llm, args.prefill, ATTEMPTS), 1)?;
    }
    // The first token comes from the prompt; each of the others from a pass of its own.
    let mut generation = generate(&llm, &prompt(&llm, args.prefill, 0), args.decode + 1)?;
    for seed in 1..ATTEMPTS {
        if generation.tokens.len() > args.decode {
            break;
        }
        generation = generate(&llm, &prompt(&llm, args.prefill, seed), args.decode + 1)?;
    }
    let decoded = generation.tokens.len().saturating_sub(1);
    ensure!(decoded == args.decode, "the model ends its answer after {decoded} tokens");
    let decode = generation.decode.as_secs_f64();
    println!(
        "{}",
        json!({
            "model": args.model.file_name().map(|name| name.to_string_lossy()),
            "device": llm.placement(),
            "threads": args.threads,
            "context": llm.context(),
            "load_s": load.as_secs_f64(),
            "prefill_tokens": generation.prompt_tokens,
            "prefill_tokens_per_s": generation.prompt_tokens as f64 / generation.prefill.as_secs_f64(),
            "decode_tokens": decoded,
            "decode_tokens_per_s": (decoded > 0).then(|| decoded as f64 / decode),
            "rss_after_load_bytes": loaded_rss,
            "rss_peak_bytes": memory("VmHWM:"),
        })
    );
    Ok(())
}

/// Runs this program again, with a number of threads that its libraries cannot miss.
fn again_with(threads: &str) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut again = Command::new(program);
    let status = again.args(std::env::args_os().skip(1)).env(THREADS, threads).status();
    std::process::exit(status.context("cannot run this program again")?.code().unwrap_or(1))
}

/// Ordinary tokens in an order of no meaning, the same for the same seed.
fn prompt(llm: &Llm, tokens: u32, seed: u32) -> Vec<u32> {
    let ordinary = (llm.tokenizer().vocabulary() as u32 * 9 / 10).max(1);
    // Knuth's multiplicative hash: 2^32 / φ.
    (0..tokens).map(|i| (i + seed * tokens + 1).wrapping_mul(2_654_435_761) % ordinary).collect()
}

fn generate(llm: &Llm, prompt: &[u32], tokens: usize) -> Result<Generation> {
    let options =
        SamplingOptions { max_tokens: tokens, repeat_penalty: 1.0, ..SamplingOptions::default() };
    llm.generate(prompt, &options, &AtomicBool::new(false), &mut |_| {})
}

/// A line of `/proc/self/status`, in bytes; none where there is no such file.
fn memory(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}
