//! Attention of the tokens of a text to each other, or to their neighbours only.

use std::ops::Range;

use crate::compute::SimdLevel;
#[cfg(target_arch = "x86_64")]
use crate::compute::dense::amx::{self, BF16_DEPTH};
use crate::compute::dense::rows;
use crate::compute::dense::tile::{Line, Out, PANEL, ROWS, Rows, product, product_two};
use crate::compute::pool::{Tile, TileMut, parallel_for_tiles};
use crate::models::catalogue::Precision;

/// How the tokens of a layer look at each other.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// How many heads there are.
    pub heads: usize,
    /// Values of each.
    pub dim: usize,
    /// How many tokens to either side of its own place a token sees; `None`: all.
    pub reach: Option<usize>,
    /// Where 8 bits are precise enough for the weights, matrix tiles multiply bf16 here.
    pub precision: Precision,
}

impl Attention {
    fn width(self) -> usize {
        self.heads * self.dim
    }

    /// What scores are multiplied by.
    fn scale(self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// What the tokens at `places` of a text of `count` see, any of them.
    fn seen(self, places: Range<usize>, count: usize) -> Range<usize> {
        match self.reach {
            Some(reach) => {
                places.start.saturating_sub(reach)..count.min(places.end.saturating_add(reach))
            }
            None => 0..count,
        }
    }

    /// Multiply-additions for a text of `tokens` tokens.
    pub fn operations(self, tokens: usize) -> usize {
        let seen: usize = match self.reach {
            Some(_) => (0..tokens).map(|place| self.seen(place..place + 1, tokens).len()).sum(),
            None => tokens * tokens,
        };
        2 * seen * self.width()
    }
}

/// `softmax(Q · Kᵀ / √dim) · V` for each text and head (Vaswani et al. 2017).
///
/// `qkv` is `[tokens, 3 · heads · dim]` for the tokens of all texts, `texts` are their ranges; the
/// result goes to `out`, `[tokens, heads · dim]`. Only the scores of a few tokens exist at a time, and of
/// what none of them sees, none.
pub fn attend(qkv: &[f32], attention: Attention, texts: &[Range<usize>], out: &mut [f32]) {
    let level = SimdLevel::detect();
    let task = Task { qkv, attention };
    let Attention { heads, dim, .. } = attention;
    let ends: Vec<usize> = texts.iter().map(|text| text.end).collect();
    let head_ends: Vec<usize> = (1..=heads).map(|head| head * dim).collect();
    parallel_for_tiles(out, &ends, &head_ends, |tiles| {
        #[cfg(target_arch = "x86_64")]
        if level.has_matrix_tiles()
            && attention.precision == Precision::Int8
            && dim.is_multiple_of(BF16_DEPTH)
        {
            let matrix_tiles = amx::Tiles::new(amx::ROW_BYTES);
            let mut head = Bf16Head::default();
            tiles.for_each(|tile| head.attend(level, &matrix_tiles, &task, tile));
            return;
        }
        let mut head = Head::default();
        tiles.for_each(|tile| head.attend(level, &task, tile));
    });
}

/// What every head reads.
struct Task<'a> {
    qkv: &'a [f32],
    attention: Attention,
}

impl Task<'_> {
    /// Where query (0), key (1) or value (2) of a token are in `qkv`.
    fn at(&self, token: usize, part: usize, head: usize) -> usize {
        (3 * token + part) * self.attention.width() + head * self.attention.dim
    }

    fn vector(&self, token: usize, part: usize, head: usize) -> &[f32] {
        &self.qkv[self.at(token, part, head)..][..self.attention.dim]
    }
}

/// Writes `values`, a head's result for one token, from `column` of the head on. There may be more
/// values than the head has.
fn write(out: &mut TileMut<f32>, token: usize, column: usize, values: &[f32], scale: f32) {
    let out = &mut out.row(token)[column..];
    out.iter_mut().zip(values).for_each(|(out, value)| *out = value * scale);
}

/// `rows` times one panel or two.
fn products(level: SimdLevel, rows: Rows, first: &[Line], second: Option<&[Line]>, out: Out) {
    match second {
        Some(second) => product_two(level, rows, [first, second], out),
        None => product(level, rows, first, out),
    }
}

/// Buffers of one head at a time, kept from text to text.
#[derive(Default)]
struct Head {
    /// Kᵀ: `[panels, dim]`, sixteen tokens a panel.
    keys: Vec<Line>,
    /// V: `[panels, tokens]`, sixteen dimensions a panel.
    values: Vec<Line>,
    /// `[12, seen panels · 16]`
    scores: Vec<f32>,
}

