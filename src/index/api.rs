//! What every kind of index can do: a reader and a writer.
//!
//! Both are called per question, per chunk or per document, never per row of a search, so a
//! virtual call costs nothing that could be measured.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use super::{
    ChunkId, DocumentState, FileState, IndexError, Ledger, LexicalQuery, Passage, Settings,
};

/// What the two searches for a question have found.
pub struct Searched {
    /// The chunks nearest to the question by cosine, best first.
    pub nearest: Vec<(ChunkId, f32)>,
    /// The question's words and their weights.
    pub lexical: LexicalQuery,
    /// The best chunks by BM25, best first.
    pub matching: Vec<(ChunkId, f32)>,
    /// How long the dense search took.
    pub dense: Duration,
    /// How long the lexical search took; 0 where both ran at once.
    pub bm25: Duration,
}

/// A chunk with everything that was computed for it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChunk {
    /// Its text and place.
    pub passage: Passage,
    /// Its embedding, `[dim]`.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, `[tokens, dim]`; empty if the index keeps none.
    pub tokens: Vec<Vec<f32>>,
}

/// An open index.
pub trait Index: Send + Sync {
    /// What the index was built with.
    fn settings(&self) -> &Settings;

    /// Number of chunks.
    fn chunk_count(&self) -> usize;

    /// Number of rows, including those whose chunks were removed.
    fn row_count(&self) -> usize {
        self.chunk_count()
    }

    /// Number of documents that have at least one chunk.
    fn document_count(&self) -> Result<usize, IndexError>;

    /// When the index was last changed, if that is known.
    fn changed(&self) -> Option<SystemTime> {
        None
    }

    /// Reads which documents and files the index holds.
    fn ledger(&self) -> Result<Ledger, IndexError>;

    /// Searches with the words of `question` and with `query`, its embedding (`[dim]`, unit
    /// length); `limit` hits of each.
    fn search(&self, question: &str, query: &[f32], limit: usize) -> Result<Searched, IndexError>;

    /// Weighs the words of a question by how rare they are in this index.
    fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError>;

    /// BM25 scores of the given chunks, in their order.
    fn bm25_of(&self, query: &LexicalQuery, chunks: &[ChunkId]) -> Result<Vec<f32>, IndexError>;

    /// Cosines of the given chunks with `query`, `[dim]`, unit length, in their order.
    fn cosines(&self, chunks: &[ChunkId], query: &[f32]) -> Result<Vec<f32>, IndexError>;

    /// The text and place of a chunk.
    fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError>;

    /// Passes the vectors of each chunk's tokens, `[tokens, dim]`, to `take`, in the order of
    /// `chunks`; empty if the index keeps none. One chunk at a time, since they are large.
    fn token_vectors(
        &self,
        chunks: &[ChunkId],
        take: &mut dyn FnMut(Vec<Vec<f32>>),
    ) -> Result<(), IndexError>;

    /// The mean of all token vectors, `[dim]`, estimated from a sample.
    fn mean_token_vector(&self) -> Result<Vec<f32>, IndexError>;

    /// Passes every chunk to `take`, until it breaks off.
    fn each_chunk(
        &self,
        take: &mut dyn FnMut(StoredChunk) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError>;
}

/// Whether a writer continues what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Change the index, or make one: what is committed is visible at once.
    Update,
    /// Build a new one beside it, which [`IndexWriter::publish`] puts in its place. A rebuild with
    /// the same settings that was interrupted is continued.
    Rebuild,
}

/// Changes an index.
pub trait IndexWriter {
    /// What the index is built with.
    fn settings(&self) -> &Settings;

    /// Which documents and files the index holds, with all changes so far.
    fn ledger(&self) -> &Ledger;

    /// Number of chunks, with all changes so far.
    fn chunk_count(&self) -> u64;

    /// Number of rows, including those whose chunks were removed.
    fn row_count(&self) -> u64;

    /// Looks up which of the passages' texts were embedded here before, all at once, to prepare
    /// [`Self::knows`] and [`Self::add_known`] where single look-ups are slow.
    fn look_up(&mut self, _passages: &[&Passage]) -> Result<(), IndexError> {
        Ok(())
    }

    /// Whether a text equal to the passage's was embedded here before.
    fn knows(&mut self, passage: &Passage) -> Result<bool, IndexError>;

    /// Adds a chunk with its embedding, `[dim]`, and the vectors of its tokens, `[tokens, dim]`
    /// (empty unless the index keeps them). The document's previous chunks have to be removed first.
    fn add(
        &mut self,
        passage: &Passage,
        vector: &[f32],
        tokens: &[Vec<f32>],
    ) -> Result<(), IndexError>;

    /// Adds a chunk with the embedding that an equal text has here; false if there is none.
    fn add_known(&mut self, passage: &Passage) -> Result<bool, IndexError>;

    /// Records that all chunks of the document `id` have been added.
    fn finish_document(&mut self, id: &str, state: DocumentState);

    /// Takes back the chunks of a document that was started and will not be finished.
    fn abandon_document(&mut self, id: &str);

    /// Records that all documents of the file at `path` are in the index.
    fn finish_file(&mut self, path: &str, state: FileState);

    /// Removes the document `id` and its chunks. Takes effect with the next commit.
    fn remove_document(&mut self, id: &str);

    /// Forgets that the file at `path` was read. Its documents have to be removed first.
    fn forget_file(&mut self, path: &str);

    /// Removes all documents of the file at `path` and forgets that it was read. Takes effect with
    /// the next commit.
    fn remove_file(&mut self, path: &str) {
        let documents: Vec<String> =
            self.ledger().documents_of(path).map(|(id, _)| id.clone()).collect();
        for id in &documents {
            self.remove_document(id);
        }
        self.forget_file(path);
    }

    /// Makes everything since the last commit part of the index.
    fn commit(&mut self) -> Result<(), IndexError>;

    /// Commits. What a rebuild has built replaces the index in use.
    fn publish(&mut self) -> Result<(), IndexError>;

    /// Waits for background work, so that it is not cut off.
    fn finish(self: Box<Self>) -> Result<(), IndexError>;

    /// Rewrites the index without the rows whose chunks were removed. Commits first.
    fn compact(self: Box<Self>) -> Result<(), IndexError>;
}

/// Best score first; equal scores in the order of what they belong to, so that results never
/// depend on chance.
pub(crate) fn best_first<T: Ord>(a: &(T, f32), b: &(T, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}
