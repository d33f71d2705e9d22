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
use rag_query::Exit;
use rag_query::internals::generation::local::placement::DeviceChoice;
use rag_query::internals::generation::local::placement::gpu::{self, GpuError};
use rag_query::internals::generation::local::{Llm, LlmFiles};
use rag_query::internals::measure::{ATTEMPTS, generate, longest, prompt};
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
    /// The largest difference of logits allowed, as a share of the largest logit
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
    // The first token comes with the prompt; each of the others takes a pass of its own.
    let generation = longest(&llm, args.prefill, args.decode + 1)?;
    let decoded = generation.tokens.len().saturating_sub(1);
    ensure!(decoded == args.decode, "the model ends its answer after {decoded} tokens");
    let decode = generation.decode.as_secs_f64();
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
            "prefill_tokens": generation.prompt_tokens,
            "prefill_tokens_per_s": generation.prompt_tokens as f64 / generation.prefill.as_secs_f64(),
            "decode_tokens": decoded,
            "decode_tokens_per_s": (decoded > 0).then(|| decoded as f64 / decode),
            "rss_after_load_bytes": loaded_rss,
            "rss_peak_bytes": status("VmHWM:"),
        })
    );
    Ok(())
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
    let mut differences = serde_json::Map::new();
    let mut largest = 0f32;
    // Different kernels serve passes of one token, of a few, and of many.
    for chunk in [1, 7, 256] {
        let logits = device.logits(&prompt, chunk)?;
        let difference = logits
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs() / scale)
            // `max` would drop a NaN.
            .fold(0f32, |max, next| if next > max || next.is_nan() { next } else { max });
        differences.insert(format!("chunks_of_{chunk}"), difference.into());
        largest = if difference > largest || difference.is_nan() { difference } else { largest };
    }
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
            "greedy_tokens": here.tokens.len(),
            "greedy_tokens_equal": equal,
        })
    );
    ensure!(
        largest <= args.tolerance,
        "logits differ by {largest} of the largest, more than {}",
        args.tolerance
    );
    Ok(())
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
