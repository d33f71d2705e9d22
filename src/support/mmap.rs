//! Maps files into memory: the one place that does, because it cannot be made safe.

#![allow(unsafe_code, reason = "maps files into memory")]

use std::fs::File;
use std::io;
#[cfg(feature = "cuda")]
use std::ops::Range;
use std::path::Path;

use candle_core::safetensors::MmapedSafetensors;
use memmap2::{Mmap, MmapOptions};

// SAFETY, for every block in this file: a mapped file must not change while its bytes are borrowed,
// and nothing can enforce that. The program itself keeps to it: it replaces model files by renaming
// a complete file over the old one, and writes to a mapped index file only beyond what is mapped.
// Another process may do as it likes. If it writes into a mapped file, the bytes change behind a
// shared reference; every reader here treats them as plain numbers or checks them first, so the
// result should be wrong numbers and no worse. If it truncates one, reading beyond the new end
// raises SIGBUS, and the process ends. This reasoning should be treated as suspect: the language
// promises nothing once another process writes. The alternative, reading gigabytes of weights into
// memory at each start, costs everyone time and memory to guard against a rare mistake, so README.md
// and docs/index.md say how to avoid it: replace such a file with `mv`, never with `cp`.

/// Maps a whole file for reading.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: see the top of this file.
    unsafe { Mmap::map(file) }
}

/// Maps the first `length` bytes of a file, which may grow meanwhile.
pub fn map_start(file: &File, length: usize) -> io::Result<Mmap> {
    // SAFETY: see the top of this file.
    unsafe { MmapOptions::new().len(length).map(file) }
}

/// Announces that a range of a map will be read from one end to the other, so that the system reads
/// ahead.
#[cfg(feature = "cuda")]
pub fn will_need(map: &Mmap, range: Range<usize>) {
    #[cfg(unix)]
    let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
}

/// Gives the pages of a range back, which will not be read soon. The map must be of a file: from
/// there they come again.
#[cfg(feature = "cuda")]
pub fn release(map: &Mmap, range: Range<usize>) {
    #[cfg(unix)]
    // SAFETY: the pages were only read, so the file has the same bytes; see the top of this file.
    let _ = unsafe {
        map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
    };
}

/// Maps safetensors files and reads their headers. Tensors must fill a file without gap or overlap.
pub fn safetensors<P: AsRef<Path>>(paths: &[P]) -> candle_core::Result<MmapedSafetensors> {
    // SAFETY: see the top of this file.
    unsafe { MmapedSafetensors::multi(paths) }
}
