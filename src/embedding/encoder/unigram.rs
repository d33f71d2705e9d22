//! SentencePiece's unigram model (Kudo 2018), loaded in one pass over `tokenizer.json`.
//!
//! The `tokenizers` library builds a tree of hash maps and a second copy of the vocabulary, which
//! takes half a second for the 250,002 pieces of XLM-R. Here every piece stands once in one string,
//! and one flat table finds it. Everything around the model (normalizer, pre-tokenizer, template,
//! offsets, truncation) stays the library's own.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, de};
use tokenizers::models::unigram::{UnigramError, UnigramTrainer};
use tokenizers::{Model, Token};

/// What an unknown character costs below the least likely piece (SentencePiece's `kUnkPenalty`).
const UNKNOWN_PENALTY: f64 = 10.0;
/// A piece of more characters is not looked for; published models have at most 16.
const MAX_PIECE_CHARS: usize = 128;
/// Slots that a look-up may pass. With at most half of the slots taken, honest pieces pass a few.
const MAX_PROBES: usize = 256;

/// Pieces and their scores, in the order of their ids.
#[derive(Default)]
pub struct Vocabulary {
    /// All pieces, one after the other.
    text: String,
    /// Where each piece ends in `text`.
    ends: Vec<u32>,
    /// Log-probabilities.
    scores: Vec<f64>,
}

impl Vocabulary {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The piece of an id below [`Vocabulary::len`].
    fn piece(&self, id: u32) -> &str {
        let id = id as usize;
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[id] as usize]
    }

    pub fn get(&self, id: u32) -> Option<&str> {
        ((id as usize) < self.len()).then(|| self.piece(id))
    }
}

/// `[["piece", -1.5], …]`.
impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pieces;
        impl<'de> Visitor<'de> for Pieces {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of pieces")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Vocabulary, A::Error> {
                let mut vocabulary = Vocabulary::default();
                while pieces.next_element_seed(Piece(&mut vocabulary))?.is_some() {}
                Ok(vocabulary)
            }
        }
        deserializer.deserialize_seq(Pieces)
    }
}

/// Reads `["piece", -1.5]` to the end of a vocabulary.
struct Piece<'a>(&'a mut Vocabulary);

impl<'de> DeserializeSeed<'de> for Piece<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for Piece<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a piece and its score")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<(), A::Error> {
        let Vocabulary { text, ends, scores } = self.0;
        let short = || A::Error::custom("a piece without a score");
        pair.next_element_seed(Append(text))?.ok_or_else(short)?;
        scores.push(pair.next_element()?.ok_or_else(short)?);
        ends.push(u32::try_from(text.len()).map_err(A::Error::custom)?);
        Ok(())
    }
}

/// Appends a string to another, without an allocation of its own.
struct Append<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a piece")
    }

    fn visit_str<E: de::Error>(self, piece: &str) -> Result<(), E> {
        self.0.push_str(piece);
        Ok(())
    }
}

/// A place of the table.
#[derive(Clone, Copy)]
struct Slot {
    /// Some bits of the piece's hash.
    tag: u32,
    id: u32,
}

/// One or two of sixteen bits are set, so a text is rarely followed in vain.
const BITS_PER_SLOT: usize = 16;
/// No piece has this id.
const FREE: u32 = u32::MAX;

/// The hash of a piece, which grows with it character by character.
#[derive(Clone, Copy, Default)]
struct PieceHash(u64);

impl PieceHash {
    /// As rustc-hash mixes: quick, and good enough for what [`MAX_PROBES`] guards.
    fn push(&mut self, c: char) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(c)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn of(piece: &str) -> Self {
        let mut hash = Self::default();
        piece.chars().for_each(|c| hash.push(c));
        hash
    }

    fn tag(self) -> u32 {
        (self.0 >> 8) as u32
    }

    /// Where to begin to look; a table takes as many of the bits as it needs.
    fn place(self) -> usize {
        (self.0 >> 36) as usize
    }
}

/// The model, ready to find pieces.
pub struct Unigram {
    vocabulary: Vocabulary,
    /// Open addressing; a power of two.
    slots: Vec<Slot>,
    /// A bit for the hash of everything that a piece begins with, and by chance for some more.
    beginnings: Vec<u64>,
    /// Characters of the longest piece.
    longest: usize,
    unknown: Option<u32>,
    unknown_score: f64,
}

impl Unigram {
    /// A model that finds every piece in a text but those of the ids in `hidden`.
    ///
    /// `None` if `unknown` is not a piece, or the pieces are not those of a trained model.
    pub fn new(vocabulary: Vocabulary, unknown: Option<u32>, hidden: &[u32]) -> Option<Self> {
        let pieces = u32::try_from(vocabulary.len()).ok().filter(|&pieces| pieces < FREE)?;
        if unknown.is_some_and(|id| id >= pieces) {
            return None;
        }
        let min_score = vocabulary.scores.iter().copied().fold(f64::INFINITY, f64::min);
        let size = (2 * vocabulary.len()).next_power_of_two();
        let mut model = Self {
            vocabulary,
            slots: vec![Slot { tag: 0, id: FREE }; size],
            beginnings: vec![0; (size * BITS_PER_SLOT).div_ceil(64)],
            longest: 0,
            unknown,
            unknown_score: min_score - UNKNOWN_PENALTY,
        };
        for id in (0..pieces).filter(|id| !hidden.contains(id)) {
            model.insert(id)?;
        }
        Some(model)
    }

