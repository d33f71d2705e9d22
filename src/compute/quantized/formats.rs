//! The quantized block formats of GGUF files, as integer codes with scales and offsets.
//!
//! In every one of them a weight is `scale · code + offset`, where 16 or 32 neighbours share scale
//! and offset. What differs is how the bits lie in the block. Source: `ggml-common.h` and the
//! `dequantize_row_*` functions of `ggml-quants.c` in llama.cpp.

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, __m512, __m512i, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32,
    _mm_insert_epi16, _mm_insert_epi32, _mm_loadl_epi64, _mm_loadu_si128, _mm_setr_epi8,
    _mm_setr_epi16, _mm_shuffle_epi8, _mm_srli_epi16, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
    _mm256_and_si256, _mm256_castsi128_si256, _mm256_cmpeq_epi8, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_inserti128_si256,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_mul_ps, _mm256_or_si256, _mm256_permute4x64_epi64,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setr_epi32,
    _mm256_setr_epi64x, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srl_epi16, _mm256_storeu_ps,
    _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_broadcast_i64x4, _mm512_castps512_ps256,
    _mm512_castsi128_si512, _mm512_castsi256_si512, _mm512_castsi512_si128, _mm512_castsi512_si256,
    _mm512_cvtph_ps, _mm512_extractf32x8_ps, _mm512_inserti64x4, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_broadcast_i32x4, _mm512_mask_mov_epi16, _mm512_mask_mov_epi32,
    _mm512_mask_permutexvar_epi32, _mm512_maskz_loadu_epi16, _mm512_maskz_loadu_epi32,
    _mm512_mul_ps, _mm512_permutex2var_epi16, _mm512_permutex2var_epi32, _mm512_rolv_epi32,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_srlv_epi32, _mm512_ternarylogic_epi32,
    _mm512_zextps256_ps512, _mm512_zextsi256_si512,
};

/// Weights in a span: what the kernels take at once.
pub const SPAN: usize = 256;
/// Weights whose codes are 32 bytes.
pub const GROUP: usize = 32;

/// A block format. A span is one block of 256 weights, or up to eight neighbouring blocks of 32.
pub trait Format {
    /// Weights in a block, 32 or 256.
    const WEIGHTS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Weights that share a scale and an offset.
    const SHARED: usize;
    /// Codes are below this; `None`: they are signed bytes, and there are no offsets.
    const CODES: Option<i32>;

    /// Writes the scales and the offsets of the first `groups` groups of a span, `32 / SHARED` each
    /// for a group.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `span` points to that many groups, the others have room for
    /// a whole span.
    unsafe fn scales(span: *const u8, groups: usize, scales: *mut f32, offsets: *mut f32);

    /// The codes of weights `32 · group ..` of a span as 32 bytes.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `span` points to more than `group` groups.
    unsafe fn codes(span: *const u8, group: usize) -> __m256i;

    /// The scales and the offsets of the first `groups` groups of a span, in the first lanes, then
    /// zeros.
    ///
    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `span` points to that many groups.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn scales_of_span(span: *const u8, groups: usize) -> [__m512; 2] {
        let mut both = [[0f32; SPAN / 16]; 2];
        let [scales, offsets] = &mut both;
        // SAFETY: the caller's; there is room for 16 each.
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

    /// The codes of groups `2 · pair` and `2 · pair + 1` of a span.
    ///
    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `span` points to both groups.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn codes_of_two(span: *const u8, pair: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            let low = _mm512_castsi256_si512(Self::codes(span, 2 * pair));
            _mm512_inserti64x4::<1>(low, Self::codes(span, 2 * pair + 1))
        }
    }

