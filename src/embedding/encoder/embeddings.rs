//! Token ids → the vectors that the first layer reads.

use anyhow::Result;

use super::Sequence;
use super::checkpoint::{EncoderCheckpoint, RowTable};
use super::config::{EncoderConfig, Family};
use super::norm::LayerNorm;

/// The tables of a model, and the norm of what is read from them.
pub struct Embeddings {
    /// `[vocabulary, hidden]`; rows are read as they are needed.
    tokens: RowTable,
    places: Option<Places>,
    norm: LayerNorm,
    hidden: usize,
}

/// What BERT and XLM-RoBERTa add to a token's vector.
struct Places {
    /// `[positions, hidden]`
    positions: RowTable,
    /// The first token's row.
    first: usize,
    /// `[types, hidden]`
    types: Vec<f32>,
}

/// The token table of a family, which every checkpoint of it has.
pub fn table(family: &Family) -> &'static str {
    match family {
        Family::Bert | Family::XlmRoberta => "embeddings.word_embeddings.weight",
        Family::ModernBert(_) => "embeddings.tok_embeddings.weight",
    }
}

impl Embeddings {
    /// Loads the tables.
    pub fn load(tensors: &EncoderCheckpoint, config: &EncoderConfig) -> Result<Self> {
        let EncoderConfig { hidden, vocabulary, epsilon, .. } = *config;
        let below = tensors.under("embeddings.");
        let (places, norm) = match &config.family {
            Family::Bert | Family::XlmRoberta => {
                let types = below.table("token_type_embeddings.weight", config.types, hidden)?;
                let mut values = vec![0.0; config.types * hidden];
                types.read(0, &mut values);
                let positions =
                    below.table("position_embeddings.weight", config.positions(), hidden)?;
                let places = Places { positions, first: config.first_position(), types: values };
                (Some(places), LayerNorm::load(&below, "LayerNorm", hidden, epsilon, true)?)
            }
            Family::ModernBert(modern) => {
                (None, LayerNorm::load(&below, "norm", hidden, epsilon, modern.norm_bias)?)
            }
        };
        let tokens = tensors.table(table(&config.family), vocabulary, hidden)?;
        Ok(Self { tokens, places, norm, hidden })
    }

    /// The normalized vectors of all tokens of `batch`: `[tokens, hidden]`.
    pub fn embed(&self, batch: &[&Sequence], xs: &mut [f32]) {
        let hidden = self.hidden;
        let mut position = vec![0f32; hidden];
        let all = batch.iter().flat_map(|text| text.ids.iter().zip(&text.types).enumerate());
        for (x, (i, (&id, &kind))) in xs.chunks_exact_mut(hidden).zip(all) {
            // Ids that the model does not know read the first row.
            let id = id as usize;
            self.tokens.read(if id < self.tokens.rows() { id } else { 0 }, x);
            let Some(Places { positions, first, types }) = &self.places else { continue };
            positions.read(first + i, &mut position);
            // XLM-RoBERTa knows one type only.
            let start = (kind as usize * hidden).min(types.len() - hidden);
            let kind = &types[start..start + hidden];
            for ((x, position), kind) in x.iter_mut().zip(&position).zip(kind) {
                *x += position + kind;
            }
        }
        self.norm.forward(xs);
    }
}
