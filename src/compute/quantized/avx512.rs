//! Products on vectors of 512 bits, of one row of activations and of many.
//!
//! For many, a band of a matrix is unpacked once into panels of sixteen rows, and multiplied with all
//! activations, eight of them at a time: those stay in the first cache while the band goes by.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_castps256_ps128,
    _mm256_cvtepi32_ps, _mm256_dpbusd_epi32, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_hadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_add_epi32, _mm512_add_ps, _mm512_castps512_ps256, _mm512_cvtepi32_ps,
    _mm512_dpbusd_epi32, _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_permutexvar_ps,
    _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_xor_si512,
    _mm512_zextps256_ps512,
};

use super::activations::Activations;
use super::aligned::Lines;
use super::avx2::{AHEAD, ask_for, span_bytes, transposed};
use super::formats::{Format, GROUP, SPAN};
use super::matrix::Scratch;

/// Rows of a panel: one for each 32-bit lane.
pub const PANEL: usize = 16;
/// Rows of activations that go through a panel together: their sums are in registers.
const TOKENS: usize = 8;
/// Bytes of a panel's codes for a group.
const GROUP_BYTES: usize = GROUP * PANEL;
/// Bytes that a band may take: a part of the second cache.
const BAND_BYTES: usize = 768 << 10;
/// The most rows of a band.
pub const BAND: usize = 64;
/// Bytes of four rows that are short enough to be multiplied at once: further apart, memory would
/// have to be asked for at four places.
const FOUR_BYTES: usize = 4096;

/// Rows that are multiplied together: a multiple of [`PANEL`].
pub fn band(columns: usize) -> usize {
    // A code, and scale and offset for 16 at most.
    (BAND_BYTES / (columns + columns / 2)).clamp(PANEL, BAND) / PANEL * PANEL
}

/// Scales and offsets of sixteen rows.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct Scales(pub [[f32; PANEL]; 2]);

/// Sixteen rows of a matrix, unpacked.
#[derive(Default)]
pub struct Panel {
    /// Unsigned, `[columns / 32, 8, 16, 4]`.
    pub codes: Lines<u8>,
    /// `[columns / shared]`
    pub scales: Vec<Scales>,
}

impl Panel {
    /// Unpacks `columns` weights of each row.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; every pointer is to `columns / WEIGHTS` whole blocks.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn unpack<F: Format>(&mut self, rows: [*const u8; PANEL], columns: usize) {
        let each = GROUP / F::SHARED;
        self.codes.resize(columns * PANEL);
        self.scales.resize(columns / F::SHARED, Scales::default());
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
                    shared.0[0][row] = *scale;
                    // The instructions want unsigned weights: 128 is zero.
                    shared.0[1][row] = if F::CODES.is_none() { ZERO * scale } else { *offset };
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
/// The CPU has AVX-512 (F, BW, DQ, VL, VNNI); every pointer is to `xs.columns / WEIGHTS` whole
/// blocks; `xs` are codes.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn products<F: Format>(
    rows: &[*const u8],
    xs: &Activations,
    Scratch { panels, sums, .. }: &mut Scratch,
) {
    let width = rows.len();
    assert!(width.is_multiple_of(PANEL));
    sums.resize(xs.rows * width);
    panels.resize_with(width / PANEL, Panel::default);
    for (panel, rows) in panels.iter_mut().zip(rows.chunks_exact(PANEL)) {
        // SAFETY: the caller's.
        unsafe { panel.unpack::<F>(std::array::from_fn(|i| rows[i]), xs.columns) };
    }
    for first in (0..xs.rows).step_by(TOKENS) {
        let count = TOKENS.min(xs.rows - first);
        for (i, panel) in panels.iter().enumerate() {
            let mut out = [_mm512_setzero_ps(); TOKENS];
            // SAFETY: the caller's.
            unsafe {
                multiply::<F>(panel, xs, first, &mut out);
                for (token, out) in out.iter().enumerate().take(count) {
                    let at = (first + token) * width + i * PANEL;
                    _mm512_storeu_ps(sums[at..at + PANEL].as_mut_ptr(), *out);
                }
            }
        }
    }
}

/// The dot products of rows of a matrix, which lie one after the other from `rows` on, with the only
/// row of `xs`: as many as `out` has room for.
///
/// # Safety
/// The CPU has AVX-512 (F, BW, DQ, VL, VNNI); there are so many rows of `xs.columns / WEIGHTS` whole
/// blocks, and `xs` is one row of codes.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn dots<F: Format>(rows: *const u8, xs: &Activations, out: &mut [f32]) {
    let row_bytes = xs.columns / F::WEIGHTS * F::BYTES;
    let (fours, rest) = match 4 * row_bytes <= FOUR_BYTES {
        true => out.as_chunks_mut(),
        false => (Default::default(), out),
    };
    let first = 4 * fours.len();
    // SAFETY: the caller's.
    unsafe {
        for (i, out) in fours.iter_mut().enumerate() {
            *out = four_dots::<F>(rows.add(4 * i * row_bytes), row_bytes, xs);
        }
        for (i, out) in rest.iter_mut().enumerate() {
            *out = dot::<F>(rows.add((first + i) * row_bytes), xs);
        }
    }
}

