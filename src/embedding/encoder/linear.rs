//! A linear layer with its weights packed for [`crate::compute::dense::tile`].

use std::ops::Range;

use anyhow::Result;

use super::checkpoint::{EncoderCheckpoint, RowTable};
use crate::compute::SimdLevel;
use crate::compute::dense::rows::{self, Epilogue};
use crate::compute::dense::tile::{
    self, CODE_ROWS, CodePanel, CodeProducts, CodeRows, GROUP, Line, Out, PANEL, ROWS, Rows,
    weight_zero,
};
use crate::compute::pool::{
    Tile, TileMut, parallel_for_chunk_pairs, parallel_for_chunks, parallel_for_tiles, threads,
};
use crate::models::catalogue::Precision;

/// Rows that go through all panels of a part of a matrix together, and stay in the first two caches.
const BLOCK: usize = 48;
/// The same for codes, whose tiles are multiplied much faster than the second cache delivers them.
const CODE_BLOCK: usize = 32;

/// `x · Wᵀ + b`
pub struct PackedLinear {
    inputs: usize,
    outputs: usize,
    /// One for every column of the panels.
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

/// Activations in codes; their memory serves many products.
#[derive(Default)]
pub struct Codes {
    /// Sixteen rows in each.
    tiles: Vec<CodeTile>,
}

/// See [`CodeRows`].
#[derive(Default)]
struct CodeTile {
    /// `[16, inputs]`
    codes: Vec<i8>,
    /// `[inputs / 64, 16]`
    scales: Vec<f32>,
    /// `[inputs / 64, 16]`
    offsets: Vec<i32>,
}

impl PackedLinear {
    /// The layers `names` side by side: their weights, each `[outputs, inputs]`, and biases.
    pub fn load(
        tensors: &EncoderCheckpoint,
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

    /// `xs`, `[rows, inputs]`, times the weights, into `out`, `[rows, outputs]`. What `scratch` holds
    /// does not matter.
    ///
    /// # Panics
    /// If `out` does not have as many rows as `xs`.
    pub fn forward(&self, xs: &[f32], scratch: &mut Codes, out: &mut [f32], epilogue: Epilogue) {
        let count = xs.len() / self.inputs;
        assert_eq!(out.len(), count * self.outputs);
        let level = SimdLevel::detect();
        match &self.weights {
            Weights::F32(weights) => {
                let (row_ends, column_ends) = self.cuts(count, BLOCK, 2);
                parallel_for_tiles(out, &row_ends, &column_ends, |tiles| {
                    let mut product = [[0.0; 2 * PANEL]; ROWS];
                    for tile in tiles {
                        self.f32_tile(level, xs, weights, tile, &mut product, epilogue);
                    }
                });
            }
            Weights::Int8 { codes, scales } => {
                scratch.quantize(level, xs, self.inputs);
                let (xs, panels) = (&*scratch, CodePanels { codes, scales });
                let (row_ends, column_ends) = self.cuts(count, CODE_BLOCK, 1);
                parallel_for_tiles(out, &row_ends, &column_ends, |tiles| {
                    let products = CodeProducts::new(level);
                    let mut product = [[0.0; PANEL]; CODE_ROWS];
                    for tile in tiles {
                        self.int8_tile(&products, xs, panels, tile, &mut product, epilogue);
                    }
                });
            }
        }
    }

    /// Where the tiles of the result end, which the cores share: tiles of `block` rows, and of a
    /// multiple of `panels_at_once` panels.
    ///
    /// With many rows, a tile has all panels. With few, there are a few tiles for each core.
    fn cuts(&self, count: usize, block: usize, panels_at_once: usize) -> (Vec<usize>, Vec<usize>) {
        let blocks = count.div_ceil(block);
        let steps = (self.bias.len() / PANEL).div_ceil(panels_at_once);
        let cuts = if blocks >= 4 * threads() { 1 } else { (8 * threads()).min(steps) };
        let column = |cut: usize| self.outputs.min(cut * steps / cuts * panels_at_once * PANEL);
        let rows = (1..=blocks).map(|i| count.min(i * block));
        (rows.collect(), (1..=cuts).map(column).collect())
    }

    fn f32_tile(
        &self,
        level: SimdLevel,
        xs: &[f32],
        weights: &[Line],
        tile: Tile<f32>,
        product: &mut [[f32; 2 * PANEL]; ROWS],
        epilogue: Epilogue,
    ) {
        let Tile { rows, columns, mut values, .. } = tile;
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        for panel in panels.clone().step_by(2) {
            let last = panels.end.min(panel + 2);
            let (weights, more) =
                weights[panel * self.inputs..last * self.inputs].split_at(self.inputs);
            for first in rows.clone().step_by(ROWS) {
                let count = ROWS.min(rows.end - first);
                let some = Rows::new(&xs[first * self.inputs..], self.inputs, count);
                if more.is_empty() {
                    tile::product(level, some, weights, whole(product));
                } else {
                    tile::product_two(level, some, [weights, more], whole(product));
                }
                let at = (first - rows.start, panel * PANEL - columns.start);
                self.store(level, &product[..count], panel, at, &mut values, epilogue);
            }
        }
    }

    fn int8_tile(
        &self,
        products: &CodeProducts,
        xs: &Codes,
        weights: CodePanels,
        tile: Tile<f32>,
        product: &mut [[f32; PANEL]; CODE_ROWS],
        epilogue: Epilogue,
    ) {
        let Tile { rows, columns, mut values, .. } = tile;
        for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
            let weights = weights.panel(panel, self.inputs);
            for first in rows.clone().step_by(CODE_ROWS) {
                let count = CODE_ROWS.min(rows.end - first);
                products.product(xs.rows(first, count), weights, whole(product));
                let at = (first - rows.start, panel * PANEL - columns.start);
                self.store(products.level(), &product[..count], panel, at, &mut values, epilogue);
            }
        }
    }

