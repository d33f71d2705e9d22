//! Attention of a single position.

use std::arch::x86_64::{
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};
use std::ops::Range;

use super::weights::exponentials;
use super::{AttentionShape, Element, KvCache};
use crate::compute::pool::{DisjointSlices, parallel_for, threads};
use crate::compute::quantized::lanes::sum_of_lanes;

/// The largest number of keys in a part: their scores stay in the first cache.
const MAX_PART_KEYS: usize = 512;
/// The smallest, unless there are no more keys.
const MIN_PART_KEYS: usize = 32;
/// The largest number of query heads that share a pass over the keys.
const MAX_PASS_HEADS: usize = 4;

/// How the work is cut: the query heads that share keys go over them in passes of a few heads, and
/// every pass in parts of the keys.
struct Plan {
    shape: AttentionShape,
    keys: Range<usize>,
    /// For each KV head.
    passes: usize,
    /// For each pass.
    parts: usize,
    part_keys: usize,
}

/// One part of one pass.
struct Piece {
    kv_head: usize,
    query_heads: Range<usize>,
    part: usize,
    keys: Range<usize>,
}

impl Plan {
    fn new(shape: AttentionShape, keys: Range<usize>) -> Self {
        let passes = shape.group().div_ceil(MAX_PASS_HEADS);
        // A few parts for each of the threads, which are not equally fast.
        let wanted = (4 * threads()).div_ceil(shape.kv_heads * passes);
        let part_keys = keys.len().div_ceil(wanted).next_multiple_of(8);
        let part_keys = part_keys.clamp(MIN_PART_KEYS, MAX_PART_KEYS);
        Self { shape, passes, parts: keys.len().div_ceil(part_keys), part_keys, keys }
    }

    fn pieces(&self) -> usize {
        self.shape.kv_heads * self.passes * self.parts
    }

    /// Parts of a pass are neighbours, then passes of a KV head.
    fn piece(&self, number: usize) -> Piece {
        let (pass_of_all, part) = (number / self.parts, number % self.parts);
        let (kv_head, pass) = (pass_of_all / self.passes, pass_of_all % self.passes);
        let (group, start) = (self.shape.group(), pass * MAX_PASS_HEADS);
        let first = kv_head * group + start;
        let first_key = self.keys.start + part * self.part_keys;
        Piece {
            kv_head,
            query_heads: first..first + MAX_PASS_HEADS.min(group - start),
            part,
            keys: first_key..self.keys.end.min(first_key + self.part_keys),
        }
    }
}

/// Results of parts, to be merged: `[query_heads, parts, 2 + head_dim]`. The first two are the
/// largest score and the sum of weights, then come the mixed values.
struct Partial<'a> {
    slices: DisjointSlices<'a, f32>,
    parts: usize,
    width: usize,
}

impl Partial<'_> {
    /// # Safety
    /// Nobody else has this part of this head.
    #[expect(clippy::mut_from_ref, reason = "threads write parts of their own")]
    unsafe fn part(&self, query_head: usize, part: usize) -> &mut [f32] {
        let start = (query_head * self.parts + part) * self.width;
        // SAFETY: as the caller promises.
        unsafe { self.slices.part(start..start + self.width) }
    }
}

impl<T: Element> KvCache<T> {
    /// One position, `q` and `out` `[query_heads, head_dim]`, over some keys.
    pub(super) fn decode(&self, q: &[f32], keys: Range<usize>, out: &mut [f32]) {
        let dim = self.shape.head_dim;
        let plan = Plan::new(self.shape, keys);
        let width = 2 + dim;
        let mut partial = vec![0f32; self.shape.query_heads * plan.parts * width];
        let slices = DisjointSlices::new(&mut partial);
        let results = Partial { slices, parts: plan.parts, width };
        parallel_for(plan.pieces(), |pieces| {
            for piece in pieces.map(|number| plan.piece(number)) {
                match piece.query_heads.len() {
                    1 => self.decode_piece::<1>(q, &piece, &results),
                    2 => self.decode_piece::<2>(q, &piece, &results),
                    3 => self.decode_piece::<3>(q, &piece, &results),
                    _ => self.decode_piece::<MAX_PASS_HEADS>(q, &piece, &results),
                }
            }
        });
        let heads = partial.chunks_exact(plan.parts * width);
        for (parts, out) in heads.zip(out.chunks_exact_mut(dim)) {
            merge(parts.chunks_exact(width), out);
        }
    }

