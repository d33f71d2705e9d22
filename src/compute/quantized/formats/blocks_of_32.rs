//! Formats with blocks of 32 weights, which share a scale and an offset.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, __m512, __m512i, _mm_cvtsi32_si128, _mm_insert_epi16,
    _mm_insert_epi32, _mm_loadu_si128, _mm_setr_epi8, _mm_shuffle_epi8, _mm_unpackhi_epi64,
    _mm_unpacklo_epi64, _mm256_cvtph_ps, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_ps,
    _mm256_storeu_ps, _mm512_and_si512, _mm512_castsi128_si512, _mm512_loadu_si512,
    _mm512_maskz_loadu_epi32, _mm512_permutex2var_epi32, _mm512_set1_epi8, _mm512_setr_epi32,
    _mm512_setzero_si512, _mm512_srli_epi32,
};

use super::bits::{fifth_bits, half, load, nibbles, nibbles_of_two};
use super::{Format, GROUP_LEN, SPAN_LEN, four_by_pairs, joined, span_scales};

/// A format with blocks of 32 weights. Every block starts with its scale as a half; formats without
/// a centre have their offset as another half behind it.
trait BlockOf32: Sized {
    const BLOCK_BYTES: usize;
    const QUANTS_BELOW: i32;
    const IS_SIGNED: bool = false;
    /// The quant that stands for zero: the offset is minus that many scales.
    const CENTRE: Option<u8>;

    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `block` points to a whole block.
    unsafe fn quants_of_block(block: *const u8) -> __m256i;

    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `first` points to two whole blocks.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two_blocks(first: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe {
            joined(
                Self::quants_of_block(first),
                Self::quants_of_block(first.add(Self::BLOCK_BYTES)),
            )
        }
    }

    /// See [`Format::scales_of_span`].
    ///
    /// # Safety
    /// As there.
    unsafe fn scales_of_blocks(span: *const u8, blocks: usize) -> [__m512; 2];

    /// See [`Format::quants_of_four`].
    ///
    /// # Safety
    /// As there.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_four_blocks(span: *const u8, quad: usize, blocks: usize) -> [__m512i; 2] {
        // SAFETY: as the caller promises.
        unsafe { four_by_pairs::<Self>(span, quad, blocks) }
    }
}

