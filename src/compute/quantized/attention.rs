//! Causal attention with grouped queries over a KV cache, without ever holding all scores.
//!
//! Tiles of keys with a running maximum and sum, as in `FlashAttention` (Dao et al. 2022); a single
//! query is shared among the cores by parts of the keys, as in Flash-Decoding (Dao et al. 2023).

use std::arch::x86_64::{
    __m128i, __m256, __m512, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128,
    _mm256_add_ps, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};
use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::aligned::Lines;
use super::exp::exp;
use super::lanes::{lanes, total};
use crate::compute::pool::{DisjointSlices, parallel_for, threads};
use crate::compute::simd::{InstructionSet, SimdLevel};

/// Keys in a tile of prefill; four vectors.
const TILE: usize = 32;
/// Query positions that share a tile's conversion in prefill.
const POSITIONS: usize = 32;
/// The most keys in a part of decode.
const PART: usize = 512;
/// The fewest, unless there are no more.
const SMALL_PART: usize = 32;
/// Query heads that share a pass over the keys in decode.
const TOGETHER: usize = 4;

/// How keys and values are kept. Every bit pattern is a value of the type.
pub trait Element: Copy + Send + Sync {
    /// Eight numbers.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; there are eight at `from`.
    unsafe fn load(from: *const Self) -> __m256;
    /// Eight numbers.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; there is room for eight at `to`.
    unsafe fn store(to: *mut Self, values: __m256);
}

impl Element for f32 {
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: the caller's.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn store(to: *mut Self, values: __m256) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_ps(to, values) }
    }
}

/// The bits of an IEEE half.
impl Element for u16 {
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: the caller's.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.cast::<__m128i>()) })
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn store(to: *mut Self, values: __m256) {
        let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
        // SAFETY: the caller's.
        unsafe { _mm_storeu_si128(to.cast::<__m128i>(), halves) }
    }
}

/// Number and size of heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Of the queries.
    pub queries: usize,
    /// Of keys and values; divides `queries`.
    pub kv: usize,
    /// Values in a head, a multiple of 8.
    pub dim: usize,
}

impl Heads {
    fn group(self) -> usize {
        self.queries / self.kv
    }

    /// Values of queries, keys and values of one position.
    fn width(self) -> usize {
        (self.queries + 2 * self.kv) * self.dim
    }
}

/// Rotary angles: cosines and sines, `[context, dim / 2]` each.
#[derive(Debug, Clone, Copy)]
pub struct Angles<'a> {
    /// Cosines.
    pub cos: &'a [f32],
    /// Sines.
    pub sin: &'a [f32],
    /// Whether neighbours are rotated together, or value i with value i + dim / 2.
    pub interleaved: bool,
}

/// Zeros from the system, whose pages take memory only once they are written, and whose lack is an
/// error and not the program's end.
struct Room<T> {
    map: MmapMut,
    element: PhantomData<T>,
}

impl<T: Element> Room<T> {
    fn new(count: usize) -> io::Result<Self> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { map: MmapMut::map_anon(bytes)?, element: PhantomData })
    }
}

impl<T: Element> Deref for Room<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: a map starts at a page, and every bit pattern is a `T`.
        unsafe {
            std::slice::from_raw_parts(self.map.as_ptr().cast(), self.map.len() / size_of::<T>())
        }
    }
}

impl<T: Element> DerefMut for Room<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let length = self.map.len() / size_of::<T>();
        // SAFETY: as above, and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), length) }
    }
}

/// Attention over the keys and values of one layer.
pub trait Attend {
    /// Rotates queries and keys, keeps keys and values, and mixes the values by attention.
    ///
    /// `qkv` is `[tokens, (heads + 2 · kv_heads) · dim]` for the tokens from `position` on; the
    /// result goes to `out`, `[tokens, heads · dim]`. `rotated` is room for the queries.
    fn attend(
        &mut self,
        qkv: &[f32],
        angles: Angles,
        position: usize,
        rotated: &mut Lines<f32>,
        out: &mut [f32],
    );
}

