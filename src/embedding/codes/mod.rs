//! Token vectors in few bytes, for late interaction.
//!
//! However a vector is coded, it is compared in one form: a base that all vectors share, plus a scale times
//! small integers ([`Decoded`]). A comparison then is a product of integers, which every CPU computes
//! alike. What the codes cost in quality is in docs/retrieval.md.

mod book;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use half::f16;
use thiserror::Error;

use crate::compute::SimdLevel;
use crate::compute::pool;
pub use book::Book;

/// The largest code of 8 bits, and of 4.
const MAX_8: f32 = 127.0;
const MAX_4: f32 = 7.0;
/// What is added to a code of 4 bits, so that it has no sign.
const ZERO_4: i8 = 8;
/// Vectors encoded or turned as one piece of work.
const AT_ONCE: usize = 16;

/// How token vectors are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenCodes {
    /// `dim + 4` bytes: each value as a signed byte, all with one scale.
    EightBit,
    /// `dim / 2 + 2` bytes: each value in four bits, all with one scale.
    FourBit,
    /// The nearest entries of a book that comes with the program, by its name, and a scale.
    Book(String),
}

/// Codes that this program cannot read.
#[derive(Debug, Error)]
pub enum CodesError {
    /// A later version may know it.
    #[error("its token vectors are coded by {0:?}, which this version of rag-query does not know")]
    Unknown(String),
    /// The book is of another embedder.
    #[error(
        "its token vectors are coded by {name:?}, which is for vectors of {of} values, not of {dim}"
    )]
    Dimension {
        /// Of the book.
        name: String,
        /// Values of a vector that it codes.
        of: usize,
        /// Values that a vector has.
        dim: usize,
    },
}

impl fmt::Display for TokenCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EightBit => f.write_str("8-bit"),
            Self::FourBit => f.write_str("4-bit"),
            Self::Book(name) => f.write_str(name),
        }
    }
}

impl FromStr for TokenCodes {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "8-bit" => Self::EightBit,
            "4-bit" => Self::FourBit,
            name => Self::Book(name.to_owned()),
        })
    }
}

