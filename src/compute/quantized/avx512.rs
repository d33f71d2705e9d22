//! Products of quantized matrices with 8-bit activations, on AVX-512, of one row of activations and
//! of many.
//!
//! For many, a band of a matrix is unpacked once into panels of sixteen rows, and multiplied with all
//! activations, eight of them at a time: those stay in the first cache while the band goes by.
//!
//! The instruction for sums of four 8-bit products (`vpdpbusd`) takes unsigned quants, so 128 is
//! added to signed ones, and an offset ([`UNSIGNED_OFFSET`]) takes it away from the result.

use std::arch::x86_64::{
    __m512, __m512i, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_castps256_ps128,
    _mm256_cvtepi32_ps, _mm256_dpbusd_epi32, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_hadd_ps, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_xor_si256, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castps512_ps256, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_extractf32x8_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_mul_ps,
    _mm512_permutexvar_ps, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    _mm512_xor_si512, _mm512_zextps256_ps512,
};

use super::activations::Activations;
use super::avx2::{PREFETCH_BYTES, prefetch};
use super::formats::{Format, GROUP_LEN, SPAN_LEN, UNSIGNED_OFFSET, span_bytes};
use super::packed::{PACKED_ROWS, PackedPanel};
use super::scratch::Scratch;

/// Rows of activations that go through a panel together: their sums are in registers.
const TOKENS: usize = 8;
/// Bytes that a band may take: a part of the second cache.
const BAND_BYTES: usize = 768 << 10;
/// The largest number of rows of a band.
const MAX_BAND_ROWS: usize = 64;
/// Bytes of four rows that are short enough to be multiplied at once: further apart, memory would
/// have to be asked for at four places.
const FOUR_ROWS_BYTES: usize = 4096;
const SPAN_GROUPS: usize = SPAN_LEN / GROUP_LEN;

/// Rows that are multiplied together: a multiple of [`PACKED_ROWS`].
pub fn band_rows(columns: usize) -> usize {
    // A byte for each quant, and scale and offset for 16 at most.
    let row_bytes = columns + columns / 2;
    (BAND_BYTES / row_bytes).clamp(PACKED_ROWS, MAX_BAND_ROWS) / PACKED_ROWS * PACKED_ROWS
}

/// Some rows of a matrix, a multiple of 16, times all rows of `xs`, into the scratch's sums,
/// `[xs.rows(), rows.len()]`.
///
/// # Safety
/// The CPU has AVX-512 (F, BW, DQ, VL, VNNI); every pointer is to `xs.columns() / WEIGHTS` whole
/// blocks; `xs` are quants.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn band<F: Format>(
    rows: &[*const u8],
    xs: &Activations,
    Scratch { panels, sums, .. }: &mut Scratch,
) {
    let width = rows.len();
    assert!(width.is_multiple_of(PACKED_ROWS));
    sums.resize(xs.rows() * width);
    panels.resize_with(width / PACKED_ROWS, PackedPanel::default);
    for (panel, rows) in panels.iter_mut().zip(rows.chunks_exact(PACKED_ROWS)) {
        // SAFETY: as the caller promises.
        unsafe { panel.unpack::<F>(std::array::from_fn(|i| rows[i]), xs.columns()) };
    }
    for first in (0..xs.rows()).step_by(TOKENS) {
        let count = TOKENS.min(xs.rows() - first);
        for (i, panel) in panels.iter().enumerate() {
            // SAFETY: as the caller promises; the panel was unpacked from this format.
            let products = unsafe { multiply::<F>(panel, xs, first) };
            for (token, products) in products.iter().enumerate().take(count) {
                let at = (first + token) * width + i * PACKED_ROWS;
                let to = &mut sums[at..at + PACKED_ROWS];
                // SAFETY: there is room for sixteen.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *products) };
            }
        }
    }
}

