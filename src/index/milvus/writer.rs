//! Writing to a server without transactions: unfinished work is marked as such and redone.
//!
//! Before a document's chunks change, the document is recorded as unfinished and its file is
//! forgotten; afterwards it is recorded with its hash. If a writer stops in between, the next run
//! reads the document again. Keys derive from content, so inserts are idempotent. Several writers
//! may work on one index at once, but only on disjoint sets of files, which the lease enforces.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::address::Address;
use super::chunks::{ChunkRow, NewChunk, TokenVectors};
use super::keys::{checksum, document_key, text_key};
use super::lease::Lease;
use super::names::CollectionNames;
use super::server::Server;
use super::statistics::Statistics;
use crate::index::{
    DocumentState, FileState, IndexError, IndexWriter, Ledger, Notify, Passage, RootState,
    Settings, Shard, Start, file_of,
};

/// Chunks per batch.
const BATCH: usize = 128;
/// Bytes of token vectors after which a batch is sent.
const BATCH_BYTES: usize = 8 << 20;
/// Finished documents and files after which they are sent.
const BATCH_STATES: usize = 512;
/// How often statistics are resampled while other writers add chunks.
const MAX_SAMPLES: u32 = 3;

/// Opens the index at `address` for writing the files in `shard`, or creates one with `settings`.
pub fn write(
    address: &Address,
    notify: &Notify,
    settings: &Settings,
    start: Start,
    shard: Shard,
) -> Result<Box<dyn IndexWriter>, IndexError> {
    let server = Arc::new(Server::connect(address, notify)?);
    loop {
        let current = server.current()?;
        let home = current.clone().unwrap_or_else(|| CollectionNames::new(&address.collection, 1));
        let settings = match (&current, start) {
            (Some(current), Start::Update) => {
                let built = server.settings_in_use(current)?;
                built.check(settings)?;
                built
            }
            (Some(current), Start::Rebuild) => {
                server.load(current, None)?;
                settings.clone()
            }
            (None, _) => {
                server.create_ledger(&home)?;
                settings.clone()
            }
        };
        // All claims live in the current ledger, including those of a rebuild that will replace it.
        let lease = Lease::take(&server, &home, shard, &settings)?;
        if server.current()? != current {
            // A rebuild or a first run finished while this one waited.
            continue;
        }
        let names = match (&current, start) {
            (Some(current), Start::Rebuild) => {
                CollectionNames::new(&address.collection, current.generation.wrapping_add(1))
            }
            _ => home,
        };
        if current.as_ref() != Some(&names) {
            server.create_ledger(&names)?;
            // Resume an unfinished generation if its settings are the same.
            if server.settings(&names)?.is_some_and(|begun| begun != settings) {
                server.drop_generation(&names)?;
                continue;
            }
            server.create(&names, &settings)?;
            if start == Start::Update {
                server.make_current(&names)?;
            }
        }
        let replaced = current.filter(|_| start == Start::Rebuild);
        return Target { server, lease, names, settings, replaced }.open(shard);
    }
}

/// Opens the existing index at `address` with its own settings.
pub fn write_existing(
    address: &Address,
    notify: &Notify,
) -> Result<Box<dyn IndexWriter>, IndexError> {
    let server = Arc::new(Server::connect(address, notify)?);
    loop {
        let (names, settings) = server.existing()?;
        let lease = Lease::take(&server, &names, Shard::WHOLE, &settings)?;
        if server.current()?.as_ref() == Some(&names) {
            let target = Target { server, lease, names, settings, replaced: None };
            return target.open(Shard::WHOLE);
        }
    }
}

/// The generation that a writer works on, and the lease on it.
struct Target {
    server: Arc<Server>,
    lease: Lease,
    names: CollectionNames,
    settings: Settings,
    /// The generation that a rebuild replaces.
    replaced: Option<CollectionNames>,
}

