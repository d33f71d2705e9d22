//! The file of token vectors: one record of fixed size per token, as [`Coder`] makes them.
//!
//! Append-only, like the other files of rows ([`super::flat`]).

use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::flat::{Appender, HEADER, RecordLayout};
use crate::embedding::codes::{Coder, TokenCodes};
use crate::index::{IndexError, Settings};

/// A memory-mapped file of token vectors.
pub(crate) struct TokenFile {
    map: Mmap,
    layout: RecordLayout,
    pub path: PathBuf,
    pub coder: Coder,
}

/// Name and layout of the file for these codes.
fn file(codes: &TokenCodes, coder: &Coder, dim: usize) -> (&'static str, RecordLayout) {
    let record = coder.bytes();
    match codes {
        // As it was when there were no others.
        TokenCodes::EightBit => {
            ("tokens.i8", RecordLayout { magic: b"RQROWS\x00\x02", number: dim as u32, record })
        }
        TokenCodes::FourBit | TokenCodes::Book(_) => (
            "tokens.codes",
            RecordLayout { magic: b"RQCODE\x00\x03", number: record as u32, record },
        ),
    }
}

/// What the settings of the index in `data` say about its file of token vectors; `None` if it has none.
fn described(
    data: &Path,
    settings: &Settings,
) -> Result<Option<(PathBuf, RecordLayout, Coder)>, IndexError> {
    let Some(codes) = &settings.token_vectors else { return Ok(None) };
    let dim = settings.embedder.dimension;
    let coder = Coder::new(codes, dim)
        .map_err(|source| IndexError::Codes { path: data.to_owned(), source })?;
    let (name, layout) = file(codes, &coder, dim);
    Ok(Some((data.join(name), layout, coder)))
}

impl TokenFile {
    /// Opens the first `committed` tokens of the index in `data`; `None` if its settings have none.
    pub(crate) fn open(
        data: &Path,
        settings: &Settings,
        committed: u64,
    ) -> Result<Option<Self>, IndexError> {
        let Some((path, layout, coder)) = described(data, settings)? else { return Ok(None) };
        Ok(Some(Self { map: layout.map(&path, committed)?, layout, path, coder }))
    }

    pub(crate) fn len(&self) -> u64 {
        ((self.map.len() - HEADER) / self.layout.record) as u64
    }

    /// Tokens `from..to`, `[tokens, bytes]`; `None` if there are fewer.
    pub(crate) fn tokens(&self, from: u64, to: u64) -> Option<&[u8]> {
        self.map.get(self.layout.end(from)? as usize..self.layout.end(to)? as usize)
    }

    /// Digest of tokens `from..to`, matching [`TokenFileWriter::digest`].
    pub(crate) fn digest(&self, from: u64, to: u64) -> Option<blake3::Hash> {
        self.layout.digest(&self.map, from, to)
    }
}

/// Appends tokens to a file.
pub(crate) struct TokenFileWriter {
    file: Appender,
    layout: RecordLayout,
    tokens: u64,
}

impl TokenFileWriter {
    /// Opens or creates the file of the index in `data` and truncates it to `committed` tokens; `None` if
    /// its settings have none.
    pub(crate) fn open(
        data: &Path,
        settings: &Settings,
        committed: u64,
    ) -> Result<Option<Self>, IndexError> {
        let Some((path, layout, _)) = described(data, settings)? else { return Ok(None) };
        Ok(Some(Self { file: layout.append(&path, committed)?, layout, tokens: committed }))
    }

    /// Appends tokens, `[tokens, bytes]`, and returns the number of the first.
    pub(crate) fn append(&mut self, tokens: &[u8]) -> Result<u64, IndexError> {
        debug_assert!(tokens.len().is_multiple_of(self.layout.record));
        self.file.write(tokens)?;
        self.tokens += (tokens.len() / self.layout.record) as u64;
        Ok(self.tokens - (tokens.len() / self.layout.record) as u64)
    }

    /// Appends copies of `count` tokens of this file, committed or not, and returns the number of the first.
    pub(crate) fn copy(&mut self, first: u64, count: u64) -> Result<u64, IndexError> {
        let is_there = first.checked_add(count).is_some_and(|end| end <= self.tokens);
        let Some(start) = self.layout.end(first).filter(|_| is_there) else {
            return Err(IndexError::Truncated { path: self.file.path.clone() });
        };
        self.file.copy(start, self.layout.record * count as usize)?;
        self.tokens += count;
        Ok(self.tokens - count)
    }

    /// Digest of the tokens appended since the previous call.
    pub(crate) fn digest(&mut self) -> blake3::Hash {
        self.file.digest()
    }

    /// Number of tokens, including uncommitted ones.
    pub(crate) fn len(&self) -> u64 {
        self.tokens
    }

    /// Syncs all appended tokens to disk.
    pub(crate) fn sync(&mut self) -> Result<(), IndexError> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::ChunkSettings;
    use crate::index::EmbedderIdentity;
    use crate::text::analyze::ANALYZER;

    fn settings(dimension: usize, token_vectors: Option<TokenCodes>) -> Settings {
        let (id, pooling, passage_prefix) = Default::default();
        let embedder = EmbedderIdentity { id, dimension, pooling, passage_prefix };
        Settings { embedder, chunking: ChunkSettings::default(), token_vectors, analyzer: ANALYZER }
    }

    #[test]
    fn tokens_come_back_and_can_be_copied() {
        for codes in [TokenCodes::EightBit, TokenCodes::FourBit] {
            let dir = tempfile::tempdir().unwrap();
            let settings = settings(6, Some(codes.clone()));
            let mut writer = TokenFileWriter::open(dir.path(), &settings, 0).unwrap().unwrap();
            let coder = Coder::new(&codes, 6).unwrap();
            let vectors: Vec<Vec<f32>> =
                (0..3).map(|n| (0..6).map(|i| (n * 7 + i) as f32 - 9.0).collect()).collect();
            let tokens = coder.encode(&vectors);
            assert_eq!(writer.append(&tokens).unwrap(), 0);
            let first = writer.digest();
            assert_eq!(writer.copy(1, 2).unwrap(), 3);
            assert!(matches!(writer.copy(4, 2), Err(IndexError::Truncated { .. })));
            writer.sync().unwrap();
            assert_eq!(writer.len(), 5);
            let file = TokenFile::open(dir.path(), &settings, 5).unwrap().unwrap();
            assert_eq!(file.len(), 5);
            assert_eq!(file.tokens(0, 3), Some(&tokens[..]));
            assert_eq!(file.tokens(3, 5), file.tokens(1, 3));
            assert_eq!(file.tokens(3, 6), None);
            assert_eq!(file.digest(0, 3), Some(first));
            assert_eq!(file.digest(3, 5), Some(writer.digest()));
            // What was not committed is cut off.
            let writer = TokenFileWriter::open(dir.path(), &settings, 2).unwrap().unwrap();
            assert_eq!(writer.len(), 2);
            assert!(matches!(
                TokenFile::open(dir.path(), &settings, 3),
                Err(IndexError::Truncated { .. })
            ));
        }
    }

    #[test]
    fn codes_of_a_later_version_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(6, Some(TokenCodes::Book("e6-giant".to_owned())));
        let error = TokenFile::open(dir.path(), &settings, 0).err().unwrap();
        assert!(matches!(error, IndexError::Codes { .. }));
        assert!(error.hint().contains("newer"));
    }
}
