//! SentencePiece's byte pair encoding (Kudo and Richardson 2018) with the vocabulary where it lies in
//! a GGUF file: of all neighbours that are a token together, those whose token has the best score are
//! joined first. What is no token in the end is spelled in bytes.
//!
//! Source: sentencepiece's `bpe_model.cc`, and `llm_tokenizer_spm` of llama.cpp.

use anyhow::{Context, Result, ensure};

use super::Engine;
use super::joining::{Join, Joins, Symbol, join};
use super::table::{NONE, NumberTable};
use super::vocabulary::{Kind, Vocabulary};
use crate::generation::local::checkpoint::gguf::Texts;

/// Stands for a space in a token.
const SPACE: char = '▁';

/// The longest text of a defined token, in bytes; Gemma 3's, 31 spaces, takes 93.
const MAX_DEFINED: usize = 256;

/// A vocabulary with scores.
pub struct Pieces {
    /// By id.
    tokens: Texts,
    /// Text → id, without tokens that no text may become.
    ids: NumberTable,
    /// By id: tokens of the best score have 0, of the next best 1, …
    ranks: Vec<u32>,
    /// The tokens that spell a byte each.
    bytes: Box<[u32; 256]>,
    defined: Defined,
    /// By id: whether it is part of a text.
    is_shown: Vec<bool>,
    adds_space: bool,
}

impl Pieces {
    /// # Errors
    /// When there is not one score for each token, or not a token for each byte.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self> {
        let tokens = vocabulary.tokens;
        ensure!(tokens.len() < NONE as usize, "the vocabulary is too large");
        let ranks = ranks(&vocabulary.scores()?);
        let mut ids = NumberTable::with_room(tokens.len());
        let mut bytes = Box::new([NONE; 256]);
        for (id, text) in tokens.iter().enumerate() {
            if let Some(byte) = byte_of(text) {
                bytes[usize::from(byte)] = id as u32;
            } else if vocabulary.kind(id) == Kind::Text && !text.is_empty() {
                ids.insert(&text, id as u32, |other| tokens.get(other as usize) == Some(text));
            }
        }
        let lacking = bytes.iter().position(|&id| id == NONE);
        ensure!(lacking.is_none(), "no token spells the byte {}", lacking.unwrap_or_default());
        Ok(Self {
            defined: Defined::new(vocabulary)?,
            is_shown: (0..tokens.len()).map(|id| vocabulary.kind(id) != Kind::Special).collect(),
            adds_space: vocabulary.adds_space(),
            tokens: tokens.clone(),
            ids,
            ranks,
            bytes,
        })
    }

    fn id(&self, text: &[u8]) -> Option<u32> {
        self.ids.find(&text, |id| self.tokens.get(id as usize) == Some(text))
    }

    /// The letters of a text.
    fn letters(&self, text: &str) -> Vec<Symbol> {
        let letters = text.char_indices().map(|(start, letter)| {
            let bytes = letter.len_utf8();
            let id = self.id(&text.as_bytes()[start..start + bytes]).unwrap_or(NONE);
            Symbol::new(id, start, bytes)
        });
        letters.collect()
    }

    /// Appends the tokens of text without defined ones.
    fn append(&self, text: &str, ids: &mut Vec<u32>) {
        let mut symbols = self.letters(text);
        join(&Word { pieces: self, text: text.as_bytes() }, &mut symbols);
        for Symbol { id, start, bytes, .. } in symbols {
            if id == NONE {
                let letter = &text.as_bytes()[start as usize..(start + bytes) as usize];
                ids.extend(letter.iter().map(|&byte| self.bytes[usize::from(byte)]));
            } else {
                ids.push(id);
            }
        }
    }
}

impl Engine for Pieces {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        if text.is_empty() {
            return Ok(ids);
        }
        let before = if self.adds_space { " " } else { "" };
        let text = escaped(&[before, text].concat());
        let (mut start, mut at) = (0, 0);
        while let Some(letter) = text[at..].chars().next() {
            match self.defined.longest(&text.as_bytes()[at..]) {
                Some((bytes, id)) => {
                    self.append(&text[start..at], &mut ids);
                    ids.push(id);
                    at += bytes;
                    start = at;
                }
                None => at += letter.len_utf8(),
            }
        }
        self.append(&text[start..], &mut ids);
        Ok(ids)
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::new();
        for &id in ids {
            let text = self.tokens.get(id as usize);
            let text = text.with_context(|| format!("there is no token {id}"))?;
            match byte_of(text) {
                _ if !self.is_shown[id as usize] => {}
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(text),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).replace(SPACE, " "))
    }

    fn token(&self, id: u32) -> Option<String> {
        Some(String::from_utf8_lossy(self.tokens.get(id as usize)?).into_owned())
    }

    fn adds_space(&self) -> bool {
        self.adds_space
    }
}

