//! Explains files: how they are read, or why they are not in the index.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::chunks::{ChunkSettings, chunk};
use crate::documents::{self, Programs, Reason};
use crate::embedding::Embedder;
use crate::index::Ledger;
use crate::models::LazyModel;

/// What there is to say of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Its absolute path.
    pub file: String,
    /// Whether indexing its folder takes it.
    pub taken: bool,
    /// Why not.
    #[serde(flatten)]
    pub reason: Option<Reason>,
    /// How it is read.
    #[serde(flatten)]
    pub reading: Option<Reading>,
    /// Chunks that the index has of it; `None` if the index does not have the file.
    pub indexed_chunks: Option<u64>,
}

/// What a reader makes of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The reader's format, or the program that reads the file.
    pub reader: Option<String>,
    /// The encoding of a text.
    pub encoding: Option<&'static str>,
    /// How many documents it holds.
    pub documents: usize,
    /// Letters of all documents.
    pub letters: usize,
    /// Chunks of all documents.
    pub chunks: usize,
    /// What could not be read or was left out, and why.
    pub problems: Vec<String>,
}

/// Explains the file at `path`, which indexing leaves out for `reason` or, if there is none, takes.
/// The embedder counts tokens, and is loaded only for files that are taken.
pub fn explain(
    path: &Path,
    reason: Option<Reason>,
    ledger: &Ledger,
    settings: &ChunkSettings,
    embedder: &LazyModel<Embedder>,
    programs: &Programs,
) -> Result<Explained> {
    let file = path.to_string_lossy().into_owned();
    let is_indexed = ledger.files().contains_key(&file);
    let chunks = ledger.documents_of(&file).map(|(_, state)| state.chunks).sum();
    let reading = match reason {
        Some(_) => None,
        None => Some(read(path, settings, embedder.get()?, programs)),
    };
    let indexed_chunks = is_indexed.then_some(chunks);
    Ok(Explained { file, taken: reading.is_some(), reason, reading, indexed_chunks })
}

fn read(
    path: &Path,
    settings: &ChunkSettings,
    embedder: &Embedder,
    programs: &Programs,
) -> Reading {
    let count = |text: &str| embedder.count_tokens(text);
    let mut reading = Reading::default();
    if let Some((reader, encoding)) = documents::reader_of(path, programs) {
        reading.reader = Some(reader.to_owned());
        reading.encoding = encoding;
    }
    for document in documents::read_with(path, programs) {
        match document {
            Ok(document) => {
                reading.documents += 1;
                reading.letters += document.text.chars().filter(|c| c.is_alphabetic()).count();
                reading.chunks += chunk(&document, settings, &count).len();
            }
            Err(error) => reading.problems.push(error.to_string()),
        }
    }
    reading
}
