//! Matrix products by tiles: a few rows of activations times a panel of sixteen columns of weights.
//!
//! The layout is that of BLIS (Van Zee and van de Geijn 2015): weights are packed once, so that a
//! panel is read front to back, and a tile of the result stays in registers. The instructions are
//! behind functions that check their slices.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
use super::amx::Tiles;
use crate::compute::simd::{InstructionSet, SimdLevel};

/// Columns of a panel.
pub const PANEL: usize = 16;
/// The most rows of a tile in 32-bit floating point.
pub const ROWS: usize = 12;
/// The most rows of a tile of 8-bit codes.
pub const CODE_ROWS: usize = 16;
/// Values that share a scale along the depth of a product of codes.
pub const GROUP: usize = 64;
/// The largest code of a weight, which is stored with [`weight_zero`] added. Seven bits: two
/// products with activations of eight then fit into the 16 bits that AVX2 adds them in.
pub const WEIGHT_MAX: f32 = 63.0;

/// What stands for a weight of zero: the vectors of x86-64 multiply unsigned with signed codes;
/// matrix tiles and NEON, signed ones.
pub fn weight_zero(level: SimdLevel) -> i32 {
    match level.instructions() {
        InstructionSet::Amx | InstructionSet::Neon | InstructionSet::Dotprod => 0,
        _ => 64,
    }
}

/// A row of a panel, in one line of the cache: a vector of 512 bits across two costs two reads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [f32; PANEL]);

#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The last row begins inside.
    values: &'a [f32],
    stride: usize,
    /// 1 to [`ROWS`].
    count: usize,
}

impl<'a> Rows<'a> {
    /// `count` rows, 1 to [`ROWS`], of which the first begins with `values` and each other `stride`
    /// values after the one before it.
    ///
    /// # Panics
    /// If there are no such rows in `values`.
    #[inline]
    pub fn new(values: &'a [f32], stride: usize, count: usize) -> Self {
        assert!((1..=ROWS).contains(&count));
        assert!(stride.checked_mul(count - 1).is_some_and(|last| last <= values.len()));
        Self { values, stride, count }
    }

    /// Panics unless every row is as deep as the panel.
    #[inline]
    fn check(&self, panel: &[Line]) {
        // `new` has made sure that neither wraps.
        assert!(self.values.len() - (self.count - 1) * self.stride >= panel.len());
    }
}

/// Where a tile goes: as many rows of sixteen, or of 32 for two panels, as there are rows.
pub struct Out<'a> {
    values: &'a mut [f32],
    stride: usize,
}

impl<'a> Out<'a> {
    /// The first row begins with `values`, and each other `stride` values after the one before it.
    #[inline]
    pub fn new(values: &'a mut [f32], stride: usize) -> Self {
        Self { values, stride }
    }

    /// Panics unless there is room for `count` rows, at least one, of `columns` values.
    #[inline]
    fn check(&self, count: usize, columns: usize) {
        let end = self.stride.checked_mul(count - 1).and_then(|last| last.checked_add(columns));
        assert!(end.is_some_and(|end| end <= self.values.len()));
    }

    fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.stride..][..PANEL]
    }
}

/// Asks for weights long before they are needed: they come from the third cache or from memory,
/// which answer after hundreds of cycles, and a step of the depth takes twelve at most.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch<T>(weights: *const T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    const AHEAD: usize = 4096;
    // SAFETY: nothing is read, whatever is there.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(weights.cast::<i8>().wrapping_add(AHEAD)) };
}