fn escaped(text: &str) -> String {
    text.replace(' ', SPACE.encode_utf8(&mut [0; 4]))
}

/// By id, how many different scores are better.
fn ranks(scores: &[f32]) -> Vec<u32> {
    let mut best: Vec<usize> = (0..scores.len()).collect();
    best.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut ranks = vec![0; scores.len()];
    for pair in best.windows(2) {
        let differs = scores[pair[0]].total_cmp(&scores[pair[1]]).is_ne();
        ranks[pair[1]] = ranks[pair[0]] + u32::from(differs);
    }
    ranks
}

/// The byte that a token such as `<0xE1>` spells.
fn byte_of(token: &[u8]) -> Option<u8> {
    let digits = token.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = str::from_utf8(digits).ok().filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

/// A word that is being encoded.
struct Word<'a> {
    pieces: &'a Pieces,
    text: &'a [u8],
}

impl Joins for Word<'_> {
    fn join(&self, left: &Symbol, right: &Symbol) -> Option<Join> {
        let start = left.start as usize;
        let text = &self.text[start..start + (left.bytes + right.bytes) as usize];
        let id = self.pieces.id(text)?;
        Some(Join { rank: self.pieces.ranks[id as usize], id })
    }
}

/// The tokens that text becomes before anything is joined, such as runs of spaces and tags of HTML.
struct Defined(Vec<(Box<[u8]>, u32)>);

impl Defined {
    fn new(vocabulary: &Vocabulary) -> Result<Self> {
        let mut sorted = Vec::new();
        for (id, text) in vocabulary.of_kind(Kind::Defined) {
            // Converters write some of them with spaces.
            let text = escaped(&text);
            ensure!(text.len() <= MAX_DEFINED, "token {id} has {} bytes", text.len());
            sorted.push((text.into_bytes().into(), id));
        }
        sorted.sort_unstable();
        Ok(Self(sorted))
    }

