//! The ledger on the server: documents, files, settings and active writers.

use std::ops::ControlFlow;
use std::path::Path;

use milvus::v2::types::FieldData;
use serde::{Deserialize, Serialize};

use super::collections::unused;
use super::error::MilvusError;
use super::keys::entry_key;
use super::names::CollectionNames;
use super::requests::{KEYS, is_empty, numbers, texts};
use super::server::Server;
use crate::index::{
    DocumentState, FileState, IndexError, Ledger, RootState, Settings, Shard, file_of,
};

/// Format version of the data on the server.
const FORMAT: u32 = 1;

/// Kinds of entries.
const SETTINGS: i64 = 0;
const DOCUMENT: i64 = 1;
const FILE: i64 = 2;
pub const STATISTICS: i64 = 3;
/// An active writer's claim: see [`super::lease`].
pub const CLAIM: i64 = 4;
const ROOT: i64 = 5;

/// An entry of the ledger.
pub struct Entry<'a> {
    pub kind: i64,
    /// Unique within its kind.
    pub name: &'a str,
    /// For a document, its number of chunks.
    pub chunks: i64,
    /// JSON.
    pub body: String,
}

/// Entries as columns for the client.
pub fn entry_columns(entries: &[Entry]) -> [FieldData; 6] {
    let numbers = |name: &str, of: &dyn Fn(&Entry) -> i64| {
        FieldData::int64(name, entries.iter().map(of).collect())
    };
    [
        numbers("id", &|entry| entry_key(entry.kind, entry.name)),
        numbers("kind", &|entry| entry.kind),
        numbers("chunks", &|entry| entry.chunks),
        FieldData::varchar("name", entries.iter().map(|e| e.name.to_owned()).collect()),
        FieldData::varchar("body", entries.iter().map(|e| e.body.clone()).collect()),
        unused(entries.len()),
    ]
}

#[derive(Serialize, Deserialize)]
struct StoredSettings {
    format: u32,
    #[serde(flatten)]
    settings: Settings,
}

/// The part of the settings common to all formats.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// All calls block and are safe to retry.
impl Server {
    /// The current generation and its settings.
    pub fn existing(&self) -> Result<(CollectionNames, Settings), IndexError> {
        let missing = || IndexError::Missing(self.address.to_string().into());
        let names = self.current()?.ok_or_else(missing)?;
        let settings = self.settings_in_use(&names)?;
        Ok((names, settings))
    }

    /// The settings of the current generation, which must exist.
    pub fn settings_in_use(&self, names: &CollectionNames) -> Result<Settings, IndexError> {
        self.load(names, None)?;
        self.settings(names)?.ok_or_else(|| self.damaged("it has no settings"))
    }

    /// The settings a generation was started with, if any.
    pub fn settings(&self, names: &CollectionNames) -> Result<Option<Settings>, IndexError> {
        let Some(body) = self.entry(names, SETTINGS, "manifest")? else { return Ok(None) };
        let unreadable = |error: serde_json::Error| self.damaged(format!("its settings: {error}"));
        let Versioned { format } = serde_json::from_str(&body).map_err(unreadable)?;
        if format != FORMAT {
            return Err(IndexError::Format {
                path: self.address.to_string().into(),
                found: format,
                expected: FORMAT,
            });
        }
        let stored: StoredSettings = serde_json::from_str(&body).map_err(unreadable)?;
        Ok(Some(stored.settings))
    }

    pub fn put_settings(
        &self,
        names: &CollectionNames,
        settings: &Settings,
    ) -> Result<(), MilvusError> {
        let stored = StoredSettings { format: FORMAT, settings: settings.clone() };
        let body = serde_json::to_string(&stored).expect("settings are plain data");
        self.put_entries(names, &[Entry { kind: SETTINGS, name: "manifest", chunks: 0, body }])
    }

    /// The body of an entry, if it exists.
    pub fn entry(
        &self,
        names: &CollectionNames,
        kind: i64,
        name: &str,
    ) -> Result<Option<String>, MilvusError> {
        let answer = self.get(&names.ledger(), &[entry_key(kind, name)], &["id", "body"])?;
        let bodies = texts(answer.get_output_fields(), "body").ok();
        Ok(bodies.and_then(|bodies| bodies.first().cloned()))
    }