impl Head {
    /// The tile is that of a head and a text.
    fn attend(&mut self, level: SimdLevel, task: &Task, tile: Tile<f32>) {
        let Tile { at: (_, head), rows: text, values: mut out, .. } = tile;
        let count = text.len();
        self.pack(task, text.clone(), head);
        let mut tile = [[0f32; 2 * PANEL]; ROWS];
        for first in (0..count).step_by(ROWS) {
            let places = first..count.min(first + ROWS);
            let rows = places.len();
            // From the beginning of a panel of keys on.
            let seen = task.attention.seen(places.clone(), count);
            let seen = seen.start / PANEL * PANEL..seen.end;
            let row = seen.len().next_multiple_of(PANEL);
            self.score(level, task, (text.start, head), places.clone(), &seen);
            let mut sums = [1f32; ROWS];
            let each = places.zip(self.scores.chunks_exact_mut(row)).zip(&mut sums);
            for ((place, scores), sum) in each {
                let own = task.attention.seen(place..place + 1, count);
                let (unseen, scores) = scores.split_at_mut(own.start - seen.start);
                unseen.fill(0.0);
                *sum = rows::softmax(level, scores, own.len(), task.attention.scale());
            }
            let weights = Rows::new(&self.scores, row, rows);
            for (pair, values) in self.values.chunks(2 * count).enumerate() {
                let (one, two) = values.split_at(count);
                let two = two.get(seen.clone());
                let product = Out::new(tile.as_flattened_mut(), 2 * PANEL);
                products(level, weights, &one[seen.clone()], two, product);
                for (i, (tile, sum)) in tile.iter().zip(sums).enumerate().take(rows) {
                    write(&mut out, first + i, pair * 2 * PANEL, tile, 1.0 / sum);
                }
            }
        }
    }

    /// The products of the queries at `places` of a text with the keys that are `seen`.
    fn score(
        &mut self,
        level: SimdLevel,
        task: &Task,
        (text, head): (usize, usize),
        places: Range<usize>,
        seen: &Range<usize>,
    ) {
        let dim = task.attention.dim;
        let queries = &task.qkv[task.at(text + places.start, 0, head)..];
        let queries = Rows::new(queries, 3 * task.attention.width(), places.len());
        let row = seen.len().next_multiple_of(PANEL);
        self.scores.resize(self.scores.len().max(ROWS * row), 0.0);
        let keys = &self.keys[seen.start / PANEL * dim..seen.end.div_ceil(PANEL) * dim];
        for (pair, keys) in keys.chunks(2 * dim).enumerate() {
            let (one, two) = keys.split_at(dim);
            let two = (!two.is_empty()).then_some(two);
            let scores = Out::new(&mut self.scores[pair * 2 * PANEL..], row);
            products(level, queries, one, two, scores);
        }
    }

    fn pack(&mut self, task: &Task, text: Range<usize>, head: usize) {
        const ZEROS: Line = Line([0.0; PANEL]);
        let (count, dim) = (text.len(), task.attention.dim);
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
    /// `[16, seen panels · 16]`
    scores: Vec<f32>,
    /// `[16, 2 · seen pairs]`
    weights: Vec<u16>,
}

#[cfg(target_arch = "x86_64")]
impl Bf16Head {
    fn attend(&mut self, level: SimdLevel, tiles: &amx::Tiles, task: &Task, tile: Tile<f32>) {
        const ROWS: usize = amx::ROWS;
        let dim = task.attention.dim;
        let Tile { at: (_, head), rows: text, values: mut out, .. } = tile;
        let count = text.len();
        self.pack(level, task, text.clone(), head);
        let mut tile = amx::Sums([[0f32; PANEL]; ROWS]);
        for first in (0..count).step_by(ROWS) {
            let places = first..count.min(first + ROWS);
            let rows = places.len();
            // Tiles are read whole: tokens past the end are zeros, and their results are not used.
            let seen = task.attention.seen(places.clone(), count);
            let start = seen.start / BF16_DEPTH * BF16_DEPTH;
            let row = (seen.end - start).next_multiple_of(PANEL);
            let deep = (seen.end - start).next_multiple_of(BF16_DEPTH);
            self.scores.resize(self.scores.len().max(ROWS * row), 0.0);
            self.weights.resize(self.weights.len().max(ROWS * deep), 0);
            let queries = &self.queries[first * dim..][..ROWS * dim];
            let keys = &self.keys[start * dim / 2..][..row * dim / 2];
            for (panel, keys) in keys.chunks_exact(dim / 2 * PANEL).enumerate() {
                tiles.product_bf16(queries, keys, &mut self.scores[panel * PANEL..], row);
            }
            let mut sums = [1f32; ROWS];
            let each = self.scores.chunks_exact(row).zip(self.weights.chunks_exact_mut(deep));
            for ((place, (scores, weights)), sum) in places.zip(each).zip(&mut sums) {
                let own = task.attention.seen(place..place + 1, count);
                let (unseen, weights) = weights.split_at_mut(own.start - start);
                unseen.fill(0);
                let scores = &scores[own.start - start..];
                *sum = rows::softmax_narrow(level, scores, own.len(), weights);
            }
            let weights = &self.weights[..ROWS * deep];
            let pairs = count.next_multiple_of(BF16_DEPTH) / 2;
            for (panel, values) in self.values.chunks_exact(pairs * PANEL).enumerate() {
                let values = &values[start / 2 * PANEL..][..deep / 2 * PANEL];
                tiles.product_bf16(weights, values, tile.0.as_flattened_mut(), PANEL);
                for (i, (tile, sum)) in tile.0.iter().zip(sums).enumerate().take(rows) {
                    write(&mut out, first + i, panel * PANEL, tile, 1.0 / sum);
                }
            }
        }
    }

