//! Vectors of 128 bits: NEON, which every 64-bit ARM CPU has, and its dot products.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vcvtq_f32_s32, vdupq_laneq_s32, vdupq_n_f32, vdupq_n_s32,
    vfmaq_f32, vfmaq_n_f32, vget_low_s8, vld1q_f32, vld1q_s8, vmlal_high_s8, vmlal_s8,
    vmull_high_s8, vmull_s8, vmulq_n_f32, vpadalq_s16, vpaddq_s16, vreinterpretq_s8_s32,
    vreinterpretq_s32_s8, vst1q_f32,
};
use std::arch::asm;
use std::array::from_fn;

use super::{CODE_ROWS, CodePanel, CodeRows, GROUP, Line, Out, PANEL, Rows};

/// Values of a vector in single precision.
const LANES: usize = 4;
/// Vectors of a panel's row.
const VECTORS: usize = PANEL / LANES;
/// Rows whose sums are in registers together: 24 vectors of 32.
const FEW: usize = 6;
/// The same of codes: sixteen vectors.
const FEW_CODES: usize = 4;
/// Codes in a vector.
const CODES: usize = 16;

/// The sums of a few rows of codes.
type Sums = [[int32x4_t; VECTORS]; FEW_CODES];

/// # Safety
/// The slices are as long as [`super::product`] checks.
#[target_feature(enable = "neon")]
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
/// From `rows` on, there are `N` rows as deep as the panel, `stride` values apart, and
/// from `out` on, there is room for `N` rows of sixteen, `out_stride` values apart.
#[target_feature(enable = "neon")]
unsafe fn few<const N: usize>(
    rows: *const f32,
    stride: usize,
    panel: &[Line],
    out: *mut f32,
    out_stride: usize,
) {
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; N];
    for (k, Line(weights)) in panel.iter().enumerate() {
        // SAFETY: every row is as deep as the panel, which has sixteen values for each.
        unsafe {
            let weights: [float32x4_t; VECTORS] =
                from_fn(|v| vld1q_f32(weights.as_ptr().add(v * LANES)));
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = *rows.add(i * stride + k);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = vfmaq_n_f32(*sum, weights, x);
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: there is room for sixteen.
            unsafe { vst1q_f32(out.add(i * out_stride + v * LANES), *sum) };
        }
    }
}

/// The same function for two instruction sets, which differ in how they add products to sums.
/// Weights are signed here, and need no offsets.
macro_rules! code_product {
    ($name:ident, $features:literal, $add:ident) => {
        /// # Safety
        /// The CPU has the instructions; the slices are as long as [`super::CodeProducts::product`] checks.
        #[target_feature(enable = $features)]
        pub unsafe fn $name(rows: CodeRows, panel: CodePanel, out: Out) {
            let groups = panel.scales.len() / PANEL;
            // Rows past the last are there, and what comes of them is not written.
            for first in (0..rows.count).step_by(FEW_CODES) {
                let mut totals = [[vdupq_n_f32(0.0); VECTORS]; FEW_CODES];
                let mut weights = panel.codes.as_ptr().cast::<i8>();
                for group in 0..groups {
                    let mut sums = [[vdupq_n_s32(0); VECTORS]; FEW_CODES];
                    // SAFETY: every row has a scale for each group and 64 codes, the panel sixteen
                    // scales and 64 · 16 codes.
                    unsafe {
                        for part in 0..GROUP / CODES {
                            let codes: [int8x16_t; FEW_CODES] = from_fn(|i| {
                                let row = ((first + i) * groups + group) * GROUP;
                                vld1q_s8(rows.codes.as_ptr().add(row + part * CODES))
                            });
                            $add(&mut sums, weights, codes);
                            weights = weights.add(CODES * PANEL);
                        }
                        let scales = panel.scales.as_ptr().add(group * PANEL);
                        let scales: [float32x4_t; VECTORS] =
                            from_fn(|v| vld1q_f32(scales.add(v * LANES)));
                        for (i, (sums, totals)) in sums.iter().zip(&mut totals).enumerate() {
                            let scale = *rows.scales.get_unchecked(group * CODE_ROWS + first + i);
                            for ((total, sum), scales) in totals.iter_mut().zip(sums).zip(scales) {
                                let sum = vmulq_n_f32(vcvtq_f32_s32(*sum), scale);
                                *total = vfmaq_f32(*total, sum, scales);
                            }
                        }
                    }
                }
                for (i, totals) in totals.iter().enumerate().take(rows.count - first) {
                    for (v, total) in totals.iter().enumerate() {
                        let at = (first + i) * out.stride + v * LANES;
                        // SAFETY: there is room for sixteen in every row.
                        unsafe { vst1q_f32(out.values.as_mut_ptr().add(at), *total) };
                    }
                }
            }
        }
    };
}

