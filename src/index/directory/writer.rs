//! Writing a directory index: one process at a time, one commit point.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use tantivy::{IndexSettings, TantivyDocument, Term};

use super::chunk_table::{ChunkRecord, ChunkTableWriter, TextKey};
use super::committed::Committed;
use super::errors::write_error;
use super::fields::{Fields, schema, tokenizers};
use super::lexical;
use super::log::{Extent, LogWriter};
use super::manifest::Manifest;
use super::reader::DirectoryIndex;
use super::sealed::SealedDirectory;
use super::token_file::TokenFileWriter;
use super::vector_file::VectorFileWriter;
use super::verify;
use crate::embedding::codes::{Coder, TokenCodes};
use crate::index::{
    ChunkId, DocumentState, FileState, Index, IndexError, IndexWriter, Ledger, Passage, RootState,
    Settings, Start,
};

/// Tantivy's memory budget for a segment, in bytes; its minimum is 15 MB.
const LEXICAL_MEMORY: usize = 64 << 20;

/// The sole writer of a directory index.
pub struct DirectoryWriter {
    generation: Generation,
    lexical: tantivy::IndexWriter,
    lexical_path: PathBuf,
    fields: Fields,
    vectors: VectorFileWriter,
    tokens: Option<TokenFileWriter>,
    table: ChunkTableWriter,
    log: LogWriter,
    /// Documents with at least one chunk.
    documents: u64,
    /// Chunks that have not been removed.
    live: u64,
    /// Rows at the last commit; `None` before the first.
    committed: Option<u64>,
}

/// The generation that a writer works on.
struct Generation {
    dir: PathBuf,
    manifest: Manifest,
    /// Whether the manifest names this generation.
    is_current: bool,
    start: Start,
    /// Held for the writer's lifetime.
    lock: WriteLock,
}

impl Generation {
    /// Creates this generation from scratch.
    fn create(self) -> Result<DirectoryWriter, IndexError> {
        let path = self.lexical_path();
        fs::create_dir_all(&path).map_err(unwritable(&path))?;
        if self.start == Start::Rebuild {
            self.manifest.mark_unfinished(&self.dir)?;
        }
        let (schema, _) = schema();
        let files = SealedDirectory::open(&path)?;
        let index = tantivy::Index::create(files, schema, IndexSettings::default())
            .map_err(write_error(&path))?;
        self.write(index, None)
    }

    /// Resumes this generation from its last commit.
    fn resume(self) -> Result<DirectoryWriter, IndexError> {
        let path = self.lexical_path();
        let index = lexical::open(&path)?;
        let last = Committed::read(&index, &path)?;
        self.write(index, Some(last))
    }

    fn write(
        self,
        mut lexical: tantivy::Index,
        last_commit: Option<Committed>,
    ) -> Result<DirectoryWriter, IndexError> {
        let committed = last_commit.unwrap_or_default();
        let data = self.manifest.data(&self.dir);
        let lexical_path = self.lexical_path();
        let failed = write_error(&lexical_path);
        lexical.set_tokenizers(tokenizers());
        let (_, fields) = schema();
        let dim = self.manifest.settings.embedder.dimension;
        let vectors = data.join("vectors.i8");
        let vectors = VectorFileWriter::open(&vectors, dim, committed.rows)?;
        let table = ChunkTableWriter::open(&data.join("chunks.bin"), committed.rows)?;
        let tokens = TokenFileWriter::open(&data, &self.manifest.settings, committed.tokens)?;
        let log = LogWriter::open(&data, committed.log, committed.log_bytes)?;
        let live = log.ledger().documents().values().map(|document| document.chunks).sum();
        // One thread: embedding dominates the run time, and segments are reproducible this way.
        let lexical: tantivy::IndexWriter =
            lexical.writer_with_num_threads(1, LEXICAL_MEMORY).map_err(&failed)?;
        // Remove what a killed writer left behind, since file names can recur.
        lexical.garbage_collect_files().wait().map_err(&failed)?;
        Ok(DirectoryWriter {
            generation: self,
            lexical,
            lexical_path,
            fields,
            vectors,
            tokens,
            table,
            log,
            documents: committed.documents,
            live,
            committed: last_commit.map(|last| last.rows),
        })
    }

