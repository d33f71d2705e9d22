//! The transformer encoder under embedders and cross-encoders, on the CPU.
//!
//! BERT (Devlin et al. 2019) and XLM-RoBERTa (Conneau et al. 2020). The texts of a batch follow one
//! another without padding; the cores share each step. The CPU is the only device this module knows,
//! so embedding and reranking cannot create a CUDA context.
//!
//! ```text
//! ids ─▶ token + position + type ─▶ norm ─▶ layers × ( attention ─▶ norm ─▶ feed-forward ─▶ norm )
//! ```

mod attention;
mod checkpoint;
mod config;
mod layer;
mod linear;
mod tokenizer;
#[cfg(test)]
mod tokenizer_goldens;
mod unigram;

use std::ops::Range;

use anyhow::{Context, Result};
use tokenizers::Encoding;

use crate::compute::SimdLevel;
use crate::compute::dense::rows;
use crate::compute::pool::{parallel_for_chunks, parallel_for_parts, threads};
use crate::models::catalogue::Precision;
use attention::HeadShape;
use checkpoint::RowTable;
use layer::{Buffers, Layer};

pub use checkpoint::EncoderCheckpoint;
pub use config::{EncoderConfig, Family};
pub use linear::{Codes, PackedLinear};
pub use tokenizer::TextTokenizer;

/// A tensor that every encoder has.
const TOKENS: &str = "embeddings.word_embeddings.weight";

/// One text as an encoder reads it.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Token ids, at least one.
    pub ids: Vec<u32>,
    /// For BERT, which part of a pair each token is in.
    pub types: Vec<u32>,
}

impl Sequence {
    /// Number of tokens.
    #[expect(clippy::len_without_is_empty, reason = "a model's own tokens are always there")]
    pub fn len(&self) -> usize {
        self.ids.len()
    }
}

impl From<&Encoding> for Sequence {
    fn from(encoding: &Encoding) -> Self {
        Self { ids: encoding.get_ids().to_vec(), types: encoding.get_type_ids().to_vec() }
    }
}

/// Token vectors of a batch of texts, one text after the other.
pub struct Hidden {
    /// `[tokens, hidden]`
    values: Vec<f32>,
    /// Values of a token vector.
    width: usize,
    texts: Vec<Range<usize>>,
}

impl Hidden {
    /// The token vectors of one text, in order.
    pub fn rows(&self, text: usize) -> impl ExactSizeIterator<Item = &[f32]> {
        let Range { start, end } = self.texts[text];
        self.values[start * self.width..end * self.width].chunks_exact(self.width)
    }

    /// The vectors of the first tokens. `[texts, hidden]`
    pub fn firsts(&self) -> Vec<f32> {
        let first = |text: &Range<usize>| &self.values[text.start * self.width..][..self.width];
        self.texts.iter().flat_map(first).copied().collect()
    }
}

/// The parameters of a layer normalization.
struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    fn load(tensors: &EncoderCheckpoint, name: &str, config: &EncoderConfig) -> Result<Self> {
        Ok(Self {
            weight: tensors.vector(&format!("{name}.weight"), config.hidden)?,
            bias: tensors.vector(&format!("{name}.bias"), config.hidden)?,
            epsilon: config.epsilon,
        })
    }

    /// `[rows, hidden]`, in place.
    fn forward(&self, xs: &mut [f32]) {
        let (hidden, level) = (self.weight.len(), SimdLevel::detect());
        parallel_for_chunks(xs, hidden, |_, rows| {
            for row in rows.chunks_exact_mut(hidden) {
                rows::layer_norm(level, row, &self.weight, &self.bias, self.epsilon);
            }
        });
    }
}

/// A loaded encoder.
pub struct Encoder {
    /// `[vocabulary, hidden]`; rows are read as they are needed.
    tokens: RowTable,
    /// `[positions, hidden]`
    positions: RowTable,
    /// `[types, hidden]`
    types: Vec<f32>,
    norm: LayerNorm,
    layers: Vec<Layer>,
    config: EncoderConfig,
}

impl Encoder {
    /// Loads the tensors that `config` names, whether or not the checkpoint has a head beside them.
    pub fn load(
        config: &EncoderConfig,
        tensors: &EncoderCheckpoint,
        precision: Precision,
    ) -> Result<Self> {
        let EncoderConfig { hidden, vocabulary, .. } = *config;
        let prefix = if tensors.has(TOKENS) { "" } else { config.prefix() };
        let tensors = tensors.under(prefix);
        let below = tensors.under("embeddings.");
        let types = below.table("token_type_embeddings.weight", config.types, hidden)?;
        let mut type_values = vec![0.0; config.types * hidden];
        types.read(0, &mut type_values);
        let layer = |i: usize| {
            Layer::load(&tensors.under(&format!("encoder.layer.{i}.")), config, precision)
                .with_context(|| format!("layer {i}"))
        };
        Ok(Self {
            tokens: tensors.table(TOKENS, vocabulary, hidden)?,
            positions: below.table("position_embeddings.weight", config.positions(), hidden)?,
            types: type_values,
            norm: LayerNorm::load(&below, "LayerNorm", config)?,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            config: config.clone(),
        })
    }