/// `rows · panel`: the panel is `[depth, 16]`, and as deep are the rows.
#[inline]
pub fn product(level: SimdLevel, rows: Rows, panel: &[Line], mut out: Out) {
    rows.check(panel);
    out.check(rows.count, PANEL);
    match level.instructions() {
        // SAFETY: a level proves that this CPU has its instructions, and the slices were checked.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Amx => unsafe {
            avx512::product(&rows, panel, &mut out);
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 | InstructionSet::Vnni => unsafe { avx2::product(rows, panel, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon | InstructionSet::Dotprod => unsafe {
            neon::product(rows, panel, out)
        },
        _ => portable_product(rows, panel, out),
    }
}

/// [`product`] with two panels, whose tiles come to lie side by side.
///
/// `rows` and `out` go on by reference and are never copied: to read back as vectors what was just
/// written as words stalls the pipeline, for 3 % of an encoder's time.
///
/// # Panics
/// If the panels differ in depth, the rows are not as deep, or there is no room for the tiles.
#[inline]
pub fn product_two(level: SimdLevel, rows: Rows, panels: [&[Line]; 2], mut out: Out) {
    #[cfg(target_arch = "x86_64")]
    if level.has(InstructionSet::Avx512) {
        for panel in panels {
            rows.check(panel);
        }
        assert_eq!(panels[0].len(), panels[1].len());
        out.check(rows.count, 2 * PANEL);
        // SAFETY: a level proves that this CPU has its instructions, and the slices were checked.
        return unsafe { avx512::product_two(&rows, panels, &mut out) };
    }
    let Out { values, stride } = out;
    product(level, rows, panels[0], Out { values, stride });
    product(level, rows, panels[1], Out { values: &mut values[PANEL..], stride });
}

fn portable_product(rows: Rows, panel: &[Line], mut out: Out) {
    for i in 0..rows.count {
        let mut sums = [0f32; PANEL];
        for (x, weights) in rows.values[i * rows.stride..].iter().zip(panel) {
            for (sum, weight) in sums.iter_mut().zip(&weights.0) {
                *sum += x * weight;
            }
        }
        out.row(i).copy_from_slice(&sums);
    }
}

/// Rows of activations in 8-bit codes.
#[derive(Clone, Copy)]
pub struct CodeRows<'a> {
    /// `[16, depth]`: there are always sixteen.
    pub codes: &'a [i8],
    /// `[depth / 64, 16]`
    pub scales: &'a [f32],
    /// What the weights' zero adds to a group's products, to be taken off: −[`weight_zero`] · the
    /// sum of its codes. `[depth / 64, 16]`
    pub offsets: &'a [i32],
    /// Rows whose products are wanted, 1 to 16.
    pub count: usize,
}

/// A panel of weights in codes.
#[derive(Clone, Copy)]
pub struct CodePanel<'a> {
    /// `[depth / 4, 16, 4]`
    pub codes: &'a [u8],
    /// `[depth / 64, 16]`
    pub scales: &'a [f32],
}

/// A thread's products of codes; matrix tiles are set up once for many of them.
pub struct CodeProducts {
    level: SimdLevel,
    #[cfg(target_arch = "x86_64")]
    tiles: Option<Tiles>,
}

impl CodeProducts {
    /// Gets ready.
    ///
    /// # Panics
    /// If there are matrix tiles and this thread uses them already.
    pub fn new(level: SimdLevel) -> Self {
        Self {
            level,
            #[cfg(target_arch = "x86_64")]
            tiles: level.has(InstructionSet::Amx).then(|| Tiles::new(GROUP)),
        }
    }

    /// What they are computed with.
    pub fn level(&self) -> SimdLevel {
        self.level
    }

    /// As [`product`], in integers within each group of 64. `depth` is a multiple of 64.
    ///
    /// # Panics
    /// If the slices do not fit together, or there is no room for the tile.
    pub fn product(&self, rows: CodeRows, panel: CodePanel, out: Out) {
        let groups = panel.scales.len() / PANEL;
        let depth = groups * GROUP;
        assert!((1..=CODE_ROWS).contains(&rows.count));
        assert!(panel.codes.len() == depth * PANEL && panel.scales.len() == groups * PANEL);
        assert!(rows.codes.len() == CODE_ROWS * depth);
        assert!(rows.scales.len() == CODE_ROWS * groups);
        assert!(rows.offsets.len() == CODE_ROWS * groups);
        out.check(rows.count, PANEL);
        // SAFETY: a level proves that this CPU has its instructions, and the slices were checked.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match (self.level.instructions(), &self.tiles) {
                (_, Some(tiles)) => avx512::code_product_tiles(tiles, rows, panel, out),
                (InstructionSet::Avx512, _) => avx512::code_product(rows, panel, out),
                (InstructionSet::Vnni, _) if is_x86_feature_detected!("avxvnni") => {
                    avx2::code_product_avx_vnni(rows, panel, out);
                }
                (InstructionSet::Vnni, _) => avx2::code_product_avx512_vnni(rows, panel, out),
                (InstructionSet::Avx2, _) => avx2::code_product(rows, panel, out),
                _ => portable_code_product(rows, panel, out),
            }
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            match self.level.instructions() {
                InstructionSet::Dotprod => neon::code_product_dots(rows, panel, out),
                InstructionSet::Neon => neon::code_product(rows, panel, out),
                _ => portable_code_product(rows, panel, out),
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        portable_code_product(rows, panel, out);
    }
}

