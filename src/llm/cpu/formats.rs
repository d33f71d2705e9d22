//! The quantized block formats of GGUF files, as integer codes with scales and offsets.
//!
//! In every one of them a weight is `scale · code + offset`, where 16 or 32 neighbours share scale
//! and offset. What differs is how the bits lie in the block. Source: `ggml-common.h` and the
//! `dequantize_row_*` functions of `ggml-quants.c` in llama.cpp.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32,
    _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_inserti128_si256,
    _mm256_loadu_si256, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setr_epi8, _mm256_setr_epi64x, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_srl_epi16, _mm256_storeu_ps,
};

/// A block format.
///
/// Every pointer is to a whole block of [`Format::BYTES`] bytes.
pub trait Format {
    /// Weights in a block.
    const WEIGHTS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Weights that share a scale and an offset.
    const SHARED: usize;
    /// Codes are below this; `None`: they are signed bytes.
    const CODES: Option<i32>;

    /// Writes the scales and the offsets, `WEIGHTS / SHARED` each.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `block` is a whole block, the others have that much room.
    unsafe fn scales(block: *const u8, scales: *mut f32, offsets: *mut f32);

    /// The codes of weights `32 · group ..` as 32 bytes.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; `block` is a whole block that has that group.
    unsafe fn codes(block: *const u8, group: usize) -> __m256i;
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
    let both = _mm256_inserti128_si256::<1>(
        _mm256_castsi128_si256(packed),
        _mm_and_si128(_mm_srli_epi16::<4>(packed), _mm_set1_epi8(0x0f)),
    );
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

macro_rules! blocks_of_32 {
    ($name:ident, $bytes:literal, $codes:expr, $block:ident, $scales:expr, $read:expr) => {
        #[doc = concat!("Blocks of 32 weights in ", stringify!($bytes), " bytes.")]
        pub struct $name;

        impl Format for $name {
            const WEIGHTS: usize = 32;
            const BYTES: usize = $bytes;
            const SHARED: usize = 32;
            const CODES: Option<i32> = $codes;

            #[target_feature(enable = "avx2,fma,f16c")]
            #[inline]
            unsafe fn scales($block: *const u8, scales: *mut f32, offsets: *mut f32) {
                // SAFETY: the block is whole, and there is room for one each.
                unsafe {
                    let (scale, offset) = $scales;
                    *scales = scale;
                    *offsets = offset;
                }
            }

            #[target_feature(enable = "avx2,fma,f16c")]
            #[inline]
            unsafe fn codes($block: *const u8, _: usize) -> __m256i {
                // SAFETY: the block is whole.
                unsafe { $read }
            }
        }
    };
}

blocks_of_32!(
    Q4_0,
    18,
    Some(16),
    block,
    {
        let d = half(block);
        (d, -8.0 * d)
    },
    nibbles(block.add(2))
);
blocks_of_32!(Q4_1, 20, Some(16), block, (half(block), half(block.add(2))), nibbles(block.add(4)));
blocks_of_32!(
    Q5_0,
    22,
    Some(32),
    block,
    {
        let d = half(block);
        (d, -16.0 * d)
    },
    _mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2)))
);
blocks_of_32!(
    Q5_1,
    24,
    Some(32),
    block,
    (half(block), half(block.add(2))),
    _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4)))
);
blocks_of_32!(Q8_0, 34, None, block, (half(block), 0.0), load(block.add(2)));

/// 256 weights at 2 bits, scales and offsets at 4.
pub struct Q2K;

impl Format for Q2K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 84;
    const SHARED: usize = 16;
    const CODES: Option<i32> = Some(4);

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
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
    unsafe fn scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
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
    unsafe fn scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
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
    unsafe fn scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
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
    unsafe fn scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
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
