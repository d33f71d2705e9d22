//! How keys and values are kept.

use std::arch::x86_64::{
    __m128i, __m256, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_cvtph_ps,
    _mm256_cvtps_ph, _mm256_loadu_ps, _mm256_storeu_ps,
};

use crate::compute::aligned::PlainNumber;

/// A type that keys and values are kept in.
///
/// # Safety
/// `load` and `store` touch eight neighbouring values, and nothing else.
pub unsafe trait Element: PlainNumber {
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; there are eight values at `from`.
    unsafe fn load(from: *const Self) -> __m256;

    /// # Safety
    /// The CPU has AVX2, FMA and F16C; there is room for eight values at `to`.
    unsafe fn store(to: *mut Self, values: __m256);
}

// SAFETY: 32 bytes are loaded and stored.
unsafe impl Element for f32 {
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: as the caller promises.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn store(to: *mut Self, values: __m256) {
        // SAFETY: as the caller promises.
        unsafe { _mm256_storeu_ps(to, values) }
    }
}

/// The bits of an IEEE half.
// SAFETY: 16 bytes are loaded and stored.
unsafe impl Element for u16 {
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: as the caller promises.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.cast::<__m128i>()) })
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn store(to: *mut Self, values: __m256) {
        let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
        // SAFETY: as the caller promises.
        unsafe { _mm_storeu_si128(to.cast::<__m128i>(), halves) }
    }
}
