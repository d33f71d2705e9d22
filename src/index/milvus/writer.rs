//! Writing to a server, which knows no transactions: what is half done says so, and is done again.
//!
//! Before the chunks of a document change, the document is noted as unfinished and its file is
//! forgotten; afterwards it is noted with its hash. A writer that was stopped in between leaves a
//! document that the next run reads again. Keys come from content, so that adding a chunk twice is
//! adding it once. Several writers may work on different files of one index at once, and only on
//! different ones: a lease sees to that.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::address::Address;
use super::lease::Lease;
use super::reader::sample;
use super::schema::{Names, Row, checksum, chunk_key, document_key, pack, text_key, unpack};
use super::server::Server;
use super::terms::words;
use crate::index::{
    DocumentState, FileState, IndexError, IndexWriter, Ledger, Notify, Passage, Settings, Shard,
    Start, file_of,
};

/// Chunks that are sent together.
const SENT: usize = 128;
/// Bytes of token vectors that are.
const SENT_BYTES: usize = 8 << 20;
/// Finished documents that wait for a message of their own.
const WAITING: usize = 512;
/// How often statistics are taken while others add chunks.
const SETTLED: u32 = 3;

/// Opens the index at `address` for writing, or starts one with `settings`, for the files in
/// `shard`.
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
        let home = current.clone().unwrap_or_else(|| Names::new(&address.collection, 1));
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
        // Claims are in the ledger that is in use, those of a rebuild too, which will replace it.
        let lease = Lease::take(&server, &home, shard, &settings)?;
        if server.current()? != current {
            // A rebuild or a first run ended while this one waited.
            continue;
        }
        let names = match (&current, start) {
            (Some(current), Start::Rebuild) => {
                Names::new(&address.collection, current.generation.wrapping_add(1))
            }
            _ => home,
        };
        if current.as_ref() != Some(&names) {
            server.create_ledger(&names)?;
            // What was begun with the same settings goes on.
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
        return Writer::open(server, lease, names, settings, replaced, shard);
    }
}

/// Opens the index at `address`, which exists, with the settings that it has.
pub fn write_existing(
    address: &Address,
    notify: &Notify,
) -> Result<Box<dyn IndexWriter>, IndexError> {
    let server = Arc::new(Server::connect(address, notify)?);
    loop {
        let (names, settings) = server.existing()?;
        let lease = Lease::take(&server, &names, Shard::WHOLE, &settings)?;
        if server.current()?.as_ref() == Some(&names) {
            return Writer::open(server, lease, names, settings, None, Shard::WHOLE);
        }
    }
}

/// A chunk that waits to be sent: its row, its words, and its token vectors.
type Waiting = (Row, String, Vec<u8>);

/// What an equal text has.
struct Known {
    vector: Vec<f32>,
    tokens: Vec<Vec<f32>>,
}

struct Writer {
    server: Arc<Server>,
    lease: Lease,
    names: Names,
    settings: Settings,
    /// The generation that a rebuild replaces.
    replaced: Option<Names>,
    /// Of the writer's own files, with all changes, sent or not.
    ledger: Ledger,
    /// Files that the server has an entry of.
    noted: HashSet<String>,
    /// Files that it had an entry of before their documents were touched.
    unnoted: BTreeSet<String>,
    known: HashMap<i64, Known>,
    chunks: Vec<Waiting>,
    waiting_bytes: usize,
    /// Documents that were begun and are not finished.
    begun: BTreeSet<String>,
    /// The server's chunks of documents that were touched, without those that are to stay.
    stale: BTreeMap<String, HashMap<i64, usize>>,
    finished: BTreeMap<String, DocumentState>,
    removed: BTreeSet<String>,
    files: BTreeMap<String, FileState>,
    forgotten: BTreeSet<String>,
    /// Whether readers have statistics of another state.
    unsettled: bool,
}