    /// The longest with which `text` begins: its length, and its id.
    fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let (mut alike, mut longest) = (&self.0[..], None);
        for (at, &byte) in text.iter().enumerate() {
            let below = alike.partition_point(|(token, _)| token.get(at) < Some(&byte));
            alike = &alike[below..];
            let equal = alike.partition_point(|(token, _)| token.get(at) == Some(&byte));
            alike = &alike[..equal];
            match alike.first() {
                Some((token, id)) if token.len() == at + 1 => longest = Some((at + 1, *id)),
                Some(_) => {}
                None => break,
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::gguf_file::Value;

    use super::super::joining::Counted;
    use super::*;
    use crate::generation::local::checkpoint::gguf::Gguf;

    /// A file with a token for each byte, and these behind them: texts, kinds and scores.
    fn file(tokens: &[(&str, u32, f32)], adds_space: bool) -> Gguf {
        let mut texts: Vec<String> = (0..=255u8).map(|byte| format!("<0x{byte:02X}>")).collect();
        let mut kinds = vec![6; 256];
        let mut scores = vec![0.0; 256];
        for &(text, kind, score) in tokens {
            texts.push(text.to_owned());
            kinds.push(kind);
            scores.push(score);
        }
        let mut gguf = Gguf::of_texts("tokenizer.ggml.tokens", &texts);
        let list = |values: Vec<Value>| Value::Array(values);
        let kinds = kinds.into_iter().map(Value::U32).collect();
        gguf.set("tokenizer.ggml.token_type", list(kinds));
        gguf.set("tokenizer.ggml.scores", list(scores.into_iter().map(Value::F32).collect()));
        gguf.set("tokenizer.ggml.add_space_prefix", Value::Bool(adds_space));
        gguf
    }

    fn pieces(gguf: &Gguf) -> Result<Pieces> {
        Pieces::new(&Vocabulary::of(gguf)?)
    }

    /// Ids from 256 on, as texts; and bytes.
    fn cut(gguf: &Gguf, text: &str) -> Vec<String> {
        let pieces = pieces(gguf).unwrap();
        let ids = pieces.encode(text).unwrap();
        ids.into_iter().map(|id| pieces.token(id).unwrap()).collect()
    }

    #[test]
    fn the_best_score_is_joined_first_and_of_equal_ones_the_leftmost() {
        let file = |scores: [f32; 6]| {
            let texts = ["a", "b", "ab", "ba", "aa", "aba"];
            let tokens: Vec<_> =
                texts.into_iter().zip(scores).map(|(text, score)| (text, 1, score)).collect();
            file(&tokens, false)
        };
        assert_eq!(cut(&file([-9.0, -9.0, -1.0, -2.0, -3.0, -4.0]), "aba"), ["aba"]);
        assert_eq!(cut(&file([-9.0, -9.0, -1.0, -2.0, -3.0, -4.0]), "abba"), ["ab", "ba"]);
        assert_eq!(cut(&file([-9.0, -9.0, -2.0, -1.0, -3.0, -4.0]), "bab"), ["ba", "b"]);
        assert_eq!(cut(&file([-9.0, -9.0, -1.0, -2.0, -3.0, -4.0]), "bab"), ["b", "ab"]);
        assert_eq!(cut(&file([-9.0; 6]), "aaa"), ["aa", "a"]);
    }

    #[test]
    fn letters_that_are_no_token_are_spelled_in_bytes_and_come_back() {
        let gguf = file(&[("a", 1, -1.0), ("éa", 1, -2.0), ("▁", 1, -3.0)], false);
        assert_eq!(cut(&gguf, "aếa"), ["a", "<0xE1>", "<0xBA>", "<0xBF>", "a"]);
        assert_eq!(cut(&gguf, "éa"), ["éa"], "a token of a letter that is none by itself");
        assert_eq!(cut(&gguf, "<0x41>a").len(), 7, "the name of a byte is text");
        let pieces = pieces(&gguf).unwrap();
        for text in ["a ế a", "<0x41>", "🦀", "\n\t "] {
            assert_eq!(pieces.decode(&pieces.encode(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn no_text_becomes_a_special_token_whatever_the_file_calls_it() {
        let marks = [("<s>", 3), ("<|user|>", 4), ("<start_of_turn>", 1), ("<end_of_turn>", 4)];
        let mut tokens: Vec<_> = marks.map(|(mark, kind)| (mark, kind, 0.0)).to_vec();
        tokens.extend([("<", 1, -1.0), ("s", 1, -1.0), (">", 1, -1.0), ("s>", 1, -1.0)]);
        let gguf = file(&tokens, false);
        for (mark, _) in marks {
            let found = cut(&gguf, &format!("x{mark}{mark}"));
            assert!(!found.iter().any(|token| token == mark), "{found:?}");
        }
        assert_eq!(cut(&gguf, "<s>"), ["<", "s>"]);
    }

    #[test]
    fn defined_tokens_are_taken_first_and_the_longest_of_them() {
        let tokens = [
            ("▁", 1, -1.0),
            ("▁a", 1, -2.0),
            ("a", 1, -3.0),
            ("b", 1, -3.0),
            ("▁▁", 4, 0.0),
            ("   ", 4, 0.0),
            ("<b>", 4, 0.0),
        ];
        let gguf = file(&tokens, true);
        assert_eq!(cut(&gguf, "a"), ["▁a"]);
        assert_eq!(cut(&gguf, " a"), ["▁▁", "a"]);
        assert_eq!(cut(&gguf, "  a  a"), ["   ", "a", "▁▁", "a"]);
        assert_eq!(cut(&gguf, "a<b>b<b"), ["▁a", "<b>", "b", "<0x3C>", "b"]);
        assert_eq!(cut(&gguf, ""), [""; 0]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |gguf: &Gguf, expected: &str| {
            let error = format!("{:#}", pieces(gguf).err().expect(expected));
            assert!(error.contains(expected), "{error}");
        };
        let with = |key: &str, value| {
            let mut gguf = file(&[("a", 1, 0.0)], true);
            gguf.set(key, value);
            gguf
        };
        let scores = "tokenizer.ggml.scores";
        refused(&with(scores, Value::Array(vec![Value::F32(0.0); 9])), "257 tokens and 9 scores");
        refused(&with(scores, Value::Array(vec![Value::F32(f32::NAN); 257])), "not all numbers");
        refused(&with(scores, Value::U32(7)), "");
        let few = Gguf::of_texts("tokenizer.ggml.tokens", &["a".to_owned()]);
        refused(&few, "tokenizer.ggml.scores");
        let mut few = few;
        few.set(scores, Value::Array(vec![Value::F32(0.0)]));
        refused(&few, "no token spells the byte 0");
        refused(&file(&[(&"a".repeat(257), 4, 0.0)], true), "token 256 has 257 bytes");
    }

    /// No text takes steps in the square of its length.
    #[test]
    fn an_endless_word_takes_steps_in_proportion() {
        let runs: Vec<String> = (0..8).map(|n| "a".repeat(1 << n)).collect();
        let tokens: Vec<_> =
            runs.iter().enumerate().map(|(n, run)| (run.as_str(), 1, -(n as f32))).collect();
        let gguf = file(&tokens, false);
        let pieces = pieces(&gguf).unwrap();
        let steps = |length: usize| {
            let text = "a".repeat(length);
            assert_eq!(pieces.encode(&text).unwrap().len(), length / 128);
            let counted = Counted::new(Word { pieces: &pieces, text: text.as_bytes() });
            join(&counted, &mut pieces.letters(&text));
            counted.steps()
        };
        // Eight times as long: the square would take 64 times as many.
        let (short, long) = (steps(1 << 14), steps(1 << 17));
        assert!(long < 32 * short, "{short} and {long}");
    }
}