/// In the settings of an index: a name, `false` for none; or `true` for 8 bits, which was the only one.
pub mod in_settings {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::TokenCodes;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        IsThere(bool),
        Named(String),
    }

    #[expect(clippy::ref_option, reason = "what serde calls")]
    pub fn serialize<S: Serializer>(codes: &Option<TokenCodes>, to: S) -> Result<S::Ok, S::Error> {
        match codes {
            None => Stored::IsThere(false),
            Some(TokenCodes::EightBit) => Stored::IsThere(true),
            Some(codes) => Stored::Named(codes.to_string()),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TokenCodes>, D::Error> {
        match Stored::deserialize(from)? {
            Stored::IsThere(false) => Ok(None),
            Stored::IsThere(true) => Ok(Some(TokenCodes::EightBit)),
            Stored::Named(name) => name.parse().map(Some).map_err(D::Error::custom),
        }
    }
}

/// Encodes and decodes vectors of one length.
#[derive(Debug, Clone)]
pub struct Coder {
    dim: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    EightBit,
    FourBit,
    Book(&'static Book),
}

/// Tokens as they are compared: the vector of one is `base + scale · codes`, in the coder's own axes
/// ([`Coder::turned`], [`Coder::base`]).
pub struct Decoded<'a> {
    /// Signed bytes; those of a token begin [`Self::stride`] after those of the one before.
    pub codes: Cow<'a, [u8]>,
    /// Bytes from one token to the next.
    pub stride: usize,
    /// `[tokens]`
    pub scales: Vec<f32>,
    /// codes · codes, less what rounding added to it, `[tokens]`
    pub squares: Vec<i32>,
}

impl Coder {
    /// # Errors
    /// The codes are of no book that this program has, or of one for other vectors.
    pub fn new(codes: &TokenCodes, dim: usize) -> Result<Self, CodesError> {
        let kind = match codes {
            TokenCodes::EightBit => Kind::EightBit,
            TokenCodes::FourBit => Kind::FourBit,
            TokenCodes::Book(name) => {
                let book = Book::named(name).ok_or_else(|| CodesError::Unknown(name.clone()))?;
                if book.dim() != dim {
                    return Err(CodesError::Dimension { name: name.clone(), of: book.dim(), dim });
                }
                Kind::Book(book)
            }
        };
        Ok(Self { dim, kind })
    }

    /// Of 8 bits.
    pub fn eight_bit(dim: usize) -> Self {
        Self { dim, kind: Kind::EightBit }
    }

    /// Bytes of a token.
    pub fn bytes(&self) -> usize {
        match self.kind {
            // Settings may be hostile.
            Kind::EightBit => self.dim.saturating_add(size_of::<f32>()),
            Kind::FourBit => size_of::<f16>() + self.dim.div_ceil(2),
            Kind::Book(book) => size_of::<f16>() + book.parts(),
        }
    }

    /// Whether the best passages have to be compared by what is embedded anew: the codes are too coarse
    /// to tell those from each other.
    pub fn is_coarse(&self) -> bool {
        matches!(self.kind, Kind::Book(book) if book.parts() * 8 <= self.dim)
    }

    /// Appends the codes of vectors, `[tokens, dim]`, one after the other. On all cores.
    pub fn encode<V: AsRef<[f32]> + Sync>(&self, vectors: &[V]) -> Vec<u8> {
        let blocks: Vec<&[V]> = vectors.chunks(AT_ONCE).collect();
        let encoded = pool::map(blocks.len(), |i| {
            let mut bytes = Vec::with_capacity(blocks[i].len() * self.bytes());
            for vector in blocks[i].iter().map(AsRef::as_ref) {
                debug_assert_eq!(vector.len(), self.dim);
                self.encode_one(vector, &mut bytes);
            }
            bytes
        });
        encoded.concat()
    }

    fn encode_one(&self, vector: &[f32], bytes: &mut Vec<u8>) {
        let largest = vector.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = |max: f32| if largest > 0.0 { largest / max } else { 1.0 };
        let code = |value: f32, max: f32| (value / scale(max)).round().clamp(-max, max) as i8;
        match self.kind {
            Kind::EightBit => {
                bytes.extend(scale(MAX_8).to_le_bytes());
                bytes.extend(vector.iter().map(|&value| code(value, MAX_8).cast_unsigned()));
            }
            Kind::FourBit => {
                bytes.extend(f16::from_f32(scale(MAX_4)).to_le_bytes());
                let four = |value: f32| (code(value, MAX_4) + ZERO_4).cast_unsigned();
                let two = |two: &[f32]| four(two[0]) | four(*two.get(1).unwrap_or(&0.0)) << 4;
                bytes.extend(vector.chunks(2).map(two));
            }
            Kind::Book(book) => book.encode(vector, bytes),
        }
    }

    /// The tokens of a passage, `[tokens, bytes]`; bytes that make no whole token are left out.
    pub fn decode<'a>(&self, tokens: &'a [u8]) -> Decoded<'a> {
        let rows = tokens.chunks_exact(self.bytes());
        let half = |row: &[u8]| f16::from_le_bytes([row[0], row[1]]).to_f32();
        match self.kind {
            Kind::EightBit => {
                let scale = |row: &[u8]| f32::from_le_bytes([row[0], row[1], row[2], row[3]]);
                let scales = rows.clone().map(scale).collect();
                let squares = rows.map(|row| square(&row[size_of::<f32>()..])).collect();
                let codes = tokens.get(size_of::<f32>()..).unwrap_or_default();
                Decoded { codes: codes.into(), stride: self.bytes(), scales, squares }
            }
            Kind::FourBit => {
                let mut codes = Vec::with_capacity(rows.len() * self.dim);
                let value = |four: u8| (four.cast_signed() - ZERO_4).cast_unsigned();
                for row in rows.clone() {
                    let both = row[size_of::<f16>()..].iter();
                    let both = both.flat_map(|&two| [value(two & 15), value(two >> 4)]);
                    codes.extend(both.take(self.dim));
                }
                let scales = rows.map(half).collect();
                // Rounding adds 1/12 to the square of a value, on average.
                let rounding = self.dim.div_ceil(12) as i32;
                let unrounded = |codes: &[u8]| (square(codes) - rounding).max(0);
                let squares = codes.chunks_exact(self.dim.max(1)).map(unrounded).collect();
                Decoded { codes: codes.into(), stride: self.dim, scales, squares }
            }
            Kind::Book(book) => {
                let mut codes = Vec::with_capacity(rows.len() * self.dim);
                let entries = rows.clone().map(|row| &row[size_of::<f16>()..]);
                let squares = entries.map(|entries| book.decode(entries, &mut codes)).collect();
                Decoded {
                    codes: codes.into(),
                    stride: self.dim,
                    scales: rows.map(half).collect(),
                    squares,
                }
            }
        }
    }

    /// What all decoded vectors have in common, `[dim]`, in the coder's axes.
    pub fn base(&self) -> Vec<f32> {
        match self.kind {
            Kind::EightBit | Kind::FourBit => vec![0.0; self.dim],
            Kind::Book(book) => book.base().to_vec(),
        }
    }

    /// Vectors, `[n, dim]`, in the coder's axes, in which products are what they were.
    pub fn turned(&self, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
        match self.kind {
            Kind::EightBit | Kind::FourBit => vectors.to_vec(),
            Kind::Book(book) => {
                let level = SimdLevel::detect();
                pool::map(vectors.len(), |i| book.turned(&vectors[i], level))
            }
        }
    }

    /// The mean of tokens, `[tokens, bytes]`, as a vector, `[dim]`; zero if there are none. In coarse codes
    /// it is off by a little, the same for all passages.
    pub fn mean(&self, tokens: &[u8]) -> Vec<f32> {
        let Decoded { codes, stride, scales, .. } = self.decode(tokens);
        let mut sum = vec![0f32; self.dim];
        for (codes, scale) in codes.chunks(stride.max(1)).zip(&scales) {
            for (sum, code) in sum.iter_mut().zip(codes) {
                *sum += scale * f32::from(code.cast_signed());
            }
        }
        if scales.is_empty() {
            return sum;
        }
        for sum in &mut sum {
            *sum /= scales.len() as f32;
        }
        match self.kind {
            Kind::EightBit | Kind::FourBit => sum,
            Kind::Book(book) => {
                let mut mean = book.turned_back(&sum);
                mean.iter_mut().zip(book.mean()).for_each(|(value, base)| *value += base);
                mean
            }
        }
    }

    /// Vectors, `[tokens, dim]`, as near to what was encoded as the codes are.
    pub fn vectors(&self, tokens: &[u8]) -> Vec<Vec<f32>> {
        tokens.chunks_exact(self.bytes()).map(|token| self.mean(token)).collect()
    }
}