impl Writer {
    fn open(
        server: Arc<Server>,
        lease: Lease,
        names: Names,
        settings: Settings,
        replaced: Option<Names>,
        shard: Shard,
    ) -> Result<Box<dyn IndexWriter>, IndexError> {
        server.load(&names, Some(&settings))?;
        let mut ledger = server.ledger(&names)?;
        ledger.retain(|file| shard.has(Path::new(file)));
        // Those of a writer that was stopped before it left any, too.
        let statistics = server.statistics(&names)?.map(|statistics| statistics.chunks);
        let unsettled = statistics.unwrap_or(0) != server.chunk_count(&names)?;
        Ok(Box::new(Self {
            noted: ledger.files().keys().cloned().collect(),
            unnoted: BTreeSet::new(),
            server,
            lease,
            names,
            settings,
            replaced,
            ledger,
            known: HashMap::new(),
            chunks: Vec::new(),
            waiting_bytes: 0,
            begun: BTreeSet::new(),
            stale: BTreeMap::new(),
            finished: BTreeMap::new(),
            removed: BTreeSet::new(),
            files: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            unsettled,
        }))
    }

    fn enter(
        &mut self,
        passage: &Passage,
        vector: &[f32],
        tokens: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        let packed = if self.settings.token_vectors { pack(tokens) } else { Vec::new() };
        let row = Row {
            id: chunk_key(passage),
            document: document_key(&passage.document),
            text: text_key(passage),
            token_bytes: packed.len(),
            checksum: checksum(vector, &packed),
            passage: passage.clone(),
            vector: vector.to_vec(),
        };
        let (words, _) = words(&passage.text_to_embed());
        self.begun.insert(passage.document.clone());
        self.waiting_bytes += packed.len();
        self.chunks.push((row, words, packed));
        let enough = self.chunks.len() >= SENT || self.waiting_bytes >= SENT_BYTES;
        if enough { self.send() } else { Ok(()) }
    }

    /// Sends all that waits. The order is what a reader and the next writer rely on.
    fn send(&mut self) -> Result<(), IndexError> {
        self.lease.check()?;
        let mut touched: BTreeSet<&String> = self.removed.iter().chain(&self.begun).collect();
        touched.extend(self.finished.keys());
        let new: Vec<String> =
            touched.into_iter().filter(|id| !self.stale.contains_key(*id)).cloned().collect();
        self.mark(&new)?;
        self.server.put_chunks(&self.names, &self.chunks)?;
        for (row, ..) in std::mem::take(&mut self.chunks) {
            if let Some(stale) = self.stale.get_mut(&row.passage.document) {
                stale.remove(&row.id);
            }
        }
        self.waiting_bytes = 0;
        // Documents of which nothing more comes.
        let done: Vec<String> =
            self.stale.keys().filter(|id| !self.begun.contains(*id)).cloned().collect();
        let stale = done.iter().filter_map(|id| self.stale.remove(id)).flatten();
        self.server.delete_chunks(&self.names, &stale.collect::<Vec<(i64, usize)>>())?;
        let gone: Vec<String> = std::mem::take(&mut self.removed)
            .into_iter()
            .filter(|id| !self.finished.contains_key(id) && !self.begun.contains(id))
            .collect();
        let forgotten: Vec<String> = std::mem::take(&mut self.forgotten).into_iter().collect();
        self.server.delete_states(&self.names, &gone, &forgotten)?;
        let finished: Vec<_> = std::mem::take(&mut self.finished).into_iter().collect();
        self.note_again();
        let files: Vec<_> = std::mem::take(&mut self.files).into_iter().collect();
        self.unsettled |= !(done.is_empty() && finished.is_empty());
        self.server.put_states(&self.names, &finished, &files)?;
        for path in forgotten {
            self.noted.remove(&path);
        }
        self.noted.extend(files.into_iter().map(|(path, _)| path));
        Ok(())
    }

    /// A file that lost a document, and nothing else, is what it was.
    fn note_again(&mut self) {
        let begun: HashSet<&str> = self.begun.iter().map(|id| file_of(id)).collect();
        for path in self.unnoted.extract_if(.., |path| !begun.contains(path.as_str())) {
            if let Some(state) = self.ledger.files().get(&path) {
                self.files.entry(path).or_insert_with(|| state.clone());
            }
        }
    }