impl<T: Element> Attend for KvCache<T> {
    fn attend(
        &mut self,
        qkv: &[f32],
        angles: Angles,
        position: usize,
        rotated: &mut Lines<f32>,
        out: &mut [f32],
    ) {
        let Heads { queries, dim, .. } = self.heads;
        let tokens = qkv.len() / self.heads.width();
        assert!(position + tokens <= self.context, "the context is full");
        assert_eq!(out.len(), tokens * queries * dim);
        rotated.resize(tokens * queries * dim);
        self.append(qkv, angles, position, rotated);
        if tokens == 1 {
            self.decode(rotated, position + 1, out);
        } else {
            self.prefill(SimdLevel::detect().has(InstructionSet::Avx512), rotated, position, out);
        }
    }
}

/// Keys and values of one layer, `[kv_heads, context, dim]` each.
pub struct KvCache<T> {
    k: Room<T>,
    v: Room<T>,
    heads: Heads,
    context: usize,
}

impl<T: Element> KvCache<T> {
    /// Room for `context` positions, at least one.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub fn new(heads: Heads, context: usize) -> io::Result<Self> {
        assert!(heads.dim.is_multiple_of(8) && heads.queries.is_multiple_of(heads.kv));
        assert!(super::is_supported());
        let room = || {
            let values = [context, heads.kv, heads.dim].into_iter().try_fold(1, usize::checked_mul);
            Room::new(values.ok_or(io::ErrorKind::OutOfMemory)?)
        };
        Ok(Self { k: room()?, v: room()?, heads, context })
    }

    /// What it takes, in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        (size_of_val(&*self.k) + size_of_val(&*self.v)) as u64
    }

    /// Writes the keys and values into the cache and the rotated queries, already divided by √dim,
    /// to `rotated`.
    fn append(&mut self, qkv: &[f32], angles: Angles, position: usize, rotated: &mut [f32]) {
        let heads @ Heads { queries, kv, dim } = self.heads;
        let (tokens, context) = (qkv.len() / heads.width(), self.context);
        let scale = 1.0 / (dim as f32).sqrt();
        let rotated = DisjointSlices::new(rotated);
        let (ks, vs) = (DisjointSlices::new(&mut self.k), DisjointSlices::new(&mut self.v));
        let one = |token: usize| {
            let at = position + token;
            let cos = &angles.cos[at * dim / 2..(at + 1) * dim / 2];
            let sin = &angles.sin[at * dim / 2..(at + 1) * dim / 2];
            let row = &qkv[token * heads.width()..(token + 1) * heads.width()];
            let (q, row) = row.split_at(queries * dim);
            let (k, v) = row.split_at(kv * dim);
            // SAFETY: no other call has this token.
            let out = unsafe { rotated.part(token * queries * dim..(token + 1) * queries * dim) };
            for (out, head) in out.chunks_exact_mut(dim).zip(q.chunks_exact(dim)) {
                rotate(head, cos, sin, angles.interleaved, scale, out);
            }
            let mut turned = vec![0f32; dim];
            for head in 0..kv {
                rotate(&k[head * dim..][..dim], cos, sin, angles.interleaved, 1.0, &mut turned);
                let start = (head * context + at) * dim;
                // SAFETY: no other call has this position.
                let (k, kept) =
                    unsafe { (ks.part(start..start + dim), vs.part(start..start + dim)) };
                // SAFETY: the instructions are there (see `new`).
                unsafe {
                    keep(&turned, k);
                    keep(&v[head * dim..][..dim], kept);
                }
            }
        };
        if tokens == 1 {
            one(0);
        } else {
            parallel_for(tokens, |some| some.for_each(one));
        }
    }

    /// One position, `q` and `out` `[heads, dim]`, over the first `keys` keys.
    fn decode(&self, q: &[f32], keys: usize, out: &mut [f32]) {
        let heads @ Heads { queries, kv, dim } = self.heads;
        let passes = heads.group().div_ceil(TOGETHER);
        // A few parts for each of the threads, which are not all as fast.
        let wished = (4 * threads()).div_ceil(kv * passes);
        let length = keys.div_ceil(wished).next_multiple_of(8).clamp(SMALL_PART, PART);
        let parts = keys.div_ceil(length);
        // For each query head and part: the largest score, the sum of weights, the mixed values.
        let width = dim + 2;
        let mut partial = vec![0f32; queries * parts * width];
        let shared = DisjointSlices::new(&mut partial);
        parallel_for(kv * passes * parts, |some| {
            for item in some {
                let (part, item) = (item % parts, item / parts);
                let (pass, head) = (item % passes, item / passes);
                let first = head * heads.group() + pass * TOGETHER;
                let count = TOGETHER.min(heads.group() - pass * TOGETHER);
                let some_keys = part * length..keys.min((part + 1) * length);
                let at = head * self.context * dim;
                let (k, v) = (&self.k[at..at + keys * dim], &self.v[at..at + keys * dim]);
                let q = &q[first * dim..(first + count) * dim];
                let mut each = (first..first + count).map(|head| {
                    let start = (head * parts + part) * width;
                    // SAFETY: no other call has this part of this head.
                    unsafe { shared.part(start..start + width) }
                });
                let mut next = || each.next().unwrap_or_default();
                // SAFETY: the instructions are there (see `new`).
                unsafe {
                    match count {
                        1 => decode_part::<T, 1>(q, k, v, some_keys, dim, [next()]),
                        2 => decode_part::<T, 2>(q, k, v, some_keys, dim, [next(), next()]),
                        3 => {
                            decode_part::<T, 3>(q, k, v, some_keys, dim, [next(), next(), next()]);
                        }
                        _ => {
                            let out = [next(), next(), next(), next()];
                            decode_part::<T, 4>(q, k, v, some_keys, dim, out);
                        }
                    }
                }
            }
        });
        for (partial, out) in partial.chunks_exact(parts * width).zip(out.chunks_exact_mut(dim)) {
            let largest =
                partial.chunks_exact(width).fold(f32::MIN, |most, part| most.max(part[0]));
            let mut sum = 0f32;
            out.fill(0.0);
            for part in partial.chunks_exact(width) {
                let weight = (part[0] - largest).exp();
                sum += part[1] * weight;
                for (out, value) in out.iter_mut().zip(&part[2..]) {
                    *out += value * weight;
                }
            }
            for out in out {
                *out /= sum;
            }
        }
    }

    /// Many positions from `position` on, `q` and `out` `[tokens, heads, dim]`; `wide` with vectors
    /// of 512 bits.
    fn prefill(&self, wide: bool, q: &[f32], position: usize, out: &mut [f32]) {
        let Heads { queries, kv, dim } = self.heads;
        let tokens = q.len() / (queries * dim);
        let out = DisjointSlices::new(out);
        let blocks = tokens.div_ceil(POSITIONS);
        let some_blocks = |some: std::ops::Range<usize>, tiles: &mut Tiles| {
            tiles.fit(self.heads);
            for item in some {
                // The last positions have most keys: they come first, so that no core is left
                // with them at the end.
                let (block, head) = (blocks - 1 - item / kv, item % kv);
                let start = block * POSITIONS;
                let count = POSITIONS.min(tokens - start);
                tiles.gather(q, self.heads, head, start, count);
                let keys = position + start + count;
                let at = head * self.context * dim;
                let (k, v) = (&self.k[at..at + keys * dim], &self.v[at..at + keys * dim]);
                for first in (0..keys).step_by(TILE) {
                    let valid = TILE.min(keys - first);
                    let rows = first * dim..(first + valid) * dim;
                    // SAFETY: the instructions are there (see `new`).
                    unsafe {
                        tiles.take(&k[rows.clone()], &v[rows], dim);
                        let visible =
                            |token: usize| (position + start + token + 1).saturating_sub(first);
                        if wide {
                            tiles.accumulate_wide(dim, visible);
                        } else {
                            tiles.accumulate(dim, visible);
                        }
                    }
                }
                tiles.scatter(&out, self.heads, head, start, count);
            }
        };
        parallel_for(kv * blocks, |some| TILES.with_borrow_mut(|tiles| some_blocks(some, tiles)));
    }
}

