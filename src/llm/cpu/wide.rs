//! Products of many rows of activations on vectors of 512 bits, and with matrix tiles.
//!
//! A band of a matrix is unpacked once into panels of sixteen rows, and multiplied with all
//! activations, sixteen of them at a time: those stay in the first cache while the band goes by.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_set1_epi8, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_storeu_ps,
};

use super::activations::Activations;
use super::formats::{Format, GROUP, SPAN};
use super::product::{span_bytes, transposed};
use crate::cpu::amx::{self, Tiles};

/// Rows of a panel: one for each 32-bit lane.
pub const PANEL: usize = 16;
/// Rows of activations that go through a panel together.
const TOKENS: usize = 16;
/// Bytes of a panel's codes for a group.
const GROUP_BYTES: usize = GROUP * PANEL;
/// Bytes that a band may take: a part of the second cache.
const BAND_BYTES: usize = 768 << 10;
/// The most rows of a band.
pub const BAND: usize = 64;

/// How a panel is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// AVX-512 with VNNI.
    Vectors,
    /// AMX, and AVX-512 for the rest.
    Tiles,
}

/// Rows that are multiplied together: a multiple of [`PANEL`].
pub fn band(columns: usize) -> usize {
    // A code, and scale and offset for 16 at most.
    (BAND_BYTES / (columns + columns / 2)).clamp(PANEL, BAND) / PANEL * PANEL
}

/// Sixteen rows of a matrix, unpacked.
#[derive(Default)]
pub struct Panel {
    /// Unsigned, `[columns / 32, 8, 16, 4]`.
    codes: Vec<u8>,
    /// Scales and offsets, `[columns / shared, 2, 16]`.
    scales: Vec<[[f32; PANEL]; 2]>,
}

impl Panel {
    /// Unpacks `columns` weights of each row.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; every pointer is to `columns / WEIGHTS` whole blocks.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack<F: Format>(&mut self, rows: [*const u8; PANEL], columns: usize) {
        let each = GROUP / F::SHARED;
        self.codes.resize(columns * PANEL, 0);
        self.scales.resize(columns / F::SHARED, [[0.0; PANEL]; 2]);
        let (mut scales, mut offsets) = ([0f32; SPAN / 16], [0f32; SPAN / 16]);
        for span in 0..columns.div_ceil(SPAN) {
            let first = span * (SPAN / GROUP);
            let groups = (SPAN / GROUP).min(columns / GROUP - first);
            let at = span * span_bytes::<F>();
            let shared = &mut self.scales[first * each..(first + groups) * each];
            for (row, bytes) in rows.iter().enumerate() {
                // SAFETY: the row has these groups, the arrays room for a span's scales.
                unsafe {
                    let (scales, offsets) = (scales.as_mut_ptr(), offsets.as_mut_ptr());
                    F::scales(bytes.add(at), groups, scales, offsets);
                }
                for ((shared, scale), offset) in shared.iter_mut().zip(&scales).zip(&offsets) {
                    shared[0][row] = *scale;
                    // The instructions want unsigned weights: 128 is zero.
                    shared[1][row] = if F::CODES.is_none() { -128.0 * scale } else { *offset };
                }
            }
            let codes = self.codes[first * GROUP_BYTES..].chunks_exact_mut(GROUP_BYTES);
            for (group, codes) in codes.take(groups).enumerate() {
                for half in 0..2 {
                    // SAFETY: each row has this group; a quad of codes has 64 bytes.
                    unsafe {
                        let eight = transposed(std::array::from_fn(|row| {
                            F::codes(rows[8 * half + row].add(at), group)
                        }));
                        for (quad, codes_of_quad) in eight.into_iter().enumerate() {
                            let unsigned = if F::CODES.is_none() {
                                _mm256_xor_si256(codes_of_quad, _mm256_set1_epi8(-128))
                            } else {
                                codes_of_quad
                            };
                            let to = codes.as_mut_ptr().add(4 * PANEL * quad + 32 * half);
                            _mm256_storeu_si256(to.cast::<__m256i>(), unsigned);
                        }
                    }
                }
            }
        }
    }
}

/// Some rows of a matrix, a multiple of 16, times all rows of `xs`, into `sums`,
/// `[xs.rows, rows.len()]`.
///
/// # Safety
/// The CPU has AVX-512 (F, BW, DQ, VL, VNNI), and AMX for [`Kind::Tiles`]; every pointer is to
/// `xs.columns / WEIGHTS` whole blocks.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn products<F: Format>(
    kind: Kind,
    rows: &[*const u8],
    xs: &Activations,
    panels: &mut Vec<Panel>,
    sums: &mut [f32],
) {
    let width = rows.len();
    assert!(width.is_multiple_of(PANEL) && sums.len() == xs.rows * width);
    panels.resize_with(width / PANEL, Panel::default);
    for (panel, rows) in panels.iter_mut().zip(rows.chunks_exact(PANEL)) {
        // SAFETY: the caller's.
        unsafe { panel.unpack::<F>(std::array::from_fn(|i| rows[i]), xs.columns) };
    }
    // SAFETY: the caller's.
    let tiles = (kind == Kind::Tiles).then(|| unsafe { Tiles::new(F::SHARED) });
    for first in (0..xs.rows).step_by(TOKENS) {
        let count = TOKENS.min(xs.rows - first);
        for (i, panel) in panels.iter().enumerate() {
            let mut out = [_mm512_setzero_ps(); TOKENS];
            // SAFETY: the caller's.
            unsafe {
                match &tiles {
                    Some(tiles) => multiply_tiles::<F>(tiles, panel, xs, first, &mut out),
                    None => multiply_vectors::<F>(panel, xs, first, &mut out),
                }
                for (token, out) in out.iter().enumerate().take(count) {
                    let at = (first + token) * width + i * PANEL;
                    _mm512_storeu_ps(sums[at..at + PANEL].as_mut_ptr(), *out);
                }
            }
        }
    }
}

