//! What happens to a row of numbers between matrix products.
//!
//! Plain loops without branches, which the compiler turns into vector instructions; each function
//! is compiled for wider vectors as well, and the level decides.

use super::tile::{GROUP, WEIGHT_MAX};
use crate::compute::bf16::to_bf16;
use crate::compute::exp::{MAGIC, add_product, exp2, polynomial};
use crate::compute::pool::TileMut;
#[cfg(target_arch = "x86_64")]
use crate::compute::simd::InstructionSet;
use crate::compute::simd::SimdLevel;

/// Sums that run side by side: a single one would wait for itself.
const LANES: usize = 16;

/// Defines a function three times, from the same loops: for any CPU, AVX2, and AVX-512. `FMA` says
/// whether [`add_product`] is an instruction there.
macro_rules! for_each_level {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name(level: SimdLevel, $($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body<const FMA: bool>($($arg: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $result)? { body::<true>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) $(-> $result)? { body::<true>($($arg),*) }
            match level.instructions() {
                // SAFETY: a level proves that this CPU has its instructions.
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 | InstructionSet::Amx => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 | InstructionSet::Vnni => unsafe { avx2($($arg),*) },
                _ => body::<{ cfg!(target_arch = "aarch64") }>($($arg),*),
            }
        }
    };
}

pub(super) use for_each_level;

/// Dot product, summed in independent lanes, so that the compiler can use vector registers, in the same
/// order with those of any width.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

for_each_level! {
    /// The products of a row with each row of `others`, `[products, dim]`. Every level gives the same bits.
    pub fn products(row: &[f32], others: &[f32], products: &mut [f32]) {
        for (product, other) in products.iter_mut().zip(others.chunks_exact(row.len().max(1))) {
            *product = dot(row, other);
        }
    }
}

/// Entries in each part of a book.
pub const ENTRIES: usize = 256;

for_each_level! {
    /// For each part of a vector, the number of the entry nearest to it, `[parts]`: the first of those that
    /// are equally near. `columns` has the first value of all entries of a part, then the second, and so on,
    /// `[parts, dim / parts, 256]`; `half_squares` half of each entry's product with itself, `[parts, 256]`.
    /// Every level gives the same.
    pub fn nearest_entries(vector: &[f32], columns: &[f32], half_squares: &[f32], nearest: &mut [u8]) {
        let size = vector.len() / nearest.len().max(1);
        let (half_squares, _) = half_squares.as_chunks::<ENTRIES>();
        let parts = vector.chunks_exact(size.max(1)).zip(columns.chunks_exact(size.max(1) * ENTRIES));
        for ((nearest, half_squares), (values, columns)) in nearest.iter_mut().zip(half_squares).zip(parts) {
            // |v − e|² = |v|² − 2 (v · e − |e|² / 2): the nearest has the largest parenthesis.
            let mut scores = half_squares.map(|half| -half);
            let (columns, _) = columns.as_chunks::<ENTRIES>();
            for (value, column) in values.iter().zip(columns) {
                for (score, entry) in scores.iter_mut().zip(column) {
                    *score += value * entry;
                }
            }
            let mut best = [f32::NEG_INFINITY; LANES];
            for scores in scores.as_chunks::<LANES>().0 {
                for (best, score) in best.iter_mut().zip(scores) {
                    *best = if score > best { *score } else { *best };
                }
            }
            let best = best.into_iter().fold(f32::NEG_INFINITY, f32::max);
            *nearest = scores.iter().position(|&score| score == best).unwrap_or(0) as u8;
        }
    }
}

for_each_level! {
    /// Rounds a row to 8-bit codes with a scale for each 64 values, and adds up the codes of each.
    pub fn quantize(row: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
        let groups = row.chunks_exact(GROUP).zip(codes.chunks_exact_mut(GROUP));
        for ((row, codes), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
            let inverse;
            (*scale, inverse) = step(row, 127.0);
            let mut total = 0i32;
            for (code, value) in codes.iter_mut().zip(row) {
                let rounded = round(value * inverse);
                *code = rounded as i8;
                total = total.wrapping_add(rounded); // wraps for NaN only
            }
            *sum = total;
        }
    }
}

for_each_level! {
    /// Rounds a row of weights to codes of seven bits, with a scale for each 64 values, and adds
    /// `zero` to them.
    pub fn quantize_weights(row: &[f32], codes: &mut [u8], scales: &mut [f32], zero: i32) {
        let groups = row.chunks_exact(GROUP).zip(codes.chunks_exact_mut(GROUP));
        for ((row, codes), scale) in groups.zip(scales.iter_mut()) {
            let inverse;
            (*scale, inverse) = step(row, WEIGHT_MAX);
            for (code, value) in codes.iter_mut().zip(row) {
                *code = round(value * inverse).wrapping_add(zero) as u8;
            }
        }
    }
}

for_each_level! {
    /// `(row − mean) / √(variance + epsilon) · weight + bias` (Ba et al. 2016), in place.
    pub fn layer_norm(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
        let count = row.len() as f32;
        let mean = sum(row) / count;
        let mut squares = [0f32; LANES];
        for values in row.chunks(LANES) {
            for (square, value) in squares.iter_mut().zip(values) {
                *square += (value - mean) * (value - mean);
            }
        }
        let scale = 1.0 / (fold(squares, |a, b| a + b) / count + epsilon).sqrt();
        for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *value = (*value - mean) * scale * weight + bias;
        }
    }
}

