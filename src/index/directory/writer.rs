//! Writing: one process at a time, one commit point.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::{IndexSettings, TantivyDocument, Term};

use super::rows::{Bits, RowWriter};
use super::sealed::SealedDirectory;
use super::table::{Entry, Key, TableWriter};
use crate::index::ledger::{DocumentState, Extent, FileState, Ledger, LedgerWriter};
use crate::index::lexical::{Fields, schema, tokenizers};
use crate::index::{
    ChunkId, DirectoryIndex, Index, IndexError, IndexWriter, Manifest, Passage, Settings,
    lexical_write_error,
};

/// Tantivy's memory for a segment in the making, in bytes.
const LEXICAL_MEMORY: usize = 64 << 20;

/// What a commit makes valid, kept in tantivy's own commit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// Rows in the vector file and records in the chunk table.
    pub rows: u64,
    /// Rows in the token file.
    pub tokens: u64,
    /// Number of the log, and its length in bytes.
    pub log: u32,
    pub log_bytes: u64,
    /// Documents with at least one chunk.
    pub documents: u64,
}

impl Committed {
    /// What the last commit of `index` says; `None` before the first.
    pub(crate) fn read(index: &tantivy::Index, path: &Path) -> Result<Option<Self>, IndexError> {
        let metas = index.load_metas().map_err(lexical_write_error(path))?;
        let Some(json) = metas.payload else { return Ok(None) };
        serde_json::from_str(&json).map(Some).map_err(|error| IndexError::Damaged {
            path: path.to_owned(),
            what: format!("its last commit cannot be read: {error}"),
        })
    }

    pub(crate) fn missing(path: &Path) -> IndexError {
        IndexError::Damaged { path: path.to_owned(), what: "it has no commit of ours".to_owned() }
    }
}

/// Whether to go on with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Change the index, or make one: what is committed is seen at once.
    Update,
    /// Build a new one beside it, which [`crate::index::IndexWriter::publish`] puts in its place. A rebuild with
    /// the same settings that was interrupted goes on.
    Rebuild,
}

/// The one writer of an index in a directory.
pub struct DirectoryWriter {
    dir: PathBuf,
    manifest: Manifest,
    /// The directory's manifest names this generation.
    current: bool,
    start: Start,
    lexical: tantivy::IndexWriter,
    lexical_path: PathBuf,
    fields: Fields,
    vectors: RowWriter,
    tokens: Option<RowWriter>,
    table: TableWriter,
    log: LedgerWriter,
    documents: u64,
    live: u64,
    /// Rows at the last commit; none before the first.
    committed: Option<u64>,
    lock: File,
}

impl DirectoryWriter {
    /// Opens the index in `dir` for writing, or starts one with `settings`.
    pub fn open(dir: &Path, settings: Settings, start: Start) -> Result<Self, IndexError> {
        fs::create_dir_all(dir).map_err(unwritable(dir))?;
        let lock = lock(dir)?;
        let existing = match Manifest::read(dir) {
            Ok(manifest) => Some(manifest),
            Err(IndexError::Missing(_)) => None,
            Err(_) if start == Start::Rebuild => None,
            Err(error) => return Err(error),
        };
        match (existing, start) {
            (Some(manifest), Start::Update) => {
                manifest.settings.check(&settings)?;
                Self::existing(dir, manifest, true, start, lock)
            }
            (None, Start::Update) => Self::fresh(dir, Manifest::fresh(dir, settings), start, lock),
            (current, Start::Rebuild) => {
                // Data that a crash may have damaged is not built upon.
                let unfinished = Manifest::unfinished(dir, &settings)
                    .filter(|begun| current.is_none_or(|now| !now.is_same_generation(begun)))
                    .filter(|begun| super::verify::generation(dir, begun).is_ok());
                match unfinished {
                    Some(manifest) => Self::existing(dir, manifest, false, start, lock),
                    None => Self::fresh(dir, Manifest::fresh(dir, settings), start, lock),
                }
            }
        }
    }

    /// Opens the index in `dir`, which exists, with the settings that it has.
    pub fn open_existing(dir: &Path) -> Result<Self, IndexError> {
        // Twice: no lock is made where there is no index, and another writer may replace it before
        // the lock is ours.
        Manifest::read(dir)?;
        let lock = lock(dir)?;
        Self::existing(dir, Manifest::read(dir)?, true, Start::Update, lock)
    }

    fn fresh(dir: &Path, manifest: Manifest, start: Start, lock: File) -> Result<Self, IndexError> {
        let lexical = manifest.data(dir).join("lexical");
        fs::create_dir_all(&lexical).map_err(unwritable(&lexical))?;
        if start == Start::Rebuild {
            manifest.mark_unfinished(dir)?;
        }
        let (schema, _) = schema();
        let files = SealedDirectory::open(&lexical)?;
        let index = tantivy::Index::create(files, schema, IndexSettings::default())
            .map_err(lexical_write_error(&lexical))?;
        Self::of(dir, manifest, false, start, lock, index, None)
    }

