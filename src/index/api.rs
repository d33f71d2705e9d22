//! The interface of every index backend: a reader and a writer.
//!
//! Methods are called per question, chunk or document, never per row of a scan, so dynamic dispatch
//! costs nothing measurable.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use super::{
    ChunkId, DocumentState, FileState, IndexError, Ledger, LexicalQuery, Passage, RootState,
    Settings,
};
use crate::embedding::codes::Coder;

/// Results of the dense and the lexical search for a question.
pub struct Searched {
    /// The nearest chunks by cosine, best first.
    pub nearest: Vec<(ChunkId, f32)>,
    /// The question's terms and their weights.
    pub lexical: LexicalQuery,
    /// The best chunks by BM25, best first.
    pub matching: Vec<(ChunkId, f32)>,
    /// Time taken by the dense search.
    pub dense: Duration,
    /// Time taken by the lexical search; 0 if both ran concurrently.
    pub bm25: Duration,
}

/// A chunk with all data computed for it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChunk {
    /// Its text and place.
    pub passage: Passage,
    /// Embedding, `[dim]`.
    pub vector: Vec<f32>,
    /// Token vectors in the codes of the index, `[tokens, bytes]`; empty if it does not store any.
    pub tokens: Vec<u8>,
}

/// An index opened for reading.
pub trait Index: Send + Sync {
    /// The settings the index was built with.
    fn settings(&self) -> &Settings;

    /// Number of chunks.
    fn chunk_count(&self) -> usize;

    /// Number of rows, including those of removed chunks.
    fn row_count(&self) -> usize {
        self.chunk_count()
    }

    /// Number of documents with at least one chunk.
    fn document_count(&self) -> Result<usize, IndexError>;

    /// When the index last changed, if known.
    fn changed(&self) -> Option<SystemTime> {
        None
    }

    /// Reads the list of documents and files in the index.
    fn ledger(&self) -> Result<Ledger, IndexError>;

    /// Restricts searches to these documents, as if there were no others, except that words keep the
    /// weights that they have in the whole index. Returns how many chunks are left.
    fn select(&mut self, documents: &[&str]) -> Result<usize, IndexError>;

    /// Runs the lexical search for `question` and the dense search for `query`, its embedding
    /// (`[dim]`, unit length), with up to `limit` hits each.
    fn search(&self, question: &str, query: &[f32], limit: usize) -> Result<Searched, IndexError>;

    /// Weights the words of a question by their idf in this index.
    fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError>;

    /// BM25 scores of `chunks`, in the same order.
    fn bm25_of(&self, query: &LexicalQuery, chunks: &[ChunkId]) -> Result<Vec<f32>, IndexError>;

    /// Cosines between `chunks` and `query` (`[dim]`, unit length), in the same order.
    fn cosines(&self, chunks: &[ChunkId], query: &[f32]) -> Result<Vec<f32>, IndexError>;

    /// The text and source of a chunk.
    fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError>;

    /// The passages of a document, in its order; empty if the index does not have it.
    fn document(&self, id: &str) -> Result<Vec<Passage>, IndexError> {
        let mut passages = Vec::new();
        self.each_chunk(&mut |chunk| {
            if chunk.passage.document == id {
                passages.push(chunk.passage);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        passages.sort_by_key(|passage| passage.span);
        Ok(passages)
    }

    /// What decodes its token vectors; `None` if it does not store any.
    fn coder(&self) -> Option<&Coder>;

    /// The coded token vectors of each chunk, `[tokens, bytes]`, in the order of `chunks`; empty if the
    /// index does not store any.
    fn tokens(&self, chunks: &[ChunkId]) -> Result<Vec<Cow<'_, [u8]>>, IndexError>;

    /// The mean of all token vectors, `[dim]`, estimated from a sample.
    fn mean_token_vector(&self) -> Result<Vec<f32>, IndexError>;

    /// Passes every chunk to `take` until it breaks.
    fn each_chunk(
        &self,
        take: &mut dyn FnMut(StoredChunk) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError>;
}

/// Whether a writer updates the existing index or builds a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Update the index, or create it; each commit is visible immediately.
    Update,
    /// Build a new index alongside the current one, which [`IndexWriter::publish`] replaces. An
    /// interrupted rebuild with the same settings is resumed.
    Rebuild,
}

/// An index opened for writing.
pub trait IndexWriter {
    /// The settings the index is built with.
    fn settings(&self) -> &Settings;

    /// The documents and files in the index, including uncommitted changes.
    fn ledger(&self) -> &Ledger;

    /// Number of chunks, including uncommitted changes.
    fn chunk_count(&self) -> u64;

    /// Number of rows, including those of removed chunks.
    fn row_count(&self) -> u64;

    /// Looks up which of the passages have been embedded before, in one batch, for [`Self::knows`]
    /// and [`Self::add_known`]. Matters only where single lookups are slow.
    fn look_up(&mut self, _passages: &[&Passage]) -> Result<(), IndexError> {
        Ok(())
    }

    /// Whether the index already has an embedding of the same text.
    fn knows(&mut self, passage: &Passage) -> Result<bool, IndexError>;

    /// Adds a chunk with its embedding, `[dim]`, and token vectors in the codes of the settings,
    /// `[tokens, bytes]` (empty unless the index stores them). The document's previous chunks must be removed first.
    fn add(&mut self, passage: &Passage, vector: &[f32], tokens: &[u8]) -> Result<(), IndexError>;

    /// Adds a chunk, reusing the stored embedding of the same text; false if there is none.
    fn add_known(&mut self, passage: &Passage) -> Result<bool, IndexError>;

    /// Records that all chunks of document `id` have been added.
    fn finish_document(&mut self, id: &str, state: DocumentState);

    /// Discards the chunks of a document that was started but will not be finished.
    fn abandon_document(&mut self, id: &str);

    /// Records that all documents of the file at `path` have been added.
    fn finish_file(&mut self, path: &str, state: FileState);

    /// Removes document `id` and its chunks, as of the next commit.
    fn remove_document(&mut self, id: &str);

    /// Forgets the file at `path`. Its documents must be removed first.
    fn forget_file(&mut self, path: &str);

    /// Removes all documents of the file at `path` and forgets the file, as of the next commit.
    fn remove_file(&mut self, path: &str) {
        let documents: Vec<String> =
            self.ledger().documents_of(path).map(|(id, _)| id.clone()).collect();
        for id in &documents {
            self.remove_document(id);
        }
        self.forget_file(path);
    }

    /// Records a file or folder that was named to be indexed.
    fn record_root(&mut self, path: &str, state: RootState);

    /// Forgets a root.
    fn forget_root(&mut self, path: &str);

    /// Commits all changes since the last commit.
    fn commit(&mut self) -> Result<(), IndexError>;

    /// Commits; after a rebuild, the new index replaces the current one.
    fn publish(&mut self) -> Result<(), IndexError>;

    /// Waits for background work, so that it is not cut off.
    fn finish(self: Box<Self>) -> Result<(), IndexError>;

    /// Commits, then rewrites the index without the rows of removed chunks.
    fn compact(self: Box<Self>) -> Result<(), IndexError>;
}

/// Orders by descending score; ties by item, so that results are deterministic.
pub(crate) fn best_first<T: Ord>(a: &(T, f32), b: &(T, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}