thread_local! {
    static TILES: RefCell<Tiles> = RefCell::default();
}

/// What one core needs for a block of positions and one head of keys.
#[derive(Default)]
struct Tiles {
    /// Query heads of the group.
    group: usize,
    /// Positions times group; there is room for a multiple of four.
    rows: usize,
    /// `[rows, dim]`
    q: Lines<f32>,
    /// Keys, transposed: `[dim, TILE]`.
    k: Lines<f32>,
    /// `[TILE, dim]`
    v: Lines<f32>,
    /// Scores, then weights: `[rows, TILE]`.
    scores: Lines<f32>,
    /// `[rows, dim]`
    mixed: Lines<f32>,
    /// Running maximum and sum for each row.
    state: Vec<(f32, f32)>,
}

impl Tiles {
    fn fit(&mut self, heads: Heads) {
        let most = (POSITIONS * heads.group()).next_multiple_of(4);
        self.group = heads.group();
        self.q.resize(most * heads.dim);
        self.k.resize(heads.dim * TILE);
        self.v.resize(heads.dim * TILE);
        self.scores.resize(most * TILE);
        self.mixed.resize(most * heads.dim);
        self.state.resize(most, (f32::MIN, 0.0));
    }

    /// Collects the queries of the block: row = token · group + query head.
    fn gather(&mut self, q: &[f32], heads: Heads, head: usize, start: usize, count: usize) {
        let wide = heads.group() * heads.dim;
        self.rows = count * heads.group();
        self.q.fill(0.0);
        self.mixed.fill(0.0);
        self.state.fill((f32::MIN, 0.0));
        for (token, row) in self.q.chunks_exact_mut(wide).take(count).enumerate() {
            let at = (start + token) * heads.queries * heads.dim + head * wide;
            row.copy_from_slice(&q[at..at + wide]);
        }
    }

