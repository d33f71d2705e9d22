//! A linear layer with its weights packed for [`crate::compute::dense::tile`].

#![allow(unsafe_code, reason = "calls kernels; moves behind safe functions of `compute`")]

use std::ops::Range;

use anyhow::Result;

use super::checkpoint::{Checkpoint, Table};
use crate::compute::SimdLevel;
use crate::compute::dense::rows::{self, Finish};
use crate::compute::dense::tile::{
    CODE_ROWS, CodePanel, CodeProducts, CodeRows, GROUP, Line, Out, PANEL, ROWS, Rows, product,
    product_two, weight_zero,
};
use crate::compute::pool::{DisjointSlices, parallel_for, threads};
use crate::models::catalogue::Precision;

/// Rows that go through all panels of a part of a matrix together: they stay in the first caches.
const BLOCK: usize = 48;
/// The same of codes, whose tiles are multiplied much faster than the second cache gives them.
const CODE_BLOCK: usize = 32;

/// `x · Wᵀ + b`
pub struct Linear {
    inputs: usize,
    outputs: usize,
    /// As many as all panels have columns.
    bias: Vec<f32>,
    weights: Weights,
}

/// Panels of sixteen outputs; the last is filled up with zeros.
enum Weights {
    /// `[panels, inputs]` lines of sixteen.
    F32(Vec<Line>),
    /// Codes `[panels, inputs / 4, 16, 4]` and scales `[panels, inputs / 64, 16]`.
    Int8 { codes: Vec<u8>, scales: Vec<f32> },
}

/// Activations in codes; the room for them serves many products.
#[derive(Default)]
pub struct Codes {
    /// `[rows, inputs]`; the last tile of rows is whole.
    codes: Vec<i8>,
    /// `[rows / 16, inputs / 64, 16]`
    scales: Vec<f32>,
    /// `[rows / 16, inputs / 64, 16]`
    offsets: Vec<i32>,
}

impl Linear {
    /// The layers `names` side by side: their weights, each `[outputs, inputs]`, and biases.
    pub fn load(
        tensors: &Checkpoint,
        names: &[&str],
        outputs: usize,
        inputs: usize,
        precision: Precision,
    ) -> Result<Self> {
        let mut bias = Vec::new();
        let mut tables = Vec::new();
        for name in names {
            tables.push(tensors.table(&format!("{name}.weight"), outputs, inputs)?);
            bias.extend(tensors.vector(&format!("{name}.bias"), outputs)?);
        }
        let outputs = outputs * names.len();
        let panels = outputs.div_ceil(PANEL);
        bias.resize(panels * PANEL, 0.0);
        // Without a whole number of groups there are no codes.
        let weights = if precision == Precision::Int8 && inputs.is_multiple_of(GROUP) {
            pack_codes(&tables, panels, inputs)
        } else {
            pack(&tables, panels, inputs)
        };
        Ok(Self { inputs, outputs, bias, weights })
    }

    /// Multiply-additions for one row.
    pub fn operations(&self) -> usize {
        self.inputs * self.outputs
    }

