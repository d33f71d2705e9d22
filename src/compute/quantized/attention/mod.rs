//! Causal attention with grouped queries over a KV cache, without ever holding all scores.
//!
//! Tiles of keys with a running maximum and sum, as in `FlashAttention` (Dao et al. 2022); a single
//! query is spread over the cores by parts of the keys, as in Flash-Decoding (Dao et al. 2023).

mod decode;
mod element;
mod prefill;
mod weights;

use std::arch::x86_64::_mm256_loadu_ps;
use std::io;

pub use element::Element;

use super::anon_mmap::AnonMmap;
use super::isa::Isa;
use crate::compute::aligned::AlignedBuf;
use crate::compute::heads::{AttentionShape, HeadChanges, first_key};
use crate::compute::norm::rms_norm_row;
use crate::compute::pool::{DisjointSlices, parallel_for};
use crate::compute::rope::{RopeLayout, RopeTables};

impl AttentionShape {
    /// Query heads that share keys and values.
    fn group(self) -> usize {
        self.query_heads / self.kv_heads
    }

    /// Values of queries, keys and values of one position.
    fn width(self) -> usize {
        (self.query_heads + 2 * self.kv_heads) * self.head_dim
    }

    /// The first key that the query at `position` sees.
    fn first_key(self, position: usize) -> usize {
        first_key(self.window, position)
    }
}

/// Attention over the keys and values of one layer.
pub trait Attend {
    /// Normalizes and rotates queries and keys, keeps keys and values, and mixes the values by
    /// attention.
    ///
    /// `qkv` is `[tokens, (query_heads + 2 · kv_heads) · head_dim]` for the tokens from `position`
    /// on; the result goes to `out`, `[tokens, query_heads · head_dim]`. `rotated` is memory for the
    /// queries.
    fn attend(
        &mut self,
        qkv: &[f32],
        changes: HeadChanges,
        position: usize,
        rotated: &mut AlignedBuf<f32>,
        out: &mut [f32],
    );

    /// What keys and values take, in bytes.
    #[cfg(test)]
    fn bytes(&self) -> u64;
}

