//! A linear layer with its weights packed for [`crate::compute::dense::tile`].

use std::ops::Range;

use anyhow::Result;

use super::checkpoint::{EncoderCheckpoint, RowTable};
use crate::compute::SimdLevel;
use crate::compute::dense::gated::{self, Activation};
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

/// `activation(x · Vᵀ + b) ∘ (x · Wᵀ + c)`: two layers in one product, whose panels take turns.
pub struct GatedLinear {
    both: PackedLinear,
    activation: Activation,
}

/// What becomes of a product.
#[derive(Clone, Copy)]
enum Finish {
    Each(Epilogue),
    Gated(Activation),
}

impl Finish {
    /// Panels that make one panel of results.
    fn panels(self) -> usize {
        match self {
            Self::Each(_) => 1,
            Self::Gated(_) => 2,
        }
    }

    /// Those that make these columns of the result, of which the first begins a panel.
    fn panels_of(self, columns: &Range<usize>) -> Range<usize> {
        let each = self.panels();
        columns.start / PANEL * each..columns.end.div_ceil(PANEL) * each
    }
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
    /// The layers `names` side by side: their weights, each `[outputs, inputs]`, and biases, if they
    /// have any.
    pub fn load(
        tensors: &EncoderCheckpoint,
        names: &[&str],
        [outputs, inputs]: [usize; 2],
        has_bias: bool,
        precision: Precision,
    ) -> Result<Self> {
        let mut bias = Vec::new();
        let mut tables = Vec::new();
        for name in names {
            tables.push(tensors.table(&format!("{name}.weight"), outputs, inputs)?);
            if has_bias {
                bias.extend(tensors.vector(&format!("{name}.bias"), outputs)?);
            }
        }
        let outputs = outputs * names.len();
        let panels = outputs.div_ceil(PANEL);
        bias.resize(panels * PANEL, 0.0);
        let source = Source { tables: &tables, outputs, gated: false };
        Ok(Self { inputs, outputs, bias, weights: source.pack(panels, inputs, precision) })
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
        self.run(xs, scratch, out, Finish::Each(epilogue));
    }

    fn run(&self, xs: &[f32], scratch: &mut Codes, out: &mut [f32], finish: Finish) {
        let count = xs.len() / self.inputs;
        assert_eq!(out.len(), count * self.outputs);
        let level = SimdLevel::detect();
        match &self.weights {
            Weights::F32(weights) => {
                let (row_ends, column_ends) = self.cuts(count, BLOCK, 2, finish);
                parallel_for_tiles(out, &row_ends, &column_ends, |tiles| {
                    let mut product = [[0.0; 2 * PANEL]; ROWS];
                    for tile in tiles {
                        self.f32_tile(level, xs, weights, tile, &mut product, finish);
                    }
                });
            }
            Weights::Int8 { codes, scales } => {
                scratch.quantize(level, xs, self.inputs);
                let (xs, panels) = (&*scratch, CodePanels { codes, scales });
                let (row_ends, column_ends) = self.cuts(count, CODE_BLOCK, finish.panels(), finish);
                parallel_for_tiles(out, &row_ends, &column_ends, |tiles| {
                    let products = CodeProducts::new(level);
                    let mut one = [[0.0; PANEL]; CODE_ROWS];
                    let mut two = [[0.0; 2 * PANEL]; CODE_ROWS];
                    for tile in tiles {
                        match finish.panels() {
                            1 => self.int8_tile(&products, xs, panels, tile, &mut one, finish),
                            _ => self.int8_tile(&products, xs, panels, tile, &mut two, finish),
                        }
                    }
                });
            }
        }
    }

