//! Formats with blocks of 256 weights, which share scales and offsets by 16 or 32.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadl_epi64, _mm_loadu_si128, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_ps,
    _mm256_slli_epi16, _mm256_storeu_ps, _mm512_and_si512, _mm512_loadu_si512, _mm512_set1_epi8,
    _mm512_srli_epi32,
};

use super::Format;
use super::bits::{field, half, load, rotated_twice, select};

/// 256 weights at 2 bits, scales and offsets at 4.
pub struct Q2K;

impl Format for Q2K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 84;
    const SHARED: usize = 16;
    const QUANTS_BELOW: i32 = 4;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the block is whole, and there is room for 16 each.
        unsafe {
            let (d, min) = (half(block.add(80)), half(block.add(82)));
            for i in 0..16 {
                let byte = *block.add(i);
                *scales.add(i) = d * f32::from(byte & 0x0f);
                *offsets.add(i) = -min * f32::from(byte >> 4);
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants(block: *const u8, group: usize) -> __m256i {
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
    const QUANTS_BELOW: i32 = 8;

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
    unsafe fn quants(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        let (low, high) = unsafe { (load(block.add(32 + 32 * (group / 4))), load(block)) };
        let high = _mm256_slli_epi16::<2>(field(high, group, 1));
        _mm256_or_si256(field(low, 2 * (group % 4), 3), high)
    }
}

/// The eight 6-bit scales and offsets of [`Q4K`] and [`Q5K`]: `d` and `dmin` at 0 and 2, the packed
/// ones at 4.
///
/// # Safety
/// There are 16 bytes at `block`, and room for eight scales and offsets.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn six_bit_scales(block: *const u8, scales: *mut f32, offsets: *mut f32) {
    // SAFETY: as the caller promises.
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
        let min = _mm256_set1_ps(-half(block.add(2)));
        _mm256_storeu_ps(offsets, _mm256_mul_ps(wide(offset_bytes), min));
    }
}

/// 256 weights at 4 bits, scales and offsets at 6.
pub struct Q4K;

impl Format for Q4K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 144;
    const SHARED: usize = 32;
    const QUANTS_BELOW: i32 = 16;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { six_bit_scales(block, scales, offsets) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        field(unsafe { load(block.add(16 + 32 * (group / 2))) }, 4 * (group % 2), 0x0f)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two(block: *const u8, pair: usize) -> __m512i {
        // SAFETY: the block is whole.
        let nibbles = unsafe { rotated_twice(block.add(16 + 32 * pair), 0, 28) };
        _mm512_and_si512(nibbles, _mm512_set1_epi8(0x0f))
    }
}

/// 256 weights at 5 bits, scales and offsets at 6.
pub struct Q5K;

impl Format for Q5K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 176;
    const SHARED: usize = 32;
    const QUANTS_BELOW: i32 = 32;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { six_bit_scales(block, scales, offsets) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn quants(block: *const u8, group: usize) -> __m256i {
        // SAFETY: the block is whole.
        let (low, high) = unsafe { (load(block.add(48 + 32 * (group / 2))), load(block.add(16))) };
        let high = _mm256_slli_epi16::<4>(field(high, group, 1));
        _mm256_or_si256(field(low, 4 * (group % 2), 0x0f), high)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    unsafe fn quants_of_two(block: *const u8, pair: usize) -> __m512i {
        // SAFETY: the block is whole.
        let (low, high) = unsafe {
            let fifth = |group: usize| (32 + 4 - group) % 32;
            (
                rotated_twice(block.add(48 + 32 * pair), 0, 28),
                rotated_twice(block.add(16), fifth(2 * pair), fifth(2 * pair + 1)),
            )
        };
        _mm512_and_si512(select(0x0f, low, high), _mm512_set1_epi8(0x1f))
    }
}

/// 256 weights at 6 bits, scales at 8.
pub struct Q6K;

impl Format for Q6K {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 210;
    const SHARED: usize = 16;
    const QUANTS_BELOW: i32 = 64;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales(block: *const u8, _: usize, scales: *mut f32, offsets: *mut f32) {
        // SAFETY: the block is whole, and there is room for 16 each.
        unsafe {
            let d = _mm256_set1_ps(half(block.add(208)));
            // As whole vectors: a load that spans several recent stores would have to wait for them.
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
    unsafe fn quants(block: *const u8, group: usize) -> __m256i {
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
    unsafe fn quants_of_two(block: *const u8, pair: usize) -> __m512i {
        let (half, high_nibbles) = (pair / 2, pair % 2 == 1);
        // SAFETY: the block is whole.
        let (low, high) = unsafe {
            let low = _mm512_loadu_si512(block.add(64 * half).cast());
            let high = block.add(128 + 32 * half);
            if high_nibbles {
                (_mm512_srli_epi32::<4>(low), rotated_twice(high, 0, 30))
            } else {
                (low, rotated_twice(high, 4, 2))
            }
        };
        _mm512_and_si512(select(0x0f, low, high), _mm512_set1_epi8(0x3f))
    }
}
