//! Byte pair encoding (Sennrich et al. 2016) with the vocabulary where it lies in a GGUF file.
//!
//! The tokenizers library does this too, but copies each token and each half of a merge several
//! times: for Llama 3.1 (128,256 tokens, 280,147 merges) that takes longer than reading a small
//! model.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{Model, Token};

use super::joining::{Join, Joins, Symbol, join};
use super::table::{NONE, NumberTable};
use crate::compute::pool;
use crate::generation::local::checkpoint::gguf::Texts;

/// Merges that a core resolves at a time.
const MERGES_PER_PART: usize = 1 << 12;

/// A vocabulary, and which of its tokens merge into which others.
pub struct Bpe {
    /// By id.
    tokens: Texts,
    /// Text → id.
    ids: NumberTable,
    /// By rank: the lowest is applied first.
    merges: Vec<Merge>,
    /// Pair → rank.
    ranks: NumberTable,
    /// Whether a word that is itself a token is taken whole, whatever the merges would make of it.
    whole_words: bool,
}

/// Two tokens that may become one.
#[derive(Clone, Copy)]
struct Merge {
    pair: (u32, u32),
    joined: u32,
}

impl Bpe {
    /// `merges` are two tokens each, with a space between.
    ///
    /// # Errors
    /// When a merge is not made of tokens, or makes none.
    pub fn new(tokens: Texts, merges: &Texts, whole_words: bool) -> Result<Self> {
        ensure!(tokens.len().max(merges.len()) < NONE as usize, "the vocabulary is too large");
        let mut ids = NumberTable::with_room(tokens.len());
        for (id, text) in tokens.iter().enumerate() {
            // Of equal texts the last one counts, as in the library.
            ids.insert(&text, id as u32, |other| tokens.get(other as usize) == Some(text));
        }
        let mut bpe =
            Self { tokens, ids, merges: Vec::new(), ranks: NumberTable::with_room(0), whole_words };
        let parts = merges.len().div_ceil(MERGES_PER_PART);
        let merges: Vec<Merge> = pool::map(parts, |part| bpe.resolve(merges, part))
            .into_iter()
            .collect::<Result<Vec<_>>>()?
            .concat();
        let mut ranks = NumberTable::with_room(merges.len());
        for (rank, merge) in merges.iter().enumerate() {
            let pair = merge.pair;
            ranks.insert(&pair, rank as u32, |other| merges[other as usize].pair == pair);
        }
        (bpe.merges, bpe.ranks) = (merges, ranks);
        Ok(bpe)
    }

    /// One part of a file's merges.
    fn resolve(&self, merges: &Texts, part: usize) -> Result<Vec<Merge>> {
        let start = part * MERGES_PER_PART;
        let end = (start + MERGES_PER_PART).min(merges.len());
        let mut joined = Vec::new();
        let resolve = |rank| {
            let merge = merges.get(rank).unwrap_or_default();
            self.merge(merge, &mut joined)
                .with_context(|| format!("merge {:?}", String::from_utf8_lossy(merge)))
        };
        (start..end).map(resolve).collect()
    }

    /// The merge that a file calls `left right`. `joined` is scratch space.
    fn merge(&self, text: &[u8], joined: &mut Vec<u8>) -> Result<Merge> {
        let space = text.iter().position(|&byte| byte == b' ').context("is no pair")?;
        let (left, right) = (&text[..space], &text[space + 1..]);
        joined.clear();
        joined.extend_from_slice(left);
        joined.extend_from_slice(right);
        let pair = self.id(left).zip(self.id(right)).context("is not made of tokens")?;
        Ok(Merge { pair, joined: self.id(joined).context("makes no token")? })
    }

    fn id(&self, text: &[u8]) -> Option<u32> {
        self.ids.find(&text, |id| self.tokens.get(id as usize) == Some(text))
    }

    /// Rank of the merge of two tokens.
    fn rank(&self, pair: (u32, u32)) -> Option<u32> {
        self.ranks.find(&pair, |rank| self.merges[rank as usize].pair == pair)
    }

    /// The tokens of a word, and how many bytes of it each stands for. Letters that are not
    /// tokens are left out.
    fn encode(&self, word: &str) -> Vec<Symbol> {
        let mut symbols = Vec::with_capacity(word.len());
        let mut letter = [0; 4];
        for (start, character) in word.char_indices() {
            let text = character.encode_utf8(&mut letter).as_bytes();
            if let Some(id) = self.id(text) {
                symbols.push(Symbol::new(id, start, text.len()));
            }
        }
        join(self, &mut symbols);
        symbols
    }
}

impl Joins for Bpe {
    fn join(&self, left: &Symbol, right: &Symbol) -> Option<Join> {
        let rank = self.rank((left.id, right.id))?;
        Some(Join { rank, id: self.merges[rank as usize].joined })
    }

    fn still_joins(&self, Join { rank, .. }: Join, left: &Symbol, right: &Symbol) -> bool {
        self.merges[rank as usize].pair == (left.id, right.id)
    }
}

