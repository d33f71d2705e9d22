//! Quantized matrices in the mapped file, and what is done with them.

use std::arch::x86_64::{_mm256_loadu_ps, _mm256_mul_ps, _mm256_storeu_ps};
use std::ptr;

use candle_core::quantized::GgmlDType;

use super::activations::Activations;
use super::exp::silu;
use super::formats::{Format, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::product::{self, PANEL};
use super::wide::{self, Kind};
use crate::cpu::team::{Parts, share};
use crate::cpu::{Level, level};
use crate::llm::gguf::{Mapped, TensorView};

/// The kernels of one format.
struct Kernels {
    weights: usize,
    bytes: usize,
    dot: unsafe fn(*const u8, &Activations) -> f32,
    panel: unsafe fn([*const u8; PANEL], &Activations, &mut [f32]),
    band: unsafe fn(Kind, &[*const u8], &Activations, &mut Vec<wide::Panel>, &mut [f32]),
    dequantize: unsafe fn(*const u8, &mut [f32]),
}

const fn kernels<F: Format>() -> Kernels {
    Kernels {
        weights: F::WEIGHTS,
        bytes: F::BYTES,
        dot: product::dot::<F>,
        panel: product::panel::<F>,
        band: wide::products::<F>,
        dequantize: product::dequantize::<F>,
    }
}

fn kernels_of(dtype: GgmlDType) -> Option<&'static Kernels> {
    macro_rules! table {
        ($($dtype:ident => $format:ty),* $(,)?) => {
            match dtype {
                $(GgmlDType::$dtype => {
                    static KERNELS: Kernels = kernels::<$format>();
                    Some(&KERNELS)
                })*
                _ => None,
            }
        };
    }
    table! {
        Q4_0 => Q4_0, Q4_1 => Q4_1, Q5_0 => Q5_0, Q5_1 => Q5_1, Q8_0 => Q8_0,
        Q2K => Q2K, Q3K => Q3K, Q4K => Q4K, Q5K => Q5K, Q6K => Q6K,
    }
}

/// A quantized matrix, `[rows, columns]`, that stays in the file.
pub struct Matrix {
    data: Mapped,
    rows: usize,
    columns: usize,
    kernels: &'static Kernels,
}

impl Matrix {
    /// `None`: candle's products must do, because the format is not quantized, the shape is odd, or
    /// the CPU lacks the instructions.
    pub fn new(view: &TensorView) -> Option<Self> {
        let &[rows, columns] = view.shape.as_slice() else { return None };
        let kernels = kernels_of(view.dtype)?;
        let whole = columns > 0
            && columns.is_multiple_of(kernels.weights)
            && view.data.len() == rows.checked_mul(columns / kernels.weights * kernels.bytes)?;
        (super::is_supported() && whole).then(|| Self {
            data: view.data.clone(),
            rows,
            columns,
            kernels,
        })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize) -> *const u8 {
        let bytes = self.columns / self.kernels.weights * self.kernels.bytes;
        self.data[row * bytes..(row + 1) * bytes].as_ptr()
    }

    /// Some rows as numbers, `[ids.len(), columns]`.
    pub fn dequantized(&self, ids: &[u32]) -> Vec<f32> {
        let mut values = vec![0f32; ids.len() * self.columns];
        for (id, values) in ids.iter().zip(values.chunks_exact_mut(self.columns)) {
            // SAFETY: the instructions are there; `row` checks that the row is, and it is whole.
            unsafe { (self.kernels.dequantize)(self.row(*id as usize), values) };
        }
        values
    }

    fn bands(&self, way: Way) -> usize {
        self.rows.div_ceil(way.rows)
    }

    /// Rows `way.rows · band ..` times the activations: `[xs.rows, way.rows]`; rows past the end are
    /// repeated.
    fn band(&self, way: Way, band: usize, xs: &Activations, scratch: &mut Scratch) {
        let row = |i: usize| self.row((band * way.rows + i).min(self.rows - 1));
        scratch.sums.resize(xs.rows * way.rows, 0.0);
        let sums = &mut scratch.sums;
        match way.kind {
            Some(kind) => {
                let rows: [*const u8; wide::BAND] =
                    std::array::from_fn(|i| if i < way.rows { row(i) } else { ptr::null() });
                // SAFETY: the instructions are there (see `way`), and the rows are whole (see `new`).
                unsafe {
                    (self.kernels.band)(kind, &rows[..way.rows], xs, &mut scratch.panels, sums);
                }
            }
            None if xs.rows == 1 => {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *sum = unsafe { (self.kernels.dot)(row(i), xs) };
                }
            }
            None => {
                sums.fill(0.0);
                // SAFETY: as above.
                unsafe { (self.kernels.panel)(std::array::from_fn(row), xs, sums) };
            }
        }
    }
}

