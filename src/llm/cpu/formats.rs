//! The quantized block formats of GGUF files, as integer codes with scales and offsets.
//!
//! In every one of them a weight is `scale · code + offset`, where 16 or 32 neighbours share scale
//! and offset. What differs is how the bits lie in the block. Source: `ggml-common.h` and the
//! `dequantize_row_*` functions of `ggml-quants.c` in llama.cpp.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_insert_epi16,
    _mm_insert_epi32, _mm_loadu_si128, _mm_setr_epi8, _mm_shuffle_epi8, _mm_srli_epi16,
    _mm_unpackhi_epi64, _mm_unpacklo_epi64, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setr_epi64x, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_srl_epi16, _mm256_storeu_ps,
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
    ($name:ident, $bytes:literal, $codes:expr, $eight:expr, $one:expr, $block:ident => $read:expr) => {
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
        }
    };
}

blocks_of_32!(Q4_0, 18, Some(16), eight_centred::<8>, centred::<8>,
    block => nibbles(block.add(2)));
blocks_of_32!(Q4_1, 20, Some(16), eight_pairs, pair, block => nibbles(block.add(4)));
blocks_of_32!(Q5_0, 22, Some(32), eight_centred::<16>, centred::<16>,
    block => _mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2))));
blocks_of_32!(Q5_1, 24, Some(32), eight_pairs, pair,
    block => _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4))));
blocks_of_32!(Q8_0, 34, None, eight_centred::<0>, centred::<0>, block => load(block.add(2)));

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
            let d = half(block.add(208));
            for i in 0..16 {
                let scale = d * f32::from(block.add(192 + i).cast::<i8>().read());
                *scales.add(i) = scale;
                *offsets.add(i) = -32.0 * scale;
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
}
