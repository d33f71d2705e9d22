//! Reading: one consistent state of an index, for any number of questions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tantivy::columnar::{Column, StrColumn};
use tantivy::directory::MmapDirectory;
use tantivy::schema::Value;
use tantivy::{DocAddress, IndexReader, ReloadPolicy, Searcher, SegmentReader, TantivyDocument};

use super::directory::SharedDirectory;
use super::lexical::{Fields, schema, tokenizers};
use super::nearest::nearest;
use super::rows::{Bits, Rows};
use super::writer::Committed;
use super::{ChunkId, IndexError, LexicalQuery, Manifest, Passage, lexical_error};

/// A lexical part of up to this many bytes is checked whole when it is opened: some 0.1 s.
const CHECKED_BYTES: u64 = 256 << 20;
/// Bytes at the end of every file of tantivy's: length of its footer and a magic number.
const FOOTER: u64 = 8;
/// Token vectors that are enough to estimate their mean.
const MEAN_SAMPLE: u64 = 16_384;

/// An open index.
pub struct Index {
    manifest: Manifest,
    path: PathBuf,
    searcher: Searcher,
    fields: Fields,
    vectors: Rows,
    tokens: Option<Rows>,
    /// Every live chunk, by row.
    chunks: Vec<Chunk>,
    documents: usize,
}

/// Where the parts of a chunk are.
#[derive(Clone, Copy)]
struct Chunk {
    row: u64,
    address: DocAddress,
    first_token: u64,
    tokens: u64,
}

impl Index {
    /// Opens the index in `dir` as it is now. Later commits do not change what is seen.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        let manifest = Manifest::read(dir)?;
        let data = manifest.data(dir);
        let path = data.join("lexical");
        let failed = lexical_error(&path);
        let index = open_lexical(&path)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader: IndexReader = reader.map_err(&failed)?;
        let searcher = reader.searcher();
        // Asked after the searcher was made, so that it covers every chunk that this one sees.
        let committed = Committed::read(&index, &path)?.ok_or_else(|| Committed::missing(&path))?;
        let (_, fields) = schema();
        let dim = manifest.settings.embedder.dimension;
        let vectors = Rows::open(&data.join("vectors.i8"), Bits::Twelve, dim, committed.vectors)?;
        let tokens = match manifest.settings.token_vectors {
            true => Some(Rows::open(&data.join("tokens.i8"), Bits::Eight, dim, committed.tokens)?),
            false => None,
        };
        let (mut chunks, mut documents) = (Vec::new(), BTreeSet::new());
        for (ordinal, segment) in searcher.segment_readers().iter().enumerate() {
            let columns = Columns::open(segment).map_err(&failed)?;
            for doc in segment.doc_ids_alive() {
                let address = DocAddress::new(ordinal as u32, doc);
                chunks.push(columns.chunk(address));
            }
            documents.extend(columns.documents(segment).map_err(&failed)?.into_keys());
        }
        chunks.sort_unstable_by_key(|chunk| chunk.row);
        for chunk in &chunks {
            if chunk.row >= vectors.len() {
                return Err(IndexError::Truncated { path: data.join("vectors.i8") });
            }
            let last_token = chunk.first_token.saturating_add(chunk.tokens);
            if tokens.as_ref().is_some_and(|tokens| last_token > tokens.len()) {
                return Err(IndexError::Truncated { path: data.join("tokens.i8") });
            }
        }
        let documents = documents.len();
        Ok(Self { manifest, path, searcher, fields, vectors, tokens, chunks, documents })
    }

    /// What the index was built with.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Number of chunks.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Number of documents that have at least one chunk.
    pub fn document_count(&self) -> usize {
        self.documents
    }

    /// The `limit` chunks nearest to `query` (`[dim]`, unit length) by cosine, best first.
    pub fn nearest(&self, query: &[f32], limit: usize) -> Vec<(ChunkId, f32)> {
        let is_live = |row| self.chunks.binary_search_by_key(&row, |chunk| chunk.row).is_ok();
        let hits = nearest(&self.vectors, query, limit, is_live);
        hits.into_iter().map(|(row, score)| (ChunkId(row), score)).collect()
    }

    /// Cosine of one chunk with `query`, `[dim]`, unit length.
    pub fn cosine(&self, chunk: ChunkId, query: &[f32]) -> f32 {
        self.vectors.dot(chunk.0, query)
    }

    /// Prepares BM25 for a question.
    pub fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError> {
        LexicalQuery::new(self.searcher.clone(), &self.fields, question)
            .map_err(lexical_error(&self.path))
    }

    /// The `limit` best chunks by BM25, best first.
    pub fn bm25(
        &self,
        query: &LexicalQuery,
        limit: usize,
    ) -> Result<Vec<(ChunkId, f32)>, IndexError> {
        let failed = lexical_error(&self.path);
        let mut hits = Vec::new();
        for (score, address) in query.top(limit).map_err(&failed)? {
            let segment = self.searcher.segment_reader(address.segment_ord);
            let row = segment.fast_fields().u64("row").map_err(&failed)?;
            hits.extend(row.first(address.doc_id).map(|row| (ChunkId(row), score)));
        }
        best_first(&mut hits);
        Ok(hits)
    }

    /// BM25 scores of the given chunks, in their order.
    pub fn bm25_of(
        &self,
        query: &LexicalQuery,
        chunks: &[ChunkId],
    ) -> Result<Vec<f32>, IndexError> {
        let addresses: Vec<DocAddress> =
            chunks.iter().map(|&chunk| self.chunk(chunk).address).collect();
        query.scores(&addresses).map_err(lexical_error(&self.path))
    }

    /// The text and place of a chunk.
    pub fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError> {
        let document: TantivyDocument =
            self.searcher.doc(self.chunk(chunk).address).map_err(lexical_error(&self.path))?;
        let json = document.get_first(self.fields.passage).and_then(|value| value.as_str());
        json.and_then(|json| serde_json::from_str(json).ok()).ok_or_else(|| IndexError::Damaged {
            path: self.path.clone(),
            what: format!("chunk {} has no readable passage", chunk.0),
        })
    }

    /// The vectors of a chunk's tokens, `[tokens, dim]`; none if the index keeps none.
    pub fn token_vectors(&self, chunk: ChunkId) -> Vec<Vec<f32>> {
        let Some(rows) = &self.tokens else { return Vec::new() };
        let Chunk { first_token, tokens, .. } = *self.chunk(chunk);
        (first_token..first_token + tokens).map(|row| rows.vector(row)).collect()
    }

    /// Mean of the index' token vectors, `[dim]`, from an even sample of them.
    pub fn mean_token_vector(&self) -> Vec<f32> {
        let mut mean = vec![0f32; self.manifest.settings.embedder.dimension];
        let Some(rows) = self.tokens.as_ref().filter(|rows| rows.len() > 0) else { return mean };
        let step = rows.len().div_ceil(MEAN_SAMPLE);
        let sample: Vec<u64> = (0..rows.len()).step_by(step as usize).collect();
        for &row in &sample {
            for (sum, value) in mean.iter_mut().zip(rows.vector(row)) {
                *sum += value;
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= sample.len() as f32);
        mean
    }

    fn chunk(&self, chunk: ChunkId) -> &Chunk {
        let at = self.chunks.binary_search_by_key(&chunk.0, |chunk| chunk.row);
        &self.chunks[at.expect("chunk ids come from this index")]
    }
}

