use std::slice;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};

use super::*;
use crate::support::random::SplitMix64;

const FORMATS: [GgmlDType; 10] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Random numbers in −1 to 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..count).map(|_| (2.0 * random.next() - 1.0) as f32).collect()
}

fn isas() -> Vec<Isa> {
    Isa::all_of_test("products of quantized matrices")
}

fn activations(isa: Isa, values: &[f32], columns: usize) -> Activations {
    let mut xs = Activations::new(isa);
    xs.take(values, columns, None);
    xs
}

/// A matrix in the format, and its weights as candle reads them.
fn matrix(dtype: GgmlDType, rows: usize, columns: usize) -> (Matrix, Vec<f32>) {
    let weights =
        Tensor::from_vec(numbers(rows * columns, 1), (rows, columns), &Device::Cpu).unwrap();
    let quantized = QTensor::quantize(&weights, dtype).unwrap();
    let plain = quantized.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
    (in_memory(&quantized, &[rows, columns]), plain.to_vec1().unwrap())
}

fn in_memory(quantized: &QTensor, shape: &[usize]) -> Matrix {
    let bytes = Arc::new(quantized.data().unwrap().into_owned());
    Matrix::new(Isa::avx2(), quantized.dtype(), shape, bytes).unwrap()
}

#[test]
fn every_format_is_read_as_candle_reads_it() {
    for dtype in FORMATS {
        let (matrix, plain) = matrix(dtype, 3, 512);
        let found = matrix.dequantized(&[2, 0]);
        let expected = [&plain[1024..], &plain[..512]].concat();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{dtype:?}: {found}, not {expected}");
        }
    }
}

/// Against sums in double precision; what remains is the rounding of the activations to 8 bits.
#[test]
fn every_format_multiplies_one_row_and_many() {
    for dtype in FORMATS {
        // 608 is two spans and three blocks.
        let columns = if dtype.block_size() == 32 { 608 } else { 512 };
        // 21 rows: the last panel is not full.
        let (first, first_plain) = matrix(dtype, 21, columns);
        let (second, second_plain) = matrix(dtype, 8, columns);
        let plain = [first_plain, second_plain].concat();
        for (tokens, isa) in
            [1, 2, 37].into_iter().flat_map(|t| isas().into_iter().map(move |i| (t, i)))
        {
            let xs = numbers(tokens * columns, 7);
            let activations = activations(isa, &xs, columns);
            let mut out = vec![1f32; tokens * 29];
            let both = [&first, &second];
            products(&both, slice::from_ref(&activations), Store::Overwrite, &mut out);
            let written = out.clone();
            products(&both, slice::from_ref(&activations), Store::Accumulate, &mut out);
            for (added, written) in out.iter_mut().zip(written) {
                assert!((*added - 2.0 * written).abs() < 1e-4);
                *added = written;
            }
            let exact = |token: usize, row: usize| -> f64 {
                let pairs = xs[token * columns..][..columns].iter().zip(&plain[row * columns..]);
                pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>()
            };
            for token in 0..tokens {
                for row in 0..29 {
                    let difference = f64::from(out[token * 29 + row]) - exact(token, row);
                    // 512 roundings of half a 127th at most, with random signs.
                    assert!(
                        difference.abs() < 0.15,
                        "{dtype:?} with {isa:?}, {tokens} tokens, row {row}: off by {difference}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_largest_quants_do_not_overflow() {
    // All weights and activations at their extremes, and of one sign: the largest sums.
    for dtype in FORMATS {
        let ones = Tensor::ones((8, 512), candle_core::DType::F32, &Device::Cpu).unwrap();
        // A −1 here and there gives the formats with an offset their whole range.
        let signs: Vec<f32> = (0..512).map(|i| if i % 16 == 0 { -1.0 } else { 1.0 }).collect();
        let signs = Tensor::from_vec(signs, (1, 512), &Device::Cpu).unwrap();
        let quantized = QTensor::quantize(&ones.broadcast_mul(&signs).unwrap(), dtype).unwrap();
        let plain: Vec<f32> =
            quantized.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let matrix = in_memory(&quantized, &[8, 512]);
        for (tokens, isa) in
            [1, 4].into_iter().flat_map(|t| isas().into_iter().map(move |i| (t, i)))
        {
            let xs = activations(isa, &vec![1.0; tokens * 512], 512);
            let mut out = vec![0f32; tokens * 8];
            products(&[&matrix], slice::from_ref(&xs), Store::Overwrite, &mut out);
            let exact: f32 = plain[..512].iter().sum();
            for out in out {
                // 512 weights of about one, for tiles rounded by up to a 512th each.
                let rounding = if xs.form() == Form::Bf16 { 1.0 } else { 0.0 };
                assert!(
                    (out - exact).abs() < 1e-2 + rounding,
                    "{dtype:?} with {isa:?}: {out}, not {exact}"
                );
            }
        }
    }
}

#[test]
fn gates_are_applied_to_one_row_and_many() {
    let (gate, gate_plain) = matrix(GgmlDType::Q8_0, 9, 64);
    let (up, up_plain) = matrix(GgmlDType::Q8_0, 9, 64);
    for (tokens, activation) in
        [(1, Activation::Silu), (3, Activation::Silu), (1, Activation::Gelu), (3, Activation::Gelu)]
    {
        let values = numbers(tokens * 64, 3);
        let xs = activations(Isa::detect().unwrap(), &values, 64);
        let mut out = vec![0f32; tokens * 9];
        gated_product(activation, &gate, &up, slice::from_ref(&xs), &mut out);
        for (i, out) in out.into_iter().enumerate() {
            let (token, row) = (i / 9, i % 9);
            let values = &values[token * 64..][..64];
            let dot = |plain: &[f32]| -> f32 {
                values.iter().zip(&plain[row * 64..]).map(|(x, w)| x * w).sum()
            };
            let gate = dot(&gate_plain);
            let gate = match activation {
                Activation::Silu => gate / (1.0 + (-gate).exp()),
                Activation::Gelu => {
                    gate / 2.0 * (1.0 + (0.797_885 * (gate + 0.044_715 * gate.powi(3))).tanh())
                }
            };
            let exact = gate * dot(&up_plain);
            assert!((out - exact).abs() < 0.15, "{tokens} tokens, {i}: {out}, not {exact}");
        }
    }
}

/// Pieces cover all bands once, whatever part a thread takes, and stay within their matrix.
#[test]
fn pieces_cover_the_rows_of_all_matrices_once() {
    let (first, second) = (matrix(GgmlDType::Q8_0, 21, 64).0, matrix(GgmlDType::Q8_0, 8, 64).0);
    let matrices = [&first, &second];
    for plan in [GemmPlan::Avx2Gemv, GemmPlan::Avx2Panel, GemmPlan::AmxBand { rows: 32 }] {
        let all = matrices.iter().map(|matrix| matrix.bands(plan)).sum();
        for cut in 0..=all {
            let pieces = pieces(&matrices, plan, 0..cut).chain(pieces(&matrices, plan, cut..all));
            let mut next = 0;
            for Piece { matrix, rows, outputs, .. } in pieces {
                assert_eq!((outputs.start, outputs.len()), (next, rows.len()), "{plan:?}, {cut}");
                assert!(rows.end <= matrix.rows);
                next = outputs.end;
            }
            assert_eq!(next, 29, "{plan:?}, {cut}");
        }
    }
}
