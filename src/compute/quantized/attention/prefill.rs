//! Attention of many positions.

use std::arch::x86_64::{
    __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};
use std::cell::RefCell;
use std::ops::Range;

use super::weights::{exponentials, largest};
use super::{AttentionShape, Element, KvCache};
use crate::compute::aligned::AlignedBuf;
use crate::compute::pool::{DisjointSlices, parallel_for};

/// Keys in a tile; four vectors of 256 bits.
const TILE: usize = 32;
/// Positions in a block: they share the conversion of a tile.
const BLOCK_POSITIONS: usize = 32;

/// Some positions, with the query heads of one KV head.
struct Block {
    kv_head: usize,
    /// Counted from the first of this pass.
    tokens: Range<usize>,
}

impl Block {
    /// The last positions have most keys: they come first, so that no core is left with them at the
    /// end.
    fn of(number: usize, kv_heads: usize, tokens: usize) -> Self {
        let from_last = number / kv_heads;
        let start = (tokens.div_ceil(BLOCK_POSITIONS) - 1 - from_last) * BLOCK_POSITIONS;
        let end = tokens.min(start + BLOCK_POSITIONS);
        Self { kv_head: number % kv_heads, tokens: start..end }
    }
}

impl<T: Element> KvCache<T> {
    /// Many positions from `position` on, `q` and `out` `[tokens, query_heads, head_dim]`.
    pub(super) fn prefill(&self, q: &[f32], position: usize, out: &mut [f32]) {
        let AttentionShape { query_heads, kv_heads, head_dim, .. } = self.shape;
        let tokens = q.len() / (query_heads * head_dim);
        let out = DisjointSlices::new(out);
        parallel_for(kv_heads * tokens.div_ceil(BLOCK_POSITIONS), |blocks| {
            WORKSPACE.with_borrow_mut(|workspace| {
                workspace.fit(self.shape);
                for block in blocks.map(|number| Block::of(number, kv_heads, tokens)) {
                    workspace.gather(q, &block);
                    self.attend_block(workspace, position, &block);
                    workspace.scatter(&out, &block);
                }
            });
        });
    }

    fn attend_block(&self, workspace: &mut Workspace, position: usize, block: &Block) {
        let wide = self.isa.has_avx512();
        let dim = self.shape.head_dim;
        let keys = position + block.tokens.end;
        let (k, v) = self.head(block.kv_head, keys);
        // Where the first token's window begins, the others' do not begin earlier.
        let first_key = self.shape.first_key(position + block.tokens.start);
        for first in (first_key..keys).step_by(TILE) {
            let range = first * dim..keys.min(first + TILE) * dim;
            let visible = |token: usize| {
                let at = position + block.tokens.start + token;
                let in_tile = |key: usize| key.saturating_sub(first).min(TILE);
                in_tile(self.shape.first_key(at))..in_tile(at + 1)
            };
            // SAFETY: `isa` is proof of AVX2, FMA and F16C, and of AVX-512 if `wide`.
            unsafe {
                workspace.load_tile(&k[range.clone()], &v[range]);
                if wide {
                    workspace.accumulate_wide(visible);
                } else {
                    workspace.accumulate(visible);
                }
            }
        }
    }
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// What a thread needs for a block and a tile.
#[derive(Default)]
struct Workspace {
    query_heads: usize,
    /// Query heads of the block.
    group: usize,
    dim: usize,
    /// Positions times group: row = token · group + query head. There is room for a multiple of four.
    rows: usize,
    /// `[rows, dim]`
    q: AlignedBuf<f32>,
    /// Keys, transposed: `[dim, TILE]`.
    k: AlignedBuf<f32>,
    /// `[TILE, dim]`
    v: AlignedBuf<f32>,
    /// Scores, then weights: `[rows, TILE]`.
    scores: AlignedBuf<f32>,
    /// `[rows, dim]`
    mixed: AlignedBuf<f32>,
    /// For each row, the largest score so far and the sum of weights.
    state: Vec<(f32, f32)>,
}

impl Workspace {
    fn fit(&mut self, shape: AttentionShape) {
        let AttentionShape { query_heads, head_dim: dim, .. } = shape;
        let max_rows = (BLOCK_POSITIONS * shape.group()).next_multiple_of(4);
        (self.query_heads, self.group, self.dim) = (query_heads, shape.group(), dim);
        self.q.resize(max_rows * dim);
        self.k.resize(dim * TILE);
        self.v.resize(dim * TILE);
        self.scores.resize(max_rows * TILE);
        self.mixed.resize(max_rows * dim);
        self.state.resize(max_rows, (f32::MIN, 0.0));
    }

