//! Products of many rows of activations with matrix tiles (AMX).
//!
//! Weights are widened to bf16, once for all activations of a chunk, and the tiles sum up the
//! products in single precision. With 8-bit codes they would do twice as many at once, but half of a
//! tile would be empty, for scales change every 32 weights or 16, and applying those to each sum
//! takes longer than the product. Rounding to bf16 is also kinder to activations than 255 codes.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_castps_si512, _mm512_cvtepi32_ps,
    _mm512_fmadd_ps, _mm512_load_ps, _mm512_load_si512, _mm512_mask_mov_epi16, _mm512_set1_epi32,
    _mm512_srli_epi32, _mm512_store_si512,
};

use super::activations::Activations;
use super::aligned::Lines;
use super::avx512::{PANEL, Panel};
use super::formats::{Format, GROUP};
use super::matrix::Scratch;
use crate::compute::dense::amx::{ROW_BYTES, Tiles, add_products_bf16};

/// Rows of a matrix, and of activations, that are multiplied in one go: four tiles of sums.
const SIDE: usize = 32;
/// Columns that are multiplied in one go, a multiple of a span: of so many, the activations of
/// [`SIDE`] tokens stay in the first cache.
const DEPTH: usize = 512;
/// The most rows of a band.
pub const BAND: usize = 4 * SIDE;

/// Rows that are multiplied together, a multiple of [`PANEL`]: all activations are read once for
/// each band, but there should be several bands for each of the threads.
pub fn band(rows: usize, threads: usize) -> usize {
    let bands = 4 * threads;
    if rows >= bands * BAND {
        BAND
    } else if rows >= bands * BAND / 2 {
        BAND / 2
    } else {
        SIDE
    }
}

/// Some rows of a matrix, a multiple of 32, times all rows of `xs`, into the scratch's sums,
/// `[xs.rows, rows.len()]`; those have some rows more, which mean nothing.
///
/// # Safety
/// The CPU has AMX and AVX-512 (F, BW, DQ, VL); every pointer is to `xs.columns / WEIGHTS` whole
/// blocks; `xs` are rounded.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn products<F: Format>(rows: &[*const u8], xs: &Activations, scratch: &mut Scratch) {
    let Scratch { panels, widened, sums } = scratch;
    let width = rows.len();
    assert!(width.is_multiple_of(SIDE) && xs.rounded.len() >= xs.columns * xs.rows + SIDE * GROUP);
    panels.resize_with(1.max(panels.len()), Panel::default);
    widened.resize(width * DEPTH);
    sums.resize(xs.rows.next_multiple_of(SIDE) * width);
    let tiles = Tiles::new(ROW_BYTES);
    for start in (0..xs.columns).step_by(DEPTH) {
        let depth = DEPTH.min(xs.columns - start);
        for (i, rows) in rows.chunks_exact(PANEL).enumerate() {
            // SAFETY: the rows have these columns.
            unsafe {
                let at = start / F::WEIGHTS * F::BYTES;
                panels[0].unpack::<F>(std::array::from_fn(|i| rows[i].add(at)), depth);
                widen::<F>(&panels[0], depth, i, widened);
            }
        }
        for first in (0..xs.rows).step_by(SIDE) {
            for side in 0..width / SIDE {
                // SAFETY: past the last row of a block of activations there are others or their
                // spare room; the weights were widened, and the sums have room for 32 rows.
                unsafe {
                    add_products_bf16(
                        &tiles,
                        xs.rounded.as_ptr().add((start / GROUP * xs.rows + first) * GROUP),
                        xs.rows * ROW_BYTES,
                        widened.as_ptr().add(side * SIDE * DEPTH),
                        depth / GROUP,
                        sums.as_mut_ptr().add(first * width + side * SIDE),
                        width * size_of::<f32>(),
                        start == 0,
                    );
                }
            }
        }
    }
}

/// Writes panel `number` of a band as bf16: `[rows / 32, DEPTH / 32, 2, 16, 16, 2]`.
#[target_feature(enable = "avx512f,avx512bw")]
fn widen<F: Format>(panel: &Panel, depth: usize, number: usize, widened: &mut Lines<u16>) {
    let tile = PANEL * GROUP;
    let byte = _mm512_set1_epi32(0xff);
    for group in 0..depth / GROUP {
        let at = (number / 2 * (DEPTH / GROUP) + group) * 2 * tile + number % 2 * tile;
        let tile = &mut widened[at..at + tile];
        let codes = &panel.codes[group * GROUP * PANEL..][..GROUP * PANEL];
        for (quad, (codes, to)) in
            codes.chunks_exact(4 * PANEL).zip(tile.chunks_exact_mut(4 * PANEL)).enumerate()
        {
            let [scales, offsets] = &panel.scales[(group * GROUP + 4 * quad) / F::SHARED].0;
            // SAFETY: the codes are 64, the room is for 64 numbers, and all are aligned: `Lines`
            // and `Scales` are, and so is every quad.
            unsafe {
                let (scale, offset) =
                    (_mm512_load_ps(scales.as_ptr()), _mm512_load_ps(offsets.as_ptr()));
                let codes = _mm512_load_si512(codes.as_ptr().cast());
                let weights = |codes: __m512i| {
                    _mm512_fmadd_ps(
                        _mm512_cvtepi32_ps(_mm512_and_si512(codes, byte)),
                        scale,
                        offset,
                    )
                };
                let first = pairs(weights(codes), weights(_mm512_srli_epi32::<8>(codes)));
                let last = pairs(
                    weights(_mm512_srli_epi32::<16>(codes)),
                    weights(_mm512_srli_epi32::<24>(codes)),
                );
                _mm512_store_si512(to.as_mut_ptr().cast(), first);
                _mm512_store_si512(to.as_mut_ptr().add(2 * PANEL).cast(), last);
            }
        }
    }
}

/// Both as bf16, side by side.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pairs(low: __m512, high: __m512) -> __m512i {
    let half = _mm512_set1_epi32(0x8000);
    let low = _mm512_srli_epi32::<16>(_mm512_add_epi32(_mm512_castps_si512(low), half));
    let high = _mm512_add_epi32(_mm512_castps_si512(high), half);
    _mm512_mask_mov_epi16(low, 0xaaaa_aaaa, high)
}