/// codes · codes
fn square(codes: &[u8]) -> i32 {
    codes.iter().map(|code| i32::from(code.cast_signed()) * i32::from(code.cast_signed())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::SplitMix64;

    /// A few vectors around the mean of the book of 384 values.
    fn vectors(dim: usize, count: usize) -> Vec<Vec<f32>> {
        let mean = match Book::named("e5-small-128") {
            Some(book) if book.dim() == dim => book.mean().to_vec(),
            _ => vec![0.5; dim],
        };
        let mut random = SplitMix64::new(5);
        let mut value = |mean: &f32| mean + random.next() as f32 * 0.4 - 0.2;
        (0..count).map(|_| mean.iter().map(&mut value).collect()).collect()
    }

    fn all() -> Vec<(TokenCodes, usize)> {
        vec![
            (TokenCodes::EightBit, 384),
            (TokenCodes::EightBit, 7),
            (TokenCodes::FourBit, 384),
            (TokenCodes::FourBit, 7),
            (TokenCodes::Book("e5-small-128".to_owned()), 384),
            (TokenCodes::Book("e5-small-48".to_owned()), 384),
        ]
    }

    #[test]
    fn a_token_takes_the_bytes_that_are_promised_and_keeps_its_length() {
        let bytes = [388, 11, 194, 6, 130, 50];
        for ((codes, dim), bytes) in all().into_iter().zip(bytes) {
            let coder = Coder::new(&codes, dim).unwrap();
            assert_eq!(coder.bytes(), bytes, "{codes}");
            let vectors = vectors(dim, 40);
            let coded = coder.encode(&vectors);
            assert_eq!(coded.len(), 40 * bytes);
            let base = match &codes {
                TokenCodes::Book(name) => Book::named(name).unwrap().mean().to_vec(),
                _ => vec![0.0; dim],
            };
            let decoded = coder.decode(&coded);
            for (token, vector) in vectors.iter().enumerate() {
                let own = vector.iter().zip(&base).map(|(v, b)| (v - b) * (v - b)).sum::<f32>();
                let scale = decoded.scales[token];
                let coded = scale * scale * decoded.squares[token] as f32;
                // In few values, what rounding adds is not what it adds on average.
                let tolerance = if dim < 100 { 0.1 } else { 0.05 };
                assert!((coded / own - 1.0).abs() < tolerance, "{codes}: {coded} {own}");
            }
        }
    }

    #[test]
    fn what_is_compared_is_what_is_decoded() {
        for (codes, dim) in all() {
            let coder = Coder::new(&codes, dim).unwrap();
            let coded = coder.encode(&vectors(dim, 3));
            let decoded = coder.decode(&coded);
            let (base, vectors) = (coder.base(), coder.vectors(&coded));
            for (token, turned) in coder.turned(&vectors).iter().enumerate() {
                let codes = &decoded.codes[token * decoded.stride..][..dim];
                assert!((decoded.squares[token] - square(codes)).abs() <= dim as i32 / 12 + 1);
                for ((value, base), code) in turned.iter().zip(&base).zip(codes) {
                    let composed = base + decoded.scales[token] * f32::from(code.cast_signed());
                    // The axes of a book are stored with 11 bits.
                    assert!((value - composed).abs() < 0.01, "{value} {composed}");
                }
            }
        }
    }

    #[test]
    fn the_mean_of_many_tokens_is_that_of_their_vectors() {
        for (codes, dim) in all() {
            let coder = Coder::new(&codes, dim).unwrap();
            let vectors = vectors(dim, 400);
            let mean = coder.mean(&coder.encode(&vectors));
            for (i, value) in mean.iter().enumerate() {
                let exact = vectors.iter().map(|vector| vector[i]).sum::<f32>() / 400.0;
                assert!((value - exact).abs() < 0.03, "{codes}: {value} {exact}");
            }
        }
    }

    #[test]
    fn hostile_vectors_and_bytes_are_coded_without_a_panic() {
        for (codes, dim) in all() {
            let coder = Coder::new(&codes, dim).unwrap();
            for value in [0.0, f32::NAN, f32::INFINITY, f32::MAX, f32::from_bits(1)] {
                let mut vector = vec![0.5; dim];
                vector[dim / 2] = value;
                let vectors = [vector, vec![value; dim]];
                assert_eq!(coder.encode(&vectors).len(), 2 * coder.bytes());
            }
            assert!(coder.mean(&[]).iter().all(|&value| value == 0.0));
            for length in [1, coder.bytes() - 1, coder.bytes() + 3] {
                assert!(coder.decode(&vec![0xff; length]).scales.len() <= 1);
            }
        }
    }

    #[test]
    fn settings_name_codes_and_those_of_old_indexes_are_8_bits() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Settings {
            #[serde(with = "in_settings")]
            codes: Option<TokenCodes>,
        }
        let book = TokenCodes::Book("e5-small-128".to_owned());
        for (codes, json) in [
            (None, "false"),
            (Some(TokenCodes::EightBit), "true"),
            (Some(TokenCodes::FourBit), r#""4-bit""#),
            (Some(book), r#""e5-small-128""#),
        ] {
            let (settings, json) = (Settings { codes }, format!(r#"{{"codes":{json}}}"#));
            assert_eq!(serde_json::to_string(&settings).unwrap(), json);
            assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        }
    }

    #[test]
    fn codes_that_cannot_be_read_are_errors() {
        let unknown = Coder::new(&TokenCodes::Book("e9".to_owned()), 384).err().unwrap();
        assert!(unknown.to_string().contains("\"e9\""));
        let other = Coder::new(&TokenCodes::Book("e5-small-128".to_owned()), 64).err().unwrap();
        assert!(matches!(other, CodesError::Dimension { of: 384, dim: 64, .. }));
    }
}