    /// The codes of the first `groups` groups, up to four, from group `4 · quad` of a span on: first
    /// 16 of each, then 16 of each. Those of other groups are zero.
    ///
    /// # Safety
    /// The CPU has AVX-512 (F, BW, DQ, VL); `span` points to these groups.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn codes_of_four(span: *const u8, quad: usize, groups: usize) -> [__m512i; 2] {
        // SAFETY: the caller's.
        let two = |pair: usize| unsafe {
            match groups.saturating_sub(2 * pair) {
                0 => _mm512_setzero_si512(),
                1 => _mm512_zextsi256_si512(Self::codes(span, 4 * quad + 2 * pair)),
                _ => Self::codes_of_two(span, 2 * quad + pair),
            }
        };
        halves(two(0), two(1))
    }
}

/// The first and the second halves of four groups, `[4, 16]` each, from two groups each, `[2, 2, 16]`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn halves(first: __m512i, second: __m512i) -> [__m512i; 2] {
    [
        _mm512_shuffle_i32x4::<0b10_00_10_00>(first, second),
        _mm512_shuffle_i32x4::<0b11_01_11_01>(first, second),
    ]
}

/// The halves of up to four groups in blocks of 20 bytes that end with nibbles.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn nibbles_of_four(blocks: *const u8, groups: usize) -> [__m512i; 2] {
    // SAFETY: the caller's: what the mask leaves out is not touched.
    let (first, last) = unsafe {
        if groups == 4 {
            let last = _mm_loadu_si128(blocks.add(64).cast::<__m128i>());
            (_mm512_loadu_si512(blocks.cast()), _mm512_castsi128_si512(last))
        } else {
            let there = ((1u32 << (5 * groups)) - 1) as u16;
            (_mm512_maskz_loadu_epi32(there, blocks.cast::<i32>()), _mm512_setzero_si512())
        }
    };
    let places = _mm512_setr_epi32(1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19);
    let both = _mm512_permutex2var_epi32(first, places, last);
    let nibble = _mm512_set1_epi8(0x0f);
    [_mm512_and_si512(both, nibble), _mm512_and_si512(_mm512_srli_epi32::<4>(both), nibble)]
}

/// [`nibbles`] of two groups.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn nibbles_of_two(first: *const u8, second: *const u8) -> __m512i {
    // SAFETY: the caller's: 16 bytes at both.
    let (first, second) = unsafe {
        (_mm_loadu_si128(first.cast::<__m128i>()), _mm_loadu_si128(second.cast::<__m128i>()))
    };
    let both = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(first), 0xff00, second);
    let shifts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
    _mm512_and_si512(_mm512_srlv_epi32(both, shifts), _mm512_set1_epi8(0x0f))
}

/// The bytes at `bytes` twice, in 32-bit words that are rotated to the left: the first time by
/// `first` bits, the second time by `second`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn turned(bytes: *const u8, first: usize, second: usize) -> __m512i {
    // SAFETY: the caller's: 32 bytes.
    let twice = _mm512_broadcast_i64x4(unsafe { load(bytes) });
    let first = _mm512_set1_epi32(first as i32);
    let bits = _mm512_mask_mov_epi32(first, 0xff00, _mm512_set1_epi32(second as i32));
    _mm512_rolv_epi32(twice, bits)
}

/// The same pointer, of which the compiler does not know so. It would take bytes that it has loaded
/// once from there again, at the price of shuffles, which are scarce; loads are not.
#[inline]
fn of_its_own(mut span: *const u8) -> *const u8 {
    // SAFETY: it does nothing.
    unsafe { asm!("/* {} */", inout(reg) span, options(pure, nomem, nostack, preserves_flags)) };
    span
}