    /// Where the tiles of the result end, which the cores share: tiles of `block` rows, and of a
    /// multiple of `panels_at_once` panels.
    ///
    /// With many rows, a tile has all panels. With few, there are a few tiles for each core.
    fn cuts(
        &self,
        count: usize,
        block: usize,
        panels_at_once: usize,
        finish: Finish,
    ) -> (Vec<usize>, Vec<usize>) {
        let blocks = count.div_ceil(block);
        let steps = (self.bias.len() / PANEL).div_ceil(panels_at_once);
        let cuts = if blocks >= 4 * threads() { 1 } else { (8 * threads()).min(steps) };
        let width = panels_at_once / finish.panels() * PANEL;
        let column = |cut: usize| self.outputs.min(cut * steps / cuts * width);
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
        finish: Finish,
    ) {
        let Tile { rows, columns, mut values, .. } = tile;
        let panels = finish.panels_of(&columns);
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
                let at = (first - rows.start, columns.start);
                self.store(level, &product[..count], panel, at, &mut values, finish);
            }
        }
    }

    /// `WIDTH` is that of the panels which make one of results.
    fn int8_tile<const WIDTH: usize>(
        &self,
        products: &CodeProducts,
        xs: &Codes,
        weights: CodePanels,
        tile: Tile<f32>,
        product: &mut [[f32; WIDTH]; CODE_ROWS],
        finish: Finish,
    ) {
        let Tile { rows, columns, mut values, .. } = tile;
        for panel in finish.panels_of(&columns).step_by(WIDTH / PANEL) {
            for first in rows.clone().step_by(CODE_ROWS) {
                let count = CODE_ROWS.min(rows.end - first);
                let codes = xs.rows(first, count);
                for part in 0..WIDTH / PANEL {
                    let out = &mut product.as_flattened_mut()[part * PANEL..];
                    let weights = weights.panel(panel + part, self.inputs);
                    products.product(codes, weights, Out::new(out, WIDTH));
                }
                let at = (first - rows.start, columns.start);
                self.store(products.level(), &product[..count], panel, at, &mut values, finish);
            }
        }
    }

    /// Finishes the product of the panels from `panel` on, and writes what is inside of the outputs
    /// to a tile: from `row` of it on, and its first column is `start` of the outputs.
    fn store<const WIDTH: usize>(
        &self,
        level: SimdLevel,
        product: &[[f32; WIDTH]],
        panel: usize,
        (row, start): (usize, usize),
        tile: &mut TileMut<f32>,
        finish: Finish,
    ) {
        let first = panel / finish.panels() * PANEL;
        let columns = (WIDTH / finish.panels()).min(self.outputs - first);
        let rows = row..row + product.len();
        let out = tile.part(rows, first - start..first - start + columns);
        let (product, bias) = (product.as_flattened(), &self.bias[panel * PANEL..]);
        match finish {
            Finish::Each(epilogue) => rows::store(level, product, WIDTH, bias, epilogue, out),
            Finish::Gated(activation) => gated::store(level, product, bias, activation, out),
        }
    }
}

impl GatedLinear {
    /// The layer `name`, `[2 · outputs, inputs]`: first what is activated, then its factors.
    pub fn load(
        tensors: &EncoderCheckpoint,
        name: &str,
        [outputs, inputs]: [usize; 2],
        has_bias: bool,
        activation: Activation,
        precision: Precision,
    ) -> Result<Self> {
        let table = tensors.table(&format!("{name}.weight"), 2 * outputs, inputs)?;
        let panels = 2 * outputs.div_ceil(PANEL);
        let source = Source { tables: &[table], outputs, gated: true };
        let mut bias = vec![0.0; panels * PANEL];
        if has_bias {
            let values = tensors.vector(&format!("{name}.bias"), 2 * outputs)?;
            for (i, bias) in bias.iter_mut().enumerate() {
                *bias = source.output(i / PANEL, i % PANEL).map_or(0.0, |output| values[output]);
            }
        }
        let weights = source.pack(panels, inputs, precision);
        Ok(Self { both: PackedLinear { inputs, outputs, bias, weights }, activation })
    }

    /// Multiply-additions for one row.
    pub fn operations(&self) -> usize {
        2 * self.both.operations()
    }

    /// As [`PackedLinear::forward`].
    pub fn forward(&self, xs: &[f32], scratch: &mut Codes, out: &mut [f32]) {
        self.both.run(xs, scratch, out, Finish::Gated(self.activation));
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

/// What is packed.
struct Source<'a> {
    /// Weights, one below the other.
    tables: &'a [RowTable],
    /// How many outputs there are, or pairs of them.
    outputs: usize,
    /// Whether every other panel belongs to the second half of the rows.
    gated: bool,
}

impl Source<'_> {
    /// Which row of the tables, counted through all of them, comes into this lane of a panel.
    fn output(&self, panel: usize, lane: usize) -> Option<usize> {
        let (panel, half) = if self.gated { (panel / 2, panel % 2) } else { (panel, 0) };
        let output = panel * PANEL + lane;
        (output < self.outputs).then_some(half * self.outputs + output)
    }