    /// Makes a piece findable; `None` if it is too strange for that.
    fn insert(&mut self, id: u32) -> Option<()> {
        let piece = self.vocabulary.piece(id);
        let (mut hash, mut chars) = (PieceHash::default(), 0);
        for c in piece.chars() {
            hash.push(c);
            chars += 1;
            let (word, bit) = self.beginning(hash);
            self.beginnings[word] |= bit;
        }
        if !(1..=MAX_PIECE_CHARS).contains(&chars) {
            return None;
        }
        self.longest = self.longest.max(chars);
        // Of equal pieces the last one counts, as in the library.
        let at = self.probe(hash).find(|&at| {
            let slot = self.slots[at];
            slot.id == FREE || self.is(slot, hash, piece)
        })?;
        self.slots[at] = Slot { tag: hash.tag(), id };
        Some(())
    }

    /// The word and the bit of [`Unigram::beginnings`] for a hash.
    fn beginning(&self, hash: PieceHash) -> (usize, u64) {
        let bit = hash.place() & (self.beginnings.len() * 64 - 1);
        (bit / 64, 1 << (bit % 64))
    }

    /// The places where a piece with this hash may be, in order.
    fn probe(&self, hash: PieceHash) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        (0..MAX_PROBES).map(move |step| (hash.place() + step) & mask)
    }

    fn is(&self, slot: Slot, hash: PieceHash, piece: &str) -> bool {
        slot.tag == hash.tag() && self.vocabulary.piece(slot.id) == piece
    }

    fn find(&self, hash: PieceHash, piece: &str) -> Option<u32> {
        for at in self.probe(hash) {
            let slot = self.slots[at];
            if slot.id == FREE {
                return None;
            }
            if self.is(slot, hash, piece) {
                return Some(slot.id);
            }
        }
        None
    }

    /// The likeliest segmentations of `text` up to each of its bytes, which mean something where a
    /// character ends. `[bytes + 1]`
    fn segmentations(&self, text: &str) -> Result<Vec<Segmentation>, UnigramError> {
        let mut best = vec![Segmentation { score: 0.0, id: FREE, start: 0 }; text.len() + 1];
        for (start, first) in text.char_indices() {
            let score = best[start].score;
            let mut extend = |end: usize, id: u32, score: f64| {
                let here = &mut best[end];
                // The first of equals stays, as in the library.
                if here.id == FREE || score > here.score {
                    *here = Segmentation { score, id, start: start as u32 };
                }
            };
            let mut hash = PieceHash::default();
            let mut known = false;
            for (at, c) in text[start..].char_indices().take(self.longest) {
                hash.push(c);
                let (word, bit) = self.beginning(hash);
                if self.beginnings[word] & bit == 0 {
                    break;
                }
                let end = start + at + c.len_utf8();
                if let Some(id) = self.find(hash, &text[start..end]) {
                    extend(end, id, score + self.vocabulary.scores[id as usize]);
                    known |= at == 0;
                }
            }
            if !known {
                let unknown = self.unknown.ok_or(UnigramError::MissingUnkId)?;
                extend(start + first.len_utf8(), unknown, score + self.unknown_score);
            }
        }
        Ok(best)
    }
}

/// A segmentation of the beginning of a text.
#[derive(Clone, Copy)]
struct Segmentation {
    score: f64,
    /// The last piece.
    id: u32,
    /// Where the last piece starts.
    start: u32,
}

