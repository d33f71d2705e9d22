//! The transformer encoder under embedders and cross-encoders, on the CPU.
//!
//! BERT (Devlin et al. 2019), XLM-RoBERTa (Conneau et al. 2020) and ModernBERT (Warner et al. 2024). The
//! texts of a batch follow one another without padding; the cores share each step. The CPU is the only
//! device this module knows, so embedding and reranking cannot create a CUDA context.
//!
//! ```text
//! BERT        ids ─▶ token + position + type ─▶ norm ─▶ layers × ( attention ─▶ norm ─▶ feed-forward ─▶ norm )
//! ModernBERT  ids ─▶ token ─▶ norm ─▶ layers × ( norm ─▶ attention ─▶ norm ─▶ feed-forward ) ─▶ norm
//! ```

mod attention;
mod checkpoint;
mod config;
mod embeddings;
mod layer;
mod linear;
mod modern_layer;
mod norm;
mod rotations;
mod tokenizer;
#[cfg(test)]
mod tokenizer_goldens;
mod unigram;

use std::ops::Range;

use anyhow::{Context, Result};
use tokenizers::Encoding;

use crate::compute::pool::{parallel_for_parts, threads};
use crate::models::catalogue::Precision;
use config::ModernBert;
use embeddings::Embeddings;
use layer::{Buffers, Layer};
use modern_layer::ModernLayer;
use norm::LayerNorm;
use rotations::Rotations;

pub use checkpoint::EncoderCheckpoint;
pub use config::{EncoderConfig, Family};
pub use linear::{Codes, PackedLinear};
pub use tokenizer::TextTokenizer;

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

/// A loaded encoder.
pub struct Encoder {
    embeddings: Embeddings,
    layers: Layers,
    config: EncoderConfig,
}

/// The layers of a family.
enum Layers {
    /// Of BERT and XLM-RoBERTa.
    Bert(Vec<Layer>),
    ModernBert {
        modern: ModernBert,
        layers: Vec<ModernLayer>,
        /// Of what comes out of the last.
        norm: LayerNorm,
    },
}

impl Layers {
    fn load(
        config: &EncoderConfig,
        tensors: &EncoderCheckpoint,
        precision: Precision,
    ) -> Result<Self> {
        let numbers = 0..config.layers;
        Ok(match &config.family {
            Family::Bert | Family::XlmRoberta => {
                let layer = |i| {
                    Layer::load(&tensors.under(&format!("encoder.layer.{i}.")), config, precision)
                        .with_context(|| format!("layer {i}"))
                };
                Self::Bert(numbers.map(layer).collect::<Result<_>>()?)
            }
            Family::ModernBert(modern) => {
                let layer = |i| {
                    let tensors = tensors.under(&format!("layers.{i}."));
                    ModernLayer::load(&tensors, config, modern, i, precision)
                        .with_context(|| format!("layer {i}"))
                };
                let EncoderConfig { hidden, epsilon, .. } = *config;
                let norm =
                    LayerNorm::load(tensors, "final_norm", hidden, epsilon, modern.norm_bias)?;
                let layers = numbers.map(layer).collect::<Result<_>>()?;
                Self::ModernBert { modern: modern.clone(), layers, norm }
            }
        })
    }
}

impl Encoder {
    /// Loads the tensors that `config` names, whether or not the checkpoint has a head beside them.
    pub fn load(
        config: &EncoderConfig,
        tensors: &EncoderCheckpoint,
        precision: Precision,
    ) -> Result<Self> {
        let alone = tensors.has(embeddings::table(&config.family));
        let tensors = tensors.under(if alone { "" } else { config.prefix() });
        Ok(Self {
            embeddings: Embeddings::load(&tensors, config)?,
            layers: Layers::load(config, &tensors, precision)?,
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
        self.embeddings.embed(batch, xs);
        buffers.resize(xs.len() / self.config.hidden, &self.config);
        match &self.layers {
            Layers::Bert(layers) => {
                for layer in layers {
                    layer.forward(xs, texts, buffers);
                }
            }
            Layers::ModernBert { modern, layers, norm } => {
                let places = batch.iter().map(|text| text.len()).max().unwrap_or(0);
                let EncoderConfig { hidden, .. } = self.config;
                let rotations = Rotations::new(modern, hidden, self.config.head_dim(), places);
                for layer in layers {
                    layer.forward(xs, texts, &rotations, buffers);
                }
                norm.forward(xs);
            }
        }
    }

    /// Multiply-additions that a text of `tokens` tokens takes in matrix products.
    pub fn operations(&self, tokens: usize) -> usize {
        match &self.layers {
            Layers::Bert(layers) => layers.iter().map(|layer| layer.operations(tokens)).sum(),
            Layers::ModernBert { layers, .. } => {
                layers.iter().map(|layer| layer.operations(tokens)).sum()
            }
        }
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