impl Target {
    /// A writer for the files in `shard`.
    fn open(self, shard: Shard) -> Result<Box<dyn IndexWriter>, IndexError> {
        let Self { server, names, .. } = &self;
        server.load(names, Some(&self.settings))?;
        let ledger = server.ledger(names, shard)?;
        // Zero if a writer stopped before storing any, which also marks them as stale.
        let counted = server.statistics(names)?.map_or(0, |statistics| statistics.chunks);
        let is_unsettled = counted != server.chunk_count(names)?;
        let recorded = ledger.files().keys().cloned().collect();
        Ok(Box::new(Writer {
            target: self,
            ledger,
            is_unsettled,
            recorded,
            unrecorded: BTreeSet::new(),
            known: HashMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            begun: BTreeSet::new(),
            stale: BTreeMap::new(),
            finished: BTreeMap::new(),
            removed: BTreeSet::new(),
            files: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            roots: BTreeMap::new(),
        }))
    }
}

/// The vectors computed for a text.
struct Known {
    vector: Vec<f32>,
    tokens: Vec<u8>,
}

struct Writer {
    target: Target,
    /// Only the writer's own files; includes all changes, sent or not.
    ledger: Ledger,
    /// Whether the stored statistics are stale.
    is_unsettled: bool,
    /// Files recorded on the server.
    recorded: HashSet<String>,
    /// Files that were recorded before their documents were touched.
    unrecorded: BTreeSet<String>,
    /// Results of [`IndexWriter::look_up`], by text key.
    known: HashMap<i64, Known>,
    /// Chunks to be sent.
    waiting: Vec<NewChunk>,
    waiting_bytes: usize,
    /// Documents that were started but not finished.
    begun: BTreeSet<String>,
    /// Obsolete chunks on the server, by touched document: chunk key → size of its token vectors.
    stale: BTreeMap<String, HashMap<i64, usize>>,
    finished: BTreeMap<String, DocumentState>,
    removed: BTreeSet<String>,
    files: BTreeMap<String, FileState>,
    forgotten: BTreeSet<String>,
    /// Roots to be recorded, or forgotten.
    roots: BTreeMap<String, Option<RootState>>,
}

impl Writer {
    fn add_row(
        &mut self,
        passage: &Passage,
        vector: &[f32],
        tokens: &[u8],
    ) -> Result<(), IndexError> {
        let is_stored = self.target.settings.token_vectors.is_some();
        let tokens = if is_stored { tokens } else { &[] };
        let row = ChunkRow::new(passage, vector, tokens);
        self.begun.insert(passage.document.clone());
        self.waiting_bytes += tokens.len();
        self.waiting.push(NewChunk { row, tokens: tokens.to_vec() });
        let enough = self.waiting.len() >= BATCH || self.waiting_bytes >= BATCH_BYTES;
        if enough { self.send() } else { Ok(()) }
    }

    /// Sends everything pending. Readers and the next writer rely on the order of the steps.
    fn send(&mut self) -> Result<(), IndexError> {
        self.target.lease.check()?;
        let mut touched: BTreeSet<&String> = self.removed.iter().chain(&self.begun).collect();
        touched.extend(self.finished.keys());
        let new: Vec<String> =
            touched.into_iter().filter(|id| !self.stale.contains_key(*id)).cloned().collect();
        self.mark(&new)?;
        self.target.server.put_chunks(&self.target.names, &self.waiting)?;
        for NewChunk { row, .. } in std::mem::take(&mut self.waiting) {
            if let Some(stale) = self.stale.get_mut(&row.passage.document) {
                stale.remove(&row.id);
            }
        }
        self.waiting_bytes = 0;
        // Completed documents.
        let done: Vec<String> =
            self.stale.keys().filter(|id| !self.begun.contains(*id)).cloned().collect();
        let stale = done.iter().filter_map(|id| self.stale.remove(id)).flatten();
        let stale: Vec<TokenVectors> =
            stale.map(|(chunk, bytes)| TokenVectors { chunk, bytes }).collect();
        self.target.server.delete_chunks(&self.target.names, &stale)?;
        let gone: Vec<String> = std::mem::take(&mut self.removed)
            .into_iter()
            .filter(|id| !self.finished.contains_key(id) && !self.begun.contains(id))
            .collect();
        let forgotten: Vec<String> = std::mem::take(&mut self.forgotten).into_iter().collect();
        self.target.server.delete_states(&self.target.names, &gone, &forgotten)?;
        let finished: Vec<_> = std::mem::take(&mut self.finished).into_iter().collect();
        self.record_again();
        let files: Vec<_> = std::mem::take(&mut self.files).into_iter().collect();
        self.is_unsettled |= !(done.is_empty() && finished.is_empty());
        self.target.server.put_states(&self.target.names, &finished, &files)?;
        self.send_roots()?;
        for path in forgotten {
            self.recorded.remove(&path);
        }
        self.recorded.extend(files.into_iter().map(|(path, _)| path));
        Ok(())
    }

