//! The tokens that a GGUF file lists, and what each of them is.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use candle_core::quantized::gguf_file::Value;

use crate::generation::local::checkpoint::gguf::{Gguf, Texts, integer};
use crate::generation::local::model::architecture::Architecture;

/// llama.cpp's numbers for kinds of tokens (`llama_token_type`).
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Marks of turns that some published files list as if they were text.
const MARKS_OF_TURNS: [&str; 2] = ["<start_of_turn>", "<end_of_turn>"];

/// The vocabulary of a GGUF file.
pub struct Vocabulary<'a> {
    gguf: &'a Gguf,
    pub tokens: &'a Texts,
    /// By id; may lack.
    kinds: &'a [Value],
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text may become it.
    Text,
    /// Text that has it becomes it, whatever else it might become.
    Defined,
    /// Only a chat template may write it, and no text.
    Special,
    /// A byte, or nothing.
    Other,
}

impl<'a> Vocabulary<'a> {
    pub fn of(gguf: &'a Gguf) -> Result<Self> {
        let tokens = texts(gguf, "tokenizer.ggml.tokens")?;
        let kinds = match gguf.metadata().get("tokenizer.ggml.token_type") {
            Some(value) => value.to_vec()?.as_slice(),
            None => &[],
        };
        Ok(Self { gguf, tokens, kinds })
    }

    /// `gpt2` or `llama`, for those that this program reads.
    pub fn model(&self) -> Result<&'a str> {
        let key = "tokenizer.ggml.model";
        Ok(self.value(key).with_context(|| lacks(key))?.to_string()?)
    }

    /// The name of the rule by which text is cut into words.
    pub fn cut(&self) -> Result<&'a str> {
        self.value("tokenizer.ggml.pre").map_or(Ok("default"), |value| Ok(value.to_string()?))
    }

    pub fn merges(&self) -> Result<&'a Texts> {
        texts(self.gguf, "tokenizer.ggml.merges")
    }

    /// By id, of SentencePiece: the best is the greatest.
    pub fn scores(&self) -> Result<Vec<f32>> {
        let key = "tokenizer.ggml.scores";
        let scores = self.value(key).with_context(|| lacks(key))?.to_vec()?;
        let scores = scores.iter().map(|score| match score {
            Value::F32(score) if !score.is_nan() => Some(*score),
            _ => None,
        });
        let scores: Option<Vec<f32>> = scores.collect();
        let scores = scores.with_context(|| format!("{key} are not all numbers"))?;
        ensure!(
            scores.len() == self.tokens.len(),
            "it has {} tokens and {} scores for them",
            self.tokens.len(),
            scores.len()
        );
        Ok(scores)
    }

    /// Whether text is given a space before it. llama.cpp takes it for true where a file does not say.
    pub fn adds_space(&self) -> bool {
        !matches!(self.value("tokenizer.ggml.add_space_prefix"), Some(Value::Bool(false)))
    }

    /// Whether special tokens take the white space behind them, which no file says.
    pub fn specials_take_space(&self) -> bool {
        let Some(Value::String(name)) = self.value("general.architecture") else { return false };
        Architecture::named(name).is_some_and(|architecture| architecture.specials_take_space)
    }

    pub fn kind(&self, id: usize) -> Kind {
        let kind = self.kinds.get(id).and_then(integer).unwrap_or(NORMAL);
        let is_mark = || {
            let text = self.tokens.get(id).unwrap_or_default();
            let in_bars = text.len() > 4 && text.starts_with(b"<|") && text.ends_with(b"|>");
            in_bars || MARKS_OF_TURNS.iter().any(|mark| mark.as_bytes() == text)
        };
        match kind {
            CONTROL => Kind::Special,
            USER_DEFINED | NORMAL if is_mark() => Kind::Special,
            USER_DEFINED => Kind::Defined,
            NORMAL => Kind::Text,
            _ => Kind::Other,
        }
    }

    /// The ids and texts of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (u32, Cow<'a, str>)> {
        let tokens = (0..).zip(self.tokens.iter()).filter(|(_, text)| !text.is_empty());
        tokens
            .filter(move |&(id, _)| self.kind(id as usize) == kind)
            .map(|(id, text)| (id, String::from_utf8_lossy(text)))
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.gguf.metadata().get(key)
    }
}

fn texts<'a>(gguf: &'a Gguf, key: &str) -> Result<&'a Texts> {
    ensure!(!gguf.metadata().contains_key(key), "{key} is no list of texts");
    gguf.texts(key).with_context(|| lacks(key))
}

fn lacks(key: &str) -> String {
    format!("the file has no metadata {key:?}")
}
