//! Parses and validates the text of a catalogue.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::entry::{ModelEntry, ProfileDevice};
use super::error::CatalogueError;
use super::names::is_name;
use super::source::ModelSource;
use super::spec::{ModelSpec, RerankerSpec};

/// Larger token counts or dimensions are typos: no model has them.
const MAX_COUNT: usize = 1 << 24;

/// Parses the entries of one file; errors refer to it as `origin`.
pub(super) fn parse(origin: &str, text: &str) -> Result<Parsed, CatalogueError> {
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
    Ok(Parsed { profiles: raw.profiles, models })
}

pub(super) struct Parsed {
    pub profiles: BTreeMap<String, RawProfile>,
    pub models: BTreeMap<String, ModelEntry>,
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
pub(super) struct RawProfile {
    pub about: String,
    pub embedder: String,
    pub reranker: String,
    pub llm: String,
    pub device: ProfileDevice,
    /// Relative to the catalogue file.
    #[serde(default)]
    pub prompt: Option<PathBuf>,
    /// Relative to the catalogue file.
    #[serde(default)]
    pub rewrite_prompt: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Common {
    name: String,
    licence: String,
    languages: Vec<String>,
    #[serde(default)]
    measured: Option<String>,
    source: Option<ModelSource>,
}

/// Serde cannot combine `flatten` with `deny_unknown_fields`. So the common keys are removed first,
/// and the rest must match the role's keys exactly.
fn parse_model(id: &str, mut table: toml::Table) -> Result<ModelEntry, String> {
    if !is_name(id) {
        return Err("a key may hold letters, digits, `.`, `_` and `-` only".to_owned());
    }
    let mut common = toml::Table::new();
    for key in ["name", "licence", "languages", "measured", "source"] {
        if let Some(value) = table.remove(key) {
            common.insert(key.to_owned(), value);
        }
    }
    let one_line = |error: toml::de::Error| error.message().to_owned();
    let Common { name, licence, languages, measured, source } =
        common.try_into().map_err(one_line)?;
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
    if let ModelSpec::Embedder(spec) = &spec
        && let Some(chunk) = spec.chunk_tokens.filter(|chunk| *chunk > spec.largest_chunk())
    {
        return Err(format!(
            "`chunk_tokens` is {chunk}, but with `max_tokens` {} a chunk has at most {}, since \
             headings and prefix are read too",
            spec.max_tokens,
            spec.largest_chunk()
        ));
    }
    Ok(ModelEntry { id: id.to_owned(), name, licence, languages, measured, source, spec })
}

fn counts(spec: &ModelSpec) -> Vec<usize> {
    match spec {
        ModelSpec::Embedder(spec) => {
            [spec.max_tokens, spec.dimension].into_iter().chain(spec.chunk_tokens).collect()
        }
        ModelSpec::Reranker(RerankerSpec::CrossEncoder { max_tokens, .. }) => vec![*max_tokens],
        ModelSpec::Reranker(RerankerSpec::LateInteraction {}) => vec![],
        ModelSpec::Llm(spec) => spec.context.into_iter().collect(),
    }
}
