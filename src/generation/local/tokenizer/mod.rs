//! The LLM's tokenizer, from the model file itself.
//!
//! Text from documents and questions never becomes a special token: the tokenizer encodes
//! everything as ordinary text, and only the chat template's own markers are looked up by name.

mod bpe;
pub(crate) mod chat;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::normalizers::{NFC, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Model, SplitDelimiterBehavior, TokenizerImpl};

use super::checkpoint::gguf::{Gguf, Texts, integer};
use crate::models::{json, tokenizer};
use bpe::Bpe;

/// Llama 3's cut of text into words (tokenizer.json of meta-llama/Llama-3.1-8B).
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen2's and Qwen3's (tokenizer.json of Qwen/Qwen3-8B): digits one by one.
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// llama.cpp's numbers for kinds of tokens (`llama_token_type`).
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Ordinary text, whatever it looks like.
    Text(String),
    /// A special token.
    Special(u32),
}

/// The tokenizers library around one of its own models or ours.
type Around<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// The tokenizers library, whatever model it is around.
trait Engine: Send + Sync {
    fn encode(&self, text: &str) -> tokenizers::Result<Vec<u32>>;
    fn decode(&self, ids: &[u32]) -> tokenizers::Result<String>;
    fn token(&self, id: u32) -> Option<String>;
}

impl<M: Model + Send + Sync> Engine for Around<M> {
    fn encode(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        Ok(self.encode_fast(text, false)?.get_ids().to_vec())
    }

    fn decode(&self, ids: &[u32]) -> tokenizers::Result<String> {
        self.decode(ids, true)
    }

    fn token(&self, id: u32) -> Option<String> {
        self.id_to_token(id)
    }
}

/// A tokenizer and its special tokens.
pub struct LlmTokenizer {
    engine: Box<dyn Engine>,
    /// By text, longest first.
    special: Vec<(String, u32)>,
    /// One more than the largest id.
    vocabulary: usize,
}

impl LlmTokenizer {
    /// Reads a Hugging Face `tokenizer.json`.
    pub fn from_json(path: &Path) -> Result<Self> {
        let tokenizer = tokenizer::parse(&json::bytes(path)?, path)?;
        // The streaming decoder relies on tokens that decode one by one.
        ensure!(
            matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_))),
            "the tokenizer in {} is not byte-level BPE, as Llama 3's is; use a Llama 3 model",
            path.display()
        );
        let ids = tokenizer.get_vocab(true).into_values();
        let vocabulary = ids.max().map_or(0, |id| id as usize + 1);
        Ok(Self::new(tokenizer.into_inner(), vocabulary))
    }

    /// Builds the tokenizer that a GGUF file describes. candle-core has such a function, but it
    /// knows neither `llama-bpe` nor `smollm` and silently cuts their text as GPT-2 does.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let metadata = gguf.metadata();
        let lacks = |key: &str| format!("the file has no metadata {key:?}");
        let texts = |key: &str| -> Result<&Texts> {
            ensure!(!metadata.contains_key(key), "{key} is no list of texts");
            gguf.texts(key).with_context(|| lacks(key))
        };
        let key = "tokenizer.ggml.model";
        let kind = metadata.get(key).with_context(|| lacks(key))?.to_string()?;
        ensure!(
            kind == "gpt2",
            "the file has a {kind:?} tokenizer; this program reads byte-level BPE (\"gpt2\")"
        );
        let tokens = texts("tokenizer.ggml.tokens")?;
        let merges = texts("tokenizer.ggml.merges")?;
        let pre = match metadata.get("tokenizer.ggml.pre") {
            Some(value) => value.to_string()?.as_str(),
            None => "default",
        };
        let pre_tokenizer = pre_tokenizer(pre)?;
        // Llama 3 takes a word that is a token as it is, whatever the merges would make of it.
        let bpe = Bpe::new(tokens.clone(), merges, is_llama_3(pre))
            .context("the file's tokenizer cannot be built; download the file again")?;
        let mut tokenizer = Around::new(bpe);
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        // llama.cpp leaves this out; tokenizer.json has it.
        if pre == "qwen2" {
            let _ = tokenizer.with_normalizer(Some(NFC));
        }
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let kinds = match metadata.get("tokenizer.ggml.token_type") {
            Some(value) => value.to_vec()?.as_slice(),
            None => &[],
        };
        let added: Vec<AddedToken> = tokens
            .iter()
            .zip(kinds)
            .filter_map(|(token, kind)| {
                let kind = integer(kind)?;
                let special = kind == CONTROL;
                let text = || String::from_utf8_lossy(token).into_owned();
                (special || kind == USER_DEFINED)
                    .then(|| AddedToken::from(text(), special).normalized(false))
            })
            .collect();
        tokenizer
            .add_tokens(added)
            .map_err(|error| anyhow!("the file's special tokens: {error}"))?;
        Ok(Self::new(tokenizer, tokens.len()))
    }

    fn new<M>(mut tokenizer: Around<M>, vocabulary: usize) -> Self
    where
        M: Model + Send + Sync + 'static,
    {
        tokenizer.set_encode_special_tokens(true);
        let added = tokenizer.get_added_tokens_decoder();
        let mut special: Vec<(String, u32)> = added
            .into_iter()
            .filter(|(_, token)| token.special && !token.content.is_empty())
            .map(|(id, token)| (token.content, id))
            .collect();
        special.sort_unstable_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        Self { engine: Box::new(tokenizer), special, vocabulary }
    }

    /// The id of a special token, by its text.
    pub fn special(&self, token: &str) -> Option<u32> {
        self.special.iter().find(|(text, _)| text == token).map(|&(_, id)| id)
    }

    /// The first tokens of `word` in all its spellings: in lower case, with a capital, in capitals,
    /// and each after a space. `word` is in lower case.
    pub fn beginnings(&self, word: &str) -> Result<Vec<u32>> {
        let capitals = word.to_uppercase();
        let rest = word.chars().next().map_or(0, char::len_utf8);
        let capital: String = capitals.chars().take(1).chain(word[rest..].chars()).collect();
        let mut first = Vec::new();
        for spelling in [word, &capital, &capitals] {
            for text in [spelling.to_owned(), format!(" {spelling}")] {
                first.extend(self.encode(&[Piece::Text(text)])?.first());
            }
        }
        first.sort_unstable();
        first.dedup();
        Ok(first)
    }

    /// Text of a token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.engine.token(id)
    }

    /// Cuts trusted text, such as the chat template's own, at its special tokens.
    pub fn pieces(&self, template: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((at, token, id)) = self.first_special(rest) {
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            pieces.push(Piece::Special(id));
            rest = &rest[at + token.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        pieces
    }

    /// The leftmost special token in `text`, the longest where several start.
    fn first_special(&self, text: &str) -> Option<(usize, &str, u32)> {
        let found = self
            .special
            .iter()
            .filter_map(|(token, id)| Some((text.find(token)?, token.as_str(), *id)));
        found.min_by_key(|&(at, token, _)| (at, std::cmp::Reverse(token.len())))
    }

    /// Token ids of a prompt. Adjacent texts are encoded as one.
    pub fn encode(&self, pieces: &[Piece]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(more) => text.push_str(more),
                Piece::Special(id) => {
                    self.encode_text(&std::mem::take(&mut text), &mut ids)?;
                    ids.push(*id);
                }
            }
        }
        self.encode_text(&text, &mut ids)?;
        Ok(ids)
    }

    fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let encoded = self.engine.encode(text);
        ids.extend(encoded.map_err(|error| anyhow!("cannot tokenize: {error}"))?);
        Ok(())
    }

    /// A decoder that returns text as soon as its bytes are complete characters.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { engine: &*self.engine, pending: Vec::new() }
    }

    /// One more than the largest id: the rows that a model needs.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