/// Four short rows at a time: the sum of a row's lanes takes nearly as long as a short row.
///
/// # Safety
/// As for [`dots`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn four_dots<F: Format>(rows: *const u8, row_bytes: usize, xs: &Activations) -> [f32; 4] {
    let mut sums = [_mm512_setzero_ps(); 4];
    let (whole, rest) = (xs.columns / SPAN, xs.columns % SPAN / GROUP);
    let rows_at = |span: usize| {
        std::array::from_fn(|row| rows.wrapping_add(row * row_bytes + span * span_bytes::<F>()))
    };
    for span in 0..whole {
        let at: [_; 4] = rows_at(span);
        for bytes in at {
            ask_for::<F>(bytes.wrapping_add(4 * row_bytes));
        }
        // SAFETY: the rows have this span.
        unsafe { four_spans::<F, true>(at, xs, span, 0, &mut sums) };
    }
    if rest > 0 {
        // SAFETY: the rows end with so many groups.
        unsafe { four_spans::<F, false>(rows_at(whole), xs, whole, rest, &mut sums) };
    }
    let [a, b, c, d] = sums
        .map(|sum| _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps::<1>(sum)));
    let lanes = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let mut out = [0f32; 4];
    // SAFETY: there is room for four.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), four) };
    out
}

/// Adds a span of four rows, whole or the first `groups` groups of it.
///
/// # Safety
/// The CPU has the instructions; the rows have these groups, the activations their columns.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn four_spans<F: Format, const WHOLE: bool>(
    rows: [*const u8; 4],
    xs: &Activations,
    span: usize,
    groups: usize,
    sums: &mut [__m512; 4],
) {
    const GROUPS: usize = SPAN / GROUP;
    let groups = if WHOLE { GROUPS } else { groups };
    let each = GROUP / F::SHARED;
    let at = span * GROUPS;
    // SAFETY: the caller's.
    unsafe {
        let load = |values: *const f32, count: usize| {
            _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, values)
        };
        let mut column_scales = load(xs.scales.as_ptr().add(at), groups);
        let column_sums = if each == 2 {
            let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            column_scales = _mm512_permutexvar_ps(twice, column_scales);
            load(xs.half_sums.as_ptr().add(2 * at), 2 * groups)
        } else {
            load(xs.sums.as_ptr().add(at), groups)
        };
        for (bytes, sum) in rows.into_iter().zip(sums) {
            let [scales, mut offsets] = F::scales_of_span(bytes, groups);
            if F::CODES.is_none() {
                offsets = _mm512_mul_ps(scales, _mm512_set1_ps(ZERO));
            }
            *sum = _mm512_fmadd_ps(offsets, column_sums, *sum);
            let scales = _mm512_mul_ps(scales, column_scales);
            for quad in 0..groups.div_ceil(4) {
                let there = if WHOLE { 4 } else { (groups - 4 * quad).min(4) };
                let codes = F::codes_of_four(bytes, quad, there).map(|codes| unsigned::<F>(codes));
                let x = xs.quads.as_ptr().add((at + 4 * quad) * GROUP);
                let x = [x, x.add(2 * GROUP)].map(|x| _mm512_loadu_si512(x.cast()));
                let first = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                let group = _mm512_add_epi32(first, _mm512_set1_epi32(4 * quad as i32));
                let none = _mm512_setzero_si512();
                if each == 1 {
                    let both = _mm512_dpbusd_epi32(none, codes[0], x[0]);
                    let both = _mm512_dpbusd_epi32(both, codes[1], x[1]);
                    let scale = _mm512_permutexvar_ps(group, scales);
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(both), scale, *sum);
                } else {
                    for half in 0..2 {
                        let products = _mm512_dpbusd_epi32(none, codes[half], x[half]);
                        let of = _mm512_add_epi32(group, group);
                        let of = _mm512_add_epi32(of, _mm512_set1_epi32(half as i32));
                        let scale = _mm512_permutexvar_ps(of, scales);
                        *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, *sum);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`dots`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn dot<F: Format>(row: *const u8, xs: &Activations) -> f32 {
    const GROUPS: usize = SPAN / GROUP;
    let each = GROUP / F::SHARED;
    let mut sums = [_mm512_setzero_ps(); 2];
    let mut offset_sums = _mm512_setzero_ps();
    let (whole, rest) = (xs.columns / SPAN, xs.columns % SPAN / GROUP);
    for span in 0..whole {
        let at = span * GROUPS;
        // SAFETY: the row has this span, the activations these columns, the arrays a span's scales.
        unsafe {
            let bytes = row.add(span * span_bytes::<F>());
            ask_for::<F>(bytes.wrapping_add(AHEAD));
            let column_scales = _mm256_loadu_ps(xs.scales.as_ptr().add(at));
            let [scales, mut offsets] = F::scales_of_span(bytes, GROUPS);
            let column_scales = _mm512_zextps256_ps512(column_scales);
            let (scales, column_sums) = if each == 2 {
                let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
                let column_scales = _mm512_permutexvar_ps(twice, column_scales);
                let sums = _mm512_loadu_ps(xs.half_sums.as_ptr().add(2 * at));
                (_mm512_mul_ps(scales, column_scales), sums)
            } else {
                let sums = _mm256_loadu_ps(xs.sums.as_ptr().add(at));
                if F::CODES.is_none() {
                    offsets = _mm512_mul_ps(scales, _mm512_set1_ps(ZERO));
                }
                (_mm512_mul_ps(scales, column_scales), _mm512_zextps256_ps512(sums))
            };
            offset_sums = _mm512_fmadd_ps(offsets, column_sums, offset_sums);
            for pair in 0..GROUPS / 2 {
                let codes = unsigned::<F>(F::codes_of_two(bytes, pair));
                let x = _mm512_loadu_si512(xs.codes.as_ptr().add((at + 2 * pair) * GROUP).cast());
                let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, x);
                let first = if each == 2 {
                    _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
                } else {
                    _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
                };
                let of = _mm512_set1_epi32((2 * each * pair) as i32);
                let scale = _mm512_permutexvar_ps(_mm512_add_epi32(first, of), scales);
                let sum = &mut sums[pair % 2];
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, *sum);
            }
        }
    }
    let mut rest_sums = _mm256_setzero_ps();
    let mut rest_offsets = 0f32;
    if F::WEIGHTS == GROUP {
        for group in 0..rest {
            let at = whole * GROUPS + group;
            // SAFETY: the row has this block, the activations these columns.
            unsafe {
                let bytes = row.add(whole * span_bytes::<F>() + group * F::BYTES);
                let (mut scale, mut offset) = (0f32, 0f32);
                F::scales(bytes, 1, &raw mut scale, &raw mut offset);
                let mut codes = F::codes(bytes, 0);
                if F::CODES.is_none() {
                    codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
                    offset = ZERO * scale;
                }
                let x = _mm256_loadu_si256(xs.codes.as_ptr().add(at * GROUP).cast());
                let products = _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, x);
                let scale = _mm256_set1_ps(scale * *xs.scales.get_unchecked(at));
                rest_sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, rest_sums);
                rest_offsets += offset * *xs.sums.get_unchecked(at);
            }
        }
    }
    let sums = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), offset_sums);
    _mm512_reduce_add_ps(_mm512_add_ps(sums, _mm512_zextps256_ps512(rest_sums))) + rest_offsets
}

