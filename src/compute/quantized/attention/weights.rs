//! The exponentials of softmax. Their sums divide the mixed values in the end: as keys go by in tiles
//! or parts, there is never a whole row of scores to normalize.

use std::arch::x86_64::{
    _mm256_add_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm256_sub_ps,
};

use crate::compute::quantized::exp::exp;
use crate::compute::quantized::lanes::lanes;

/// The largest of the scores, whose number is a multiple of eight.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn largest(scores: &[f32]) -> f32 {
    let mut max = _mm256_set1_ps(f32::MIN);
    for eight in scores.chunks_exact(8) {
        // SAFETY: there are eight.
        max = _mm256_max_ps(max, unsafe { _mm256_loadu_ps(eight.as_ptr()) });
    }
    lanes(max).iter().fold(f32::MIN, |max, score| max.max(*score))
}

/// `exp(score − largest)` in place of the scores, whose number is a multiple of eight; returns the
/// sum.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn exponentials(scores: &mut [f32], largest: f32) -> f32 {
    let largest = _mm256_set1_ps(largest);
    let mut sum = _mm256_setzero_ps();
    for eight in scores.chunks_exact_mut(8) {
        // SAFETY: there are eight.
        unsafe {
            let weight = exp(_mm256_sub_ps(_mm256_loadu_ps(eight.as_ptr()), largest));
            sum = _mm256_add_ps(sum, weight);
            _mm256_storeu_ps(eight.as_mut_ptr(), weight);
        }
    }
    lanes(sum).iter().sum()
}
