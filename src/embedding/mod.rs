//! Embeddings: texts → unit vectors whose dot product says how near their meanings are.

pub mod codes;
pub mod encoder;
mod language_directions;

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokenizers::Encoding;

use crate::compute::pool;
use crate::models::catalogue::{EmbedderSpec, Pooling};
use encoder::{
    Encoder, EncoderCheckpoint, EncoderConfig, Hidden, Sequence, TextTokenizer, batches,
};

pub use crate::compute::dense::rows::dot;
pub use language_directions::LanguageDirections;

/// Tokens in a batch: enough that the cores finish together, few enough to hold all their vectors.
const BATCH_TOKENS: usize = 16 << 10;

/// A text's embedding.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// `[dim]`, unit length.
    pub vector: Vec<f32>,
    /// The contextual vectors of the text's own tokens that have a letter or a digit (not of the
    /// prefix, not the model's own); empty unless asked for.
    pub tokens: Vec<TokenVector>,
}

/// One token in its context.
#[derive(Debug, Clone)]
pub struct TokenVector {
    /// The token's bytes in the text (composed form).
    pub span: Range<usize>,
    /// `[dim]`: the last layer's output, less what says only the language.
    pub vector: Vec<f32>,
}

impl AsRef<[f32]> for TokenVector {
    fn as_ref(&self) -> &[f32] {
        &self.vector
    }
}

/// Whether the vectors of single tokens are wanted beside the text's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Only the text's vector.
    Dropped,
    /// Token vectors too.
    Kept,
}

/// A loaded embedder.
pub struct Embedder {
    tokenizer: TextTokenizer,
    encoder: Encoder,
    settings: EmbedderSpec,
    languages: Option<LanguageDirections>,
}

impl Embedder {
    /// Loads the model from its three files.
    ///
    /// # Panics
    /// If the library panics on the tokenizer.
    pub fn load(
        config: &Path,
        tokenizer: &Path,
        weights: &Path,
        settings: EmbedderSpec,
    ) -> Result<Self> {
        let config = EncoderConfig::read(config)?;
        ensure!(
            config.hidden == settings.dimension && settings.max_tokens <= config.max_tokens(),
            "the model makes vectors of {} values from at most {} tokens, but the catalogue says {} and {}",
            config.hidden,
            config.max_tokens(),
            settings.dimension,
            settings.max_tokens
        );
        // The tokenizer has 250,000 pieces, the weights 470 MB: read them side by side.
        let (tokenizer, encoder) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| TextTokenizer::load(tokenizer));
            let encoder = EncoderCheckpoint::open(weights)
                .and_then(|tensors| Encoder::load(&config, &tensors, settings.precision))
                .with_context(|| format!("cannot load the embedder from {}", weights.display()));
            (tokenizer.join().expect("loading a tokenizer returns its errors"), encoder)
        });
        let (tokenizer, encoder) = (tokenizer?, encoder?);
        ensure!(
            tokenizer.vocabulary() <= config.vocabulary,
            "the tokenizer has {} tokens, the model only {}",
            tokenizer.vocabulary(),
            config.vocabulary
        );
        let languages = settings
            .language_directions
            .as_ref()
            .map(|file| LanguageDirections::read(file, settings.dimension))
            .transpose()?;
        Ok(Self { tokenizer, encoder, settings, languages })
    }

    /// Tokens of `text` itself, as the embedder counts them.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    /// Tokens that a passage may have besides the prefix and the model's own two.
    pub fn passage_window(&self) -> usize {
        self.settings
            .max_tokens
            .saturating_sub(2 + self.count_tokens(&self.settings.passage_prefix))
    }

    /// Multiply-additions that a text of `tokens` tokens takes in matrix products.
    pub fn operations(&self, tokens: usize) -> usize {
        self.encoder.operations(tokens)
    }

    /// Embeds a question, or its beginning if it is longer than the window.
    pub fn embed_query(&self, question: &str, tokens: Tokens) -> Result<Embedding> {
        let mut encoded = self.encode(&self.settings.query_prefix, question)?;
        encoded.truncate(self.settings.max_tokens);
        Ok(self.forward(&[&encoded], tokens).remove(0))
    }

    /// Embeds passages. None depends on its neighbours in the batch.
    ///
    /// # Errors
    /// A passage longer than the window: it is never truncated silently.
    ///
    /// # Panics
    /// If the encoder does.
    pub fn embed_passages<S: AsRef<str> + Sync>(
        &self,
        passages: &[S],
        tokens: Tokens,
    ) -> Result<Vec<Embedding>> {
        let encoded = self.encode_passages(passages)?;
        let lengths: Vec<usize> = encoded.iter().map(|text| text.sequence.len()).collect();
        if let Some(longest) = lengths.iter().copied().max() {
            let window = self.settings.max_tokens;
            ensure!(
                longest <= window,
                "a passage has {longest} tokens, the embedder's window {window}"
            );
        }
        let mut embeddings: Vec<Option<Embedding>> = vec![None; passages.len()];
        for batch in batches(&lengths, BATCH_TOKENS) {
            let texts: Vec<&EncodedText> = batch.iter().map(|&i| &encoded[i]).collect();
            for (i, embedding) in batch.into_iter().zip(self.forward(&texts, tokens)) {
                embeddings[i] = Some(embedding);
            }
        }
        Ok(embeddings.into_iter().map(|e| e.expect("batches hold every text once")).collect())
    }

    /// Tokenizes on all cores.
    fn encode_passages<S: AsRef<str> + Sync>(&self, passages: &[S]) -> Result<Vec<EncodedText>> {
        let encode = |i: usize| self.encode(&self.settings.passage_prefix, passages[i].as_ref());
        pool::map(passages.len(), encode).into_iter().collect()
    }

    fn encode(&self, prefix: &str, text: &str) -> Result<EncodedText> {
        let encoding = self.tokenizer.encode(&format!("{prefix}{text}"))?;
        Ok(EncodedText::new(&encoding, prefix.len(), text))
    }

    /// One embedding for each text of a batch.
    fn forward(&self, texts: &[&EncodedText], tokens: Tokens) -> Vec<Embedding> {
        let sequences: Vec<&Sequence> = texts.iter().map(|text| &text.sequence).collect();
        let hidden = self.encoder.forward(&sequences);
        pool::map(texts.len(), |i| self.embedding(texts[i], &hidden, i, tokens))
    }

    /// The embedding of the `i`-th text of a batch.
    fn embedding(
        &self,
        text: &EncodedText,
        hidden: &Hidden,
        i: usize,
        tokens: Tokens,
    ) -> Embedding {
        let mut vector = vec![0f32; self.settings.dimension];
        // Scaled to unit length, a sum is as good as a mean.
        let counted = match self.settings.pooling {
            Pooling::Mean => text.sequence.len(),
            Pooling::Cls => 1,
        };
        for row in hidden.rows(i).take(counted) {
            vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        normalize(&mut vector);
        let mut tokens = match tokens {
            Tokens::Dropped => Vec::new(),
            Tokens::Kept => text.token_vectors(hidden.rows(i)),
        };
        if let Some(languages) = &self.languages {
            languages.remove_from_text(&mut vector);
            for token in &mut tokens {
                languages.remove_from_token(&mut token.vector);
            }
        }
        Embedding { vector, tokens }
    }
}