    /// `xs`, `[rows, inputs]`, times the weights, into `out`, `[rows, outputs]`. What `room` holds
    /// does not matter.
    pub fn forward(&self, xs: &[f32], room: &mut Codes, out: &mut [f32], finish: Finish) {
        let count = xs.len() / self.inputs;
        assert_eq!(out.len(), count * self.outputs);
        let level = SimdLevel::detect();
        let out = DisjointSlices::new(out);
        let panels = self.bias.len() / PANEL;
        let (block_rows, panels_at_once) = match self.weights {
            Weights::F32(_) => (BLOCK, 2),
            Weights::Int8 { .. } => (CODE_BLOCK, 1),
        };
        // Many rows: each core takes some, with all panels. Few: each core takes some panels.
        let blocks = count.div_ceil(block_rows);
        let steps = panels.div_ceil(panels_at_once);
        let cuts = if blocks >= 4 * threads() { 1 } else { (8 * threads()).min(steps) };
        let each = |some: Range<usize>, work: &mut dyn FnMut(Range<usize>, Range<usize>)| {
            for item in some {
                let (block, cut) = (item / cuts, item % cuts);
                let rows = block * block_rows..count.min((block + 1) * block_rows);
                for step in cut * steps / cuts..(cut + 1) * steps / cuts {
                    let first = step * panels_at_once;
                    work(rows.clone(), first..panels.min(first + panels_at_once));
                }
            }
        };
        match &self.weights {
            Weights::F32(weights) => parallel_for(blocks * cuts, |some| {
                let mut tile = [[0.0; 2 * PANEL]; ROWS];
                each(some, &mut |rows, panels| {
                    let size = self.inputs;
                    let (weights, more) =
                        weights[panels.start * size..panels.end * size].split_at(size);
                    for first in rows.clone().step_by(ROWS) {
                        let count = ROWS.min(rows.end - first);
                        let values = &xs[first * self.inputs..];
                        let some = Rows::new(values, self.inputs, count);
                        if more.is_empty() {
                            product(level, some, weights, whole(&mut tile));
                        } else {
                            product_two(level, some, [weights, more], whole(&mut tile));
                        }
                        self.finish(level, first, panels.start, &tile[..count], &out, finish);
                    }
                });
            }),
            Weights::Int8 { codes, scales } => {
                room.quantize(level, xs, self.inputs);
                let xs = &*room;
                let groups = self.inputs / GROUP;
                parallel_for(blocks * cuts, |some| {
                    let products = CodeProducts::new(level);
                    let mut tile = [[0.0; PANEL]; CODE_ROWS];
                    each(some, &mut |rows, panels| {
                        let panel = panels.start;
                        let size = self.inputs * PANEL;
                        let weights = CodePanel {
                            codes: &codes[panel * size..(panel + 1) * size],
                            scales: &scales[panel * groups * PANEL..(panel + 1) * groups * PANEL],
                        };
                        for first in rows.clone().step_by(CODE_ROWS) {
                            let count = CODE_ROWS.min(rows.end - first);
                            let some = xs.rows(first, count, self.inputs);
                            products.product(some, weights, whole(&mut tile));
                            self.finish(level, first, panel, &tile[..count], &out, finish);
                        }
                    });
                });
            }
        }
    }

    /// Adds the bias to the tile whose first row is `first` and whose columns start with `panel`,
    /// and writes what is inside of the outputs.
    fn finish<const WIDTH: usize>(
        &self,
        level: SimdLevel,
        first: usize,
        panel: usize,
        tile: &[[f32; WIDTH]],
        out: &DisjointSlices<f32>,
        finish: Finish,
    ) {
        let column = panel * PANEL;
        let columns = WIDTH.min(self.outputs - column);
        // SAFETY: no other call has this tile.
        let out =
            unsafe { out.tile(first * self.outputs + column, tile.len(), self.outputs, columns) };
        rows::finish(level, tile.as_flattened(), WIDTH, &self.bias[column..], finish, out);
    }
}

/// All of a tile, as the place for a product.
fn whole<const WIDTH: usize>(tile: &mut [[f32; WIDTH]]) -> Out<'_> {
    Out::new(tile.as_flattened_mut(), WIDTH)
}