    /// Contextual token vectors of each text, which do not depend on its neighbours in the batch.
    ///
    /// If there are enough texts, each core takes some of them through all layers, so that no core
    /// waits for another; otherwise the cores share each step.
    ///
    /// # Panics
    /// If a text has more than [`EncoderConfig::max_tokens`] tokens.
    pub fn forward(&self, batch: &[&Sequence]) -> Hidden {
        let hidden = self.config.hidden;
        let mut texts = Vec::with_capacity(batch.len());
        let mut end = 0;
        for text in batch {
            assert!(text.len() <= self.config.max_tokens(), "a text is longer than the model");
            texts.push(end..end + text.len());
            end += text.len();
        }
        let mut values = vec![0f32; end * hidden];
        let parts = self::parts(&texts, end);
        if parts.len() < 4 * threads() {
            self.forward_part(batch, &texts, &mut values, &mut Buffers::default());
        } else {
            let ends: Vec<usize> =
                parts.iter().map(|part| texts[part.end - 1].end * hidden).collect();
            parallel_for_parts(&mut values, &ends, |some, mut values| {
                let mut buffers = Buffers::default();
                for part in &parts[some] {
                    let (first, last) = (&texts[part.start], &texts[part.end - 1]);
                    let size = (last.end - first.start) * hidden;
                    let xs = values.split_off_mut(..size).expect("the parts have these texts");
                    let shifted =
                        |text: &Range<usize>| text.start - first.start..text.end - first.start;
                    let texts: Vec<_> = texts[part.clone()].iter().map(shifted).collect();
                    self.forward_part(&batch[part.clone()], &texts, xs, &mut buffers);
                }
            });
        }
        Hidden { values, width: hidden, texts }
    }

    /// All layers; `xs` is `[tokens, hidden]`.
    fn forward_part(
        &self,
        batch: &[&Sequence],
        texts: &[Range<usize>],
        xs: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let config = &self.config;
        self.embed(batch, xs);
        self.norm.forward(xs);
        buffers.resize(xs.len() / config.hidden, config);
        let heads = HeadShape { count: config.heads, dim: config.hidden / config.heads };
        for layer in &self.layers {
            layer.forward(xs, heads, texts, buffers);
        }
    }

    /// The sum of the embeddings of each token, its position and its type: `[tokens, hidden]`.
    fn embed(&self, batch: &[&Sequence], xs: &mut [f32]) {
        let hidden = self.config.hidden;
        let mut position = vec![0f32; hidden];
        let all = batch.iter().flat_map(|text| text.ids.iter().zip(&text.types).enumerate());
        for (x, (i, (&id, &kind))) in xs.chunks_exact_mut(hidden).zip(all) {
            // Ids that the model does not know read the first row.
            let id = id as usize;
            self.tokens.read(if id < self.tokens.rows() { id } else { 0 }, x);
            self.positions.read(self.config.first_position() + i, &mut position);
            // XLM-RoBERTa knows one type only.
            let kind = (kind as usize).min(self.config.types - 1);
            let kind = &self.types[kind * hidden..(kind + 1) * hidden];
            for ((x, position), kind) in x.iter_mut().zip(&position).zip(kind) {
                *x += position + kind;
            }
        }
    }

    /// Multiply-additions that a text of `tokens` tokens takes in matrix products.
    pub fn operations(&self, tokens: usize) -> usize {
        let attention = 2 * tokens * tokens * self.config.hidden;
        self.layers.iter().map(|layer| layer.operations() * tokens + attention).sum()
    }
}

/// Tokens of texts that a core takes through all layers together: their vectors fit into its caches,
/// and the weights are read seldom enough.
const PART_TOKENS: Range<usize> = 128..512;

/// Cuts the texts of a batch of `tokens` tokens into runs of neighbours, enough of them that the
/// cores finish together.
fn parts(texts: &[Range<usize>], tokens: usize) -> Vec<Range<usize>> {
    let max_tokens = (tokens / (16 * threads())).clamp(PART_TOKENS.start, PART_TOKENS.end);
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for (i, text) in texts.iter().enumerate() {
        match parts.last_mut() {
            Some(part) if text.end - start <= max_tokens => part.end = i + 1,
            _ => {
                parts.push(i..i + 1);
                start = text.start;
            }
        }
    }
    parts
}

/// Cuts the texts into batches of similar length, so that the cores finish together: index lists
/// into `lengths`, each with at most `budget` tokens (but at least one text).
pub fn batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for i in order {
        match batches.last_mut() {
            Some(batch) if tokens + lengths[i] <= budget => batch.push(i),
            _ => {
                batches.push(vec![i]);
                tokens = 0;
            }
        }
        tokens += lengths[i];
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_texts_in_order() {
        let mut texts = Vec::new();
        let mut end = 0;
        for length in [1, 300, 512, 5, 6, 7, 100, 100, 100, 100] {
            texts.push(end..end + length);
            end += length;
        }
        let parts = parts(&texts, end);
        assert_eq!(
            parts.iter().cloned().flatten().collect::<Vec<_>>(),
            (0..10).collect::<Vec<_>>()
        );
        for part in &parts {
            let tokens = texts[part.end - 1].end - texts[part.start].start;
            assert!(part.len() == 1 || tokens <= PART_TOKENS.end, "{parts:?}");
        }
    }

    #[test]
    fn batches_keep_to_the_budget_and_lose_nothing() {
        let lengths = [300, 5, 7, 200, 512, 6, 5, 100];
        let batches = batches(&lengths, 512);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let tokens: usize = batch.iter().map(|&i| lengths[i]).sum();
            assert!(batch.len() == 1 || tokens <= 512);
        }
        assert!(super::batches(&[], 512).is_empty());
    }
}
