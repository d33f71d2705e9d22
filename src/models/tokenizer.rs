//! The `tokenizer.json` of a model, for the encoders and the LLM alike.

use std::path::Path;

use anyhow::{Result, anyhow};
use tokenizers::Tokenizer;

/// The tokenizer that `json`, the contents of `path`, describes. It encodes special tokens in a text
/// as ordinary text: a document that contains `</s>` is data, not the end of a sequence.
pub fn parse(json: &[u8], path: &Path) -> Result<Tokenizer> {
    // The library panics on merges that are shorter than the prefix of continued words.
    let mut tokenizer = std::panic::catch_unwind(|| Tokenizer::from_bytes(json))
        .unwrap_or_else(|_| Err("its merges do not fit its vocabulary".into()))
        .map_err(|error| {
            anyhow!("cannot use the tokenizer in {}: {error}; download it again", path.display())
        })?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}
