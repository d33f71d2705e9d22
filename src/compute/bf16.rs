//! Rounding to bf16, the upper 16 bits of an `f32`.
//!
//! One rule everywhere: to the nearest, and a tie to the even one (IEEE 754). `0x7fff` carries into
//! the upper half from just above the middle on, and the lowest bit that stays adds what a tie
//! above an odd number lacks. A NaN may become an infinity, which is as lost.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_castps_si256,
    _mm256_set1_epi32, _mm256_srli_epi32, _mm512_add_epi32, _mm512_castps_si512,
    _mm512_mask_sub_epi32, _mm512_set1_epi32, _mm512_test_epi32_mask,
};

/// The bits of the bf16 that is nearest to `value`.
#[inline(always)]
pub fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// [`to_bf16`] of eight values, in the lower half of each lane; the upper half is zero.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub fn to_bf16_of_8(values: __m256) -> __m256i {
    let bits = _mm256_castps_si256(values);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let bits = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    _mm256_srli_epi32::<16>(bits)
}

/// [`to_bf16`] of sixteen values, in the upper half of each lane; the lower half is left over.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
pub fn to_bf16_of_16(values: __m512) -> __m512i {
    let bits = _mm512_castps_si512(values);
    let odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << 16));
    let bits = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    _mm512_mask_sub_epi32(bits, odd, bits, _mm512_set1_epi32(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ties above even and odd numbers, their neighbours, and the largest and smallest numbers.
    fn values() -> [f32; 16] {
        let bits: [u32; 16] = [
            0x3f80_8000,
            0x3f81_8000,
            0x3f80_7fff,
            0x3f80_8001,
            0x3f81_7fff,
            0x3f81_8001,
            0xbf80_8000,
            0xbf81_8000,
            0x0000_8000,
            0x0001_8000,
            0x7f7f_7fff,
            0x7f7f_8000,
            0x7f80_0000,
            0x8000_0000,
            0x4049_0fdb,
            0xc2f6_e979,
        ];
        bits.map(f32::from_bits)
    }

    #[test]
    fn ties_go_to_the_even_neighbour() {
        assert_eq!(to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        for value in values() {
            assert_eq!(to_bf16(value), half::bf16::from_f32(value).to_bits(), "{value}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vectors_round_as_single_values_do() {
        use crate::compute::simd::{InstructionSet, SimdLevel};
        use std::arch::x86_64::{_mm256_loadu_ps, _mm512_loadu_ps};
        let (test, values) = ("bf16 in vectors", values());
        let expected = values.map(to_bf16);
        if SimdLevel::of_test(test, InstructionSet::Avx2).is_some() {
            // SAFETY: the CPU has AVX2, there are sixteen values, and vectors are plain lanes.
            let found: [[u32; 8]; 2] = unsafe {
                [0, 8].map(|first| {
                    std::mem::transmute(to_bf16_of_8(_mm256_loadu_ps(values[first..].as_ptr())))
                })
            };
            assert_eq!(found.as_flattened(), expected.map(u32::from));
        }
        if SimdLevel::of_test(test, InstructionSet::Avx512).is_some() {
            // SAFETY: the CPU has AVX-512, there are sixteen values, and vectors are plain lanes.
            let found: [u32; 16] =
                unsafe { std::mem::transmute(to_bf16_of_16(_mm512_loadu_ps(values.as_ptr()))) };
            assert_eq!(found.map(|bits| (bits >> 16) as u16), expected);
        }
    }
}
