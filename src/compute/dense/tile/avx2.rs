//! Vectors of 256 bits.

#![expect(clippy::needless_pass_by_value, reason = "a place is used up by what is written to it")]
#![allow(clippy::cast_ptr_alignment, reason = "vectors are loaded and stored unaligned")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_broadcast_ss, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32,
    _mm256_dpbusd_epi32, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{CODE_ROWS, CodePanel, CodeRows, GROUP, Line, Out, PANEL, Rows, prefetch};

/// Rows whose sums are in registers together: twelve vectors.
const FEW: usize = 6;
/// The same of codes: eight vectors.
const FEW_CODES: usize = 4;

/// # Safety
/// The CPU has AVX2 and FMA; the slices are as long as [`super::product`] checks.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn product(rows: Rows, panel: &[Line], out: Out) {
    for first in (0..rows.count).step_by(FEW) {
        // SAFETY: as the caller promises; there are that many rows from `first` on.
        unsafe {
            let from = rows.values.as_ptr().add(first * rows.stride);
            let to = out.values.as_mut_ptr().add(first * out.stride);
            match rows.count - first {
                1 => few::<1>(from, rows.stride, panel, to, out.stride),
                2 => few::<2>(from, rows.stride, panel, to, out.stride),
                3 => few::<3>(from, rows.stride, panel, to, out.stride),
                4 => few::<4>(from, rows.stride, panel, to, out.stride),
                5 => few::<5>(from, rows.stride, panel, to, out.stride),
                _ => few::<FEW>(from, rows.stride, panel, to, out.stride),
            }
        }
    }
}

/// `N` rows.
///
/// # Safety
/// The CPU has AVX2 and FMA; from `rows` on, there are `N` rows as deep as the panel, `stride` values apart, and
/// from `out` on, there is room for `N` rows of sixteen, `out_stride` values apart.
#[target_feature(enable = "avx2,fma")]
unsafe fn few<const N: usize>(
    rows: *const f32,
    stride: usize,
    panel: &[Line],
    out: *mut f32,
    out_stride: usize,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (k, line) in panel.iter().enumerate() {
        let Line(weights) = line;
        // SAFETY: every row is as deep as the panel, which has sixteen values for each.
        unsafe {
            let weights =
                [_mm256_loadu_ps(weights.as_ptr()), _mm256_loadu_ps(&raw const weights[8])];
            prefetch(line);
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_broadcast_ss(&*rows.add(i * stride + k));
                sums[0] = _mm256_fmadd_ps(x, weights[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(x, weights[1], sums[1]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        // SAFETY: there is room for sixteen.
        unsafe {
            _mm256_storeu_ps(out.add(i * out_stride), sums[0]);
            _mm256_storeu_ps(out.add(i * out_stride + 8), sums[1]);
        }
    }
}

/// The same function for three instruction sets, which differ in how they add the products of
/// four codes to a sum.
macro_rules! code_product {
    ($name:ident, $features:literal, $dot:expr) => {
        /// # Safety
        /// The CPU has the instructions; the slices are as long as [`super::CodeProducts::product`] checks.
        #[target_feature(enable = $features)]
        pub unsafe fn $name(rows: CodeRows, panel: CodePanel, out: Out) {
            let dot = $dot;
            let groups = panel.scales.len() / PANEL;
            // Rows past the last are there, and what comes of them is not written.
            for first in (0..rows.count).step_by(FEW_CODES) {
                let mut totals = [[_mm256_setzero_ps(); 2]; FEW_CODES];
                let mut weights = panel.codes.as_ptr();
                let at = |i: usize, group: usize| group * CODE_ROWS + first + i;
                for group in 0..groups {
                    // SAFETY: every row has `groups` offsets and scales and 64 codes for each, the
                    // panel sixteen scales and 64 · 16 codes.
                    unsafe {
                        let mut sums: [[__m256i; 2]; FEW_CODES] = std::array::from_fn(|i| {
                            [_mm256_set1_epi32(*rows.offsets.get_unchecked(at(i, group))); 2]
                        });
                        for quad in 0..GROUP / 4 {
                            let w0 = _mm256_loadu_si256(weights.cast::<__m256i>());
                            let w1 = _mm256_loadu_si256(weights.add(32).cast::<__m256i>());
                            prefetch(weights);
                            weights = weights.add(4 * PANEL);
                            for (i, sums) in sums.iter_mut().enumerate() {
                                let x = rows
                                    .codes
                                    .as_ptr()
                                    .add(((first + i) * groups + group) * GROUP + quad * 4);
                                let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
                                sums[0] = dot(sums[0], w0, x);
                                sums[1] = dot(sums[1], w1, x);
                            }
                        }
                        let scales = panel.scales.as_ptr().add(group * PANEL);
                        let scales = [_mm256_loadu_ps(scales), _mm256_loadu_ps(scales.add(8))];
                        for (i, (sums, totals)) in sums.iter().zip(&mut totals).enumerate() {
                            let scale = _mm256_set1_ps(*rows.scales.get_unchecked(at(i, group)));
                            for half in 0..2 {
                                let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), scale);
                                totals[half] = _mm256_fmadd_ps(sum, scales[half], totals[half]);
                            }
                        }
                    }
                }
                for (i, totals) in totals.iter().enumerate().take(rows.count - first) {
                    // SAFETY: there is room for sixteen in every row.
                    unsafe {
                        let to = out.values.as_mut_ptr().add((first + i) * out.stride);
                        _mm256_storeu_ps(to, totals[0]);
                        _mm256_storeu_ps(to.add(8), totals[1]);
                    }
                }
            }
        }
    };
}

code_product!(code_product, "avx2,fma", |sum, weights, codes| {
    // Never more than 127 · 127 · 2, so the 16 bits do not saturate.
    let pairs = _mm256_maddubs_epi16(weights, codes);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
});
code_product!(code_product_avx_vnni, "avx2,fma,avxvnni", |sum, weights, codes| {
    _mm256_dpbusd_avx_epi32(sum, weights, codes)
});
code_product!(
    code_product_avx512_vnni,
    "avx2,fma,avx512f,avx512vl,avx512vnni",
    |sum, weights, codes| _mm256_dpbusd_epi32(sum, weights, codes)
);
