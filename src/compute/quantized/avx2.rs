//! Products of quantized matrices with 8-bit activations, on AVX2.
//!
//! Two kernels for every format. One row of activations (decode) is a dot product with each row of
//! the matrix, as fast as memory delivers it. Many rows (prefill) go through panels: eight rows of
//! the matrix are unpacked once, interleaved, and multiplied with all activations.

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_prefetch, _mm_set1_ps, _mm256_abs_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_add_ps, _mm256_castps_si256, _mm256_castps128_ps256,
    _mm256_castsi256_ps, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_insertf128_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_permute2f128_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_ps, _mm256_sign_epi8, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::activations::Activations;
use super::formats::{Format, GROUP_LEN, SPAN_LEN, span_bytes};
use super::lanes::sum_of_lanes;

/// Bytes that are prefetched ahead of their use: what memory delivers in its latency.
pub const PREFETCH_BYTES: usize = 2048;
/// Rows of a panel: one for each 32-bit lane of 256 bits.
pub const PANEL_ROWS: usize = 8;
const SPAN_GROUPS: usize = SPAN_LEN / GROUP_LEN;
/// The largest number of scales in a span.
const MAX_SPAN_SCALES: usize = SPAN_LEN / 16;

/// Products of 32 quants with 32 activations, summed by fours: eight integers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn products<F: Format>(quants: __m256i, activations: __m256i) -> __m256i {
    let pairs = if F::IS_SIGNED {
        // The instruction wants one side unsigned: the sign goes over to the other.
        _mm256_maddubs_epi16(_mm256_abs_epi8(quants), _mm256_sign_epi8(activations, quants))
    } else {
        _mm256_maddubs_epi16(quants, activations)
    };
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// The dot products of rows of a matrix, which follow one another from `rows` on, with the only row
/// of `xs`, for as many as `out` has room for.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; there are that many rows of `xs.columns() / WEIGHTS` whole blocks,
/// and `xs` is one row of quants.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn gemv<F: Format>(rows: *const u8, xs: &Activations, out: &mut [f32]) {
    let row_bytes = xs.columns() / F::WEIGHTS * F::BYTES;
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        *out = unsafe { dot::<F>(rows.add(i * row_bytes), xs) };
    }
}

/// # Safety
/// As for [`gemv`].
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn dot<F: Format>(row: *const u8, xs: &Activations) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 3];
    let (spans, rest) = (xs.columns() / SPAN_LEN, xs.columns() % SPAN_LEN / GROUP_LEN);
    for span in 0..spans {
        // SAFETY: the row has this span, and the activations its columns.
        unsafe {
            let bytes = row.add(span * span_bytes::<F>());
            prefetch::<F>(bytes.wrapping_add(PREFETCH_BYTES));
            dot_span::<F>(bytes, xs, span, &mut sums);
        }
    }
    let mut offset_sum = 0f32;
    if F::WEIGHTS == GROUP_LEN {
        for group in 0..rest {
            let at = spans * SPAN_GROUPS + group;
            // SAFETY: the row has this block, and the activations its columns.
            unsafe {
                let bytes = row.add(spans * span_bytes::<F>() + group * F::BYTES);
                let (mut scale, mut offset) = (0f32, 0f32);
                F::scales(bytes, 1, &raw mut scale, &raw mut offset);
                let products = products_at::<F>(bytes, 0, xs, at);
                let scale = _mm256_set1_ps(scale * *xs.scales().get_unchecked(at));
                sums[group % 2] = _mm256_fmadd_ps(products, scale, sums[group % 2]);
                offset_sum += offset * *xs.sums().get_unchecked(at);
            }
        }
    }
    sum_of_lanes(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), sums[2])) + offset_sum
}

/// Asks memory for a span.
#[inline]
pub fn prefetch<F: Format>(span: *const u8) {
    for line in (0..span_bytes::<F>()).step_by(64) {
        // SAFETY: a prefetch of any address is a hint, and never a fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(span.wrapping_add(line).cast::<i8>()) };
    }
}

