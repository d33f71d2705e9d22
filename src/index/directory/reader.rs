//! A consistent read-only snapshot of an index.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use tantivy::columnar::Cardinality;
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{
    DocAddress, DocSet, IndexReader, ReloadPolicy, Searcher, SegmentReader, TERMINATED,
    TantivyDocument, Term,
};

use super::bm25;
use super::chunk_table::{ChunkRecord, ChunkTable};
use super::committed::Committed;
use super::contained::contained;
use super::errors::read_error;
use super::fields::{Fields, schema};
use super::lexical;
use super::log::{self, Log};
use super::manifest::Manifest;
use super::nearest::nearest;
use super::token_file::TokenFile;
use super::vector_file::{RawVector, VectorFile};
use crate::embedding::codes::Coder;
use crate::index::api::best_first;
use crate::index::{
    ChunkId, Index, IndexError, Ledger, LexicalQuery, Passage, Searched, Settings, StoredChunk,
};

/// A lexical part up to this size in bytes is fully verified on opening, which takes about 0.1 s.
/// In a larger one, tantivy's panics on corrupt files are [`contained`].
const CHECKED_BYTES: u64 = 256 << 20;
/// Number of token vectors sampled to estimate their mean.
const MEAN_SAMPLE: u64 = 16_384;
/// Retries when a writer replaces the generation being opened. A retry fails only if yet another
/// generation was published in the meantime.
const ATTEMPTS: usize = 20;

/// A directory index, opened for reading.
pub struct DirectoryIndex {
    manifest: Manifest,
    /// Directory of this generation's data.
    data: PathBuf,
    committed: Committed,
    searcher: Searcher,
    fields: Fields,
    vectors: VectorFile,
    tokens: Option<TokenFile>,
    table: ChunkTable,
    log: File,
    /// Tantivy's address of each row's chunk; [`GONE`] if the chunk was removed.
    addresses: Vec<DocAddress>,
    live: usize,
    /// Of each segment's chunks, whether they may be found; absent if all may.
    selected: Option<Vec<Vec<bool>>>,
    /// `[dim]`; estimated when it is first asked for.
    mean_token: OnceLock<Vec<f32>>,
}

/// The address of a removed chunk.
const GONE: DocAddress = DocAddress { segment_ord: u32::MAX, doc_id: u32::MAX };

/// A row as it is stored.
pub(crate) struct StoredRow<'a> {
    pub vector: RawVector<'a>,
    /// `[tokens, bytes]`
    pub tokens: &'a [u8],
    pub record: ChunkRecord,
}

