//! Which instructions the kernels of quantized matrices may run.

use crate::compute::SimdLevel;
use crate::compute::simd::InstructionSet;

/// Proof that this CPU has AVX2, FMA and F16C, and of the wider instructions that it has besides.
///
/// Only detection makes one, so that the safe functions here that run those instructions
/// take an `Isa`, or something that was made with one.
#[derive(Debug, Clone, Copy)]
pub struct Isa(SimdLevel);

impl Isa {
    /// `None`: the CPU lacks one of the three. A lesser level in `RAG_QUERY_CPU` means AVX2 here:
    /// there are no kernels below it.
    pub fn detect() -> Option<Self> {
        let mut available = SimdLevel::available().into_iter();
        let least = available.find(|level| level.has(InstructionSet::Avx2))?;
        Some(Self(SimdLevel::detect().max(least)))
    }

    /// AVX-512 F, BW, DQ, VL and VNNI.
    pub(super) fn has_avx512(self) -> bool {
        self.0.has(InstructionSet::Avx512)
    }

    /// Matrix tiles, and with them AVX-512.
    pub(super) fn has_amx(self) -> bool {
        self.0.has(InstructionSet::Amx)
    }

    /// All that this CPU has, for a test that runs on each; the others are reported as skipped.
    #[cfg(test)]
    pub(super) fn all_of_test(test: &str) -> Vec<Self> {
        let levels = SimdLevel::all_of_test(test).into_iter();
        levels.filter(|level| level.has(InstructionSet::Avx2)).map(Self).collect()
    }

    /// Exactly AVX2, for a test.
    #[cfg(test)]
    pub(super) fn avx2() -> Self {
        let level = SimdLevel::of_test("kernels of quantized matrices", InstructionSet::Avx2);
        Self(level.expect("this test needs AVX2"))
    }
}
