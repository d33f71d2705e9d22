//! Gated activations: one half of a product, activated, times the other (Shazeer 2020).

use super::rows::{for_each_level, gelu};
use super::tile::PANEL;
use crate::compute::exp::exp2;
use crate::compute::pool::TileMut;
#[cfg(target_arch = "x86_64")]
use crate::compute::simd::InstructionSet;
use crate::compute::simd::SimdLevel;

/// What the first half goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · Φ(x)` (Hendrycks and Gimpel 2016)
    Gelu,
    /// `x / (1 + e⁻ˣ)`
    Silu,
}

for_each_level! {
    /// Adds `bias`, `[2, 16]`, to each row of `tile`, `[rows, 2, 16]`, activates the first sixteen values
    /// of it, multiplies them by the second, and writes those that are inside to `out`.
    pub fn store(tile: &[f32], bias: &[f32], activation: Activation, out: TileMut<f32>) {
        match activation {
            Activation::Gelu => write(tile, bias, out, gelu::<FMA>),
            Activation::Silu => write(tile, bias, out, silu::<FMA>),
        }
    }
}

#[inline(always)]
fn write(tile: &[f32], bias: &[f32], mut out: TileMut<f32>, activate: impl Fn(f32) -> f32) {
    let [first_bias, second_bias] = bias.as_chunks::<PANEL>().0.as_chunks::<2>().0[0];
    let rows = tile.as_chunks::<PANEL>().0.as_chunks::<2>().0;
    for (i, [first, second]) in rows.iter().enumerate() {
        let mut gated = [0f32; PANEL];
        for lane in 0..PANEL {
            let factor = second[lane] + second_bias[lane];
            gated[lane] = activate(first[lane] + first_bias[lane]) * factor;
        }
        let row = out.row(i);
        match <&mut [f32; PANEL]>::try_from(&mut *row) {
            Ok(row) => *row = gated,
            Err(_) => row.copy_from_slice(&gated[..row.len()]),
        }
    }
}

/// Exact to a millionth of `x`.
#[inline(always)]
fn silu<const FMA: bool>(x: f32) -> f32 {
    let power = -x * std::f32::consts::LOG2_E;
    // Beyond, the quotient is zero.
    x / (1.0 + exp2::<FMA>(if power < 126.0 { power } else { 126.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_half_is_activated_and_multiplied_by_the_second() {
        for level in SimdLevel::all_of_test("gated activations") {
            let tile: Vec<f32> = (0..4 * 32).map(|i| (i as f32 * 0.77).sin() * 9.0).collect();
            let bias: Vec<f32> = (0..32).map(|i| i as f32 / 10.0).collect();
            for columns in [PANEL, 9] {
                let mut out = vec![7.0; 4 * 20];
                let mut matrix = TileMut::new(&mut out, 20);
                store(level, &tile, &bias, Activation::Silu, matrix.part(0..4, 0..columns));
                for (at, found) in out.iter().enumerate() {
                    let (row, column) = (at / 20, at % 20);
                    let sum = |i: usize| f64::from(tile[row * 32 + i]) + f64::from(bias[i]);
                    let exact = match column < columns {
                        true => sum(column) / (1.0 + (-sum(column)).exp()) * sum(PANEL + column),
                        false => 7.0,
                    };
                    assert!((f64::from(*found) - exact).abs() < 1e-4, "{level:?} {columns} {at}");
                }
            }
        }
    }

    #[test]
    fn activations_end_at_zero_and_one() {
        for level in SimdLevel::all_of_test("ends of gated activations") {
            for activation in [Activation::Silu, Activation::Gelu] {
                let mut tile = [1f32; 2 * PANEL];
                tile[..5].copy_from_slice(&[-1e30, -200.0, 0.0, 200.0, 1e30]);
                let mut out = [0f32; PANEL];
                let all = TileMut::new(&mut out, PANEL);
                store(level, &tile, &[0.0; 2 * PANEL], activation, all);
                assert_eq!(out[2..5], [0.0, 200.0, 1e30], "{level:?}");
                assert!(out[..2].iter().all(|end| end.abs() < 1e-6), "{level:?} {out:?}");
            }
        }
    }
}