/// A panel times [`TOKENS`] rows of activations from `first` on; those past the end are the last row
/// again.
///
/// # Safety
/// The CPU has AVX-512 (F, VNNI); the panel was unpacked from `F`; `xs` are quants.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn multiply<F: Format>(
    panel: &PackedPanel,
    xs: &Activations,
    first: usize,
) -> [__m512; TOKENS] {
    assert_eq!(panel.columns(), xs.columns());
    let scales_of_group = GROUP_LEN / F::SHARED;
    let tokens: [usize; TOKENS] = std::array::from_fn(|i| (first + i).min(xs.rows() - 1));
    let mut totals = [_mm512_setzero_ps(); TOKENS];
    for (shared, scales) in panel.scales().iter().enumerate() {
        let (block, part) = (shared / scales_of_group, shared % scales_of_group);
        // SAFETY: the activations have this block of every token, the panel its quants.
        unsafe {
            let quants = xs.quants().as_ptr();
            let quants = quants.add(block * xs.rows() * GROUP_LEN + part * F::SHARED);
            let weights = panel.quants().as_ptr().add(shared * F::SHARED * PACKED_ROWS);
            let mut sums = [_mm512_setzero_si512(); TOKENS];
            for quad in 0..F::SHARED / 4 {
                let weights = _mm512_loadu_si512(weights.add(64 * quad).cast());
                for (sum, token) in sums.iter_mut().zip(tokens) {
                    let x = quants.add(token * GROUP_LEN + 4 * quad).cast::<i32>();
                    let x = _mm512_set1_epi32(x.read_unaligned());
                    *sum = _mm512_dpbusd_epi32(*sum, weights, x);
                }
            }
            let weights = scales.0.each_ref().map(|scales| _mm512_loadu_ps(scales.as_ptr()));
            let (column_sums, stride) = column_sums::<F>(xs, block, part);
            for ((total, sums), token) in totals.iter_mut().zip(sums).zip(tokens) {
                let scale = *xs.scales().get_unchecked(block * xs.rows() + token);
                *total = scaled(*total, sums, weights, scale, *column_sums.add(stride * token));
            }
        }
    }
    totals
}

/// The sums that the offsets of a part of a block are multiplied with, and how far apart those of
/// neighbouring tokens are.
#[inline]
fn column_sums<F: Format>(xs: &Activations, block: usize, part: usize) -> (*const f32, usize) {
    if F::SHARED == GROUP_LEN {
        (xs.sums()[block * xs.rows()..].as_ptr(), 1)
    } else {
        (xs.half_sums()[2 * block * xs.rows() + part..].as_ptr(), 2)
    }
}

/// `total + sums · (scale of the weights · scale of the token) + offset of the weights · sum of the
/// token`
#[target_feature(enable = "avx512f")]
#[inline]
fn scaled(
    total: __m512,
    sums: __m512i,
    [scales, offsets]: [__m512; 2],
    scale: f32,
    sum: f32,
) -> __m512 {
    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
    let total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale, total);
    _mm512_fmadd_ps(offsets, _mm512_set1_ps(sum), total)
}

