//! Text → token ids, for the encoders.

use std::path::Path;

use anyhow::{Result, anyhow};
use tokenizers::{Encoding, Tokenizer, TruncationParams, TruncationStrategy};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Texts are cut to this many bytes before anything looks at their tokens: a window of 8,192
/// tokens is never longer, and a megabyte without a space costs nothing.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// A tokenizer that treats everything it is given as ordinary text.
pub struct TextTokenizer(Tokenizer);

impl TextTokenizer {
    /// Reads `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_file(path)
            .map_err(|error| anyhow!("cannot read the tokenizer in {}: {error}", path.display()))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| anyhow!("cannot use the tokenizer in {}: {error}", path.display()))?;
        // A document that contains `</s>` is data, not the end of a sequence.
        tokenizer.set_encode_special_tokens(true);
        Ok(Self(tokenizer))
    }

    /// Cuts the longer part of a pair so that the whole has at most `max_tokens`.
    pub fn with_window(mut self, max_tokens: usize) -> Result<Self> {
        let window = TruncationParams {
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        self.0
            .with_truncation(Some(window))
            .map_err(|error| anyhow!("cannot truncate: {error}"))?;
        Ok(self)
    }

    /// Tokens with the model's own first and last ones.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        let text = bounded(text);
        self.0.encode(composed(text), true).map_err(|error| anyhow!("cannot tokenize: {error}"))
    }

    /// A question and a passage as the one sequence that a cross-encoder reads.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoding> {
        let pair = (composed(bounded(first)), composed(bounded(second)));
        self.0.encode(pair, true).map_err(|error| anyhow!("cannot tokenize: {error}"))
    }

    /// Number of tokens in `text`, without the model's own.
    pub fn count(&self, text: &str) -> usize {
        // The models that are accepted tokenize any text; should one not, its text is as long as
        // it could be.
        self.0.encode_fast(composed(text), false).map_or(text.len(), |encoding| encoding.len())
    }

    /// Number of different tokens.
    pub fn vocabulary(&self) -> usize {
        self.0.get_vocab_size(true)
    }
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// The normalizer of XLM-R's published tokenizers drops the tone marks of decomposed Vietnamese,
/// so every text is composed (NFC) before it.
fn composed(text: &str) -> String {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.to_owned(),
        _ => text.nfc().collect(),
    }
}