impl Model for Bpe {
    // The trait requires it; it is never used.
    type Trainer = BpeTrainer;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        let token =
            |id, from, to| Token::new(id, self.id_to_token(id).unwrap_or_default(), (from, to));
        if self.whole_words
            && let Some(id) = self.token_to_id(word)
        {
            return Ok(vec![token(id, 0, word.len())]);
        }
        let mut end = 0;
        let tokens = self.encode(word).into_iter().map(|symbol| {
            let start = end;
            end += symbol.bytes as usize;
            token(symbol.id, start, end)
        });
        Ok(tokens.collect())
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.id(token.as_bytes())
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        Some(String::from_utf8_lossy(self.tokens.get(id as usize)?).into_owned())
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        let texts = self.tokens.iter().map(|text| String::from_utf8_lossy(text).into_owned());
        texts.zip(0..).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.tokens.len()
    }

    fn save(&self, _folder: &Path, _prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("a vocabulary in a GGUF file is not saved".into())
    }

    fn get_trainer(&self) -> BpeTrainer {
        BpeTrainer::default()
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::models::bpe::{BPE, Vocab};

    use super::super::joining::Counted;
    use super::*;
    use crate::support::random::SplitMix64;

    /// A vocabulary that grows by joining tokens at random, some of them in two ways.
    fn vocabulary(random: &mut SplitMix64) -> (Vec<String>, Vec<(String, String)>) {
        let mut tokens: Vec<String> = ["a", "b", "ô", "Ġ"].map(str::to_owned).to_vec();
        let mut merges: Vec<(String, String)> = Vec::new();
        for _ in 0..60 {
            let (left, right) = (random.below(tokens.len()), random.below(tokens.len()));
            let (left, right) = (tokens[left].clone(), tokens[right].clone());
            let joined = format!("{left}{right}");
            if joined.len() > 12 || merges.contains(&(left.clone(), right.clone())) {
                continue;
            }
            if !tokens.contains(&joined) {
                tokens.push(joined);
            }
            merges.push((left, right));
        }
        (tokens, merges)
    }

    #[test]
    fn words_are_cut_as_by_the_library() {
        let mut random = SplitMix64::new(1);
        let mut joined = 0;
        for whole_words in [false, true] {
            for _ in 0..50 {
                let (tokens, merges) = vocabulary(&mut random);
                let lines: Vec<String> =
                    merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
                let ids = tokens.iter().cloned().zip(0..);
                let library = BPE::builder()
                    .vocab_and_merges(ids.collect::<Vocab>(), merges)
                    .ignore_merges(whole_words)
                    .build()
                    .unwrap();
                let (tokens, lines) = (Texts::of(&tokens), Texts::of(&lines));
                let ours = Bpe::new(tokens, &lines, whole_words).unwrap();
                assert_eq!(ours.get_vocab(), library.get_vocab());
                for _ in 0..50 {
                    // `x` is no token.
                    let letters = ["a", "b", "ô", "Ġ", "x"];
                    let length = random.below(30);
                    let word: String = (0..length).map(|_| letters[random.below(40) % 5]).collect();
                    let expected = library.tokenize(&word).unwrap();
                    assert_eq!(ours.tokenize(&word).unwrap(), expected, "{word}");
                    joined += word.chars().count() - expected.len();
                }
            }
        }
        assert!(joined > 10_000, "only {joined}");
    }

    #[test]
    fn of_equal_tokens_the_last_one_counts() {
        let bpe = Bpe::new(Texts::of(&["a", "b", "a", "ab"]), &Texts::of(&["a b"]), false).unwrap();
        assert_eq!(bpe.token_to_id("a"), Some(2));
        assert_eq!(bpe.tokenize("ab").unwrap()[0].id, 3);
        assert_eq!(bpe.id_to_token(0).as_deref(), Some("a"));
        assert_eq!(bpe.id_to_token(4), None);
    }

    #[test]
    fn merges_that_make_no_sense_are_refused() {
        for (merge, expected) in [
            ("ab", "is no pair"),
            ("a x", "is not made of tokens"),
            (" b", "is not made of tokens"),
            ("b a", "makes no token"),
            ("", "is no pair"),
        ] {
            let error = Bpe::new(Texts::of(&["a", "b", "ab"]), &Texts::of(&["a b", merge]), false);
            let error = format!("{:#}", error.err().expect(merge));
            assert!(error.contains(expected) && error.contains(&format!("{merge:?}")), "{error}");
        }
    }

    /// No word takes steps in the square of its length.
    #[test]
    fn an_endless_word_takes_steps_in_proportion() {
        let bpe = Bpe::new(Texts::of(&["a", "aa", "aaaa"]), &Texts::of(&["a a", "aa aa"]), false);
        let (bpe, lengths) = (bpe.unwrap(), [1 << 14, 1 << 17]);
        for length in lengths {
            assert_eq!(bpe.tokenize(&"a".repeat(length)).unwrap().len(), length / 4);
        }
        let counted = Counted::new(bpe);
        let steps = |length: usize| {
            let before = counted.steps();
            let mut symbols: Vec<Symbol> = (0..length).map(|at| Symbol::new(0, at, 1)).collect();
            join(&counted, &mut symbols);
            assert_eq!(symbols.len(), length / 4);
            counted.steps() - before
        };
        // Eight times as long: the square would take 64 times as many.
        let [short, long] = lengths.map(steps);
        assert!(long < 32 * short, "{short} and {long}");
    }
}
