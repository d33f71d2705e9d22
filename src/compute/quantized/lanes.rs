//! Single numbers out of a vector.

use std::arch::x86_64::{__m256, _mm256_storeu_ps};

/// The eight lanes, the lowest first.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn lanes(values: __m256) -> [f32; 8] {
    let mut lanes = [0f32; 8];
    // SAFETY: there is room for eight.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), values) };
    lanes
}

/// The sum of all lanes, by pairs.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn sum_of_lanes(values: __m256) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes(values);
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
