//! Root mean square normalization, `RMSNorm` (Zhang and Sennrich 2019).

use super::pool::parallel_for_chunks;

/// `1 / √(mean(xs²) + epsilon)`
#[inline(always)]
pub fn inverse_rms(xs: &[f32], epsilon: f32) -> f32 {
    1.0 / (mean_square(xs) + epsilon).sqrt()
}

/// The mean of the values' squares. Sixteen sums side by side, since a single one would wait for
/// itself, in plain code that every instruction set sums up in the same order.
#[inline(always)]
fn mean_square(xs: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (sixteens, rest) = xs.as_chunks::<16>();
    for sixteen in sixteens {
        for (sum, x) in sums.iter_mut().zip(sixteen) {
            *sum += x * x;
        }
    }
    let (eights, rest) = rest.as_chunks::<8>();
    if let [eight] = eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += x * x;
        }
    }
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|i| sums[i] + sums[i + 8]);
    let sum = ((a + e) + (c + g)) + ((b + f) + (d + h));
    (sum + rest.iter().map(|x| x * x).sum::<f32>()) / xs.len() as f32
}

/// `xs / √(mean(xs²) + epsilon) · weight` of one row, into `normed`; all have the same length.
#[inline]
pub fn rms_norm_row(xs: &[f32], weight: &[f32], epsilon: f32, normed: &mut [f32]) {
    let factor = inverse_rms(xs, epsilon);
    for ((normed, x), weight) in normed.iter_mut().zip(xs).zip(weight) {
        *normed = x * factor * weight;
    }
}

/// [`rms_norm_row`] of each row: `[rows, weight.len()]` → the same.
pub fn rms_norm(xs: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let columns = weight.len();
    let mut normed = vec![0f32; xs.len()];
    if xs.len() == columns {
        // It is done before another core has heard of it.
        rms_norm_row(xs, weight, epsilon, &mut normed);
        return normed;
    }
    parallel_for_chunks(&mut normed, columns, |rows, normed| {
        let xs = &xs[rows.start * columns..rows.end * columns];
        for (xs, normed) in xs.chunks_exact(columns).zip(normed.chunks_exact_mut(columns)) {
            rms_norm_row(xs, weight, epsilon, normed);
        }
    });
    normed
}

/// Adds [`rms_norm`] of `xs` to `sums`, both `[rows, weight.len()]`.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "candle has its own"))]
pub fn add_rms_norm(xs: &[f32], weight: &[f32], epsilon: f32, sums: &mut [f32]) {
    let columns = weight.len();
    parallel_for_chunks(sums, columns, |rows, sums| {
        let xs = &xs[rows.start * columns..rows.end * columns];
        for (xs, sums) in xs.chunks_exact(columns).zip(sums.chunks_exact_mut(columns)) {
            let factor = inverse_rms(xs, epsilon);
            for ((sum, x), weight) in sums.iter_mut().zip(xs).zip(weight) {
                *sum += x * factor * weight;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against double precision, for lengths that fill sixteen sums and not.
    #[test]
    fn rows_are_divided_by_their_root_mean_square() {
        for columns in [1, 7, 8, 16, 29, 600] {
            let xs: Vec<f32> = (0..3 * columns).map(|i| (i as f32 * 0.37).sin() * 9.0).collect();
            let weight: Vec<f32> = (0..columns).map(|i| 0.5 + i as f32 / 9.0).collect();
            let normed = rms_norm(&xs, &weight, 1e-5);
            let mut sums = xs.clone();
            add_rms_norm(&xs, &weight, 1e-5, &mut sums);
            for ((sum, x), normed) in sums.iter().zip(&xs).zip(&normed) {
                assert!((sum - (x + normed)).abs() < 1e-5);
            }
            for (row, normed) in xs.chunks_exact(columns).zip(normed.chunks_exact(columns)) {
                let squares = row.iter().map(|x| f64::from(*x) * f64::from(*x));
                let mean = squares.sum::<f64>() / columns as f64;
                for ((x, weight), normed) in row.iter().zip(&weight).zip(normed) {
                    let exact = f64::from(*x) / (mean + 1e-5).sqrt() * f64::from(*weight);
                    let error = (f64::from(*normed) - exact).abs();
                    assert!(error <= 1e-5 * exact.abs(), "{columns}: {normed}, not {exact}");
                }
            }
        }
    }
}