    /// Adds the bias of the columns from `panel` on to a product, and writes what is inside of the
    /// outputs to row and column `at` of `tile`.
    fn store<const WIDTH: usize>(
        &self,
        level: SimdLevel,
        product: &[[f32; WIDTH]],
        panel: usize,
        (row, column): (usize, usize),
        tile: &mut TileMut<f32>,
        epilogue: Epilogue,
    ) {
        let first = panel * PANEL;
        let columns = WIDTH.min(self.outputs - first);
        let out = tile.part(row..row + product.len(), column..column + columns);
        rows::store(level, product.as_flattened(), WIDTH, &self.bias[first..], epilogue, out);
    }
}

/// All of a tile, as the place for a product.
fn whole<const WIDTH: usize>(tile: &mut [[f32; WIDTH]]) -> Out<'_> {
    Out::new(tile.as_flattened_mut(), WIDTH)
}

/// [`Weights::Int8`]
#[derive(Clone, Copy)]
struct CodePanels<'a> {
    codes: &'a [u8],
    scales: &'a [f32],
}

impl<'a> CodePanels<'a> {
    fn panel(self, panel: usize, inputs: usize) -> CodePanel<'a> {
        let (codes, scales) = (inputs * PANEL, inputs / GROUP * PANEL);
        CodePanel {
            codes: &self.codes[panel * codes..(panel + 1) * codes],
            scales: &self.scales[panel * scales..(panel + 1) * scales],
        }
    }
}

impl Codes {
    /// Quantizes `xs`, `[rows, inputs]`.
    fn quantize(&mut self, level: SimdLevel, xs: &[f32], inputs: usize) {
        let groups = inputs / GROUP;
        let tiles = (xs.len() / inputs).div_ceil(CODE_ROWS);
        self.tiles.resize_with(tiles.max(self.tiles.len()), CodeTile::default);
        parallel_for_chunks(&mut self.tiles[..tiles], 1, |numbers, tiles| {
            let (mut scales, mut sums) = (vec![0f32; groups], vec![0i32; groups]);
            let xs = xs.chunks(CODE_ROWS * inputs).skip(numbers.start);
            for (tile, xs) in tiles.iter_mut().zip(xs) {
                tile.quantize(level, xs, inputs, &mut scales, &mut sums);
            }
        });
    }

    /// The tile of rows from `first` on, of which `count` are wanted.
    fn rows(&self, first: usize, count: usize) -> CodeRows<'_> {
        let CodeTile { codes, scales, offsets } = &self.tiles[first / CODE_ROWS];
        CodeRows { codes, scales, offsets, count }
    }
}

impl CodeTile {
    /// Quantizes up to sixteen rows; `row_scales` and `row_sums` are `[inputs / 64]`. Missing rows
    /// are multiplied too, with whatever they hold, and what comes of them is not used.
    fn quantize(
        &mut self,
        level: SimdLevel,
        xs: &[f32],
        inputs: usize,
        row_scales: &mut [f32],
        row_sums: &mut [i32],
    ) {
        self.codes.resize(CODE_ROWS * inputs, 0);
        self.scales.resize(CODE_ROWS * row_scales.len(), 0.0);
        self.offsets.resize(CODE_ROWS * row_sums.len(), 0);
        let rows = xs.chunks_exact(inputs).zip(self.codes.chunks_exact_mut(inputs));
        for (lane, (row, codes)) in rows.enumerate() {
            rows::quantize(level, row, codes, row_scales, row_sums);
            for (scales, scale) in self.scales.chunks_exact_mut(CODE_ROWS).zip(&*row_scales) {
                scales[lane] = *scale;
            }
            for (offsets, sum) in self.offsets.chunks_exact_mut(CODE_ROWS).zip(&*row_sums) {
                offsets[lane] = sum.wrapping_mul(-weight_zero(level));
            }
        }
    }
}

/// Reads row `output` of the tables, counted through all of them; past the last, zeros.
fn read(tables: &[RowTable], output: usize, row: &mut [f32]) {
    let each = tables[0].rows();
    match tables.get(output / each) {
        Some(table) => table.read(output % each, row),
        None => row.fill(0.0),
    }
}

fn pack(tables: &[RowTable], panels: usize, inputs: usize) -> Weights {
    let mut packed = vec![Line([0.0; PANEL]); panels * inputs];
    parallel_for_chunks(&mut packed, inputs, |panels, packed| {
        let mut row = vec![0f32; inputs];
        for (panel, packed) in panels.zip(packed.chunks_exact_mut(inputs)) {
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

fn pack_codes(tables: &[RowTable], panels: usize, inputs: usize) -> Weights {
    let level = SimdLevel::detect();
    let zero = weight_zero(level);
    let groups = inputs / GROUP;
    let (panel_codes, panel_scales) = (inputs * PANEL, groups * PANEL);
    let mut codes = vec![0u8; panels * panel_codes];
    let mut scales = vec![0f32; panels * panel_scales];
    let pack = |panels: Range<usize>, codes: &mut [u8], scales: &mut [f32]| {
        let mut row = vec![0f32; inputs];
        let mut row_codes = vec![0u8; inputs];
        let mut row_scales = vec![0f32; groups];
        let parts = codes.chunks_exact_mut(panel_codes).zip(scales.chunks_exact_mut(panel_scales));
        for (panel, (codes, scales)) in panels.zip(parts) {
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
    };
    parallel_for_chunk_pairs((&mut codes, panel_codes), (&mut scales, panel_scales), pack);
    Weights::Int8 { codes, scales }
}