/// What becomes of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// It replaces what was there.
    Overwrite,
    /// Its GELU replaces what was there.
    Gelu,
    /// It is added to what was there.
    Accumulate,
}

for_each_level! {
    /// Adds `bias` to each row of `tile`, `[rows, width]`, and writes it out. The width is a
    /// multiple of 16, and so is the length of the bias, which is not shorter than what is inside.
    pub fn store(tile: &[f32], width: usize, bias: &[f32], epilogue: Epilogue, out: TileMut<f32>) {
        match epilogue {
            Epilogue::Overwrite => write(tile, width, bias, out, |_, value| value),
            Epilogue::Gelu => write(tile, width, bias, out, |_, value| gelu::<FMA>(value)),
            Epilogue::Accumulate => write(tile, width, bias, out, |before, value| before + value),
        }
    }
}

#[inline(always)]
fn write(
    tile: &[f32],
    width: usize,
    bias: &[f32],
    mut out: TileMut<f32>,
    result: impl Fn(f32, f32) -> f32,
) {
    // In arrays of its own, so that the compiler sees that nothing overlaps.
    let results = |before: &[f32; LANES], values: &[f32; LANES], bias: &[f32; LANES]| {
        let mut results = *before;
        for i in 0..LANES {
            results[i] = result(results[i], values[i] + bias[i]);
        }
        results
    };
    let bias = bias.as_chunks::<LANES>().0;
    for (i, row) in tile.chunks_exact(width).enumerate() {
        let (row, out) = (row.as_chunks::<LANES>().0, out.row(i));
        let (out, last) = out.as_chunks_mut::<LANES>();
        for ((out, values), bias) in out.iter_mut().zip(row).zip(bias) {
            *out = results(out, values, bias);
        }
        if !last.is_empty() {
            let mut before = [0f32; LANES];
            before[..last.len()].copy_from_slice(last);
            let results = results(&before, &row[out.len()], &bias[out.len()]);
            last.copy_from_slice(&results[..last.len()]);
        }
    }
}

/// `x · Φ(x)` (Hendrycks and Gimpel 2016), exact to 1e-6.
///
/// Without an exponential and a division, which cost a tenth of the product before it:
/// (Φ(x) − ½) / x is nearly a polynomial of x², up to where Φ is 0 or 1 within 5e-8.
#[inline(always)]
pub(super) fn gelu<const FMA: bool>(x: f32) -> f32 {
    const END: f32 = 5.4 * 5.4;
    let square = x * x;
    let p = polynomial::<FMA, _>(add_product::<FMA>(-1.0, square, 2.0 / END), GELU);
    let near = add_product::<FMA>(0.5 * x, square, p);
    let far = if x > 0.0 { x } else { 0.0 };
    // In this order, so that NaN stays what it is.
    if square >= END { far } else { near }
}

/// By rising powers of 2 · (x / 5.4)² − 1, from `polynomials.py`.
#[rustfmt::skip]
const GELU: [f32; 14] = [
    0.130_928_11, -0.065_327_69, 0.048_498_597, -0.039_219_562, 0.032_139_63,
    -0.025_621_628, 0.019_457_616, -0.014_477_2, 0.010_346_99, -0.005_703_217,
    0.002_375_954_5, -0.002_130_572_2, 0.002_018_983_7, -0.000_693_444,
];