    fn scatter(
        &self,
        out: &DisjointSlices<f32>,
        heads: Heads,
        head: usize,
        start: usize,
        count: usize,
    ) {
        let dim = heads.dim;
        for row in 0..count * self.group {
            let (token, query) = (row / self.group, row % self.group);
            let at = ((start + token) * heads.queries + head * self.group + query) * dim;
            // SAFETY: no other call has this position of this head.
            let out = unsafe { out.part(at..at + dim) };
            let sum = self.state[row].1;
            for (out, mixed) in out.iter_mut().zip(&self.mixed[row * dim..]) {
                *out = mixed / sum;
            }
        }
    }

    /// Converts up to [`TILE`] keys and values, `[keys, dim]` each.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn take<T: Element>(&mut self, k: &[T], v: &[T], dim: usize) {
        let mut eight = [0f32; 8];
        for (key, row) in k.chunks_exact(dim).enumerate() {
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
        // A short tile's left-over values have weight 0, which a stale NaN would survive.
        self.v[v.len()..].fill(0.0);
    }

    /// Adds the tile to all rows; `visible` tells how many of its keys a token may see.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn accumulate(&mut self, dim: usize, visible: impl Fn(usize) -> usize) {
        self.scores[..self.rows.next_multiple_of(2) * TILE].fill(0.0);
        for row in (0..self.rows).step_by(2) {
            // SAFETY: two rows of `dim` queries, `dim` rows of keys, two rows of scores.
            unsafe {
                multiply_add::<{ TILE / 8 }>(
                    self.q.as_ptr().add(row * dim),
                    dim,
                    self.k.as_ptr(),
                    TILE,
                    dim,
                    self.scores.as_mut_ptr().add(row * TILE),
                    TILE,
                );
            }
        }
        self.weigh(dim, visible);
        for row in (0..self.rows).step_by(2) {
            // SAFETY: two rows.
            unsafe { self.mix_two(row, dim, 0) };
        }
    }

    /// [`Tiles::accumulate`] with vectors of 512 bits.
    #[target_feature(enable = "avx2,fma,f16c,avx512f")]
    unsafe fn accumulate_wide(&mut self, dim: usize, visible: impl Fn(usize) -> usize) {
        self.scores[..self.rows.next_multiple_of(4) * TILE].fill(0.0);
        for row in (0..self.rows).step_by(4) {
            // SAFETY: four rows of `dim` queries, `dim` rows of keys, four rows of scores.
            unsafe {
                multiply_add_wide(
                    self.q.as_ptr().add(row * dim),
                    dim,
                    self.k.as_ptr(),
                    TILE,
                    dim,
                    self.scores.as_mut_ptr().add(row * TILE),
                    TILE,
                );
            }
        }
        self.weigh(dim, visible);
        for row in (0..self.rows).step_by(4) {
            let whole = dim / TILE * TILE;
            for column in (0..whole).step_by(TILE) {
                // SAFETY: four rows of `TILE` weights, `TILE` rows of values, four of results.
                unsafe {
                    let weights = self.scores.as_ptr().add(row * TILE);
                    let values = self.v.as_ptr().add(column);
                    let mixed = self.mixed.as_mut_ptr().add(row * dim + column);
                    multiply_add_wide(weights, TILE, values, dim, TILE, mixed, dim);
                }
            }
            for row in [row, row + 2] {
                // SAFETY: there is room for four rows.
                unsafe { self.mix_two(row, dim, whole) };
            }
        }
    }

    /// Turns the scores of all rows into weights for what is mixed so far.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn weigh(&mut self, dim: usize, visible: impl Fn(usize) -> usize) {
        for row in 0..self.rows {
            let visible = visible(row / self.group).min(TILE);
            let scores = &mut self.scores[row * TILE..(row + 1) * TILE];
            scores[visible..].fill(f32::NEG_INFINITY);
            let (before, sum) = self.state[row];
            let largest = largest(scores).max(before);
            if largest > before {
                let factor = (before - largest).exp();
                for mixed in &mut self.mixed[row * dim..(row + 1) * dim] {
                    *mixed *= factor;
                }
                self.state[row] = (largest, sum * factor);
            }
            // SAFETY: `TILE` is a multiple of eight.
            self.state[row].1 += unsafe { weights(scores, largest) };
            scores[visible..].fill(0.0);
        }
    }

    /// Adds the weighted values to two rows, from a column on.
    ///
    /// # Safety
    /// There is room for both rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn mix_two(&mut self, row: usize, dim: usize, from: usize) {
        for column in (from..dim).step_by(TILE) {
            // SAFETY: two rows of `TILE` weights, `TILE` rows of values, two rows of results; the
            // last columns may be fewer than a tile.
            unsafe {
                let weights = self.scores.as_ptr().add(row * TILE);
                let values = self.v.as_ptr().add(column);
                let mixed = self.mixed.as_mut_ptr().add(row * dim + column);
                if dim - column >= TILE {
                    multiply_add::<{ TILE / 8 }>(weights, TILE, values, dim, TILE, mixed, dim);
                } else {
                    for eight in (0..dim - column).step_by(8) {
                        let (values, mixed) = (values.add(eight), mixed.add(eight));
                        multiply_add::<1>(weights, TILE, values, dim, TILE, mixed, dim);
                    }
                }
            }
        }
    }
}

