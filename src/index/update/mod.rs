//! Makes an index match what lies under some paths: documents → chunks → embeddings → index.
//!
//! Files are read and cut on all cores ([`prepare`]) while this thread embeds what has been read
//! and hands it to the index. What waits between the two is bounded, so that memory does not grow
//! with the corpus.

mod copy;
mod in_order;
mod prepare;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::chunks::ChunkSettings;
use crate::documents::{ReadError, Walk};
use crate::embedding::{Embedder, Tokens};
use crate::index::{DocumentState, FileState, IndexWriter, Ledger, Passage, Start, file_of};
pub use copy::{Copied, copy};
use in_order::in_order;
use prepare::{Job, Outcome};

/// Chunks that are embedded together: enough to sort them into batches of similar length.
const BATCH: usize = 64;
/// Chunks after which the work so far is committed, so that an interruption keeps it.
const COMMIT: usize = 2048;
/// Rows without a chunk that are worth a compaction, if they are as many as those with one.
const COMPACTED: u64 = 4096;

/// What an indexing run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Documents that are new or changed.
    pub indexed: usize,
    /// Chunks that they have.
    pub chunks: usize,
    /// Chunks among them whose text the index had embedded before.
    pub reused: usize,
    /// Documents that were in the index already, and have not changed.
    pub unchanged: usize,
    /// Documents that are gone.
    pub removed: usize,
    /// What could not be read, and why. Documents among it that were indexed before stay.
    pub problems: Vec<String>,
    /// Files without an extension that are no text, and were passed over.
    pub binary: usize,
    /// Whether it was stopped before its end; what was done until then stays.
    pub interrupted: bool,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Files done, and all that have to be looked at.
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

/// What one run works with.
pub struct Indexer<'a> {
    writer: Box<dyn IndexWriter>,
    embedder: &'a Embedder,
    start: Start,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(Progress),
    progress: Progress,
    /// In the order of the files, since the last flush.
    pending: Vec<Pending>,
    pending_chunks: usize,
    uncommitted: usize,
    /// Documents of the file that is being read.
    seen: BTreeSet<String>,
    summary: Summary,
}

/// What waits for the embedder.
enum Pending {
    Document {
        id: String,
        hash: String,
        passages: Vec<Passage>,
    },
    /// All documents of a file, those in `seen`, come before.
    File {
        id: String,
        state: FileState,
        seen: BTreeSet<String>,
    },
}