    fn lexical_path(&self) -> PathBuf {
        self.manifest.data(&self.dir).join("lexical")
    }

    /// Points the manifest at this generation and removes all others.
    fn make_current(&mut self) -> Result<(), IndexError> {
        if self.is_current {
            return Ok(());
        }
        let data = self.manifest.data(&self.dir);
        File::open(&data)
            .and_then(|data| data.sync_all())
            .map_err(|source| IndexError::Unwritable { path: data, source })?;
        self.manifest.write(&self.dir)?;
        self.manifest.remove_other_generations(&self.dir);
        self.is_current = true;
        Ok(())
    }
}

impl DirectoryWriter {
    /// Opens the index in `dir` for writing, or creates one with `settings`.
    pub fn open(dir: &Path, settings: Settings, start: Start) -> Result<Self, IndexError> {
        fs::create_dir_all(dir).map_err(unwritable(dir))?;
        let lock = lock(dir)?;
        let existing = match Manifest::read(dir) {
            Ok(manifest) => Some(manifest),
            Err(IndexError::Missing(_)) => None,
            Err(_) if start == Start::Rebuild => None,
            Err(error) => return Err(error),
        };
        let generation = |manifest: Manifest, is_current: bool| Generation {
            dir: dir.to_owned(),
            manifest,
            is_current,
            start,
            lock,
        };
        match (existing, start) {
            (Some(manifest), Start::Update) => {
                let is_old = manifest.settings.has_old_terms();
                let built = manifest.settings.clone();
                let built = if is_old { built.with_new_terms() } else { built };
                built.check(&settings)?;
                let codes = manifest.other_codes(&settings);
                let is_old = is_old || codes.is_some();
                let codes = codes.or_else(|| manifest.settings.token_vectors.clone());
                let writer = generation(manifest, true).resume()?;
                if is_old { writer.rewrite(codes) } else { Ok(writer) }
            }
            (None, Start::Update) => generation(Manifest::fresh(dir, settings), false).create(),
            (current, Start::Rebuild) => {
                // Resume only if the data is intact: a crash may have damaged it.
                let unfinished = Manifest::unfinished(dir, &settings)
                    .filter(|begun| current.is_none_or(|now| !now.is_same_generation(begun)))
                    .filter(|begun| verify::generation(dir, begun).is_ok());
                match unfinished {
                    Some(manifest) => generation(manifest, false).resume(),
                    None => generation(Manifest::fresh(dir, settings), false).create(),
                }
            }
        }
    }

    /// Opens the existing index in `dir` with its own settings.
    pub fn open_existing(dir: &Path) -> Result<Self, IndexError> {
        // First read: do not create a lock file where there is no index. Second read: another
        // writer may have replaced the index before we took the lock.
        Manifest::read(dir)?;
        let lock = lock(dir)?;
        let manifest = Manifest::read(dir)?;
        let dir = dir.to_owned();
        Generation { dir, manifest, is_current: true, start: Start::Update, lock }.resume()
    }

    /// Adds the metadata of the row appended last.
    fn add_record(&mut self, passage: &Passage, record: ChunkRecord) -> Result<(), IndexError> {
        self.table.append(record)?;
        let mut document = TantivyDocument::default();
        document.add_text(self.fields.document, &passage.document);
        for field in [self.fields.exact, self.fields.folded, self.fields.pairs] {
            document.add_text(field, passage.text_to_search());
        }
        document.add_u64(self.fields.row, self.vectors.len() - 1);
        let json = serde_json::to_string(passage).expect("a passage is plain data");
        document.add_text(self.fields.passage, json);
        self.lexical.add_document(document).map_err(write_error(&self.lexical_path))?;
        Ok(())
    }

    /// Appends coded token vectors, if the index has them, and returns the number of the first.
    fn append_tokens(&mut self, tokens: &[u8]) -> Result<u64, IndexError> {
        self.tokens.as_mut().map_or(Ok(0), |file| file.append(tokens))
    }

    fn write_commit(&mut self) -> Result<(), IndexError> {
        let failed = write_error(&self.lexical_path);
        self.vectors.sync()?;
        self.table.sync()?;
        if let Some(tokens) = &mut self.tokens {
            tokens.sync()?;
        }
        let rows = self.vectors.len();
        let tokens = self.tokens.as_ref().map_or(0, TokenFileWriter::len);
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
        let failed = write_error(&self.lexical_path);
        self.lexical.wait_merging_threads().map_err(&failed)
    }

