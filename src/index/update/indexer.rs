//! One indexing run over given paths: embeds what is new, removes what is gone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::account::{Fate, FileAccount, Outcome};
use super::emptied::EmptiedRoot;
use super::files::{FileEvent, FileJob, FilePlan, is_gone, known_files, threads, unread_files};
use super::in_order::in_order;
use crate::documents::{Programs, Walk};
use crate::embedding::codes::Coder;
use crate::embedding::{Embedder, Tokens};
use crate::index::{
    DocumentState, FileState, IndexWriter, Ledger, Passage, RootState, Start, file_of,
};

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
    /// Documents that were already indexed and have not changed, and have text.
    pub unchanged: usize,
    /// Documents removed because they no longer exist.
    pub removed: usize,
    /// What could not be read, and why. Previously indexed documents of such files are kept.
    pub problems: Vec<String>,
    /// What became of every file under the folders.
    pub files: FileAccount,
    /// Documents without text in files that have others with text: records of a list.
    pub without_text: Vec<String>,
    /// Folders that had documents and have none now. What they held was kept.
    pub emptied: Vec<EmptiedRoot>,
    /// Patterns of the filter that matched no file.
    pub unmatched: Vec<String>,
    /// Whether the run was interrupted; work done so far is kept.
    pub interrupted: bool,
}

impl IndexingSummary {
    /// Whether everything that the folders hold can be found now, but for what was left out on
    /// purpose.
    pub fn is_whole(&self) -> bool {
        let is_read = self.problems.is_empty() && self.files.without_text.is_empty();
        is_read && self.without_text.is_empty() && self.emptied.is_empty()
    }
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
    /// Whether to compare the content of files that look unchanged.
    by_content: bool,
    /// What the index holds that a rebuild replaces.
    replaced: Ledger,
    programs: &'a Programs,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(IndexingProgress),
    progress: IndexingProgress,
    /// In file order.
    pending: Vec<Pending>,
    pending_chunks: usize,
    uncommitted: usize,
    /// Documents seen so far in the current file.
    seen: BTreeSet<String>,
    /// What is known of the current file.
    outcome: Outcome,
    summary: IndexingSummary,
}

