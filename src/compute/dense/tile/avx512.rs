//! Vectors of 512 bits, and matrix tiles.

#![expect(clippy::needless_pass_by_value, reason = "a place is used up by what is written to it")]

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_ps,
    _mm512_load_si512, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::{CODE_ROWS, CodePanel, CodeRows, GROUP, Line, Out, PANEL, ROWS, Rows, prefetch};
use crate::compute::dense::amx::{self, Sums, Tiles};

/// Rows of codes whose sums and totals are in registers together.
const FEW_CODES: usize = 8;

/// # Safety
/// The CPU has AVX-512 F; the slices are as long as [`super::product`] checks.
#[target_feature(enable = "avx512f")]
pub unsafe fn product(rows: &Rows, panel: &[Line], out: &mut Out) {
    // SAFETY: as the caller promises.
    unsafe { products(rows, [panel], out) };
}

/// Each value of the rows is read once for both panels.
///
/// # Safety
/// As for [`product`].
#[target_feature(enable = "avx512f")]
pub unsafe fn product_two(rows: &Rows, panels: [&[Line]; 2], out: &mut Out) {
    // SAFETY: as the caller promises.
    unsafe { products(rows, panels, out) };
}

/// `P` panels.
///
/// # Safety
/// As for [`product`].
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn products<const P: usize>(rows: &Rows, panels: [&[Line]; P], out: &mut Out) {
    macro_rules! by_count {
        ($($count:literal)*) => {
            match rows.count {
                // SAFETY: as the caller promises.
                $($count => unsafe { some::<$count, P>(rows, panels, out) },)*
                // SAFETY: as the caller promises.
                _ => unsafe { some::<ROWS, P>(rows, panels, out) },
            }
        };
    }
    by_count!(1 2 3 4 5 6 7 8 9 10 11);
}

/// The first `N` rows.
///
/// # Safety
/// As for [`product`], and there are at least `N` rows.
#[target_feature(enable = "avx512f")]
unsafe fn some<const N: usize, const P: usize>(rows: &Rows, panels: [&[Line]; P], out: &mut Out) {
    let mut sums = [[_mm512_setzero_ps(); P]; N];
    let stride = rows.stride;
    // A pointer for three rows: sixteen registers hold them all.
    let mut threes: [*const f32; ROWS / 3] =
        std::array::from_fn(|i| rows.values.as_ptr().wrapping_add(3 * i * stride));
    let mut weights = panels.map(<[Line]>::as_ptr);
    for _ in 0..panels[0].len() {
        // SAFETY: every row is as deep as the panels, which have sixteen values for each.
        unsafe {
            let columns = weights.map(|weights| _mm512_load_ps(weights.cast()));
            for weights in weights {
                prefetch(weights);
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*threes[i / 3].add(i % 3 * stride));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_fmadd_ps(x, columns, *sum);
                }
            }
        }
        for three in &mut threes {
            *three = three.wrapping_add(1);
        }
        for weights in &mut weights {
            *weights = weights.wrapping_add(1);
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            // SAFETY: there is room for sixteen.
            unsafe {
                _mm512_storeu_ps(out.values.as_mut_ptr().add(i * out.stride + p * PANEL), *sum);
            };
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F and VNNI; the slices are as long as [`super::CodeProducts::product`] checks.
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn code_product(rows: CodeRows, panel: CodePanel, mut out: Out) {
    for first in (0..rows.count).step_by(FEW_CODES) {
        // SAFETY: as the caller promises; there are always sixteen rows.
        unsafe {
            match rows.count - first {
                1 => some_codes::<1>(rows, first, panel, &mut out),
                2..=4 => some_codes::<4>(rows, first, panel, &mut out),
                _ => some_codes::<FEW_CODES>(rows, first, panel, &mut out),
            }
        }
    }
}

/// The products of `N` rows from `first` on; those past `rows.count` are not written.
///
/// # Safety
/// As for [`code_product`], and `first + N` is at most sixteen.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn some_codes<const N: usize>(
    rows: CodeRows,
    first: usize,
    panel: CodePanel,
    out: &mut Out,
) {
    let groups = panel.scales.len() / PANEL;
    let depth = groups * GROUP;
    let mut totals = [_mm512_setzero_ps(); N];
    let mut weights = panel.codes.as_ptr();
    for group in 0..groups {
        let at = |i: usize| group * CODE_ROWS + first + i;
        // SAFETY: every row has `groups` offsets and scales and 64 codes for each, the panel
        // sixteen scales and 64 · 16 codes.
        unsafe {
            let mut sums: [__m512i; N] =
                std::array::from_fn(|i| _mm512_set1_epi32(*rows.offsets.get_unchecked(at(i))));
            let codes = rows.codes.as_ptr().add((first * groups + group) * GROUP);
            let fours: [*const i8; FEW_CODES / 4] =
                std::array::from_fn(|i| codes.wrapping_add(4 * i * depth));
            for quad in 0..GROUP / 4 {
                let w = _mm512_loadu_si512(weights.cast());
                prefetch(weights);
                weights = weights.add(4 * PANEL);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = fours[i / 4].add(i % 4 * depth + 4 * quad);
                    let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
                    *sum = _mm512_dpbusd_epi32(*sum, w, x);
                }
            }
            let scales = _mm512_loadu_ps(panel.scales.as_ptr().add(group * PANEL));
            for (i, (total, sum)) in totals.iter_mut().zip(sums).enumerate() {
                *total = scaled(*total, sum, scales, *rows.scales.get_unchecked(at(i)));
            }
        }
    }
    for (i, total) in totals.iter().enumerate().take(rows.count - first) {
        // SAFETY: there is room for sixteen in every row.
        unsafe { _mm512_storeu_ps(out.values.as_mut_ptr().add((first + i) * out.stride), *total) };
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn scaled(total: __m512, sums: __m512i, scales: __m512, scale: f32) -> __m512 {
    let sums = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(scale));
    _mm512_fmadd_ps(sums, scales, total)
}

