//! `eˣ` of eight numbers at once.

use std::arch::x86_64::{
    __m256, _mm256_add_epi32, _mm256_add_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_div_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_sub_ps,
};
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E};

use crate::compute::exp::{LN_2, MAGIC, MAX, MIN, POWER};

/// `compute::exp::exp` of each, to the last bit. Written in vectors, because the compiler
/// makes none of it between other vector code.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn exp(x: __m256) -> __m256 {
    let all = |value: f32| _mm256_set1_ps(value);
    // In this order, so that NaN becomes the lower end.
    let x = _mm256_min_ps(_mm256_max_ps(x, all(MIN)), all(MAX));
    let shifted = _mm256_fmadd_ps(x, all(LOG2_E), all(MAGIC));
    let whole = _mm256_sub_ps(shifted, all(MAGIC));
    let rest = LN_2.into_iter().fold(x, |rest, part| _mm256_fnmadd_ps(whole, all(part), rest));
    let fraction = _mm256_mul_ps(rest, all(LOG2_E));
    let [lower @ .., highest] = POWER;
    let horner = |power, coefficient| _mm256_fmadd_ps(power, fraction, all(coefficient));
    let power = lower.into_iter().rev().fold(all(highest), horner);
    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power), exponent))
}

/// `x / (1 + e⁻ˣ)`
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn silu(x: __m256) -> __m256 {
    let e = exp(_mm256_sub_ps(_mm256_setzero_ps(), x));
    _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0), e))
}

/// `x/2 · (1 + tanh y)` for `y = √(2/π) (x + 0.044715 x³)`, which is `x / (1 + e⁻²ʸ)`: GELU in its
/// tanh form (Hendrycks and Gimpel 2016).
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn gelu(x: __m256) -> __m256 {
    let all = |value: f32| _mm256_set1_ps(value);
    let cubic = _mm256_fmadd_ps(_mm256_mul_ps(x, x), all(0.044_715), all(1.0));
    let y = _mm256_mul_ps(_mm256_mul_ps(x, cubic), all(FRAC_2_SQRT_PI * FRAC_1_SQRT_2));
    let e = exp(_mm256_mul_ps(all(-2.0), y));
    _mm256_div_ps(x, _mm256_add_ps(all(1.0), e))
}

#[cfg(test)]
mod tests {
    use crate::compute::exp;
    use crate::compute::quantized::Isa;

    /// Against double precision.
    #[test]
    fn activations_are_what_their_formulas_say() {
        #[target_feature(enable = "avx2,fma")]
        fn of_eight(xs: [f32; 8]) -> [[f32; 8]; 2] {
            let mut out = [[0f32; 8]; 2];
            // SAFETY: all have room for eight.
            unsafe {
                let xs = std::arch::x86_64::_mm256_loadu_ps(xs.as_ptr());
                std::arch::x86_64::_mm256_storeu_ps(out[0].as_mut_ptr(), super::silu(xs));
                std::arch::x86_64::_mm256_storeu_ps(out[1].as_mut_ptr(), super::gelu(xs));
            }
            out
        }
        let _proof = Isa::avx2();
        for xs in (-200..200).map(|i| std::array::from_fn(|j| (i as f32 + j as f32 / 8.0) / 10.0)) {
            // SAFETY: `Isa` is proof of the instructions.
            let [silu, gelu] = unsafe { of_eight(xs) };
            for ((x, silu), gelu) in xs.map(f64::from).into_iter().zip(silu).zip(gelu) {
                let y = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                let exact = [x / (1.0 + (-x).exp()), x / 2.0 * (1.0 + y.tanh())];
                for (found, exact) in [silu, gelu].map(f64::from).into_iter().zip(exact) {
                    let error = (found - exact).abs();
                    assert!(error <= 2e-6 * exact.abs().max(0.1), "{x}: {found}, not {exact}");
                }
            }
        }
    }

    #[test]
    fn eight_exponentials_are_those_of_plain_code() {
        #[target_feature(enable = "avx2,fma")]
        fn exp_of_eight(xs: [f32; 8]) -> [f32; 8] {
            let mut out = [0f32; 8];
            // SAFETY: both have room for eight.
            unsafe {
                let xs = std::arch::x86_64::_mm256_loadu_ps(xs.as_ptr());
                std::arch::x86_64::_mm256_storeu_ps(out.as_mut_ptr(), super::exp(xs));
            }
            out
        }
        let _proof = Isa::avx2();
        let ends = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e9, -1e9, 0.0, -0.0, 88.0];
        let others =
            (-870..880).map(|i| std::array::from_fn(|j| (i as f32 + j as f32 / 8.0) / 10.0));
        for xs in std::iter::once(ends).chain(others) {
            // SAFETY: `Isa` is proof of the instructions.
            let found = unsafe { exp_of_eight(xs) };
            assert_eq!(found.map(f32::to_bits), xs.map(|x| exp::exp(x).to_bits()), "{xs:?}");
        }
    }
}
