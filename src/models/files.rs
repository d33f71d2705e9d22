//! A model's files on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ModelError;

/// A model's files, all of which exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    model: String,
    paths: BTreeMap<String, PathBuf>,
    /// Commit of the files, for a hub model.
    pub revision: Option<String>,
}

impl ModelFiles {
    pub(crate) fn new(model: &str, revision: Option<String>) -> Self {
        Self { model: model.to_owned(), paths: BTreeMap::new(), revision }
    }

    pub(crate) fn insert(&mut self, file: &str, path: PathBuf) {
        self.paths.insert(file.to_owned(), path);
    }

    /// The path of a file, given its name in the catalogue.
    ///
    /// # Errors
    /// Fails if the catalogue does not list the file for this model.
    pub fn get(&self, file: &str) -> Result<&Path, ModelError> {
        self.paths.get(file).map(PathBuf::as_path).ok_or_else(|| ModelError::NotListed {
            model: self.model.clone(),
            file: file.to_owned(),
        })
    }

    /// Paths of all files with this extension, sorted by name; for a sharded model, that is shard
    /// order.
    #[must_use]
    pub fn with_extension(&self, extension: &str) -> Vec<&Path> {
        let wanted = |name: &str| Path::new(name).extension().is_some_and(|e| e == extension);
        self.paths.iter().filter(|(name, _)| wanted(name)).map(|(_, path)| path.as_path()).collect()
    }

    /// Names and paths, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().map(|(name, path)| (name.as_str(), path.as_path()))
    }
}