    fn pack(&mut self, level: SimdLevel, task: &Task, text: Range<usize>, head: usize) {
        let (count, dim) = (text.len(), task.attention.dim);
        let rows = count.next_multiple_of(PANEL);
        let pairs = count.next_multiple_of(BF16_DEPTH) / 2;
        self.queries.clear();
        self.queries.resize(rows * dim, 0);
        self.keys.clear();
        self.keys.resize(rows * dim / 2, 0);
        self.values.clear();
        self.values.resize(pairs * dim, 0);
        let scale = task.attention.scale();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Straight from the definition, in double precision.
    fn exact(qkv: &[f32], attention: Attention, texts: &[Range<usize>]) -> Vec<f32> {
        let task = Task { qkv, attention };
        let mut out = Vec::new();
        for text in texts {
            for (token, head) in
                text.clone().flat_map(|token| (0..attention.heads).map(move |head| (token, head)))
            {
                let query = task.vector(token, 0, head);
                let near =
                    |key: &usize| attention.reach.is_none_or(|reach| key.abs_diff(token) <= reach);
                let keys: Vec<usize> = text.clone().filter(near).collect();
                let score = |key: &usize| {
                    let products = query.iter().zip(task.vector(*key, 1, head));
                    let score: f64 = products.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                    (score / (attention.dim as f64).sqrt()).exp()
                };
                let weights: Vec<f64> = keys.iter().map(score).collect();
                let sum: f64 = weights.iter().sum();
                out.extend((0..attention.dim).map(|i| {
                    let value = |key: &usize| f64::from(task.vector(*key, 2, head)[i]);
                    let mixed: f64 = keys.iter().zip(&weights).map(|(key, w)| w * value(key)).sum();
                    (mixed / sum) as f32
                }));
            }
        }
        out
    }

    /// Texts that end in the middle of panels and of blocks of rows, windows that begin there; in 8
    /// bits matrix tiles take part, if there are any.
    #[test]
    fn tokens_see_what_they_reach_and_nothing_else() {
        let lengths = [1, 7, 16, 33, 100, 161];
        let mut texts = Vec::new();
        let mut end = 0;
        for length in lengths {
            texts.push(end..end + length);
            end += length;
        }
        for (heads, dim) in [(2, 32), (3, 16), (2, 24)] {
            let count = end * 3 * heads * dim;
            let qkv: Vec<f32> = (0..count).map(|i| (i as f32 * 1.37).sin() * 1.5).collect();
            for reach in [None, Some(0), Some(1), Some(8), Some(30), Some(64), Some(1000)] {
                for (precision, limit) in [(Precision::F32, 1e-5), (Precision::Int8, 0.03)] {
                    let attention = Attention { heads, dim, reach, precision };
                    let mut out = vec![f32::NAN; end * heads * dim];
                    attend(&qkv, attention, &texts, &mut out);
                    for (found, exact) in out.iter().zip(exact(&qkv, attention, &texts)) {
                        let off = (found - exact).abs();
                        assert!(off < limit, "{off} {attention:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn local_attention_takes_time_in_proportion_to_the_text() {
        let near = Attention { heads: 6, dim: 64, reach: Some(64), precision: Precision::F32 };
        let all = Attention { reach: None, ..near };
        assert_eq!(near.operations(10), all.operations(10));
        assert!(near.operations(8192) < 8192 * 129 * 2 * 384);
        assert_eq!(all.operations(8192), 8192 * 8192 * 2 * 384);
    }
}
