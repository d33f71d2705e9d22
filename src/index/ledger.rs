//! The documents and files in an index, and their recorded state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::documents::RECORD_MARKS;
pub use crate::documents::file_of;

/// Recorded state of an indexed file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// File size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970; absent if a later change could have the same
    /// time stamp.
    pub modified: Option<u64>,
    /// Time of the last change of content, name or rights, like `modified`. Programs can set that
    /// back, but not this one. Only on Unix.
    #[serde(default)]
    pub changed: Option<u64>,
    /// Number of the file in its file system, which another file in its place does not have. Only on
    /// Unix.
    #[serde(default)]
    pub inode: Option<u64>,
    /// BLAKE3 of the content.
    pub hash: String,
    /// Version of the document reader that read it.
    pub reader: u32,
}

/// Recorded state of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentState {
    /// BLAKE3 of the document's content.
    pub hash: String,
    /// Number of chunks.
    pub chunks: u64,
    /// What its front matter files it under. Not known of documents that an earlier version indexed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// What is known of a file or folder that was named to be indexed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RootState {
    /// Patterns that choose among its files; all of them, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Patterns of files to skip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// The documents and files in an index, and where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    files: BTreeMap<String, FileState>,
    documents: BTreeMap<String, DocumentState>,
    roots: BTreeMap<String, RootState>,
}

impl Ledger {
    /// Fully indexed files, by absolute path.
    pub fn files(&self) -> &BTreeMap<String, FileState> {
        &self.files
    }

    /// Documents by id, including those without chunks.
    pub fn documents(&self) -> &BTreeMap<String, DocumentState> {
        &self.documents
    }

    /// Files and folders that were named to be indexed, by absolute path.
    pub fn roots(&self) -> &BTreeMap<String, RootState> {
        &self.roots
    }

    /// Adds what another index has.
    pub(crate) fn join(&mut self, other: Self) {
        self.files.extend(other.files);
        self.documents.extend(other.documents);
        self.roots.extend(other.roots);
    }

    /// The documents of the file at `path`: the file itself, or its `path#id` entries.
    pub fn documents_of<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a DocumentState)> {
        let own = self.documents.get_key_value(path);
        let records = RECORD_MARKS.into_iter().flat_map(move |mark| {
            let begin = format!("{path}{mark}");
            let records = self.documents.range(begin.clone()..);
            records.take_while(move |(id, _)| id.starts_with(&begin))
        });
        own.into_iter().chain(records.filter(move |(id, _)| file_of(id) == path))
    }

    /// How many documents of the file at `path` have text.
    pub fn readable_documents_of(&self, path: &str) -> usize {
        self.documents_of(path).filter(|(_, document)| document.chunks > 0).count()
    }

    pub(crate) fn insert_file(&mut self, path: impl Into<String>, state: FileState) {
        self.files.insert(path.into(), state);
    }

    pub(crate) fn insert_document(&mut self, id: impl Into<String>, state: DocumentState) {
        self.documents.insert(id.into(), state);
    }

    pub(crate) fn insert_root(&mut self, path: impl Into<String>, state: RootState) {
        self.roots.insert(path.into(), state);
    }

    /// Forgets a root; returns its recorded state.
    pub(crate) fn remove_root(&mut self, path: &str) -> Option<RootState> {
        self.roots.remove(path)
    }

    /// Forgets a file; returns its recorded state.
    pub(crate) fn remove_file(&mut self, path: &str) -> Option<FileState> {
        self.files.remove(path)
    }

    /// Forgets a document; returns its recorded state.
    pub(crate) fn remove_document(&mut self, id: &str) -> Option<DocumentState> {
        self.documents.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_older_indexes_are_read() {
        let old = r#"{"size":9,"modified":7,"hash":"ab","reader":1}"#;
        let state: FileState = serde_json::from_str(old).unwrap();
        assert_eq!((state.size, state.changed, state.inode), (9, None, None));
        assert_eq!(serde_json::from_str::<RootState>("{}").unwrap(), RootState::default());
    }

    #[test]
    fn the_documents_of_a_file_are_itself_or_its_lines() {
        let mut ledger = Ledger::default();
        let mail = ["/Inbox", "/Inbox//#1", "/Inbox/a.md", "/old.MBOX#2"];
        let lines = ["/b.jsonl#1", "/b.jsonl#2", "/b.jsonlx", "/a.md#b.md", "/a.md"];
        for id in lines.into_iter().chain(mail) {
            ledger.insert_document(id, DocumentState { chunks: 1, ..DocumentState::default() });
        }
        let of = |path| ledger.documents_of(path).map(|(id, _)| id.as_str()).collect::<Vec<_>>();
        assert_eq!(of("/b.jsonl"), ["/b.jsonl#1", "/b.jsonl#2"]);
        assert_eq!(of("/Inbox"), ["/Inbox", "/Inbox//#1"]);
        assert_eq!(of("/old.MBOX"), ["/old.MBOX#2"]);
        // `/a.md#b.md` is a file in its own right; its name merely resembles a line of another
        // file.
        assert_eq!(of("/a.md"), ["/a.md"]);
    }
}