fn is_llama_3(pre: &str) -> bool {
    matches!(pre, "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe")
}

/// How text is cut before the merges, by `tokenizer.ggml.pre`.
///
/// Source: `llm_tokenizer_bpe` in llama.cpp's `llama-vocab.cpp`, and the models' tokenizer.json.
fn pre_tokenizer(pre: &str) -> Result<PreTokenizerWrapper> {
    let pattern = match pre {
        _ if is_llama_3(pre) => Some(LLAMA_3),
        "qwen2" => Some(QWEN_2),
        _ => None,
    };
    if let Some(pattern) = pattern {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let words = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| anyhow!("the pattern of {pre} does not compile: {error}"))?;
        return Ok(
            Sequence::new(vec![words.into(), ByteLevel::new(false, true, false).into()]).into()
        );
    }
    match pre {
        "smollm" => Ok(Sequence::new(vec![
            Digits::new(true).into(),
            ByteLevel::new(false, true, true).into(),
        ])
        .into()),
        "default" | "gpt-2" => Ok(ByteLevel::new(false, true, true).into()),
        other => bail!(
            "the file's tokenizer cuts text by the rule {other:?}, which this program does not know \
             (it knows llama-bpe, qwen2, smollm and gpt-2)"
        ),
    }
}

/// Decodes an answer while it grows. Byte-level tokens decode one by one, so only the bytes of an
/// incomplete character are kept back.
pub struct TextStream<'a> {
    engine: &'a dyn Engine,
    pending: Vec<u32>,
}

impl TextStream<'_> {
    /// Takes the next token, and returns the text that is now certain.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.pending.push(id);
        let text = self.decode()?;
        // A replacement character at the end stands for an incomplete character, which the next
        // token may complete.
        if text.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        self.pending.clear();
        Ok(text)
    }

    /// What is left when no token follows, broken characters included.
    pub fn finish(self) -> Result<String> {
        self.decode()
    }

    fn decode(&self) -> Result<String> {
        self.engine.decode(&self.pending).map_err(|error| anyhow!("cannot decode a token: {error}"))
    }
}
