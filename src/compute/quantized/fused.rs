//! A pass through a model whose matrices all lie in the mapped file, without tensors.
//!
//! What the layers hand on stays in memory that is taken once. As tensors, each step's result would
//! be fresh memory: in a small model that took a tenth of the time to clear and to give back, and the
//! steps between the products most of the rest.

use std::sync::Arc;

use super::activations::{Activations, RmsNorm};
use super::attention::Attend;
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
    xs: Option<Activations>,
    hidden: AlignedBuf<f32>,
    qkv: AlignedBuf<f32>,
    rotated: AlignedBuf<f32>,
    mixed: AlignedBuf<f32>,
    gated: AlignedBuf<f32>,
}

impl FusedModel {
    /// Reads tokens from `position` on, with one cache for each layer; returns the logits of the
    /// last one, `[vocabulary]`.
    pub fn logits<'a>(
        &self,
        tokens: &[u32],
        position: usize,
        caches: impl Iterator<Item = &'a mut dyn Attend>,
        rope: RopeTables,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let Workspace { xs, hidden, qkv, rotated, mixed, gated } = workspace;
        let xs = xs.get_or_insert_with(|| Activations::new(self.embedding.isa()));
        let width = self.embedding.columns();
        let norm = |weight| Some(RmsNorm { weight, epsilon: self.epsilon });
        hidden.resize(tokens.len() * width);
        self.embedding.dequantize(tokens, hidden);
        for (layer, cache) in self.layers.iter().zip(caches) {
            xs.take(hidden, width, norm(&layer.attention_norm));
            let three = layer.qkv.each_ref().map(AsRef::as_ref);
            qkv.resize(tokens.len() * three.iter().map(|matrix| matrix.rows()).sum::<usize>());
            products(&three, xs, Store::Overwrite, qkv);

            let heads = layer.attention_output.columns();
            mixed.resize(tokens.len() * heads);
            cache.attend(qkv, rope, position, rotated, mixed);
            xs.take(mixed, heads, None);
            products(&[&layer.attention_output], xs, Store::Accumulate, hidden);

            xs.take(hidden, width, norm(&layer.feed_forward_norm));
            gated.resize(tokens.len() * layer.gate.rows());
            gated_product(&layer.gate, &layer.up, xs, gated);
            xs.take(gated, layer.gate.rows(), None);
            products(&[&layer.down], xs, Store::Accumulate, hidden);
        }
        let mut logits = vec![0f32; self.output.rows()];
        xs.take(&hidden[hidden.len() - width..], width, norm(&self.norm));
        products(&[&self.output], xs, Store::Overwrite, &mut logits);
        logits
    }
}