/// [`eight_centred`] of the first `groups` of a span of blocks of `BYTES` bytes, an even number up to
/// 34, without picking them one by one.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn centred_of_span<const BYTES: usize, const CENTRE: u8>(
    span: *const u8,
    groups: usize,
) -> [__m512; 2] {
    let span = of_its_own(span);
    let words = groups * BYTES / 2;
    let load = |line: usize| {
        let there = words.saturating_sub(32 * line).min(32);
        // SAFETY: the caller's: what the mask leaves out is not touched.
        unsafe {
            let mask = ((1u64 << there) - 1) as u32;
            _mm512_maskz_loadu_epi16(mask, span.wrapping_add(64 * line).cast::<i16>())
        }
    };
    // The scales' places among the 16-bit words, 64 of which are searched at once.
    let places: [i16; 8] = std::array::from_fn(|block| (block * BYTES / 2) as i16);
    let late = (0..8).fold(0u32, |mask, block| mask | u32::from(places[block] >= 64) << block);
    let [a, b, c, d, e, f, g, h] = places.map(|place| place % 64);
    let index = _mm512_castsi128_si512(_mm_setr_epi16(a, b, c, d, e, f, g, h));
    let early = _mm512_permutex2var_epi16(load(0), index, load(1));
    let rest = _mm512_permutex2var_epi16(load(2), index, load(3));
    let halves = _mm512_castsi512_si128(_mm512_mask_mov_epi16(early, late, rest));
    let scales = _mm512_zextps256_ps512(_mm256_cvtph_ps(halves));
    [scales, _mm512_mul_ps(scales, _mm512_set1_ps(-f32::from(CENTRE)))]
}

/// [`eight_pairs`] of the first `groups` of a span of blocks of `BYTES` bytes, a multiple of 4 from 16 to 24, without
/// picking them one by one.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn pairs_of_span<const BYTES: usize>(span: *const u8, groups: usize) -> [__m512; 2] {
    // The pairs' places among the 32-bit words of the first 128 bytes, and of the last 64.
    let place = |block: i32| block * (BYTES / 4) as i32;
    let last = |block: i32| place(block) - (8 * BYTES / 4 - 16) as i32;
    let index = |[a, b, c, d, e, f, g, h]: [i32; 8]| {
        _mm512_castsi256_si512(_mm256_setr_epi32(a, b, c, d, e, f, g, h))
    };
    let blocks: [i32; 8] = std::array::from_fn(|block| block as i32);
    let late = (0..8).fold(0u16, |mask, block| mask | u16::from(place(block) >= 32) << block);
    let span = of_its_own(span);
    let words = groups * (BYTES / 4);
    let pairs = {
        let load = |first: usize| {
            // SAFETY: the caller's: what the mask leaves out is not touched.
            unsafe {
                let span = span.wrapping_add(4 * first).cast::<i32>();
                if groups == SPAN / GROUP {
                    return _mm512_loadu_si512(span.cast());
                }
                let there = words.saturating_sub(first).min(16);
                _mm512_maskz_loadu_epi32(((1u32 << there) - 1) as u16, span)
            }
        };
        let early = _mm512_permutex2var_epi32(load(0), index(blocks.map(place)), load(16));
        let rest = load(8 * BYTES / 4 - 16);
        _mm512_mask_permutexvar_epi32(early, late, index(blocks.map(last)), rest)
    };
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

/// Those bits of the first that the mask has for each byte, and those of the second that it lacks.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn chosen(mask: i8, first: __m512i, second: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(_mm512_set1_epi8(mask), first, second)
}

/// The IEEE half at `bytes`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn half(bytes: *const u8) -> f32 {
    // SAFETY: the caller's.
    let bits = unsafe { bytes.cast::<u16>().read_unaligned() };
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// 16 bytes of nibbles: the low ones are codes 0 to 15, the high ones 16 to 31.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn nibbles(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's.
    let packed = unsafe { _mm_loadu_si128(bytes.cast::<__m128i>()) };
    let both =
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(packed), _mm_srli_epi16::<4>(packed));
    _mm256_and_si256(both, _mm256_set1_epi8(0x0f))
}

/// 32 bits → 32 bytes, `0x10` where the bit is set.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn fifth_bits(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's.
    let bits = unsafe { bytes.cast::<i32>().read_unaligned() };
    let byte_of =
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit_of = _mm256_setr_epi8(
        1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128,
        1, 2, 4, 8, 16, 32, 64, -128,
    );
    let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of);
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit_of), bit_of);
    _mm256_and_si256(set, _mm256_set1_epi8(0x10))
}