code_product!(code_product, "neon", add_products);
code_product!(code_product_dots, "neon,dotprod", add_dots);

/// Adds the products of sixteen codes of each row with sixteen columns of weights,
/// `[4, 16 columns, 4]`.
///
/// # Safety
/// The weights are there.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn add_products(sums: &mut Sums, weights: *const i8, codes: [int8x16_t; FEW_CODES]) {
    // SAFETY: as the caller promises.
    unsafe {
        add_two_quads::<0, 1>(sums, weights, codes);
        add_two_quads::<2, 3>(sums, weights.add(8 * PANEL), codes);
    }
}

/// The same of two quads of the codes.
///
/// # Safety
/// The weights are there: two times four for each column.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn add_two_quads<const FIRST: i32, const SECOND: i32>(
    sums: &mut Sums,
    weights: *const i8,
    codes: [int8x16_t; FEW_CODES],
) {
    for v in 0..VECTORS {
        // SAFETY: as the caller promises.
        let (w0, w1) = unsafe {
            (vld1q_s8(weights.add(v * CODES)), vld1q_s8(weights.add(4 * PANEL + v * CODES)))
        };
        for (sums, codes) in sums.iter_mut().zip(codes) {
            let (x0, x1) = (repeat::<FIRST>(codes), repeat::<SECOND>(codes));
            // Never more than 127 · 63 · 4, so 16 bits hold two products, and their pairs.
            let low = vmull_s8(vget_low_s8(w0), vget_low_s8(x0));
            let low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(x1));
            let high = vmlal_high_s8(vmull_high_s8(w0, x0), w1, x1);
            sums[v] = vpadalq_s16(sums[v], vpaddq_s16(low, high));
        }
    }
}

/// Four codes, four times.
#[target_feature(enable = "neon")]
#[inline]
fn repeat<const QUAD: i32>(codes: int8x16_t) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_laneq_s32::<QUAD>(vreinterpretq_s32_s8(codes)))
}

/// As [`add_products`], with dot products.
///
/// # Safety
/// The weights are there.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn add_dots(sums: &mut Sums, weights: *const i8, codes: [int8x16_t; FEW_CODES]) {
    // SAFETY: as the caller promises.
    unsafe {
        add_dots_of_quad::<0>(sums, weights, codes);
        add_dots_of_quad::<1>(sums, weights.add(4 * PANEL), codes);
        add_dots_of_quad::<2>(sums, weights.add(8 * PANEL), codes);
        add_dots_of_quad::<3>(sums, weights.add(12 * PANEL), codes);
    }
}

/// # Safety
/// The weights are there: four for each column.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn add_dots_of_quad<const QUAD: usize>(
    sums: &mut Sums,
    weights: *const i8,
    codes: [int8x16_t; FEW_CODES],
) {
    for v in 0..VECTORS {
        // SAFETY: as the caller promises.
        let weights = unsafe { vld1q_s8(weights.add(v * CODES)) };
        for (sums, codes) in sums.iter_mut().zip(codes) {
            // SAFETY: this function is for CPUs that have the instruction. (`vdotq_laneq_s32` is
            // not stable.)
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {weights:v}.16b, {codes:v}.4b[{quad}]",
                    sum = inout(vreg) sums[v],
                    weights = in(vreg) weights,
                    codes = in(vreg) codes,
                    quad = const QUAD,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
    }
}