    /// Commits, then rewrites the index without the rows of removed chunks.
    pub fn compact(self) -> Result<(), IndexError> {
        let codes = self.settings().token_vectors.clone();
        self.rewrite(codes)?.finish()
    }

    /// Commits, then rewrites the index as a new generation, with terms of this program's analyzer, token
    /// vectors in these codes and without the rows of removed chunks. Returns the writer of that
    /// generation.
    fn rewrite(mut self, codes: Option<TokenCodes>) -> Result<Self, IndexError> {
        self.commit()?;
        let Self { generation, lexical, lexical_path, log, .. } = self;
        let Generation { dir, lock, .. } = generation;
        // From here on the old generation is only read.
        lexical.wait_merging_threads().map_err(write_error(&lexical_path))?;
        let old = DirectoryIndex::open(&dir)?;
        let settings = old.manifest().settings.clone().with_new_terms();
        let manifest = Manifest::fresh(&dir, Settings { token_vectors: codes, ..settings });
        // Not marked as resumable: a partial compaction is worthless.
        let new = Generation { dir, manifest, is_current: false, start: Start::Update, lock };
        let mut new = new.create()?;
        let recoder = new.recoder(&old)?;
        for chunk in old.chunks() {
            new.copy_chunk(&old, chunk, recoder.as_ref())?;
        }
        for (id, state) in log.ledger().documents() {
            new.finish_document(id, state.clone());
        }
        for (path, state) in log.ledger().files() {
            new.finish_file(path, state.clone());
        }
        for (path, state) in log.ledger().roots() {
            new.record_root(path, state.clone());
        }
        new.publish()?;
        Ok(new)
    }

    /// The coders of an older generation and of this one, if they differ.
    fn recoder(&self, old: &DirectoryIndex) -> Result<Option<(Coder, Coder)>, IndexError> {
        let settings = &self.generation.manifest.settings;
        if old.settings().token_vectors == settings.token_vectors {
            return Ok(None);
        }
        let codes = old.coder().cloned().zip(settings.token_vectors.as_ref());
        codes
            .map(|(from, codes)| Ok((from, Coder::new(codes, settings.embedder.dimension)?)))
            .transpose()
            .map_err(|source| IndexError::Codes { path: self.generation.dir.clone(), source })
    }

    fn copy_chunk(
        &mut self,
        from: &DirectoryIndex,
        chunk: ChunkId,
        recoder: Option<&(Coder, Coder)>,
    ) -> Result<(), IndexError> {
        let stored = from.stored(chunk)?;
        self.vectors.append_raw(&stored.vector)?;
        let tokens: Cow<'_, [u8]> = match recoder {
            Some((old, new)) => new.encode(&old.vectors(stored.tokens)).into(),
            None => stored.tokens.into(),
        };
        let first_token = self.append_tokens(&tokens)?;
        self.add_record(&from.passage(chunk)?, ChunkRecord { first_token, ..stored.record })
    }
}

impl IndexWriter for DirectoryWriter {
    fn settings(&self) -> &Settings {
        &self.generation.manifest.settings
    }

    fn ledger(&self) -> &Ledger {
        self.log.ledger()
    }

    fn chunk_count(&self) -> u64 {
        self.live
    }

    fn row_count(&self) -> u64 {
        self.vectors.len()
    }

    fn knows(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        Ok(self.table.find(TextKey::of(&passage.text_to_embed()))?.is_some())
    }

    fn add(&mut self, passage: &Passage, vector: &[f32], tokens: &[u8]) -> Result<(), IndexError> {
        self.vectors.append(vector)?;
        let first_token = self.append_tokens(tokens)?;
        let end = self.tokens.as_ref().map_or(0, TokenFileWriter::len);
        let key = TextKey::of(&passage.text_to_embed());
        let tokens = (end - first_token) as u32;
        self.add_record(passage, ChunkRecord { key, first_token, tokens })
    }