/// What integer sums stand for: `sums · (scale of the weights · scale of the token)`, and the
/// weights' offset times the token's sum.
#[target_feature(enable = "avx512f")]
#[inline]
fn scaled(out: __m512, sums: __m512i, weights: [__m512; 2], scale: f32, sum: f32) -> __m512 {
    let scale = _mm512_mul_ps(weights[0], _mm512_set1_ps(scale));
    let out = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale, out);
    _mm512_fmadd_ps(weights[1], _mm512_set1_ps(sum), out)
}

/// The sums that the offsets of part `part` of block `at` are multiplied with, a `stride` apart.
#[inline]
fn sums_of<F: Format>(xs: &Activations, at: usize, part: usize) -> (*const f32, usize) {
    if F::SHARED == GROUP {
        (xs.sums[at * xs.rows..].as_ptr(), 1)
    } else {
        (xs.half_sums[2 * at * xs.rows + part..].as_ptr(), 2)
    }
}

/// # Safety
/// The CPU has the instructions; the panel was unpacked for `xs.columns`.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn multiply_vectors<F: Format>(
    panel: &Panel,
    xs: &Activations,
    first: usize,
    out: &mut [__m512; TOKENS],
) {
    /// Tokens whose sums are kept in registers together.
    const FEW: usize = 8;
    let quads = F::SHARED / 4;
    let each = GROUP / F::SHARED;
    for (start, out) in (0..TOKENS).step_by(FEW).zip(out.chunks_exact_mut(FEW)) {
        if first + start >= xs.rows {
            return;
        }
        // Tokens past the end are the last one again.
        let tokens: [usize; FEW] = std::array::from_fn(|i| (first + start + i).min(xs.rows - 1));
        let mut totals: [__m512; FEW] = std::array::from_fn(|i| out[i]);
        for (shared, scales) in panel.scales.iter().enumerate() {
            let (at, part) = (shared / each, shared % each);
            // SAFETY: the activations have block `at` of every token, the panel its codes.
            unsafe {
                let codes = xs.codes.as_ptr().add(at * xs.rows * GROUP + part * F::SHARED);
                let weights = panel.codes.as_ptr().add(shared * F::SHARED * PANEL);
                let mut sums = [_mm512_setzero_si512(); FEW];
                for quad in 0..quads {
                    let weights = _mm512_loadu_si512(weights.add(64 * quad).cast());
                    for (sum, token) in sums.iter_mut().zip(tokens) {
                        let x = codes.add(token * GROUP + 4 * quad).cast::<i32>();
                        let x = _mm512_set1_epi32(x.read_unaligned());
                        *sum = _mm512_dpbusd_epi32(*sum, weights, x);
                    }
                }
                let weights = scales.each_ref().map(|scales| _mm512_loadu_ps(scales.as_ptr()));
                let (of, stride) = sums_of::<F>(xs, at, part);
                for ((total, sums), token) in totals.iter_mut().zip(sums).zip(tokens) {
                    let scale = *xs.scales.get_unchecked(at * xs.rows + token);
                    *total = scaled(*total, sums, weights, scale, *of.add(stride * token));
                }
            }
        }
        out.copy_from_slice(&totals);
    }
}

/// # Safety
/// The tiles are shaped for `F::SHARED`; the panel was unpacked for `xs.columns`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn multiply_tiles<F: Format>(
    tiles: &Tiles,
    panel: &Panel,
    xs: &Activations,
    first: usize,
    out: &mut [__m512; TOKENS],
) {
    let each = GROUP / F::SHARED;
    let mut totals = *out;
    // Two products are under way: the vectors scale one while the tiles make the other.
    let mut sums = [amx::Sums([[0i32; PANEL]; TOKENS]); 2];
    let last = xs.rows - 1 - first;
    for (shared, scales) in panel.scales.iter().enumerate() {
        let (at, part) = (shared / each, shared % each);
        // SAFETY: the panel has these codes; past the last token, the activations have others or
        // their spare room (see `Activations`), and what comes of them is not used.
        unsafe {
            let codes = xs.codes.as_ptr().add((at * xs.rows + first) * GROUP + part * F::SHARED);
            let weights = panel.codes.as_ptr().add(shared * F::SHARED * PANEL);
            let sums = &mut sums[shared % 2];
            if shared % 2 == 0 {
                amx::product_i8_u8(tiles, codes.cast(), GROUP, weights, sums);
            } else {
                amx::product_i8_u8_beside(tiles, codes.cast(), GROUP, weights, sums);
            }
            let weights = scales.each_ref().map(|scales| _mm512_loadu_ps(scales.as_ptr()));
            let (of, stride) = sums_of::<F>(xs, at, part);
            let scales = xs.scales.as_ptr().add(at * xs.rows);
            for (token, (total, sums)) in totals.iter_mut().zip(&sums.0).enumerate() {
                let token = first + token.min(last);
                let sums = _mm512_loadu_si512(sums.as_ptr().cast());
                *total = scaled(*total, sums, weights, *scales.add(token), *of.add(stride * token));
            }
        }
    }
    *out = totals;
}
