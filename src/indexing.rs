//! Makes an index match what lies under some paths: documents → chunks → embeddings → index.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::embed::{Embedder, Tokens};
use crate::index::{IndexWriter, NewChunk, Passage};
use crate::ingest::{self, Document, Walk, chunk};
use crate::retrieve::embedding_text;

/// Chunks that are embedded together: enough to sort them into batches of similar length.
const BATCH: usize = 64;
/// Chunks after which the work so far is committed, so that an interruption keeps it.
const COMMIT: usize = 2048;

/// What an indexing run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Documents that are new or changed.
    pub indexed: usize,
    /// Chunks that they have.
    pub chunks: usize,
    /// Documents that were in the index already, and have not changed.
    pub unchanged: usize,
    /// Documents that are gone.
    pub removed: usize,
    /// What could not be read, and why. Documents among it that were indexed before stay.
    pub problems: Vec<String>,
}

/// What one run works with.
pub struct Indexer<'a> {
    writer: IndexWriter,
    embedder: &'a Embedder,
    /// Commit only at the end: the index in use stays whole until the new one is.
    at_once: bool,
    pending: Vec<Pending>,
    pending_chunks: usize,
    uncommitted: usize,
    summary: Summary,
}

/// A document that waits to be embedded with others.
struct Pending {
    id: String,
    hash: String,
    passages: Vec<Passage>,
}

impl<'a> Indexer<'a> {
    /// Works on `writer`. With `at_once` nothing is committed before the end.
    pub fn new(writer: IndexWriter, embedder: &'a Embedder, at_once: bool) -> Self {
        Self {
            writer,
            embedder,
            at_once,
            pending: Vec::new(),
            pending_chunks: 0,
            uncommitted: 0,
            summary: Summary::default(),
        }
    }

    /// Indexes what is new or changed in `walk`, the files under `paths`, and removes what is gone;
    /// documents from other places stay. `watch` is told the files done and all files, after each.
    pub fn update(
        mut self,
        paths: &[PathBuf],
        walk: &Walk,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Summary> {
        let problems = walk.problems.iter().map(ToString::to_string);
        self.summary.problems.extend(problems);
        // A folder that could not be listed says nothing about its documents.
        let complete = walk.problems.is_empty();
        let mut seen = BTreeSet::new();
        let mut unreadable = BTreeSet::new();
        for (done, file) in walk.files.iter().enumerate() {
            watch(done, walk.files.len());
            for document in ingest::read(file) {
                match document {
                    Ok(document) => {
                        seen.insert(document.id.clone());
                        self.take(&document)?;
                    }
                    Err(error) => {
                        self.summary.problems.push(error.to_string());
                        unreadable.insert(file.to_string_lossy().into_owned());
                    }
                }
            }
        }
        watch(walk.files.len(), walk.files.len());
        self.flush()?;
        // A new index that lacks what the old one had would replace it.
        ensure!(
            !self.at_once || (complete && self.summary.chunks > 0),
            "the new index would be empty or lack folders that could not be read, so the old one \
             stays; the reasons: {}",
            if complete {
                "no text was found".to_owned()
            } else {
                self.summary.problems.join("; ")
            }
        );
        if complete {
            self.remove_missing(paths, &seen, &unreadable)?;
        }
        self.writer.commit()?;
        self.writer.finish()?;
        Ok(self.summary)
    }

    fn take(&mut self, document: &Document) -> Result<()> {
        let hash = hash(document);
        if self.writer.documents().get(&document.id) == Some(&hash) {
            self.summary.unchanged += 1;
            return Ok(());
        }
        let count = |text: &str| self.embedder.count_tokens(text);
        let passages: Vec<Passage> = chunk(document, &self.writer.settings().chunking, &count)
            .into_iter()
            .map(|chunk| Passage {
                document: document.id.clone(),
                text: document.text[chunk.span.clone()].to_owned(),
                headings: chunk.headings,
                place: chunk.place,
                span: (chunk.span.start, chunk.span.end),
                format: document.format,
            })
            .collect();
        if passages.is_empty() && !self.writer.documents().contains_key(&document.id) {
            self.summary.unchanged += 1; // nothing in it, as before
            return Ok(());
        }
        self.summary.indexed += 1;
        self.summary.chunks += passages.len();
        self.pending_chunks += passages.len();
        self.pending.push(Pending { id: document.id.clone(), hash, passages });
        if self.pending_chunks >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Embeds the waiting documents and hands them to the index.
    fn flush(&mut self) -> Result<()> {
        let settings = self.writer.settings();
        let tokens = if settings.token_vectors { Tokens::Kept } else { Tokens::Dropped };
        let waiting = std::mem::take(&mut self.pending);
        for document in &waiting {
            self.writer.remove(&document.id);
        }
        let chunks: Vec<(&Pending, &Passage)> = waiting
            .iter()
            .flat_map(|document| document.passages.iter().map(move |passage| (document, passage)))
            .collect();
        // In parts: one document may have thousands of chunks, and token vectors are large.
        for part in chunks.chunks(BATCH) {
            let texts: Vec<String> = part
                .iter()
                .map(|(_, passage)| embedding_text(&passage.headings, &passage.text))
                .collect();
            let embeddings = self.embedder.embed_passages(&texts, tokens);
            let embeddings =
                embeddings.with_context(|| format!("cannot embed {}", part[0].0.id))?;
            for ((document, passage), embedding) in part.iter().zip(embeddings) {
                let chunk = NewChunk {
                    passage: (*passage).clone(),
                    vector: embedding.vector,
                    tokens: embedding.tokens.into_iter().map(|token| token.vector).collect(),
                };
                self.writer.add(&document.id, &document.hash, &chunk)?;
            }
        }
        self.uncommitted += chunks.len();
        self.pending_chunks = 0;
        if self.uncommitted >= COMMIT && !self.at_once {
            self.writer.commit()?;
            self.uncommitted = 0;
        }
        Ok(())
    }

    /// Removes the documents under `paths` that were not seen, unless their file could not be read.
    fn remove_missing(
        &mut self,
        paths: &[PathBuf],
        seen: &BTreeSet<String>,
        unreadable: &BTreeSet<String>,
    ) -> Result<()> {
        let roots: Vec<PathBuf> = paths
            .iter()
            .map(|path| {
                path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
            })
            .collect::<Result<_>>()?;
        let gone: Vec<String> = self
            .writer
            .documents()
            .keys()
            .filter(|document| {
                let file = file_of(document);
                roots.iter().any(|root| Path::new(file).starts_with(root))
                    && !seen.contains(*document)
                    && !unreadable.contains(file)
            })
            .cloned()
            .collect();
        for document in &gone {
            self.writer.remove(document);
        }
        self.summary.removed = gone.len();
        Ok(())
    }
}

/// The file that a document is from: `path`, or what is before the `#` of `path.jsonl#id`.
fn file_of(document: &str) -> &str {
    let hashes = document.match_indices('#').map(|(at, _)| &document[..at]);
    let is_json_lines = |path: &&str| path.to_lowercase().ends_with(".jsonl");
    hashes.into_iter().find(is_json_lines).unwrap_or(document)
}

/// What a document says, in 64 hexadecimal digits.
fn hash(document: &Document) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(document.title.as_deref().unwrap_or_default().as_bytes());
    hasher.update(&[0]);
    hasher.update(document.text.as_bytes());
    hasher.finalize().to_hex().to_string()
}
