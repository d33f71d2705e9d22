//! A pass through a model whose matrices all lie in the mapped file.
//!
//! What the layers hand on stays in room that is taken once. As tensors, each step's result would be
//! fresh memory: in a small model that took a tenth of the time to clear and to give back, and the
//! steps between the products most of the rest.

use std::sync::Arc;

use super::activations::{Activations, Norm};
use super::aligned::Lines;
use super::attention::{Angles, Attend};
use super::matrix::{Matrix, Then, gated_product, products};

/// One layer.
pub struct Layer {
    /// `[hidden]`
    pub attention_norm: Vec<f32>,
    /// Queries, keys and values, `[_, hidden]` each.
    pub qkv: Vec<Arc<Matrix>>,
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

/// The model.
pub struct Pass {
    /// `[vocabulary, hidden]`
    pub embedding: Arc<Matrix>,
    /// From the first to the last.
    pub layers: Vec<Layer>,
    /// `[hidden]`
    pub norm: Vec<f32>,
    /// `[vocabulary, hidden]`
    pub output: Arc<Matrix>,
    /// Of the norms.
    pub epsilon: f32,
}

/// What a pass works with.
#[derive(Default)]
pub struct Workspace {
    xs: Activations,
    hidden: Lines<f32>,
    qkv: Lines<f32>,
    rotated: Lines<f32>,
    mixed: Lines<f32>,
    gated: Lines<f32>,
}

impl Pass {
    /// Reads tokens from `position` on, with one cache for each layer; returns the logits of the
    /// last one, `[vocabulary]`.
    pub fn logits<'a>(
        &self,
        tokens: &[u32],
        position: usize,
        caches: impl Iterator<Item = &'a mut dyn Attend>,
        angles: Angles,
        work: &mut Workspace,
    ) -> Vec<f32> {
        let Workspace { xs, hidden, qkv, rotated, mixed, gated } = work;
        let width = self.embedding.columns();
        let norm = |weight| Some(Norm { weight, epsilon: self.epsilon });
        hidden.resize(tokens.len() * width);
        self.embedding.dequantize(tokens, hidden);
        for (layer, cache) in self.layers.iter().zip(caches) {
            xs.take(hidden, width, norm(&layer.attention_norm));
            let three: Vec<&Matrix> = layer.qkv.iter().map(AsRef::as_ref).collect();
            qkv.resize(tokens.len() * three.iter().map(|matrix| matrix.rows()).sum::<usize>());
            products(&three, xs, Then::Replace, qkv);

            let heads = layer.attention_output.columns();
            mixed.resize(tokens.len() * heads);
            cache.attend(qkv, angles, position, rotated, mixed);
            xs.take(mixed, heads, None);
            products(&[&layer.attention_output], xs, Then::Add, hidden);

            xs.take(hidden, width, norm(&layer.feed_forward_norm));
            gated.resize(tokens.len() * layer.gate.rows());
            gated_product(&layer.gate, &layer.up, xs, gated);
            xs.take(gated, layer.gate.rows(), None);
            products(&[&layer.down], xs, Then::Add, hidden);
        }
        let mut logits = vec![0f32; self.output.rows()];
        xs.take(&hidden[hidden.len() - width..], width, norm(&self.norm));
        products(&[&self.output], xs, Then::Replace, &mut logits);
        logits
    }
}