for_each_level! {
    /// Scores → weights that are not yet divided by their sum, which is returned. `row` may be
    /// longer than its `count` scores; the rest becomes zero.
    pub fn softmax(row: &mut [f32], count: usize, scale: f32) -> f32 {
        let (scores, rest) = row.split_at_mut(count);
        let max = largest(scores);
        let mut sums = [0f32; LANES];
        let (whole, last) = scores.as_chunks_mut::<LANES>();
        for scores in whole {
            *scores = weights::<FMA>(scores, max, scale, &mut sums);
        }
        let length = last.len();
        if length > 0 {
            let scores = padded(last);
            last.copy_from_slice(&weights::<FMA>(&scores, max, scale, &mut sums)[..length]);
        }
        rest.fill(0.0);
        fold(sums, |a, b| a + b)
    }
}

for_each_level! {
    /// [`softmax`] of the first `count` scores to bf16; `halves` may be longer than that.
    pub fn softmax_narrow(scores: &[f32], count: usize, halves: &mut [u16]) -> f32 {
        let (halves, rest) = halves.split_at_mut(count);
        let scores = &scores[..count];
        let max = largest(scores);
        let mut sums = [0f32; LANES];
        let (whole, last) = scores.as_chunks::<LANES>();
        let (whole_halves, last_halves) = halves.as_chunks_mut::<LANES>();
        for (scores, halves) in whole.iter().zip(whole_halves) {
            *halves = weights::<FMA>(scores, max, 1.0, &mut sums).map(to_bf16);
        }
        if !last.is_empty() {
            let weights = weights::<FMA>(&padded(last), max, 1.0, &mut sums).map(to_bf16);
            last_halves.copy_from_slice(&weights[..last.len()]);
        }
        rest.fill(0);
        fold(sums, |a, b| a + b)
    }
}

/// The last few scores, filled up with those that weigh nothing.
#[inline(always)]
fn padded(scores: &[f32]) -> [f32; LANES] {
    let mut all = [f32::NEG_INFINITY; LANES];
    all[..scores.len()].copy_from_slice(scores);
    all
}

/// `exp((score − max) · scale)` of each score, added to `sums`; of −∞, next to nothing.
#[inline(always)]
fn weights<const FMA: bool>(
    scores: &[f32; LANES],
    max: f32,
    scale: f32,
    sums: &mut [f32; LANES],
) -> [f32; LANES] {
    let scale = scale * std::f32::consts::LOG2_E;
    let mut weights = [0f32; LANES];
    for ((weight, score), sum) in weights.iter_mut().zip(scores).zip(sums) {
        *weight = exp2::<FMA>((score - max) * scale);
        *sum += *weight;
    }
    weights
}

#[inline(always)]
fn largest(scores: &[f32]) -> f32 {
    let mut max = [f32::NEG_INFINITY; LANES];
    let (whole, last) = scores.as_chunks::<LANES>();
    let mut add = |values: &[f32; LANES]| {
        for (max, value) in max.iter_mut().zip(values) {
            *max = if *value > *max { *value } else { *max };
        }
    };
    whole.iter().for_each(&mut add);
    if !last.is_empty() {
        add(&padded(last));
    }
    fold(max, |a, b| if a > b { a } else { b })
}

/// Combines the lanes in pairs: one by one, each would wait for the one before.
#[inline(always)]
fn fold(lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    // Out of the registers: the compiler would fit the loop that fills the lanes to this one, and
    // cut its vectors into pairs.
    let mut lanes = std::hint::black_box(lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

for_each_level! {
    /// To the nearest bf16, ties to even; `scale` times each value.
    pub fn narrow(row: &[f32], scale: f32, halves: &mut [u16]) {
        for (half, value) in halves.iter_mut().zip(row) {
            *half = to_bf16(value * scale);
        }
    }
}

for_each_level! {
    /// Two rows to bf16, their values side by side: `[length, 2]`.
    pub fn narrow_pair(first: &[f32], second: &[f32], halves: &mut [u32]) {
        for ((half, first), second) in halves.iter_mut().zip(first).zip(second) {
            *half = u32::from(to_bf16(*first)) | u32::from(to_bf16(*second)) << 16;
        }
    }
}

/// The distance between codes of which `max` is the largest, and its reciprocal.
#[inline(always)]
fn step(row: &[f32], max: f32) -> (f32, f32) {
    let mut largest = [0f32; LANES];
    for values in row.chunks_exact(LANES) {
        for (largest, value) in largest.iter_mut().zip(values) {
            *largest = if value.abs() > *largest { value.abs() } else { *largest };
        }
    }
    let scale = fold(largest, |a, b| if a > b { a } else { b }) / max;
    // The smallest numbers have no reciprocal.
    (scale, if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 })
}

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for values in row.chunks(LANES) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    fold(sums, |a, b| a + b)
}