/// The products of a span's group with block `at` of the activations, summed by fours.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; `span` points to more than `group` groups, and `xs` is one row of
/// quants with more than `at` blocks.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn products_at<F: Format>(
    span: *const u8,
    group: usize,
    xs: &Activations,
    at: usize,
) -> __m256 {
    // SAFETY: as the caller promises.
    unsafe {
        let quants = F::quants(span, group);
        let activations = xs.quants().as_ptr().add(at * GROUP_LEN).cast::<__m256i>();
        _mm256_cvtepi32_ps(products::<F>(quants, _mm256_loadu_si256(activations)))
    }
}

/// Adds a whole span to two sums of products and one of offsets.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; `bytes` points to a whole span, and `xs` is one row of quants
/// that has the columns of that span.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn dot_span<F: Format>(
    bytes: *const u8,
    xs: &Activations,
    span: usize,
    sums: &mut [__m256; 3],
) {
    let mut scales = [0f32; MAX_SPAN_SCALES];
    let mut offsets = [0f32; MAX_SPAN_SCALES];
    let at = span * SPAN_GROUPS;
    let two_scales = F::SHARED == 16;
    // SAFETY: the span and the columns are the caller's; the arrays have room for a span's scales.
    unsafe {
        F::scales(bytes, SPAN_GROUPS, scales.as_mut_ptr(), offsets.as_mut_ptr());
        let column_scales = xs.scales().as_ptr().add(at);
        if !F::IS_SIGNED {
            let column_sums = if two_scales {
                xs.half_sums().as_ptr().add(2 * at)
            } else {
                xs.sums().as_ptr().add(at)
            };
            for i in (0..SPAN_LEN / F::SHARED).step_by(8) {
                let offsets = _mm256_loadu_ps(offsets.as_ptr().add(i));
                sums[2] = _mm256_fmadd_ps(offsets, _mm256_loadu_ps(column_sums.add(i)), sums[2]);
            }
        }
        if !two_scales {
            let both =
                _mm256_mul_ps(_mm256_loadu_ps(scales.as_ptr()), _mm256_loadu_ps(column_scales));
            _mm256_storeu_ps(scales.as_mut_ptr(), both);
        }
        for group in 0..SPAN_GROUPS {
            let scale = if two_scales {
                let low = _mm256_castps128_ps256(_mm_set1_ps(scales[2 * group]));
                let both = _mm256_insertf128_ps::<1>(low, _mm_set1_ps(scales[2 * group + 1]));
                _mm256_mul_ps(_mm256_set1_ps(*column_scales.add(group)), both)
            } else {
                _mm256_set1_ps(scales[group])
            };
            let products = products_at::<F>(bytes, group, xs, at + group);
            sums[group % 2] = _mm256_fmadd_ps(products, scale, sums[group % 2]);
        }
    }
}