impl DirectoryIndex {
    /// Opens the current state of the index in `dir`. Later commits are not visible.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        let mut attempt = 1;
        loop {
            let manifest = Manifest::read(dir)?;
            let error = match Self::open_generation(dir, &manifest, CHECKED_BYTES) {
                Ok(index) => return Ok(index),
                Err(error) => error,
            };
            // If a writer has replaced and removed this generation meanwhile, retry with the new
            // one. Any other error is genuine.
            let replaced = Manifest::read(dir).is_ok_and(|now| !now.is_same_generation(&manifest));
            let removed = matches!(&error, IndexError::Damaged { path, .. } if !path.exists());
            if attempt == ATTEMPTS || !(replaced || removed) {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Opens the data named by `manifest`, current or not. Verifies tantivy's part unless it is
    /// larger than `checked` bytes.
    pub(crate) fn open_generation(
        dir: &Path,
        manifest: &Manifest,
        checked: u64,
    ) -> Result<Self, IndexError> {
        let data = manifest.data(dir);
        contained(&data.join("lexical"), || Self::open_data(data.clone(), manifest, checked))
    }

    fn open_data(data: PathBuf, manifest: &Manifest, checked: u64) -> Result<Self, IndexError> {
        let path = data.join("lexical");
        let failed = read_error(&path);
        let index = lexical::open_checked(&path, checked)?;
        let (searcher, committed) = one_commit(&index, &path)?;
        let log = log::open(&data.join(log::file_name(committed.log)))?;
        let (_, fields) = schema();
        let dim = manifest.settings.embedder.dimension;
        let vectors = VectorFile::open(&data.join("vectors.i8"), dim, committed.rows)?;
        let table = ChunkTable::open(&data.join("chunks.bin"), committed.rows)?;
        let tokens = TokenFile::open(&data, &manifest.settings, committed.tokens)?;
        let addresses = addresses(&searcher, committed.rows)
            .map_err(&failed)?
            .ok_or_else(|| IndexError::Truncated { path: data.join("vectors.i8") })?;
        let live = searcher.num_docs() as usize;
        Ok(Self {
            manifest: manifest.clone(),
            data,
            committed,
            searcher,
            fields,
            vectors,
            tokens,
            table,
            log,
            addresses,
            live,
            selected: None,
            mean_token: OnceLock::new(),
        })
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Every chunk, in insertion order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        let rows = self.addresses.iter().enumerate();
        rows.filter(|(_, address)| **address != GONE).map(|(row, _)| ChunkId::new(row as u64))
    }

    /// The `limit` nearest chunks to `query` (`[dim]`, unit length) by cosine, best first.
    pub fn nearest(&self, query: &[f32], limit: usize) -> Vec<(ChunkId, f32)> {
        let is_live = |row: u64| self.addresses[row as usize] != GONE;
        let hits = nearest(&self.vectors, query, limit, is_live);
        hits.into_iter().map(|(row, score)| (ChunkId::new(row), score)).collect()
    }

    /// The `limit` best chunks by BM25, best first.
    pub fn bm25(
        &self,
        query: &LexicalQuery,
        limit: usize,
    ) -> Result<Vec<(ChunkId, f32)>, IndexError> {
        let mut hits = self.with_tantivy(|| {
            let mut hits = Vec::new();
            let is_wanted = |DocAddress { segment_ord, doc_id }: DocAddress| match &self.selected {
                Some(segments) => segments[segment_ord as usize][doc_id as usize],
                None => true,
            };
            let best = bm25::top(&self.searcher, &self.fields, query, limit, is_wanted)?;
            for (score, address) in best {
                let segment = self.searcher.segment_reader(address.segment_ord);
                let row = segment.fast_fields().u64("row")?;
                hits.extend(row.first(address.doc_id).map(|row| (ChunkId::new(row), score)));
            }
            Ok(hits)
        })?;
        hits.sort_unstable_by(best_first);
        Ok(hits)
    }

    /// The stored rows of a chunk and its tokens.
    pub(crate) fn stored(&self, chunk: ChunkId) -> Result<StoredRow<'_>, IndexError> {
        let truncated = |name: &str| IndexError::Truncated { path: self.data.join(name) };
        let record = self.table.get(chunk.key).ok_or_else(|| truncated("chunks.bin"))?;
        let tokens = match &self.tokens {
            Some(file) => {
                let end = record.first_token.checked_add(u64::from(record.tokens));
                let tokens = end.and_then(|end| file.tokens(record.first_token, end));
                tokens.ok_or_else(|| IndexError::Truncated { path: file.path.clone() })?
            }
            None => &[],
        };
        let vector = self.vectors.raw(chunk.key).ok_or_else(|| truncated("vectors.low"))?;
        Ok(StoredRow { vector, tokens, record })
    }

    /// The vector file, chunk table and token file, for verification against their digests.
    pub(crate) fn row_files(&self) -> (&VectorFile, &ChunkTable, Option<&TokenFile>) {
        (&self.vectors, &self.table, self.tokens.as_ref())
    }

    /// Reads the log as of this snapshot's commit.
    pub(crate) fn read_log(&self) -> Result<Log, IndexError> {
        let path = self.data.join(log::file_name(self.committed.log));
        Log::read(&self.log, &path, self.committed.log_bytes)
    }

    /// Directory of this generation's data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    fn lexical_path(&self) -> PathBuf {
        self.data.join("lexical")
    }

    /// Runs `work`, turning tantivy's errors and panics into errors that name the index.
    fn with_tantivy<T>(&self, work: impl FnOnce() -> tantivy::Result<T>) -> Result<T, IndexError> {
        let path = self.lexical_path();
        contained(&path, || work().map_err(read_error(&path)))
    }

    /// The coded token vectors of a chunk, `[tokens, bytes]`; empty if the index does not store any.
    fn tokens_of(&self, chunk: ChunkId) -> &[u8] {
        let file = self.tokens.as_ref().zip(self.table.get(chunk.key));
        let Some((file, ChunkRecord { first_token, tokens, .. })) = file else { return &[] };
        // A corrupt table must not point past the end of the file.
        let end = first_token.saturating_add(u64::from(tokens)).min(file.len());
        file.tokens(first_token.min(end), end).unwrap_or_default()
    }

