//! Intel's matrix tiles (AMX): products of 16 rows with 16 columns in one instruction.
//!
//! Rust's own functions for them are not stable yet, so the few instructions stand here in assembly.
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use std::arch::asm;
use std::cell::Cell;
use std::marker::PhantomData;

use crate::compute::simd::has_amx;

/// Rows of a tile.
pub const ROWS: usize = 16;
/// Bytes of a tile's row.
pub const ROW_BYTES: usize = 64;
/// bf16 values that a tile multiplies at once.
pub const BF16_DEPTH: usize = ROW_BYTES / 2;

/// Shapes of the eight tiles; palette 1.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Where a tile of sums is stored; a row is a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Sums<T>(pub [[T; 16]; ROWS]);

thread_local! {
    /// Whether a [`Tiles`] lives in this thread.
    static SHAPED: Cell<bool> = const { Cell::new(false) };
}

/// This thread's tiles, shaped for products of `[16, depth]` with `[depth, 16]` until this is
/// dropped: 0 to 3 for sums, 4 and 5 for rows, 6 and 7 for columns.
pub struct Tiles {
    depth_bytes: usize,
    /// Neither `Send` nor `Sync`: the shapes belong to the thread.
    thread: PhantomData<*const ()>,
}

impl Tiles {
    /// Shapes the tiles for products that are `depth_bytes` deep, a multiple of 4 up to 64.
    ///
    /// # Panics
    /// If this CPU has no tiles, or this thread has shaped its tiles already.
    pub fn new(depth_bytes: usize) -> Self {
        assert!(depth_bytes.is_multiple_of(4) && (4..=ROW_BYTES).contains(&depth_bytes));
        assert!(has_amx() && !SHAPED.get());
        let mut shapes = Shapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        for tile in 0..8 {
            shapes.row_bytes[tile] = ROW_BYTES as u16;
            shapes.rows[tile] = ROWS as u8;
            match tile {
                4 | 5 => shapes.row_bytes[tile] = depth_bytes as u16,
                6 | 7 => shapes.rows[tile] = (depth_bytes / 4) as u8,
                _ => {}
            }
        }
        // SAFETY: the CPU has the instruction, which reads the shapes' 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
        SHAPED.set(true);
        Self { depth_bytes, thread: PhantomData }
    }

    /// The product of `rows`, `[16, depth]` in bf16, with `columns` in pairs along the depth,
    /// `[depth / 2, 16]`, summed in single precision. It goes to the beginning of `out` and of every
    /// `stride` values after it: 16 rows of 16.
    ///
    /// # Panics
    /// If the tiles were not shaped for 64 bytes, the depth is no multiple of 32, or a slice is too
    /// short.
    #[inline]
    pub fn product_bf16(&self, rows: &[u16], columns: &[u32], out: &mut [f32], stride: usize) {
        let depth = rows.len() / ROWS;
        assert!(self.depth_bytes == ROW_BYTES && depth.is_multiple_of(BF16_DEPTH));
        assert!(rows.len() == ROWS * depth && columns.len() == depth / 2 * 16);
        let end = stride.checked_mul(ROWS - 1).and_then(|last| last.checked_add(16));
        assert!(end.is_some_and(|end| end <= out.len()));
        let (rows, columns, out) = (rows.as_ptr(), columns.as_ptr().cast(), out.as_mut_ptr());
        // SAFETY: the tiles are shaped for 64 bytes, and the slices are as long as checked above.
        unsafe {
            let steps = depth / BF16_DEPTH;
            product_bf16(self, rows, 2 * depth, columns, steps, out, size_of::<f32>() * stride);
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // Without tiles in use, the system has nothing to keep when it switches threads.
        SHAPED.set(false);
        // SAFETY: the tiles were shaped in this thread, so the CPU has the instruction.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem)
            );
        };
    }
}