/// The largest of a multiple of eight scores.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn largest(scores: &[f32]) -> f32 {
    let mut most = _mm256_set1_ps(f32::MIN);
    for eight in scores.chunks_exact(8) {
        // SAFETY: there are eight.
        most = _mm256_max_ps(most, unsafe { _mm256_loadu_ps(eight.as_ptr()) });
    }
    lanes(most).iter().fold(f32::MIN, |most, score| most.max(*score))
}

/// `exp(score − largest)` in place; returns the sum.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn weights(scores: &mut [f32], largest: f32) -> f32 {
    let largest = _mm256_set1_ps(largest);
    let mut sum = _mm256_setzero_ps();
    for eight in scores.chunks_exact_mut(8) {
        // SAFETY: there are eight.
        unsafe {
            let weight = exp(_mm256_sub_ps(_mm256_loadu_ps(eight.as_ptr()), largest));
            sum = _mm256_add_ps(sum, weight);
            _mm256_storeu_ps(eight.as_mut_ptr(), weight);
        }
    }
    lanes(sum).iter().sum()
}

/// `c += a · b` for `a` `[2, n]`, `b` `[n, 8 · VECTORS]`, `c` `[2, 8 · VECTORS]`; the numbers between
/// are how far apart rows are.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn multiply_add<const VECTORS: usize>(
    a: *const f32,
    a_row: usize,
    b: *const f32,
    b_row: usize,
    n: usize,
    c: *mut f32,
    c_row: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let at = |row: usize, column: usize| c.add(row * c_row + 8 * column);
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; 2];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_loadu_ps(at(row, column));
            }
        }
        for i in 0..n {
            let first = _mm256_set1_ps(*a.add(i));
            let second = _mm256_set1_ps(*a.add(a_row + i));
            for column in 0..VECTORS {
                let b = _mm256_loadu_ps(b.add(i * b_row + 8 * column));
                sums[0][column] = _mm256_fmadd_ps(first, b, sums[0][column]);
                sums[1][column] = _mm256_fmadd_ps(second, b, sums[1][column]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(at(row, column), *sum);
            }
        }
    }
}