    fn existing(
        dir: &Path,
        manifest: Manifest,
        current: bool,
        start: Start,
        lock: File,
    ) -> Result<Self, IndexError> {
        let lexical = manifest.data(dir).join("lexical");
        let index = super::reader::open_lexical(&lexical)?;
        let committed =
            Committed::read(&index, &lexical)?.ok_or_else(|| Committed::missing(&lexical))?;
        Self::of(dir, manifest, current, start, lock, index, Some(committed))
    }

    fn of(
        dir: &Path,
        manifest: Manifest,
        current: bool,
        start: Start,
        lock: File,
        mut index: tantivy::Index,
        last: Option<Committed>,
    ) -> Result<Self, IndexError> {
        let committed = last.unwrap_or_default();
        let data = manifest.data(dir);
        let lexical_path = data.join("lexical");
        let failed = lexical_write_error(&lexical_path);
        index.set_tokenizers(tokenizers());
        let (_, fields) = schema();
        let dim = manifest.settings.embedder.dimension;
        let vectors = RowWriter::open(&data.join("vectors.i8"), Bits::Twelve, dim, committed.rows)?;
        let table = TableWriter::open(&data.join("chunks.bin"), committed.rows)?;
        let tokens = match manifest.settings.token_vectors {
            true => {
                Some(RowWriter::open(&data.join("tokens.i8"), Bits::Eight, dim, committed.tokens)?)
            }
            false => None,
        };
        let log = LedgerWriter::open(&data, committed.log, committed.log_bytes)?;
        let live = log.ledger.documents().values().map(|document| document.chunks).sum();
        // One thread: embedding is what takes the time, and segments come out the same each run.
        let lexical: tantivy::IndexWriter =
            index.writer_with_num_threads(1, LEXICAL_MEMORY).map_err(&failed)?;
        // What a writer that was killed left behind would be in the way: file names repeat.
        lexical.garbage_collect_files().wait().map_err(&failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            current,
            start,
            lexical,
            lexical_path,
            fields,
            vectors,
            tokens,
            table,
            log,
            documents: committed.documents,
            live,
            committed: last.map(|last| last.rows),
            lock,
        })
    }

    /// Adds what belongs to the row that was appended last.
    fn enter(&mut self, passage: &Passage, entry: Entry) -> Result<(), IndexError> {
        self.table.append(entry)?;
        let mut document = TantivyDocument::default();
        document.add_text(self.fields.document, &passage.document);
        for field in [self.fields.exact, self.fields.folded, self.fields.pairs] {
            document.add_text(field, format!("{}\n{}", passage.heading(), passage.text));
        }
        document.add_u64(self.fields.row, self.vectors.len() - 1);
        let json = serde_json::to_string(passage).expect("a passage is plain data");
        document.add_text(self.fields.passage, json);
        self.lexical.add_document(document).map_err(lexical_write_error(&self.lexical_path))?;
        Ok(())
    }

    fn make_current(&mut self) -> Result<(), IndexError> {
        if self.current {
            return Ok(());
        }
        let data = self.manifest.data(&self.dir);
        File::open(&data)
            .and_then(|data| data.sync_all())
            .map_err(|source| IndexError::Unwritable { path: data, source })?;
        self.manifest.write(&self.dir)?;
        self.manifest.remove_other_generations(&self.dir);
        self.current = true;
        Ok(())
    }

    fn write_commit(&mut self) -> Result<(), IndexError> {
        let failed = lexical_write_error(&self.lexical_path);
        self.vectors.sync()?;
        self.table.sync()?;
        if let Some(tokens) = &mut self.tokens {
            tokens.sync()?;
        }
        let rows = self.vectors.len();
        let tokens = self.tokens.as_ref().map_or(0, RowWriter::len);
        if rows > self.committed.unwrap_or(0) {
            self.log.record_extent(Extent {
                rows,
                vectors: self.vectors.digest().to_hex().to_string(),
                chunks: self.table.digest().to_hex().to_string(),
                tokens,
                token_vectors: self.tokens.as_mut().map(|rows| rows.digest().to_hex().to_string()),
            });
        }
        let (log, log_bytes) = self.log.sync()?;
        let committed = Committed { rows, tokens, log, log_bytes, documents: self.documents };
        let payload = serde_json::to_string(&committed).expect("some numbers");
        let mut commit = self.lexical.prepare_commit().map_err(&failed)?;
        commit.set_payload(&payload);
        commit.commit().map_err(&failed)?;
        self.log.remove_old();
        self.committed = Some(rows);
        Ok(())
    }

    /// Waits for tantivy's background merges, so that they are not cut off.
    pub fn finish(self) -> Result<(), IndexError> {
        let failed = lexical_write_error(&self.lexical_path);
        self.lexical.wait_merging_threads().map_err(&failed)
    }

    /// Writes the index anew without the rows whose chunks are gone, and puts that in its place.
    /// Commits first.
    pub fn compact(mut self) -> Result<(), IndexError> {
        self.commit()?;
        let Self { dir, lexical, lexical_path, log, lock, .. } = self;
        // The old generation is only read from here on.
        lexical.wait_merging_threads().map_err(lexical_write_error(&lexical_path))?;
        let old = DirectoryIndex::open(&dir)?;
        let manifest = Manifest::fresh(&dir, old.manifest().settings.clone());
        let mut new = Self::fresh(&dir, manifest, Start::Update, lock)?;
        // Not marked as one to go on with: it is worth nothing before it is whole.
        for chunk in old.chunks() {
            new.copy_chunk(&old, chunk)?;
        }
        for (id, state) in log.ledger.documents() {
            new.finish_document(id, state.clone());
        }
        for (path, state) in log.ledger.files() {
            new.finish_file(path, state.clone());
        }
        new.publish()?;
        new.finish()
    }

    fn copy_chunk(&mut self, from: &DirectoryIndex, chunk: ChunkId) -> Result<(), IndexError> {
        let stored = from.stored(chunk)?;
        self.vectors.append_raw(&stored.vector)?;
        let first_token = self.tokens.as_ref().map_or(0, RowWriter::len);
        if let Some(rows) = &mut self.tokens {
            for token in stored.tokens {
                rows.append_raw(&token)?;
            }
        }
        self.enter(&from.passage(chunk)?, Entry { first_token, ..stored.entry })
    }
}

