//! Compiles the LLM's own CUDA kernels, where the build has CUDA, and lets the program start without
//! CUDA's libraries.

#[path = "build/lazy_libraries.rs"]
mod lazy_libraries;

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

const KERNELS: &str = "src/compute/cuda/kernels.cu";

/// PTX is compiled for the oldest GPUs that CUDA 13 knows (Turing), or for older ones if the build
/// is for them. Drivers translate it for every later GPU; nothing in the kernels gains from newer
/// instructions.
const OLDEST: u32 = 75;

/// Machine code is added for these, so that their drivers need not translate: the generations that
/// most GPUs in use belong to. It also runs on later GPUs of the same generation.
const COMMON: [u32; 3] = [80, 90, 120];

fn main() {
    println!("cargo:rerun-if-changed=src/compute/cuda");
    println!("cargo:rerun-if-env-changed=NVCC");
    println!("cargo:rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let checked = std::fs::read_to_string("docs/bench/gpu-check.json");
    std::fs::write(out.join("gpu-check.json"), checked.as_deref().unwrap_or("null"))
        .unwrap_or_else(|error| panic!("cannot write to {}: {error}", out.display()));
    if std::path::Path::new("docs/bench").exists() {
        println!("cargo:rerun-if-changed=docs/bench");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let nvcc = env::var_os("NVCC").unwrap_or_else(|| "nvcc".into());
    lazy_libraries::link(&out);
    let out = out.join("kernels.fatbin");
    let oldest = compute_capability().map_or(OLDEST, |capability| capability.min(OLDEST));
    let known = output(&nvcc, &["--list-gpu-code"]);
    let known: Vec<&str> = known.lines().map(str::trim).collect();
    let mut codes = vec![format!("compute_{oldest}")];
    codes.extend(COMMON.map(|capability| format!("sm_{capability}")));
    codes.retain(|code| code.starts_with("compute") || known.contains(&code.as_str()));
    let mut compiler = Command::new(&nvcc);
    compiler.args(["--fatbin", "-O3"]);
    // All machine code is made from the same PTX, by the assembler of which drivers have a copy.
    compiler.arg(format!("-gencode=arch=compute_{oldest},code=[{}]", codes.join(",")));
    let status = compiler.arg("-o").arg(&out).arg(KERNELS).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} could not compile {KERNELS}: {status}", nvcc.display()),
        Err(error) => panic!(
            "cannot run {}: {error}; the CUDA toolkit is needed to build with the feature `cuda`",
            nvcc.display()
        ),
    }
}

/// `CUDA_COMPUTE_CAP` as a number: 80 for `80`, `8.0` and `sm_80`.
fn compute_capability() -> Option<u32> {
    let text = env::var("CUDA_COMPUTE_CAP").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What a program prints; empty if it fails, so that an old compiler adds no machine code.
fn output(program: &OsStr, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