    /// Names and bodies of all entries of a kind that has few.
    pub fn entries(
        &self,
        names: &CollectionNames,
        kind: i64,
    ) -> Result<Vec<(String, String)>, MilvusError> {
        let filter = format!("kind == {kind}");
        let answer = self.query(&names.ledger(), &filter, &["id", "name", "body"])?;
        let fields = answer.get_output_fields();
        if is_empty(fields) {
            return Ok(Vec::new());
        }
        let column = |name| texts(fields, name).map_err(|error| self.malformed(error));
        Ok(column("name")?.iter().cloned().zip(column("body")?.iter().cloned()).collect())
    }

    /// Inserts entries, replacing those of the same kind and name.
    pub fn put_entries(
        &self,
        names: &CollectionNames,
        entries: &[Entry],
    ) -> Result<(), MilvusError> {
        for entries in entries.chunks(KEYS) {
            self.put(&names.ledger(), &entry_columns(entries))?;
        }
        Ok(())
    }

    /// Records documents and files.
    pub fn put_states(
        &self,
        names: &CollectionNames,
        documents: &[(String, DocumentState)],
        files: &[(String, FileState)],
    ) -> Result<(), MilvusError> {
        let documents = documents.iter().map(|(id, state)| Entry {
            kind: DOCUMENT,
            name: id,
            chunks: i64::try_from(state.chunks).unwrap_or(i64::MAX),
            body: serde_json::to_string(state).expect("a state is plain data"),
        });
        let files = files.iter().map(|(path, state)| Entry {
            kind: FILE,
            name: path,
            chunks: 0,
            body: serde_json::to_string(state).expect("a state is plain data"),
        });
        // Documents first, so that a recorded file always has all its documents.
        self.put_entries(names, &documents.chain(files).collect::<Vec<Entry>>())
    }

    /// Records roots.
    pub fn put_roots(
        &self,
        names: &CollectionNames,
        roots: &[(String, RootState)],
    ) -> Result<(), MilvusError> {
        let entries = roots.iter().map(|(path, state)| Entry {
            kind: ROOT,
            name: path,
            chunks: 0,
            body: serde_json::to_string(state).expect("a state is plain data"),
        });
        self.put_entries(names, &entries.collect::<Vec<Entry>>())
    }

    /// Forgets roots.
    pub fn delete_roots(
        &self,
        names: &CollectionNames,
        roots: &[String],
    ) -> Result<(), MilvusError> {
        let keys: Vec<i64> = roots.iter().map(|path| entry_key(ROOT, path)).collect();
        self.delete(&names.ledger(), &keys)
    }

    /// Forgets documents and files.
    pub fn delete_states(
        &self,
        names: &CollectionNames,
        documents: &[String],
        files: &[String],
    ) -> Result<(), MilvusError> {
        let documents = documents.iter().map(|id| entry_key(DOCUMENT, id));
        let files = files.iter().map(|path| entry_key(FILE, path));
        self.delete(&names.ledger(), &files.chain(documents).collect::<Vec<i64>>())
    }

    /// Reads the documents and files of `shard`, and all roots.
    pub fn ledger(&self, names: &CollectionNames, shard: Shard) -> Result<Ledger, IndexError> {
        let mut ledger = Ledger::default();
        let wanted = ["id", "kind", "name", "body"];
        self.pages(&names.ledger(), &wanted, KEYS, &mut |fields| {
            if is_empty(fields) {
                return Ok(ControlFlow::Continue(()));
            }
            let malformed = |error| self.malformed(error);
            let kinds = numbers(fields, "kind").map_err(malformed)?;
            let names = texts(fields, "name").map_err(malformed)?;
            let bodies = texts(fields, "body").map_err(malformed)?;
            for ((&kind, name), body) in kinds.iter().zip(names).zip(bodies) {
                let unreadable =
                    |error| self.damaged(format!("the entry of {name} cannot be read: {error}"));
                match kind {
                    DOCUMENT if shard.has(Path::new(file_of(name))) => ledger
                        .insert_document(name, serde_json::from_str(body).map_err(unreadable)?),
                    FILE if shard.has(Path::new(name)) => {
                        ledger.insert_file(name, serde_json::from_str(body).map_err(unreadable)?);
                    }
                    ROOT => {
                        ledger.insert_root(name, serde_json::from_str(body).map_err(unreadable)?);
                    }
                    _ => {}
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(ledger)
    }

    /// Number of documents with at least one chunk.
    pub fn document_count(&self, names: &CollectionNames) -> Result<usize, IndexError> {
        self.count(&names.ledger(), &format!("kind == {DOCUMENT} and chunks > 0"))
    }
}