fn portable_code_product(rows: CodeRows, panel: CodePanel, mut out: Out) {
    let groups = panel.scales.len() / PANEL;
    for row in 0..rows.count {
        let mut sums = [0f32; PANEL];
        let parts = panel.codes.chunks_exact(GROUP * PANEL).zip(panel.scales.chunks_exact(PANEL));
        for (group, (weights, scales)) in parts.enumerate() {
            let at = group * CODE_ROWS + row;
            let mut products = [rows.offsets[at]; PANEL];
            let codes = rows.codes[(row * groups + group) * GROUP..][..GROUP].chunks_exact(4);
            for (codes, weights) in codes.zip(weights.chunks_exact(4 * PANEL)) {
                for (product, weights) in products.iter_mut().zip(weights.chunks_exact(4)) {
                    for (&code, &weight) in codes.iter().zip(weights) {
                        *product += i32::from(code) * i32::from(weight);
                    }
                }
            }
            for ((sum, product), scale) in sums.iter_mut().zip(products).zip(scales) {
                *sum += product as f32 * rows.scales[at] * scale;
            }
        }
        out.row(row).copy_from_slice(&sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "x86_64")]
    use crate::compute::skipped;
    use crate::support::random::SplitMix64;

    #[test]
    fn every_level_multiplies_as_plain_loops_do() {
        for level in SimdLevel::all_of_test("products of tiles") {
            for (depth, count) in [0, 1, 2, 7, 32, 384].into_iter().zip([12, 1, 5, 12, 7, 11]) {
                let mut random = SplitMix64::new(depth as u64 + 1);
                let mut value = || (2.0 * random.next() - 1.0) as f32;
                let stride = depth + 3;
                let values: Vec<f32> = (0..ROWS * stride).map(|_| value()).collect();
                let mut line = || Line(std::array::from_fn(|_| value()));
                let panel: Vec<Line> = (0..depth).map(|_| line()).collect();
                let mut out = [f32::NAN; ROWS * 20];
                let rows = Rows::new(&values, stride, count);
                product(level, rows, &panel, Out::new(&mut out, 20));
                let reversed: Vec<Line> = panel.iter().rev().copied().collect();
                let mut two = [f32::NAN; ROWS * 36];
                product_two(level, rows, [&panel, &reversed], Out::new(&mut two, 36));
                let mut second = [f32::NAN; ROWS * 20];
                product(level, rows, &reversed, Out::new(&mut second, 20));
                let each = out.chunks_exact(20).zip(second.chunks_exact(20));
                for (two, (first, second)) in two.chunks_exact(36).zip(each) {
                    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(two), bits(&[&first[..PANEL], second].concat()), "{level:?}");
                }
                let exact = |row: usize, column: usize| -> f64 {
                    let term = |k: usize| {
                        f64::from(values[row * stride + k]) * f64::from(panel[k].0[column])
                    };
                    (0..depth).map(term).sum()
                };
                for (at, &found) in out.iter().enumerate() {
                    let (row, column) = (at / 20, at % 20);
                    if row >= count || column >= PANEL {
                        assert!(found.is_nan(), "{level:?} writes beside the tile");
                    } else {
                        let difference = f64::from(found) - exact(row, column);
                        assert!(difference.abs() < 1e-4, "{level:?} {depth}");
                    }
                }
            }
        }
    }

    /// Rows of codes and a panel, of random or of the most extreme values.
    #[test]
    fn every_level_multiplies_codes_exactly() {
        let cases = [(64, false, 1), (384, false, 16), (1536, false, 13), (384, true, 7)];
        for (level, (depth, extreme, count)) in SimdLevel::all_of_test("products of codes")
            .into_iter()
            .flat_map(|level| cases.map(|case| (level, case)))
        {
            let mut random = SplitMix64::new(depth as u64 + 7);
            let groups = depth / GROUP;
            let mut code = |max: i32| match extreme {
                true => [max, -max][random.below(2)],
                false => random.below(2 * max as usize + 1) as i32 - max,
            };
            let codes: Vec<i8> = (0..CODE_ROWS * depth).map(|_| code(127) as i8).collect();
            let weights: Vec<i32> = (0..depth * PANEL).map(|_| code(63)).collect();
            let zero = weight_zero(level);
            let packed: Vec<u8> = weights.iter().map(|weight| (weight + zero) as u8).collect();
            // Powers of two, so that the result is exact.
            let scales: Vec<f32> = (0..groups * PANEL).map(|i| [0.5, 1.0, 2.0][i % 3]).collect();
            let of_rows: Vec<f32> =
                (0..CODE_ROWS * groups).map(|i| [1.0, 0.25, 4.0][i % 3]).collect();
            let offset = |i: usize| {
                let (group, row) = (i / CODE_ROWS, i % CODE_ROWS);
                let codes = &codes[(row * groups + group) * GROUP..][..GROUP];
                -zero * codes.iter().map(|&code| i32::from(code)).sum::<i32>()
            };
            let offsets: Vec<i32> = (0..CODE_ROWS * groups).map(offset).collect();
            let rows = CodeRows { codes: &codes, scales: &of_rows, offsets: &offsets, count };
            let panel = CodePanel { codes: &packed, scales: &scales };
            let mut out = [f32::NAN; CODE_ROWS * 20];
            CodeProducts::new(level).product(rows, panel, Out { values: &mut out, stride: 20 });
            for (i, out) in out.chunks_exact(20).enumerate() {
                for (column, found) in out.iter().enumerate() {
                    if i >= count || column >= PANEL {
                        assert!(found.is_nan(), "{level:?} writes beside the tile");
                        continue;
                    }
                    let exact: f64 = (0..depth)
                        .map(|k| {
                            let weight = weights[(k / 4 * PANEL + column) * 4 + k % 4];
                            let scale = scales[k / GROUP * PANEL + column]
                                * of_rows[k / GROUP * CODE_ROWS + i];
                            f64::from(i32::from(codes[i * depth + k]) * weight) * f64::from(scale)
                        })
                        .sum();
                    assert_eq!(f64::from(*found), exact, "{level:?} {depth} {extreme}");
                }
            }
        }
    }

    /// Sizes whose product wraps to a small number are not taken for small.
    #[test]
    fn strides_that_overflow_are_refused() {
        let refused = |stride, count| {
            std::panic::catch_unwind(|| Rows::new(&[0.0; 8], stride, count).count).is_err()
        };
        assert!(refused(usize::MAX / 2 + 1, 3) && refused(usize::MAX, 2) && refused(9, 2));
        assert!(refused(0, 0) && refused(0, ROWS + 1) && !refused(8, 2) && !refused(0, ROWS));
        for stride in [usize::MAX / 2 + 1, usize::MAX, 1] {
            let product = || {
                let rows = Rows::new(&[0.0; 8], 1, 3);
                product(SimdLevel::detect(), rows, &[], Out::new(&mut [0.0; PANEL], stride));
            };
            assert!(std::panic::catch_unwind(product).is_err(), "{stride}");
        }
    }

    /// CPUs that have both kinds of VNNI take the other one.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vnni_of_avx512_on_vectors_of_256_bits_multiplies_as_avx2_does() {
        if !(is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl")) {
            return skipped("VNNI of AVX-512 on vectors of 256 bits", "AVX-512 VNNI");
        }
        let mut random = SplitMix64::new(5);
        let codes: Vec<i8> = (0..CODE_ROWS * GROUP).map(|_| random.below(255) as i8).collect();
        let weights: Vec<u8> = (0..GROUP * PANEL).map(|_| random.below(128) as u8).collect();
        let (scales, offsets) = ([0.5; PANEL], [-7; CODE_ROWS]);
        let rows = CodeRows { codes: &codes, scales: &scales, offsets: &offsets, count: 13 };
        let panel = CodePanel { codes: &weights, scales: &scales };
        let mut found = [[f32::NAN; CODE_ROWS * PANEL]; 2];
        let [first, second] = found.each_mut().map(|values| Out { values, stride: PANEL });
        // SAFETY: the instructions are there, and the slices as long as they should be.
        unsafe {
            avx2::code_product(rows, panel, first);
            avx2::code_product_avx512_vnni(rows, panel, second);
        }
        assert_eq!(found[0].map(f32::to_bits), found[1].map(f32::to_bits));
        assert!(found[0][12 * PANEL].is_finite() && found[0][13 * PANEL].is_nan());
    }
}