/// `bytes >> shift & mask` for each of 32 bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn field(bytes: __m256i, shift: usize, mask: i8) -> __m256i {
    let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32));
    _mm256_and_si256(shifted, _mm256_set1_epi8(mask))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(bytes.cast::<__m256i>()) }
}

/// The 16-bit words at the start of eight blocks of `bytes` bytes, as halves.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight_halves(span: *const u8, bytes: usize) -> __m256 {
    // SAFETY: the caller's: eight blocks.
    unsafe {
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
    }
}

/// Scale and offset of eight blocks of `bytes` bytes that start with both as halves.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight_pairs(span: *const u8, bytes: usize) -> (__m256, __m256) {
    // SAFETY: the caller's: eight blocks.
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

/// Scale and offset of eight blocks of `bytes` bytes that start with the scale as a half; the offset
/// is `-CENTRE` times the scale.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight_centred<const CENTRE: u8>(span: *const u8, bytes: usize) -> (__m256, __m256) {
    // SAFETY: the caller's: eight blocks.
    let scale = unsafe { eight_halves(span, bytes) };
    (scale, _mm256_mul_ps(scale, _mm256_set1_ps(-f32::from(CENTRE))))
}

/// [`eight_centred`] for one block.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn centred<const CENTRE: u8>(block: *const u8) -> (f32, f32) {
    // SAFETY: the caller's.
    let scale = unsafe { half(block) };
    (scale, -f32::from(CENTRE) * scale)
}

/// [`eight_pairs`] for one block.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn pair(block: *const u8) -> (f32, f32) {
    // SAFETY: the caller's.
    unsafe { (half(block), half(block.add(2))) }
}

/// A format with blocks of 32 weights: how scale and offset are read from eight blocks and from one,
/// and the codes from one.
macro_rules! blocks_of_32 {
    (
        $name:ident, $bytes:literal, $codes:expr, $eight:expr, $one:expr, $block:ident => $read:expr
        $(, $first:ident, $second:ident => $read_two:expr)?
        $(; $scales_of_span:expr)?
        $(, four => $codes_of_four:expr)?
    ) => {
        #[doc = concat!("Blocks of 32 weights in ", stringify!($bytes), " bytes.")]
        pub struct $name;

        impl Format for $name {
            const WEIGHTS: usize = 32;
            const BYTES: usize = $bytes;
            const SHARED: usize = 32;
            const CODES: Option<i32> = $codes;

            #[target_feature(enable = "avx2,fma,f16c")]
            #[inline]
            unsafe fn scales(span: *const u8, groups: usize, scales: *mut f32, offsets: *mut f32) {
                // SAFETY: `groups` blocks are there, and room for eight each.
                unsafe {
                    if groups == SPAN / GROUP {
                        let (scale, offset) = $eight(span, $bytes);
                        _mm256_storeu_ps(scales, scale);
                        _mm256_storeu_ps(offsets, offset);
                        return;
                    }
                    for i in 0..groups {
                        (*scales.add(i), *offsets.add(i)) = $one(span.add(i * $bytes));
                    }
                }
            }

            #[target_feature(enable = "avx2,fma,f16c")]
            #[inline]
            unsafe fn codes(span: *const u8, group: usize) -> __m256i {
                // SAFETY: the block is there.
                unsafe {
                    let $block = span.add(group * $bytes);
                    $read
                }
            }

            $(
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[inline]
                unsafe fn codes_of_two(span: *const u8, pair: usize) -> __m512i {
                    // SAFETY: both blocks are there.
                    unsafe {
                        let $first = span.add(2 * pair * $bytes);
                        let $second = $first.add($bytes);
                        $read_two
                    }
                }
            )?

            $(
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[inline]
                unsafe fn scales_of_span(span: *const u8, groups: usize) -> [__m512; 2] {
                    // SAFETY: these groups are there.
                    unsafe { $scales_of_span(span, groups) }
                }
            )?

            $(
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[inline]
                unsafe fn codes_of_four(
                    span: *const u8,
                    quad: usize,
                    groups: usize,
                ) -> [__m512i; 2] {
                    // SAFETY: these groups are there.
                    unsafe { $codes_of_four(span.add(4 * quad * $bytes), groups) }
                }
            )?
        }
    };
}

