//! The catalogue: profiles and models as data, validated on load.
//!
//! The built-in catalogue is `models/catalogue.toml`; a user's file can extend and override it.
//! Anything that later becomes part of a path or URL (repositories, revisions, file names) is
//! validated here, so that other modules can trust it.

mod entry;
mod error;
mod names;
mod parse;
mod role;
mod source;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::bounded;
pub use entry::{ModelEntry, Profile, ProfileDevice};
pub use error::CatalogueError;
pub(crate) use names::{is_name, is_relative_file, is_repository, is_sha256};
use parse::{Parsed, RawProfile, parse};
pub use role::Role;
pub use source::{ModelSource, Package, RequiredFile};
pub use spec::{
    Calibration, EmbedderSpec, JudgeCalibration, LlmFormat, LlmSpec, Logistic, ModelSpec, Pooling,
    Precision, RerankerSpec, SupportThresholds,
};

const BUILT_IN: &str = include_str!("../../../models/catalogue.toml");

/// Size limit for a user's catalogue, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// All profiles and models.
#[derive(Clone, Debug)]
pub struct Catalogue {
    profiles: BTreeMap<String, RawProfile>,
    models: BTreeMap<String, ModelEntry>,
}

impl Catalogue {
    /// Reads the built-in catalogue, then the user's file, whose entries override those with the
    /// same key.
    ///
    /// # Errors
    /// Fails if the user's file cannot be read, is larger than 1 MiB, or is not a valid catalogue.
    pub fn load(user_file: Option<&Path>) -> Result<Self, CatalogueError> {
        let Parsed { mut profiles, mut models } = parse("built in", BUILT_IN)?;
        if let Some(path) = user_file {
            let mut user = parse(&path.display().to_string(), &read(path)?)?;
            let folder = path.parent().unwrap_or(Path::new(""));
            for profile in user.profiles.values_mut() {
                for file in [&mut profile.prompt, &mut profile.rewrite_prompt].into_iter().flatten()
                {
                    *file = folder.join(&*file);
                }
            }
            for file in user.models.values_mut().filter_map(ModelEntry::language_directions) {
                // Otherwise the name refers to a built-in file.
                if folder.join(&*file).exists() {
                    *file = folder.join(&*file);
                }
            }
            profiles.extend(user.profiles);
            models.extend(user.models);
        }
        Ok(Self { profiles, models })
    }

    /// Looks up a profile and its three models.
    ///
    /// # Errors
    /// Fails if there is no such profile (the error lists all), or if a model is missing or has the
    /// wrong role.
    pub fn profile(&self, name: &str) -> Result<Profile, CatalogueError> {
        let profile = self.profiles.get(name).ok_or_else(|| CatalogueError::UnknownProfile {
            name: name.to_owned(),
            known: self.profiles.keys().cloned().collect(),
        })?;
        let resolved = Profile {
            name: name.to_owned(),
            about: profile.about.clone(),
            device: profile.device,
            prompt: profile.prompt.clone(),
            rewrite_prompt: profile.rewrite_prompt.clone(),
            embedder: self.model(&profile.embedder)?.clone(),
            reranker: self.model(&profile.reranker)?.clone(),
            llm: self.model(&profile.llm)?.clone(),
        };
        resolved.embedder.embedder()?;
        resolved.reranker.reranker()?;
        resolved.llm.llm()?;
        Ok(resolved)
    }

    /// Looks up a model by key.
    ///
    /// # Errors
    /// Fails if there is no such model; the error lists all.
    pub fn model(&self, id: &str) -> Result<&ModelEntry, CatalogueError> {
        self.models.get(id).ok_or_else(|| CatalogueError::UnknownModel {
            name: id.to_owned(),
            known: self.models.keys().cloned().collect(),
        })
    }

    /// All models, ordered by key.
    pub fn models(&self) -> impl Iterator<Item = &ModelEntry> {
        self.models.values()
    }

    /// All profile names, sorted.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }
}

fn read(path: &Path) -> Result<String, CatalogueError> {
    bounded::read_text(path, MAX_BYTES)
        .map_err(|source| CatalogueError::Read { path: path.to_owned(), source })
}
