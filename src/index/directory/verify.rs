//! Verifies an index completely: every byte against its checksum, every chunk against its document.

use std::collections::BTreeMap;
use std::path::Path;

use super::chunk_table::TextKey;
use super::log::Extent;
use super::manifest::Manifest;
use super::reader::DirectoryIndex;
use crate::index::{Index, IndexError, Ledger};

/// Verifies the index in `dir` completely. Fails on the first fault found.
pub fn verify(dir: &Path) -> Result<DirectoryIndex, IndexError> {
    let manifest = Manifest::read(dir)?;
    if !manifest.is_as_written(dir) {
        return Err(IndexError::Damaged {
            path: dir.join("manifest.json"),
            what: "it is not what was written".to_owned(),
        });
    }
    // If a writer has replaced the generation meanwhile, verify the new one.
    match generation(dir, &manifest) {
        Err(_) if Manifest::read(dir).is_ok_and(|now| !now.is_same_generation(&manifest)) => {
            generation(dir, &Manifest::read(dir)?)
        }
        outcome => outcome,
    }
}

/// Verifies the data named by `manifest`.
pub(crate) fn generation(dir: &Path, manifest: &Manifest) -> Result<DirectoryIndex, IndexError> {
    let index = DirectoryIndex::open_generation(dir, manifest, u64::MAX)?;
    let log = index.read_log()?;
    check_extents(&index, &log.extents)?;
    check_chunks(&index, &log.ledger)?;
    Ok(index)
}

/// Verifies the record files against the digests recorded with each commit.
fn check_extents(index: &DirectoryIndex, extents: &[Extent]) -> Result<(), IndexError> {
    let (vectors, table, tokens) = index.row_files();
    let expect = |path: &Path, is_intact: bool| match is_intact {
        true => Ok(()),
        false => Err(IndexError::checksum(path)),
    };
    let (of_vectors, of_table) = (index.data().join("vectors.i8"), index.data().join("chunks.bin"));
    let (mut row, mut token) = (0, 0);
    for extent in extents {
        let is = |digest: Option<blake3::Hash>, recorded: &str| {
            digest.is_some_and(|digest| digest.to_hex().as_str() == recorded)
        };
        expect(&of_vectors, is(vectors.digest(row, extent.rows), &extent.vectors))?;
        expect(&of_table, is(table.digest(row, extent.rows), &extent.chunks))?;
        if let Some(tokens) = tokens {
            let recorded = extent.token_vectors.as_deref().unwrap_or_default();
            expect(&tokens.path, is(tokens.digest(token, extent.tokens), recorded))?;
        }
        (row, token) = (extent.rows, extent.tokens);
    }
    expect(&of_vectors, vectors.len() == row)?;
    expect(&of_table, table.len() == row)?;
    tokens.map_or(Ok(()), |tokens| expect(&tokens.path, tokens.len() == token))
}

/// Verifies that chunks match their documents and rows.
fn check_chunks(index: &DirectoryIndex, ledger: &Ledger) -> Result<(), IndexError> {
    let damaged = |what: String| IndexError::Damaged { path: index.data().to_owned(), what };
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = 0;
    for chunk in index.chunks() {
        let passage = index.passage(chunk)?;
        let stored = index.stored(chunk)?;
        if stored.record.key != TextKey::of(&passage.text_to_embed()) {
            return Err(damaged(format!("row {} is of another text than its chunk", chunk.key)));
        }
        *found.entry(passage.document).or_default() += 1;
        count += 1;
    }
    if count != index.chunk_count() {
        return Err(damaged("two chunks have the same row".to_owned()));
    }
    let documents = ledger.documents().iter().filter(|(_, state)| state.chunks > 0);
    let expected: BTreeMap<&String, u64> =
        documents.map(|(id, state)| (id, state.chunks)).collect();
    let documents = index.document_count()?;
    if expected.len() != documents {
        return Err(damaged(format!(
            "it has {} documents, and its commit says {documents}",
            expected.len()
        )));
    }
    for (id, chunks) in &expected {
        let found = found.remove(*id).unwrap_or(0);
        if found != *chunks {
            return Err(damaged(format!("{id} has {found} chunks, not {chunks}")));
        }
    }
    match found.into_iter().next() {
        Some((id, _)) => Err(damaged(format!("it has chunks of {id}, which it does not know"))),
        None => Ok(()),
    }
}