/// How a product is cut into pieces of work.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Rows of a matrix in each, a multiple of [`PANEL`].
    rows: usize,
    /// With wide vectors or tiles.
    kind: Option<Kind>,
}

/// The best way on a CPU of this level.
fn way(level: Level, xs: &Activations) -> Way {
    let kind = match level {
        _ if xs.rows == 1 => None,
        Level::Amx => Some(Kind::Tiles),
        Level::Avx512 => Some(Kind::Vectors),
        _ => None,
    };
    Way { rows: if kind.is_some() { wide::band(xs.columns) } else { PANEL }, kind }
}

/// What a thread works with, kept from band to band.
#[derive(Default)]
struct Scratch {
    panels: Vec<wide::Panel>,
    sums: Vec<f32>,
}

/// The products of several matrices with the same activations, `[xs.rows, Σ rows]`: the first
/// matrix' outputs, the second's, …
pub fn products(matrices: &[&Matrix], xs: &Activations) -> Vec<f32> {
    products_at(level(), matrices, xs)
}

fn products_at(level: Level, matrices: &[&Matrix], xs: &Activations) -> Vec<f32> {
    let width: usize = matrices.iter().map(|matrix| matrix.rows).sum();
    assert!(matrices.iter().all(|matrix| matrix.columns == xs.columns));
    let way = way(level, xs);
    let mut products = vec![0f32; xs.rows * width];
    let bands = matrices.iter().map(|matrix| matrix.bands(way)).sum();
    let out = Parts::new(&mut products);
    share(bands, |some| {
        let mut scratch = Scratch::default();
        for band in some {
            let (matrix, band, first) = locate(matrices, way, band);
            matrix.band(way, band, xs, &mut scratch);
            let start = band * way.rows;
            let count = way.rows.min(matrix.rows - start);
            for (row, sums) in scratch.sums.chunks_exact(way.rows).enumerate() {
                let at = row * width + first + start;
                // SAFETY: no other call has this band.
                unsafe { out.part(at..at + count) }.copy_from_slice(&sums[..count]);
            }
        }
    });
    products
}

/// `silu(gate · xs) · (up · xs)`, `[xs.rows, rows]` (`SwiGLU`, Shazeer 2020).
pub fn gated_product(gate: &Matrix, up: &Matrix, xs: &Activations) -> Vec<f32> {
    assert!(gate.rows == up.rows && gate.columns == xs.columns && up.columns == xs.columns);
    let width = gate.rows;
    let way = way(level(), xs);
    let mut out = vec![0f32; xs.rows * width];
    let parts = Parts::new(&mut out);
    share(gate.bands(way), |some| {
        let (mut gates, mut ups) = (Scratch::default(), Scratch::default());
        for band in some {
            gate.band(way, band, xs, &mut gates);
            up.band(way, band, xs, &mut ups);
            let start = band * way.rows;
            let count = way.rows.min(width - start);
            for (row, (gates, ups)) in
                gates.sums.chunks_exact(way.rows).zip(ups.sums.chunks_exact(way.rows)).enumerate()
            {
                let at = row * width + start;
                // SAFETY: no other call has this band.
                let out = unsafe { parts.part(at..at + count) };
                let eights = gates.chunks_exact(PANEL).zip(ups.chunks_exact(PANEL));
                for (out, (gates, ups)) in out.chunks_mut(PANEL).zip(eights) {
                    // SAFETY: the instructions are there (see `Matrix::new`).
                    unsafe { silu_times(gates, ups, out) };
                }
            }
        }
    });
    out
}

/// `silu(gate) · up` for eight; `out` may be shorter.
#[target_feature(enable = "avx2,fma")]
fn silu_times(gates: &[f32], ups: &[f32], out: &mut [f32]) {
    let mut values = [0f32; PANEL];
    assert!(gates.len() == PANEL && ups.len() == PANEL);
    // SAFETY: all have eight values.
    unsafe {
        let gated =
            _mm256_mul_ps(silu(_mm256_loadu_ps(gates.as_ptr())), _mm256_loadu_ps(ups.as_ptr()));
        _mm256_storeu_ps(values.as_mut_ptr(), gated);
    }
    out.copy_from_slice(&values[..out.len()]);
}