/// The dot products of rows of a matrix, which follow one another from `rows` on, with the only row
/// of `xs`, for as many as `out` has room for.
///
/// # Safety
/// The CPU has AVX-512 (F, BW, DQ, VL, VNNI); there are that many rows of `xs.columns() / WEIGHTS`
/// whole blocks, and `xs` is one row of quants.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn gemv<F: Format>(rows: *const u8, xs: &Activations, out: &mut [f32]) {
    let row_bytes = xs.columns() / F::WEIGHTS * F::BYTES;
    let (fours, rest) = match 4 * row_bytes <= FOUR_ROWS_BYTES {
        true => out.as_chunks_mut(),
        false => (Default::default(), out),
    };
    let first = 4 * fours.len();
    // SAFETY: as the caller promises.
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
/// As for [`gemv`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn four_dots<F: Format>(rows: *const u8, row_bytes: usize, xs: &Activations) -> [f32; 4] {
    let mut sums = [_mm512_setzero_ps(); 4];
    let (spans, rest) = (xs.columns() / SPAN_LEN, xs.columns() % SPAN_LEN / GROUP_LEN);
    let rows_at = |span: usize| {
        std::array::from_fn(|row| rows.wrapping_add(row * row_bytes + span * span_bytes::<F>()))
    };
    for span in 0..spans {
        let at: [_; 4] = rows_at(span);
        for bytes in at {
            prefetch::<F>(bytes.wrapping_add(4 * row_bytes));
        }
        // SAFETY: the rows have this span.
        unsafe { four_spans::<F, true>(at, xs, span, SPAN_GROUPS, &mut sums) };
    }
    if rest > 0 {
        // SAFETY: the rows end with that many groups.
        unsafe { four_spans::<F, false>(rows_at(spans), xs, spans, rest, &mut sums) };
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

/// Adds a span of four rows, `WHOLE` or the first `groups` groups of it.
///
/// # Safety
/// The CPU has the instructions of [`gemv`]; the rows have these groups, and `xs`, one row of quants,
/// has their columns.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn four_spans<F: Format, const WHOLE: bool>(
    rows: [*const u8; 4],
    xs: &Activations,
    span: usize,
    groups: usize,
    sums: &mut [__m512; 4],
) {
    let groups = if WHOLE { SPAN_GROUPS } else { groups };
    let at = span * SPAN_GROUPS;
    // SAFETY: `xs` has the columns of these groups.
    let (column_scales, column_sums) = unsafe { columns_of::<F>(xs, at, groups) };
    for (bytes, sum) in rows.into_iter().zip(sums) {
        // SAFETY: the row has these groups.
        let [scales, mut offsets] = unsafe { F::scales_of_span(bytes, groups) };
        if F::IS_SIGNED {
            offsets = _mm512_mul_ps(scales, _mm512_set1_ps(UNSIGNED_OFFSET));
        }
        *sum = _mm512_fmadd_ps(offsets, column_sums, *sum);
        let scales = _mm512_mul_ps(scales, column_scales);
        for quad in 0..groups.div_ceil(4) {
            let there = if WHOLE { 4 } else { (groups - 4 * quad).min(4) };
            // SAFETY: the row has these groups, and `xs` its columns, padded to whole quads.
            let (quants, x) = unsafe {
                let quants = F::quants_of_four(bytes, quad, there);
                let x = xs.quads().as_ptr().add((at + 4 * quad) * GROUP_LEN);
                let x = [x, x.add(2 * GROUP_LEN)].map(|x| _mm512_loadu_si512(x.cast()));
                (quants.map(|quants| unsigned::<F>(quants)), x)
            };
            *sum = add_quad::<F>(*sum, quants, x, scales, quad);
        }
    }
}

/// Adds the products of four groups. Both halves of a group have a scale of their own, or share one.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn add_quad<F: Format>(
    sum: __m512,
    quants: [__m512i; 2],
    x: [__m512i; 2],
    scales: __m512,
    quad: usize,
) -> __m512 {
    let group = lanes_from::<4>(4 * quad);
    let none = _mm512_setzero_si512();
    if F::SHARED == GROUP_LEN {
        let both = _mm512_dpbusd_epi32(none, quants[0], x[0]);
        let both = _mm512_dpbusd_epi32(both, quants[1], x[1]);
        let scale = _mm512_permutexvar_ps(group, scales);
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(both), scale, sum);
    }
    let mut sum = sum;
    for half in 0..2 {
        let products = _mm512_dpbusd_epi32(none, quants[half], x[half]);
        let twice = _mm512_add_epi32(group, group);
        let index = _mm512_add_epi32(twice, _mm512_set1_epi32(half as i32));
        let scale = _mm512_permutexvar_ps(index, scales);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, sum);
    }
    sum
}

/// The activations' scales and sums of `groups` blocks from block `at` on, one for each scale of the
/// weights.
///
/// # Safety
/// The CPU has the instructions of [`gemv`]; `xs` is one row of quants that has these blocks.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn columns_of<F: Format>(xs: &Activations, at: usize, groups: usize) -> (__m512, __m512) {
    // SAFETY: the values that the mask leaves out are not touched, the others are the blocks'.
    let load = |values: *const f32, count: usize| unsafe {
        _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, values)
    };
    // SAFETY: the blocks are there.
    unsafe {
        let scales = load(xs.scales().as_ptr().add(at), groups);
        if F::SHARED == GROUP_LEN {
            return (scales, load(xs.sums().as_ptr().add(at), groups));
        }
        let scales = _mm512_permutexvar_ps(lanes_from::<2>(0), scales);
        (scales, load(xs.half_sums().as_ptr().add(2 * at), 2 * groups))
    }
}