impl<'a> Indexer<'a> {
    /// Works on `writer`, which was opened for `start`, until `stop` is set. `watch` is told of
    /// the progress.
    pub fn new(
        writer: Box<dyn IndexWriter>,
        embedder: &'a Embedder,
        start: Start,
        stop: &'a AtomicBool,
        watch: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            writer,
            embedder,
            start,
            stop,
            watch,
            progress: Progress::default(),
            pending: Vec::new(),
            pending_chunks: 0,
            uncommitted: 0,
            seen: BTreeSet::new(),
            summary: Summary::default(),
        }
    }

    /// Indexes what is new or changed in `walk`, the files under `paths`, and removes what is gone;
    /// documents from other places stay.
    pub fn update(mut self, paths: &[PathBuf], walk: &Walk) -> Result<Summary> {
        let problems = walk.problems.iter().map(ToString::to_string);
        self.summary.problems.extend(problems);
        self.summary.binary = walk.binary;
        match self.take_files(walk).and_then(|()| self.flush()) {
            Err(error) if error.is::<Interrupted>() => {
                self.summary.interrupted = true;
                self.writer.commit()?;
                self.writer.finish()?;
                return Ok(self.summary);
            }
            outcome => outcome?,
        }
        // A folder that could not be listed says nothing about its documents.
        let complete = walk.problems.is_empty();
        if self.start == Start::Rebuild {
            // A new index that lacks what the old one had would replace it.
            ensure!(
                complete && self.writer.chunk_count() > 0,
                "the new index would be empty or lack folders that could not be read, so the old \
                 one stays; the reasons: {}",
                if complete {
                    "no text was found".to_owned()
                } else {
                    self.summary.problems.join("; ")
                }
            );
        }
        if complete {
            self.remove_missing(paths, walk)?;
        }
        self.writer.publish()?;
        let live = self.writer.chunk_count();
        let dead = self.writer.row_count().saturating_sub(live);
        if dead >= COMPACTED && dead > live {
            self.writer.compact()?;
        } else {
            self.writer.finish()?;
        }
        Ok(self.summary)
    }

    /// Reads the files that have to be looked at, and takes what is in them.
    fn take_files(&mut self, walk: &Walk) -> Result<()> {
        let (jobs, unchanged, problems) = jobs(walk, self.writer.ledger());
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
            |job, outcomes| job.look(&settings, &count, outcomes),
            |job, outcome| self.take(job, outcome),
        )
    }

    fn take(&mut self, job: &Job, outcome: Outcome) -> Result<()> {
        self.check_stop()?;
        match outcome {
            Outcome::Unchanged { id } => {
                self.summary.unchanged += 1;
                self.seen.insert(id);
            }
            Outcome::Changed { id, hash, passages } => {
                self.seen.insert(id.clone());
                let before = self.writer.ledger().documents().get(&id);
                // Where there is no text and was none, nothing is new.
                let news = !passages.is_empty() || before.is_some_and(|before| before.chunks > 0);
                self.summary.unchanged += usize::from(!news);
                self.summary.indexed += usize::from(news);
                self.summary.chunks += passages.len();
                self.pending_chunks += passages.len();
                self.pending.push(Pending::Document { id, hash, passages });
            }
            Outcome::Problem(error) => self.summary.problems.push(error.to_string()),
            Outcome::SameBytes(state) => {
                self.summary.unchanged += self.writer.ledger().documents_of(&job.id).count();
                self.writer.finish_file(&job.id, state);
                self.file_done(job);
            }
            Outcome::End(state) => {
                let seen = std::mem::take(&mut self.seen);
                if let Some(state) = state {
                    self.pending.push(Pending::File { id: job.id.clone(), state, seen });
                }
                self.file_done(job);
            }
        }
        if self.pending_chunks >= BATCH { self.flush() } else { Ok(()) }
    }

    fn file_done(&mut self, job: &Job) {
        self.progress.files.0 += 1;
        self.progress.bytes.0 += job.size;
        (self.watch)(self.progress);
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::SeqCst) { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// Embeds the waiting documents and hands them to the index.
    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.pending);
        self.pending_chunks = 0;
        let mut passages: Vec<&Passage> = Vec::new();
        for pending in &waiting {
            if let Pending::Document { id, passages: of_document, .. } = pending {
                self.writer.remove_document(id);
                passages.extend(of_document);
            }
        }
        // In parts: one document may have thousands of chunks, and token vectors are large.
        for part in passages.chunks(BATCH) {
            let outcome = self.check_stop().and_then(|()| self.add(part));
            if outcome.as_ref().is_err_and(|error| error.is::<Interrupted>()) {
                // Parts of documents are no documents. What was embedded of them is kept.
                for pending in &waiting {
                    if let Pending::Document { id, .. } = pending {
                        self.writer.abandon_document(id);
                    }
                }
            }
            outcome?;
        }
        self.uncommitted += passages.len();
        for pending in waiting {
            match pending {
                Pending::Document { id, hash, passages } => {
                    let chunks = passages.len() as u64;
                    self.writer.finish_document(&id, DocumentState { hash, chunks });
                }
                Pending::File { id, state, seen } => {
                    let gone = self.writer.ledger().documents_of(&id);
                    let gone: Vec<String> =
                        gone.map(|(id, _)| id).filter(|id| !seen.contains(*id)).cloned().collect();
                    gone.iter().for_each(|id| self.writer.remove_document(id));
                    self.summary.removed += gone.len();
                    self.writer.finish_file(&id, state);
                }
            }
        }
        if self.uncommitted >= COMMIT {
            self.writer.commit()?;
            self.uncommitted = 0;
        }
        Ok(())
    }

    /// Adds passages to the index, and embeds those whose text it does not know.
    fn add(&mut self, passages: &[&Passage]) -> Result<()> {
        self.writer.look_up(passages)?;
        // Each text once, in order: the second time the index knows it.
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

    /// Removes the documents under `paths`, or, in a rebuild, anywhere, whose file is not in
    /// `walk`.
    fn remove_missing(&mut self, paths: &[PathBuf], walk: &Walk) -> Result<()> {
        let roots: Vec<PathBuf> = paths
            .iter()
            .map(|path| {
                path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
            })
            .collect::<Result<_>>()?;
        let everywhere = self.start == Start::Rebuild;
        let gone: Vec<String> = files(self.writer.ledger())
            .into_iter()
            .filter(|file| {
                let path = Path::new(file);
                (everywhere || roots.iter().any(|root| path.starts_with(root)))
                    && walk.files.binary_search_by(|found| found.as_path().cmp(path)).is_err()
            })
            .map(str::to_owned)
            .collect();
        for file in &gone {
            self.summary.removed += self.writer.ledger().documents_of(file).count();
            self.writer.remove_file(file);
        }
        Ok(())
    }
}

