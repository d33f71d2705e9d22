//! Rotary position embeddings, `RoPE` (Su et al. 2021).

use super::rows::for_each_level;
#[cfg(target_arch = "x86_64")]
use crate::compute::simd::InstructionSet;
use crate::compute::simd::SimdLevel;

for_each_level! {
    /// Rotates each head of `heads`, `[heads, 2, dim / 2]`: its first half with its second, by the angles
    /// whose cosines and sines are given, `[dim / 2]`.
    pub fn rotate(heads: &mut [f32], cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rotated_by_their_angles() {
        for level in SimdLevel::all_of_test("rotary position embeddings") {
            for half in [1, 3, 16, 32] {
                let angles: Vec<f64> = (0..half).map(|i| 0.3 + i as f64 * 1.7).collect();
                let cos: Vec<f32> = angles.iter().map(|angle| angle.cos() as f32).collect();
                let sin: Vec<f32> = angles.iter().map(|angle| angle.sin() as f32).collect();
                let before: Vec<f32> = (0..6 * half).map(|i| (i as f32).sin() * 3.0).collect();
                let mut heads = before.clone();
                rotate(level, &mut heads, &cos, &sin);
                for (at, found) in heads.iter().enumerate() {
                    let (head, i) = (at / (2 * half), at % (2 * half) % half);
                    let [a, b] = [i, half + i].map(|i| f64::from(before[head * 2 * half + i]));
                    let (sin, cos) = angles[i].sin_cos();
                    let exact = match at % (2 * half) < half {
                        true => a * cos - b * sin,
                        false => b * cos + a * sin,
                    };
                    assert!((f64::from(*found) - exact).abs() < 1e-5, "{level:?} {half} {at}");
                }
            }
        }
    }
}