/// A text as the encoder reads it.
struct EncodedText {
    sequence: Sequence,
    /// Span of each token in the text without its prefix; `None` for tokens of the prefix, for the
    /// model's own, and for those without a letter or a digit.
    spans: Vec<Option<Range<usize>>>,
}

impl EncodedText {
    fn new(encoding: &Encoding, prefix: usize, text: &str) -> Self {
        let own = encoding.get_special_tokens_mask();
        let spans = encoding.get_offsets().iter().zip(own).map(|(&(start, end), &own)| {
            // "query: NLP" may have a token " NLP", which starts at the last space of the prefix.
            let span =
                (own == 0 && end > prefix).then(|| start.saturating_sub(prefix)..end - prefix);
            // Punctuation tells passages apart no better than nothing (docs/retrieval.md).
            let says = |span: &Range<usize>| {
                text.get(span.clone()).is_none_or(|it| it.contains(char::is_alphanumeric))
            };
            span.filter(says)
        });
        Self { sequence: Sequence::from(encoding), spans: spans.collect() }
    }

    /// Keeps the first `window - 1` tokens and the model's own last one.
    fn truncate(&mut self, window: usize) {
        let last = self.sequence.len() - 1;
        if last >= window {
            self.sequence.ids.drain(window - 1..last);
            self.sequence.types.drain(window - 1..last);
            self.spans.drain(window - 1..last);
        }
    }

    fn token_vectors<'a>(&self, rows: impl Iterator<Item = &'a [f32]>) -> Vec<TokenVector> {
        let tokens = self.spans.iter().zip(rows);
        tokens
            .filter_map(|(span, row)| {
                Some(TokenVector { span: span.clone()?, vector: row.to_vec() })
            })
            .collect()
    }
}

/// Scales `vector` to length 1, and returns the length that it had; leaves a zero vector as it is.
pub fn normalize(vector: &mut [f32]) -> f32 {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
    length
}
