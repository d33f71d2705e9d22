//! One indexing run over given paths: embeds what is new, removes what is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::files::{FileEvent, FileJob, FilePlan, known_files, threads};
use super::in_order::in_order;
use crate::documents::Walk;
use crate::embedding::{Embedder, Tokens};
use crate::index::{DocumentState, FileState, IndexWriter, Ledger, Passage, Start};

/// Chunks per embedding batch: enough to sort by length.
const BATCH: usize = 64;
/// Chunks between commits, so that an interruption loses little work.
const COMMIT_INTERVAL: usize = 2048;
/// Minimum number of dead rows (rows of removed chunks) for a compaction; they must also outnumber
/// live ones.
const MIN_COMPACTED: u64 = 4096;

/// The outcome of an indexing run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IndexingSummary {
    /// Documents that are new or changed.
    pub indexed: usize,
    /// Chunks of the new and changed documents.
    pub chunks: usize,
    /// Chunks among them that reused a stored embedding.
    pub reused: usize,
    /// Documents that were already indexed and have not changed.
    pub unchanged: usize,
    /// Documents removed because they no longer exist.
    pub removed: usize,
    /// What could not be read, and why. Previously indexed documents of such files are kept.
    pub problems: Vec<String>,
    /// Files without an extension that were skipped as binary.
    pub binary: usize,
    /// Whether the run was interrupted; work done so far is kept.
    pub interrupted: bool,
}

/// Progress of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexingProgress {
    /// Files processed, and files to process.
    pub files: (usize, usize),
    /// Bytes processed, and bytes to process.
    pub bytes: (u64, u64),
    /// Chunks embedded so far.
    pub chunks: usize,
}

/// Marker error for an interrupted run.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// One indexing run.
pub struct Indexer<'a> {
    writer: Box<dyn IndexWriter>,
    embedder: &'a Embedder,
    start: Start,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(IndexingProgress),
    progress: IndexingProgress,
    /// In file order.
    pending: Vec<Pending>,
    pending_chunks: usize,
    uncommitted: usize,
    /// Documents seen so far in the current file.
    seen: BTreeSet<String>,
    summary: IndexingSummary,
}

/// An item waiting for the embedder.
enum Pending {
    Document {
        id: String,
        hash: String,
        passages: Vec<Passage>,
    },
    /// The end of a file, after all its documents, which are listed in `seen`.
    File {
        id: String,
        state: FileState,
        seen: BTreeSet<String>,
    },
}

impl<'a> Indexer<'a> {
    /// A run that writes to `writer`, which was opened with `start`, until `stop` is set. `watch`
    /// receives the progress.
    pub fn new(
        writer: Box<dyn IndexWriter>,
        embedder: &'a Embedder,
        start: Start,
        stop: &'a AtomicBool,
        watch: &'a mut dyn FnMut(IndexingProgress),
    ) -> Self {
        Self {
            writer,
            embedder,
            start,
            stop,
            watch,
            progress: IndexingProgress::default(),
            pending: Vec::new(),
            pending_chunks: 0,
            uncommitted: 0,
            seen: BTreeSet::new(),
            summary: IndexingSummary::default(),
        }
    }

    /// Indexes new and changed documents in `walk`, the files under `paths`, and removes those that
    /// are gone. Documents outside `paths` are kept.
    pub fn update(mut self, paths: &[PathBuf], walk: &Walk) -> Result<IndexingSummary> {
        self.summary.problems.extend(walk.problems.iter().map(ToString::to_string));
        self.summary.binary = walk.binary;
        match self.index_files(walk) {
            Err(error) if error.is::<Interrupted>() => {
                self.summary.interrupted = true;
                self.writer.commit()?;
                self.writer.finish()?;
                return Ok(self.summary);
            }
            outcome => outcome?,
        }
        if self.start == Start::Rebuild {
            self.check_replacement(walk)?;
        }
        // If a folder could not be listed, its documents may still exist.
        if walk.problems.is_empty() {
            self.remove_missing(paths, walk)?;
        }
        self.writer.publish()?;
        let live = self.writer.chunk_count();
        let dead = self.writer.row_count().saturating_sub(live);
        if dead >= MIN_COMPACTED && dead > live {
            self.writer.compact()?;
        } else {
            self.writer.finish()?;
        }
        Ok(self.summary)
    }

    /// Reads the files that may have changed and adds their new content.
    fn index_files(&mut self, walk: &Walk) -> Result<()> {
        let FilePlan { jobs, unchanged, problems } = FilePlan::new(walk, self.writer.ledger());
        self.summary.unchanged += unchanged;
        self.summary.problems.extend(problems);
        self.progress.files.1 = jobs.len();
        self.progress.bytes.1 = jobs.iter().map(|job| job.size).sum();
        let settings = self.writer.settings().chunking.clone();
        let embedder = self.embedder;
        let count = |text: &str| embedder.count_tokens(text);
        in_order(
            &jobs,
            threads(),
            |job, events| job.read(&settings, &count, events),
            |job, event| self.take(job, event),
        )?;
        self.embed_pending()
    }