/// An item waiting for the embedder.
enum Pending {
    Document {
        id: String,
        state: DocumentState,
        passages: Vec<Passage>,
    },
    /// The end of a file, after all its documents, which are listed in `seen`. It has a state if all
    /// of it could be read.
    File {
        id: String,
        size: u64,
        state: Option<FileState>,
        seen: BTreeSet<String>,
        fate: Fate,
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
            by_content: false,
            replaced: Ledger::default(),
            programs: Programs::none(),
            stop,
            watch,
            progress: IndexingProgress::default(),
            pending: Vec::new(),
            pending_chunks: 0,
            uncommitted: 0,
            seen: BTreeSet::new(),
            outcome: Outcome::default(),
            summary: IndexingSummary::default(),
        }
    }

    /// Compares the content of all files, also of those whose size and times are unchanged.
    #[must_use]
    pub fn by_content(mut self, by_content: bool) -> Self {
        self.by_content = by_content;
        self
    }

    /// Names what the index holds that a rebuild replaces, so that it is not replaced by less because
    /// a drive is missing.
    #[must_use]
    pub fn replacing(mut self, replaced: Ledger) -> Self {
        self.replaced = replaced;
        self
    }

    /// Reads with the programs that help.
    #[must_use]
    pub fn reading_with(mut self, programs: &'a Programs) -> Self {
        self.programs = programs;
        self
    }

    /// Indexes new and changed documents in `walk`, and removes those that are gone. Documents
    /// outside its roots are kept, as are those that its filter refuses.
    pub fn update(mut self, walk: &Walk) -> Result<IndexingSummary> {
        self.summary.problems.extend(walk.problems.iter().map(ToString::to_string));
        self.summary.unmatched.clone_from(&walk.unmatched);
        self.record_roots(walk);
        match self.index_files(walk) {
            Err(error) if error.is::<Interrupted>() => {
                self.summary.interrupted = true;
                self.summary.files.interrupt();
                self.writer.commit()?;
                self.writer.finish()?;
                return Ok(self.summary);
            }
            outcome => outcome?,
        }
        if self.start == Start::Rebuild {
            self.check_replacement(walk)?;
        }
        self.remove_missing(walk);
        self.summary.without_text = self.records_without_text(walk);
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

    /// Notes which files and folders the index follows. One that is followed as a whole still is
    /// after a run over part of it.
    fn record_roots(&mut self, walk: &Walk) {
        let (include, exclude) = walk.filter().patterns();
        for root in &walk.roots {
            let Some(path) = root.to_str() else { continue };
            let filtered = RootState { include: include.clone(), exclude: exclude.clone() };
            let state = if root.is_dir() { filtered } else { RootState::default() };
            if self.writer.ledger().roots().get(path) != Some(&RootState::default()) {
                self.writer.record_root(path, state);
            }
        }
    }

    /// Reads the files that may have changed and adds their new content.
    fn index_files(&mut self, walk: &Walk) -> Result<()> {
        let plan = FilePlan::new(walk, self.writer.ledger(), self.by_content);
        let FilePlan { jobs, unchanged, problems, files } = plan;
        self.summary.files = files;
        self.summary.unchanged += unchanged;
        self.summary.problems.extend(problems);
        self.progress.files.1 = jobs.len();
        self.progress.bytes.1 = jobs.iter().map(|job| job.size).sum();
        let settings = self.writer.settings().chunking.clone();
        let (embedder, programs) = (self.embedder, self.programs);
        let count = |text: &str| embedder.count_tokens(text);
        in_order(
            &jobs,
            threads(),
            |job, events| job.read(&settings, &count, programs, events),
            |job, event| self.take(job, event),
        )?;
        self.embed_pending()
    }

    fn take(&mut self, job: &FileJob, event: FileEvent) -> Result<()> {
        self.check_stop()?;
        match event {
            FileEvent::Unchanged { id } => {
                let state = self.writer.ledger().documents().get(&id);
                let has_text = state.is_some_and(|state| state.chunks > 0);
                self.summary.unchanged += usize::from(has_text);
                self.outcome.has_old_text |= has_text;
                self.seen.insert(id);
            }
            FileEvent::Changed { id, state, passages } => {
                self.seen.insert(id.clone());
                let before = self.writer.ledger().documents().get(&id);
                // A document that had no text and still has none is not new.
                let is_new = !passages.is_empty() || before.is_some_and(|before| before.chunks > 0);
                self.summary.indexed += usize::from(is_new);
                self.outcome.has_new_text |= !passages.is_empty();
                self.summary.chunks += passages.len();
                self.pending_chunks += passages.len();
                self.pending.push(Pending::Document { id, state, passages });
            }
            FileEvent::Problem(error) => {
                self.outcome.has_problem = true;
                self.summary.problems.push(error.to_string());
            }
            FileEvent::SameBytes(state) => {
                let ledger = self.writer.ledger();
                self.summary.unchanged += ledger.readable_documents_of(&job.id);
                self.summary.files.add(&job.id, job.size, Fate::of_unchanged(&job.id, ledger));
                self.writer.finish_file(&job.id, state);
                self.file_done(job);
            }
            FileEvent::End(state) => {
                let seen = std::mem::take(&mut self.seen);
                let fate = std::mem::take(&mut self.outcome).fate();
                let (id, size) = (job.id.clone(), job.size);
                self.pending.push(Pending::File { id, size, state, seen, fate });
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
            Pending::Document { id, state, .. } => self.writer.finish_document(&id, state),
            Pending::File { id, size, state, seen, fate } => {
                self.summary.files.add(&id, size, fate);
                let Some(state) = state else { return };
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
        let settings = self.writer.settings();
        let codes = settings.token_vectors.as_ref();
        let coder =
            codes.map(|codes| Coder::new(codes, settings.embedder.dimension)).transpose()?;
        let tokens = if coder.is_some() { Tokens::Kept } else { Tokens::Dropped };
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
            let tokens = coder.as_ref().map(|coder| coder.encode(&embedding.tokens));
            self.writer.add(passage, &embedding.vector, &tokens.unwrap_or_default())?;
        }
        self.progress.chunks += passages.len();
        (self.watch)(self.progress);
        Ok(())
    }

    /// Documents in the files of `walk` that have no text, beside others that have some.
    fn records_without_text(&self, walk: &Walk) -> Vec<String> {
        let ledger = self.writer.ledger();
        let silent = ledger.documents().iter().filter(|(_, state)| state.chunks == 0);
        silent
            .map(|(id, _)| id)
            .filter(|id| {
                let file = file_of(id);
                let is_record = file != id.as_str() && ledger.readable_documents_of(file) > 0;
                is_record && walk.has(Path::new(file))
            })
            .cloned()
            .collect()
    }

    /// Checks that the result of a rebuild may replace the old index.
    fn check_replacement(&self, walk: &Walk) -> Result<()> {
        ensure!(
            walk.is_complete && self.writer.chunk_count() > 0,
            "the new index would be empty or lack folders that could not be read, so the old \
             one stays; the reasons: {}",
            if walk.is_complete {
                "no text was found".to_owned()
            } else {
                self.summary.problems.join("; ")
            }
        );
        if let Some(EmptiedRoot { root, documents }) =
            EmptiedRoot::find(&self.replaced, walk).first()
        {
            bail!(
                "the new index would lack the {documents} documents of `{root}`, which has none \
                 now, so the old one stays; if they are gone for good, run `rag-query index remove \
                 {root}` first"
            );
        }
        Ok(())
    }

    /// Removes documents whose files are gone: under the roots, or anywhere in a rebuild.
    fn remove_missing(&mut self, walk: &Walk) {
        // If a folder could not be listed, its documents may still exist.
        if !walk.is_complete {
            return;
        }
        let ledger = self.writer.ledger();
        let emptied = match self.start {
            Start::Update => EmptiedRoot::find(ledger, walk),
            Start::Rebuild => Vec::new(),
        };
        let in_scope = |file: &Path| match self.start {
            Start::Rebuild => true,
            Start::Update if is_gone(file) => {
                walk.covers(file) && !emptied.iter().any(|root| root.holds(file))
            }
            Start::Update => walk.covers(file) && !is_root(ledger, file),
        };
        let unread = match self.start {
            Start::Update => unread_files(ledger, walk),
            Start::Rebuild => Vec::new(),
        };
        for file in unread {
            let lost = format!(
                "`{file}` is read by a program that was not named this time, so what the index has \
                 of it stays as it is; name its --reader, or remove it with `rag-query index remove`"
            );
            self.summary.problems.push(lost);
        }
        for file in missing_files(ledger, walk, in_scope) {
            self.summary.removed += self.writer.ledger().documents_of(&file).count();
            self.writer.remove_file(&file);
        }
        self.summary.emptied = emptied;
    }
}

/// Whether the file was named by itself to be indexed: no ignore rule holds for it.
fn is_root(ledger: &Ledger, file: &Path) -> bool {
    file.to_str().is_some_and(|file| ledger.roots().contains_key(file))
}

/// Files in the ledger that are `in_scope` and that `walk` did not find.
pub fn missing_files(
    ledger: &Ledger,
    walk: &Walk,
    in_scope: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let unread = unread_files(ledger, walk);
    known_files(ledger)
        .into_iter()
        .filter(|file| !walk.has(Path::new(file)) && in_scope(Path::new(file)))
        .filter(|file| unread.binary_search(file).is_err())
        .map(str::to_owned)
        .collect()
}