impl IndexWriter for DirectoryWriter {
    fn settings(&self) -> &Settings {
        &self.manifest.settings
    }

    fn ledger(&self) -> &Ledger {
        &self.log.ledger
    }

    fn chunk_count(&self) -> u64 {
        self.live
    }

    fn row_count(&self) -> u64 {
        self.vectors.len()
    }

    fn knows(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        Ok(self.table.find(Key::of(&passage.text_to_embed()))?.is_some())
    }

    fn add(
        &mut self,
        passage: &Passage,
        vector: &[f32],
        tokens: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        self.vectors.append(vector)?;
        let first_token = self.tokens.as_ref().map_or(0, RowWriter::len);
        if let Some(rows) = &mut self.tokens {
            for token in tokens {
                rows.append(token)?;
            }
        }
        let key = Key::of(&passage.text_to_embed());
        self.enter(passage, Entry { key, first_token, tokens: tokens.len() as u32 })
    }

    fn add_known(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        let key = Key::of(&passage.text_to_embed());
        let Some((row, entry)) = self.table.find(key)? else { return Ok(false) };
        self.vectors.copy(row, 1)?;
        let first_token = match &mut self.tokens {
            Some(rows) => rows.copy(entry.first_token, u64::from(entry.tokens))?,
            None => 0,
        };
        self.enter(passage, Entry { first_token, ..entry })?;
        Ok(true)
    }

    fn finish_document(&mut self, id: &str, state: DocumentState) {
        self.live += state.chunks;
        self.documents += u64::from(state.chunks > 0);
        self.log.record_document(id, state);
    }

    fn abandon_document(&mut self, id: &str) {
        self.lexical.delete_term(Term::from_field_text(self.fields.document, id));
    }

    fn finish_file(&mut self, path: &str, state: FileState) {
        self.log.record_file(path, state);
    }

    fn remove_document(&mut self, id: &str) {
        let Some(state) = self.log.ledger.documents().get(id) else { return };
        self.live -= state.chunks;
        self.documents -= u64::from(state.chunks > 0);
        if state.chunks > 0 {
            self.lexical.delete_term(Term::from_field_text(self.fields.document, id));
        }
        self.log.forget_document(id);
    }

    fn forget_file(&mut self, path: &str) {
        self.log.forget_file(path);
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        if self.committed != Some(self.vectors.len()) || self.log.has_changes() {
            self.write_commit()?;
        }
        match self.start {
            Start::Update => self.make_current(),
            Start::Rebuild => Ok(()),
        }
    }

    fn publish(&mut self) -> Result<(), IndexError> {
        self.commit()?;
        self.make_current()
    }

    fn finish(self: Box<Self>) -> Result<(), IndexError> {
        Self::finish(*self)
    }

    fn compact(self: Box<Self>) -> Result<(), IndexError> {
        Self::compact(*self)
    }
}

fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> IndexError + use<> {
    let path = path.to_owned();
    move |source| IndexError::Unwritable { path, source }
}

/// The lock is the system's, on an open file: it goes with the process, however that ends.
fn lock(dir: &Path) -> Result<File, IndexError> {
    let path = dir.join(".rag-query.lock");
    let unwritable = |source| IndexError::Unwritable { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IndexError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}
