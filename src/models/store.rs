//! Resolves catalogue entries to local paths, without opening the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::catalogue::{ModelEntry, ModelSource, Package, RequiredFile};
use super::files::ModelFiles;
use super::hub::Hub;
use super::missing::{Found, Missing};
use super::prepared::{self, Prepared};
use super::{DownloadProgress, HubSettings, ModelError};

/// Where models are searched for, and how they are downloaded.
#[derive(Clone)]
pub struct ModelStore {
    /// Folders that may contain prepared models, in order of preference.
    pub models_dirs: Vec<PathBuf>,
    /// The hub, its cache, and whether downloads are allowed.
    pub hub: HubSettings,
    /// Contains `models.lock.json`, the record of verified downloads.
    pub state_dir: PathBuf,
    /// Receives download progress.
    pub progress: Arc<dyn DownloadProgress>,
}

/// The user's folder for indexes, prepared models and the record of downloads.
///
/// # Errors
/// Fails if the system reports no home directory for the user.
pub fn data_dir() -> Result<PathBuf> {
    let dir = dirs::data_dir()
        .context("there is no data folder for this user; set HOME or XDG_DATA_HOME")?;
    Ok(dir.join("rag-query"))
}

impl ModelStore {
    /// The user's store: prepared models from the data folder or `RAG_QUERY_MODELS`, and the hub as
    /// configured by the environment. Reports no download progress.
    ///
    /// # Errors
    /// Fails if the user has no data folder.
    pub fn of_user() -> Result<Self> {
        let data = data_dir()?;
        let prepared = std::env::var_os("RAG_QUERY_MODELS");
        Ok(Self {
            models_dirs: vec![prepared.map_or_else(|| data.join("models"), PathBuf::from)],
            hub: HubSettings::from_env(),
            state_dir: data,
            progress: Arc::new(()),
        })
    }

    /// The paths of a model's files. Missing files of a hub model are downloaded, if allowed.
    ///
    /// Makes no request if all files are cached. A model without files yields an empty set.
    ///
    /// # Errors
    /// Fails if a file is missing, damaged or cannot be downloaded; see [`ModelError`].
    pub fn locate(&self, entry: &ModelEntry) -> Result<ModelFiles, ModelError> {
        match self.find(entry)? {
            Found::Here(files) => Ok(files),
            Found::OnHub(missing) => missing.download(),
        }
    }

    /// Same as [`ModelStore::locate`], but leaves the download to the caller, who may want to look at
    /// its size first.
    ///
    /// # Errors
    /// As for [`ModelStore::locate`].
    pub(crate) fn find<'a>(&'a self, entry: &'a ModelEntry) -> Result<Found<'a>, ModelError> {
        let model = entry.id.as_str();
        let here = match &entry.source {
            None => Ok(ModelFiles::new(model, None)),
            Some(ModelSource::Hub { repo, revision, files }) => {
                return Missing::find(self.hub().repository(model, repo, revision), files);
            }
            Some(ModelSource::Prepared { folder, files, package }) => {
                self.locate_prepared(model, folder, files, package)
            }
            Some(ModelSource::Local { folder, files }) => locate_local(model, folder, files),
        };
        here.map(Found::Here)
    }

    /// Same as [`ModelStore::locate`], but never downloads; for listing what is available.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged.
    pub fn locate_offline(&self, entry: &ModelEntry) -> Result<ModelFiles, ModelError> {
        let mut offline = self.clone();
        offline.hub.offline = true;
        offline.locate(entry)
    }

    /// The names of the files that a repository of the hub has; empty if that cannot be found out.
    #[must_use]
    pub fn files_on_hub(&self, repo: &str, revision: &str) -> Vec<String> {
        if self.hub.offline {
            Vec::new()
        } else {
            self.hub().repository("", repo, revision).files()
        }
    }

    fn locate_prepared(
        &self,
        model: &str,
        folder: &str,
        files: &[String],
        package: &Package,
    ) -> Result<ModelFiles, ModelError> {
        let Some(found) = self.prepared_folder(folder, files) else {
            // An incomplete folder makes a more helpful error than one that does not exist.
            let missing = self.models_dirs.iter().find_map(|dir| {
                let folder = dir.join(folder);
                files.iter().find(|file| folder.is_dir() && !folder.join(file).is_file())
            });
            return Err(ModelError::NotPrepared {
                model: model.to_owned(),
                folder: folder.to_owned(),
                file: missing.or(files.first()).cloned().unwrap_or_default(),
                searched: self.models_dirs.clone(),
            });
        };
        let record = Prepared::read(&found)?;
        let mut located = ModelFiles::new(model, None);
        for file in files {
            let path = found.join(file);
            if let Some((expected, _)) = prepared::expected(package, record.as_ref(), file) {
                let found = fs::metadata(&path).map_err(ModelError::io("read", &path))?.len();
                if found != expected {
                    let next = "delete its folder and run `models/prepare-demo`";
                    let model = model.to_owned();
                    return Err(ModelError::Damaged { model, path, expected, found, next });
                }
            }
            located.insert(file, path);
        }
        Ok(located)
    }

