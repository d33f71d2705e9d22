//! Where a model's files come from. Parts of paths and URLs are validated on parsing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::{is_name, is_relative_file, is_repository, is_sha256};

/// The registry package from which a prepared model is made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Display name of the registry, such as "`PyPI`".
    pub registry: String,
    /// Name of the package in the registry.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// Path of the file inside the package.
    pub file: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A file that a model needs: the first of some names that exists. Repositories are changed, and the
/// same weights are stored as `model.safetensors` or as `pytorch_model.bin`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
pub struct RequiredFile(Vec<String>);

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for RequiredFile {
    fn from(names: OneOrMore) -> Self {
        match names {
            OneOrMore::One(name) => Self(vec![name]),
            OneOrMore::More(names) => Self(names),
        }
    }
}

impl From<RequiredFile> for OneOrMore {
    fn from(RequiredFile(mut names): RequiredFile) -> Self {
        match names.len() {
            1 => Self::One(names.remove(0)),
            _ => Self::More(names),
        }
    }
}

impl RequiredFile {
    /// A file without an alternative.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// Its names, the preferred one first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The first of its names of a file that exists.
    pub(crate) fn existing(&self, exists: impl Fn(&str) -> bool) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|name| exists(name))
    }

    /// The name to tell of where none exists.
    pub(crate) fn preferred(&self) -> &str {
        &self.0[0]
    }
}

/// Where a model's files come from. File names are relative and use `/` as separator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawSource", rename_all = "lowercase")]
pub enum ModelSource {
    /// A repository on the Hugging Face Hub, or on a compatible server.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Branch, tag or commit.
        revision: String,
        /// Required files, cheapest first.
        files: Vec<RequiredFile>,
    },
    /// A folder inside a models folder, made from a registry package by `models/prepare-demo`.
    Prepared {
        /// Name of the folder.
        folder: String,
        /// Required files.
        files: Vec<String>,
        /// The package it is made from.
        package: Package,
    },
    /// A folder provided by the user.
    Local {
        /// Absolute path.
        folder: PathBuf,
        /// Required files.
        files: Vec<RequiredFile>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    hub: Option<String>,
    revision: Option<String>,
    prepared: Option<String>,
    package: Option<Package>,
    path: Option<String>,
    files: Vec<RequiredFile>,
}

impl TryFrom<RawSource> for ModelSource {
    type Error = String;

    fn try_from(raw: RawSource) -> Result<Self, String> {
        let RawSource { hub, revision, prepared, package, path, files } = raw;
        if files.is_empty() {
            return Err("`files` is empty".to_owned());
        }
        if files.iter().any(|file| file.names().is_empty()) {
            return Err("a file of `files` has no name".to_owned());
        }
        let mut names = files.iter().flat_map(RequiredFile::names);
        if let Some(file) = names.find(|file| !is_relative_file(file)) {
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
                let files = files.into_iter().map(|file| match <[String; 1]>::try_from(file.0) {
                    Ok([name]) => Ok(name),
                    Err(_) => Err("a prepared model's files have one name each".to_owned()),
                });
                Ok(Self::Prepared { folder, files: files.collect::<Result<_, _>>()?, package })
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
