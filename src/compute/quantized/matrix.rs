//! Quantized matrices in the mapped file, and what is done with them.

use std::arch::x86_64::{_mm256_loadu_ps, _mm256_mul_ps, _mm256_storeu_ps};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr;

use candle_core::quantized::GgmlDType;

use super::activations::{Activations, Form};
use super::aligned::Lines;
use super::avx2::{self as product, PANEL};
use super::exp::silu;
use super::formats::{Format, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::{amx as tiles, avx512 as wide};
use crate::compute::pool::{DisjointSlices, parallel_for, threads};
use crate::compute::simd::{InstructionSet, SimdLevel};
use crate::generation::local::checkpoint::gguf::{Mapped, TensorView};

/// Rows of a matrix, one after the other, times the only row of activations.
type Dots = unsafe fn(*const u8, &Activations, &mut [f32]);
/// Eight rows of a matrix times activations, into `[xs.rows, 8]`.
type Few = unsafe fn([*const u8; PANEL], &Activations, &mut [f32]);
/// Some rows of a matrix times activations, into the scratch's sums, `[xs.rows, rows]` at least.
type Many = unsafe fn(&[*const u8], &Activations, &mut Scratch);

/// The kernels of one format.
struct Kernels {
    weights: usize,
    bytes: usize,
    dots: Dots,
    wide_dots: Dots,
    panel: Few,
    wide_band: Many,
    tiles_band: Many,
    dequantize: unsafe fn(*const u8, &mut [f32]),
}

const fn kernels<F: Format>() -> Kernels {
    Kernels {
        weights: F::WEIGHTS,
        bytes: F::BYTES,
        dots: product::dots::<F>,
        wide_dots: wide::dots::<F>,
        panel: product::panel::<F>,
        wide_band: wide::products::<F>,
        tiles_band: tiles::products::<F>,
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
        self.dequantize(ids, &mut values);
        values
    }

    /// Some rows as numbers into `values`, `[ids.len(), columns]`.
    pub fn dequantize(&self, ids: &[u32], values: &mut [f32]) {
        assert_eq!(values.len(), ids.len() * self.columns);
        for (id, values) in ids.iter().zip(values.chunks_exact_mut(self.columns)) {
            // SAFETY: the instructions are there; `row` checks that the row is, and it is whole.
            unsafe { (self.kernels.dequantize)(self.row(*id as usize), values) };
        }
    }

    fn bands(&self, way: Way) -> usize {
        self.rows.div_ceil(way.rows)
    }

    /// Rows of some bands, which are [`Way::rows`] each, times the activations, into the scratch's
    /// sums: `[xs.rows, bands.len() · way.rows]` at least. What is there for rows past the end has no
    /// meaning.
    fn multiply(&self, way: Way, bands: Range<usize>, xs: &Activations, scratch: &mut Scratch) {
        let start = bands.start * way.rows;
        let row = |i: usize| self.row((start + i).min(self.rows - 1));
        // SAFETY: the instructions are there (see `way`), the rows are whole (see `new`) and lie one
        // after the other, and the activations in the form that the kernel takes.
        unsafe {
            match way.kernel {
                Kernel::Dots(of) => {
                    scratch.sums.resize(bands.len() * way.rows);
                    let count = scratch.sums.len().min(self.rows - start);
                    of(self.kernels)(row(0), xs, &mut scratch.sums[..count]);
                }
                Kernel::Few(of) => {
                    scratch.sums.resize(xs.rows * PANEL);
                    of(self.kernels)(std::array::from_fn(row), xs, &mut scratch.sums);
                }
                Kernel::Many(of) => {
                    let mut rows = [ptr::null(); tiles::BAND];
                    let rows = &mut rows[..way.rows];
                    for (i, pointer) in rows.iter_mut().enumerate() {
                        *pointer = row(i);
                    }
                    of(self.kernels)(rows, xs, scratch);
                }
            }
        }
    }
}

/// How a product is cut into pieces of work.
#[derive(Clone, Copy)]
struct Way {
    /// Rows of a matrix in each, a multiple of [`PANEL`].
    rows: usize,
    kernel: Kernel,
}

impl Way {
    /// Bands that are multiplied at once, at most.
    fn together(self) -> usize {
        // The products stay in the first cache.
        if matches!(self.kernel, Kernel::Dots(_)) { 64 } else { 1 }
    }
}

#[derive(Clone, Copy)]
enum Kernel {
    Dots(fn(&Kernels) -> Dots),
    Few(fn(&Kernels) -> Few),
    Many(fn(&Kernels) -> Many),
}

/// The best way on a CPU of this level, for matrices of so many rows together.
fn way(level: SimdLevel, rows: usize, xs: &Activations) -> Way {
    let dots = |of| Way { rows: PANEL, kernel: Kernel::Dots(of) };
    let wide = level.has(InstructionSet::Avx512);
    match xs.form {
        Form::Rounded => Way {
            rows: tiles::band(rows, threads()),
            kernel: Kernel::Many(|kernels| kernels.tiles_band),
        },
        Form::Codes if xs.rows == 1 && wide => dots(|kernels| kernels.wide_dots),
        Form::Codes if xs.rows == 1 => dots(|kernels| kernels.dots),
        Form::Codes if wide => {
            Way { rows: wide::band(xs.columns), kernel: Kernel::Many(|kernels| kernels.wide_band) }
        }
        Form::Codes => Way { rows: PANEL, kernel: Kernel::Few(|kernels| kernels.panel) },
    }
}

/// What a thread works with, kept for as long as it lives.
#[derive(Default)]
pub struct Scratch {
    /// Unpacked weights.
    pub panels: Vec<wide::Panel>,
    /// Weights as bf16.
    pub widened: Lines<u16>,
    /// Products.
    pub sums: Lines<f32>,
}

thread_local! {
    static SCRATCH: RefCell<[Scratch; 2]> = RefCell::default();
}

/// What becomes of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// They take the place of what was there.
    Replace,
    /// They are added to it.
    Add,
}

