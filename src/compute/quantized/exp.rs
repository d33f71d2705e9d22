//! `eˣ` of eight numbers at once.
//!
//! [`crate::compute::dense`] has another exponential on purpose, with another polynomial: `2ˣ` for
//! x ≤ 0 in plain code for every CPU, which is all that softmax of the encoders needs. This
//! one takes any sign, for `SiLU`, and keeps its operands in registers. To give up either would change
//! the last digits of the answers or of the embeddings of indexes.

use std::arch::x86_64::{
    __m256, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm256_add_epi32, _mm256_add_ps,
    _mm256_castsi256_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps,
    _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_round_ps, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_sub_ps,
};

/// Within 2 units in the last place where the result is a normal number; below, about the smallest
/// one. Source: `expf` of the Cephes library (S. Moshier):
/// x = n·ln 2 + r, and a polynomial for eʳ.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn exp(x: __m256) -> __m256 {
    let x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.3)), _mm256_set1_ps(88.3));
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        x,
        _mm256_set1_ps(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts, so that the first product is exact.
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693_359_4), x);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.121_944_4e-4), r);
    let mut p = _mm256_set1_ps(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(coefficient));
    }
    let e = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0));
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_mul_ps(e, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
}

/// `x / (1 + e⁻ˣ)`
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn silu(x: __m256) -> __m256 {
    let e = exp(_mm256_sub_ps(_mm256_setzero_ps(), x));
    _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::quantized::Isa;

    #[test]
    fn eight_exponentials_are_as_exact_as_promised() {
        #[target_feature(enable = "avx2,fma")]
        fn exp_of_eight(xs: [f32; 8]) -> [f32; 8] {
            let mut out = [0f32; 8];
            // SAFETY: both have room for eight.
            unsafe {
                let xs = std::arch::x86_64::_mm256_loadu_ps(xs.as_ptr());
                std::arch::x86_64::_mm256_storeu_ps(out.as_mut_ptr(), exp(xs));
            }
            out
        }
        let _proof = Isa::avx2();
        for i in -870..880 {
            let x = i as f32 / 10.0;
            let xs = std::array::from_fn(|lane| x + lane as f32 * 0.012);
            // SAFETY: `Isa` is proof of the instructions.
            let found = unsafe { exp_of_eight(xs) };
            for (x, found) in xs.iter().zip(found) {
                let exact = f64::from(*x).exp();
                let error = (f64::from(found) - exact).abs() / exact;
                assert!(error < 3e-7, "exp({x}) is off by {error}");
            }
        }
    }
}