impl Codes {
    /// Quantizes `xs`, `[rows, inputs]`.
    fn quantize(&mut self, level: SimdLevel, xs: &[f32], inputs: usize) {
        let (count, groups) = (xs.len() / inputs, inputs / GROUP);
        // The last tile of rows is read whole; what comes of rows past the end is not used.
        let room = count.next_multiple_of(CODE_ROWS);
        self.codes.resize(room * inputs, 0);
        self.scales.resize(room * groups, 0.0);
        self.offsets.resize(room * groups, 0);
        let (codes, scales) =
            (DisjointSlices::new(&mut self.codes), DisjointSlices::new(&mut self.scales));
        let offsets = DisjointSlices::new(&mut self.offsets);
        parallel_for(room / CODE_ROWS, |some| {
            let (mut row_scales, mut row_sums) = (vec![0f32; groups], vec![0i32; groups]);
            for tile in some {
                let narrow = tile * CODE_ROWS * groups..(tile + 1) * CODE_ROWS * groups;
                // SAFETY: no other call has this tile.
                let (scales, offsets) =
                    unsafe { (scales.part(narrow.clone()), offsets.part(narrow)) };
                for row in tile * CODE_ROWS..count.min((tile + 1) * CODE_ROWS) {
                    let wide = row * inputs..(row + 1) * inputs;
                    // SAFETY: as above.
                    let codes = unsafe { codes.part(wide.clone()) };
                    rows::quantize(level, &xs[wide], codes, &mut row_scales, &mut row_sums);
                    let lane = row % CODE_ROWS;
                    for (scales, scale) in scales.chunks_exact_mut(CODE_ROWS).zip(&row_scales) {
                        scales[lane] = *scale;
                    }
                    for (offsets, sum) in offsets.chunks_exact_mut(CODE_ROWS).zip(&row_sums) {
                        offsets[lane] = sum.wrapping_mul(-weight_zero(level));
                    }
                }
            }
        });
    }

    /// The tile of rows from `first` on, of which `count` are wanted.
    fn rows(&self, first: usize, count: usize, inputs: usize) -> CodeRows<'_> {
        let groups = inputs / GROUP;
        let end = first + CODE_ROWS;
        CodeRows {
            codes: &self.codes[first * inputs..end * inputs],
            scales: &self.scales[first * groups..end * groups],
            offsets: &self.offsets[first * groups..end * groups],
            count,
        }
    }
}

/// Reads row `output` of the tables side by side; beyond the last, zeros.
fn read(tables: &[Table], output: usize, row: &mut [f32]) {
    let each = tables[0].rows();
    match tables.get(output / each) {
        Some(table) => table.read(output % each, row),
        None => row.fill(0.0),
    }
}

fn pack(tables: &[Table], panels: usize, inputs: usize) -> Weights {
    let mut packed = vec![Line([0.0; PANEL]); panels * inputs];
    let parts = DisjointSlices::new(&mut packed);
    parallel_for(panels, |some| {
        let mut row = vec![0f32; inputs];
        for panel in some {
            // SAFETY: no other call has this panel.
            let packed = unsafe { parts.part(panel * inputs..(panel + 1) * inputs) };
            for lane in 0..PANEL {
                read(tables, panel * PANEL + lane, &mut row);
                for (packed, value) in packed.iter_mut().zip(&row) {
                    packed.0[lane] = *value;
                }
            }
        }
    });
    Weights::F32(packed)
}

fn pack_codes(tables: &[Table], panels: usize, inputs: usize) -> Weights {
    let groups = inputs / GROUP;
    let mut codes = vec![0u8; panels * inputs * PANEL];
    let mut scales = vec![0f32; panels * groups * PANEL];
    let (code_parts, scale_parts) =
        (DisjointSlices::new(&mut codes), DisjointSlices::new(&mut scales));
    let level = SimdLevel::detect();
    let zero = weight_zero(level);
    parallel_for(panels, |some| {
        let mut row = vec![0f32; inputs];
        let mut row_codes = vec![0u8; inputs];
        let mut row_scales = vec![0f32; groups];
        for panel in some {
            let size = inputs * PANEL;
            // SAFETY: no other call has this panel.
            let (codes, scales) = unsafe {
                (
                    code_parts.part(panel * size..(panel + 1) * size),
                    scale_parts.part(panel * groups * PANEL..(panel + 1) * groups * PANEL),
                )
            };
            for lane in 0..PANEL {
                read(tables, panel * PANEL + lane, &mut row);
                rows::quantize_weights(level, &row, &mut row_codes, &mut row_scales, zero);
                for (quad, four) in codes.chunks_exact_mut(4 * PANEL).zip(row_codes.chunks_exact(4))
                {
                    quad[4 * lane..4 * lane + 4].copy_from_slice(four);
                }
                for (scales, scale) in scales.chunks_exact_mut(PANEL).zip(&row_scales) {
                    scales[lane] = *scale;
                }
            }
        }
    });
    Weights::Int8 { codes, scales }
}