    /// Collects the queries of the block.
    fn gather(&mut self, q: &[f32], Block { kv_head, tokens }: &Block) {
        let width = self.group * self.dim;
        self.rows = tokens.len() * self.group;
        self.q.fill(0.0);
        self.mixed.fill(0.0);
        self.state.fill((f32::MIN, 0.0));
        for (token, row) in tokens.clone().zip(self.q.chunks_exact_mut(width)) {
            let at = token * self.query_heads * self.dim + kv_head * width;
            row.copy_from_slice(&q[at..at + width]);
        }
    }

    /// Writes the results of the block, `[tokens, query_heads, dim]`.
    fn scatter(&self, out: &DisjointSlices<f32>, Block { kv_head, tokens }: &Block) {
        let rows = self.mixed.chunks_exact(self.dim).zip(&self.state);
        for (row, (mixed, (_, sum))) in rows.enumerate().take(self.rows) {
            let (token, query) = (tokens.start + row / self.group, row % self.group);
            let head = kv_head * self.group + query;
            let at = (token * self.query_heads + head) * self.dim;
            // SAFETY: no other call has this position of this head.
            let out = unsafe { out.part(at..at + self.dim) };
            for (out, mixed) in out.iter_mut().zip(mixed) {
                *out = mixed / sum;
            }
        }
    }

    /// Converts up to [`TILE`] keys and values, `[keys, dim]` each.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn load_tile<T: Element>(&mut self, k: &[T], v: &[T]) {
        let mut eight = [0f32; 8];
        for (key, row) in k.chunks_exact(self.dim).enumerate() {
            for (i, values) in row.chunks_exact(8).enumerate() {
                // SAFETY: there are eight.
                unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), T::load(values.as_ptr())) };
                for (j, value) in eight.iter().enumerate() {
                    self.k[(i * 8 + j) * TILE + key] = *value;
                }
            }
        }
        for (from, to) in v.chunks_exact(8).zip(self.v.chunks_exact_mut(8)) {
            // SAFETY: there are eight in both.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), T::load(from.as_ptr())) };
        }
        // Past the end of a short tile weights are 0, but 0 times a stale NaN is a NaN.
        self.v[v.len()..].fill(0.0);
    }

    /// Adds the tile to all rows; `visible` says which of its keys a token may see.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn accumulate(&mut self, visible: impl Fn(usize) -> Range<usize>) {
        let dim = self.dim;
        self.scores[..self.rows.next_multiple_of(2) * TILE].fill(0.0);
        for row in (0..self.rows).step_by(2) {
            let q = Rows { values: &self.q[row * dim..], stride: dim };
            let k = Rows { values: &self.k, stride: TILE };
            multiply_add::<{ TILE / 8 }>(q, k, dim, &mut self.scores[row * TILE..], TILE);
        }
        self.weigh(visible);
        for row in (0..self.rows).step_by(2) {
            self.mix_two(row, 0);
        }
    }

    /// [`Workspace::accumulate`] with vectors of 512 bits.
    #[target_feature(enable = "avx2,fma,f16c,avx512f")]
    fn accumulate_wide(&mut self, visible: impl Fn(usize) -> Range<usize>) {
        let dim = self.dim;
        self.scores[..self.rows.next_multiple_of(4) * TILE].fill(0.0);
        for row in (0..self.rows).step_by(4) {
            let q = Rows { values: &self.q[row * dim..], stride: dim };
            let k = Rows { values: &self.k, stride: TILE };
            multiply_add_wide(q, k, dim, &mut self.scores[row * TILE..], TILE);
        }
        self.weigh(visible);
        let whole = dim / TILE * TILE;
        for row in (0..self.rows).step_by(4) {
            let weights = Rows { values: &self.scores[row * TILE..], stride: TILE };
            for column in (0..whole).step_by(TILE) {
                let values = Rows { values: &self.v[column..], stride: dim };
                let mixed = &mut self.mixed[row * dim + column..];
                multiply_add_wide(weights, values, TILE, mixed, dim);
            }
            for row in [row, row + 2] {
                self.mix_two(row, whole);
            }
        }
    }

    /// Turns the scores of all rows into weights for what is mixed so far.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn weigh(&mut self, visible: impl Fn(usize) -> Range<usize>) {
        for row in 0..self.rows {
            let Range { start, end } = visible(row / self.group);
            let scores = &mut self.scores[row * TILE..(row + 1) * TILE];
            scores[..start].fill(f32::NEG_INFINITY);
            scores[end..].fill(f32::NEG_INFINITY);
            let (before, sum) = self.state[row];
            let largest = largest(scores).max(before);
            if largest > before {
                let factor = (before - largest).exp();
                for mixed in &mut self.mixed[row * self.dim..(row + 1) * self.dim] {
                    *mixed *= factor;
                }
                self.state[row] = (largest, sum * factor);
            }
            self.state[row].1 += exponentials(scores, largest);
            scores[..start].fill(0.0);
            scores[end..].fill(0.0);
        }
    }

    /// Adds the weighted values to two rows, from a column on.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn mix_two(&mut self, row: usize, from: usize) {
        let dim = self.dim;
        let weights = Rows { values: &self.scores[row * TILE..], stride: TILE };
        for column in (from..dim).step_by(TILE) {
            let mixed = &mut self.mixed[row * dim + column..];
            if dim - column >= TILE {
                let values = Rows { values: &self.v[column..], stride: dim };
                multiply_add::<{ TILE / 8 }>(weights, values, TILE, mixed, dim);
                continue;
            }
            for eight in (0..dim - column).step_by(8) {
                let values = Rows { values: &self.v[column + eight..], stride: dim };
                multiply_add::<1>(weights, values, TILE, &mut mixed[eight..], dim);
            }
        }
    }
}

