//! A linear layer with its weights packed for [`crate::cpu::tile`].

use std::ops::Range;

use anyhow::Result;

use super::checkpoint::{Checkpoint, Table};
use crate::cpu::team::{Parts, share, threads};
use crate::cpu::tile::{
    CODE_ROWS, CodePanel, CodeRow, GROUP, PANEL, ROWS, WEIGHT_ZERO, code_product, product,
};
use crate::cpu::{Level, level, rows};
use crate::models::catalogue::Precision;

/// Rows that go through all panels of a part of a matrix together: they stay in the second cache.
const BLOCK: usize = 48;

/// What is done with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It replaces what was there.
    Set,
    /// GELU of it does.
    Gelu,
    /// It is added to what was there.
    Add,
}

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
    /// `[panels, inputs, 16]`
    F32(Vec<f32>),
    /// Codes `[panels, inputs / 4, 16, 4]` and scales `[panels, inputs / 64, 16]`.
    Int8 { codes: Vec<u8>, scales: Vec<f32> },
}

/// Activations in codes.
struct Codes {
    /// `[rows, inputs]`
    codes: Vec<i8>,
    /// `[rows, inputs / 64]`
    scales: Vec<f32>,
    /// `[rows, inputs / 64]`
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

    /// `xs`, `[rows, inputs]`, times the weights, into `out`, `[rows, outputs]`.
    pub fn forward(&self, xs: &[f32], out: &mut [f32], finish: Finish) {
        let count = xs.len() / self.inputs;
        assert_eq!(out.len(), count * self.outputs);
        let level = level();
        let out = Parts::new(out);
        let panels = self.bias.len() / PANEL;
        // Many rows: each core takes some, with all panels. Few: each core takes some panels.
        let blocks = count.div_ceil(BLOCK);
        let cuts = if blocks >= 4 * threads() { 1 } else { (8 * threads()).min(panels) };
        let tiles = |work: &(dyn Fn(Range<usize>, usize) + Sync)| {
            share(blocks * cuts, |some| {
                for item in some {
                    let (block, cut) = (item / cuts, item % cuts);
                    let rows = block * BLOCK..count.min((block + 1) * BLOCK);
                    for panel in cut * panels / cuts..(cut + 1) * panels / cuts {
                        work(rows.clone(), panel);
                    }
                }
            });
        };
        match &self.weights {
            Weights::F32(weights) => tiles(&|rows, panel| {
                let size = self.inputs * PANEL;
                let weights = &weights[panel * size..(panel + 1) * size];
                for first in rows.clone().step_by(ROWS) {
                    let row = |i: usize| {
                        let at = (first + i).min(rows.end - 1) * self.inputs;
                        &xs[at..at + self.inputs]
                    };
                    let mut tile = [[0.0; PANEL]; ROWS];
                    product(level, std::array::from_fn(row), weights, &mut tile);
                    self.finish(level, first..rows.end, panel, &mut tile, &out, finish);
                }
            }),
            Weights::Int8 { codes, scales } => {
                let xs = Codes::new(level, xs, self.inputs);
                let groups = self.inputs / GROUP;
                tiles(&|rows, panel| {
                    let size = self.inputs * PANEL;
                    let weights = CodePanel {
                        codes: &codes[panel * size..(panel + 1) * size],
                        scales: &scales[panel * groups * PANEL..(panel + 1) * groups * PANEL],
                    };
                    for first in rows.clone().step_by(CODE_ROWS) {
                        let row = |i: usize| xs.row((first + i).min(rows.end - 1), self.inputs);
                        let mut tile = [[0.0; PANEL]; CODE_ROWS];
                        code_product(level, std::array::from_fn(row), weights, &mut tile);
                        self.finish(level, first..rows.end, panel, &mut tile, &out, finish);
                    }
                });
            }
        }
    }

    /// Adds the bias to a tile whose first row is `rows.start`, and writes what is inside of
    /// `rows` and of the outputs.
    fn finish(
        &self,
        level: Level,
        rows: Range<usize>,
        panel: usize,
        tile: &mut [[f32; PANEL]],
        out: &Parts<f32>,
        finish: Finish,
    ) {
        let first = panel * PANEL;
        let bias = &self.bias[first..first + PANEL];
        let columns = PANEL.min(self.outputs - first);
        for values in tile.iter_mut() {
            values.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
        if finish == Finish::Gelu {
            rows::gelu(level, tile.as_flattened_mut());
        }
        for (row, values) in rows.zip(tile) {
            let at = row * self.outputs + first;
            // SAFETY: no other call has this tile.
            let out = unsafe { out.part(at..at + columns) };
            match finish {
                Finish::Set | Finish::Gelu => out.copy_from_slice(&values[..columns]),
                Finish::Add => out.iter_mut().zip(values).for_each(|(out, value)| *out += *value),
            }
        }
    }
}

impl Codes {
    /// Quantizes `xs`, `[rows, inputs]`.
    fn new(level: Level, xs: &[f32], inputs: usize) -> Self {
        let (count, groups) = (xs.len() / inputs, inputs / GROUP);
        let mut new = Self {
            codes: vec![0; count * inputs],
            scales: vec![0.0; count * groups],
            offsets: vec![0; count * groups],
        };
        let (codes, scales) = (Parts::new(&mut new.codes), Parts::new(&mut new.scales));
        let offsets = Parts::new(&mut new.offsets);
        share(count, |some| {
            for row in some {
                let (wide, narrow) =
                    (row * inputs..(row + 1) * inputs, row * groups..(row + 1) * groups);
                // SAFETY: no other call has this row.
                let (codes, scales, offsets) = unsafe {
                    (
                        codes.part(wide.clone()),
                        scales.part(narrow.clone()),
                        offsets.part(narrow.clone()),
                    )
                };
                rows::quantize(level, &xs[wide], codes, scales, offsets);
                offsets.iter_mut().for_each(|sum| *sum = sum.wrapping_mul(-WEIGHT_ZERO));
            }
        });
        new
    }

    fn row(&self, row: usize, inputs: usize) -> CodeRow<'_> {
        let groups = inputs / GROUP;
        CodeRow {
            codes: &self.codes[row * inputs..(row + 1) * inputs],
            scales: &self.scales[row * groups..(row + 1) * groups],
            offsets: &self.offsets[row * groups..(row + 1) * groups],
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
    let mut packed = vec![0f32; panels * inputs * PANEL];
    let parts = Parts::new(&mut packed);
    share(panels, |some| {
        let mut row = vec![0f32; inputs];
        for panel in some {
            let size = inputs * PANEL;
            // SAFETY: no other call has this panel.
            let packed = unsafe { parts.part(panel * size..(panel + 1) * size) };
            for lane in 0..PANEL {
                read(tables, panel * PANEL + lane, &mut row);
                for (packed, value) in packed.chunks_exact_mut(PANEL).zip(&row) {
                    packed[lane] = *value;
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
    let (code_parts, scale_parts) = (Parts::new(&mut codes), Parts::new(&mut scales));
    let level = level();
    share(panels, |some| {
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
                rows::quantize_weights(level, &row, &mut row_codes, &mut row_scales);
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