blocks_of_32!(Q4_0, 18, Some(16), eight_centred::<8>, centred::<8>,
    block => nibbles(block.add(2)),
    first, second => nibbles_of_two(first.add(2), second.add(2)); centred_of_span::<18, 8>);
blocks_of_32!(Q4_1, 20, Some(16), eight_pairs, pair, block => nibbles(block.add(4)),
    first, second => nibbles_of_two(first.add(4), second.add(4)); pairs_of_span::<20>, four => nibbles_of_four);
blocks_of_32!(Q5_0, 22, Some(32), eight_centred::<16>, centred::<16>,
    block => _mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2)));
    centred_of_span::<22, 16>);
blocks_of_32!(Q5_1, 24, Some(32), eight_pairs, pair,
    block => _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4)));
    pairs_of_span::<24>);
blocks_of_32!(Q8_0, 34, None, eight_centred::<0>, centred::<0>, block => load(block.add(2));
    centred_of_span::<34, 0>);

/// 256 weights at 2 bits, scales and offsets at 4.
pub struct Q2K;

impl Format for Q2K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 84;
    const SHARED: usize = 16;
    const CODES: Option<i32> = Some(4);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the block is whole, and there is room for 16 each.
        unsafe {
            let (d, least) = (half(block.add(80)), half(block.add(82)));
            for i in 0..16 {
                let byte = *block.add(i);
                *scales.add(i) = d * f32::from(byte & 0x0f);
                *offsets.add(i) = -least * f32::from(byte >> 4);
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn codes(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        field(unsafe { load(block.add(16 + 32 * (group / 4))) }, 2 * (group % 4), 3)
    }
}

/// 256 weights at 3 bits, scales at 6.
pub struct Q3K;

impl Format for Q3K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 110;
    const SHARED: usize = 16;
    const CODES: Option<i32> = Some(8);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the block is whole, and there is room for 16 each.
        unsafe {
            let d = half(block.add(108));
            for i in 0..16 {
                // Four low bits in the first 8 bytes, two high ones in the last 4.
                let low = *block.add(96 + i % 8) >> (4 * (i / 8)) & 0x0f;
                let high = *block.add(104 + i % 4) >> (2 * (i / 4)) & 0x03;
                let scale = d * (f32::from(low | high << 4) - 32.0);
                *scales.add(i) = scale;
                *offsets.add(i) = -4.0 * scale;
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn codes(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        let (low, high) = unsafe { (load(block.add(32 + 32 * (group / 4))), load(block)) };
        let high = _mm256_slli_epi16::<2>(field(high, group, 1));
        _mm256_or_si256(field(low, 2 * (group % 4), 3), high)
    }
}

/// The eight 6-bit scales and offsets of Q4_K and Q5_K: `d` and `dmin` at 0 and 2, the packed ones
/// at 4.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn six_bit_scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
    // SAFETY: the caller's: 16 bytes at `block`, room for 8 each.
    unsafe {
        let packed = block.add(4).cast::<u32>();
        let (a, b, c) = (
            packed.read_unaligned(),
            packed.add(1).read_unaligned(),
            packed.add(2).read_unaligned(),
        );
        let scale_bytes = u64::from(a & 0x3f3f_3f3f)
            | u64::from(c & 0x0f0f_0f0f | (a >> 6 & 0x0303_0303) << 4) << 32;
        let offset_bytes = u64::from(b & 0x3f3f_3f3f)
            | u64::from(c >> 4 & 0x0f0f_0f0f | (b >> 6 & 0x0303_0303) << 4) << 32;
        let wide = |bytes: u64| {
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadu_si128(
                [bytes, 0].as_ptr().cast::<__m128i>(),
            )))
        };
        _mm256_storeu_ps(scales, _mm256_mul_ps(wide(scale_bytes), _mm256_set1_ps(half(block))));
        let least = _mm256_set1_ps(-half(block.add(2)));
        _mm256_storeu_ps(offsets, _mm256_mul_ps(wide(offset_bytes), least));
    }
}