/// Eight rows of a matrix times all rows of `xs`, into `sums`, `[xs.rows(), 8]`.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; every pointer is to `xs.columns() / WEIGHTS` whole blocks; `xs` are
/// quants.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn panel<F: Format>(rows: [*const u8; PANEL_ROWS], xs: &Activations, sums: &mut [f32]) {
    assert_eq!(sums.len(), xs.rows() * PANEL_ROWS);
    sums.fill(0.0);
    let scales_of_group = GROUP_LEN / F::SHARED;
    let mut scales = [[0f32; MAX_SPAN_SCALES]; PANEL_ROWS];
    let mut offsets = [[0f32; MAX_SPAN_SCALES]; PANEL_ROWS];
    for span in 0..xs.columns().div_ceil(SPAN_LEN) {
        let groups = SPAN_GROUPS.min(xs.columns() / GROUP_LEN - span * SPAN_GROUPS);
        let at = span * span_bytes::<F>();
        for (row, bytes) in rows.iter().enumerate() {
            // SAFETY: the row has these groups, the arrays room for a span's scales.
            unsafe {
                let (scales, offsets) = (scales[row].as_mut_ptr(), offsets[row].as_mut_ptr());
                F::scales(bytes.add(at), groups, scales, offsets);
            }
        }
        let of_all_rows = |values: &[[f32; MAX_SPAN_SCALES]; PANEL_ROWS], i: usize| {
            let lanes: [f32; PANEL_ROWS] = std::array::from_fn(|row| values[row][i]);
            // SAFETY: they are eight.
            unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
        };
        for group in 0..groups {
            // SAFETY: each row has this group.
            let quants = transposed(std::array::from_fn(|row| unsafe {
                F::quants(rows[row].add(at), group)
            }));
            let first = group * scales_of_group;
            let both = [first, first + scales_of_group - 1];
            let weights = GroupOfRows {
                quants,
                scales: both.map(|i| of_all_rows(&scales, i)),
                offsets: both.map(|i| of_all_rows(&offsets, i)),
            };
            // SAFETY: `xs` are quants, and they have this block.
            unsafe { multiply::<F>(&weights, xs, span * SPAN_GROUPS + group, sums) };
        }
    }
}

/// A group of each of eight rows, a lane for each row.
struct GroupOfRows {
    /// Four weights of each row: the first to fourth, the fifth to eighth, …
    quants: [__m256i; 8],
    /// Of the first and of the last 16 weights.
    scales: [__m256; 2],
    offsets: [__m256; 2],
}

/// How many products of pairs may be added up in 16 bits. Such a product is at most 2 · 127 · quant:
/// 2 · 127 · 15 · 8 = 30,480, 2 · 127 · 31 · 4 = 31,496, 2 · 127 · 63 · 2 = 32,004 and, for signed
/// quants, 2 · 127 · 128 = 32,512 are all below 2¹⁵.
const fn pairs_in_16_bits<F: Format>() -> usize {
    match F::QUANTS_BELOW {
        ..=16 => 8,
        17..=32 => 4,
        33..=64 => 2,
        _ => 1,
    }
}

/// Adds block `at` of all activations times a group of eight rows to `sums`, `[xs.rows(), 8]`.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; `xs` are quants of more than `at` blocks; `sums` has eight for
/// each row of `xs`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn multiply<F: Format>(
    GroupOfRows { quants, scales, offsets }: &GroupOfRows,
    xs: &Activations,
    at: usize,
    sums: &mut [f32],
) {
    let magnitudes: [__m256i; 8] =
        if F::IS_SIGNED { quants.map(|quants| _mm256_abs_epi8(quants)) } else { *quants };
    let together = pairs_in_16_bits::<F>();
    let ones = _mm256_set1_epi16(1);
    for row in 0..xs.rows() {
        // SAFETY: the activations have an entry of each row for block `at`, `sums` eight.
        unsafe {
            let quads = xs.quants().as_ptr().add((at * xs.rows() + row) * GROUP_LEN).cast::<i32>();
            let quarter = |i: usize| {
                let quad = _mm256_set1_epi32(quads.add(i).read_unaligned());
                let quad = if F::IS_SIGNED { _mm256_sign_epi8(quad, quants[i]) } else { quad };
                _mm256_maddubs_epi16(magnitudes[i], quad)
            };
            let run = |first: usize, count: usize| {
                let mut whole = _mm256_setzero_si256();
                let mut i = first;
                while i < first + count {
                    let mut pairs = quarter(i);
                    for j in i + 1..(i + together).min(first + count) {
                        pairs = _mm256_add_epi16(pairs, quarter(j));
                    }
                    whole = _mm256_add_epi32(whole, _mm256_madd_epi16(pairs, ones));
                    i += together;
                }
                _mm256_cvtepi32_ps(whole)
            };
            let scale = _mm256_set1_ps(*xs.scales().get_unchecked(at * xs.rows() + row));
            let sum = sums.as_mut_ptr().add(row * PANEL_ROWS);
            let mut total = _mm256_loadu_ps(sum);
            if F::SHARED == 16 {
                let [low, high] = [run(0, 4), run(4, 4)];
                let both = _mm256_fmadd_ps(high, scales[1], _mm256_mul_ps(low, scales[0]));
                total = _mm256_fmadd_ps(both, scale, total);
                let halves = xs.half_sums().as_ptr().add((at * xs.rows() + row) * 2);
                total = _mm256_fmadd_ps(offsets[0], _mm256_set1_ps(*halves), total);
                total = _mm256_fmadd_ps(offsets[1], _mm256_set1_ps(*halves.add(1)), total);
            } else {
                let product = _mm256_mul_ps(run(0, 8), scales[0]);
                total = _mm256_fmadd_ps(product, scale, total);
                if !F::IS_SIGNED {
                    let of_block = *xs.sums().get_unchecked(at * xs.rows() + row);
                    total = _mm256_fmadd_ps(offsets[0], _mm256_set1_ps(of_block), total);
                }
            }
            _mm256_storeu_ps(sum, total);
        }
    }
}

