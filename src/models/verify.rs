//! Rehashes a model's files and compares them with recorded hashes.
//!
//! The hash of a prepared file is recorded in the catalogue if the file is the package's own,
//! otherwise in the folder's `prepared.json`. That of a downloaded file is in the lock file, or
//! else in the name of its blob, which for large files downloaded by other tools is the SHA-256.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::catalogue::{ModelEntry, ModelSource, Package, RequiredFile, is_sha256};
use super::lockfile::LockFile;
use super::prepared::{self, Prepared};
use super::store::ModelStore;
use super::{ModelError, digest};

/// The result of a verification, per file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Key of the model.
    pub model: String,
    /// In catalogue order.
    pub files: Vec<FileReport>,
}

impl VerifyReport {
    /// Whether every file exists and none contradicts its record.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.files.iter().all(|f| matches!(f.outcome, Outcome::Ok | Outcome::NoRecord))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Name of the file in the catalogue.
    pub file: String,
    /// Where the file is, or should be.
    pub path: PathBuf,
    /// SHA-256 of the file; `None` if it could not be read.
    pub sha256: Option<String>,
    /// How the file compares with its record.
    pub outcome: Outcome,
}

/// How a file compares with its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The hash matches the record.
    Ok,
    /// The hash differs from the record.
    Mismatch {
        /// The recorded SHA-256.
        expected: String,
    },
    /// The file does not exist.
    Missing,
    /// The file exists, but no hash is recorded for it.
    NoRecord,
    /// The file exists but cannot be read.
    Unreadable {
        /// Why it cannot be read.
        reason: String,
    },
}

/// Hashes the model's files in full. Downloads nothing.
///
/// # Errors
/// Fails if a record (`models.lock.json`, `prepared.json`) exists but cannot be read. Problems with
/// the files themselves go into the report.
pub fn verify(store: &ModelStore, entry: &ModelEntry) -> Result<VerifyReport, ModelError> {
    let files = match &entry.source {
        None => vec![],
        Some(ModelSource::Hub { repo, revision, files }) => {
            let lock = LockFile::read(&store.state_dir)?;
            let hub = store.hub().repository(&entry.id, repo, revision);
            let commit = hub.cached_commit();
            let check = |file: &RequiredFile| {
                let path = |name: &str| hub.path(commit.as_deref(), name);
                let there = file.existing(|name| path(name).is_file());
                let file = there.unwrap_or(file.preferred());
                let path = path(file);
                let recorded = commit.as_deref().and_then(|c| lock.find(repo, c, file));
                let expected = recorded.map(|r| r.sha256.clone()).or_else(|| blob_digest(&path));
                compare(file, path, expected.as_deref())
            };
            files.iter().map(check).collect()
        }
        Some(ModelSource::Prepared { folder, files, package }) => {
            verify_prepared(store, folder, files, package)?
        }
        Some(ModelSource::Local { folder, files }) => {
            let check = |file: &RequiredFile| {
                let there = file.existing(|name| folder.join(name).is_file());
                let file = there.unwrap_or(file.preferred());
                compare(file, folder.join(file), None)
            };
            files.iter().map(check).collect()
        }
    };
    Ok(VerifyReport { model: entry.id.clone(), files })
}

fn verify_prepared(
    store: &ModelStore,
    folder: &str,
    files: &[String],
    package: &Package,
) -> Result<Vec<FileReport>, ModelError> {
    let mut folders = store.models_dirs.iter().map(|dir| dir.join(folder));
    let found = folders.find(|folder| folder.is_dir()).unwrap_or_else(|| PathBuf::from(folder));
    let record = Prepared::read(&found)?;
    let check = |file: &String| {
        let expected = prepared::expected(package, record.as_ref(), file);
        compare(file, found.join(file), expected.map(|(_, sha256)| sha256))
    };
    let mut reports: Vec<_> = files.iter().map(check).collect();
    // Files may match their folder's record, yet come from a package other than the catalogue's.
    if let Some(record) = record.filter(|record| record.source.sha256 != package.sha256) {
        reports.push(FileReport {
            file: prepared::NAME.to_owned(),
            path: found.join(prepared::NAME),
            sha256: Some(record.source.sha256),
            outcome: Outcome::Mismatch { expected: package.sha256.clone() },
        });
    }
    Ok(reports)
}

/// The SHA-256 in a large file's blob name, taken from the snapshot's link.
fn blob_digest(path: &Path) -> Option<String> {
    let blob = std::fs::read_link(path).ok()?;
    let name = blob.file_name()?.to_str()?;
    is_sha256(name).then(|| name.to_owned())
}

fn compare(file: &str, path: PathBuf, expected: Option<&str>) -> FileReport {
    let (sha256, outcome) = match digest::of_file(&path) {
        Ok((_, sha256)) => {
            let outcome = match expected {
                None => Outcome::NoRecord,
                Some(expected) if expected == sha256 => Outcome::Ok,
                Some(expected) => Outcome::Mismatch { expected: expected.to_owned() },
            };
            (Some(sha256), outcome)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, Outcome::Missing),
        Err(error) => (None, Outcome::Unreadable { reason: error.to_string() }),
    };
    FileReport { file: file.to_owned(), path, sha256, outcome }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::models::{Catalogue, HubSettings};

    /// SHA-256 of "{}".
    const BRACES: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn demo_embedder() -> ModelEntry {
        Catalogue::load(None).unwrap().model("multilingual-e5-small-q4_0").unwrap().clone()
    }

    fn store(models: &Path) -> ModelStore {
        ModelStore {
            models_dirs: vec![models.to_owned()],
            hub: HubSettings {
                endpoint: "http://127.0.0.1:1".to_owned(),
                cache_dir: models.join("hub"),
                token: None,
                offline: true,
            },
            state_dir: models.join("state"),
            progress: Arc::new(()),
        }
    }

    fn outcomes(report: &VerifyReport) -> Vec<(&str, &Outcome)> {
        report.files.iter().map(|f| (f.file.as_str(), &f.outcome)).collect()
    }

    #[test]
    fn a_prepared_folder_is_compared_with_its_record_and_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let entry = demo_embedder();
        let folder = dir.path().join("multilingual-e5-small-q4_0");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(folder.join("tokenizer.json"), "{ }").unwrap();
        let record = serde_json::json!({
            "source": {"sha256": "another package"},
            "files": {
                "config.json": {"size": 2, "sha256": BRACES},
                "tokenizer.json": {"size": 3, "sha256": BRACES},
            }
        });
        fs::write(folder.join("prepared.json"), record.to_string()).unwrap();

        let report = verify(&store(dir.path()), &entry).unwrap();
        assert!(!report.is_ok());
        let Some(ModelSource::Prepared { package, .. }) = &entry.source else { panic!("prepared") };
        assert_eq!(
            outcomes(&report),
            [
                ("config.json", &Outcome::Ok),
                ("tokenizer.json", &Outcome::Mismatch { expected: BRACES.to_owned() }),
                ("model.safetensors", &Outcome::Missing),
                ("prepared.json", &Outcome::Mismatch { expected: package.sha256.clone() }),
            ]
        );
    }

    #[test]
    fn an_absent_folder_is_missing_not_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let report = verify(&store(dir.path()), &demo_embedder()).unwrap();
        assert!(report.files.iter().all(|f| f.outcome == Outcome::Missing));
        assert_eq!(report.files.len(), 3);
    }
}