/// Where permutes take lanes from: `first`, `TIMES` times, then the next as often, …
#[target_feature(enable = "avx512f")]
#[inline]
fn lanes_from<const TIMES: i32>(first: usize) -> __m512i {
    let at = |lane: i32| lane / TIMES;
    let lanes = _mm512_setr_epi32(
        at(0),
        at(1),
        at(2),
        at(3),
        at(4),
        at(5),
        at(6),
        at(7),
        at(8),
        at(9),
        at(10),
        at(11),
        at(12),
        at(13),
        at(14),
        at(15),
    );
    _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32))
}

/// # Safety
/// As for [`gemv`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn dot<F: Format>(row: *const u8, xs: &Activations) -> f32 {
    let mut sums = [_mm512_setzero_ps(); 2];
    let mut offset_sums = _mm512_setzero_ps();
    let (spans, rest) = (xs.columns() / SPAN_LEN, xs.columns() % SPAN_LEN / GROUP_LEN);
    for span in 0..spans {
        let at = span * SPAN_GROUPS;
        // SAFETY: the row has this span, and `xs` its columns.
        unsafe {
            let bytes = row.add(span * span_bytes::<F>());
            prefetch::<F>(bytes.wrapping_add(PREFETCH_BYTES));
            let (column_scales, column_sums) = columns_of::<F>(xs, at, SPAN_GROUPS);
            let [scales, mut offsets] = F::scales_of_span(bytes, SPAN_GROUPS);
            if F::IS_SIGNED {
                offsets = _mm512_mul_ps(scales, _mm512_set1_ps(UNSIGNED_OFFSET));
            }
            offset_sums = _mm512_fmadd_ps(offsets, column_sums, offset_sums);
            let scales = _mm512_mul_ps(scales, column_scales);
            for pair in 0..SPAN_GROUPS / 2 {
                let quants = unsigned::<F>(F::quants_of_two(bytes, pair));
                let x = xs.quants().as_ptr().add((at + 2 * pair) * GROUP_LEN);
                let x = _mm512_loadu_si512(x.cast());
                let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), quants, x);
                let index = if F::SHARED == GROUP_LEN {
                    lanes_from::<8>(2 * pair)
                } else {
                    lanes_from::<4>(4 * pair)
                };
                let scale = _mm512_permutexvar_ps(index, scales);
                let sum = &mut sums[pair % 2];
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, *sum);
            }
        }
    }
    let mut rest_sums = _mm256_setzero_ps();
    let mut rest_offsets = 0f32;
    if F::WEIGHTS == GROUP_LEN {
        for group in 0..rest {
            let at = spans * SPAN_GROUPS + group;
            // SAFETY: the row has this block, and `xs` its columns.
            unsafe {
                let bytes = row.add(spans * span_bytes::<F>() + group * F::BYTES);
                let (mut scale, mut offset) = (0f32, 0f32);
                F::scales(bytes, 1, &raw mut scale, &raw mut offset);
                let mut quants = F::quants(bytes, 0);
                if F::IS_SIGNED {
                    quants = _mm256_xor_si256(quants, _mm256_set1_epi8(-128));
                    offset = UNSIGNED_OFFSET * scale;
                }
                let x = _mm256_loadu_si256(xs.quants().as_ptr().add(at * GROUP_LEN).cast());
                let products = _mm256_dpbusd_epi32(_mm256_setzero_si256(), quants, x);
                let scale = _mm256_set1_ps(scale * *xs.scales().get_unchecked(at));
                rest_sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, rest_sums);
                rest_offsets += offset * *xs.sums().get_unchecked(at);
            }
        }
    }
    let sums = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), offset_sums);
    _mm512_reduce_add_ps(_mm512_add_ps(sums, _mm512_zextps256_ps512(rest_sums))) + rest_offsets
}

/// Quants as the instructions want them.
#[target_feature(enable = "avx512f")]
#[inline]
fn unsigned<F: Format>(quants: __m512i) -> __m512i {
    if F::IS_SIGNED { _mm512_xor_si512(quants, _mm512_set1_epi8(-128)) } else { quants }
}
