//! Products of quantized matrices with many rows of activations, on matrix tiles (AMX).
//!
//! Weights become bf16, once for all activations of a chunk, and the tiles sum up the products in
//! single precision. With 8-bit quants they would do twice as many at once, but half of a tile would
//! be empty, since scales change every 32 weights or 16, and applying those to each sum takes longer
//! than the product. Rounding to bf16 is also kinder to activations than 255 steps.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_fmadd_ps, _mm512_load_ps,
    _mm512_load_si512, _mm512_mask_mov_epi16, _mm512_set1_epi32, _mm512_srli_epi32,
    _mm512_store_si512,
};

use super::activations::{Activations, SPARE_ROWS};
use super::formats::{Format, GROUP_LEN, SPAN_LEN};
use super::packed::{PACKED_ROWS, PackedPanel};
use super::scratch::Scratch;
use crate::compute::aligned::AlignedBuf;
use crate::compute::bf16::to_bf16_of_16;
use crate::compute::dense::amx::{ROW_BYTES, Tiles, add_products_bf16};

/// Rows of a matrix, and of activations, that are multiplied in one go: four tiles of sums.
const SIDE: usize = 32;
const _: () = assert!(SIDE <= SPARE_ROWS);
/// Columns that are multiplied in one go, a multiple of a span: the activations of [`SIDE`] tokens
/// with that many stay in the first cache.
const DEPTH: usize = 512;
const _: () = assert!(DEPTH.is_multiple_of(SPAN_LEN));
/// The largest number of rows of a band.
pub const MAX_BAND_ROWS: usize = 4 * SIDE;
/// Numbers in a tile of weights.
const TILE_LEN: usize = PACKED_ROWS * GROUP_LEN;

/// Rows that are multiplied together, a multiple of [`SIDE`]: all activations are read once for each
/// band, but there should be several bands for each of the threads.
pub fn band_rows(rows: usize, threads: usize) -> usize {
    let bands = 4 * threads;
    if rows >= bands * MAX_BAND_ROWS {
        MAX_BAND_ROWS
    } else if rows >= bands * MAX_BAND_ROWS / 2 {
        MAX_BAND_ROWS / 2
    } else {
        SIDE
    }
}

/// Some rows of a matrix, a multiple of 32, times all rows of `xs`, into the scratch's sums,
/// `[xs.rows(), rows.len()]`. More rows follow there, up to a multiple of 32: they mean nothing.
///
/// # Safety
/// The CPU has AMX and AVX-512 (F, BW, DQ, VL); every pointer is to `xs.columns() / WEIGHTS` whole
/// blocks; `xs` are bf16.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn band<F: Format>(rows: &[*const u8], xs: &Activations, scratch: &mut Scratch) {
    let Scratch { panels, bf16, sums } = scratch;
    let width = rows.len();
    let blocks_read = xs.columns() / GROUP_LEN * xs.rows() + SIDE;
    assert!(width.is_multiple_of(SIDE) && xs.bf16().len() >= blocks_read * GROUP_LEN);
    panels.resize_with(1.max(panels.len()), PackedPanel::default);
    bf16.resize(width * DEPTH);
    sums.resize(xs.rows().next_multiple_of(SIDE) * width);
    let tiles = Tiles::new(ROW_BYTES);
    for start in (0..xs.columns()).step_by(DEPTH) {
        let depth = DEPTH.min(xs.columns() - start);
        for (i, rows) in rows.chunks_exact(PACKED_ROWS).enumerate() {
            let at = start / F::WEIGHTS * F::BYTES;
            // SAFETY: the rows have these columns.
            unsafe { panels[0].unpack::<F>(std::array::from_fn(|i| rows[i].add(at)), depth) };
            write_tiles::<F>(&panels[0], i, bf16);
        }
        for first in (0..xs.rows()).step_by(SIDE) {
            for side in 0..width / SIDE {
                // SAFETY: past the last row of a block of activations there are those of the next
                // block, or the spare ones at the end; the tiles of weights were written, and the
                // sums have room for 32 rows.
                unsafe {
                    add_products_bf16(
                        &tiles,
                        xs.bf16().as_ptr().add((start / GROUP_LEN * xs.rows() + first) * GROUP_LEN),
                        xs.rows() * ROW_BYTES,
                        bf16.as_ptr().add(side * SIDE * DEPTH),
                        depth / GROUP_LEN,
                        sums.as_mut_ptr().add(first * width + side * SIDE),
                        width * size_of::<f32>(),
                        start == 0,
                    );
                }
            }
        }
    }
}

/// Writes panel `number` of a band as bf16 into `tiles`, `[rows / 32, DEPTH / 32, 2, 16, 16, 2]`: two
/// panels that share tiles of sums, pairs of columns, rows of a panel, the pair.
#[target_feature(enable = "avx512f,avx512bw")]
fn write_tiles<F: Format>(panel: &PackedPanel, number: usize, tiles: &mut AlignedBuf<u16>) {
    for (group, quants) in panel.quants().chunks_exact(TILE_LEN).enumerate() {
        let at = (number / 2 * (DEPTH / GROUP_LEN) + group) * 2 + number % 2;
        let tile = &mut tiles[at * TILE_LEN..(at + 1) * TILE_LEN];
        let quads = quants.chunks_exact(4 * PACKED_ROWS);
        for (quad, (quants, to)) in quads.zip(tile.chunks_exact_mut(4 * PACKED_ROWS)).enumerate() {
            let [scales, offsets] = &panel.scales()[(group * GROUP_LEN + 4 * quad) / F::SHARED].0;
            // SAFETY: there are 64 quants, and room for 64 numbers; all of it is aligned, because
            // buffers and scales are, and every quad takes one or two whole cache lines of them.
            unsafe {
                let scale = _mm512_load_ps(scales.as_ptr());
                let offset = _mm512_load_ps(offsets.as_ptr());
                let quants = _mm512_load_si512(quants.as_ptr().cast());
                let weights = |quants| weights(quants, scale, offset);
                let first = pairs(weights(quants), weights(_mm512_srli_epi32::<8>(quants)));
                let last = pairs(
                    weights(_mm512_srli_epi32::<16>(quants)),
                    weights(_mm512_srli_epi32::<24>(quants)),
                );
                _mm512_store_si512(to.as_mut_ptr().cast(), first);
                _mm512_store_si512(to.as_mut_ptr().add(2 * PACKED_ROWS).cast(), last);
            }
        }
    }
}

/// The weights of the lowest byte of each lane.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn weights(quants: __m512i, scale: __m512, offset: __m512) -> __m512 {
    let quants = _mm512_and_si512(quants, _mm512_set1_epi32(0xff));
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(quants), scale, offset)
}

/// Both as bf16, side by side.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pairs(low: __m512, high: __m512) -> __m512i {
    let low = _mm512_srli_epi32::<16>(to_bf16_of_16(low));
    _mm512_mask_mov_epi16(low, 0xaaaa_aaaa, to_bf16_of_16(high))
}
