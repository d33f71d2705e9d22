//! Matrix products by tiles: a few rows of activations times a panel of sixteen columns of weights.
//!
//! The layout is that of BLIS (Van Zee and van de Geijn 2015): weights are packed once, so that a
//! panel is read front to back, and a tile of the result stays in registers. All SIMD instructions
//! of the encoders are in this module, behind functions that check their slices.

use super::Level;

/// Columns of a panel.
pub const PANEL: usize = 16;
/// Rows of a tile in 32-bit floating point: twelve vectors of sums.
pub const ROWS: usize = 6;
/// Rows of a tile of 8-bit codes: eight vectors of sums.
pub const CODE_ROWS: usize = 4;
/// Values that share a scale along the depth of a product of codes.
pub const GROUP: usize = 64;
/// The largest code of a weight, which is stored with [`WEIGHT_ZERO`] added. Seven bits: two
/// products with activations of eight then fit into the 16 bits that AVX2 adds them in.
pub const WEIGHT_MAX: f32 = 63.0;
/// What stands for a weight of zero.
pub const WEIGHT_ZERO: i32 = 64;

/// `rows · panel`: every row has `depth` values, the panel is `[depth, 16]`.
pub fn product(level: Level, rows: [&[f32]; ROWS], panel: &[f32], tile: &mut [[f32; PANEL]; ROWS]) {
    let depth = rows[0].len();
    assert!(panel.len() == depth * PANEL && rows.iter().all(|row| row.len() == depth));
    match level {
        // SAFETY: the level is one that this CPU has, and the slices were checked.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Vnni | Level::Avx512 | Level::Amx => unsafe {
            x86::product(rows, panel, tile)
        },
        _ => portable_product(rows, panel, tile),
    }
}

fn portable_product(rows: [&[f32]; ROWS], panel: &[f32], tile: &mut [[f32; PANEL]; ROWS]) {
    *tile = [[0.0; PANEL]; ROWS];
    for (k, weights) in panel.chunks_exact(PANEL).enumerate() {
        for (sums, row) in tile.iter_mut().zip(rows) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += row[k] * weight;
            }
        }
    }
}

/// A row of activations in 8-bit codes.
#[derive(Clone, Copy)]
pub struct CodeRow<'a> {
    /// `[depth]`
    pub codes: &'a [i8],
    /// `[depth / 64]`
    pub scales: &'a [f32],
    /// What the weights' zero adds to a group's products, to be taken off: −64 · the sum of its
    /// codes. `[depth / 64]`
    pub offsets: &'a [i32],
}

/// A panel of weights in codes.
#[derive(Clone, Copy)]
pub struct CodePanel<'a> {
    /// `[depth / 4, 16, 4]`
    pub codes: &'a [u8],
    /// `[depth / 64, 16]`
    pub scales: &'a [f32],
}

/// As [`product`], in integers within each group of 64. `depth` is a multiple of 64.
pub fn code_product(
    level: Level,
    rows: [CodeRow; CODE_ROWS],
    panel: CodePanel,
    tile: &mut [[f32; PANEL]; CODE_ROWS],
) {
    let depth = rows[0].codes.len();
    let groups = depth / GROUP;
    assert!(depth.is_multiple_of(GROUP));
    assert!(panel.codes.len() == depth * PANEL && panel.scales.len() == groups * PANEL);
    for row in rows {
        assert!(row.codes.len() == depth);
        assert!(row.scales.len() == groups && row.offsets.len() == groups);
    }
    match level {
        // SAFETY: the level is one that this CPU has, and the slices were checked.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::code_product_avx2(rows, panel, tile) },
        #[cfg(target_arch = "x86_64")]
        Level::Vnni | Level::Avx512 | Level::Amx if is_x86_feature_detected!("avxvnni") => unsafe {
            x86::code_product_avx_vnni(rows, panel, tile);
        },
        #[cfg(target_arch = "x86_64")]
        Level::Vnni | Level::Avx512 | Level::Amx => unsafe {
            x86::code_product_avx512_vnni(rows, panel, tile)
        },
        _ => portable_code_product(rows, panel, tile),
    }
}