/// The products of several matrices with the same activations, into `out`, `[xs.rows, Σ rows]`: the
/// first matrix' outputs, the second's, …
pub fn products(matrices: &[&Matrix], xs: &Activations, then: Then, out: &mut [f32]) {
    products_at(SimdLevel::detect(), matrices, xs, then, out);
}

fn products_at(
    level: SimdLevel,
    matrices: &[&Matrix],
    xs: &Activations,
    then: Then,
    out: &mut [f32],
) {
    let width: usize = matrices.iter().map(|matrix| matrix.rows).sum();
    assert!(matrices.iter().all(|matrix| matrix.columns == xs.columns));
    assert_eq!(out.len(), xs.rows * width);
    let way = way(level, width, xs);
    let bands = matrices.iter().map(|matrix| matrix.bands(way)).sum();
    let out = DisjointSlices::new(out);
    parallel_for(bands, |some| {
        SCRATCH.with_borrow_mut(|[scratch, _]| {
            let mut next = some.start;
            while next < some.end {
                let (matrix, bands, first) = locate(matrices, way, next..some.end);
                next += bands.len();
                let (start, wide) = (bands.start * way.rows, bands.len() * way.rows);
                matrix.multiply(way, bands, xs, scratch);
                let count = wide.min(matrix.rows - start);
                for (row, sums) in scratch.sums.chunks_exact(wide).take(xs.rows).enumerate() {
                    let at = row * width + first + start;
                    // SAFETY: no other call has these bands.
                    let out = unsafe { out.part(at..at + count) };
                    match then {
                        Then::Replace => out.copy_from_slice(&sums[..count]),
                        Then::Add => {
                            for (out, sum) in out.iter_mut().zip(sums) {
                                *out += sum;
                            }
                        }
                    }
                }
            }
        });
    });
}

