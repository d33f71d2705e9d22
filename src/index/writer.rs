//! Writing: one process at a time, one commit point.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::{TantivyDocument, Term};

use super::lexical::{Fields, schema, tokenizers};
use super::reader::documents;
use super::rows::{Bits, RowWriter};
use super::{IndexError, Manifest, Passage, Settings, lexical_error};

/// Tantivy's memory for a segment in the making, in bytes.
const LEXICAL_MEMORY: usize = 64 << 20;

/// A chunk on its way into the index.
pub struct NewChunk {
    /// Text and place.
    pub passage: Passage,
    /// Its embedding, `[dim]`, unit length.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, `[tokens, dim]`; empty unless the index keeps them.
    pub tokens: Vec<Vec<f32>>,
}

/// What a commit makes valid, kept in tantivy's own commit.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Committed {
    /// Rows in the vector file.
    pub vectors: u64,
    /// Rows in the token file.
    pub tokens: u64,
}

impl Committed {
    /// What the last commit of `index` says; `None` before the first.
    pub(super) fn read(index: &tantivy::Index, path: &Path) -> Result<Option<Self>, IndexError> {
        let metas = index.load_metas().map_err(lexical_error(path))?;
        let Some(json) = metas.payload else { return Ok(None) };
        serde_json::from_str(&json).map(Some).map_err(|error| IndexError::Damaged {
            path: path.to_owned(),
            what: format!("its last commit cannot be read: {error}"),
        })
    }

    pub(super) fn missing(path: &Path) -> IndexError {
        IndexError::Damaged { path: path.to_owned(), what: "it has no commit of ours".to_owned() }
    }
}

/// The one writer of an index.
pub struct IndexWriter {
    dir: PathBuf,
    manifest: Manifest,
    /// The manifest is not on the disk yet: its first commit makes this generation current.
    fresh: bool,
    lexical: tantivy::IndexWriter,
    lexical_path: PathBuf,
    fields: Fields,
    vectors: RowWriter,
    tokens: Option<RowWriter>,
    documents: BTreeMap<String, String>,
    /// Held until the writer is dropped.
    _lock: File,
}

