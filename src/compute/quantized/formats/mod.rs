//! The quantized block formats of GGUF files, as integer quants with scales and offsets.
//!
//! In every one of them a weight is `scale · quant + offset`, where 16 or 32 neighbours share scale
//! and offset. What differs is how the bits lie in the block. Source: `ggml-common.h` and the
//! `dequantize_row_*` functions of `ggml-quants.c` in llama.cpp.

mod bits;
mod blocks_of_32;
mod k_quants;
mod span_scales;

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_loadu_ps, _mm512_castsi256_si512, _mm512_inserti64x4,
    _mm512_loadu_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_zextps256_ps512,
    _mm512_zextsi256_si512,
};

pub use blocks_of_32::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use k_quants::{Q2K, Q3K, Q4K, Q5K, Q6K};

/// Weights in a span: what the kernels take at once.
pub const SPAN_LEN: usize = 256;
/// Weights in a group: their quants are 32 bytes, a vector of AVX2.
pub const GROUP_LEN: usize = 32;
/// What an offset is, in scales, when signed quants have been made unsigned by adding 128.
pub const UNSIGNED_OFFSET: f32 = -128.0;

/// A block format. A span is one block of 256 weights, or up to eight neighbouring blocks of 32.
pub trait Format {
    /// Weights in a block, 32 or 256.
    const WEIGHTS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Weights that share a scale and an offset, 16 or 32.
    const SHARED: usize;
    /// Unsigned quants are below this. Signed ones are bytes and have no offsets.
    const QUANTS_BELOW: i32;
    /// Whether quants are signed bytes.
    const IS_SIGNED: bool = false;

    /// Writes the scales and the offsets of the first `groups` groups of a span, `32 / SHARED` each
    /// for a group.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `span` points to that many groups, `scales` and `offsets`
    /// have room for a whole span.
    unsafe fn scales(span: *const u8, groups: usize, scales: *mut f32, offsets: *mut f32);

    /// The quants of weights `32 · group ..` of a span as 32 bytes.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `span` points to more than `group` groups.
    unsafe fn quants(span: *const u8, group: usize) -> __m256i;

    /// The scales and the offsets of the first `groups` groups of a span, in the first lanes, then
    /// zeros.
    ///
    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `span` points to that many groups.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_span(span: *const u8, groups: usize) -> [__m512; 2] {
        let mut both = [[0f32; SPAN_LEN / 16]; 2];
        let [scales, offsets] = &mut both;
        // SAFETY: as the caller promises; there is room for 16 each.
        unsafe {
            Self::scales(span, groups, scales.as_mut_ptr(), offsets.as_mut_ptr());
            both.each_ref().map(|values| {
                if Self::SHARED == 16 {
                    _mm512_loadu_ps(values.as_ptr())
                } else {
                    _mm512_zextps256_ps512(_mm256_loadu_ps(values.as_ptr()))
                }
            })
        }
    }

    /// The quants of groups `2 · pair` and `2 · pair + 1` of a span.
    ///
    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `span` points to both groups.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two(span: *const u8, pair: usize) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { joined(Self::quants(span, 2 * pair), Self::quants(span, 2 * pair + 1)) }
    }

    /// The quants of the first `groups` groups, up to four, from group `4 · quad` of a span on: the
    /// first 16 of each group, then the last 16 of each. Those of other groups are zero.
    ///
    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `span` points to these groups.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_four(span: *const u8, quad: usize, groups: usize) -> [__m512i; 2] {
        // SAFETY: as the caller promises.
        unsafe { four_by_pairs::<Self>(span, quad, groups) }
    }
}

/// Bytes of a whole span.
pub const fn span_bytes<F: Format>() -> usize {
    SPAN_LEN / F::WEIGHTS * F::BYTES
}

/// Two groups side by side.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn joined(first: __m256i, second: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
}

/// [`Format::quants_of_four`] by way of [`Format::quants_of_two`].
///
/// # Safety
/// As there.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn four_by_pairs<F: Format + ?Sized>(
    span: *const u8,
    quad: usize,
    groups: usize,
) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    let two = |pair: usize| unsafe {
        match groups.saturating_sub(2 * pair) {
            0 => _mm512_setzero_si512(),
            1 => _mm512_zextsi256_si512(F::quants(span, 4 * quad + 2 * pair)),
            _ => F::quants_of_two(span, 2 * quad + pair),
        }
    };
    // [2, 2, 16] each → [4, 16] each
    let (low, high) = (two(0), two(1));
    [
        _mm512_shuffle_i32x4::<0b10_00_10_00>(low, high),
        _mm512_shuffle_i32x4::<0b11_01_11_01>(low, high),
    ]
}
