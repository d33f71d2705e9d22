//! Attention of every token of a text to every other.

use std::ops::Range;

use crate::compute::SimdLevel;
#[cfg(target_arch = "x86_64")]
use crate::compute::dense::amx::{self, BF16_DEPTH};
use crate::compute::dense::rows;
use crate::compute::dense::tile::{Line, Out, PANEL, ROWS, Rows, product, product_two};
use crate::compute::pool::{Tile, TileMut, parallel_for_tiles};
use crate::models::catalogue::Precision;

/// How many attention heads there are, and how large each is.
#[derive(Debug, Clone, Copy)]
pub struct HeadShape {
    /// How many there are.
    pub count: usize,
    /// Values of each.
    pub dim: usize,
}

impl HeadShape {
    fn width(self) -> usize {
        self.count * self.dim
    }
}

/// `softmax(Q · Kᵀ / √dim) · V` for each text and head (Vaswani et al. 2017).
///
/// `qkv` is `[tokens, 3 · heads · dim]` for the tokens of all texts, `texts` are their ranges; the
/// result goes to `out`, `[tokens, heads · dim]`. Only the scores of a few tokens exist at a time.
/// Where 8 bits are precise enough for the weights, matrix tiles multiply bf16 here.
pub fn attend(
    qkv: &[f32],
    heads: HeadShape,
    texts: &[Range<usize>],
    precision: Precision,
    out: &mut [f32],
) {
    let level = SimdLevel::detect();
    let task = Task { qkv, heads };
    let ends: Vec<usize> = texts.iter().map(|text| text.end).collect();
    let head_ends: Vec<usize> = (1..=heads.count).map(|head| head * heads.dim).collect();
    parallel_for_tiles(out, &ends, &head_ends, |tiles| {
        #[cfg(target_arch = "x86_64")]
        if level.has_matrix_tiles()
            && precision == Precision::Int8
            && heads.dim.is_multiple_of(BF16_DEPTH)
        {
            let matrix_tiles = amx::Tiles::new(amx::ROW_BYTES);
            let mut head = Bf16Head::default();
            tiles.for_each(|tile| head.attend(level, &matrix_tiles, &task, tile));
            return;
        }
        let _ = precision;
        let mut head = Head::default();
        tiles.for_each(|tile| head.attend(level, &task, tile));
    });
}

/// What every head reads.
struct Task<'a> {
    qkv: &'a [f32],
    heads: HeadShape,
}

impl Task<'_> {
    /// Where query (0), key (1) or value (2) of a token are in `qkv`.
    fn at(&self, token: usize, part: usize, head: usize) -> usize {
        (3 * token + part) * self.heads.width() + head * self.heads.dim
    }

    fn vector(&self, token: usize, part: usize, head: usize) -> &[f32] {
        &self.qkv[self.at(token, part, head)..][..self.heads.dim]
    }
}

/// Writes `values`, a head's result for one token, from `column` of the head on. There may be more
/// values than the head has.
fn write(out: &mut TileMut<f32>, token: usize, column: usize, values: &[f32], scale: f32) {
    let out = &mut out.row(token)[column..];
    out.iter_mut().zip(values).for_each(|(out, value)| *out = value * scale);
}

/// `rows` times one panel or two, each `depth` deep.
fn products(level: SimdLevel, rows: Rows, panels: &[Line], depth: usize, out: Out) {
    match panels.split_at_checked(depth) {
        Some((first, second)) if !second.is_empty() => {
            product_two(level, rows, [first, second], out);
        }
        _ => product(level, rows, panels, out),
    }
}

/// Buffers of one head at a time, kept from text to text.
#[derive(Default)]
struct Head {
    /// Kᵀ: `[panels, dim]`, sixteen tokens a panel.
    keys: Vec<Line>,
    /// V: `[panels, tokens]`, sixteen dimensions a panel.
    values: Vec<Line>,
    /// `[12, panels · 16]`
    scores: Vec<f32>,
}

impl Head {
    /// The tile is that of a head and a text.
    fn attend(&mut self, level: SimdLevel, task: &Task, tile: Tile<f32>) {
        let dim = task.heads.dim;
        let Tile { at: (_, head), rows: text, values: mut out, .. } = tile;
        let count = text.len();
        self.pack(task, text.clone(), head);
        let row = count.next_multiple_of(PANEL);
        self.scores.resize(ROWS * row, 0.0);
        let scale = 1.0 / (dim as f32).sqrt();
        let mut tile = [[0f32; 2 * PANEL]; ROWS];
        for first in (0..count).step_by(ROWS) {
            let rows = ROWS.min(count - first);
            let values = &task.qkv[task.at(text.start + first, 0, head)..];
            let queries = Rows::new(values, 3 * task.heads.width(), rows);
            for (pair, keys) in self.keys.chunks(2 * dim).enumerate() {
                let values = &mut self.scores[pair * 2 * PANEL..];
                products(level, queries, keys, dim, Out::new(values, row));
            }
            let mut sums = [1f32; ROWS];
            for (scores, sum) in self.scores.chunks_exact_mut(row).zip(&mut sums).take(rows) {
                *sum = rows::softmax(level, scores, count, scale);
            }
            let weights = Rows::new(&self.scores, row, rows);
            for (pair, values) in self.values.chunks(2 * count).enumerate() {
                let product = Out::new(tile.as_flattened_mut(), 2 * PANEL);
                products(level, weights, values, count, product);
                for (i, (tile, sum)) in tile.iter().zip(sums).enumerate().take(rows) {
                    write(&mut out, first + i, pair * 2 * PANEL, tile, 1.0 / sum);
                }
            }
        }
    }