/// Removes what the index has of the files and folders `paths`, be they there or not; gives the
/// number of documents.
pub fn remove(writer: &mut dyn IndexWriter, paths: &[PathBuf]) -> Result<usize> {
    let mut removed = 0;
    for path in paths {
        let root = path.canonicalize().or_else(|_| std::path::absolute(path));
        let root = root.with_context(|| format!("cannot tell where {} is", path.display()))?;
        let under: Vec<String> = files(writer.ledger())
            .into_iter()
            .filter(|file| Path::new(file).starts_with(&root))
            .map(str::to_owned)
            .collect();
        for file in &under {
            removed += writer.ledger().documents_of(file).count();
            writer.remove_file(file);
        }
        // A single line of a JSONL file, by the name that `index list` gives.
        if let Some(id) = root.to_str().filter(|id| writer.ledger().documents().contains_key(*id)) {
            let id = id.to_owned();
            writer.remove_document(&id);
            removed += 1;
        }
    }
    writer.publish()?;
    Ok(removed)
}

/// Cuts the documents in `walk` as [`Indexer::update`] would, and gives each to `show`, in order,
/// with its passages. Problems are returned.
pub fn preview(
    walk: &Walk,
    settings: &ChunkSettings,
    embedder: &Embedder,
    show: &mut dyn FnMut(&str, &[Passage]) -> Result<()>,
) -> Result<Vec<String>> {
    let (jobs, _, mut problems) = jobs(walk, &Ledger::default());
    let count = |text: &str| embedder.count_tokens(text);
    in_order(
        &jobs,
        threads(),
        |job, outcomes| job.look(settings, &count, outcomes),
        |_, outcome| match outcome {
            Outcome::Changed { id, passages, .. } => show(&id, &passages),
            Outcome::Problem(error) => {
                problems.push(error.to_string());
                Ok(())
            }
            Outcome::Unchanged { .. } | Outcome::SameBytes(_) | Outcome::End(_) => Ok(()),
        },
    )?;
    let mut all: Vec<String> = walk.problems.iter().map(ToString::to_string).collect();
    all.append(&mut problems);
    Ok(all)
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The files that have to be looked at; the number of documents in the others; and what has no
/// name that the index could use.
fn jobs(walk: &Walk, ledger: &Ledger) -> (Vec<Job>, usize, Vec<String>) {
    let (mut jobs, mut unchanged, mut problems) = (Vec::new(), 0, Vec::new());
    for path in &walk.files {
        let Some(id) = path.to_str() else {
            problems.push(ReadError::PathNotUnicode { path: path.clone() }.to_string());
            continue;
        };
        match Job::new(path.clone(), id.to_owned(), ledger) {
            Some(job) => jobs.push(job),
            None => unchanged += ledger.documents_of(id).count(),
        }
    }
    (jobs, unchanged, problems)
}

/// Every file that the ledger has something of.
fn files(ledger: &Ledger) -> BTreeSet<&str> {
    let documents = ledger.documents().keys().map(|document| file_of(document));
    ledger.files().keys().map(String::as_str).chain(documents).collect()
}
