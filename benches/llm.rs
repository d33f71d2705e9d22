//! Loads a model, reads a prompt, writes an answer, and prints how long each took as one line of
//! JSON. One run is one sample: scripts alternate runs of what they compare.
//!
//! ```text
//! cargo bench --bench llm -- model.gguf --device cpu --threads 2 --prefill 512 --decode 64
//! ```
//!
//! `ci/gpu-check` uses two more modes: `--against-cpu` compares the logits and greedy tokens of a device
//! with those of the CPU, and `--leave BYTES` plays a program that occupies the GPU's memory.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Tensor};
use clap::Parser;
use rag_query::internals::generation::local::placement::DeviceChoice;
use rag_query::internals::generation::local::placement::gpu::{self, GpuError};
use rag_query::internals::generation::local::{Generation, Llm, LlmFiles, rounded_logits};
use rag_query::internals::measure::{ATTEMPTS, generate, prompt};
use rag_query::{Exit, SamplingOptions};
use serde_json::json;

/// The variable from which libraries read the number of threads, once, at their first use.
const THREADS: &str = "RAYON_NUM_THREADS";

#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Args {
    /// A GGUF file or a Hugging Face folder
    #[arg(required_unless_present = "leave")]
    model: Option<PathBuf>,
    /// Compare the device's logits and greedy tokens with the CPU's instead of measuring
    #[arg(long)]
    against_cpu: bool,
    /// The largest difference of logits allowed, as a share of the largest logit. Where a GPU rounds
    /// activations to 16 bits, the limit is instead three times what that does to the logits on the CPU, where attention rounds
    /// less
    #[arg(long, default_value_t = 1e-3, requires = "against_cpu")]
    tolerance: f32,
    /// Occupy all but this many bytes of the GPU's memory, until standard input ends
    #[arg(long, value_name = "BYTES", conflicts_with = "model")]
    leave: Option<u64>,
    /// `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads on the CPU [default: one per core]
    #[arg(long)]
    threads: Option<usize>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prefill: u32,
    /// Tokens to write after the prompt
    #[arg(long, default_value_t = 64)]
    decode: usize,
    /// Tokens that fit into the cache [default: as many as needed]
    #[arg(long)]
    context: Option<usize>,
    /// Guess tokens from the prompt, as answers do
    #[arg(long)]
    guess: bool,
    /// 0 is greedy
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Read the prompt once before measuring, so that kernels are loaded and weights repacked
    #[arg(long)]
    warm: bool,
    /// Keep asking the driver how much memory is taken; costs some speed
    #[arg(long)]
    watch_memory: bool,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let gpu = error.chain().any(<dyn std::error::Error>::is::<GpuError>);
            ExitCode::from(if gpu { Exit::NoGpu } else { Exit::Error } as u8)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(threads) = args.threads.map(|threads| threads.to_string())
        && std::env::var(THREADS).as_deref() != Ok(&threads)
    {
        return again_with(&threads);
    }
    match (&args.model, args.leave) {
        (_, Some(bytes)) => hold_all_but(args.device, bytes),
        (Some(model), None) if args.against_cpu => compare(args, model),
        (Some(model), None) => measure(args, model),
        (None, None) => unreachable!("clap asks for a model"),
    }
}

fn measure(args: &Args, model: &Path) -> Result<()> {
    let context = args.context.unwrap_or(args.prefill as usize + args.decode + 1);
    let start = Instant::now();
    let llm = Llm::load(&LlmFiles::at(model)?, args.device, context)?;
    let load = start.elapsed();
    let loaded_rss = status("VmRSS:");
    let memory = llm.placed().memory.as_ref();
    if args.warm {
        generate(&llm, &prompt(&llm, args.prefill, ATTEMPTS), 1)?;
    }
    let peak = match args.watch_memory {
        true => Some(peak_memory(&llm, &prompt(&llm, args.prefill, 0))?),
        false => None,
    };
    // The first token comes with the prompt; each of the others takes a pass of its own, unless it was
    // guessed.
    let (generation, gaps) = write(args, &llm)?;
    let decoded = generation.tokens.len().saturating_sub(1);
    ensure!(decoded == args.decode, "the model ends its answer after {decoded} tokens");
    let decode = generation.decode.as_secs_f64();
    let times = llm.load_times()?;
    println!(
        "{}",
        json!({
            "model": name(model),
            "file_bytes": model.metadata().ok().map(|metadata| metadata.len()),
            "device": llm.placed().device,
            "gpu": memory.map(|memory| &memory.gpu),
            "vram_planned_bytes": memory.map(|memory| memory.planned),
            "vram_after_load_bytes": memory.and_then(|memory| memory.measured),
            "vram_peak_bytes": peak,
            "threads": args.threads,
            "context": llm.context(),
            "load_s": load.as_secs_f64(),
            "load_device_s": times.device.as_secs_f64(),
            "load_weights_s": times.weights.as_secs_f64(),
            "load_cache_s": times.cache.as_secs_f64(),
            "prefill_tokens": generation.prompt_tokens,
            "prefill_tokens_per_s": generation.prompt_tokens as f64 / generation.prefill.as_secs_f64(),
            "decode_tokens": decoded,
            "decode_tokens_per_s": (decoded > 0).then(|| decoded as f64 / decode),
            "guessed_tokens": generation.guessed,
            // Of the pieces of text, most of which are a token.
            "gap_median_ms": percentile(&gaps, 0.5),
            "gap_95_ms": percentile(&gaps, 0.95),
            "gap_most_ms": percentile(&gaps, 1.0),
            "rss_after_load_bytes": loaded_rss,
            "rss_peak_bytes": status("VmHWM:"),
        })
    );
    Ok(())
}

