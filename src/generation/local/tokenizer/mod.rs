//! The LLM's tokenizer, from the model file itself.
//!
//! Text from documents and questions never becomes a special token: the tokenizer encodes
//! everything as ordinary text, and only the chat template's own markers are looked up by name.

mod bpe;
mod byte_level;
pub(crate) mod chat;
mod joining;
mod pieces;
mod table;
mod vocabulary;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tokenizers::decoders::DecoderWrapper;

use super::checkpoint::gguf::Gguf;
use crate::models::{json, tokenizer};
use pieces::Pieces;
use vocabulary::{Kind, Vocabulary};

const DAMAGED: &str = "the file's tokenizer cannot be built; download the file again";

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Ordinary text, whatever it looks like.
    Text(String),
    /// A special token.
    Special(u32),
}

/// A way to cut text into tokens.
trait Engine: Send + Sync {
    /// Special tokens in the text are text.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// Without special tokens.
    fn decode(&self, ids: &[u32]) -> Result<String>;

    fn token(&self, id: u32) -> Option<String>;

    /// Whether text is given a space before it, which comes back before an answer.
    fn adds_space(&self) -> bool {
        false
    }
}

/// A tokenizer and its special tokens.
pub struct LlmTokenizer {
    engine: Box<dyn Engine>,
    /// By text, longest first.
    special: Vec<(String, u32)>,
    /// Whether special tokens take the white space behind them.
    specials_take_space: bool,
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
        let mut tokenizer = tokenizer.into_inner();
        tokenizer.set_encode_special_tokens(true);
        let special = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special && !token.content.is_empty())
            .map(|(id, token)| (token.content, id));
        let special = special.collect();
        Ok(Self::new(Box::new(tokenizer), special, vocabulary))
    }

    /// Builds the tokenizer that a GGUF file describes.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let vocabulary = Vocabulary::of(gguf)?;
        let engine: Box<dyn Engine> = match vocabulary.model()? {
            "gpt2" => Box::new(byte_level::tokenizer(&vocabulary)?),
            "llama" => Box::new(Pieces::new(&vocabulary).context(DAMAGED)?),
            other => bail!(
                "the file has a {other:?} tokenizer; this program reads byte-level BPE (\"gpt2\") \
                 and SentencePiece's (\"llama\")"
            ),
        };
        let special = vocabulary.of_kind(Kind::Special).map(|(id, text)| (text.into_owned(), id));
        let tokenizer = Self::new(engine, special.collect(), vocabulary.tokens.len());
        Ok(Self { specials_take_space: vocabulary.specials_take_space(), ..tokenizer })
    }

    fn new(engine: Box<dyn Engine>, mut special: Vec<(String, u32)>, vocabulary: usize) -> Self {
        special.sort_unstable_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        Self { engine, special, specials_take_space: false, vocabulary }
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
            // Where text is given a space, only a word behind something else has none.
            if self.engine.adds_space() {
                let before = self.engine.encode("\n")?.len();
                first.extend(self.engine.encode(&format!("\n{spelling}"))?.get(before));
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

    /// Appends the tokens of a text that follows a special token, unless it is the first.
    fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let text = match ids.is_empty() {
            false if self.specials_take_space => text.trim_start(),
            // A space behind a special token is the one that the text is given.
            false if self.engine.adds_space() => text.strip_prefix(' ').unwrap_or(text),
            _ => text,
        };
        ids.extend(self.engine.encode(text)?);
        Ok(())
    }

    /// A decoder that returns text as soon as its bytes are complete characters.
    pub fn stream(&self) -> TextStream<'_> {
        let engine = &*self.engine;
        TextStream { engine, pending: Vec::new(), drops_space: engine.adds_space() }
    }

    /// One more than the largest id: the rows that a model needs.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

/// Decodes an answer while it grows. Tokens decode one by one, so only the bytes of an incomplete
/// character are kept back.
pub struct TextStream<'a> {
    engine: &'a dyn Engine,
    pending: Vec<u32>,
    /// Whether a space that comes next is not part of the text.
    drops_space: bool,
}

impl TextStream<'_> {
    /// Takes the next token, and returns the text that is now certain.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.pending.push(id);
        let text = self.engine.decode(&self.pending)?;
        // A replacement character at the end stands for an incomplete character, which the next
        // token may complete.
        if text.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        self.pending.clear();
        Ok(self.shown(text))
    }

    /// What is left when no token follows, broken characters included.
    pub fn finish(mut self) -> Result<String> {
        let text = self.engine.decode(&self.pending)?;
        Ok(self.shown(text))
    }

    fn shown(&mut self, text: String) -> String {
        if text.is_empty() || !std::mem::take(&mut self.drops_space) {
            return text;
        }
        text.strip_prefix(' ').map_or_else(|| text.clone(), str::to_owned)
    }
}
