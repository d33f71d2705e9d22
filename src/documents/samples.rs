//! Files for tests.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Document, ReadError, read};

pub(crate) type Outcome = Vec<Result<Document, ReadError>>;

/// What is read from a file with this content, in a folder of its own.
pub(crate) fn documents(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let documents = read(&path).collect();
    (folder, documents)
}

/// A ZIP file of these parts, in a folder of its own.
pub(crate) fn package(name: &str, parts: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, text) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    (folder, path)
}