    /// The mean of a sample of token vectors, `[dim]`.
    fn estimate_mean_token(&self) -> Vec<f32> {
        let Some(file) = self.tokens.as_ref() else {
            return vec![0f32; self.manifest.settings.embedder.dimension];
        };
        let step = file.len().div_ceil(MEAN_SAMPLE).max(1);
        let sample = (0..file.len()).step_by(step as usize);
        let tokens: Vec<&[u8]> = sample.filter_map(|at| file.tokens(at, at + 1)).collect();
        file.coder.mean(&tokens.concat())
    }

    fn address(&self, chunk: ChunkId) -> DocAddress {
        self.addresses[chunk.key as usize]
    }
}

impl Index for DirectoryIndex {
    fn settings(&self) -> &Settings {
        &self.manifest.settings
    }

    fn chunk_count(&self) -> usize {
        self.live
    }

    fn row_count(&self) -> usize {
        self.addresses.len()
    }

    fn document_count(&self) -> Result<usize, IndexError> {
        Ok(self.committed.documents as usize)
    }

    fn changed(&self) -> Option<SystemTime> {
        self.manifest.changed(self.data.parent()?)
    }

    fn ledger(&self) -> Result<Ledger, IndexError> {
        Ok(self.read_log()?.ledger)
    }

    fn select(&mut self, documents: &[&str]) -> Result<usize, IndexError> {
        let found = self.with_tantivy(|| selected(&self.searcher, &self.fields, documents))?;
        let (segments, rows) = found;
        let rows: HashSet<u64> = rows.into_iter().collect();
        for (row, address) in (0..).zip(&mut self.addresses) {
            if !rows.contains(&row) {
                *address = GONE;
            }
        }
        self.live = self.chunks().count();
        self.selected = Some(segments);
        Ok(self.live)
    }

    fn search(&self, question: &str, query: &[f32], limit: usize) -> Result<Searched, IndexError> {
        let start = Instant::now();
        let nearest = self.nearest(query, limit);
        let dense = start.elapsed();
        let start = Instant::now();
        let lexical = self.lexical(question)?;
        let matching = self.bm25(&lexical, limit)?;
        Ok(Searched { nearest, lexical, matching, dense, bm25: start.elapsed() })
    }

    fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError> {
        self.with_tantivy(|| bm25::weigh(&self.searcher, &self.fields, question))
    }

    fn bm25_of(&self, query: &LexicalQuery, chunks: &[ChunkId]) -> Result<Vec<f32>, IndexError> {
        let addresses: Vec<DocAddress> = chunks.iter().map(|&chunk| self.address(chunk)).collect();
        self.with_tantivy(|| bm25::scores(&self.searcher, &self.fields, query, &addresses))
    }

    fn cosines(&self, chunks: &[ChunkId], query: &[f32]) -> Result<Vec<f32>, IndexError> {
        Ok(chunks.iter().map(|chunk| self.vectors.dot(chunk.key, query)).collect())
    }

    fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError> {
        let document: TantivyDocument =
            self.with_tantivy(|| self.searcher.doc(self.address(chunk)))?;
        let json = document.get_first(self.fields.passage).and_then(|value| value.as_str());
        json.and_then(|json| serde_json::from_str(json).ok()).ok_or_else(|| IndexError::Damaged {
            path: self.lexical_path(),
            what: format!("chunk {} has no readable passage", chunk.key),
        })
    }

    fn document(&self, id: &str) -> Result<Vec<Passage>, IndexError> {
        let (_, rows) = self.with_tantivy(|| selected(&self.searcher, &self.fields, &[id]))?;
        let known = rows.into_iter().filter(|&row| {
            self.addresses.get(row as usize).is_some_and(|address| *address != GONE)
        });
        let passages = known.map(|row| self.passage(ChunkId::new(row)));
        let mut passages = passages.collect::<Result<Vec<Passage>, _>>()?;
        passages.sort_by_key(|passage| passage.span);
        Ok(passages)
    }

    fn coder(&self) -> Option<&Coder> {
        self.tokens.as_ref().map(|file| &file.coder)
    }

