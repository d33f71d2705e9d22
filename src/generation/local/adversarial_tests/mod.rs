//! Corrupt, unsupported and malicious files must produce a clear error, without panics and without
//! memory use out of proportion to the file size.

mod allocator;
mod gguf;
mod gguf_file;
mod safetensors;
mod split;
mod templates;
mod tokenizers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::generation::local::checkpoint::files::{Opened, open_gguf};
use crate::generation::local::checkpoint::gguf::Gguf;

/// Memory limit for reading any file in these tests, in bytes. The files are about half a megabyte.
const MAX_MEMORY: usize = 24 << 20;
/// Time limit for the same.
const MAX_TIME: Duration = Duration::from_secs(5);

/// Runs `work` and checks that it stays within both limits.
fn bounded<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let (result, peak) = allocator::peak(work);
    assert!(peak <= MAX_MEMORY, "{what} took {peak} bytes");
    assert!(start.elapsed() < MAX_TIME, "{what} took {:?}", start.elapsed());
    result
}

/// Checks that `work` fails with an error chain that contains `expected`, and returns the chain.
fn refused<T>(what: &str, expected: &str, work: impl FnOnce() -> Result<T>) -> String {
    let message = match bounded(what, work) {
        Ok(_) => panic!("{what} was accepted"),
        Err(error) => format!("{error:#}"),
    };
    assert!(message.contains(expected), "{what}: {message:?} lacks {expected:?}");
    assert!(message.len() < 2000, "{what}: an error of {} bytes", message.len());
    message
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama")
}

fn whole() -> Vec<u8> {
    fs::read(tiny().join("model.gguf")).unwrap()
}

fn read(bytes: &[u8]) -> Result<Opened> {
    open_gguf(Gguf::from_bytes(bytes)?)
}