impl IndexWriter {
    /// Opens the index in `dir` for writing, or starts one with `settings`.
    ///
    /// With `rebuild` a new generation is started beside the old one, which stays current until
    /// the first commit.
    pub fn open(dir: &Path, settings: Settings, rebuild: bool) -> Result<Self, IndexError> {
        let unwritable = |path: &Path| {
            let path = path.to_owned();
            move |source| IndexError::Unwritable { path: path.clone(), source }
        };
        fs::create_dir_all(dir).map_err(unwritable(dir))?;
        let lock = lock(dir)?;
        let existing = match Manifest::read(dir) {
            Ok(manifest) => Some(manifest),
            Err(IndexError::Missing(_)) => None,
            Err(_) if rebuild => None,
            Err(error) => return Err(error),
        };
        let (manifest, fresh) = match existing {
            Some(manifest) if !rebuild => {
                manifest.check(&settings)?;
                (manifest, false)
            }
            _ => (Manifest::fresh(dir, settings), true),
        };
        let data = manifest.data(dir);
        let lexical_path = data.join("lexical");
        fs::create_dir_all(&lexical_path).map_err(unwritable(&lexical_path))?;
        let failed = lexical_error(&lexical_path);
        let (schema, fields) = schema();
        let mut index = match fresh {
            true => tantivy::Index::create_in_dir(&lexical_path, schema),
            false => tantivy::Index::open_in_dir(&lexical_path),
        }
        .map_err(&failed)?;
        index.set_tokenizers(tokenizers());
        let committed = match Committed::read(&index, &lexical_path)? {
            Some(committed) => committed,
            None if fresh => Committed::default(),
            None => return Err(Committed::missing(&lexical_path)),
        };
        let dim = manifest.settings.embedder.dimension;
        let vectors =
            RowWriter::open(&data.join("vectors.i8"), Bits::Twelve, dim, committed.vectors)?;
        let tokens = match manifest.settings.token_vectors {
            true => {
                Some(RowWriter::open(&data.join("tokens.i8"), Bits::Eight, dim, committed.tokens)?)
            }
            false => None,
        };
        let documents = index.reader().and_then(|r| documents(&r.searcher())).map_err(&failed)?;
        // One thread: embedding is what takes the time, and segments come out the same each run.
        let lexical = index.writer_with_num_threads(1, LEXICAL_MEMORY).map_err(&failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            fresh,
            lexical,
            lexical_path,
            fields,
            vectors,
            tokens,
            documents,
            _lock: lock,
        })
    }

    /// What the index is built with.
    pub fn settings(&self) -> &Settings {
        &self.manifest.settings
    }

    /// Every document that has chunks here, and the content hash it was indexed with.
    pub fn documents(&self) -> &BTreeMap<String, String> {
        &self.documents
    }

    /// Adds a chunk to `document`, whose content has `hash`. Visible after the next commit; what
    /// the document had before is to be removed first.
    pub fn add(&mut self, document: &str, hash: &str, chunk: &NewChunk) -> Result<(), IndexError> {
        let NewChunk { passage, vector, tokens } = chunk;
        let row = self.vectors.append(vector)?;
        let first_token = self.tokens.as_ref().map_or(0, RowWriter::len);
        if let Some(rows) = &mut self.tokens {
            for token in tokens {
                rows.append(token)?;
            }
        }
        let mut entry = TantivyDocument::default();
        entry.add_text(self.fields.document, document);
        entry.add_text(self.fields.hash, hash);
        for field in [self.fields.exact, self.fields.folded, self.fields.pairs] {
            entry.add_text(field, format!("{}\n{}", passage.heading(), passage.text));
        }
        entry.add_u64(self.fields.row, row);
        entry.add_u64(self.fields.first_token, first_token);
        entry.add_u64(self.fields.tokens, tokens.len() as u64);
        let json = serde_json::to_string(passage).expect("a passage is plain data");
        entry.add_text(self.fields.passage, json);
        self.lexical.add_document(entry).map_err(lexical_error(&self.lexical_path))?;
        if !self.documents.contains_key(document) {
            self.documents.insert(document.to_owned(), hash.to_owned());
        }
        Ok(())
    }

    /// Removes the chunks of `document`. Visible after the next commit.
    pub fn remove(&mut self, document: &str) {
        if self.documents.remove(document).is_some() {
            self.lexical.delete_term(Term::from_field_text(self.fields.document, document));
        }
    }

    /// Makes everything since the last commit part of the index, all or nothing.
    pub fn commit(&mut self) -> Result<(), IndexError> {
        let failed = lexical_error(&self.lexical_path);
        self.vectors.sync()?;
        if let Some(tokens) = &mut self.tokens {
            tokens.sync()?;
        }
        let committed = Committed {
            vectors: self.vectors.len(),
            tokens: self.tokens.as_ref().map_or(0, RowWriter::len),
        };
        let payload = serde_json::to_string(&committed).expect("two numbers");
        let mut commit = self.lexical.prepare_commit().map_err(&failed)?;
        commit.set_payload(&payload);
        commit.commit().map_err(&failed)?;
        if self.fresh {
            let data = self.manifest.data(&self.dir);
            File::open(&data)
                .and_then(|data| data.sync_all())
                .map_err(|source| IndexError::Unwritable { path: data, source })?;
            self.manifest.write(&self.dir)?;
            self.manifest.remove_other_generations(&self.dir);
            self.fresh = false;
        }
        Ok(())
    }

    /// Waits for tantivy's background merges, so that they are not cut off.
    pub fn finish(self) -> Result<(), IndexError> {
        let failed = lexical_error(&self.lexical_path);
        self.lexical.wait_merging_threads().map_err(&failed)
    }
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