    fn pack(&mut self, task: &Task, text: Range<usize>, head: usize) {
        const ZEROS: Line = Line([0.0; PANEL]);
        let (count, dim) = (text.len(), task.heads.dim);
        self.keys.clear();
        self.keys.resize(count.div_ceil(PANEL) * dim, ZEROS);
        self.values.clear();
        self.values.resize(dim.div_ceil(PANEL) * count, ZEROS);
        for (i, token) in text.enumerate() {
            let (panel, lane) = (i / PANEL, i % PANEL);
            let keys = &mut self.keys[panel * dim..][..dim];
            for (line, key) in keys.iter_mut().zip(task.vector(token, 1, head)) {
                line.0[lane] = *key;
            }
            let (whole, last) = task.vector(token, 2, head).as_chunks();
            for (panel, value) in whole.iter().enumerate() {
                self.values[panel * count + i].0 = *value;
            }
            if !last.is_empty() {
                self.values[whole.len() * count + i].0[..last.len()].copy_from_slice(last);
            }
        }
    }
}

/// [`Head`] in bf16, for matrix tiles.
#[cfg(target_arch = "x86_64")]
#[derive(Default)]
struct Bf16Head {
    /// Q / √dim, `[panels · 16, dim]`.
    queries: Vec<u16>,
    /// Kᵀ by pairs, a pair in each element: `[panels, dim / 2, 16]`, sixteen tokens a panel.
    keys: Vec<u32>,
    /// V by pairs of tokens: `[dim / 16, pairs, 16]`, sixteen dimensions a panel.
    values: Vec<u32>,
    /// `[16, panels · 16]`
    scores: Vec<f32>,
    /// `[16, 2 · pairs]`
    weights: Vec<u16>,
}

#[cfg(target_arch = "x86_64")]
impl Bf16Head {
    fn attend(&mut self, level: SimdLevel, tiles: &amx::Tiles, task: &Task, tile: Tile<f32>) {
        const ROWS: usize = amx::ROWS;
        let dim = task.heads.dim;
        let Tile { at: (_, head), rows: text, values: mut out, .. } = tile;
        let count = text.len();
        self.pack(level, task, text.clone(), head);
        // Tiles are read whole: tokens past the end are zeros, and their results are not used.
        let (row, deep) = (count.next_multiple_of(PANEL), count.next_multiple_of(BF16_DEPTH));
        self.scores.resize(ROWS * row, 0.0);
        self.weights.clear();
        self.weights.resize(ROWS * deep, 0);
        let mut tile = amx::Sums([[0f32; PANEL]; ROWS]);
        for first in (0..count).step_by(ROWS) {
            let rows = ROWS.min(count - first);
            let queries = &self.queries[first * dim..][..ROWS * dim];
            for (panel, keys) in self.keys.chunks_exact(dim / 2 * PANEL).enumerate() {
                tiles.product_bf16(queries, keys, &mut self.scores[panel * PANEL..], row);
            }
            let mut sums = [1f32; ROWS];
            let each = self.scores.chunks_exact(row).zip(self.weights.chunks_exact_mut(deep));
            for ((scores, weights), sum) in each.zip(&mut sums).take(rows) {
                *sum = rows::softmax_narrow(level, scores, count, weights);
            }
            for (panel, values) in self.values.chunks_exact(deep / 2 * PANEL).enumerate() {
                tiles.product_bf16(&self.weights, values, tile.0.as_flattened_mut(), PANEL);
                for (i, (tile, sum)) in tile.0.iter().zip(sums).enumerate().take(rows) {
                    write(&mut out, first + i, panel * PANEL, tile, 1.0 / sum);
                }
            }
        }
    }

    fn pack(&mut self, level: SimdLevel, task: &Task, text: Range<usize>, head: usize) {
        let (count, dim) = (text.len(), task.heads.dim);
        let rows = count.next_multiple_of(PANEL);
        let pairs = count.next_multiple_of(BF16_DEPTH) / 2;
        self.queries.clear();
        self.queries.resize(rows * dim, 0);
        self.keys.clear();
        self.keys.resize(rows * dim / 2, 0);
        self.values.clear();
        self.values.resize(pairs * dim, 0);
        let scale = 1.0 / (dim as f32).sqrt();
        let mut key = vec![0u16; dim];
        for (i, token) in text.clone().enumerate() {
            let queries = &mut self.queries[i * dim..][..dim];
            rows::narrow(level, task.vector(token, 0, head), scale, queries);
            rows::narrow(level, task.vector(token, 1, head), 1.0, &mut key);
            let keys = &mut self.keys[i / PANEL * (dim / 2 * PANEL)..][..dim / 2 * PANEL];
            for (keys, pair) in keys.chunks_exact_mut(PANEL).zip(key.chunks_exact(2)) {
                keys[i % PANEL] = u32::from(pair[0]) | u32::from(pair[1]) << 16;
            }
        }
        let zeros = vec![0f32; dim];
        for pair in 0..count.div_ceil(2) {
            let first = task.vector(text.start + 2 * pair, 2, head);
            let second = match 2 * pair + 1 < count {
                true => task.vector(text.start + 2 * pair + 1, 2, head),
                false => &zeros,
            };
            let each = first.chunks_exact(PANEL).zip(second.chunks_exact(PANEL));
            for (panel, (first, second)) in each.enumerate() {
                let values = &mut self.values[(panel * pairs + pair) * PANEL..][..PANEL];
                rows::narrow_pair(level, first, second, values);
            }
        }
    }
}
