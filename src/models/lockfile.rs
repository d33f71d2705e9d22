//! `models.lock.json`: records verified downloads, so that they can be verified again later.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::support::{bounded, whole};

const NAME: &str = "models.lock.json";
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 16 << 20;

/// A verified file from a hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Record {
    pub repo: String,
    pub revision: String,
    pub commit: String,
    pub file: String,
    /// In bytes.
    pub size: u64,
    pub sha256: String,
}

/// All records of a state folder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct LockFile {
    version: u32,
    files: Vec<Record>,
}

impl Default for LockFile {
    fn default() -> Self {
        Self { version: VERSION, files: Vec::new() }
    }
}

impl LockFile {
    /// Reads the lock file of a state folder; a missing file counts as empty.
    pub fn read(state_dir: &Path) -> Result<Self, ModelError> {
        let path = state_dir.join(NAME);
        let unreadable = |reason: String| ModelError::Record {
            path: path.clone(),
            reason,
            next: "delete it; downloads are recorded anew",
        };
        let bytes = match bounded::read(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let lock: Self = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if lock.version != VERSION {
            return Err(unreadable(format!("its version is {}, not {VERSION}", lock.version)));
        }
        Ok(lock)
    }

    /// The record of a file at a commit.
    pub fn find(&self, repo: &str, commit: &str, file: &str) -> Option<&Record> {
        self.files.iter().find(|r| r.repo == repo && r.commit == commit && r.file == file)
    }
}

/// Adds a record, replacing one with the same repository, revision and file.
pub(crate) fn record(state_dir: &Path, record: Record) -> Result<(), ModelError> {
    fs::create_dir_all(state_dir).map_err(ModelError::io("create", state_dir))?;
    // Two downloads may finish at once, so the read-modify-write must be atomic.
    let guard_path = state_dir.join(format!(".{NAME}.lock"));
    let guard = File::create(&guard_path).map_err(ModelError::io("create", &guard_path))?;
    guard.lock().map_err(ModelError::io("lock", &guard_path))?;

    let mut lock = LockFile::read(state_dir)?;
    lock.files.retain(|r| {
        (&r.repo, &r.revision, &r.file) != (&record.repo, &record.revision, &record.file)
    });
    lock.files.push(record);
    lock.files
        .sort_by(|a, b| (&a.repo, &a.revision, &a.file).cmp(&(&b.repo, &b.revision, &b.file)));
    let mut json = serde_json::to_vec_pretty(&lock).expect("strings and numbers serialize");
    json.push(b'\n');
    let path = state_dir.join(NAME);
    whole::write(&path, &json).map_err(ModelError::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(revision: &str, commit: &str) -> Record {
        Record {
            repo: "a/b".to_owned(),
            revision: revision.to_owned(),
            commit: commit.to_owned(),
            file: "config.json".to_owned(),
            size: 2,
            sha256: "0".repeat(64),
        }
    }

    #[test]
    fn a_newer_commit_replaces_the_record_of_its_revision() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("not/yet/there");
        record(&state, example("main", "c1")).unwrap();
        record(&state, example("v1", "c1")).unwrap();
        record(&state, example("main", "c2")).unwrap();
        let lock = LockFile::read(&state).unwrap();
        assert_eq!(lock.files.len(), 2);
        assert!(lock.find("a/b", "c2", "config.json").is_some());
        assert!(lock.find("a/b", "c2", "other.json").is_none());
        let names: Vec<_> = fs::read_dir(&state).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{names:?}");
    }

    #[test]
    fn concurrent_records_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let state = folder.path();
                scope.spawn(move || record(state, example(&format!("v{n}"), "c")).unwrap());
            }
        });
        assert_eq!(LockFile::read(folder.path()).unwrap().files.len(), 8);
    }

    #[test]
    fn a_broken_lock_file_is_named_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "{").unwrap();
        let error = record(folder.path(), example("main", "c1")).unwrap_err().to_string();
        assert!(error.contains("models.lock.json") && error.contains("delete it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    }
}
