//! Validated models and profiles.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::CatalogueError;
use super::role::Role;
use super::source::ModelSource;
use super::spec::{EmbedderSpec, LlmSpec, ModelSpec, RerankerSpec};

/// A model with a valid catalogue entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelEntry {
    /// Key of the entry in the catalogue.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Licence of the weights.
    pub licence: String,
    /// Language codes, or "multilingual".
    pub languages: Vec<String>,
    /// On what the quality of its ranking was measured; `None` if it was not, or if it ranks nothing.
    pub measured: Option<String>,
    /// Where the files come from; `None` for a model without files.
    pub source: Option<ModelSource>,
    /// The role-specific part.
    pub spec: ModelSpec,
}

impl ModelEntry {
    /// Identifies the weights an index was built with: `multilingual-e5-small@main`.
    ///
    /// The part after `@` is the revision of a hub model, the package and version of a prepared
    /// one, or `local` for a folder.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.source {
            Some(ModelSource::Hub { revision, .. }) => format!("{}@{revision}", self.id),
            Some(ModelSource::Prepared { package, .. }) => {
                format!("{}@{}-{}", self.id, package.name, package.version)
            }
            Some(ModelSource::Local { .. }) => format!("{}@local", self.id),
            None => self.id.clone(),
        }
    }

    pub(super) fn language_directions(&mut self) -> Option<&mut PathBuf> {
        match &mut self.spec {
            ModelSpec::Embedder(spec) => spec.language_directions.as_mut(),
            _ => None,
        }
    }

    /// The role that the entry declares.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.spec {
            ModelSpec::Embedder(_) => Role::Embedder,
            ModelSpec::Reranker(_) => Role::Reranker,
            ModelSpec::Llm(_) => Role::Llm,
        }
    }

    /// The spec of an embedder; an error for any other role.
    pub fn embedder(&self) -> Result<&EmbedderSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Embedder(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Embedder)),
        }
    }

    /// The spec of a reranker; an error for any other role.
    pub fn reranker(&self) -> Result<&RerankerSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Reranker(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Reranker)),
        }
    }

    /// The spec of an LLM; an error for any other role.
    pub fn llm(&self) -> Result<&LlmSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Llm(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Llm)),
        }
    }

    fn wrong_role(&self, wanted: Role) -> CatalogueError {
        CatalogueError::WrongRole { model: self.id.clone(), found: self.role(), wanted }
    }
}

/// A profile with its three models, each of the right role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Name of the profile.
    pub name: String,
    /// Whom the profile is for.
    pub about: String,
    /// Default device of the LLM.
    pub device: ProfileDevice,
    /// Prompt template; the built-in one if absent.
    pub prompt: Option<PathBuf>,
    /// Template for rewriting follow-ups; the built-in one if absent.
    pub rewrite_prompt: Option<PathBuf>,
    /// The model that embeds questions and passages.
    pub embedder: ModelEntry,
    /// The model that rescores candidates.
    pub reranker: ModelEntry,
    /// The model that writes the answer.
    pub llm: ModelEntry,
}

/// Default device of a profile's LLM. Embedder and reranker always run on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileDevice {
    /// The NVIDIA GPU with the most free memory.
    Cuda,
    /// The CPU: an explicit choice, never a fallback.
    Cpu,
}