/// Defines `sums = rows · columns` for one pair of tiles; `$lane` is one of the two sets of
/// registers, so that neighbouring products need not wait for each other.
macro_rules! product {
    ($(#[$doc:meta])* $name:ident, $out:ty, $instruction:literal, $sums:tt, $rows:tt, $columns:tt) => {
        $(#[$doc])*
        #[inline]
        pub unsafe fn $name(
            _: &Tiles,
            rows: *const u8,
            stride: usize,
            columns: *const u8,
            sums: &mut Sums<$out>,
        ) {
            // SAFETY: as the caller promises.
            unsafe {
                asm!(
                    concat!("tilezero ", $sums),
                    concat!("tileloadd ", $rows, ", [{rows} + {stride}*1]"),
                    concat!("tileloadd ", $columns, ", [{columns} + {sixty_four}*1]"),
                    concat!($instruction, " ", $sums, ", ", $rows, ", ", $columns),
                    concat!("tilestored [{sums} + {sixty_four}*1], ", $sums),
                    rows = in(reg) rows,
                    stride = in(reg) stride,
                    columns = in(reg) columns,
                    sixty_four = in(reg) ROW_BYTES,
                    sums = in(reg) &raw mut *sums,
                    out($sums) _, out($rows) _, out($columns) _,
                    options(nostack)
                );
            }
        }
    };
}

product!(
    /// Signed 8-bit integers: `[16, depth] · [depth / 4, 16, 4]`.
    ///
    /// # Safety
    /// `rows` has 16 rows of the depth that the tiles were shaped for, `stride` bytes apart;
    /// `columns` has `depth / 4` rows of 64 bytes.
    product_i8, i32, "tdpbssd", "tmm0", "tmm4", "tmm6"
);

product!(
    /// [`product_i8`] in other registers.
    ///
    /// # Safety
    /// As there.
    product_i8_beside, i32, "tdpbssd", "tmm1", "tmm5", "tmm7"
);

/// bf16 numbers, summed in single precision: `[16, 32 · steps] · [32 · steps, 16]`, where columns
/// lie by pairs, `[16 · steps, 16, 2]`. Both strides are in bytes.
///
/// # Safety
/// The tiles were shaped for 64 bytes; `rows` has 16 rows of `64 · steps` bytes, `columns`
/// `1024 · steps` bytes, and `out` room for 16 rows of 64 bytes.
#[inline]
unsafe fn product_bf16(
    _: &Tiles,
    rows: *const u16,
    stride: usize,
    columns: *const u16,
    steps: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "tilezero tmm2",
            "test {steps}, {steps}",
            "jz 3f",
            "2:",
            "tileloadd tmm4, [{rows} + {stride}*1]",
            "tileloadd tmm6, [{columns} + {sixty_four}*1]",
            "tdpbf16ps tmm2, tmm4, tmm6",
            "add {rows}, 64",
            "add {columns}, 1024",
            "dec {steps}",
            "jnz 2b",
            "3:",
            "tilestored [{out} + {out_stride}*1], tmm2",
            rows = inout(reg) rows => _,
            stride = in(reg) stride,
            columns = inout(reg) columns => _,
            sixty_four = in(reg) ROW_BYTES,
            steps = inout(reg) steps => _,
            out = in(reg) out,
            out_stride = in(reg) out_stride,
            out("tmm2") _, out("tmm4") _, out("tmm6") _,
            options(nostack)
        );
    }
}