impl<T: Element> Attend for KvCache<T> {
    fn attend(
        &mut self,
        qkv: &[f32],
        changes: HeadChanges,
        position: usize,
        rotated: &mut AlignedBuf<f32>,
        out: &mut [f32],
    ) {
        let AttentionShape { query_heads, head_dim, .. } = self.shape;
        let tokens = qkv.len() / self.shape.width();
        assert!(position + tokens <= self.context, "the context is full");
        assert_eq!(out.len(), tokens * query_heads * head_dim);
        rotated.resize(tokens * query_heads * head_dim);
        self.append(qkv, changes, position, rotated);
        if tokens == 1 {
            self.decode(rotated, self.shape.first_key(position)..position + 1, out);
        } else {
            self.prefill(rotated, position, out);
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> u64 {
        (size_of_val(&*self.k) + size_of_val(&*self.v)) as u64
    }
}

/// Keys and values of one layer, `[kv_heads, context, head_dim]` each.
pub struct KvCache<T> {
    isa: Isa,
    k: AnonMmap<T>,
    v: AnonMmap<T>,
    shape: AttentionShape,
    context: usize,
}

impl<T: Element> KvCache<T> {
    /// Takes the memory for `context` positions, at least one.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    ///
    /// # Panics
    /// If the shape is not as its fields say.
    pub fn new(isa: Isa, shape: AttentionShape, context: usize) -> io::Result<Self> {
        let AttentionShape { query_heads, kv_heads, head_dim, .. } = shape;
        assert!(head_dim.is_multiple_of(8) && query_heads.is_multiple_of(kv_heads));
        let memory = || {
            let values = [context, kv_heads, head_dim].into_iter().try_fold(1, usize::checked_mul);
            AnonMmap::new(values.ok_or(io::ErrorKind::OutOfMemory)?)
        };
        Ok(Self { isa, k: memory()?, v: memory()?, shape, context })
    }

    /// Keys and values of one head, `[keys, head_dim]` each.
    fn head(&self, kv_head: usize, keys: usize) -> (&[T], &[T]) {
        let dim = self.shape.head_dim;
        let start = kv_head * self.context * dim;
        let range = start..start + keys * dim;
        (&self.k[range.clone()], &self.v[range])
    }

    /// Writes the keys and values into the cache and the rotated queries, already divided by √dim,
    /// to `rotated`.
    fn append(&mut self, qkv: &[f32], changes: HeadChanges, position: usize, rotated: &mut [f32]) {
        let shape @ AttentionShape { query_heads, kv_heads, head_dim: dim, .. } = self.shape;
        let HeadChanges { norms, rope } = changes;
        let (tokens, context) = (qkv.len() / shape.width(), self.context);
        let scale = 1.0 / (dim as f32).sqrt();
        let rotated = DisjointSlices::new(rotated);
        let (ks, vs) = (DisjointSlices::new(&mut self.k), DisjointSlices::new(&mut self.v));
        let append_token = |token: usize| {
            let at = position + token;
            let row = &qkv[token * shape.width()..(token + 1) * shape.width()];
            let (q, row) = row.split_at(query_heads * dim);
            let (k, v) = row.split_at(kv_heads * dim);
            let range = token * query_heads * dim..(token + 1) * query_heads * dim;
            // SAFETY: no other call has this token.
            let out = unsafe { rotated.part(range) };
            let (mut normed, mut rotated_k) = (vec![0f32; dim], vec![0f32; dim]);
            for (out, head) in out.chunks_exact_mut(dim).zip(q.chunks_exact(dim)) {
                let head =
                    normalize(head, norms.map(|norms| (norms.q, norms.epsilon)), &mut normed);
                rotate(head, rope, at, scale, out);
            }
            for (head, k) in k.chunks_exact(dim).enumerate() {
                let k = normalize(k, norms.map(|norms| (norms.k, norms.epsilon)), &mut normed);
                rotate(k, rope, at, 1.0, &mut rotated_k);
                let start = (head * context + at) * dim;
                let range = start..start + dim;
                // SAFETY: no other call has this position, and `isa` is proof of the instructions.
                unsafe {
                    convert(&rotated_k, ks.part(range.clone()));
                    convert(&v[head * dim..][..dim], vs.part(range));
                }
            }
        };
        if tokens == 1 {
            append_token(0);
        } else {
            parallel_for(tokens, |tokens| tokens.for_each(append_token));
        }
    }
}

/// A head as it is, or normalized with a weight and an epsilon into `normed`.
fn normalize<'a>(head: &'a [f32], norm: Option<(&[f32], f32)>, normed: &'a mut [f32]) -> &'a [f32] {
    let Some((weight, epsilon)) = norm else { return head };
    rms_norm_row(head, weight, epsilon, normed);
    normed
}

/// Rotates one head at `position` and multiplies it with `scale`.
fn rotate(head: &[f32], rope: RopeTables, position: usize, scale: f32, out: &mut [f32]) {
    let pairs = rope.pairs;
    let angles = position * pairs..(position + 1) * pairs;
    let (cos, sin) = (&rope.cos[angles.clone()], &rope.sin[angles]);
    for (i, (cos, sin)) in cos.iter().zip(sin).enumerate() {
        let (a, b) = match rope.layout {
            RopeLayout::Interleaved => (2 * i, 2 * i + 1),
            RopeLayout::HalfSplit => (i, i + pairs),
        };
        let (x, y) = (head[a], head[b]);
        out[a] = (x * cos - y * sin) * scale;
        out[b] = (x * sin + y * cos) * scale;
    }
    for (out, value) in out.iter_mut().zip(head).skip(2 * pairs) {
        *out = value * scale;
    }
}

/// Writes values in the type of the cache.
#[target_feature(enable = "avx2,fma,f16c")]
fn convert<T: Element>(values: &[f32], out: &mut [T]) {
    for (from, to) in values.chunks_exact(8).zip(out.chunks_exact_mut(8)) {
        // SAFETY: there are eight in both.
        unsafe { T::store(to.as_mut_ptr(), _mm256_loadu_ps(from.as_ptr())) };
    }
}

#[cfg(test)]
mod tests;
