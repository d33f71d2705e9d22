//! Quantized matrices in the mapped file, and their products.

use std::arch::x86_64::{_mm256_loadu_ps, _mm256_mul_ps, _mm256_storeu_ps};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use super::activations::{Activations, Form};
use super::avx2::{self, PANEL_ROWS};
use super::exp::{gelu, silu};
use super::formats::{Format, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::isa::Isa;
use super::scratch::Scratch;
use super::{amx, avx512};
use crate::compute::activation::Activation;
use crate::compute::pool::{DisjointSlices, parallel_for, threads};

/// Rows of a matrix, one after the other, times the only row of activations.
type GemvKernel = unsafe fn(*const u8, &Activations, &mut [f32]);
/// Eight rows of a matrix times activations, into `[xs.rows(), 8]`.
type PanelKernel = unsafe fn([*const u8; PANEL_ROWS], &Activations, &mut [f32]);
/// Some rows of a matrix times activations, into the scratch's sums, `[xs.rows(), rows]` at least.
type BandKernel = unsafe fn(&[*const u8], &Activations, &mut Scratch);

/// The kernels of one format, and the size of its blocks.
struct FormatKernels {
    weights: usize,
    bytes: usize,
    avx2_gemv: GemvKernel,
    avx512_gemv: GemvKernel,
    avx2_panel: PanelKernel,
    avx512_band: BandKernel,
    amx_band: BandKernel,
    dequantize: unsafe fn(*const u8, &mut [f32]),
}

const fn kernels<F: Format>() -> FormatKernels {
    FormatKernels {
        weights: F::WEIGHTS,
        bytes: F::BYTES,
        avx2_gemv: avx2::gemv::<F>,
        avx512_gemv: avx512::gemv::<F>,
        avx2_panel: avx2::panel::<F>,
        avx512_band: avx512::band::<F>,
        amx_band: amx::band::<F>,
        dequantize: avx2::dequantize::<F>,
    }
}

fn kernels_of(dtype: GgmlDType) -> Option<&'static FormatKernels> {
    macro_rules! table {
        ($($dtype:ident => $format:ty),* $(,)?) => {
            match dtype {
                $(GgmlDType::$dtype => {
                    static KERNELS: FormatKernels = kernels::<$format>();
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

/// Bytes that somebody keeps in memory, such as a part of a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A quantized matrix, `[rows, columns]`, that stays in the file.
pub struct Matrix {
    isa: Isa,
    bytes: SharedBytes,
    rows: usize,
    columns: usize,
    kernels: &'static FormatKernels,
}

impl Matrix {
    /// `None`: candle's products must do, because the format is not quantized or the shape is odd.
    pub fn new(isa: Isa, dtype: GgmlDType, shape: &[usize], bytes: SharedBytes) -> Option<Self> {
        let &[rows, columns] = shape else { return None };
        let kernels = kernels_of(dtype)?;
        let whole = columns > 0
            && columns.is_multiple_of(kernels.weights)
            && (*bytes).as_ref().len()
                == rows.checked_mul(columns / kernels.weights * kernels.bytes)?;
        whole.then_some(Self { isa, bytes, rows, columns, kernels })
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn bytes_of(&self, rows: Range<usize>) -> &[u8] {
        let row_bytes = self.columns / self.kernels.weights * self.kernels.bytes;
        &(*self.bytes).as_ref()[rows.start * row_bytes..rows.end * row_bytes]
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
            let row = *id as usize;
            let bytes = self.bytes_of(row..row + 1);
            // SAFETY: `isa` is proof of the instructions; these are the whole blocks of a row.
            unsafe { (self.kernels.dequantize)(bytes.as_ptr(), values) };
        }
    }

    fn bands(&self, plan: GemmPlan) -> usize {
        self.rows.div_ceil(plan.band_rows())
    }

    /// The rows of some bands times the activations, into the scratch's sums:
    /// `[xs.rows(), bands.len() · band rows]` at least. What is there for rows past the end has no
    /// meaning.
    fn multiply(
        &self,
        plan: GemmPlan,
        bands: Range<usize>,
        xs: &Activations,
        scratch: &mut Scratch,
    ) {
        assert_eq!(xs.columns(), self.columns);
        plan.check(xs);
        let kernels = self.kernels;
        let start = bands.start * plan.band_rows();
        let end = self.rows.min(bands.end * plan.band_rows());
        // Past the end, the last row again.
        let row = |i: usize| {
            let row = (start + i).min(self.rows - 1);
            self.bytes_of(row..row + 1).as_ptr()
        };
        // SAFETY: `xs` are proof of the instructions, and in the form that the plan is for (see
        // `check`); every pointer is to whole rows of `xs.columns()` weights.
        unsafe {
            match plan {
                GemmPlan::Avx2Gemv | GemmPlan::Avx512Gemv => {
                    let wide = matches!(plan, GemmPlan::Avx512Gemv);
                    let kernel = if wide { kernels.avx512_gemv } else { kernels.avx2_gemv };
                    scratch.sums.resize(bands.len() * plan.band_rows());
                    let rows = self.bytes_of(start..end).as_ptr();
                    kernel(rows, xs, &mut scratch.sums[..end - start]);
                }
                GemmPlan::Avx2Panel => {
                    scratch.sums.resize(xs.rows() * PANEL_ROWS);
                    (kernels.avx2_panel)(std::array::from_fn(row), xs, &mut scratch.sums);
                }
                GemmPlan::Avx512Band { rows: count } | GemmPlan::AmxBand { rows: count } => {
                    let tiles = matches!(plan, GemmPlan::AmxBand { .. });
                    let kernel = if tiles { kernels.amx_band } else { kernels.avx512_band };
                    let mut rows = [ptr::null(); amx::MAX_BAND_ROWS];
                    let rows = &mut rows[..count];
                    for (i, pointer) in rows.iter_mut().enumerate() {
                        *pointer = row(i);
                    }
                    kernel(rows, xs, scratch);
                }
            }
        }
    }
}

/// Which kernel multiplies, and into which bands of rows it cuts a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GemmPlan {
    /// One row of activations: dot products.
    Avx2Gemv,
    Avx512Gemv,
    /// Eight rows of the matrix at a time.
    Avx2Panel,
    /// As many rows as stay in the cache once they are unpacked.
    Avx512Band {
        rows: usize,
    },
    AmxBand {
        rows: usize,
    },
}

impl GemmPlan {
    /// The best one for `xs` and for matrices of `rows` together.
    fn new(rows: usize, xs: &Activations) -> Self {
        let wide = xs.isa().has_avx512();
        match (xs.form(), xs.rows()) {
            (Form::Bf16, _) => Self::AmxBand { rows: amx::band_rows(rows, threads()) },
            (Form::Quants, 1) if wide => Self::Avx512Gemv,
            (Form::Quants, 1) => Self::Avx2Gemv,
            (Form::Quants, _) if wide => Self::Avx512Band { rows: avx512::band_rows(xs.columns()) },
            (Form::Quants, _) => Self::Avx2Panel,
        }
    }

    /// That the kernel can take `xs`, and that the CPU has its instructions.
    fn check(self, xs: &Activations) {
        let isa = xs.isa();
        assert!(match self {
            Self::Avx2Gemv => xs.form() == Form::Quants && xs.rows() == 1,
            Self::Avx512Gemv => xs.form() == Form::Quants && xs.rows() == 1 && isa.has_avx512(),
            Self::Avx2Panel => xs.form() == Form::Quants,
            Self::Avx512Band { .. } => xs.form() == Form::Quants && isa.has_avx512(),
            Self::AmxBand { .. } => xs.form() == Form::Bf16 && isa.has_amx(),
        });
    }

    /// Rows of a matrix in a band, a multiple of [`PANEL_ROWS`].
    fn band_rows(self) -> usize {
        match self {
            Self::Avx2Gemv | Self::Avx512Gemv | Self::Avx2Panel => PANEL_ROWS,
            Self::Avx512Band { rows } | Self::AmxBand { rows } => rows,
        }
    }

    /// The largest number of bands that are multiplied at once.
    fn max_bands(self) -> usize {
        match self {
            // The products stay in the first cache.
            Self::Avx2Gemv | Self::Avx512Gemv => 64,
            _ => 1,
        }
    }
}

/// Bands of one matrix that are multiplied at once.
struct Piece<'a> {
    matrix: &'a Matrix,
    bands: Range<usize>,
    /// The matrix's rows in the bands.
    rows: Range<usize>,
    /// Where the products of these rows are among the outputs of all matrices.
    outputs: Range<usize>,
}

/// Cuts `bands`, which are counted through all matrices, into pieces.
fn pieces<'a>(
    matrices: &'a [&Matrix],
    plan: GemmPlan,
    bands: Range<usize>,
) -> impl Iterator<Item = Piece<'a>> {
    let starts = matrices.iter().scan((0, 0), move |(band, output), matrix| {
        let start = (*band, *output);
        *band += matrix.bands(plan);
        *output += matrix.rows;
        Some((*matrix, start))
    });
    starts.flat_map(move |(matrix, (first_band, first_output))| {
        let end = bands.end.saturating_sub(first_band).min(matrix.bands(plan));
        let own = bands.start.saturating_sub(first_band)..end;
        own.clone().step_by(plan.max_bands()).map(move |start| {
            let bands = start..own.end.min(start + plan.max_bands());
            let last = matrix.rows.min(bands.end * plan.band_rows());
            let rows = bands.start * plan.band_rows()..last;
            let outputs = first_output + rows.start..first_output + rows.end;
            Piece { matrix, bands, rows, outputs }
        })
    })
}

thread_local! {
    static SCRATCH: RefCell<[Scratch; 2]> = RefCell::default();
}

/// What becomes of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// They take the place of what was there.
    Overwrite,
    /// They are added to it.
    Accumulate,
}

/// The products of several matrices with the same activations, into `out`, `[rows of all xs, Σ rows]`:
/// the outputs of the first matrix, of the second, … Each of `xs` is multiplied by itself, as if it
/// were alone.
///
/// # Panics
/// If there are no activations, they are not alike, the matrices do not have their columns, or `out`
/// has another length.
pub fn products(matrices: &[&Matrix], xs: &[Activations], store: Store, out: &mut [f32]) {
    let width: usize = matrices.iter().map(|matrix| matrix.rows).sum();
    assert_eq!(out.len(), rows_of(xs) * width);
    let plan = GemmPlan::new(width, &xs[0]);
    let bands = matrices.iter().map(|matrix| matrix.bands(plan)).sum();
    let out = DisjointSlices::new(out);
    parallel_for(bands, |bands| {
        SCRATCH.with_borrow_mut(|[scratch, _]| {
            for piece in pieces(matrices, plan, bands) {
                let stride = piece.bands.len() * plan.band_rows();
                let mut starts = (piece.outputs.start..).step_by(width);
                for xs in xs {
                    piece.matrix.multiply(plan, piece.bands.clone(), xs, scratch);
                    let rows = scratch.sums.chunks_exact(stride).take(xs.rows());
                    for (sums, at) in rows.zip(&mut starts) {
                        // SAFETY: no other call has these bands.
                        let out = unsafe { out.part(at..at + piece.outputs.len()) };
                        store.write(&sums[..piece.rows.len()], out);
                    }
                }
            }
        });
    });
}

fn rows_of(xs: &[Activations]) -> usize {
    xs.iter().map(Activations::rows).sum()
}

impl Store {
    fn write(self, sums: &[f32], out: &mut [f32]) {
        match self {
            Self::Overwrite => out.copy_from_slice(sums),
            Self::Accumulate => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
        }
    }
}

/// `activation(gate · xs) · (up · xs)` into `out`, `[rows of all xs, rows]`, with each of `xs` as if
/// it were alone.
///
/// # Panics
/// If there are no activations, they are not alike, the matrices do not have the same shape and their
/// columns, or `out` has another length.
pub fn gated_product(
    activation: Activation,
    gate: &Matrix,
    up: &Matrix,
    xs: &[Activations],
    out: &mut [f32],
) {
    assert!(gate.rows == up.rows && gate.columns == up.columns);
    let width = gate.rows;
    assert_eq!(out.len(), rows_of(xs) * width);
    let plan = GemmPlan::new(width, &xs[0]);
    let out = DisjointSlices::new(out);
    parallel_for(gate.bands(plan), |bands| {
        SCRATCH.with_borrow_mut(|[gates, ups]| {
            for piece in pieces(&[gate], plan, bands) {
                let stride = piece.bands.len() * plan.band_rows();
                let mut starts = (piece.outputs.start..).step_by(width);
                for xs in xs {
                    gate.multiply(plan, piece.bands.clone(), xs, gates);
                    up.multiply(plan, piece.bands.clone(), xs, ups);
                    let both = gates.sums.chunks_exact(stride).zip(ups.sums.chunks_exact(stride));
                    for ((gates, ups), at) in both.take(xs.rows()).zip(&mut starts) {
                        // SAFETY: no other call has these bands.
                        let out = unsafe { out.part(at..at + piece.outputs.len()) };
                        // SAFETY: `xs` are proof of the instructions.
                        unsafe {
                            match activation {
                                Activation::Silu => times_up::<false>(gates, ups, out),
                                Activation::Gelu => times_up::<true>(gates, ups, out),
                            }
                        }
                    }
                }
            }
        });
    });
}

/// `silu(gates) · ups`, or with GELU, into `out`, which may be shorter; `gates` and `ups` are whole
/// eights.
#[target_feature(enable = "avx2,fma,f16c")]
fn times_up<const GELU: bool>(gates: &[f32], ups: &[f32], out: &mut [f32]) {
    let eights = gates.as_chunks::<8>().0.iter().zip(ups.as_chunks::<8>().0);
    for (out, (gates, ups)) in out.chunks_mut(8).zip(eights) {
        let mut values = [0f32; 8];
        // SAFETY: all have eight values.
        unsafe {
            let (gates, ups) = (_mm256_loadu_ps(gates.as_ptr()), _mm256_loadu_ps(ups.as_ptr()));
            let gates = if GELU { gelu(gates) } else { silu(gates) };
            _mm256_storeu_ps(values.as_mut_ptr(), _mm256_mul_ps(gates, ups));
        }
        out.copy_from_slice(&values[..out.len()]);
    }
}

#[cfg(test)]
mod tests;