/// To the nearest integer, ties to even, for |x| < 2²².
#[inline(always)]
fn round(x: f32) -> i32 {
    (x + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(name: &str, test: impl Fn(SimdLevel)) {
        SimdLevel::all_of_test(name).into_iter().for_each(test);
    }

    #[test]
    fn codes_are_within_half_a_step_of_their_values() {
        each("quantize", |level| {
            let mut row: Vec<f32> = (0..3 * GROUP).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
            row[GROUP..2 * GROUP].fill(0.0);
            row[2 * GROUP + 3] = 1000.0;
            let (mut codes, mut scales, mut sums) =
                (vec![0i8; row.len()], vec![f32::NAN; 3], vec![0i32; 3]);
            quantize(level, &row, &mut codes, &mut scales, &mut sums);
            for (i, (&code, value)) in codes.iter().zip(&row).enumerate() {
                let scale = scales[i / GROUP];
                assert!((f32::from(code) * scale - value).abs() <= scale * 0.5001, "{level:?} {i}");
            }
            let sum = |g: usize| -> i32 {
                codes[g * GROUP..(g + 1) * GROUP].iter().map(|&code| i32::from(code)).sum()
            };
            assert_eq!(sums, [sum(0), sum(1), sum(2)]);
            assert_eq!((scales[1], codes[2 * GROUP + 3]), (0.0, 127));
        });
    }

    #[test]
    fn bf16_is_the_nearest() {
        each("bf16", |level| {
            let row: Vec<f32> = (0..99).map(|i| (i as f32 - 40.0).exp2() * 1.234_567).collect();
            let mut halves = vec![0u16; row.len()];
            narrow(level, &row, -0.5, &mut halves);
            let mut pairs = vec![0u32; row.len()];
            narrow_pair(level, &row, &[1.5; 99], &mut pairs);
            for ((value, half), pair) in row.iter().zip(halves).zip(pairs) {
                assert_eq!(half, half::bf16::from_f32(value * -0.5).to_bits(), "{level:?}");
                assert_eq!(pair as u16, half::bf16::from_f32(*value).to_bits(), "{level:?}");
                assert_eq!(pair >> 16, 0x3fc0, "{level:?}");
            }
        });
    }

    #[test]
    fn hostile_numbers_are_quantized_without_a_panic() {
        each("quantize hostile numbers", |level| {
            let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, -0.0];
            for value in strange {
                let mut row = vec![1.0; GROUP];
                row[5] = value;
                let (mut codes, mut scales, mut sums) = ([0i8; GROUP], [0f32], [0i32]);
                quantize(level, &row, &mut codes, &mut scales, &mut sums);
                quantize(level, &[value; GROUP], &mut codes, &mut scales, &mut sums);
                let mut row = vec![value; 20];
                let gelu = stored(level, &[value; 32], 20, Epilogue::Gelu);
                assert!(!value.is_nan() || gelu.iter().all(|value| value.is_nan()), "{level:?}");
                softmax(level, &mut row, 17, 1.0);
                layer_norm(level, &mut row, &[1.0; 20], &[0.0; 20], 1e-5);
            }
        });
    }

    /// What [`store`] makes of a row of ones, `columns` of which are inside.
    fn stored(level: SimdLevel, row: &[f32], columns: usize, how: Epilogue) -> Vec<f32> {
        let mut out = vec![1.0; columns + 1];
        let bias = vec![0.0; columns.next_multiple_of(LANES)];
        let mut matrix = TileMut::new(&mut out, columns + 1);
        store(level, row, row.len(), &bias, how, matrix.part(0..1, 0..columns));
        assert_eq!(out.pop(), Some(1.0), "{level:?} writes beside the tile");
        out
    }

    #[test]
    fn a_tile_gets_its_bias_and_goes_where_it_belongs() {
        each("epilogue", |level| {
            let bias: Vec<f32> = (0..32).map(|i| i as f32).collect();
            let tile: Vec<f32> = (0..3 * 32).map(|i| i as f32 * 0.5).collect();
            let cases = [
                (Epilogue::Overwrite, 32_usize),
                (Epilogue::Accumulate, 32),
                (Epilogue::Accumulate, 21),
                (Epilogue::Overwrite, 9),
            ];
            for (how, columns) in cases {
                // Of the last panel alone, in a tile for two.
                let bias = &bias[..columns.next_multiple_of(LANES)];
                let mut out = vec![100.0; 2 + 3 * 40];
                let mut matrix = TileMut::new(&mut out[2..], 40);
                store(level, &tile, 32, bias, how, matrix.part(0..3, 0..columns));
                let before = if how == Epilogue::Accumulate { 100.0 } else { 0.0 };
                for (i, value) in out[2..].iter().enumerate() {
                    let (row, column) = (i / 40, i % 40);
                    let expected = match column < columns {
                        true => before + (row * 32 + column) as f32 * 0.5 + column as f32,
                        false => 100.0,
                    };
                    assert_eq!(*value, expected, "{level:?} {how:?} {columns} {i}");
                }
                assert_eq!(out[..2], [100.0; 2]);
            }
        });
    }

    #[test]
    fn layer_norm_has_mean_and_variance() {
        each("layer norm", |level| {
            for length in [1, 3, 8, 20, 384] {
                let mut row: Vec<f32> = (0..length).map(|i| (i as f32).cos() * 3.0 + 7.0).collect();
                let exact = {
                    let count = length as f64;
                    let row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
                    let mean = row.iter().sum::<f64>() / count;
                    let variance =
                        row.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>()
                            / count;
                    let norm = |value: &f64| (value - mean) / (variance + 1e-5).sqrt() * 2.0 + 0.5;
                    row.iter().map(norm).collect::<Vec<f64>>()
                };
                layer_norm(level, &mut row, &vec![2.0; length], &vec![0.5; length], 1e-5);
                for (found, exact) in row.iter().zip(exact) {
                    assert!((f64::from(*found) - exact).abs() < 1e-4, "{level:?} {length}");
                }
            }
        });
    }

    /// The normal distribution by Simpson's rule.
    fn phi(x: f64) -> f64 {
        let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let steps = 2000;
        let h = x / f64::from(steps);
        let inner: f64 = (1..steps)
            .map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        0.5 + h / 3.0 * (density(0.0) + inner + density(x))
    }

    #[test]
    fn gelu_is_x_times_the_normal_distribution() {
        each("GELU", |level| {
            let mut xs: Vec<f32> = (-64..64).map(|i| i as f32 / 10.0).collect();
            // Where the polynomial ends.
            let end = [5.39, 5.399_999_6, 5.4, 5.400_000_6];
            xs.extend(end.iter().flat_map(|x| [*x, -*x, 0.0, 0.0]));
            let row = stored(level, &xs, xs.len(), Epilogue::Gelu);
            for (x, found) in xs.iter().zip(row) {
                let exact = f64::from(*x) * phi(f64::from(*x));
                assert!((f64::from(found) - exact).abs() < 1e-6, "{level:?} gelu({x}): {found}");
            }
            let mut far = [0.0; LANES];
            far[..4].copy_from_slice(&[-1e30, 1e30, -200.0, 200.0]);
            let far = stored(level, &far, 4, Epilogue::Gelu);
            assert_eq!(far, [0.0, 1e30, 0.0, 200.0], "{level:?}");
        });
    }

    #[test]
    fn softmax_is_relative_to_the_largest() {
        each("softmax", |level| {
            for count in [1, 5, 8, 16, 21] {
                let scores: Vec<f32> = (0..24).map(|i| (i as f32 * 1.3).sin() * 40.0).collect();
                let mut row = scores.clone();
                let sum = softmax(level, &mut row, count, 0.5);
                let scores: Vec<f64> =
                    scores[..count].iter().map(|&score| f64::from(score) * 0.5).collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let exact: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                for (found, exact) in row.iter().zip(&exact) {
                    assert!((f64::from(*found) - exact).abs() < 1e-6, "{level:?} {count}");
                }
                assert!((f64::from(sum) - exact.iter().sum::<f64>()).abs() < 1e-5);
                assert!(row[count..].iter().all(|&rest| rest == 0.0));
                let mut narrow = [7u16; 24];
                let halved: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
                let narrow_sum = softmax_narrow(level, &halved, count, &mut narrow);
                assert!((sum - narrow_sum).abs() < 1e-5);
                for (found, exact) in narrow.iter().zip(&exact) {
                    let found = half::bf16::from_bits(*found).to_f64();
                    assert!((found - exact).abs() < 0.003, "{level:?} {count}");
                }
                assert!(narrow[count..].iter().all(|&rest| rest == 0));
            }
        });
    }
}
