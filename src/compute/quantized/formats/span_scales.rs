//! The scales of a span of blocks of 32 weights, for AVX-512: the span is read as whole vectors, from
//! which permutes pick the scales, and not one scale after the other.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _mm_setr_epi16, _mm256_cvtph_ps, _mm256_permute4x64_epi64, _mm256_setr_epi8,
    _mm256_setr_epi32, _mm256_shuffle_epi8, _mm512_castps512_ps256, _mm512_castsi128_si512,
    _mm512_castsi256_si512, _mm512_castsi512_si128, _mm512_castsi512_si256, _mm512_cvtph_ps,
    _mm512_extractf32x8_ps, _mm512_loadu_si512, _mm512_mask_mov_epi16,
    _mm512_mask_permutexvar_epi32, _mm512_maskz_loadu_epi16, _mm512_maskz_loadu_epi32,
    _mm512_mul_ps, _mm512_permutex2var_epi16, _mm512_permutex2var_epi32, _mm512_set1_ps,
    _mm512_zextps256_ps512,
};

use super::{GROUP_LEN, SPAN_LEN};

const BLOCKS: usize = SPAN_LEN / GROUP_LEN;

/// The same pointer, but the compiler cannot tell. It would otherwise reuse bytes that it has loaded
/// from there before, at the price of shuffles, which are scarce; loads are not.
#[inline]
fn reloaded(mut span: *const u8) -> *const u8 {
    // SAFETY: it has no instruction.
    unsafe { asm!("/* {} */", inout(reg) span, options(pure, readonly, nostack, preserves_flags)) };
    span
}

/// Scales and offsets of the first `blocks` of a span of blocks of `BYTES` bytes, an even number up
/// to 34, that start with the scale as a half; the offset is `-centre` scales.
///
/// # Safety
/// There are that many blocks.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub unsafe fn centred<const BYTES: usize>(
    span: *const u8,
    blocks: usize,
    centre: u8,
) -> [__m512; 2] {
    /// 16-bit words in a vector.
    const WORDS: usize = 32;
    let span = reloaded(span);
    let words = blocks * BYTES / 2;
    let load = |vector: usize| {
        let there = words.saturating_sub(WORDS * vector).min(WORDS);
        // SAFETY: the words that the mask leaves out are not touched, the others are in the blocks.
        unsafe {
            let mask = ((1u64 << there) - 1) as u32;
            _mm512_maskz_loadu_epi16(mask, span.wrapping_add(64 * vector).cast::<i16>())
        }
    };
    // Where the scales are among the words. A permute searches two vectors.
    let places: [usize; BLOCKS] = std::array::from_fn(|block| block * BYTES / 2);
    let in_last_two = (0..BLOCKS).fold(0, |mask, i| mask | u32::from(places[i] >= 2 * WORDS) << i);
    let [a, b, c, d, e, f, g, h] = places.map(|place| (place % (2 * WORDS)) as i16);
    let index = _mm512_castsi128_si512(_mm_setr_epi16(a, b, c, d, e, f, g, h));
    let first = _mm512_permutex2var_epi16(load(0), index, load(1));
    let last = _mm512_permutex2var_epi16(load(2), index, load(3));
    let halves = _mm512_castsi512_si128(_mm512_mask_mov_epi16(first, in_last_two, last));
    let scales = _mm512_zextps256_ps512(_mm256_cvtph_ps(halves));
    [scales, _mm512_mul_ps(scales, _mm512_set1_ps(-f32::from(centre)))]
}

/// Scales and offsets of the first `blocks` of a span of blocks of `BYTES` bytes, a multiple of 4
/// from 16 to 24, that start with both as halves.
///
/// # Safety
/// There are that many blocks.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub unsafe fn pairs<const BYTES: usize>(span: *const u8, blocks: usize) -> [__m512; 2] {
    /// 32-bit words in a vector: each holds a pair of halves.
    const WORDS: usize = 16;
    // Three vectors: the first two are searched by one permute, the third ends with the span.
    let third = BLOCKS * BYTES / 4 - WORDS;
    let places: [usize; BLOCKS] = std::array::from_fn(|block| block * BYTES / 4);
    let in_third = (0..BLOCKS).fold(0, |mask, i| mask | u16::from(places[i] >= 2 * WORDS) << i);
    let index = |places: [usize; BLOCKS]| -> __m512i {
        let [a, b, c, d, e, f, g, h] = places.map(|place| place as i32);
        _mm512_castsi256_si512(_mm256_setr_epi32(a, b, c, d, e, f, g, h))
    };
    let span = reloaded(span);
    let words = blocks * (BYTES / 4);
    let load = |first: usize| {
        let from = span.wrapping_add(4 * first).cast::<i32>();
        // SAFETY: the words that the mask leaves out are not touched, the others are in the blocks.
        unsafe {
            if blocks == BLOCKS {
                return _mm512_loadu_si512(from.cast());
            }
            let there = words.saturating_sub(first).min(WORDS);
            _mm512_maskz_loadu_epi32(((1u32 << there) - 1) as u16, from)
        }
    };
    let first = _mm512_permutex2var_epi32(load(0), index(places), load(WORDS));
    let in_its_vector = index(places.map(|place| place.wrapping_sub(third)));
    let pairs = _mm512_mask_permutexvar_epi32(first, in_third, in_its_vector, load(third));
    // Scales to the low half, offsets to the high one.
    let apart = _mm256_setr_epi8(
        0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7,
        10, 11, 14, 15,
    );
    let halves = _mm256_shuffle_epi8(_mm512_castsi512_si256(pairs), apart);
    let both = _mm512_cvtph_ps(_mm256_permute4x64_epi64::<0xd8>(halves));
    [
        _mm512_zextps256_ps512(_mm512_castps512_ps256(both)),
        _mm512_zextps256_ps512(_mm512_extractf32x8_ps::<1>(both)),
    ]
}
