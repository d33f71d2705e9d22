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
use crate::compute::activation::Activation;
use crate::compute::aligned::AlignedBuf;
use crate::compute::heads::{HeadChanges, HeadNorms};
use crate::compute::norm::add_rms_norm;
use crate::compute::rope::RopeTables;

/// The weights of one layer. What is optional, some architectures do not have.
pub struct FusedLayer {
    /// `[hidden]`
    pub attention_norm: Vec<f32>,
    /// Queries, keys and values, `[_, hidden]` each.
    pub qkv: [Arc<Matrix>; 3],
    /// Added to queries, keys and values, one behind the other.
    pub qkv_bias: Option<Vec<f32>>,
    /// For the heads of queries and of keys, `[head_dim]` each.
    pub head_norms: Option<[Vec<f32>; 2]>,
    /// `[hidden, heads · head_dim]`
    pub attention_output: Arc<Matrix>,
    /// For what attention adds, `[hidden]`.
    pub attention_post_norm: Option<Vec<f32>>,
    /// `[hidden]`
    pub feed_forward_norm: Vec<f32>,
    /// `[feed_forward, hidden]`
    pub gate: Arc<Matrix>,
    /// `[feed_forward, hidden]`
    pub up: Arc<Matrix>,
    /// `[hidden, feed_forward]`
    pub down: Arc<Matrix>,
    /// For what the feed-forward block adds, `[hidden]`.
    pub feed_forward_post_norm: Option<Vec<f32>>,
}

pub struct FusedModel {
    /// `[vocabulary, hidden]`
    pub embedding: Arc<Matrix>,
    /// What embeddings are multiplied with.
    pub embedding_scale: f32,
    /// From the first to the last.
    pub layers: Vec<FusedLayer>,
    pub activation: Activation,
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
    delta: AlignedBuf<f32>,
}

impl FusedModel {
    /// Reads tokens from `position` on, with the cache and the angles of each layer; returns the
    /// logits of the last `rows` ones, `[rows, vocabulary]`. Several rows are computed as they would
    /// be one after the other, to the last bit; only the weights are read once for all of them.
    pub fn logits<'a, 'b>(
        &self,
        tokens: &[u32],
        rows: usize,
        position: usize,
        caches: impl Iterator<Item = (&'a mut dyn Attend, RopeTables<'b>)>,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let width = self.embedding.columns();
        let Workspace { xs, hidden, qkv, rotated, mixed, gated, delta } = workspace;
        hidden.resize(tokens.len() * width);
        self.embedding.dequantize(tokens, hidden);
        if self.embedding_scale != 1.0 {
            hidden.iter_mut().for_each(|value| *value *= self.embedding_scale);
        }
        let inputs = Inputs { isa: self.embedding.isa(), apart: rows > 1, xs };
        let mut pass = Pass { model: self, inputs, tokens: tokens.len(), hidden, delta };
        for (layer, (cache, rope)) in self.layers.iter().zip(caches) {
            pass.attend(layer, (cache, rope, position), [&mut *qkv, &mut *rotated, &mut *mixed]);
            pass.feed_forward(layer, gated);
        }
        let Pass { mut inputs, hidden, .. } = pass;
        let mut logits = vec![0f32; rows * self.output.rows()];
        let last = &hidden[hidden.len() - rows * width..];
        let xs = inputs.take(last, width, Some(self.norm(&self.norm)));
        products(&[&self.output], xs, Store::Overwrite, &mut logits);
        logits
    }

    fn norm<'a>(&self, weight: &'a [f32]) -> RmsNorm<'a> {
        RmsNorm { weight, epsilon: self.epsilon }
    }
}

/// Some tokens on their way through the layers.
struct Pass<'w> {
    model: &'w FusedModel,
    inputs: Inputs<'w>,
    tokens: usize,
    /// `[tokens, hidden]`
    hidden: &'w mut AlignedBuf<f32>,
    /// Memory for what a block adds to it.
    delta: &'w mut AlignedBuf<f32>,
}

impl Pass<'_> {
    /// The attention block, with memory for its steps.
    fn attend(
        &mut self,
        layer: &FusedLayer,
        (cache, rope, position): (&mut dyn Attend, RopeTables, usize),
        [qkv, rotated, mixed]: [&mut AlignedBuf<f32>; 3],
    ) {
        let (tokens, hidden) = (self.tokens, self.model.embedding.columns());
        let norm = self.model.norm(&layer.attention_norm);
        let xs = self.inputs.take(self.hidden, hidden, Some(norm));
        let three = layer.qkv.each_ref().map(AsRef::as_ref);
        let width = three.iter().map(|matrix| matrix.rows()).sum::<usize>();
        qkv.resize(tokens * width);
        let store = match &layer.qkv_bias {
            Some(bias) => {
                qkv.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(bias));
                Store::Accumulate
            }
            None => Store::Overwrite,
        };
        products(&three, xs, store, qkv);

        let norms = layer.head_norms.as_ref();
        let epsilon = self.model.epsilon;
        let changes = HeadChanges { norms: norms.map(|[q, k]| HeadNorms { q, k, epsilon }), rope };
        let heads = layer.attention_output.columns();
        mixed.resize(tokens * heads);
        let together = if self.inputs.apart { 1 } else { tokens };
        let parts = qkv.chunks_exact(together * width);
        let parts = parts.zip(mixed.chunks_exact_mut(together * heads));
        for ((qkv, mixed), position) in parts.zip((position..).step_by(together)) {
            cache.attend(qkv, changes, position, rotated, mixed);
        }
        self.add(&layer.attention_output, mixed, layer.attention_post_norm.as_deref());
    }

    /// The feed-forward block, with memory for its step.
    fn feed_forward(&mut self, layer: &FusedLayer, gated: &mut AlignedBuf<f32>) {
        let norm = self.model.norm(&layer.feed_forward_norm);
        let xs = self.inputs.take(self.hidden, layer.gate.columns(), Some(norm));
        gated.resize(self.tokens * layer.gate.rows());
        gated_product(self.model.activation, &layer.gate, &layer.up, xs, gated);
        self.add(&layer.down, gated, layer.feed_forward_post_norm.as_deref());
    }

    /// Adds a block's output to the hidden state.
    fn add(&mut self, matrix: &Matrix, values: &[f32], post_norm: Option<&[f32]>) {
        let xs = self.inputs.take(values, matrix.columns(), None);
        let Some(weight) = post_norm else {
            products(&[matrix], xs, Store::Accumulate, self.hidden);
            return;
        };
        self.delta.resize(self.hidden.len());
        products(&[matrix], xs, Store::Overwrite, self.delta);
        add_rms_norm(self.delta, weight, self.model.epsilon, self.hidden);
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