    fn send_roots(&mut self) -> Result<(), IndexError> {
        let (mut named, mut gone) = (Vec::new(), Vec::new());
        for (path, state) in std::mem::take(&mut self.roots) {
            match state {
                Some(state) => named.push((path, state)),
                None => gone.push(path),
            }
        }
        self.target.server.put_roots(&self.target.names, &named)?;
        self.target.server.delete_roots(&self.target.names, &gone)?;
        Ok(())
    }

    /// Restores the entries of files that merely lost a document and are otherwise unchanged.
    fn record_again(&mut self) {
        let begun: HashSet<&str> = self.begun.iter().map(|id| file_of(id)).collect();
        for path in self.unrecorded.extract_if(.., |path| !begun.contains(path.as_str())) {
            if let Some(state) = self.ledger.files().get(&path) {
                self.files.entry(path).or_insert_with(|| state.clone());
            }
        }
    }

    /// Records documents as unfinished, and looks up their chunks on the server.
    fn mark(&mut self, documents: &[String]) -> Result<(), IndexError> {
        if documents.is_empty() {
            return Ok(());
        }
        let files: BTreeSet<String> = documents
            .iter()
            .map(|id| file_of(id).to_owned())
            .filter(|path| self.recorded.remove(path))
            .collect();
        let paths: Vec<String> = files.iter().cloned().collect();
        self.unrecorded.extend(files);
        self.target.server.delete_states(&self.target.names, &[], &paths)?;
        let unfinished = DocumentState::default();
        let states: Vec<(String, DocumentState)> =
            documents.iter().map(|id| (id.clone(), unfinished.clone())).collect();
        self.target.server.put_states(&self.target.names, &states, &[])?;
        let keys: HashMap<i64, &String> =
            documents.iter().map(|id| (document_key(id), id)).collect();
        for id in documents {
            self.stale.insert(id.clone(), HashMap::new());
        }
        let found = self
            .target
            .server
            .chunks_of(&self.target.names, &keys.keys().copied().collect::<Vec<i64>>())?;
        for (document, TokenVectors { chunk, bytes }) in found {
            let stale = keys.get(&document).and_then(|id| self.stale.get_mut(*id));
            stale.map(|stale| stale.insert(chunk, bytes));
        }
        Ok(())
    }

    /// Stores statistics and flushes the server.
    fn settle(&mut self) -> Result<(), IndexError> {
        self.send()?;
        if self.is_unsettled {
            self.target.server.flush(&self.target.names, &self.target.settings)?;
            // Other writers may be running. The last to finish sees all chunks; if two finish
            // together, at least one sees here that the count has changed.
            for _ in 0..MAX_SAMPLES {
                let statistics = Statistics::sample(
                    &self.target.server,
                    &self.target.names,
                    &self.target.settings,
                )?;
                self.target.server.put_statistics(&self.target.names, &statistics)?;
                if self.target.server.chunk_count(&self.target.names)? == statistics.chunks {
                    break;
                }
            }
            self.is_unsettled = false;
        }
        Ok(())
    }
}

