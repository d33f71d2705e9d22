//! Bits out of blocks. Every `unsafe fn` here reads bytes that its caller knows to be there.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_srli_epi16, _mm256_and_si256, _mm256_castsi128_si256, _mm256_cmpeq_epi8,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_setr_epi8, _mm256_setr_epi64x, _mm256_shuffle_epi8, _mm256_srl_epi16, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_broadcast_i64x4, _mm512_mask_broadcast_i32x4,
    _mm512_mask_mov_epi32, _mm512_rolv_epi32, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_setr_epi32, _mm512_srlv_epi32, _mm512_ternarylogic_epi32,
};

/// # Safety
/// There are 32 bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub unsafe fn load(bytes: *const u8) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe { _mm256_loadu_si256(bytes.cast::<__m256i>()) }
}

/// The IEEE half at `bytes`.
///
/// # Safety
/// There are 2 bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub unsafe fn half(bytes: *const u8) -> f32 {
    // SAFETY: as the caller promises.
    let bits = unsafe { bytes.cast::<u16>().read_unaligned() };
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// 16 bytes of nibbles: the low ones are quants 0 to 15, the high ones 16 to 31.
///
/// # Safety
/// There are 16 bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub unsafe fn nibbles(bytes: *const u8) -> __m256i {
    // SAFETY: as the caller promises.
    let packed = unsafe { _mm_loadu_si128(bytes.cast::<__m128i>()) };
    let both =
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(packed), _mm_srli_epi16::<4>(packed));
    _mm256_and_si256(both, _mm256_set1_epi8(0x0f))
}

/// [`nibbles`] of two groups.
///
/// # Safety
/// There are 16 bytes at each.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub unsafe fn nibbles_of_two(first: *const u8, second: *const u8) -> __m512i {
    // SAFETY: as the caller promises.
    let (first, second) = unsafe {
        (_mm_loadu_si128(first.cast::<__m128i>()), _mm_loadu_si128(second.cast::<__m128i>()))
    };
    let both = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(first), 0xff00, second);
    let shifts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
    _mm512_and_si512(_mm512_srlv_epi32(both, shifts), _mm512_set1_epi8(0x0f))
}

/// 32 bits → 32 bytes, `0x10` where the bit is set.
///
/// # Safety
/// There are 4 bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub unsafe fn fifth_bits(bytes: *const u8) -> __m256i {
    // SAFETY: as the caller promises.
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
pub fn field(bytes: __m256i, shift: usize, mask: i8) -> __m256i {
    let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32));
    _mm256_and_si256(shifted, _mm256_set1_epi8(mask))
}

/// The bytes at `bytes` twice, in 32-bit words that are rotated to the left: the first time by
/// `first` bits, the second time by `second`.
///
/// # Safety
/// There are 32 bytes.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub unsafe fn rotated_twice(bytes: *const u8, first: usize, second: usize) -> __m512i {
    // SAFETY: as the caller promises.
    let twice = _mm512_broadcast_i64x4(unsafe { load(bytes) });
    let first = _mm512_set1_epi32(first as i32);
    let bits = _mm512_mask_mov_epi32(first, 0xff00, _mm512_set1_epi32(second as i32));
    _mm512_rolv_epi32(twice, bits)
}

/// In each byte, the bits of `set` where the mask is 1 and those of `clear` where it is 0.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub fn select(mask: i8, set: __m512i, clear: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(_mm512_set1_epi8(mask), set, clear)
}
