//! One run over the files of some paths: what is new is embedded, what is gone is removed.

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

/// Chunks to embed together: enough to sort them into batches of similar length.
const BATCH: usize = 64;
/// Chunks after which the work so far is committed, so that an interruption does not lose it.
const COMMIT_INTERVAL: usize = 2048;
/// The number of dead rows, those without a chunk, that makes a compaction worth while; if they also
/// outnumber the others.
const MIN_COMPACTED: u64 = 4096;

/// What an indexing run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IndexingSummary {
    /// Documents that are new or changed.
    pub indexed: usize,
    /// Chunks that they have.
    pub chunks: usize,
    /// Chunks among them whose text the index had embedded before.
    pub reused: usize,
    /// Documents that were in the index already, and have not changed.
    pub unchanged: usize,
    /// Documents that were removed because they are gone.
    pub removed: usize,
    /// What could not be read, and why. Documents of it that were indexed before stay.
    pub problems: Vec<String>,
    /// Files without an extension that were skipped because they are not text.
    pub binary: usize,
    /// Whether the run was stopped before its end; what it had done stays.
    pub interrupted: bool,
}

/// How far a run has got.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexingProgress {
    /// Files done, and files that have to be looked at.
    pub files: (usize, usize),
    /// Their bytes.
    pub bytes: (u64, u64),
    /// Chunks embedded.
    pub chunks: usize,
}

/// The run was stopped.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// One run over some files.
pub struct Indexer<'a> {
    writer: Box<dyn IndexWriter>,
    embedder: &'a Embedder,
    start: Start,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(IndexingProgress),
    progress: IndexingProgress,
    /// In the order of the files.
    pending: Vec<Pending>,
    pending_chunks: usize,
    uncommitted: usize,
    /// Documents of the file that is being read.
    seen: BTreeSet<String>,
    summary: IndexingSummary,
}

/// What waits for the embedder.
enum Pending {
    Document {
        id: String,
        hash: String,
        passages: Vec<Passage>,
    },
    /// The end of a file, after all of its documents; these are `seen`.
    File {
        id: String,
        state: FileState,
        seen: BTreeSet<String>,
    },
}

impl<'a> Indexer<'a> {
    /// A run that writes to `writer`, which was opened for `start`, until `stop` is set. `watch` is
    /// called with the progress.
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

    /// Indexes what is new or changed in `walk`, the files under `paths`, and removes what is gone;
    /// documents from other places stay.
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
        // A folder that could not be listed says nothing about its documents.
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

    /// Reads the files that may have changed, and adds what is new in them.
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
                // A document that has no text now and had none before has not changed.
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

    /// Embeds the waiting documents and hands them to the index.
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
        // In parts: one document may have thousands of chunks, and token vectors are large.
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

    /// Takes back documents of which only a part was added. The embeddings are kept.
    fn abandon(&mut self, pending: &[Pending]) {
        for pending in pending {
            if let Pending::Document { id, .. } = pending {
                self.writer.abandon_document(id);
            }
        }
    }

    /// Records a document or a file all of whose chunks were added.
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

    /// Adds passages to the index, after embedding those whose text it does not know.
    fn add(&mut self, passages: &[&Passage]) -> Result<()> {
        self.writer.look_up(passages)?;
        // Each text once, in order: by the second time the index knows it.
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

    /// Checks that what a rebuild has built may replace the old index.
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

    /// Removes the documents whose file is gone: under `paths`, or in a rebuild anywhere.
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

/// The files that the ledger knows, are `in_scope`, and were not found by `walk`.
fn missing_files(ledger: &Ledger, walk: &Walk, in_scope: impl Fn(&Path) -> bool) -> Vec<String> {
    let was_found =
        |file: &Path| walk.files.binary_search_by(|found| found.as_path().cmp(file)).is_ok();
    known_files(ledger)
        .into_iter()
        .filter(|file| in_scope(Path::new(file)) && !was_found(Path::new(file)))
        .map(str::to_owned)
        .collect()
}
