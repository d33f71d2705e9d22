//! What models and search on the CPU share: threads, instruction sets, and the innermost loops.
//!
//! One portable build is fast everywhere: which instructions there are is asked at run time, and
//! [`tile`] and [`scan`] are the modules that name them.

#![allow(unsafe_code, reason = "kernels name instructions and share memory between threads")]

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod dense;
pub mod pool;
#[cfg(target_arch = "x86_64")]
pub mod quantized;

use std::sync::OnceLock;

/// Instruction sets that the kernels know, from the least to the most able.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the compiler makes of plain loops.
    Portable,
    /// Vectors of 128 bits: every 64-bit ARM CPU.
    Neon,
    /// And sums of four 8-bit products in one instruction: ARMv8.2 with `dotprod`, and all since
    /// ARMv8.4.
    Dotprod,
    /// AVX2 and FMA: x86-64 since 2013.
    Avx2,
    /// AVX2, and sums of four 8-bit products in one instruction (AVX-VNNI, or AVX-512 VNNI on
    /// vectors of 256 bits).
    Vnni,
    /// Vectors of 512 bits, with VNNI: AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// And matrix tiles, on Linux.
    Amx,
}

impl Level {
    /// Name, as `RAG_QUERY_CPU` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Dotprod => "dotprod",
            Self::Avx2 => "avx2",
            Self::Vnni => "vnni",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// All that this CPU has, the least first.
    pub fn available() -> Vec<Self> {
        const ALL: &[Level] = if cfg!(target_arch = "aarch64") {
            &[Level::Portable, Level::Neon, Level::Dotprod]
        } else {
            &[Level::Portable, Level::Avx2, Level::Vnni, Level::Avx512, Level::Amx]
        };
        let best = detect();
        ALL.iter().copied().filter(|&level| level <= best).collect()
    }
}

/// The best level of this CPU; `RAG_QUERY_CPU` names a lesser one, to compare or to find a fault.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wish = std::env::var("RAG_QUERY_CPU").unwrap_or_default();
        let available = Level::available();
        available.iter().copied().find(|level| level.name() == wish).unwrap_or_else(detect)
    })
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        Level::Portable
    } else if has_avx512() {
        if dense::amx::is_available() { Level::Amx } else { Level::Avx512 }
    } else if dense::tile::has_vnni() {
        Level::Vnni
    } else {
        Level::Avx2
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Level {
    if std::arch::is_aarch64_feature_detected!("dotprod") { Level::Dotprod } else { Level::Neon }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Level {
    Level::Portable
}
