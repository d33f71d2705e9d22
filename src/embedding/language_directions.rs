//! Removes from vectors what says only which language a text is in, and whether it is a question.
//!
//! A multilingual embedder puts texts of one language near each other whatever they say. Across
//! languages, the right passage then ranks below passages that merely resemble the question. The
//! means of a few languages span the directions in which it does so; vectors without them are
//! compared by what they say (Libovický et al. 2020, arXiv:2004.05160; Yang et al. 2021,
//! arXiv:2109.04727). What that gains is in docs/retrieval.md.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{dot, normalize};
use crate::support::bounded;

/// Files that are built in, by name. Made by `models/fit_language_directions.rs`.
const BUILT_IN: [(&str, &[u8]); 1] =
    [("e5-small-7.f32", include_bytes!("../../models/language-directions/e5-small-7.f32"))];
/// More than the file of any embedder has.
const MAX_BYTES: u64 = 16 << 20;

/// The directions of one embedder.
pub struct LanguageDirections {
    dim: usize,
    /// Of the vectors of texts, orthonormal, `[directions, dim]`.
    text: Vec<f32>,
    /// Of the vectors of tokens, orthonormal, `[directions, dim]`.
    token: Vec<f32>,
}

impl LanguageDirections {
    /// Reads a file: little-endian `f32`, `[2 · directions, dim]`, those of texts and then those of
    /// tokens. `file` may name one that comes with the program.
    ///
    /// # Errors
    /// It cannot be read, or does not have that form.
    pub fn read(file: &Path, dim: usize) -> Result<Self> {
        let built_in = BUILT_IN.iter().find(|(name, _)| file == Path::new(name));
        let bytes = match built_in {
            Some((_, bytes)) => bytes.to_vec(),
            None => bounded::read(file, MAX_BYTES).with_context(|| {
                format!("cannot read the language directions {}", file.display())
            })?,
        };
        Self::parse(&bytes, dim).with_context(|| {
            format!(
                "the language directions {} do not fit the embedder; make them again with models/fit_language_directions.rs",
                file.display()
            )
        })
    }

    fn parse(bytes: &[u8], dim: usize) -> Result<Self> {
        let row = 4 * dim;
        let rows = bytes.len() / row;
        ensure!(
            rows > 0 && bytes.len() == rows * row && rows.is_multiple_of(2),
            "{} bytes are not an even number of rows of {dim} values",
            bytes.len()
        );
        let (words, _) = bytes.as_chunks();
        let values: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        ensure!(values.iter().all(|value| value.is_finite()), "a value is not finite");
        for direction in values.chunks_exact(dim) {
            let length = direction.iter().map(|value| value * value).sum::<f32>();
            ensure!((length - 1.0).abs() < 1e-3, "a direction is not of length 1");
        }
        let (text, token) = values.split_at(rows / 2 * dim);
        Ok(Self { dim, text: text.to_vec(), token: token.to_vec() })
    }

    /// Removes language from a text's vector, `[dim]`; the result has length 1.
    ///
    /// The common mean stays: without it rare topics attract every question, which costs more in a
    /// large index than it gains across languages.
    pub fn remove_from_text(&self, vector: &mut [f32]) {
        subtract(&self.text, self.dim, vector);
        normalize(vector);
    }

    /// Removes language from a token's vector, `[dim]`.
    pub fn remove_from_token(&self, vector: &mut [f32]) {
        subtract(&self.token, self.dim, vector);
    }
}

/// Subtracts from `vector` its part along each of some orthonormal `directions`.
fn subtract(directions: &[f32], dim: usize, vector: &mut [f32]) {
    for direction in directions.chunks_exact(dim) {
        let along = dot(vector, direction);
        vector.iter_mut().zip(direction).for_each(|(value, unit)| *value -= along * unit);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(rows: &[[f32; 3]]) -> Vec<u8> {
        rows.concat().iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn texts_that_differ_in_language_alone_become_equal() {
        // The first axis is the language of texts, the second that of tokens.
        let rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let directions = LanguageDirections::parse(&bytes(&rows), 3).unwrap();
        let (mut one, mut other) = ([0.6, 0.5, 0.4], [-0.3, 0.5, 0.4]);
        directions.remove_from_text(&mut one);
        directions.remove_from_text(&mut other);
        assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-6), "{one:?} {other:?}");
        assert!((one.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-6);
        let mut token = [2.0, 3.0, 4.0];
        directions.remove_from_token(&mut token);
        assert_eq!(token, [2.0, 0.0, 4.0]);
    }

    #[test]
    fn malformed_files_are_refused() {
        let refused =
            |rows: &[[f32; 3]], dim| LanguageDirections::parse(&bytes(rows), dim).is_err();
        let unit = [0.0, 0.0, 1.0];
        assert!(!refused(&[unit, unit], 3));
        assert!(refused(&[unit, unit, unit], 3), "texts have one direction more than tokens");
        assert!(refused(&[unit, unit], 4), "another embedder's");
        assert!(refused(&[unit, [0.0; 3]], 3), "not of length 1");
        assert!(refused(&[unit, [f32::NAN; 3]], 3));
        assert!(refused(&[], 3));
    }

    #[test]
    fn those_that_come_with_the_program_are_whole() {
        for (name, _) in BUILT_IN {
            let file = Path::new(name);
            let directions = LanguageDirections::read(file, 384).unwrap();
            assert_eq!(directions.text.len(), directions.token.len());
            assert_eq!(directions.text.len(), 7 * 384);
        }
        let missing = LanguageDirections::read(Path::new("nowhere.f32"), 384);
        assert!(format!("{:#}", missing.err().unwrap()).contains("nowhere.f32"));
    }
}
