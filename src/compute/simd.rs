//! Which vector instructions this CPU has.

use std::sync::OnceLock;

/// Proof that this CPU has certain vector instructions.
///
/// Only this module makes one, after asking the CPU, so a safe function that takes it may run the
/// instructions. From the least able to the most able.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimdLevel(InstructionSet);

/// Instruction sets that the kernels know. Each includes those before it of the same architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compute) enum InstructionSet {
    /// What the compiler makes of plain loops.
    Portable,
    /// Vectors of 128 bits: every 64-bit ARM CPU.
    Neon,
    /// Sums of four 8-bit products in one instruction: ARMv8.2 with `dotprod`, and every CPU since
    /// ARMv8.4.
    Dotprod,
    /// AVX2, FMA and F16C: x86-64 since 2013.
    Avx2,
    /// Sums of four 8-bit products in one instruction: AVX-VNNI, or AVX-512 VNNI on vectors of 256
    /// bits.
    Vnni,
    /// Vectors of 512 bits, with VNNI: AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// Matrix tiles of 8-bit integers and bf16, on Linux.
    Amx,
}

impl InstructionSet {
    /// Those of this architecture, from the least able to the most able.
    const ALL: &[Self] = if cfg!(target_arch = "aarch64") {
        &[Self::Portable, Self::Neon, Self::Dotprod]
    } else if cfg!(target_arch = "x86_64") {
        &[Self::Portable, Self::Avx2, Self::Vnni, Self::Avx512, Self::Amx]
    } else {
        &[Self::Portable]
    };

    /// As `RAG_QUERY_CPU` spells it.
    fn name(self) -> &'static str {
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
}

impl SimdLevel {
    /// The best level of this CPU, or a lesser one that `RAG_QUERY_CPU` names: to compare, or to
    /// find a fault.
    pub fn detect() -> Self {
        static LEVEL: OnceLock<SimdLevel> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let wanted = std::env::var("RAG_QUERY_CPU").unwrap_or_default();
            let named = Self::available().into_iter().find(|level| level.name() == wanted);
            named.unwrap_or_else(Self::best)
        })
    }

    /// All levels that this CPU has, the least able first.
    pub fn available() -> Vec<Self> {
        let Self(best) = Self::best();
        InstructionSet::ALL.iter().filter(|&&set| set <= best).map(|&set| Self(set)).collect()
    }

    fn best() -> Self {
        Self(detect())
    }

    /// As `RAG_QUERY_CPU` spells it.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether there are matrix tiles (AMX).
    pub fn has_matrix_tiles(self) -> bool {
        self.has(InstructionSet::Amx)
    }

    pub(in crate::compute) fn instructions(self) -> InstructionSet {
        self.0
    }

    /// Whether `set` is among the instructions of this level.
    pub(in crate::compute) fn has(self, set: InstructionSet) -> bool {
        self.0 >= set
    }

    /// The level of exactly `set`, for a test; without the instructions the test is reported as
    /// skipped.
    #[cfg(test)]
    pub(in crate::compute) fn of_test(test: &str, set: InstructionSet) -> Option<Self> {
        let level = Self::available().into_iter().find(|level| level.0 == set);
        if level.is_none() {
            super::skipped(test, set.needs());
        }
        level
    }

    /// All levels of this CPU, for a test that runs on each; for those that it does not have the
    /// test is reported as skipped.
    #[cfg(test)]
    pub(crate) fn all_of_test(test: &str) -> Vec<Self> {
        InstructionSet::ALL.iter().filter_map(|&set| Self::of_test(test, set)).collect()
    }
}

#[cfg(test)]
impl InstructionSet {
    fn needs(self) -> &'static str {
        match self {
            Self::Portable => "nothing",
            Self::Neon => "NEON",
            Self::Dotprod => "NEON dot products",
            Self::Avx2 => "AVX2",
            Self::Vnni => "VNNI",
            Self::Avx512 => "AVX-512",
            Self::Amx => "AMX",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> InstructionSet {
    if !has_avx2() {
        InstructionSet::Portable
    } else if has_avx512() {
        if has_amx() { InstructionSet::Amx } else { InstructionSet::Avx512 }
    } else if has_vnni() {
        InstructionSet::Vnni
    } else {
        InstructionSet::Avx2
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Whether sums of four 8-bit products are one instruction.
#[cfg(target_arch = "x86_64")]
fn has_vnni() -> bool {
    is_x86_feature_detected!("avxvnni")
        || (is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl"))
}

/// Whether this CPU multiplies tiles of 8-bit integers and of bf16, and the system lets this process
/// do so.
#[cfg(target_arch = "x86_64")]
pub(in crate::compute) fn has_amx() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_amx_instructions() && may_use_tiles())
}

/// Bits 22, 24 and 25 of CPUID's leaf 7: AMX-BF16, AMX-TILE and AMX-INT8.
#[cfg(target_arch = "x86_64")]
fn has_amx_instructions() -> bool {
    const BITS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    #[allow(unused_unsafe, reason = "safe in newer compilers")]
    // SAFETY: every x86-64 CPU has the instruction.
    let (max_leaf, leaf) = unsafe {
        (std::arch::x86_64::__get_cpuid_max(0).0, std::arch::x86_64::__cpuid_count(7, 0))
    };
    max_leaf >= 7 && leaf.edx & BITS == BITS
}

/// Linux gives a process the tiles' 8 KiB of state when it asks (`arch_prctl(2)`), and refuses where
/// the kernel or a hypervisor does not save them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call has no effect but the permission.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn may_use_tiles() -> bool {
    false
}

#[cfg(target_arch = "aarch64")]
fn detect() -> InstructionSet {
    if std::arch::is_aarch64_feature_detected!("dotprod") {
        InstructionSet::Dotprod
    } else {
        InstructionSet::Neon
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> InstructionSet {
    InstructionSet::Portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_detected_is_available() {
        let available = SimdLevel::available();
        assert_eq!(available[0].instructions(), InstructionSet::Portable);
        assert!(available.is_sorted() && available.contains(&SimdLevel::detect()));
        assert!(available.iter().all(|level| level.has(InstructionSet::Portable)));
    }
}