/// By score, then by row: the order never depends on chance.
fn best_first(hits: &mut [(ChunkId, f32)]) {
    hits.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
}

/// Opens tantivy's part, and checks it: tantivy panics on files that are not what it wrote.
fn open_lexical(path: &Path) -> Result<tantivy::Index, IndexError> {
    let failed = lexical_error(path);
    let mut bytes = 0;
    for file in fs::read_dir(path).into_iter().flatten().flatten() {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let is_segment =
            file.path().extension().is_some_and(|kind| kind != "json" && kind != "lock");
        // Tantivy looks for a footer of at least this length without asking.
        if is_segment && length < FOOTER {
            return Err(IndexError::Truncated { path: file.path() });
        }
        bytes += length;
    }
    let directory = MmapDirectory::open(path).map_err(|error| failed(error.into()))?;
    let mut index = tantivy::Index::open(SharedDirectory(directory)).map_err(&failed)?;
    index.set_tokenizers(tokenizers());
    if bytes <= CHECKED_BYTES {
        let damaged = index.validate_checksum().map_err(&failed)?;
        if let Some(file) = damaged.iter().min() {
            return Err(IndexError::Damaged {
                path: path.join(file),
                what: "its checksum is not the one it was written with".to_owned(),
            });
        }
    }
    Ok(index)
}

/// Every document of the index and its content hash.
pub(super) fn documents(searcher: &Searcher) -> tantivy::Result<BTreeMap<String, String>> {
    let mut documents = BTreeMap::new();
    for segment in searcher.segment_readers() {
        documents.extend(Columns::open(segment)?.documents(segment)?);
    }
    Ok(documents)
}

/// The fast columns of a segment.
struct Columns {
    row: Column<u64>,
    first_token: Column<u64>,
    tokens: Column<u64>,
    document: Option<StrColumn>,
    hash: Option<StrColumn>,
}

impl Columns {
    fn open(segment: &SegmentReader) -> tantivy::Result<Self> {
        let fast = segment.fast_fields();
        Ok(Self {
            row: fast.u64("row")?,
            first_token: fast.u64("first_token")?,
            tokens: fast.u64("tokens")?,
            document: fast.str("document")?,
            hash: fast.str("hash")?,
        })
    }

    fn chunk(&self, address: DocAddress) -> Chunk {
        let value = |column: &Column<u64>| column.first(address.doc_id);
        Chunk {
            // A chunk without a row is damage; this row is past every file's end and says so.
            row: value(&self.row).unwrap_or(u64::MAX),
            address,
            first_token: value(&self.first_token).unwrap_or(0),
            tokens: value(&self.tokens).unwrap_or(0),
        }
    }

    /// The documents that live chunks of this segment are part of, and their hashes.
    fn documents(&self, segment: &SegmentReader) -> tantivy::Result<BTreeMap<String, String>> {
        let (Some(document), Some(hash)) = (&self.document, &self.hash) else {
            return Ok(BTreeMap::new());
        };
        let pairs: BTreeSet<(u64, u64)> = segment
            .doc_ids_alive()
            .filter_map(|doc| Some((document.ords().first(doc)?, hash.ords().first(doc)?)))
            .collect();
        let mut documents = BTreeMap::new();
        for (document_ord, hash_ord) in pairs {
            let (mut name, mut content) = (String::new(), String::new());
            document.ord_to_str(document_ord, &mut name)?;
            hash.ord_to_str(hash_ord, &mut content)?;
            documents.insert(name, content);
        }
        Ok(documents)
    }
}