    fn add_known(&mut self, passage: &Passage) -> Result<bool, IndexError> {
        let key = TextKey::of(&passage.text_to_embed());
        let Some((row, record)) = self.table.find(key)? else { return Ok(false) };
        self.vectors.copy(row, 1)?;
        let first_token = match &mut self.tokens {
            Some(rows) => rows.copy(record.first_token, u64::from(record.tokens))?,
            None => 0,
        };
        self.add_record(passage, ChunkRecord { first_token, ..record })?;
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
        let Some(state) = self.log.ledger().documents().get(id) else { return };
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

    fn record_root(&mut self, path: &str, state: RootState) {
        self.log.record_root(path, state);
    }

    fn forget_root(&mut self, path: &str) {
        self.log.forget_root(path);
    }

    fn commit(&mut self) -> Result<(), IndexError> {
        if self.committed != Some(self.vectors.len()) || self.log.has_changes() {
            self.write_commit()?;
        }
        match self.generation.start {
            Start::Update => self.generation.make_current(),
            Start::Rebuild => Ok(()),
        }
    }

    fn publish(&mut self) -> Result<(), IndexError> {
        self.commit()?;
        self.generation.make_current()
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

/// An OS file lock, released when the process exits for any reason.
struct WriteLock(File);

impl Drop for WriteLock {
    /// Unlock explicitly: a child being spawned by another thread holds a duplicate of the
    /// descriptor until it calls exec, so closing ours may not release the lock.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<WriteLock, IndexError> {
    let path = dir.join(".rag-query.lock");
    let unwritable = |source| IndexError::Unwritable { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(WriteLock(file)),
        Err(TryLockError::WouldBlock) => Err(IndexError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::ChunkSettings;
    use crate::index::EmbedderIdentity;
    use crate::text::analyze::ANALYZER;

    /// Settings for vectors of four values.
    fn settings(codes: TokenCodes) -> Settings {
        let embedder = EmbedderIdentity {
            id: "test".to_owned(),
            dimension: 4,
            pooling: "mean".to_owned(),
            passage_prefix: String::new(),
        };
        let chunking = ChunkSettings::default();
        Settings { embedder, chunking, token_vectors: Some(codes), analyzer: ANALYZER }
    }

    #[test]
    fn token_vectors_of_the_earlier_format_are_coded_anew_by_the_next_writer() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let open = |codes| DirectoryWriter::open(dir, settings(codes), Start::Update);
        let vectors = [[0.5, -1.0, 0.25, 0.0], [1.0, 1.0, -0.5, 0.5]];
        let mut writer = open(TokenCodes::EightBit).unwrap();
        let passage = Passage { document: "/a.md".to_owned(), ..Passage::default() };
        let tokens = Coder::eight_bit(4).encode(&vectors);
        writer.add(&passage, &[1.0, 0.0, 0.0, 0.0], &tokens).unwrap();
        writer.finish_document("/a.md", DocumentState { chunks: 1, ..DocumentState::default() });
        writer.publish().unwrap();
        writer.finish().unwrap();
        Manifest::read(dir).unwrap().of_old_format().write(dir).unwrap();

        let tokens_of = |index: &DirectoryIndex| {
            let chunk = index.chunks().next().unwrap();
            index.tokens(&[chunk]).unwrap()[0].to_vec()
        };
        let old = verify::verify(dir).unwrap();
        assert_eq!(tokens_of(&old), tokens, "it is read as it is");
        open(TokenCodes::FourBit).unwrap().finish().unwrap();
        let new = verify::verify(dir).unwrap();
        assert_eq!(new.settings().token_vectors, Some(TokenCodes::FourBit));
        let decoded = new.coder().unwrap().vectors(&tokens_of(&new));
        for (value, was) in decoded.iter().flatten().zip(vectors.iter().flatten()) {
            assert!((value - was).abs() < 0.1, "{decoded:?}");
        }
        // In this format, the codes are those that were chosen.
        open(TokenCodes::EightBit).unwrap().finish().unwrap();
        let kept = DirectoryIndex::open(dir).unwrap();
        assert_eq!(kept.settings().token_vectors, Some(TokenCodes::FourBit));
    }

    #[test]
    fn a_lock_ends_with_its_writer_even_if_a_child_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let of_a_child = first.0.try_clone().unwrap();
        assert!(matches!(lock(dir.path()), Err(IndexError::Locked(_))));
        drop(first);
        lock(dir.path()).map(drop).unwrap();
        drop(of_a_child);
    }
}
