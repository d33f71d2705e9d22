//! What models and search on the CPU share: threads, instruction sets, and the innermost loops.
//!
//! One portable build is fast everywhere: which instructions there are is asked at run time
//! ([`simd`]), and the kernels are compiled for each.

#![allow(unsafe_code, reason = "kernels name instructions and share memory between threads")]

pub(crate) mod activation;
pub(crate) mod aligned;
pub(crate) mod bf16;
#[cfg_attr(not(feature = "cuda"), path = "cuda/disabled.rs")]
pub(crate) mod cuda;
pub mod dense;
pub(crate) mod exp;
pub(crate) mod heads;
pub(crate) mod norm;
pub mod pool;
#[cfg_attr(not(target_arch = "x86_64"), path = "quantized/disabled.rs")]
pub(crate) mod quantized;
pub(crate) mod rope;
pub mod simd;

pub use simd::SimdLevel;

/// Reports that `test` did not run here, or not with all instructions, and what it `needs`: on
/// standard error, and in the file that `RAG_QUERY_SKIPPED` names, so that CI can count.
#[cfg(test)]
pub(crate) fn skipped(test: &str, needs: &str) {
    use std::io::Write;
    let line = format!("skipped: needs {needs}: {test}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("RAG_QUERY_SKIPPED") {
        let file = std::fs::File::options().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("cannot write to {}: {error}", path.display()));
    }
}