/// `c += a · b` for `a` `[4, n]`, `b` `[n, 32]`, `c` `[4, 32]`; the numbers between are how far apart
/// rows are.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn multiply_add_wide(
    a: *const f32,
    a_row: usize,
    b: *const f32,
    b_row: usize,
    n: usize,
    c: *mut f32,
    c_row: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let at = |row: usize, column: usize| c.add(row * c_row + 16 * column);
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

/// `N` query heads, `q` `[N, dim]`, over some keys of the head they share. Each `out` gets the
/// largest score, the sum of weights, and the mixed values.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn decode_part<T: Element, const N: usize>(
    q: &[f32],
    k: &[T],
    v: &[T],
    keys: std::ops::Range<usize>,
    dim: usize,
    out: [&mut [f32]; N],
) {
    let count = keys.len();
    let mut scores = [[f32::NEG_INFINITY; PART]; N];
    for (i, key) in keys.clone().enumerate() {
        let mut sums = [_mm256_setzero_ps(); N];
        for column in (0..dim).step_by(8) {
            // SAFETY: the key has `dim` values, each query too; `dim` is a multiple of eight.
            unsafe {
                let k = T::load(k.as_ptr().add(key * dim + column));
                for (head, sum) in sums.iter_mut().enumerate() {
                    let q = _mm256_loadu_ps(q.as_ptr().add(head * dim + column));
                    *sum = _mm256_fmadd_ps(q, k, *sum);
                }
            }
        }
        for (scores, sum) in scores.iter_mut().zip(sums) {
            scores[i] = total(sum);
        }
    }
    let padded = count.next_multiple_of(8);
    let mut out = out;
    for (scores, out) in scores.iter_mut().zip(&mut out) {
        let largest = scores[..count].iter().fold(f32::MIN, |most, score| most.max(*score));
        out[0] = largest;
        // SAFETY: a multiple of eight; what is behind the last key has the score −∞.
        out[1] = unsafe { weights(&mut scores[..padded], largest) };
    }
    // Four keys at a time, so that the mixed values are loaded and stored a quarter as often.
    for first in (0..count).step_by(4) {
        let some = 4.min(count - first);
        for column in (0..dim).step_by(8) {
            // SAFETY: these keys have `dim` values each, `out` has `dim` behind the first two.
            unsafe {
                let mut values = [_mm256_setzero_ps(); 4];
                for (i, value) in values.iter_mut().take(some).enumerate() {
                    *value = T::load(v.as_ptr().add((keys.start + first + i) * dim + column));
                }
                for (scores, out) in scores.iter().zip(&mut out) {
                    let at = out.as_mut_ptr().add(2 + column);
                    let mut mixed = _mm256_loadu_ps(at);
                    for (i, value) in values.iter().enumerate() {
                        let weight = _mm256_set1_ps(scores[(first + i) % PART]);
                        // Past the last key weights may be −∞: they were not turned into 0.
                        if i < some {
                            mixed = _mm256_fmadd_ps(weight, *value, mixed);
                        }
                    }
                    _mm256_storeu_ps(at, mixed);
                }
            }
        }
    }
}