    fn take(&mut self, job: &FileJob, event: FileEvent) -> Result<()> {
        self.check_stop()?;
        match event {
            FileEvent::Unchanged { id } => {
                self.summary.unchanged += 1;
                self.seen.insert(id);
            }
            FileEvent::Changed { id, hash, passages } => {
                self.seen.insert(id.clone());
                let before = self.writer.ledger().documents().get(&id);
                // A document that had no text and still has none is unchanged.
                let is_new = !passages.is_empty() || before.is_some_and(|before| before.chunks > 0);
                self.summary.unchanged += usize::from(!is_new);
                self.summary.indexed += usize::from(is_new);
                self.summary.chunks += passages.len();
                self.pending_chunks += passages.len();
                self.pending.push(Pending::Document { id, hash, passages });
            }
            FileEvent::Problem(error) => self.summary.problems.push(error.to_string()),
            FileEvent::SameBytes(state) => {
                self.summary.unchanged += self.writer.ledger().documents_of(&job.id).count();
                self.writer.finish_file(&job.id, state);
                self.file_done(job);
            }
            FileEvent::End(state) => {
                let seen = std::mem::take(&mut self.seen);
                if let Some(state) = state {
                    self.pending.push(Pending::File { id: job.id.clone(), state, seen });
                }
                self.file_done(job);
            }
        }
        if self.pending_chunks >= BATCH { self.embed_pending() } else { Ok(()) }
    }

    fn file_done(&mut self, job: &FileJob) {
        self.progress.files.0 += 1;
        self.progress.bytes.0 += job.size;
        (self.watch)(self.progress);
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::SeqCst) { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// Embeds the pending documents and adds them to the index.
    fn embed_pending(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_chunks = 0;
        let mut passages: Vec<&Passage> = Vec::new();
        for pending in &pending {
            if let Pending::Document { id, passages: of_document, .. } = pending {
                self.writer.remove_document(id);
                passages.extend(of_document);
            }
        }
        // In parts: a document may have thousands of chunks, and token vectors are large.
        for part in passages.chunks(BATCH) {
            let outcome = self.check_stop().and_then(|()| self.add(part));
            if outcome.as_ref().is_err_and(anyhow::Error::is::<Interrupted>) {
                self.abandon(&pending);
            }
            outcome?;
        }
        self.uncommitted += passages.len();
        for pending in pending {
            self.finish(pending);
        }
        if self.uncommitted >= COMMIT_INTERVAL {
            self.writer.commit()?;
            self.uncommitted = 0;
        }
        Ok(())
    }

    /// Discards documents that were only partly added. Their embeddings are kept.
    fn abandon(&mut self, pending: &[Pending]) {
        for pending in pending {
            if let Pending::Document { id, .. } = pending {
                self.writer.abandon_document(id);
            }
        }
    }

    /// Records a document or a file whose chunks have all been added.
    fn finish(&mut self, pending: Pending) {
        match pending {
            Pending::Document { id, hash, passages } => {
                let chunks = passages.len() as u64;
                self.writer.finish_document(&id, DocumentState { hash, chunks });
            }
            Pending::File { id, state, seen } => {
                let known = self.writer.ledger().documents_of(&id).map(|(id, _)| id);
                let gone: Vec<String> = known.filter(|id| !seen.contains(*id)).cloned().collect();
                for id in &gone {
                    self.writer.remove_document(id);
                }
                self.summary.removed += gone.len();
                self.writer.finish_file(&id, state);
            }
        }
    }

    /// Adds passages to the index, embedding those whose text is new to it.
    fn add(&mut self, passages: &[&Passage]) -> Result<()> {
        self.writer.look_up(passages)?;
        // Each text once: by its second occurrence, the index knows it.
        let mut new: Vec<String> = Vec::new();
        for passage in passages {
            let text = passage.text_to_embed();
            if !self.writer.knows(passage)? && !new.contains(&text) {
                new.push(text);
            }
        }
        let tokens = match self.writer.settings().token_vectors {
            true => Tokens::Kept,
            false => Tokens::Dropped,
        };
        let embeddings = self.embedder.embed_passages(&new, tokens);
        let mut embeddings = embeddings
            .with_context(|| format!("cannot embed {}", passages[0].document))?
            .into_iter();
        for passage in passages {
            if self.writer.add_known(passage)? {
                self.summary.reused += 1;
                continue;
            }
            let embedding = embeddings.next().context("an embedding for each text")?;
            let tokens: Vec<Vec<f32>> =
                embedding.tokens.into_iter().map(|token| token.vector).collect();
            self.writer.add(passage, &embedding.vector, &tokens)?;
        }
        self.progress.chunks += passages.len();
        (self.watch)(self.progress);
        Ok(())
    }

    /// Checks that the result of a rebuild may replace the old index.
    fn check_replacement(&self, walk: &Walk) -> Result<()> {
        let is_complete = walk.problems.is_empty();
        ensure!(
            is_complete && self.writer.chunk_count() > 0,
            "the new index would be empty or lack folders that could not be read, so the old \
             one stays; the reasons: {}",
            if is_complete {
                "no text was found".to_owned()
            } else {
                self.summary.problems.join("; ")
            }
        );
        Ok(())
    }

    /// Removes documents whose files are gone: under `paths`, or anywhere in a rebuild.
    fn remove_missing(&mut self, paths: &[PathBuf], walk: &Walk) -> Result<()> {
        let roots: Vec<PathBuf> = paths
            .iter()
            .map(|path| {
                path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
            })
            .collect::<Result<_>>()?;
        let everywhere = self.start == Start::Rebuild;
        let in_scope = |file: &Path| everywhere || roots.iter().any(|root| file.starts_with(root));
        for file in missing_files(self.writer.ledger(), walk, in_scope) {
            self.summary.removed += self.writer.ledger().documents_of(&file).count();
            self.writer.remove_file(&file);
        }
        Ok(())
    }
}

/// Files in the ledger that are `in_scope` and that `walk` did not find.
fn missing_files(ledger: &Ledger, walk: &Walk, in_scope: impl Fn(&Path) -> bool) -> Vec<String> {
    let was_found =
        |file: &Path| walk.files.binary_search_by(|found| found.as_path().cmp(file)).is_ok();
    known_files(ledger)
        .into_iter()
        .filter(|file| in_scope(Path::new(file)) && !was_found(Path::new(file)))
        .map(str::to_owned)
        .collect()
}