/// Weights are signed here, and need no offsets.
///
/// # Safety
/// The CPU has AVX-512 F; the tiles are shaped for 64 codes, and the slices are as long as [`super::CodeProducts::product`] checks.
#[target_feature(enable = "avx512f")]
pub unsafe fn code_product_tiles(tiles: &Tiles, rows: CodeRows, panel: CodePanel, out: Out) {
    let groups = panel.scales.len() / PANEL;
    let depth = groups * GROUP;
    let mut totals = [_mm512_setzero_ps(); CODE_ROWS];
    let mut sums = [Sums([[0; PANEL]; CODE_ROWS]); 2];
    // The vectors scale one product while the tiles make the next.
    for step in 0..=groups {
        // SAFETY: there are sixteen rows of 64 codes and a scale for each group; the panel has
        // 64 · 16 codes and sixteen scales.
        unsafe {
            if step < groups {
                let codes = rows.codes.as_ptr().add(step * GROUP).cast();
                let weights = panel.codes.as_ptr().add(step * GROUP * PANEL);
                if step % 2 == 0 {
                    amx::product_i8(tiles, codes, depth, weights, &mut sums[0]);
                } else {
                    amx::product_i8_beside(tiles, codes, depth, weights, &mut sums[1]);
                }
            }
            if step > 0 {
                let group = step - 1;
                let sums = (&raw const sums[group % 2]).cast::<i32>();
                let scales = _mm512_loadu_ps(panel.scales.as_ptr().add(group * PANEL));
                let of_rows = rows.scales.as_ptr().add(group * CODE_ROWS);
                #[allow(clippy::needless_range_loop, reason = "a count that is known is unrolled")]
                for i in 0..CODE_ROWS {
                    let sums = _mm512_load_si512(sums.add(PANEL * i).cast());
                    totals[i] = scaled(totals[i], sums, scales, *of_rows.add(i));
                }
            }
        }
    }
    let out_values = out.values.as_mut_ptr();
    #[expect(clippy::needless_range_loop, reason = "a count that is known is unrolled")]
    for i in 0..CODE_ROWS {
        if i < rows.count {
            // SAFETY: there is room for sixteen in every row.
            unsafe { _mm512_storeu_ps(out_values.add(i * out.stride), totals[i]) };
        }
    }
}