/// What a zero among signed codes is among unsigned ones, times −1.
const ZERO: f32 = -128.0;

/// Codes as the instructions want them: unsigned.
#[target_feature(enable = "avx512f")]
#[inline]
fn unsigned<F: Format>(codes: __m512i) -> __m512i {
    if F::CODES.is_none() { _mm512_xor_si512(codes, _mm512_set1_epi8(-128)) } else { codes }
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
unsafe fn multiply<F: Format>(
    panel: &Panel,
    xs: &Activations,
    first: usize,
    out: &mut [__m512; TOKENS],
) {
    let quads = F::SHARED / 4;
    let each = GROUP / F::SHARED;
    // Tokens past the end are the last one again.
    let tokens: [usize; TOKENS] = std::array::from_fn(|i| (first + i).min(xs.rows - 1));
    let mut totals = *out;
    for (shared, scales) in panel.scales.iter().enumerate() {
        let (at, part) = (shared / each, shared % each);
        // SAFETY: the activations have block `at` of every token, the panel its codes.
        unsafe {
            let codes = xs.codes.as_ptr().add(at * xs.rows * GROUP + part * F::SHARED);
            let weights = panel.codes.as_ptr().add(shared * F::SHARED * PANEL);
            let mut sums = [_mm512_setzero_si512(); TOKENS];
            for quad in 0..quads {
                let weights = _mm512_loadu_si512(weights.add(64 * quad).cast());
                for (sum, token) in sums.iter_mut().zip(tokens) {
                    let x = codes.add(token * GROUP + 4 * quad).cast::<i32>();
                    let x = _mm512_set1_epi32(x.read_unaligned());
                    *sum = _mm512_dpbusd_epi32(*sum, weights, x);
                }
            }
            let weights = scales.0.each_ref().map(|scales| _mm512_loadu_ps(scales.as_ptr()));
            let (of, stride) = sums_of::<F>(xs, at, part);
            for ((total, sums), token) in totals.iter_mut().zip(sums).zip(tokens) {
                let scale = *xs.scales.get_unchecked(at * xs.rows + token);
                *total = scaled(*total, sums, weights, scale, *of.add(stride * token));
            }
        }
    }
    *out = totals;
}
