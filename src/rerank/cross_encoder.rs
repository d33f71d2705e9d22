//! Cross-encoders: the model reads question and passage together and scores the pair.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{IndexOp, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear};

use crate::embed::{Encoder, EncoderConfig, Sequence, TextTokenizer, batches, open_weights};

/// Tokens in a batch, padding counted.
const BATCH_TOKENS: usize = 2048;

/// A sequence classifier with one label (Nogueira and Cho 2019).
pub struct CrossEncoder {
    tokenizer: TextTokenizer,
    encoder: Encoder,
    head: Head,
}

/// What turns the first token's vector into a score.
struct Head {
    dense: Linear,
    output: Linear,
}

impl Head {
    /// BERT keeps the dense layer in its pooler, XLM-RoBERTa in its classifier; both are followed
    /// by tanh (transformers' `BertPooler` and `XLMRobertaClassificationHead`).
    fn load(config: &EncoderConfig, weights: &VarBuilder) -> Result<Self> {
        let hidden = config.hidden;
        let (dense, output) = if config.is_bert() {
            (weights.pp("bert.pooler.dense"), weights.pp("classifier"))
        } else {
            (weights.pp("classifier.dense"), weights.pp("classifier.out_proj"))
        };
        Ok(Self { dense: linear(hidden, hidden, dense)?, output: linear(hidden, 1, output)? })
    }

    /// `[batch, hidden]` → `[batch]`.
    fn forward(&self, first: &Tensor) -> candle_core::Result<Tensor> {
        self.output.forward(&self.dense.forward(first)?.tanh()?)?.squeeze(1)
    }
}

impl CrossEncoder {
    /// Loads the model from its three files. Pairs longer than `max_tokens` lose the end of their
    /// longer part.
    pub fn load(
        config: &Path,
        tokenizer: &Path,
        weights: &Path,
        max_tokens: usize,
    ) -> Result<Self> {
        let config = EncoderConfig::read(config)?;
        ensure!(
            max_tokens <= config.max_tokens,
            "the reranker reads at most {} tokens, but the catalogue says {max_tokens}",
            config.max_tokens
        );
        let tokenizer = TextTokenizer::load(tokenizer)?.with_window(max_tokens)?;
        ensure!(
            tokenizer.vocabulary() <= config.vocabulary,
            "the tokenizer has {} tokens, the model only {}",
            tokenizer.vocabulary(),
            config.vocabulary
        );
        let failed = || format!("cannot load the reranker from {}", weights.display());
        let tensors = open_weights(weights)?;
        let encoder = Encoder::load(&config, tensors.pp(config.prefix())).with_context(failed)?;
        let head = Head::load(&config, &tensors).with_context(failed)?;
        Ok(Self { tokenizer, encoder, head })
    }

    /// One score (a logit: higher is more relevant, 0 is undecided) for each passage.
    pub fn score<S: AsRef<str>>(&self, question: &str, passages: &[S]) -> Result<Vec<f32>> {
        let pairs: Vec<Sequence> = passages
            .iter()
            .map(|passage| {
                Ok(Sequence::from(&self.tokenizer.encode_pair(question, passage.as_ref())?))
            })
            .collect::<Result<_>>()?;
        let lengths: Vec<usize> = pairs.iter().map(Sequence::len).collect();
        let mut scores = vec![0.0; passages.len()];
        for batch in batches(&lengths, BATCH_TOKENS) {
            let texts: Vec<&Sequence> = batch.iter().map(|&i| &pairs[i]).collect();
            let first = self.encoder.forward(&texts)?.i((.., 0))?.contiguous()?;
            for (&i, score) in batch.iter().zip(self.head.forward(&first)?.to_vec1::<f32>()?) {
                scores[i] = score;
            }
        }
        Ok(scores)
    }
}
