//! Which documents and files an index holds, and what it knows of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the index knows of a file that it has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// In bytes.
    pub size: u64,
    /// Time of the last change in nanoseconds since 1970; absent where it might be the time of a
    /// later change as well.
    pub modified: Option<u64>,
    /// BLAKE3 of the bytes.
    pub hash: String,
    /// Version of the code that read it.
    pub reader: u32,
}

/// What the index knows of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentState {
    /// BLAKE3 of its content.
    pub hash: String,
    /// Number of chunks.
    pub chunks: u64,
}

/// Which documents and files an index holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    files: BTreeMap<String, FileState>,
    documents: BTreeMap<String, DocumentState>,
}

impl Ledger {
    /// Every file that was read completely, by absolute path.
    pub fn files(&self) -> &BTreeMap<String, FileState> {
        &self.files
    }

    /// Every document by its id, including those without chunks.
    pub fn documents(&self) -> &BTreeMap<String, DocumentState> {
        &self.documents
    }

    /// The documents of the file at `path`: the one that is the file, or its `path#id`.
    pub fn documents_of<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a DocumentState)> {
        let own = self.documents.get_key_value(path);
        let begin = format!("{path}#");
        let lines = self.documents.range(begin.clone()..);
        let lines = lines.take_while(move |(id, _)| id.starts_with(&begin));
        own.into_iter().chain(lines.filter(move |(id, _)| file_of(id) == path))
    }

    pub(crate) fn insert_file(&mut self, path: impl Into<String>, state: FileState) {
        self.files.insert(path.into(), state);
    }

    pub(crate) fn insert_document(&mut self, id: impl Into<String>, state: DocumentState) {
        self.documents.insert(id.into(), state);
    }

    /// Forgets a file, and returns what was known of it.
    pub(crate) fn remove_file(&mut self, path: &str) -> Option<FileState> {
        self.files.remove(path)
    }

    /// Forgets a document, and returns what was known of it.
    pub(crate) fn remove_document(&mut self, id: &str) -> Option<DocumentState> {
        self.documents.remove(id)
    }
}

/// The file that a document is from: `path`, or what is before the `#` of `path.jsonl#id`.
pub fn file_of(document: &str) -> &str {
    let hashes = document.match_indices('#').map(|(at, _)| &document[..at]);
    let is_json_lines = |path: &&str| path.to_lowercase().ends_with(".jsonl");
    hashes.into_iter().find(is_json_lines).unwrap_or(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_of_a_file_are_itself_or_its_lines() {
        let mut ledger = Ledger::default();
        for id in ["/b.jsonl#1", "/b.jsonl#2", "/b.jsonlx", "/a.md#b.md", "/a.md"] {
            ledger.insert_document(id, DocumentState { hash: String::new(), chunks: 1 });
        }
        let of = |path| ledger.documents_of(path).map(|(id, _)| id.as_str()).collect::<Vec<_>>();
        assert_eq!(of("/b.jsonl"), ["/b.jsonl#1", "/b.jsonl#2"]);
        // `/a.md#b.md` is a file of its own, whose name only looks like a line of another.
        assert_eq!(of("/a.md"), ["/a.md"]);
    }
}
