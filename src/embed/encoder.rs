//! The transformer encoder under embedders and cross-encoders, on the CPU.
//!
//! BERT (Devlin et al. 2019) and XLM-RoBERTa (Conneau et al. 2020), by candle-transformers.
//! `Device::Cpu` is the only device this module knows, so embedding and reranking cannot create a
//! CUDA context.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, xlm_roberta};
use serde::Deserialize;
use tokenizers::Encoding;

/// Configuration files are small; anything larger is none.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What a checkpoint's `config.json` says of itself.
pub struct EncoderConfig {
    family: Family,
    /// Size of a token vector.
    pub hidden: usize,
    /// Tokens that the position table has room for.
    pub max_tokens: usize,
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Token that fills up the shorter texts of a batch.
    pub pad: u32,
}

enum Family {
    Bert(bert::Config),
    XlmRoberta(xlm_roberta::Config),
}

impl EncoderConfig {
    /// Reads `config.json`.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Typed {
            model_type: String,
        }
        let size =
            fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        ensure!(size <= MAX_CONFIG_BYTES, "{} is too large for a configuration", path.display());
        let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("{} is not a configuration this program can use", path.display());
        let Typed { model_type } = serde_json::from_slice(&json).with_context(wrong)?;
        match model_type.as_str() {
            "bert" => {
                let config: bert::Config = serde_json::from_slice(&json).with_context(wrong)?;
                Ok(Self {
                    hidden: config.hidden_size,
                    max_tokens: config.max_position_embeddings,
                    vocabulary: config.vocab_size,
                    pad: config.pad_token_id as u32,
                    family: Family::Bert(config),
                })
            }
            "xlm-roberta" => {
                let config: xlm_roberta::Config =
                    serde_json::from_slice(&json).with_context(wrong)?;
                let pad = config.pad_token_id;
                Ok(Self {
                    hidden: config.hidden_size,
                    // Positions start after the padding token's own (fairseq's convention).
                    max_tokens: config.max_position_embeddings.saturating_sub(pad as usize + 1),
                    vocabulary: config.vocab_size,
                    pad,
                    family: Family::XlmRoberta(config),
                })
            }
            other => bail!(
                "{} describes a {other:?} model; embedders and rerankers can be \"bert\" or \"xlm-roberta\"",
                path.display()
            ),
        }
    }

    /// Whether the checkpoint is a BERT (with a pooler before its classifier).
    pub fn is_bert(&self) -> bool {
        matches!(self.family, Family::Bert(_))
    }

    /// Prefix of the encoder's tensors in a checkpoint that has a head beside it.
    pub fn prefix(&self) -> &'static str {
        match self.family {
            Family::Bert(_) => "bert",
            Family::XlmRoberta(_) => "roberta",
        }
    }
}

/// Opens a checkpoint: safetensors, mapped, or a PyTorch `.bin`.
pub fn open_weights(path: &Path) -> Result<VarBuilder<'static>> {
    let opened = if path.extension().is_some_and(|extension| extension == "bin") {
        VarBuilder::from_pth(path, DType::F32, &Device::Cpu)
    } else {
        // SAFETY: model files are not changed while they are in use; nothing of ours writes them
        // in place.
        unsafe { VarBuilder::from_mmaped_safetensors(&[path], DType::F32, &Device::Cpu) }
    };
    opened.with_context(|| format!("cannot read the weights in {}", path.display()))
}

enum Model {
    Bert(bert::BertModel),
    XlmRoberta(xlm_roberta::XLMRobertaModel),
}

/// One text as an encoder reads it.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Token ids.
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

/// A loaded encoder.
pub struct Encoder {
    model: Model,
    pad: u32,
}

impl Encoder {
    /// Loads the tensors that `weights` has for `config`.
    pub fn load(config: &EncoderConfig, weights: VarBuilder) -> Result<Self> {
        let model = match &config.family {
            Family::Bert(config) => Model::Bert(bert::BertModel::load(weights, config)?),
            Family::XlmRoberta(config) => {
                Model::XlmRoberta(xlm_roberta::XLMRobertaModel::new(config, weights)?)
            }
        };
        Ok(Self { model, pad: config.pad })
    }

    /// Contextual token vectors, `[batch, longest, hidden]`. Vectors past the end of a shorter
    /// text are padding.
    pub fn forward(&self, batch: &[&Sequence]) -> candle_core::Result<Tensor> {
        let longest = batch.iter().map(|text| text.len()).max().unwrap_or(0);
        let padded = |row: &dyn Fn(&Sequence) -> Vec<u32>, fill: u32| {
            let mut values = Vec::with_capacity(batch.len() * longest);
            for text in batch {
                values.extend(row(text));
                values.extend(std::iter::repeat_n(fill, longest - text.len()));
            }
            Tensor::from_vec(values, (batch.len(), longest), &Device::Cpu)
        };
        let ids = padded(&|text| text.ids.clone(), self.pad)?;
        let mask = padded(&|text| vec![1; text.len()], 0)?;
        match &self.model {
            Model::Bert(model) => {
                let types = padded(&|text| text.types.clone(), 0)?;
                model.forward(&ids, &types, Some(&mask))
            }
            // XLM-RoBERTa knows one type only, whatever the tokenizer says.
            Model::XlmRoberta(model) => {
                model.forward(&ids, &mask, &ids.zeros_like()?, None, None, None)
            }
        }
    }
}

/// Cuts the texts into batches of similar length, so that padding wastes little: index lists into
/// `lengths`, each with at most `budget` tokens, padding counted (but at least one text).
pub fn batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match batches.last_mut() {
            // Sorted: the newcomer is the longest, and decides the padded length.
            Some(batch) if (batch.len() + 1) * lengths[i] <= budget => batch.push(i),
            _ => batches.push(vec![i]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_to_the_budget_and_lose_nothing() {
        let lengths = [300, 5, 7, 200, 512, 6, 5, 100];
        let batches = batches(&lengths, 512);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&i| lengths[i]).max().unwrap();
            assert!(batch.len() == 1 || batch.len() * longest <= 512);
        }
        assert!(super::batches(&[], 512).is_empty());
    }
}