/// Adds products of bf16 to `sums`, `[32, 32]` with rows `stride` bytes apart, or with `fresh` puts
/// them there: `[32, 32 · steps] · [32 · steps, 32]`.
///
/// Rows and columns come in steps of 32 of the depth. Those of `rows` are `step_bytes` apart, each
/// `[32, 32]`; those of `columns` are neighbours, each `[2, 16, 16, 2]`: two halves of the columns,
/// pairs along the depth, a column of the half, the pair.
///
/// # Safety
/// The tiles were shaped for 64 bytes; `steps` is at least one, and all of that is there.
#[inline]
#[allow(clippy::too_many_arguments, reason = "what a matrix product needs")]
pub unsafe fn add_products_bf16(
    _: &Tiles,
    rows: *const u16,
    step_bytes: usize,
    columns: *const u16,
    steps: usize,
    sums: *mut f32,
    stride: usize,
    fresh: bool,
) {
    const HALF: usize = ROWS * ROW_BYTES;
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "test {fresh}, {fresh}",
            "jnz 2f",
            "tileloadd tmm0, [{sums} + {stride}*1]",
            "tileloadd tmm1, [{sums} + {stride}*1 + 64]",
            "tileloadd tmm2, [{lower} + {stride}*1]",
            "tileloadd tmm3, [{lower} + {stride}*1 + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm6, [{columns} + {sixty_four}*1]",
            "tileloadd tmm4, [{rows} + {sixty_four}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{columns} + {sixty_four}*1 + {half}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{rows} + {sixty_four}*1 + {half}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {rows}, {step}",
            "add {columns}, {both}",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{sums} + {stride}*1], tmm0",
            "tilestored [{sums} + {stride}*1 + 64], tmm1",
            "tilestored [{lower} + {stride}*1], tmm2",
            "tilestored [{lower} + {stride}*1 + 64], tmm3",
            rows = inout(reg) rows => _,
            columns = inout(reg) columns => _,
            steps = inout(reg) steps => _,
            step = in(reg) step_bytes,
            sums = in(reg) sums,
            lower = in(reg) sums.byte_add(ROWS * stride),
            stride = in(reg) stride,
            sixty_four = in(reg) ROW_BYTES,
            fresh = in(reg) usize::from(fresh),
            half = const HALF,
            both = const 2 * HALF,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::skipped;

    #[test]
    fn tiles_multiply_as_plain_loops_do() {
        if !has_amx() {
            return skipped("products of 8-bit matrix tiles", "AMX");
        }
        for depth in [4, 16, 32, 64] {
            let stride = depth + 3;
            let code = |i: usize| (i * 37 % 256) as u8;
            let rows: Vec<u8> = (0..ROWS * stride).map(code).collect();
            let columns: Vec<u8> = (0..depth * 16).map(|i| code(3 * i + 5)).collect();
            let mut sums = [Sums([[7; 16]; ROWS]); 2];
            // SAFETY: it is available, and the slices have these sizes.
            unsafe {
                let tiles = Tiles::new(depth);
                let (rows, columns) = (rows.as_ptr(), columns.as_ptr());
                product_i8(&tiles, rows, stride, columns, &mut sums[0]);
                product_i8_beside(&tiles, rows, stride, columns, &mut sums[1]);
            }
            for (i, j) in (0..ROWS).flat_map(|i| (0..16).map(move |j| (i, j))) {
                let exact: i32 = (0..depth)
                    .map(|k| {
                        let column = columns[(k / 4 * 16 + j) * 4 + k % 4];
                        let row = rows[i * stride + k];
                        i32::from(row.cast_signed()) * i32::from(column.cast_signed())
                    })
                    .sum();
                assert_eq!([sums[0].0[i][j], sums[1].0[i][j]], [exact; 2], "{depth} {i} {j}");
            }
        }
    }

    #[test]
    fn bf16_tiles_multiply_as_plain_loops_do() {
        if !has_amx() {
            return skipped("products of bf16 matrix tiles", "AMX");
        }
        let bf16 = |i: usize| half::bf16::from_f32((i * 37 % 64) as f32 - 31.0);
        for steps in [0, 1, 3] {
            let (depth, stride) = (32 * steps, 32 * steps + 8);
            let rows: Vec<_> = (0..ROWS * stride).map(bf16).collect();
            let columns: Vec<_> = (0..depth * 16).map(|i| bf16(i * 5 + 3)).collect();
            let mut out = [[f32::NAN; 20]; ROWS];
            // SAFETY: it is available, and the slices have these sizes.
            unsafe {
                let tiles = Tiles::new(ROW_BYTES);
                let (rows, columns) = (rows.as_ptr().cast(), columns.as_ptr().cast());
                let to = out.as_mut_ptr().cast();
                product_bf16(&tiles, rows, 2 * stride, columns, steps, to, 80);
            }
            for (i, j) in (0..ROWS).flat_map(|i| (0..16).map(move |j| (i, j))) {
                let exact: f32 = (0..depth)
                    .map(|k| {
                        let column = columns[(k / 2 * 16 + j) * 2 + k % 2];
                        rows[i * stride + k].to_f32() * column.to_f32()
                    })
                    .sum();
                assert_eq!(out[i][j], exact, "{steps} {i} {j}");
                assert!(out[i][16].is_nan());
            }
        }
    }

    #[test]
    fn tiles_of_bf16_are_added_as_plain_loops_do() {
        if !has_amx() {
            return skipped("sums of bf16 matrix tiles", "AMX");
        }
        let (steps, rows_apart, stride) = (3, 40, 48);
        let number = |i: usize| half::bf16::from_f32((i * 37 % 101) as f32 / 16.0 - 3.0);
        let rows: Vec<u16> = (0..steps * rows_apart * 32).map(|i| number(i).to_bits()).collect();
        let columns: Vec<u16> = (0..steps * 1024).map(|i| number(i * 3).to_bits()).collect();
        let mut sums = vec![1f32; 32 * stride];
        for (pass, fresh) in [(1, false), (2, false), (1, true)] {
            // SAFETY: it is available, and the slices have these sizes.
            unsafe {
                let tiles = Tiles::new(ROW_BYTES);
                let (rows, columns) = (rows.as_ptr(), columns.as_ptr());
                let sums = sums.as_mut_ptr();
                let apart = rows_apart * 64;
                add_products_bf16(&tiles, rows, apart, columns, steps, sums, 4 * stride, fresh);
            }
            for (i, j) in (0..32).flat_map(|i| (0..32).map(move |j| (i, j))) {
                let exact: f32 = (0..steps * 32)
                    .map(|k| {
                        let (step, k) = (k / 32, k % 32);
                        let pair = ((step * 2 + j / 16) * 16 + k / 2) * 16 + j % 16;
                        let row = number((step * rows_apart + i) * 32 + k);
                        f32::from(row) * f32::from(number((pair * 2 + k % 2) * 3))
                    })
                    .sum();
                let expected = exact * pass as f32 + if fresh { 0.0 } else { 1.0 };
                let found = sums[i * stride + j];
                assert!((found - expected).abs() < 0.01, "{i} {j}: {found}, not {expected}");
            }
        }
    }
}