    /// Notes documents as unfinished, and looks up which chunks the server has of them.
    fn mark(&mut self, documents: &[String]) -> Result<(), IndexError> {
        if documents.is_empty() {
            return Ok(());
        }
        let files: BTreeSet<String> = documents
            .iter()
            .map(|id| file_of(id).to_owned())
            .filter(|path| self.noted.remove(path))
            .collect();
        let paths: Vec<String> = files.iter().cloned().collect();
        self.unnoted.extend(files);
        self.server.delete_states(&self.names, &[], &paths)?;
        let unfinished = DocumentState { hash: String::new(), chunks: 0 };
        let states: Vec<(String, DocumentState)> =
            documents.iter().map(|id| (id.clone(), unfinished.clone())).collect();
        self.server.put_states(&self.names, &states, &[])?;
        let keys: HashMap<i64, &String> =
            documents.iter().map(|id| (document_key(id), id)).collect();
        for id in documents {
            self.stale.insert(id.clone(), HashMap::new());
        }
        let found =
            self.server.chunks_of(&self.names, &keys.keys().copied().collect::<Vec<i64>>())?;
        for (document, id, bytes) in found {
            let stale = keys.get(&document).and_then(|id| self.stale.get_mut(*id));
            stale.map(|stale| stale.insert(id, bytes));
        }
        Ok(())
    }

    /// Leaves statistics, and has the server write what it holds.
    fn settle(&mut self) -> Result<(), IndexError> {
        self.send()?;
        if self.unsettled {
            self.server.flush(&self.names, &self.settings)?;
            // Other parts may be written at the same time. Whoever ends last sees all of them; of
            // two that end at once, one sees here that the other's are lacking.
            for _ in 0..SETTLED {
                let statistics = sample(&self.server, &self.names, &self.settings)?;
                self.server.put_statistics(&self.names, &statistics)?;
                if self.server.chunk_count(&self.names)? == statistics.chunks {
                    break;
                }
            }
            self.unsettled = false;
        }
        Ok(())
    }
}

impl IndexWriter for Writer {
    fn settings(&self) -> &Settings {
        &self.settings
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
        if self.finished.len() + self.files.len() >= WAITING {
            self.send()?;
        }
        self.known.clear();
        let texts: HashSet<i64> = passages.iter().map(|passage| text_key(passage)).collect();
        let texts: Vec<i64> = texts.into_iter().collect();
        let mut found = self.server.chunks_with(&self.names, &texts)?;
        // Any one of equal texts will do, and one is enough.
        found.sort_by_key(|row| row.text);
        found.dedup_by_key(|row| row.text);
        let sizes: Vec<(i64, usize)> = found.iter().map(|row| (row.id, row.token_bytes)).collect();
        let tokens = self.server.tokens_of(&self.names, &sizes)?;
        let dim = self.settings.embedder.dimension;
        for (row, tokens) in found.into_iter().zip(tokens) {
            // What was damaged is embedded again.
            if row.checksum == checksum(&row.vector, &tokens) {
                let tokens = unpack(&tokens, dim);
                self.known.insert(row.text, Known { vector: row.vector, tokens });
            }
        }
        Ok(())
    }

    fn knows(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        Ok(self.known.contains_key(&text_key(passage)))
    }

    fn add(
        &mut self,
        passage: &Passage,
        vector: &[f32],
        tokens: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        // An equal text of the same batch needs no embedding of its own.
        let known = Known { vector: vector.to_vec(), tokens: tokens.to_vec() };
        self.known.insert(text_key(passage), known);
        self.enter(passage, vector, tokens)
    }

    fn add_known(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        let key = text_key(passage);
        let Some(known) = self.known.remove(&key) else { return Ok(false) };
        self.enter(passage, &known.vector, &known.tokens)?;
        self.known.insert(key, known);
        Ok(true)
    }

    fn finish_document(&mut self, id: &str, state: DocumentState) {
        self.begun.remove(id);
        self.ledger.insert_document(id, state.clone());
        self.finished.insert(id.to_owned(), state);
    }

    fn abandon_document(&mut self, id: &str) {
        self.chunks.retain(|(row, ..)| row.passage.document != id);
        self.begun.remove(id);
        self.finished.remove(id);
        // Looked up again: some of its chunks may have been sent.
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

    fn commit(&mut self) -> Result<(), IndexError> {
        self.send()
    }

    fn publish(&mut self) -> Result<(), IndexError> {
        self.settle()?;
        self.server.make_current(&self.names)?;
        match self.replaced.take() {
            Some(replaced) => self.server.drop_generation(&replaced),
            None => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), IndexError> {
        self.settle()
    }

    /// The server compacts by itself.
    fn compact(self: Box<Self>) -> Result<(), IndexError> {
        self.finish()
    }
}