/// Transposes 8 × 8 32-bit words.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn transposed(rows: [__m256i; 8]) -> [__m256i; 8] {
    let r = rows.map(|row| _mm256_castsi256_ps(row));
    let pair = |i: usize| (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
    let ((a0, a1), (a2, a3), (a4, a5), (a6, a7)) = (pair(0), pair(2), pair(4), pair(6));
    let b = [
        _mm256_shuffle_ps::<0x44>(a0, a2),
        _mm256_shuffle_ps::<0xee>(a0, a2),
        _mm256_shuffle_ps::<0x44>(a1, a3),
        _mm256_shuffle_ps::<0xee>(a1, a3),
        _mm256_shuffle_ps::<0x44>(a4, a6),
        _mm256_shuffle_ps::<0xee>(a4, a6),
        _mm256_shuffle_ps::<0x44>(a5, a7),
        _mm256_shuffle_ps::<0xee>(a5, a7),
    ];
    let low = |i: usize| _mm256_castps_si256(_mm256_permute2f128_ps::<0x20>(b[i], b[i + 4]));
    let high = |i: usize| _mm256_castps_si256(_mm256_permute2f128_ps::<0x31>(b[i], b[i + 4]));
    [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
}

/// The first `values.len()` weights of a row as numbers.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; `row` points to `values.len() / WEIGHTS` whole blocks.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn dequantize<F: Format>(row: *const u8, values: &mut [f32]) {
    let mut scales = [0f32; MAX_SPAN_SCALES];
    let mut offsets = [0f32; MAX_SPAN_SCALES];
    let mut quants = [0u8; GROUP_LEN];
    for (span, values) in values.chunks_mut(SPAN_LEN).enumerate() {
        // SAFETY: the row has these groups, the arrays room for a span's scales.
        let bytes = unsafe {
            let bytes = row.add(span * span_bytes::<F>());
            let groups = values.len() / GROUP_LEN;
            F::scales(bytes, groups, scales.as_mut_ptr(), offsets.as_mut_ptr());
            bytes
        };
        for (group, values) in values.chunks_exact_mut(GROUP_LEN).enumerate() {
            // SAFETY: the span has this group, the array room for 32 quants.
            unsafe {
                _mm256_storeu_si256(quants.as_mut_ptr().cast::<__m256i>(), F::quants(bytes, group));
            }
            for (i, (value, quant)) in values.iter_mut().zip(quants).enumerate() {
                let shared = (group * GROUP_LEN + i) / F::SHARED;
                let quant =
                    if F::IS_SIGNED { f32::from(quant.cast_signed()) } else { f32::from(quant) };
                *value = scales[shared] * quant + offsets[shared];
            }
        }
    }
}