fn portable_code_product(
    rows: [CodeRow; CODE_ROWS],
    panel: CodePanel,
    tile: &mut [[f32; PANEL]; CODE_ROWS],
) {
    *tile = [[0.0; PANEL]; CODE_ROWS];
    let groups = panel.codes.chunks_exact(GROUP * PANEL).zip(panel.scales.chunks_exact(PANEL));
    for (group, (weights, scales)) in groups.enumerate() {
        for (sums, row) in tile.iter_mut().zip(rows) {
            let mut products = [row.offsets[group]; PANEL];
            let codes = row.codes[group * GROUP..(group + 1) * GROUP].chunks_exact(4);
            for (codes, weights) in codes.zip(weights.chunks_exact(4 * PANEL)) {
                for (product, weights) in products.iter_mut().zip(weights.chunks_exact(4)) {
                    for (&code, &weight) in codes.iter().zip(weights) {
                        *product += i32::from(code) * i32::from(weight);
                    }
                }
            }
            for ((sum, product), scale) in sums.iter_mut().zip(products).zip(scales) {
                *sum += product as f32 * (row.scales[group] * scale);
            }
        }
    }
}

/// Whether sums of four 8-bit products are one instruction.
#[cfg(target_arch = "x86_64")]
pub fn has_vnni() -> bool {
    is_x86_feature_detected!("avxvnni")
        || (is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl"))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(clippy::cast_ptr_alignment, reason = "vectors are loaded and stored unaligned")]

    use std::arch::x86_64::{
        __m256, __m256i, _mm256_add_epi32, _mm256_broadcast_ss, _mm256_cvtepi32_ps,
        _mm256_dpbusd_avx_epi32, _mm256_dpbusd_epi32, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
        _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    use super::{CODE_ROWS, CodePanel, CodeRow, GROUP, PANEL, ROWS};

    /// # Safety
    /// The slices are as long as [`super::product`] checks.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn product(rows: [&[f32]; ROWS], panel: &[f32], tile: &mut [[f32; PANEL]; ROWS]) {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        let depth = rows[0].len();
        let rows = rows.map(<[f32]>::as_ptr);
        let mut weights = panel.as_ptr();
        for k in 0..depth {
            // SAFETY: every row has `depth` values, the panel sixteen for each.
            unsafe {
                let (w0, w1) = (_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8)));
                weights = weights.add(PANEL);
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let x = _mm256_broadcast_ss(&*row.add(k));
                    sums[0] = _mm256_fmadd_ps(x, w0, sums[0]);
                    sums[1] = _mm256_fmadd_ps(x, w1, sums[1]);
                }
            }
        }
        for (sums, out) in sums.iter().zip(tile) {
            store(*sums, out);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn store(sums: [__m256; 2], out: &mut [f32; PANEL]) {
        // SAFETY: there is room for sixteen.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), sums[1]);
        }
    }

    /// The same function for three instruction sets, which differ in how they add the products of
    /// four codes to a sum.
    macro_rules! code_product {
        ($name:ident, $features:literal, $dot:expr) => {
            /// # Safety
            /// The slices are as long as [`super::code_product`] checks.
            #[target_feature(enable = $features)]
            pub unsafe fn $name(
                rows: [CodeRow; CODE_ROWS],
                panel: CodePanel,
                tile: &mut [[f32; PANEL]; CODE_ROWS],
            ) {
                let dot = $dot;
                let groups = panel.scales.len() / PANEL;
                let mut weights = panel.codes.as_ptr();
                let codes = rows.map(|row| row.codes.as_ptr());
                *tile = [[0.0; PANEL]; CODE_ROWS];
                for group in 0..groups {
                    // SAFETY: every row has `groups` offsets and scales and 64 codes for each, the
                    // panel sixteen scales and 64 · 16 codes.
                    unsafe {
                        let mut sums = rows
                            .map(|row| [_mm256_set1_epi32(*row.offsets.get_unchecked(group)); 2]);
                        for quad in 0..GROUP / 4 {
                            let w0 = _mm256_loadu_si256(weights.cast::<__m256i>());
                            let w1 = _mm256_loadu_si256(weights.add(32).cast::<__m256i>());
                            weights = weights.add(4 * PANEL);
                            for (sums, codes) in sums.iter_mut().zip(codes) {
                                let x = codes.add(group * GROUP + quad * 4).cast::<i32>();
                                let x = _mm256_set1_epi32(x.read_unaligned());
                                sums[0] = dot(sums[0], w0, x);
                                sums[1] = dot(sums[1], w1, x);
                            }
                        }
                        let scales = panel.scales.as_ptr().add(group * PANEL);
                        let scales = [_mm256_loadu_ps(scales), _mm256_loadu_ps(scales.add(8))];
                        for ((sums, row), out) in sums.iter().zip(rows).zip(tile.iter_mut()) {
                            let scale = _mm256_set1_ps(*row.scales.get_unchecked(group));
                            let out = out.as_mut_ptr();
                            for half in 0..2 {
                                let sum = _mm256_cvtepi32_ps(sums[half]);
                                let scale = _mm256_mul_ps(scale, scales[half]);
                                let before = _mm256_loadu_ps(out.add(8 * half));
                                let after = _mm256_fmadd_ps(sum, scale, before);
                                _mm256_storeu_ps(out.add(8 * half), after);
                            }
                        }
                    }
                }
            }
        };
    }

    code_product!(code_product_avx2, "avx2,fma", |sum, weights, codes| {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random (Marsaglia's xorshift).
    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        }
    }

    #[test]
    fn every_level_multiplies_as_plain_loops_do() {
        for level in Level::available() {
            for depth in [0, 1, 2, 7, 32, 384] {
                let mut next = noise(depth as u64 + 1);
                let mut value = || next() as f32 / (1u64 << 52) as f32 - 1.0;
                let rows: [Vec<f32>; ROWS] =
                    std::array::from_fn(|_| (0..depth).map(|_| value()).collect());
                let panel: Vec<f32> = (0..depth * PANEL).map(|_| value()).collect();
                let mut tile = [[f32::NAN; PANEL]; ROWS];
                product(level, rows.each_ref().map(Vec::as_slice), &panel, &mut tile);
                for (row, found) in rows.iter().zip(tile) {
                    for (column, found) in found.into_iter().enumerate() {
                        let exact: f64 = row
                            .iter()
                            .enumerate()
                            .map(|(k, x)| f64::from(*x) * f64::from(panel[k * PANEL + column]))
                            .sum();
                        assert!((f64::from(found) - exact).abs() < 1e-4, "{level:?} {depth}");
                    }
                }
            }
        }
    }

    /// Rows of codes and a panel, of random or of the most extreme values.
    #[test]
    fn every_level_multiplies_codes_exactly() {
        for level in Level::available() {
            for (depth, extreme) in [(64, false), (384, false), (1536, false), (384, true)] {
                let mut next = noise(depth as u64 + 7);
                let groups = depth / GROUP;
                let mut code = || match extreme {
                    true => [127, -127][next() as usize % 2],
                    false => (next() % 255) as i32 - 127,
                };
                let rows: [Vec<i8>; CODE_ROWS] =
                    std::array::from_fn(|_| (0..depth).map(|_| code() as i8).collect());
                let weights: Vec<u8> = (0..depth * PANEL)
                    .map(|_| match extreme {
                        true => [1, 127][(code() > 0) as usize],
                        false => (code().unsigned_abs() as u8).max(1),
                    })
                    .collect();
                // Powers of two, so that the result is exact.
                let scales: Vec<f32> =
                    (0..groups * PANEL).map(|i| [0.5, 1.0, 2.0][i % 3]).collect();
                let of_rows: Vec<f32> = (0..groups).map(|i| [1.0, 0.25][i % 2]).collect();
                let offsets = rows.each_ref().map(|row| {
                    let sum = |group: &[i8]| group.iter().map(|&x| i32::from(x)).sum::<i32>();
                    row.chunks_exact(GROUP).map(|g| -WEIGHT_ZERO * sum(g)).collect::<Vec<i32>>()
                });
                let code_rows = std::array::from_fn(|i| CodeRow {
                    codes: &rows[i],
                    scales: &of_rows,
                    offsets: &offsets[i],
                });
                let panel = CodePanel { codes: &weights, scales: &scales };
                let mut tile = [[f32::NAN; PANEL]; CODE_ROWS];
                code_product(level, code_rows, panel, &mut tile);
                for (row, found) in rows.iter().zip(tile) {
                    for (column, found) in found.into_iter().enumerate() {
                        let exact: f64 = (0..depth)
                            .map(|k| {
                                let weight = weights[(k / 4 * PANEL + column) * 4 + k % 4];
                                let product = i32::from(row[k]) * (i32::from(weight) - WEIGHT_ZERO);
                                let group = k / GROUP;
                                let scale = scales[group * PANEL + column] * of_rows[group];
                                f64::from(product) * f64::from(scale)
                            })
                            .sum();
                        assert_eq!(f64::from(found), exact, "{level:?} {depth} {extreme}");
                    }
                }
            }
        }
    }
}