    fn tokens(&self, chunks: &[ChunkId]) -> Result<Vec<Cow<'_, [u8]>>, IndexError> {
        Ok(chunks.iter().map(|&chunk| self.tokens_of(chunk).into()).collect())
    }

    fn mean_token_vector(&self) -> Result<Vec<f32>, IndexError> {
        Ok(self.mean_token.get_or_init(|| self.estimate_mean_token()).clone())
    }

    fn each_chunk(
        &self,
        take: &mut dyn FnMut(StoredChunk) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError> {
        for chunk in self.chunks() {
            let chunk = StoredChunk {
                passage: self.passage(chunk)?,
                vector: self.vectors.vector(chunk.key),
                tokens: self.tokens_of(chunk).to_vec(),
            };
            if take(chunk)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Of each segment's chunks, whether they belong to one of `documents`; and the rows of those that do.
fn selected(
    searcher: &Searcher,
    fields: &Fields,
    documents: &[&str],
) -> tantivy::Result<(Vec<Vec<bool>>, Vec<u64>)> {
    let (mut segments, mut rows) = (Vec::new(), Vec::new());
    for segment in searcher.segment_readers() {
        let mut wanted = vec![false; segment.max_doc() as usize];
        let (row_of, index) =
            (segment.fast_fields().u64("row")?, segment.inverted_index(fields.document)?);
        for document in documents {
            let term = Term::from_field_text(fields.document, document);
            let found = index.read_postings(&term, IndexRecordOption::Basic)?;
            let Some(mut chunks) = found else { continue };
            let mut doc = chunks.doc();
            while doc != TERMINATED {
                wanted[doc as usize] = true;
                rows.extend(row_of.first(doc));
                doc = chunks.advance();
            }
        }
        segments.push(wanted);
    }
    Ok((segments, rows))
}

/// The address of each of `rows` rows; `None` if a chunk's row is out of range.
fn addresses(searcher: &Searcher, rows: u64) -> tantivy::Result<Option<Vec<DocAddress>>> {
    let mut addresses = vec![GONE; rows as usize];
    for (ordinal, segment) in searcher.segment_readers().iter().enumerate() {
        let rows = rows_of(segment)?;
        for doc in segment.doc_ids_alive() {
            let row = rows.get(doc as usize).copied().unwrap_or(u64::MAX);
            let address = usize::try_from(row).ok().and_then(|row| addresses.get_mut(row));
            let Some(address) = address else { return Ok(None) };
            *address = DocAddress::new(ordinal as u32, doc);
        }
    }
    Ok(Some(addresses))
}

/// The segments of the last commit, and its payload.
fn one_commit(index: &tantivy::Index, path: &Path) -> Result<(Searcher, Committed), IndexError> {
    let failed = read_error(path);
    let mut committed = Committed::read(index, path)?;
    loop {
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader: IndexReader = reader.map_err(&failed)?;
        // Every commit has a different payload, so an unchanged payload means that the segments
        // belong to it. Writers commit far less often than this loop iterates.
        let now = Committed::read(index, path)?;
        if now == committed {
            return Ok((reader.searcher(), committed));
        }
        committed = now;
    }
}

/// The row of each chunk in a segment, including deleted ones.
fn rows_of(segment: &SegmentReader) -> tantivy::Result<Vec<u64>> {
    let column = segment.fast_fields().u64("row")?;
    // A chunk without a row is corrupt; this out-of-range value makes the caller notice.
    let mut rows = vec![u64::MAX; segment.max_doc() as usize];
    if column.get_cardinality() == Cardinality::Full
        && column.values.num_vals() as usize == rows.len()
    {
        column.values.get_range(0, &mut rows);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::chunks::ChunkSettings;
    use crate::documents::Markup;
    use crate::index::directory::{DirectoryWriter, verify};
    use crate::index::{DocumentState, EmbedderIdentity, IndexWriter, Start};
    use crate::support::random::SplitMix64;
    use crate::text::analyze::ANALYZER;

    /// Builds an index of chunks over a small vocabulary.
    fn build(dir: &Path) {
        build_with(dir, ANALYZER);
    }

    fn settings(analyzer: u32) -> Settings {
        Settings {
            embedder: EmbedderIdentity {
                id: "test".to_owned(),
                dimension: 4,
                pooling: "mean".to_owned(),
                passage_prefix: String::new(),
            },
            chunking: ChunkSettings::default(),
            token_vectors: None,
            analyzer,
        }
    }

    fn build_with(dir: &Path, analyzer: u32) {
        let mut writer = DirectoryWriter::open(dir, settings(analyzer), Start::Update).unwrap();
        let mut random = SplitMix64::new(1);
        for number in 0..300 {
            let word = |_| format!("w{}", random.below(200));
            let text = (0..30).map(word).collect::<Vec<_>>().join(" ");
            let document = format!("/a/{number}.md");
            let passage = Passage {
                document: document.clone(),
                headings: Vec::new(),
                place: None,
                span: (0, text.len()),
                text,
                format: Markup::Plain,
                recognized: false,
                ..Passage::default()
            };
            writer.add(&passage, &[1.0, 0.0, 0.0, 0.0], &[]).unwrap();
            writer.finish_document(
                &document,
                DocumentState { chunks: 1, ..DocumentState::default() },
            );
        }
        writer.publish().unwrap();
        writer.finish().unwrap();
    }

    /// Reads everything that a search reads from tantivy's part.
    fn read_all(dir: &Path) -> Result<(), IndexError> {
        let manifest = Manifest::read(dir)?;
        let index = DirectoryIndex::open_generation(dir, &manifest, 0)?;
        let chunks: Vec<ChunkId> = index.chunks().collect();
        for question in ["w1 w2", "w7 w8 w9 w100 w150", "w199"] {
            let query = index.lexical(question)?;
            index.bm25(&query, 10)?;
            index.bm25_of(&query, &chunks)?;
        }
        chunks.iter().step_by(10).try_for_each(|&chunk| index.passage(chunk).map(drop))
    }

    #[test]
    fn old_terms_are_taken_again_before_anything_is_added_or_found() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        build_with(dir, 1);
        let manifest = fs::read_to_string(dir.join("manifest.json")).unwrap();
        assert!(!manifest.contains("analyzer"), "as earlier versions wrote it: {manifest}");
        let old = DirectoryIndex::open(dir).unwrap();
        assert!(old.settings().has_old_terms());
        assert!(matches!(
            old.settings().check(&settings(ANALYZER)),
            Err(IndexError::Analyzer { found: 1, .. })
        ));
        let writer = DirectoryWriter::open(dir, settings(ANALYZER), Start::Update).unwrap();
        assert_eq!(writer.chunk_count(), 300);
        writer.finish().unwrap();
        let new = verify(dir).unwrap();
        assert_eq!(new.chunk_count(), 300);
        new.settings().check(&settings(ANALYZER)).unwrap();
        assert!(!Manifest::read(dir).unwrap().is_same_generation(old.manifest()));
    }

    #[test]
    fn terms_of_a_later_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        build_with(folder.path(), ANALYZER + 1);
        let outcome = DirectoryWriter::open(folder.path(), settings(ANALYZER), Start::Update);
        let Err(error @ IndexError::Analyzer { .. }) = outcome else { panic!() };
        assert!(error.hint().contains("newer"));
    }

    /// As for an index whose lexical part is too large to verify on opening.
    #[test]
    fn damage_to_an_unchecked_lexical_part_never_panics() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        build(dir);
        read_all(dir).unwrap();
        let lexical = Manifest::read(dir).unwrap().data(dir).join("lexical");
        let mut random = SplitMix64::new(2);
        let (mut found, mut named) = (0, 0);
        let files = fs::read_dir(&lexical).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        // File names differ from run to run.
        files.sort_by_key(|path| path.extension().map(ToOwned::to_owned));
        for path in files {
            let Ok(whole) = fs::read(&path) else { continue };
            for round in 0..60 {
                let mut bytes = whole.clone();
                match round % 3 {
                    _ if bytes.is_empty() => {}
                    0 => bytes[random.below(whole.len())] ^= 1 << random.below(8),
                    // Footers are at the end of the file.
                    1 => bytes[whole.len() - 1 - random.below(whole.len().min(64))] = 0xff,
                    _ => bytes.truncate(random.below(whole.len())),
                }
                fs::write(&path, &bytes).unwrap();
                let outcome = std::panic::catch_unwind(|| read_all(dir));
                let error = outcome.unwrap_or_else(|_| panic!("{}", path.display())).err();
                found += usize::from(error.is_some());
                if let Some(IndexError::Damaged { path: blamed, .. }) = &error {
                    named += usize::from(*blamed == path);
                }
                // A writer would rewrite corrupt data under a fresh checksum, so it must refuse to
                // open it.
                if bytes != whole && round < 6 && path.extension().is_some_and(|it| it != "lock") {
                    assert!(DirectoryWriter::open_existing(dir).is_err(), "{}", path.display());
                }
            }
            fs::write(&path, &whole).unwrap();
        }
        read_all(dir).unwrap();
        verify(dir).unwrap();
        assert!(found > 200 && named > 0, "{found} {named}");
    }
}