    fn decode_piece<const HEADS: usize>(&self, q: &[f32], piece: &Piece, results: &Partial) {
        let dim = self.shape.head_dim;
        let first = piece.query_heads.start;
        let q = &q[first * dim..(first + HEADS) * dim];
        let (k, v) = self.head(piece.kv_head, piece.keys.end);
        let range = piece.keys.start * dim..piece.keys.end * dim;
        // SAFETY: no other call has this part of these heads.
        let out = std::array::from_fn(|i| unsafe { results.part(first + i, piece.part) });
        // SAFETY: `isa` is proof of the instructions.
        unsafe { attend_part::<T, HEADS>(q, &k[range.clone()], &v[range], dim, out) };
    }
}

/// One head's values out of those of its parts.
fn merge<'a>(parts: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
    let largest = parts.clone().fold(f32::MIN, |max, part| max.max(part[0]));
    let mut sum = 0f32;
    out.fill(0.0);
    for part in parts {
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

/// A few query heads, `q` `[HEADS, dim]`, over up to [`MAX_PART_KEYS`] keys of the KV head they
/// share, `k` and `v` `[keys, dim]`. Each `out` gets the largest score, the sum of weights, and the
/// mixed values.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_part<T: Element, const HEADS: usize>(
    q: &[f32],
    k: &[T],
    v: &[T],
    dim: usize,
    mut out: [&mut [f32]; HEADS],
) {
    let keys = k.len() / dim;
    assert!(dim.is_multiple_of(8) && keys <= MAX_PART_KEYS);
    assert!(q.len() == HEADS * dim && k.len() == keys * dim && v.len() == keys * dim);
    assert!(out.iter().all(|out| out.len() == 2 + dim));
    let mut scores = [[f32::NEG_INFINITY; MAX_PART_KEYS]; HEADS];
    for key in 0..keys {
        let mut sums = [_mm256_setzero_ps(); HEADS];
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
            scores[key] = sum_of_lanes(sum);
        }
    }
    // Past the last key the score is −∞, up to a whole vector.
    let padded = keys.next_multiple_of(8);
    for (scores, out) in scores.iter_mut().zip(&mut out) {
        let largest = scores[..keys].iter().fold(f32::MIN, |max, score| max.max(*score));
        out[0] = largest;
        out[1] = exponentials(&mut scores[..padded], largest);
    }
    // Four keys at a time, so that the mixed values are loaded and stored a quarter as often.
    for first in (0..keys).step_by(4) {
        let count = 4.min(keys - first);
        let weights: [[f32; 4]; HEADS] =
            std::array::from_fn(|head| scores[head].as_chunks::<4>().0[first / 4]);
        for column in (0..dim).step_by(8) {
            // SAFETY: these keys have `dim` values each, `out` has `dim` behind the first two.
            unsafe {
                let mut values = [_mm256_setzero_ps(); 4];
                for (i, value) in values.iter_mut().take(count).enumerate() {
                    *value = T::load(v.as_ptr().add((first + i) * dim + column));
                }
                for (weights, out) in weights.iter().zip(&mut out) {
                    let at = out.as_mut_ptr().add(2 + column);
                    let mut mixed = _mm256_loadu_ps(at);
                    for (i, (weight, value)) in weights.iter().zip(values).enumerate() {
                        // Past the last key weights may be −∞: those scores were not turned into 0.
                        if i < count {
                            mixed = _mm256_fmadd_ps(_mm256_set1_ps(*weight), value, mixed);
                        }
                    }
                    _mm256_storeu_ps(at, mixed);
                }
            }
        }
    }
}