impl Model for Unigram {
    type Trainer = UnigramTrainer;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        let best = self.segmentations(text)?;
        let mut tokens = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let Segmentation { mut id, start, .. } = best[end];
            let mut start = start as usize;
            if Some(id) == self.unknown {
                // Unknown characters in a row are one token, and may be a piece together.
                while start > 0 && best[start].id == id {
                    start = best[start].start as usize;
                }
                id = self.token_to_id(&text[start..end]).unwrap_or(id);
            }
            tokens.push(Token::new(id, text[start..end].to_owned(), (start, end)));
            end = start;
        }
        tokens.reverse();
        Ok(tokens)
    }

    fn token_to_id(&self, piece: &str) -> Option<u32> {
        self.find(PieceHash::of(piece), piece)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.vocabulary.get(id).map(ToOwned::to_owned)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        (0..self.vocabulary.len() as u32)
            .map(|id| (self.vocabulary.piece(id).to_owned(), id))
            .collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("this model is only read".into())
    }

    fn get_trainer(&self) -> UnigramTrainer {
        UnigramTrainer::default()
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::models::unigram::Unigram as Reference;

    use super::*;
    use crate::support::random::SplitMix64;

    fn vocabulary(pieces: &[(String, f64)]) -> Vocabulary {
        serde_json::from_str(&serde_json::to_string(pieces).unwrap()).unwrap()
    }

    fn model(pieces: &[(&str, f64)], unknown: Option<u32>, hidden: &[u32]) -> Option<Unigram> {
        let pieces: Vec<_> = pieces.iter().map(|&(piece, score)| (piece.into(), score)).collect();
        Unigram::new(vocabulary(&pieces), unknown, hidden)
    }

    fn values(model: &Unigram, text: &str) -> Vec<String> {
        model.tokenize(text).unwrap().into_iter().map(|token| token.value).collect()
    }

    fn random_text(random: &mut SplitMix64, longest: usize) -> String {
        const LETTERS: [char; 7] = ['a', 'b', 'ấ', '▁', '中', '🙂', '"'];
        (0..=random.below(longest)).map(|_| LETTERS[random.below(LETTERS.len())]).collect()
    }

    /// Small vocabularies, so that pieces overlap, repeat, tie and miss letters all the time.
    #[test]
    fn equals_the_library_on_random_models_and_texts() {
        let mut random = SplitMix64::new(5);
        let mut tokens = 0;
        for round in 0..300 {
            let mut pieces = vec![("<unk>".to_owned(), 0.0)];
            for _ in 0..random.below(40) {
                let score = match round % 3 {
                    0 => -(random.below(1000) as f64) / 100.0,
                    // Few different scores: ties.
                    1 => -(random.below(3) as f64),
                    // Above zero; an unknown letter may then beat pieces.
                    _ => random.below(40) as f64,
                };
                pieces.push((random_text(&mut random, 5), score));
            }
            let ours = Unigram::new(vocabulary(&pieces), Some(0), &[]).unwrap();
            let library = Reference::from(pieces, Some(0), false).unwrap();
            for _ in 0..50 {
                let text = random_text(&mut random, 30);
                let found = ours.tokenize(&text).unwrap();
                assert_eq!(found, library.tokenize(&text).unwrap(), "{text:?} in round {round}");
                tokens += found.len();
            }
        }
        assert!(tokens > 50_000, "{tokens}");
    }

    #[test]
    fn the_likeliest_segmentation_wins() {
        let pieces = [("<unk>", 0.0), ("▁", -2.0), ("a", -1.0), ("ab", -1.5), ("bc", -1.5)];
        let model = model(&pieces, Some(0), &[]).unwrap();
        assert_eq!(values(&model, "▁abc"), ["▁", "a", "bc"]);
        assert_eq!(values(&model, "ab"), ["ab"]);
        assert_eq!(values(&model, ""), [""; 0]);
    }

    #[test]
    fn unknown_characters_in_a_row_are_one_token() {
        let model = model(&[("<unk>", 0.0), ("a", -1.0)], Some(0), &[]).unwrap();
        let tokens = model.tokenize("xyaấ").unwrap();
        let seen: Vec<_> =
            tokens.iter().map(|token| (token.id, token.value.as_str(), token.offsets)).collect();
        assert_eq!(seen, [(0, "xy", (0, 2)), (1, "a", (2, 3)), (0, "ấ", (3, 6))]);
    }

    #[test]
    fn without_an_unknown_piece_unknown_characters_are_errors() {
        let model = model(&[("a", -1.0)], None, &[]).unwrap();
        assert_eq!(values(&model, "aa"), ["a", "a"]);
        assert!(model.tokenize("ab").is_err());
    }

    #[test]
    fn hidden_pieces_are_not_found_in_a_text() {
        let pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<", -3.0), ("/s", -3.0), (">", -3.0)];
        let open = model(&pieces, Some(0), &[]).unwrap();
        let hiding = model(&pieces, Some(0), &[0, 1]).unwrap();
        assert_eq!(values(&open, "</s>"), ["</s>"]);
        assert_eq!(values(&hiding, "</s>"), ["<", "/s", ">"]);
    }

    #[test]
    fn escapes_in_the_file_are_read() {
        let json = r#"[["\"\\", -1], ["\u1ea5\ud83d\ude42", -2.5]]"#;
        let vocabulary: Vocabulary = serde_json::from_str(json).unwrap();
        assert_eq!(vocabulary.get(0), Some("\"\\"));
        assert_eq!(vocabulary.get(1), Some("ấ🙂"));
        assert_eq!(vocabulary.get(2), None);
        for broken in ["[[]]", r#"[["a"]]"#, r#"[["a", 1, 2]]"#, r#"[["a", "b"]]"#, "[[1, 1]]"] {
            assert!(serde_json::from_str::<Vocabulary>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn pieces_that_no_trained_model_has_are_refused() {
        let long = "x".repeat(MAX_PIECE_CHARS + 1);
        assert!(model(&[("a", 0.0)], Some(1), &[]).is_none());
        assert!(model(&[("a", 0.0), ("", 0.0)], Some(0), &[]).is_none());
        assert!(model(&[("a", 0.0), (&long, 0.0)], Some(0), &[]).is_none());
        let empty = model(&[], None, &[]).unwrap();
        assert!(empty.tokenize("a").is_err());
    }
}