/// `silu(gate · xs) · (up · xs)` into `out`, `[xs.rows, rows]` (`SwiGLU`, Shazeer 2020).
pub fn gated_product(gate: &Matrix, up: &Matrix, xs: &Activations, out: &mut [f32]) {
    assert!(gate.rows == up.rows && gate.columns == xs.columns && up.columns == xs.columns);
    let width = gate.rows;
    assert_eq!(out.len(), xs.rows * width);
    let way = way(SimdLevel::detect(), width, xs);
    let parts = DisjointSlices::new(out);
    parallel_for(gate.bands(way), |some| {
        SCRATCH.with_borrow_mut(|[gates, ups]| {
            for first in some.clone().step_by(way.together()) {
                let bands = first..some.end.min(first + way.together());
                let (start, wide) = (first * way.rows, bands.len() * way.rows);
                gate.multiply(way, bands.clone(), xs, gates);
                up.multiply(way, bands, xs, ups);
                let count = wide.min(width - start);
                let both = gates.sums.chunks_exact(wide).zip(ups.sums.chunks_exact(wide));
                for (row, (gates, ups)) in both.take(xs.rows).enumerate() {
                    let at = row * width + start;
                    // SAFETY: no other call has these bands.
                    let out = unsafe { parts.part(at..at + count) };
                    let eights = gates.chunks_exact(PANEL).zip(ups.chunks_exact(PANEL));
                    for (out, (gates, ups)) in out.chunks_mut(PANEL).zip(eights) {
                        // SAFETY: the instructions are there (see `Matrix::new`).
                        unsafe { silu_times(gates, ups, out) };
                    }
                }
            }
        });
    });
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

/// The matrix that has the first of these bands, its numbers of as many as it has and are multiplied
/// at once, and its first output's place.
fn locate<'a>(
    matrices: &[&'a Matrix],
    way: Way,
    some: Range<usize>,
) -> (&'a Matrix, Range<usize>, usize) {
    let (mut band, mut first) = (some.start, 0);
    for matrix in matrices {
        let all = matrix.bands(way);
        if band < all {
            let end = all.min(band + some.len().min(way.together()));
            return (matrix, band..end, first);
        }
        band -= all;
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
    fn levels() -> impl Iterator<Item = SimdLevel> {
        SimdLevel::available().into_iter().filter(|level| level.has(InstructionSet::Avx2))
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
            // 608 is two spans and three blocks.
            let columns = if dtype.block_size() == 32 { 608 } else { 512 };
            // 21 rows: the last panel is not full.
            let (first, first_plain) = matrix(dtype, 21, columns);
            let (second, second_plain) = matrix(dtype, 8, columns);
            let plain = [first_plain, second_plain].concat();
            for (tokens, level) in
                [1, 2, 37].into_iter().flat_map(|t| levels().map(move |l| (t, l)))
            {
                let xs = numbers(tokens * columns, 7);
                let mut activations = Activations::default();
                activations.take_at(level, &xs, columns, None);
                let mut out = vec![1f32; tokens * 29];
                let both = [&first, &second];
                products_at(level, &both, &activations, Then::Replace, &mut out);
                let replaced = out.clone();
                products_at(level, &both, &activations, Then::Add, &mut out);
                for (added, replaced) in out.iter_mut().zip(replaced) {
                    assert!((*added - 2.0 * replaced).abs() < 1e-4);
                    *added = replaced;
                }
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
                let mut xs = Activations::default();
                xs.take_at(level, &vec![1.0; tokens * 512], 512, None);
                let mut out = vec![0f32; tokens * 8];
                products_at(level, &[&matrix], &xs, Then::Replace, &mut out);
                let exact: f32 = plain[..512].iter().sum();
                for out in out {
                    // 512 weights of about one, for tiles rounded by up to a 512th each.
                    let rounding = if xs.form == Form::Rounded { 1.0 } else { 0.0 };
                    assert!(
                        (out - exact).abs() < 1e-2 + rounding,
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
            let mut out = vec![0f32; tokens * 9];
            gated_product(&gate, &up, &Activations::new(&xs, 64), &mut out);
            for (i, out) in out.into_iter().enumerate() {
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