/// Rotates one head and multiplies it with `scale`.
fn rotate(head: &[f32], cos: &[f32], sin: &[f32], interleaved: bool, scale: f32, out: &mut [f32]) {
    let half = head.len() / 2;
    for (i, (cos, sin)) in cos.iter().zip(sin).enumerate() {
        let (a, b) = if interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
        let (x, y) = (head[a], head[b]);
        out[a] = (x * cos - y * sin) * scale;
        out[b] = (x * sin + y * cos) * scale;
    }
}

/// Writes values into the cache.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn keep<T: Element>(values: &[f32], kept: &mut [T]) {
    for (from, to) in values.chunks_exact(8).zip(kept.chunks_exact_mut(8)) {
        // SAFETY: there are eight in both.
        unsafe { T::store(to.as_mut_ptr(), _mm256_loadu_ps(from.as_ptr())) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_does_not_exist_is_an_error() {
        let heads = Heads { queries: 8, kv: 8, dim: 128 };
        assert!(KvCache::<u16>::new(heads, 64).is_ok());
        assert!(KvCache::<u16>::new(heads, 1 << 45).is_err(), "more than addresses");
        assert!(KvCache::<f32>::new(heads, usize::MAX).is_err(), "more than a number");
    }

    /// Plain attention in double precision, for one head of one token.
    fn exact(q: &[f32], k: &[Vec<f32>], v: &[Vec<f32>]) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let scores: Vec<f64> = k.iter().map(|k| dot(q, k) / (q.len() as f64).sqrt()).collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..q.len())
            .map(|i| weights.iter().zip(v).map(|(w, v)| w * f64::from(v[i])).sum::<f64>() / sum)
            .collect()
    }

    /// In one piece and token by token, with vectors of both widths, for head sizes that fill whole
    /// vectors and not.
    #[test]
    fn attention_is_what_plain_loops_make_of_it() {
        for (heads, tokens) in [
            (Heads { queries: 3, kv: 1, dim: 64 }, 70),
            (Heads { queries: 4, kv: 2, dim: 40 }, 37),
            (Heads { queries: 10, kv: 2, dim: 8 }, 300),
        ] {
            let Heads { queries, kv, dim } = heads;
            let width = heads.width();
            let qkv: Vec<f32> =
                (0..tokens * width).map(|i| (i * 7919 % 997) as f32 / 300.0 - 1.6).collect();
            // No rotation.
            let (cos, sin) = (vec![1f32; tokens * dim / 2], vec![0f32; tokens * dim / 2]);
            let angles = Angles { cos: &cos, sin: &sin, interleaved: true };
            let row = |token: usize, start: usize| &qkv[token * width + start * dim..][..dim];
            let check = |out: &[f32], how: &str| {
                for (token, query) in (0..tokens).flat_map(|t| (0..queries).map(move |q| (t, q))) {
                    let head = query / heads.group();
                    let of = |first: usize| -> Vec<Vec<f32>> {
                        (0..=token).map(|t| row(t, queries + first + head).to_vec()).collect()
                    };
                    let exact = exact(row(token, query), &of(0), &of(kv));
                    let found = &out[(token * queries + query) * dim..][..dim];
                    for (found, exact) in found.iter().zip(exact) {
                        assert!(
                            (f64::from(*found) - exact).abs() < 1e-4,
                            "{how}, {heads:?}, token {token}: {found}, not {exact}"
                        );
                    }
                }
            };
            let mut cache = KvCache::<f32>::new(heads, tokens).unwrap();
            let mut rotated = Lines::default();
            let mut out = vec![7f32; tokens * queries * dim];
            for (token, out) in out.chunks_exact_mut(queries * dim).enumerate() {
                let qkv = &qkv[token * width..(token + 1) * width];
                cache.attend(qkv, angles, token, &mut rotated, out);
            }
            check(&out, "one by one");
            rotated.resize(tokens * queries * dim);
            cache.append(&qkv, angles, 0, &mut rotated);
            for wide in [false, true] {
                if wide
                    && SimdLevel::of_test(
                        "attention in one go on vectors of 512 bits",
                        InstructionSet::Avx512,
                    )
                    .is_none()
                {
                    continue;
                }
                out.fill(7.0);
                cache.prefill(wide, &rotated, 0, &mut out);
                check(&out, if wide { "wide" } else { "together" });
            }
        }
    }
}