impl IndexWriter for Writer {
    fn settings(&self) -> &Settings {
        &self.target.settings
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn chunk_count(&self) -> u64 {
        self.ledger.documents().values().map(|document| document.chunks).sum()
    }

    fn row_count(&self) -> u64 {
        self.chunk_count()
    }

    fn look_up(&mut self, passages: &[&Passage]) -> Result<(), IndexError> {
        if self.finished.len() + self.files.len() >= BATCH_STATES {
            self.send()?;
        }
        self.known.clear();
        let texts: HashSet<i64> = passages.iter().map(|passage| text_key(passage)).collect();
        let texts: Vec<i64> = texts.into_iter().collect();
        let mut found = self.target.server.chunks_with(&self.target.names, &texts)?;
        // Any of several equal texts will do.
        found.sort_by_key(|row| row.text);
        found.dedup_by_key(|row| row.text);
        let tokens: Vec<TokenVectors> = found.iter().map(ChunkRow::token_vectors).collect();
        let packed = self.target.server.tokens_of(&self.target.names, &tokens)?;
        for (row, tokens) in found.into_iter().zip(packed) {
            // Re-embed a text whose stored vectors are corrupt.
            if row.checksum == checksum(&row.vector, &tokens) {
                self.known.insert(row.text, Known { vector: row.vector, tokens });
            }
        }
        Ok(())
    }

    fn knows(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        Ok(self.known.contains_key(&text_key(passage)))
    }

    fn add(&mut self, passage: &Passage, vector: &[f32], tokens: &[u8]) -> Result<(), IndexError> {
        // An equal text later in the batch can reuse this embedding.
        let known = Known { vector: vector.to_vec(), tokens: tokens.to_vec() };
        self.known.insert(text_key(passage), known);
        self.add_row(passage, vector, tokens)
    }

    fn add_known(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        let key = text_key(passage);
        let Some(known) = self.known.remove(&key) else { return Ok(false) };
        self.add_row(passage, &known.vector, &known.tokens)?;
        self.known.insert(key, known);
        Ok(true)
    }

    fn finish_document(&mut self, id: &str, state: DocumentState) {
        self.begun.remove(id);
        self.ledger.insert_document(id, state.clone());
        self.finished.insert(id.to_owned(), state);
    }

    fn abandon_document(&mut self, id: &str) {
        self.waiting.retain(|chunk| chunk.row.passage.document != id);
        self.begun.remove(id);
        self.finished.remove(id);
        // Look it up again later: some of its chunks may have been sent.
        self.stale.remove(id);
        self.removed.insert(id.to_owned());
    }

    fn finish_file(&mut self, path: &str, state: FileState) {
        self.forgotten.remove(path);
        self.ledger.insert_file(path, state.clone());
        self.files.insert(path.to_owned(), state);
    }

    fn remove_document(&mut self, id: &str) {
        if self.ledger.remove_document(id).is_some() {
            self.finished.remove(id);
            self.removed.insert(id.to_owned());
        }
    }

    fn forget_file(&mut self, path: &str) {
        if self.ledger.remove_file(path).is_some() {
            self.files.remove(path);
            self.forgotten.insert(path.to_owned());
        }
    }

    fn record_root(&mut self, path: &str, state: RootState) {
        if self.ledger.roots().get(path) != Some(&state) {
            self.ledger.insert_root(path, state.clone());
            self.roots.insert(path.to_owned(), Some(state));
        }
    }

    fn forget_root(&mut self, path: &str) {
        if self.ledger.remove_root(path).is_some() {
            self.roots.insert(path.to_owned(), None);
        }
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        self.send()
    }

    fn publish(&mut self) -> Result<(), IndexError> {
        self.settle()?;
        self.target.server.make_current(&self.target.names)?;
        match self.target.replaced.take() {
            Some(replaced) => Ok(self.target.server.drop_generation(&replaced)?),
            None => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), IndexError> {
        self.settle()
    }

    /// No-op: the server compacts by itself.
    fn compact(self: Box<Self>) -> Result<(), IndexError> {
        self.finish()
    }
}
