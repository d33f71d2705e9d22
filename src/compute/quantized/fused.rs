//! A pass through a model whose matrices all lie in the mapped file, without tensors.
//!
//! What the layers hand on stays in memory that is taken once. As tensors, each step's result would
//! be fresh memory: in a small model that took a tenth of the time to clear and to give back, and the
//! steps between the products most of the rest.

use std::sync::Arc;

use super::activations::{Activations, RmsNorm};
use super::attention::Attend;
use super::isa::Isa;
use super::matrix::{Matrix, Store, gated_product, products};
use crate::compute::aligned::AlignedBuf;
use crate::compute::rope::RopeTables;

/// The weights of one layer.
pub struct FusedLayer {
    /// `[hidden]`
    pub attention_norm: Vec<f32>,
    /// Queries, keys and values, `[_, hidden]` each.
    pub qkv: [Arc<Matrix>; 3],
    /// `[hidden, heads · head_dim]`
    pub attention_output: Arc<Matrix>,
    /// `[hidden]`
    pub feed_forward_norm: Vec<f32>,
    /// `[feed_forward, hidden]`
    pub gate: Arc<Matrix>,
    /// `[feed_forward, hidden]`
    pub up: Arc<Matrix>,
    /// `[hidden, feed_forward]`
    pub down: Arc<Matrix>,
}

pub struct FusedModel {
    /// `[vocabulary, hidden]`
    pub embedding: Arc<Matrix>,
    /// From the first to the last.
    pub layers: Vec<FusedLayer>,
    /// `[hidden]`
    pub norm: Vec<f32>,
    /// `[vocabulary, hidden]`
    pub output: Arc<Matrix>,
    /// Of all norms.
    pub epsilon: f32,
}

/// What a pass works with.
#[derive(Default)]
pub struct Workspace {
    xs: Vec<Activations>,
    hidden: AlignedBuf<f32>,
    qkv: AlignedBuf<f32>,
    rotated: AlignedBuf<f32>,
    mixed: AlignedBuf<f32>,
    gated: AlignedBuf<f32>,
}

impl FusedModel {
    /// Reads tokens from `position` on, with one cache for each layer; returns the logits of the last
    /// `rows` ones, `[rows, vocabulary]`. Several rows are computed as they would be one after the
    /// other, to the last bit; only the weights are read once for all of them.
    pub fn logits<'a>(
        &self,
        tokens: &[u32],
        rows: usize,
        position: usize,
        caches: impl Iterator<Item = &'a mut dyn Attend>,
        rope: RopeTables,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let Workspace { xs, hidden, qkv, rotated, mixed, gated } = workspace;
        let width = self.embedding.columns();
        let mut rows_in = Inputs { isa: self.embedding.isa(), apart: rows > 1, xs };
        let norm = |weight| Some(RmsNorm { weight, epsilon: self.epsilon });
        hidden.resize(tokens.len() * width);
        self.embedding.dequantize(tokens, hidden);
        for (layer, cache) in self.layers.iter().zip(caches) {
            let xs = rows_in.take(hidden, width, norm(&layer.attention_norm));
            let three = layer.qkv.each_ref().map(AsRef::as_ref);
            let qkv_width = three.iter().map(|matrix| matrix.rows()).sum::<usize>();
            qkv.resize(tokens.len() * qkv_width);
            products(&three, xs, Store::Overwrite, qkv);

            let heads = layer.attention_output.columns();
            mixed.resize(tokens.len() * heads);
            let together = if rows_in.apart { 1 } else { tokens.len() };
            let parts = qkv.chunks_exact(together * qkv_width);
            let parts = parts.zip(mixed.chunks_exact_mut(together * heads));
            for ((qkv, mixed), position) in parts.zip((position..).step_by(together)) {
                cache.attend(qkv, rope, position, rotated, mixed);
            }
            let xs = rows_in.take(mixed, heads, None);
            products(&[&layer.attention_output], xs, Store::Accumulate, hidden);

            let xs = rows_in.take(hidden, width, norm(&layer.feed_forward_norm));
            gated.resize(tokens.len() * layer.gate.rows());
            gated_product(&layer.gate, &layer.up, xs, gated);
            let xs = rows_in.take(gated, layer.gate.rows(), None);
            products(&[&layer.down], xs, Store::Accumulate, hidden);
        }
        let mut logits = vec![0f32; rows * self.output.rows()];
        let xs = rows_in.take(&hidden[hidden.len() - rows * width..], width, norm(&self.norm));
        products(&[&self.output], xs, Store::Overwrite, &mut logits);
        logits
    }
}

/// What products take: all rows together, or each by itself.
struct Inputs<'w> {
    isa: Isa,
    apart: bool,
    xs: &'w mut Vec<Activations>,
}

impl Inputs<'_> {
    fn take(&mut self, values: &[f32], columns: usize, norm: Option<RmsNorm>) -> &[Activations] {
        let part = if self.apart { columns } else { values.len() };
        let count = values.len() / part;
        let missing = count.saturating_sub(self.xs.len());
        self.xs.extend(std::iter::repeat_with(|| Activations::new(self.isa)).take(missing));
        for (xs, values) in self.xs.iter_mut().zip(values.chunks_exact(part)) {
            xs.take(values, columns, norm);
        }
        &self.xs[..count]
    }
}