/// 256 weights at 4 bits, scales and offsets at 6.
pub struct Q4K;

impl Format for Q4K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 144;
    const SHARED: usize = 32;
    const CODES: Option<i32> = Some(16);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the caller's.
        unsafe { six_bit_scales(block, scales, offsets) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn codes(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        field(unsafe { load(block.add(16 + 32 * (group / 2))) }, 4 * (group % 2), 0x0f)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn codes_of_two(block: *const u8, pair: usize) -> __m512i {
        // SAFETY: the block is whole.
        let nibbles = unsafe { turned(block.add(16 + 32 * pair), 0, 28) };
        _mm512_and_si512(nibbles, _mm512_set1_epi8(0x0f))
    }
}

/// 256 weights at 5 bits, scales and offsets at 6.
pub struct Q5K;

impl Format for Q5K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 176;
    const SHARED: usize = 32;
    const CODES: Option<i32> = Some(32);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the caller's.
        unsafe { six_bit_scales(block, scales, offsets) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn codes(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        let (low, high) = unsafe { (load(block.add(48 + 32 * (group / 2))), load(block.add(16))) };
        let high = _mm256_slli_epi16::<4>(field(high, group, 1));
        _mm256_or_si256(field(low, 4 * (group % 2), 0x0f), high)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn codes_of_two(block: *const u8, pair: usize) -> __m512i {
        // SAFETY: the block is whole.
        let (low, high) = unsafe {
            let fifth = |group: usize| (32 + 4 - group) % 32;
            (
                turned(block.add(48 + 32 * pair), 0, 28),
                turned(block.add(16), fifth(2 * pair), fifth(2 * pair + 1)),
            )
        };
        _mm512_and_si512(chosen(0x0f, low, high), _mm512_set1_epi8(0x1f))
    }
}

/// 256 weights at 6 bits, scales at 8.
pub struct Q6K;

impl Format for Q6K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 210;
    const SHARED: usize = 16;
    const CODES: Option<i32> = Some(64);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the block is whole, and there is room for 16 each.
        unsafe {
            let d = _mm256_set1_ps(half(block.add(208)));
            // In whole vectors: what is stored piece by piece cannot be loaded as one soon.
            for i in [0, 8] {
                let eight = _mm_loadl_epi64(block.add(192 + i).cast::<__m128i>());
                let scale = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)), d);
                _mm256_storeu_ps(scales.add(i), scale);
                _mm256_storeu_ps(offsets.add(i), _mm256_mul_ps(scale, _mm256_set1_ps(-32.0)));
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn codes(block: *const u8, group: usize) -> __m256i {
        let (half, quarter) = (group / 4, group % 4);
        // SAFETY: the block is whole.
        let (low, high) = unsafe {
            (load(block.add(64 * half + 32 * (quarter % 2))), load(block.add(128 + 32 * half)))
        };
        let high = _mm256_slli_epi16::<4>(field(high, 2 * quarter, 3));
        _mm256_or_si256(field(low, 4 * (quarter / 2), 0x0f), high)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn codes_of_two(block: *const u8, pair: usize) -> __m512i {
        let (half, high_nibbles) = (pair / 2, pair % 2 == 1);
        // SAFETY: the block is whole.
        let (low, high) = unsafe {
            let low = _mm512_loadu_si512(block.add(64 * half).cast());
            let high = block.add(128 + 32 * half);
            if high_nibbles {
                (_mm512_srli_epi32::<4>(low), turned(high, 0, 30))
            } else {
                (low, turned(high, 4, 2))
            }
        };
        _mm512_and_si512(chosen(0x0f, low, high), _mm512_set1_epi8(0x3f))
    }
}