/// The matrix that has the band, the band's number in it, and its first output's place.
fn locate<'a>(matrices: &[&'a Matrix], way: Way, mut band: usize) -> (&'a Matrix, usize, usize) {
    let mut first = 0;
    for matrix in matrices {
        if band < matrix.bands(way) {
            return (matrix, band, first);
        }
        band -= matrix.bands(way);
        first += matrix.rows;
    }
    unreachable!("bands are counted over the same matrices")
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;

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

    /// Numbers that look random, in −1 to 1.
    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// Those that the products of this module have, of what this CPU can do.
    fn levels() -> impl Iterator<Item = Level> {
        Level::available().into_iter().filter(|&level| level >= Level::Avx2)
    }

    /// A matrix in the format, and its weights as candle reads them.
    fn matrix(dtype: GgmlDType, rows: usize, columns: usize) -> (Matrix, Vec<f32>) {
        let weights =
            Tensor::from_vec(numbers(rows * columns, 1), (rows, columns), &Device::Cpu).unwrap();
        let quantized = QTensor::quantize(&weights, dtype).unwrap();
        let plain = quantized.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
        let data = Mapped::from_bytes(&quantized.data().unwrap());
        let view = TensorView { dtype, shape: vec![rows, columns], data };
        (Matrix::new(&view).expect("this test needs AVX2"), plain.to_vec1().unwrap())
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
            // 576 is no whole number of spans.
            let columns = if dtype.block_size() == 32 { 576 } else { 512 };
            // 21 rows: the last panel is not full.
            let (first, first_plain) = matrix(dtype, 21, columns);
            let (second, second_plain) = matrix(dtype, 8, columns);
            let plain = [first_plain, second_plain].concat();
            for (tokens, level) in
                [1, 2, 37].into_iter().flat_map(|t| levels().map(move |l| (t, l)))
            {
                let xs = numbers(tokens * columns, 7);
                let activations = Activations::new(&xs, columns);
                let out = products_at(level, &[&first, &second], &activations);
                let exact = |token: usize, row: usize| -> f64 {
                    let pairs =
                        xs[token * columns..][..columns].iter().zip(&plain[row * columns..]);
                    pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>()
                };
                for token in 0..tokens {
                    for row in 0..29 {
                        let difference = f64::from(out[token * 29 + row]) - exact(token, row);
                        // 512 roundings of half a 127th at most, with random signs.
                        assert!(
                            difference.abs() < 0.15,
                            "{dtype:?} with {level:?}, {tokens} tokens, row {row}: off by {difference}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_codes_do_not_overflow() {
        // All weights and activations at their extremes, and of one sign: the largest sums.
        for dtype in FORMATS {
            let ones = Tensor::ones((8, 512), candle_core::DType::F32, &Device::Cpu).unwrap();
            // One −1 in a block gives the formats with an offset their whole range.
            let signs: Vec<f32> = (0..512).map(|i| if i % 16 == 0 { -1.0 } else { 1.0 }).collect();
            let signs = Tensor::from_vec(signs, (1, 512), &Device::Cpu).unwrap();
            let quantized = QTensor::quantize(&ones.broadcast_mul(&signs).unwrap(), dtype).unwrap();
            let plain: Vec<f32> = quantized
                .dequantize(&Device::Cpu)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            let data = Mapped::from_bytes(&quantized.data().unwrap());
            let matrix = Matrix::new(&TensorView { dtype, shape: vec![8, 512], data }).unwrap();
            for (tokens, level) in [1, 4].into_iter().flat_map(|t| levels().map(move |l| (t, l))) {
                let xs = Activations::new(&vec![1.0; tokens * 512], 512);
                let out = products_at(level, &[&matrix], &xs);
                let exact: f32 = plain[..512].iter().sum();
                for out in out {
                    assert!(
                        (out - exact).abs() < 1e-2,
                        "{dtype:?} with {level:?}: {out}, not {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn gates_are_applied_in_both_kernels() {
        let (gate, gate_plain) = matrix(GgmlDType::Q8_0, 9, 64);
        let (up, up_plain) = matrix(GgmlDType::Q8_0, 9, 64);
        for tokens in [1, 3] {
            let xs = numbers(tokens * 64, 3);
            let out = gated_product(&gate, &up, &Activations::new(&xs, 64));
            for (i, out) in out.iter().enumerate() {
                let (token, row) = (i / 9, i % 9);
                let dot = |plain: &[f32]| -> f32 {
                    xs[token * 64..][..64].iter().zip(&plain[row * 64..]).map(|(x, w)| x * w).sum()
                };
                let gate = dot(&gate_plain);
                let exact = gate / (1.0 + (-gate).exp()) * dot(&up_plain);
                assert!((out - exact).abs() < 0.15, "{tokens} tokens, {i}: {out}, not {exact}");
            }
        }
    }
}
