//! Exponentials, in plain code that the compiler turns into vector instructions.
//!
//! The exponent of the result is a whole number, and a polynomial gives the rest. `FMA` says whether
//! [`add_product`] is one instruction where the code is compiled for.

/// 1.5 · 2²³. What it is added to, if below 2²², has no bits left for a fraction: it is rounded to
/// the nearest integer, ties to even, which is in the lowest bits.
pub const MAGIC: f32 = 12_582_912.0;

/// `a + b · c`, rounded once where that is one instruction.
#[inline(always)]
pub fn add_product<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { b.mul_add(c, a) } else { a + b * c }
}

/// By Horner's rule, from coefficients of rising powers.
#[inline(always)]
pub fn polynomial<const FMA: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().rev().reduce(|sum, c| add_product::<FMA>(c, sum, x)).unwrap_or(0.0)
}

/// `2ˣ` for x ≤ 127 within 3 units in the last place; 2⁻¹²⁵ below −125 and for NaN.
#[inline(always)]
pub fn exp2<const FMA: bool>(x: f32) -> f32 {
    let x = if x > -125.0 { x } else { -125.0 };
    let shifted = x + MAGIC;
    scaled::<FMA>(x - (shifted - MAGIC), shifted)
}

/// Where `exp` ends.
#[cfg(any(test, target_arch = "x86_64"))]
pub const MIN: f32 = -86.0;
#[cfg(any(test, target_arch = "x86_64"))]
pub const MAX: f32 = 88.0;

/// ln 2 in two parts, so that a product with the first is exact (W. J. Cody and W. Waite 1980).
#[cfg(any(test, target_arch = "x86_64"))]
pub const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// `eˣ` within 4 units in the last place from [`MIN`] to [`MAX`]; beyond, as at the nearer end, and
/// for NaN as at the lower. What the vectors of `quantized/exp.rs` are compared with.
#[cfg(test)]
pub fn exp(x: f32) -> f32 {
    let x = if x > MIN { x } else { MIN };
    let x = if x < MAX { x } else { MAX };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let rest = LN_2.into_iter().fold(x, |rest, part| (MAGIC - shifted).mul_add(part, rest));
    scaled::<true>(rest * std::f32::consts::LOG2_E, shifted)
}

/// 2ˣ for −½ to ½ by rising powers of x, from `polynomials.py`.
#[expect(clippy::approx_constant, reason = "the fitted coefficient is not ln 2 to the last bit")]
#[rustfmt::skip]
pub const POWER: [f32; 6] = [
    1.0, 0.693_147, 0.240_222_42, 0.055_507_34, 0.009_671_513, 0.001_326_471_5,
];

/// `2^fraction · 2^n`, where `shifted` is n + [`MAGIC`].
#[inline(always)]
fn scaled<const FMA: bool>(fraction: f32, shifted: f32) -> f32 {
    let power = polynomial::<FMA, _>(fraction, POWER);
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_as_exact_as_promised() {
        for i in -1_254..=1_270 {
            let x = i as f32 / 10.0;
            let error = f64::from(exp2::<false>(x)) / f64::from(x.max(-125.0)).exp2() - 1.0;
            assert!(error.abs() < 4e-7, "2^{x} is off by {error}");
        }
        for i in -86_000..=88_000 {
            let x = i as f32 / 1000.0;
            let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 5e-7, "e^{x} is off by {error}");
        }
    }

    #[test]
    fn exponentials_beyond_the_ends_are_finite() {
        for x in [f32::NAN, f32::NEG_INFINITY, -1e9, -126.0] {
            assert_eq!(exp2::<true>(x), 2f32.powi(-125));
            assert_eq!(exp(x), exp(MIN));
        }
        for x in [f32::INFINITY, 1e9, 89.0] {
            assert_eq!(exp(x), exp(MAX));
        }
    }
}