impl<B: BlockOf32> Format for B {
    const WEIGHTS: usize = 32;
    const BYTES: usize = B::BLOCK_BYTES;
    const SHARED: usize = 32;
    const QUANTS_BELOW: i32 = B::QUANTS_BELOW;
    const IS_SIGNED: bool = B::IS_SIGNED;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(span: *const u8, groups: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: `groups` blocks are there, and room for eight scales and offsets.
        unsafe {
            if groups == SPAN_LEN / GROUP_LEN {
                let (scale, offset) = match B::CENTRE {
                    Some(centre) => eight_centred(span, B::BLOCK_BYTES, centre),
                    None => eight_pairs(span, B::BLOCK_BYTES),
                };
                _mm256_storeu_ps(scales, scale);
                _mm256_storeu_ps(offsets, offset);
                return;
            }
            for i in 0..groups {
                let block = span.add(i * B::BLOCK_BYTES);
                let scale = half(block);
                *scales.add(i) = scale;
                *offsets.add(i) = match B::CENTRE {
                    Some(centre) => -f32::from(centre) * scale,
                    None => half(block.add(2)),
                };
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants(span: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is there.
        unsafe { B::quants_of_block(span.add(group * B::BLOCK_BYTES)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_span(span: *const u8, groups: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        unsafe { B::scales_of_blocks(span, groups) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two(span: *const u8, pair: usize) -> __m512i {
        // SAFETY: both blocks are there.
        unsafe { B::quants_of_two_blocks(span.add(2 * pair * B::BLOCK_BYTES)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_four(span: *const u8, quad: usize, groups: usize) -> [__m512i; 2] {
        // SAFETY: as the caller promises.
        unsafe { B::quants_of_four_blocks(span, quad, groups) }
    }
}

/// 4 bits, and a scale: `[half, 16 bytes of nibbles]`.
pub struct Q4_0;

impl BlockOf32 for Q4_0 {
    const BLOCK_BYTES: usize = 18;
    const QUANTS_BELOW: i32 = 16;
    const CENTRE: Option<u8> = Some(8);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants_of_block(block: *const u8) -> __m256i {
        // SAFETY: the block is whole.
        unsafe { nibbles(block.add(2)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two_blocks(first: *const u8) -> __m512i {
        // SAFETY: both blocks are whole.
        unsafe { nibbles_of_two(first.add(2), first.add(Self::BLOCK_BYTES + 2)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_blocks(span: *const u8, blocks: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        unsafe { span_scales::centred::<{ Self::BLOCK_BYTES }>(span, blocks, 8) }
    }
}

/// 4 bits, a scale and an offset: `[half, half, 16 bytes of nibbles]`.
pub struct Q4_1;

impl BlockOf32 for Q4_1 {
    const BLOCK_BYTES: usize = 20;
    const QUANTS_BELOW: i32 = 16;
    const CENTRE: Option<u8> = None;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants_of_block(block: *const u8) -> __m256i {
        // SAFETY: the block is whole.
        unsafe { nibbles(block.add(4)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two_blocks(first: *const u8) -> __m512i {
        // SAFETY: both blocks are whole.
        unsafe { nibbles_of_two(first.add(4), first.add(Self::BLOCK_BYTES + 4)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_blocks(span: *const u8, blocks: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        unsafe { span_scales::pairs::<{ Self::BLOCK_BYTES }>(span, blocks) }
    }

    /// Blocks are five 32-bit words, so one permute drops the scales of four of them.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_four_blocks(span: *const u8, quad: usize, blocks: usize) -> [__m512i; 2] {
        // SAFETY: what the mask leaves out is not touched, the rest is in the blocks.
        let (first, last) = unsafe {
            let span = span.add(4 * quad * Self::BLOCK_BYTES);
            if blocks == 4 {
                let last = _mm_loadu_si128(span.add(64).cast::<__m128i>());
                (_mm512_loadu_si512(span.cast()), _mm512_castsi128_si512(last))
            } else {
                let there = ((1u32 << (5 * blocks)) - 1) as u16;
                (_mm512_maskz_loadu_epi32(there, span.cast::<i32>()), _mm512_setzero_si512())
            }
        };
        let places = _mm512_setr_epi32(1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19);
        let both = _mm512_permutex2var_epi32(first, places, last);
        let nibble = _mm512_set1_epi8(0x0f);
        [_mm512_and_si512(both, nibble), _mm512_and_si512(_mm512_srli_epi32::<4>(both), nibble)]
    }
}

/// 5 bits, and a scale: `[half, 32 fifth bits, 16 bytes of nibbles]`.
pub struct Q5_0;

impl BlockOf32 for Q5_0 {
    const BLOCK_BYTES: usize = 22;
    const QUANTS_BELOW: i32 = 32;
    const CENTRE: Option<u8> = Some(16);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants_of_block(block: *const u8) -> __m256i {
        // SAFETY: the block is whole.
        unsafe { _mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2))) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_blocks(span: *const u8, blocks: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        unsafe { span_scales::centred::<{ Self::BLOCK_BYTES }>(span, blocks, 16) }
    }
}

/// 5 bits, a scale and an offset: `[half, half, 32 fifth bits, 16 bytes of nibbles]`.
pub struct Q5_1;

impl BlockOf32 for Q5_1 {
    const BLOCK_BYTES: usize = 24;
    const QUANTS_BELOW: i32 = 32;
    const CENTRE: Option<u8> = None;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants_of_block(block: *const u8) -> __m256i {
        // SAFETY: the block is whole.
        unsafe { _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4))) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_blocks(span: *const u8, blocks: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        unsafe { span_scales::pairs::<{ Self::BLOCK_BYTES }>(span, blocks) }
    }
}

/// 8 bits with a sign, and a scale: `[half, 32 bytes]`.
pub struct Q8_0;

impl BlockOf32 for Q8_0 {
    const BLOCK_BYTES: usize = 34;
    const QUANTS_BELOW: i32 = 128;
    const IS_SIGNED: bool = true;
    const CENTRE: Option<u8> = Some(0);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants_of_block(block: *const u8) -> __m256i {
        // SAFETY: the block is whole.
        unsafe { load(block.add(2)) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_blocks(span: *const u8, blocks: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        unsafe { span_scales::centred::<{ Self::BLOCK_BYTES }>(span, blocks, 0) }
    }
}

/// Scale and offset of eight blocks of `bytes` bytes that start with the scale as a half; the offset
/// is `-centre` scales.
///
/// # Safety
/// There are eight blocks.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight_centred(span: *const u8, bytes: usize, centre: u8) -> (__m256, __m256) {
    // SAFETY: as the caller promises.
    let scale = unsafe {
        let word = |i: usize| i32::from(span.add(i * bytes).cast::<i16>().read_unaligned());
        let mut words = _mm_cvtsi32_si128(word(0));
        words = _mm_insert_epi16::<1>(words, word(1));
        words = _mm_insert_epi16::<2>(words, word(2));
        words = _mm_insert_epi16::<3>(words, word(3));
        words = _mm_insert_epi16::<4>(words, word(4));
        words = _mm_insert_epi16::<5>(words, word(5));
        words = _mm_insert_epi16::<6>(words, word(6));
        words = _mm_insert_epi16::<7>(words, word(7));
        _mm256_cvtph_ps(words)
    };
    (scale, _mm256_mul_ps(scale, _mm256_set1_ps(-f32::from(centre))))
}

/// Scale and offset of eight blocks of `bytes` bytes that start with both as halves.
///
/// # Safety
/// There are eight blocks.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight_pairs(span: *const u8, bytes: usize) -> (__m256, __m256) {
    // SAFETY: as the caller promises.
    unsafe {
        let word = |i: usize| span.add(i * bytes).cast::<i32>().read_unaligned();
        let four = |i: usize| {
            let words = _mm_cvtsi32_si128(word(i));
            let words = _mm_insert_epi32::<1>(words, word(i + 1));
            let words = _mm_insert_epi32::<2>(words, word(i + 2));
            // Scales to the low half, offsets to the high one.
            let apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
            _mm_shuffle_epi8(_mm_insert_epi32::<3>(words, word(i + 3)), apart)
        };
        let (low, high) = (four(0), four(4));
        (
            _mm256_cvtph_ps(_mm_unpacklo_epi64(low, high)),
            _mm256_cvtph_ps(_mm_unpackhi_epi64(low, high)),
        )
    }
}
