//! Products of quantized matrices, read where they lie in the mapped file, with 8-bit activations.
//!
//! Two kernels for every format. One row of activations (decode) is a dot product with each row of
//! the matrix, as fast as memory gives it. Many rows (prefill) go through panels: eight rows of the
//! matrix are unpacked once, interleaved, and multiplied with all activations.

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
use super::formats::{Format, GROUP, SPAN};
use super::lanes::total;

/// Bytes that memory is asked for ahead of their use: what it delivers in its latency.
pub const AHEAD: usize = 2048;
/// Rows of a panel: one for each 32-bit lane.
pub const PANEL: usize = 8;
/// The most scales in a span.
const SCALES: usize = SPAN / 16;

/// Products of 32 codes with 32 activations, summed by fours: eight integers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn products<F: Format>(codes: __m256i, activations: __m256i) -> __m256i {
    let pairs = if F::CODES.is_none() {
        // The instruction wants one side unsigned: the sign goes over to the other.
        _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(activations, codes))
    } else {
        _mm256_maddubs_epi16(codes, activations)
    };
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// Bytes of a whole span.
pub const fn span_bytes<F: Format>() -> usize {
    SPAN / F::WEIGHTS * F::BYTES
}

/// The dot products of rows of a matrix, which lie one after the other from `rows` on, with the only
/// row of `xs`: as many as `out` has room for.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; there are so many rows of `xs.columns / WEIGHTS` whole blocks, and
/// `xs` is one row of codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn dots<F: Format>(rows: *const u8, xs: &Activations, out: &mut [f32]) {
    let row_bytes = xs.columns / F::WEIGHTS * F::BYTES;
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: the caller's.
        *out = unsafe { dot::<F>(rows.add(i * row_bytes), xs) };
    }
}

/// # Safety
/// As for [`dots`].
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn dot<F: Format>(row: *const u8, xs: &Activations) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 3];
    let (whole, rest) = (xs.columns / SPAN, xs.columns % SPAN / GROUP);
    for span in 0..whole {
        // SAFETY: the row has this span.
        unsafe {
            let bytes = row.add(span * span_bytes::<F>());
            ask_for::<F>(bytes.wrapping_add(AHEAD));
            dot_span::<F>(bytes, xs, span, &mut sums);
        }
    }
    let mut offset_sum = 0f32;
    if F::WEIGHTS == GROUP {
        for group in 0..rest {
            let at = whole * (SPAN / GROUP) + group;
            // SAFETY: the row has this block, the activations these columns.
            unsafe {
                let bytes = row.add(whole * span_bytes::<F>() + group * F::BYTES);
                let (mut scale, mut offset) = (0f32, 0f32);
                F::scales(bytes, 1, &raw mut scale, &raw mut offset);
                let products = products_at::<F>(bytes, 0, xs, at);
                let scale = _mm256_set1_ps(scale * *xs.scales.get_unchecked(at));
                sums[group % 2] = _mm256_fmadd_ps(products, scale, sums[group % 2]);
                offset_sum += offset * *xs.sums.get_unchecked(at);
            }
        }
    }
    total(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), sums[2])) + offset_sum
}

/// Asks memory for a span.
#[inline]
pub fn ask_for<F: Format>(span: *const u8) {
    for line in (0..span_bytes::<F>()).step_by(64) {
        // SAFETY: every address may be asked for.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(span.wrapping_add(line).cast::<i8>()) };
    }
}

/// The products of a span's group with block `at` of the activations, summed by fours.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn products_at<F: Format>(
    span: *const u8,
    group: usize,
    xs: &Activations,
    at: usize,
) -> __m256 {
    // SAFETY: the caller's.
    unsafe {
        let codes = F::codes(span, group);
        let activations = xs.codes.as_ptr().add(at * GROUP).cast::<__m256i>();
        _mm256_cvtepi32_ps(products::<F>(codes, _mm256_loadu_si256(activations)))
    }
}