    /// The weights in a lane of a panel, or zeros.
    fn read(&self, panel: usize, lane: usize, row: &mut [f32]) {
        let each = self.tables[0].rows();
        match self.output(panel, lane) {
            Some(output) => self.tables[output / each].read(output % each, row),
            None => row.fill(0.0),
        }
    }

    fn pack(&self, panels: usize, inputs: usize, precision: Precision) -> Weights {
        // Without a whole number of groups there are no codes.
        if precision == Precision::Int8 && inputs.is_multiple_of(GROUP) {
            self.pack_codes(panels, inputs)
        } else {
            self.pack_f32(panels, inputs)
        }
    }

    fn pack_f32(&self, panels: usize, inputs: usize) -> Weights {
        let mut packed = vec![Line([0.0; PANEL]); panels * inputs];
        parallel_for_chunks(&mut packed, inputs, |panels, packed| {
            let mut row = vec![0f32; inputs];
            for (panel, packed) in panels.zip(packed.chunks_exact_mut(inputs)) {
                for lane in 0..PANEL {
                    self.read(panel, lane, &mut row);
                    for (packed, value) in packed.iter_mut().zip(&row) {
                        packed.0[lane] = *value;
                    }
                }
            }
        });
        Weights::F32(packed)
    }

    fn pack_codes(&self, panels: usize, inputs: usize) -> Weights {
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
            let parts =
                codes.chunks_exact_mut(panel_codes).zip(scales.chunks_exact_mut(panel_scales));
            for (panel, (codes, scales)) in panels.zip(parts) {
                for lane in 0..PANEL {
                    self.read(panel, lane, &mut row);
                    rows::quantize_weights(level, &row, &mut row_codes, &mut row_scales, zero);
                    let quads = codes.chunks_exact_mut(4 * PANEL);
                    for (quad, four) in quads.zip(row_codes.chunks_exact(4)) {
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
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A gate of `outputs` of the inner values of a tiny model.
    fn gate(
        name: &str,
        shape: [usize; 2],
        bias: bool,
        precision: Precision,
    ) -> (Vec<f32>, Vec<f32>) {
        let [outputs, inputs] = shape;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
        let tensors = EncoderCheckpoint::open(&folder.join("model.safetensors")).unwrap();
        let tensors = tensors.under("layers.0.mlp.");
        let silu = Activation::Silu;
        let linear = GatedLinear::load(&tensors, "Wi", shape, bias, silu, precision).unwrap();
        let table = tensors.table("Wi.weight", 2 * outputs, inputs).unwrap();
        let mut weights = vec![0.0; 2 * outputs * inputs];
        table.read(0, &mut weights);
        let biases = match bias {
            true => tensors.vector("Wi.bias", 2 * outputs).unwrap(),
            false => vec![0.0; 2 * outputs],
        };
        let rows = 53;
        let xs: Vec<f32> = (0..rows * inputs).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut found = vec![f32::NAN; rows * outputs];
        linear.forward(&xs, &mut Codes::default(), &mut found);
        let exact = |row: usize, output: usize| {
            let weights = weights[output * inputs..].iter().zip(&xs[row * inputs..][..inputs]);
            weights.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                + f64::from(biases[output])
        };
        let gated = |at: usize| {
            let (row, output) = (at / outputs, at % outputs);
            let value = exact(row, output);
            (value / (1.0 + (-value).exp()) * exact(row, outputs + output)) as f32
        };
        (found, (0..rows * outputs).map(gated).collect())
    }

    /// With a whole number of panels and without, with biases and without.
    #[test]
    fn halves_of_a_gate_meet() {
        for (name, shape, bias) in
            [("tiny-modernbert", [64, 64], false), ("tiny-modernbert-silu", [72, 64], true)]
        {
            for (precision, limit) in [(Precision::F32, 1e-4), (Precision::Int8, 0.15)] {
                let (found, exact) = gate(name, shape, bias, precision);
                let off = found.iter().zip(&exact).map(|(a, b)| (a - b).abs());
                let largest = off.fold(0f32, f32::max);
                assert!(largest < limit, "{name} {precision:?}: {largest}");
            }
        }
    }
}