    /// The first models folder that contains all the files.
    fn prepared_folder(&self, folder: &str, files: &[String]) -> Option<PathBuf> {
        self.models_dirs
            .iter()
            .map(|dir| dir.join(folder))
            .find(|folder| files.iter().all(|file| folder.join(file).is_file()))
    }

    /// The hub used by [`ModelStore::locate`].
    pub(crate) fn hub(&self) -> Hub<'_> {
        Hub { settings: &self.hub, state_dir: &self.state_dir, progress: &*self.progress }
    }
}

fn locate_local(
    model: &str,
    folder: &Path,
    files: &[RequiredFile],
) -> Result<ModelFiles, ModelError> {
    let mut located = ModelFiles::new(model, None);
    for file in files {
        let Some(name) = file.existing(|name| folder.join(name).is_file()) else {
            let path = folder.join(file.preferred());
            return Err(ModelError::MissingLocal { model: model.to_owned(), path });
        };
        located.insert(name, folder.join(name));
    }
    Ok(located)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Catalogue;

    fn store(dirs: &[&Path]) -> ModelStore {
        ModelStore {
            models_dirs: dirs.iter().map(|dir| dir.to_path_buf()).collect(),
            hub: HubSettings {
                endpoint: "http://127.0.0.1:1".to_owned(),
                cache_dir: PathBuf::from("/nowhere"),
                token: None,
                offline: true,
            },
            state_dir: PathBuf::from("/nowhere"),
            progress: Arc::new(()),
        }
    }

    fn demo() -> crate::models::Profile {
        Catalogue::load(None).unwrap().profile("demo").unwrap()
    }

    fn prepare(dir: &Path, record: Option<&str>) -> PathBuf {
        let folder = dir.join("multilingual-e5-small-q4_0");
        fs::create_dir_all(&folder).unwrap();
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::write(folder.join(file), "{}").unwrap();
        }
        if let Some(record) = record {
            fs::write(folder.join(prepared::NAME), record).unwrap();
        }
        folder
    }

    #[test]
    fn a_prepared_model_is_found_in_the_second_folder() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = prepare(second.path(), None);
        let files = store(&[first.path(), second.path()]).locate(&demo().embedder).unwrap();
        assert_eq!(files.get("config.json").unwrap(), folder.join("config.json"));
        assert_eq!(files.with_extension("safetensors"), [folder.join("model.safetensors")]);
        let error = files.get("vocab.txt").unwrap_err().to_string();
        assert!(error.contains("vocab.txt") && error.contains("q4_0"), "{error}");
    }

    #[test]
    fn a_missing_prepared_model_names_file_folders_and_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let folder = prepare(dir.path(), None);
        fs::remove_file(folder.join("tokenizer.json")).unwrap();
        let error = store(&[dir.path()]).locate(&demo().embedder).unwrap_err().to_string();
        assert!(error.contains("multilingual-e5-small-q4_0/tokenizer.json"), "{error}");
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        assert!(error.ends_with("run `models/prepare-demo`"), "{error}");
        let error = store(&[]).locate(&demo().llm).unwrap_err().to_string();
        assert!(error.contains("none is configured"), "{error}");
    }

    #[test]
    fn a_truncated_prepared_file_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let record =
            r#"{"source":{"sha256":"x"},"files":{"model.safetensors":{"size":9,"sha256":"x"}}}"#;
        prepare(dir.path(), Some(record));
        let error = store(&[dir.path()]).locate(&demo().embedder).unwrap_err().to_string();
        assert!(
            error.contains("model.safetensors") && error.contains("2 bytes instead of 9"),
            "{error}"
        );

        // The LLM file is the package's own, so the catalogue has its size even without a record.
        let folder = dir.path().join("smollm2-135m-instruct");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("SmolLM2-135M-Instruct.Q4_1.gguf"), "GGUF").unwrap();
        let error = store(&[dir.path()]).locate(&demo().llm).unwrap_err().to_string();
        assert!(error.contains("4 bytes instead of 98362432"), "{error}");
    }

    #[test]
    fn a_broken_record_is_an_error_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), Some("[1,2"));
        let error = store(&[dir.path()]).locate(&demo().embedder).unwrap_err().to_string();
        assert!(error.contains("prepared.json"), "{error}");
    }

    #[test]
    fn a_model_without_files_needs_nothing() {
        assert_eq!(store(&[]).locate(&demo().reranker).unwrap().iter().count(), 0);
    }
}
