//! Attention of every token of a text to every other.

use std::ops::Range;

use crate::cpu::team::{Parts, share};
use crate::cpu::tile::{PANEL, ROWS, product};
use crate::cpu::{Level, level, rows};

/// Number and size of attention heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Heads.
    pub count: usize,
    /// Values in each.
    pub dim: usize,
}

impl Heads {
    fn width(self) -> usize {
        self.count * self.dim
    }
}

/// `softmax(Q · Kᵀ / √dim) · V` for each text and head (Vaswani et al. 2017).
///
/// `qkv` is `[tokens, 3 · heads · dim]` for the tokens of all texts, `texts` are their ranges; the
/// result goes to `out`, `[tokens, heads · dim]`. Of the scores, six rows exist at a time.
pub fn attend(qkv: &[f32], heads: Heads, texts: &[Range<usize>], out: &mut [f32]) {
    let level = level();
    let out = Parts::new(out);
    share(texts.len() * heads.count, |some| {
        let mut head = Head::default();
        for item in some {
            let (text, number) = (&texts[item / heads.count], item % heads.count);
            head.attend(level, qkv, heads, text.clone(), number, &out);
        }
    });
}

/// What one head works with, kept from text to text.
#[derive(Default)]
struct Head {
    /// Kᵀ: `[panels, dim, 16]`, sixteen tokens a panel.
    keys: Vec<f32>,
    /// V: `[panels, tokens, 16]`, sixteen dimensions a panel.
    values: Vec<f32>,
    /// `[6, panels · 16]`
    scores: Vec<f32>,
}

impl Head {
    fn attend(
        &mut self,
        level: Level,
        qkv: &[f32],
        heads: Heads,
        text: Range<usize>,
        number: usize,
        out: &Parts<f32>,
    ) {
        let (width, dim) = (heads.width(), heads.dim);
        let count = text.len();
        let vector = |token: usize, part: usize| {
            let at = (text.start + token) * 3 * width + part * width + number * dim;
            &qkv[at..at + dim]
        };
        let panels = count.div_ceil(PANEL);
        self.keys.clear();
        self.keys.resize(panels * dim * PANEL, 0.0);
        self.values.clear();
        self.values.resize(dim.div_ceil(PANEL) * count * PANEL, 0.0);
        for token in 0..count {
            let (panel, lane) = (token / PANEL, token % PANEL);
            let keys = &mut self.keys[panel * dim * PANEL..][..dim * PANEL];
            for (keys, key) in keys.chunks_exact_mut(PANEL).zip(vector(token, 1)) {
                keys[lane] = *key;
            }
            for (panel, value) in vector(token, 2).chunks(PANEL).enumerate() {
                let at = (panel * count + token) * PANEL;
                self.values[at..at + value.len()].copy_from_slice(value);
            }
        }
        let row = panels * PANEL;
        self.scores.resize(ROWS * row, 0.0);
        let scale = 1.0 / (dim as f32).sqrt();
        let mut tile = [[0f32; PANEL]; ROWS];
        for first in (0..count).step_by(ROWS) {
            let rows = ROWS.min(count - first);
            let queries = std::array::from_fn(|i| vector(first + i.min(rows - 1), 0));
            for (panel, keys) in self.keys.chunks_exact(dim * PANEL).enumerate() {
                product(level, queries, keys, &mut tile);
                for (scores, tile) in self.scores.chunks_exact_mut(row).zip(&tile) {
                    scores[panel * PANEL..(panel + 1) * PANEL].copy_from_slice(tile);
                }
            }
            let mut sums = [1f32; ROWS];
            for (scores, sum) in self.scores.chunks_exact_mut(row).zip(&mut sums).take(rows) {
                *sum = rows::softmax(level, scores, count, scale);
            }
            let weights = std::array::from_fn(|i| &self.scores[i.min(rows - 1) * row..][..count]);
            for (panel, values) in self.values.chunks_exact(count * PANEL).enumerate() {
                product(level, weights, values, &mut tile);
                let columns = panel * PANEL..dim.min((panel + 1) * PANEL);
                for (i, (tile, sum)) in tile.iter().zip(sums).enumerate().take(rows) {
                    let at = (text.start + first + i) * width + number * dim;
                    // SAFETY: no other call has this head of this token.
                    let out = unsafe { out.part(at + columns.start..at + columns.end) };
                    out.iter_mut().zip(tile).for_each(|(out, value)| *out = value / sum);
                }
            }
        }
    }
}