/// The longest answer to one of several prompts, and the milliseconds between its pieces of text, in
/// order of size.
fn write(args: &Args, llm: &Llm) -> Result<(Generation, Vec<f64>)> {
    let options = SamplingOptions {
        max_tokens: args.decode + 1,
        repeat_penalty: 1.0,
        lookup: args.guess,
        temperature: args.temperature,
        ..SamplingOptions::default()
    };
    let mut longest: Option<(Generation, Vec<f64>)> = None;
    for seed in 0..ATTEMPTS {
        let (mut gaps, mut last) = (Vec::new(), None);
        let mut on_text = |_: &str| {
            let now = Instant::now();
            gaps.extend(last.replace(now).map(|last| (now - last).as_secs_f64() * 1e3));
        };
        let prompt = prompt(llm, args.prefill, seed);
        let written = llm.generate(&prompt, &options, &AtomicBool::new(false), &mut on_text)?;
        gaps.sort_by(f64::total_cmp);
        let so_far = longest.as_ref().map_or(0, |(longest, _)| longest.tokens.len());
        if written.tokens.len() > so_far {
            longest = Some((written, gaps));
        }
        if longest.as_ref().is_some_and(|(longest, _)| longest.tokens.len() > args.decode) {
            break;
        }
    }
    longest.context("the model writes nothing")
}

/// Of sorted values.
fn percentile(values: &[f64], share: f64) -> Option<f64> {
    values.get((values.len().checked_sub(1)? as f64 * share) as usize).copied()
}

/// The most memory that the driver reports as taken while a prompt is read, in bytes.
fn peak_memory(llm: &Llm, prompt: &[u32]) -> Result<u64> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                let measured = llm.measure().memory.and_then(|memory| memory.measured);
                peak = peak.max(measured.unwrap_or(0));
            }
            peak
        });
        let generation = generate(llm, prompt, 8);
        done.store(true, Ordering::Relaxed);
        let peak = watch.join().expect("measuring does not panic");
        generation.map(|_| peak)
    })
}

/// Compares the CPU and the device on the same prompt: logits, then greedy tokens.
fn compare(args: &Args, model: &Path) -> Result<()> {
    let files = LlmFiles::at(model)?;
    let context = args.context.unwrap_or(args.prefill as usize + args.decode + 1);
    let cpu = Llm::load(&files, DeviceChoice::Cpu, context)?;
    let device = Llm::load(&files, args.device, context)?;
    let prompt = prompt(&cpu, args.prefill, 0);
    let expected = cpu.logits(&prompt, 256)?;
    let scale = expected.iter().fold(0f32, |most, logit| most.max(logit.abs()));
    let difference = |logits: &[f32]| {
        let each = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs() / scale);
        each.fold(0f32, larger)
    };
    let rounding = rounded_logits(&files, &prompt)?.map(|logits| difference(&logits));
    let mut differences = serde_json::Map::new();
    let mut largest = 0f32;
    // Different kernels serve passes of one token, of a few, and of many.
    for chunk in [1, 7, 256] {
        let difference = difference(&device.logits(&prompt, chunk)?);
        differences.insert(format!("chunks_of_{chunk}"), difference.into());
        largest = larger(largest, difference);
    }
    let limit = rounding.map_or(args.tolerance, |rounding| 3.0 * rounding);
    let (here, there) =
        (generate(&cpu, &prompt, args.decode)?, generate(&device, &prompt, args.decode)?);
    let equal = here.tokens.iter().zip(&there.tokens).take_while(|(a, b)| a == b).count();
    println!(
        "{}",
        json!({
            "model": name(model),
            "device": device.placed().device,
            "prefill_tokens": args.prefill,
            "largest_logit": scale,
            "difference_of_logits": differences,
            "difference_by_rounding": rounding,
            "greedy_tokens": here.tokens.len(),
            "greedy_tokens_equal": equal,
        })
    );
    ensure!(largest <= limit, "logits differ by {largest} of the largest, more than {limit}");
    Ok(())
}

/// The larger of two numbers; NaN if either is (`max` would drop it).
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// Takes memory until only `bytes` are left, reports that, and waits.
fn hold_all_but(device: DeviceChoice, bytes: u64) -> Result<()> {
    const SMALLEST: u64 = 64 << 20;
    let DeviceChoice::Cuda(ordinal) = device else { bail!("only a GPU's memory can be held") };
    let gpu = gpu::choose(gpu::driver(), ordinal)?;
    let opened = gpu::driver().open(&gpu)?;
    let mut held = Vec::new();
    let free = loop {
        let free = gpu::driver().gpu(gpu.ordinal)?.free;
        let excess = free.saturating_sub(bytes);
        if excess < SMALLEST {
            break free;
        }
        // Halves: a large GPU has thousands of small pieces, and each takes a moment.
        let piece = (excess / 2).max(SMALLEST);
        held.push(Tensor::zeros(piece as usize, DType::U8, &opened)?);
        opened.synchronize()?;
    };
    let bytes: usize = held.iter().map(Tensor::elem_count).sum();
    println!("{}", json!({ "held_bytes": bytes, "free_bytes": free }));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn name(model: &Path) -> Option<String> {
    Some(model.file_name()?.to_string_lossy().into_owned())
}

/// Runs this program again with the number of threads in its environment, where libraries see it.
fn again_with(threads: &str) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut again = Command::new(program);
    let status = again.args(std::env::args_os().skip(1)).env(THREADS, threads).status();
    std::process::exit(status.context("cannot run this program again")?.code().unwrap_or(1))
}

/// A size from `/proc/self/status`, in bytes; `None` if there is no such file.
fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}
