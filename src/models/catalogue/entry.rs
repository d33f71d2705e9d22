//! Models and profiles, once they are checked.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::CatalogueError;
use super::role::Role;
use super::source::ModelSource;
use super::spec::{EmbedderSpec, LlmSpec, ModelSpec, RerankerSpec};

/// A model whose entry is valid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelEntry {
    /// The entry's key in the catalogue.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The licence of the weights.
    pub licence: String,
    /// Language codes, or "multilingual".
    pub languages: Vec<String>,
    /// Where the files come from; `None` for a model without files.
    pub source: Option<ModelSource>,
    /// The part that depends on the role.
    pub spec: ModelSpec,
}

impl ModelEntry {
    /// Names the weights that an index was built with: `multilingual-e5-small@main`.
    ///
    /// The part after `@` is the revision of a hub model, package and version of a prepared one,
    /// and `local` for a folder.
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

    /// The role that the entry states.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.spec {
            ModelSpec::Embedder(_) => Role::Embedder,
            ModelSpec::Reranker(_) => Role::Reranker,
            ModelSpec::Llm(_) => Role::Llm,
        }
    }

    /// The part that only an embedder has; an error for another role.
    pub fn embedder(&self) -> Result<&EmbedderSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Embedder(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Embedder)),
        }
    }

    /// The part that only a reranker has; an error for another role.
    pub fn reranker(&self) -> Result<&RerankerSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Reranker(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Reranker)),
        }
    }

    /// The part that only an LLM has; an error for another role.
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

/// A profile and its three models, each of the right role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// The profile's name.
    pub name: String,
    /// Whom it is for.
    pub about: String,
    /// Where the LLM runs unless the user says otherwise.
    pub device: ProfileDevice,
    /// The template of the prompt; absent: the built-in one.
    pub prompt: Option<PathBuf>,
    /// The template for rewriting follow-ups; absent: the built-in one.
    pub rewrite_prompt: Option<PathBuf>,
    /// Text to vectors.
    pub embedder: ModelEntry,
    /// Scores passages.
    pub reranker: ModelEntry,
    /// Writes the answer.
    pub llm: ModelEntry,
}

/// Where a profile puts its LLM. Embedder and reranker always run on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileDevice {
    /// The first NVIDIA GPU.
    Cuda,
    /// The processor. Only a profile that says so uses it.
    Cpu,
}