/// Rows that begin `stride` values apart.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
}

impl Rows<'_> {
    /// Whether there are `rows` of `columns` values.
    #[inline]
    fn hold(self, rows: usize, columns: usize) -> bool {
        self.values.len() >= (rows - 1) * self.stride + columns
    }
}

/// `c += a · b` for `a` `[2, n]`, `b` `[n, 8 · VECTORS]`, `c` `[2, 8 · VECTORS]`, whose rows begin
/// `c_stride` values apart.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply_add<const VECTORS: usize>(a: Rows, b: Rows, n: usize, c: &mut [f32], c_stride: usize) {
    assert!(n > 0 && a.hold(2, n) && b.hold(n, 8 * VECTORS));
    assert!(Rows { values: c, stride: c_stride }.hold(2, 8 * VECTORS));
    let (a_row, b_row) = (a.stride, b.stride);
    let (a, b, c) = (a.values.as_ptr(), b.values.as_ptr(), c.as_mut_ptr());
    // SAFETY: the slices hold these rows, as checked above.
    unsafe {
        let at = |row: usize, column: usize| c.add(row * c_stride + 8 * column);
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; 2];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_loadu_ps(at(row, column));
            }
        }
        let [upper, lower] = &mut sums;
        for i in 0..n {
            let first = _mm256_set1_ps(*a.add(i));
            let second = _mm256_set1_ps(*a.add(a_row + i));
            for (column, (upper, lower)) in upper.iter_mut().zip(&mut *lower).enumerate() {
                let b = _mm256_loadu_ps(b.add(i * b_row + 8 * column));
                *upper = _mm256_fmadd_ps(first, b, *upper);
                *lower = _mm256_fmadd_ps(second, b, *lower);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(at(row, column), *sum);
            }
        }
    }
}

/// `c += a · b` for `a` `[4, n]`, `b` `[n, 32]`, `c` `[4, 32]`, whose rows begin `c_stride` values
/// apart.
#[target_feature(enable = "avx512f")]
#[inline]
fn multiply_add_wide(a: Rows, b: Rows, n: usize, c: &mut [f32], c_stride: usize) {
    assert!(n > 0 && a.hold(4, n) && b.hold(n, 32));
    assert!(Rows { values: c, stride: c_stride }.hold(4, 32));
    let (a_row, b_row) = (a.stride, b.stride);
    let (a, b, c) = (a.values.as_ptr(), b.values.as_ptr(), c.as_mut_ptr());
    // SAFETY: the slices hold these rows, as checked above.
    unsafe {
        let at = |row: usize, column: usize| c.add(row * c_stride + 16 * column);
        let mut sums: [[__m512; 2]; 4] = std::array::from_fn(|row| {
            std::array::from_fn(|column| _mm512_loadu_ps(at(row, column)))
        });
        for i in 0..n {
            let b: [__m512; 2] =
                std::array::from_fn(|column| _mm512_loadu_ps(b.add(i * b_row + 16 * column)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(row * a_row + i));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(at(row, column), *sum);
            }
        }
    }
}
