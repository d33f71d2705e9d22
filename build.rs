//! Compiles the LLM's own CUDA kernels, where the build has CUDA.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The oldest GPUs that CUDA 13 knows (Turing). The code is PTX, which every driver translates for
/// the GPU it runs on, and nothing in it gains from newer instructions.
const ARCHITECTURE: &str = "compute_75";
const KERNELS: &str = "src/compute/cuda/kernels.cu";

fn main() {
    println!("cargo:rerun-if-changed={KERNELS}");
    println!("cargo:rerun-if-env-changed=NVCC");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let nvcc = env::var_os("NVCC").unwrap_or_else(|| "nvcc".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("kernels.ptx");
    let status = Command::new(&nvcc)
        .args(["--ptx", "-O3", "-arch", ARCHITECTURE, "-o"])
        .arg(&out)
        .arg(KERNELS)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} could not compile {KERNELS}: {status}", nvcc.display()),
        Err(error) => panic!(
            "cannot run {}: {error}; the CUDA toolkit is needed to build with the feature `cuda`",
            nvcc.display()
        ),
    }
}
