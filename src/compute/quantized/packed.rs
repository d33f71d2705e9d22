//! Sixteen rows of a matrix, unpacked from their blocks for the kernels of AVX-512 and AMX.

use std::arch::x86_64::{__m256i, _mm256_set1_epi8, _mm256_storeu_si256, _mm256_xor_si256};

use super::avx2::transposed;
use super::formats::{Format, GROUP_LEN, SPAN_LEN, UNSIGNED_OFFSET, span_bytes};
use crate::compute::aligned::AlignedBuf;

/// Rows of a packed panel: one for each 32-bit lane of 512 bits.
pub const PACKED_ROWS: usize = 16;
/// Bytes of a panel's quants for a group.
const GROUP_BYTES: usize = GROUP_LEN * PACKED_ROWS;
const SPAN_GROUPS: usize = SPAN_LEN / GROUP_LEN;

/// Scales and offsets of sixteen rows, in that order; each is a cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct PackedScales(pub [[f32; PACKED_ROWS]; 2]);

#[derive(Default)]
pub struct PackedPanel {
    columns: usize,
    /// Unsigned, `[columns / 32, 8, 16, 4]`: by group, four weights, and row.
    quants: AlignedBuf<u8>,
    /// `[columns / F::SHARED]`
    scales: Vec<PackedScales>,
}

impl PackedPanel {
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Unsigned, `[columns / 32, 8, 16, 4]`, at the beginning of a cache line.
    pub fn quants(&self) -> &[u8] {
        &self.quants
    }

    /// `[columns / F::SHARED]` of the format that was unpacked.
    pub fn scales(&self) -> &[PackedScales] {
        &self.scales
    }

    /// Unpacks `columns` weights of each row.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; every pointer is to `columns / WEIGHTS` whole blocks.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn unpack<F: Format>(&mut self, rows: [*const u8; PACKED_ROWS], columns: usize) {
        let scales_of_group = GROUP_LEN / F::SHARED;
        self.columns = columns;
        self.quants.resize(columns * PACKED_ROWS);
        self.scales.resize(columns / F::SHARED, PackedScales::default());
        for span in 0..columns.div_ceil(SPAN_LEN) {
            let first = span * SPAN_GROUPS;
            let groups = SPAN_GROUPS.min(columns / GROUP_LEN - first);
            let spans = rows.map(|row| row.wrapping_add(span * span_bytes::<F>()));
            let scales =
                &mut self.scales[first * scales_of_group..(first + groups) * scales_of_group];
            // SAFETY: every row has these groups.
            unsafe { unpack_scales::<F>(spans, groups, scales) };
            let quants = self.quants[first * GROUP_BYTES..].chunks_exact_mut(GROUP_BYTES);
            for (group, quants) in quants.take(groups).enumerate() {
                // SAFETY: every row has this group.
                unsafe { unpack_group::<F>(spans, group, quants) };
            }
        }
    }
}

/// # Safety
/// The CPU has AVX2, FMA and F16C; every pointer is to `groups` groups of a span.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn unpack_scales<F: Format>(
    spans: [*const u8; PACKED_ROWS],
    groups: usize,
    packed: &mut [PackedScales],
) {
    let (mut scales, mut offsets) = ([0f32; SPAN_LEN / 16], [0f32; SPAN_LEN / 16]);
    for (row, span) in spans.into_iter().enumerate() {
        // SAFETY: as the caller promises; the arrays have room for the scales of a span.
        unsafe { F::scales(span, groups, scales.as_mut_ptr(), offsets.as_mut_ptr()) };
        for ((packed, scale), offset) in packed.iter_mut().zip(&scales).zip(&offsets) {
            packed.0[0][row] = *scale;
            packed.0[1][row] = if F::IS_SIGNED { UNSIGNED_OFFSET * scale } else { *offset };
        }
    }
}

/// # Safety
/// The CPU has AVX2, FMA and F16C; every pointer is to more than `group` groups of a span.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn unpack_group<F: Format>(
    spans: [*const u8; PACKED_ROWS],
    group: usize,
    packed: &mut [u8],
) {
    assert_eq!(packed.len(), GROUP_BYTES);
    for half in 0..2 {
        // SAFETY: as the caller promises.
        let eight_rows =
            std::array::from_fn(|row| unsafe { F::quants(spans[8 * half + row], group) });
        for (quad, quants) in transposed(eight_rows).into_iter().enumerate() {
            let unsigned = if F::IS_SIGNED {
                _mm256_xor_si256(quants, _mm256_set1_epi8(-128))
            } else {
                quants
            };
            // SAFETY: eight quads of 64 bytes fill the group, and a half is 32 of them.
            unsafe {
                let to = packed.as_mut_ptr().add(4 * PACKED_ROWS * quad + 32 * half);
                _mm256_storeu_si256(to.cast::<__m256i>(), unsigned);
            }
        }
    }
}