/// Adds a whole span to two sums of products and one of offsets.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn dot_span<F: Format>(
    bytes: *const u8,
    xs: &Activations,
    span: usize,
    sums: &mut [__m256; 3],
) {
    const GROUPS: usize = SPAN / GROUP;
    let mut scales = [0f32; SCALES];
    let mut offsets = [0f32; SCALES];
    let at = span * GROUPS;
    let each = GROUP / F::SHARED;
    // SAFETY: the row has this span, the activations these columns, the arrays a span's scales.
    unsafe {
        F::scales(bytes, GROUPS, scales.as_mut_ptr(), offsets.as_mut_ptr());
        let column_scales = xs.scales.as_ptr().add(at);
        if F::CODES.is_some() {
            let column_sums = if each == 2 {
                xs.half_sums.as_ptr().add(2 * at)
            } else {
                xs.sums.as_ptr().add(at)
            };
            for i in (0..SPAN / F::SHARED).step_by(8) {
                let offsets = _mm256_loadu_ps(offsets.as_ptr().add(i));
                sums[2] = _mm256_fmadd_ps(offsets, _mm256_loadu_ps(column_sums.add(i)), sums[2]);
            }
        }
        if each == 1 {
            let both =
                _mm256_mul_ps(_mm256_loadu_ps(scales.as_ptr()), _mm256_loadu_ps(column_scales));
            _mm256_storeu_ps(scales.as_mut_ptr(), both);
        }
        for group in 0..GROUPS {
            let scale = if each == 2 {
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

/// Eight rows of a matrix times all rows of `xs`, into `sums`, `[xs.rows, 8]`.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; every pointer is to `xs.columns / WEIGHTS` whole blocks; `xs` are
/// codes.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn panel<F: Format>(rows: [*const u8; PANEL], xs: &Activations, sums: &mut [f32]) {
    assert_eq!(sums.len(), xs.rows * PANEL);
    sums.fill(0.0);
    let each = GROUP / F::SHARED;
    let mut scales = [[0f32; SCALES]; PANEL];
    let mut offsets = [[0f32; SCALES]; PANEL];
    for span in 0..xs.columns.div_ceil(SPAN) {
        let groups = (SPAN / GROUP).min(xs.columns / GROUP - span * (SPAN / GROUP));
        let at = span * span_bytes::<F>();
        for (row, bytes) in rows.iter().enumerate() {
            // SAFETY: the row has these groups, the arrays room for a span's scales.
            unsafe {
                let (scales, offsets) = (scales[row].as_mut_ptr(), offsets[row].as_mut_ptr());
                F::scales(bytes.add(at), groups, scales, offsets);
            }
        }
        let of = |values: &[[f32; SCALES]; PANEL], i: usize| {
            let lanes: [f32; PANEL] = std::array::from_fn(|row| values[row][i]);
            // SAFETY: they are eight.
            unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
        };
        for group in 0..groups {
            // SAFETY: each row has this group.
            let codes = transposed(std::array::from_fn(|row| unsafe {
                F::codes(rows[row].add(at), group)
            }));
            let (first, last) = (group * each, group * each + each - 1);
            // SAFETY: the activations have this block.
            unsafe {
                multiply::<F>(
                    codes,
                    [of(&scales, first), of(&scales, last)],
                    [of(&offsets, first), of(&offsets, last)],
                    xs,
                    span * (SPAN / GROUP) + group,
                    sums,
                );
            }
        }
    }
}

/// Block `at` of all activations times 32 codes of eight rows. `codes[i]` has weights `4 i ..` of
/// each row; `scales` and `offsets` are those of the first and of the last 16.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn multiply<F: Format>(
    codes: [__m256i; 8],
    scales: [__m256; 2],
    offsets: [__m256; 2],
    xs: &Activations,
    at: usize,
    sums: &mut [f32],
) {
    let magnitudes: [__m256i; 8] =
        if F::CODES.is_none() { codes.map(|codes| _mm256_abs_epi8(codes)) } else { codes };
    // Products of two pairs are at most 2 · 127 · code: how many fit into 16 bits together?
    let together = match F::CODES {
        Some(..=16) => 8,
        Some(..=32) => 4,
        Some(_) => 2,
        None => 1,
    };
    let ones = _mm256_set1_epi16(1);
    for row in 0..xs.rows {
        // SAFETY: the activations have `rows` entries for block `at`, `sums` eight for each row.
        unsafe {
            let quads = xs.codes.as_ptr().add((at * xs.rows + row) * GROUP).cast::<i32>();
            let quarter = |i: usize| {
                let quad = _mm256_set1_epi32(quads.add(i).read_unaligned());
                let quad = if F::CODES.is_none() { _mm256_sign_epi8(quad, codes[i]) } else { quad };
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
            let scale = _mm256_set1_ps(*xs.scales.get_unchecked(at * xs.rows + row));
            let sum = sums.as_mut_ptr().add(row * PANEL);
            let mut total = _mm256_loadu_ps(sum);
            if F::SHARED == 16 {
                let [low, high] = [run(0, 4), run(4, 4)];
                let both = _mm256_fmadd_ps(high, scales[1], _mm256_mul_ps(low, scales[0]));
                total = _mm256_fmadd_ps(both, scale, total);
                let halves = xs.half_sums.as_ptr().add((at * xs.rows + row) * 2);
                total = _mm256_fmadd_ps(offsets[0], _mm256_set1_ps(*halves), total);
                total = _mm256_fmadd_ps(offsets[1], _mm256_set1_ps(*halves.add(1)), total);
            } else {
                let product = _mm256_mul_ps(run(0, 8), scales[0]);
                total = _mm256_fmadd_ps(product, scale, total);
                if F::CODES.is_some() {
                    let of_block = *xs.sums.get_unchecked(at * xs.rows + row);
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

/// Weights `0 .. columns` of one row as numbers.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C; `row` points to `values.len() / WEIGHTS` whole blocks.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn dequantize<F: Format>(row: *const u8, values: &mut [f32]) {
    let mut scales = [0f32; SCALES];
    let mut offsets = [0f32; SCALES];
    let mut codes = [0u8; GROUP];
    for (span, values) in values.chunks_mut(SPAN).enumerate() {
        // SAFETY: the row has these groups, the arrays room for a span's scales.
        let bytes = unsafe {
            let bytes = row.add(span * span_bytes::<F>());
            let groups = values.len() / GROUP;
            F::scales(bytes, groups, scales.as_mut_ptr(), offsets.as_mut_ptr());
            bytes
        };
        for (group, values) in values.chunks_exact_mut(GROUP).enumerate() {
            // SAFETY: the span has this group, the array room for 32 codes.
            unsafe {
                _mm256_storeu_si256(codes.as_mut_ptr().cast::<__m256i>(), F::codes(bytes, group));
            }
            for (i, (value, code)) in values.iter_mut().zip(codes).enumerate() {
                let shared = (group * GROUP + i) / F::SHARED;
                let code = match F::CODES {
                    Some(_) => f32::from(code),
                    None => f32::from(code.cast_signed()),
                };
                *value = scales[shared] * code + offsets[shared];
            }
        }
    }
}
