//! Cross-encoders: the model reads question and passage together and scores the pair.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::compute::dense::rows::Epilogue;
use crate::embedding::encoder::{
    Codes, Encoder, EncoderCheckpoint, EncoderConfig, Family, PackedLinear, Sequence,
    TextTokenizer, batches,
};
use crate::models::catalogue::Precision;

/// Tokens per batch: enough to keep all cores busy, few enough that the activations fit in memory.
const BATCH_TOKENS: usize = 16 << 10;

/// A single-label sequence classifier (Nogueira and Cho 2019).
pub struct CrossEncoder {
    tokenizer: TextTokenizer,
    encoder: Encoder,
    head: Head,
}

/// The classification head over the first token's vector.
struct Head {
    dense: PackedLinear,
    output: PackedLinear,
}

impl Head {
    /// BERT stores the dense layer in its pooler, XLM-RoBERTa in its classifier; both apply tanh
    /// afterwards (transformers' `BertPooler` and `XLMRobertaClassificationHead`).
    fn load(config: &EncoderConfig, tensors: &EncoderCheckpoint) -> Result<Self> {
        let (dense, output) = match config.family {
            Family::Bert => ("bert.pooler.dense", "classifier"),
            Family::XlmRoberta => ("classifier.dense", "classifier.out_proj"),
            Family::ModernBert(_) => {
                bail!("rerankers of the kind \"modernbert\" are not supported; choose another")
            }
        };
        let hidden = config.hidden;
        let linear = |name, outputs| {
            PackedLinear::load(tensors, &[name], [outputs, hidden], true, Precision::F32)
        };
        Ok(Self { dense: linear(dense, hidden)?, output: linear(output, 1)? })
    }

    /// `[batch, hidden]` → `[batch]`.
    fn forward(&self, firsts: &[f32], count: usize) -> Vec<f32> {
        let mut dense = vec![0f32; firsts.len()];
        let mut room = Codes::default();
        self.dense.forward(firsts, &mut room, &mut dense, Epilogue::Overwrite);
        for value in &mut dense {
            *value = value.tanh();
        }
        let mut scores = vec![0f32; count];
        self.output.forward(&dense, &mut room, &mut scores, Epilogue::Overwrite);
        scores
    }
}

impl CrossEncoder {
    /// Loads the model from its three files. For pairs longer than `max_tokens`, the longer text is
    /// truncated.
    pub fn load(
        config: &Path,
        tokenizer: &Path,
        weights: &Path,
        max_tokens: usize,
        precision: Precision,
    ) -> Result<Self> {
        let config = EncoderConfig::read(config)?;
        ensure!(
            max_tokens <= config.max_tokens(),
            "the reranker reads at most {} tokens, but the catalogue says {max_tokens}",
            config.max_tokens()
        );
        let tokenizer = TextTokenizer::load(tokenizer)?.with_window(max_tokens)?;
        ensure!(
            tokenizer.vocabulary() <= config.vocabulary,
            "the tokenizer has {} tokens, the model only {}",
            tokenizer.vocabulary(),
            config.vocabulary
        );
        let failed = || format!("cannot load the reranker from {}", weights.display());
        let tensors = EncoderCheckpoint::open(weights)?;
        let encoder = Encoder::load(&config, &tensors, precision).with_context(failed)?;
        let head = Head::load(&config, &tensors).with_context(failed)?;
        Ok(Self { tokenizer, encoder, head })
    }

    /// One logit per passage: higher is more relevant, 0 is undecided.
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
            let firsts = self.encoder.forward(&texts).firsts();
            for (&i, score) in batch.iter().zip(self.head.forward(&firsts, batch.len())) {
                scores[i] = score;
            }
        }
        Ok(scores)
    }
}
