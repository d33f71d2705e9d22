//! Reads one file of settings.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use clap::{Command, CommandFactory};
use serde::Deserialize;
use toml::{Table, Value};

use super::error::{ConfigError, Problem};
use super::options::{INDEXES, Names, Needs, OPTIONS, suggestion};
use crate::cli::args::Cli;
use crate::support::bounded;

/// Limits of a file.
const MAX_BYTES: u64 = 1 << 20;
const MAX_INDEXES: usize = 1000;

/// Whether a file may set everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Trusted,
    /// Never trusted by the user, or changed since.
    NotTrusted,
}

/// A file's settings.
#[derive(Debug)]
pub struct ConfigFile {
    pub path: PathBuf,
    /// By name, as they would stand on the command line.
    pub options: BTreeMap<String, Vec<String>>,
    /// By name, without the `@`.
    pub indexes: BTreeMap<String, NamedIndex>,
    /// Settings that it makes but may not make, until the user trusts it.
    pub held_back: Vec<String>,
}

/// An index with what belongs in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedIndex {
    /// Files and folders; absolute.
    pub roots: Vec<PathBuf>,
    #[serde(default)]
    pub include: Vec<String>,
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What it is about, for people and programs that choose.
    #[serde(default)]
    pub description: String,
    /// The project whose file defines it; `None` for the user's own.
    #[serde(skip)]
    pub project: Option<PathBuf>,
}

impl ConfigFile {
    /// `standing` says whether to trust a file with this content.
    pub fn read(
        path: &Path,
        standing: impl FnOnce(&[u8]) -> Standing,
    ) -> Result<Self, ConfigError> {
        let failed = |problem| ConfigError { path: path.to_owned(), problem };
        let bytes = bounded::read(path, MAX_BYTES)
            .map_err(|error| failed(Problem::Unreadable(error.to_string())))?;
        let text =
            str::from_utf8(&bytes).map_err(|error| failed(Problem::Syntax(error.to_string())))?;
        let table: Table = text
            .trim_start_matches('\u{feff}')
            .parse()
            .map_err(|error: toml::de::Error| failed(Problem::Syntax(error.to_string())))?;
        let mut file = Self {
            path: path.to_owned(),
            options: BTreeMap::new(),
            indexes: BTreeMap::new(),
            held_back: Vec::new(),
        };
        file.take(table).map_err(failed)?;
        if standing(&bytes) == Standing::NotTrusted {
            file.hold_back();
        }
        Ok(file)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn take(&mut self, table: Table) -> Result<(), Problem> {
        let mut command = Cli::command();
        for (key, value) in table {
            if key == INDEXES {
                self.take_indexes(value)?;
                continue;
            }
            let Some((name, _, names)) = OPTIONS.iter().find(|(name, ..)| *name == key) else {
                let suggestion = suggestion(&key);
                return Err(Problem::Unknown { key, suggestion });
            };
            let mut values = as_arguments(&value)
                .map_err(|reason| Problem::Value { key: key.clone(), reason: reason.to_owned() })?;
            try_out(&mut command, name, &values)
                .map_err(|reason| Problem::Value { key: key.clone(), reason })?;
            let is_path = |value: &str| match names {
                Names::Nothing => false,
                Names::Path => true,
                Names::PathOrKey => {
                    value.contains(['/', '\\']) || self.folder().join(value).exists()
                }
            };
            let absolute =
                |value: String| if is_path(&value) { self.absolute(&value) } else { value };
            values = values.into_iter().map(absolute).collect();
            self.options.insert(key, values);
        }
        Ok(())
    }

    fn take_indexes(&mut self, value: Value) -> Result<(), Problem> {
        let wrong = |name: &str, reason: &str| Problem::Index {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let Value::Table(table) = value else {
            let reason = "expected tables, such as [indexes.notes]".to_owned();
            return Err(Problem::Value { key: INDEXES.to_owned(), reason });
        };
        if table.len() > MAX_INDEXES {
            let reason = format!("there are more than {MAX_INDEXES}");
            return Err(Problem::Value { key: INDEXES.to_owned(), reason });
        }
        for (name, value) in table {
            let mut index: NamedIndex =
                value.try_into().map_err(|error: toml::de::Error| wrong(&name, error.message()))?;
            if index.roots.is_empty() {
                return Err(wrong(&name, "`roots` names no file or folder"));
            }
            let roots =
                index.roots.iter().map(|root| self.absolute(&root.to_string_lossy()).into());
            index.roots = roots.collect();
            self.indexes.insert(name, index);
        }
        Ok(())
    }

    /// A path relative to the file's folder as an absolute one; names and addresses as they are.
    fn absolute(&self, value: &str) -> String {
        let is_name = value.starts_with('@')
            || value.starts_with("hf:")
            || value.starts_with("openai:")
            || value.contains("://");
        let path = match value.strip_prefix("~/").zip(dirs::home_dir()) {
            _ if is_name => return value.to_owned(),
            Some((rest, home)) => home.join(rest),
            None => self.folder().join(value),
        };
        path.to_string_lossy().into_owned()
    }

    /// Takes away what only a trusted project may set.
    fn hold_back(&mut self) {
        let inside = |path: &Path| is_inside(path, self.folder());
        let is_harmless = |name: &str, values: &[String]| {
            let option = OPTIONS.iter().find(|(option, ..)| *option == name);
            option.is_some_and(|(_, needs, _)| match needs {
                Needs::Nothing => true,
                Needs::Trust => false,
                Needs::TrustOutside => values.iter().all(|value| match value.strip_prefix('@') {
                    Some(name) => self.indexes.contains_key(name),
                    None => !value.contains("://") && inside(Path::new(value)),
                }),
            })
        };
        let held: Vec<String> = self
            .options
            .iter()
            .filter(|(name, values)| !is_harmless(name, values))
            .map(|(name, _)| name.clone())
            .collect();
        let outside =
            self.indexes.iter().filter(|(_, index)| !index.roots.iter().all(|root| inside(root)));
        let outside: Vec<String> = outside.map(|(name, _)| name.clone()).collect();
        self.options.retain(|name, _| !held.contains(name));
        self.indexes.retain(|name, _| !outside.contains(name));
        let outside = outside.iter().map(|name| format!("{INDEXES}.{name}"));
        self.held_back = held.into_iter().chain(outside).collect();
    }
}

/// Whether a path stays in a folder, whatever links there are.
fn is_inside(path: &Path, folder: &Path) -> bool {
    let climbs = path.components().any(|component| component == Component::ParentDir);
    // What does not exist yet is where its nearest existing ancestor is.
    let real = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    let folder = folder.canonicalize();
    !climbs && real.zip(folder.ok()).is_some_and(|(real, folder)| real.starts_with(folder))
}

/// A value as it would stand on the command line.
fn as_arguments(value: &Value) -> Result<Vec<String>, &'static str> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is_set) => Ok(is_set.to_string()),
        _ => Err("expected a text, a number, true or false, or a list of these"),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// Whether the option takes these values; else why not, as it would be told for the command line.
fn try_out(command: &mut Command, name: &str, values: &[String]) -> Result<(), String> {
    let option = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let takes = option.map(|arg| arg.get_action().clone());
    if matches!(takes, Some(clap::ArgAction::SetTrue)) {
        let is_flag = matches!(values, [value] if value == "true" || value == "false");
        return if is_flag { Ok(()) } else { Err("expected true or false".to_owned()) };
    }
    if values.is_empty() || (values.len() > 1 && !matches!(takes, Some(clap::ArgAction::Append))) {
        return Err("expected one value".to_owned());
    }
    let args = values.iter().map(|value| format!("--{name}={value}"));
    let args = ["rag-query".to_owned()].into_iter().chain(args);
    command.try_get_matches_from_mut(args).map(drop).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(folder: &Path, text: &str, standing: Standing) -> Result<ConfigFile, String> {
        let path = folder.join(".rag-query.toml");
        fs::write(&path, text).unwrap();
        ConfigFile::read(&path, |_| standing).map_err(|error| error.to_string())
    }

    const EVERYTHING: &str = r#"
        index = "kept"
        profile = "cpu"
        extractive = true
        top-k = 7
        reader = ["odg=odg2txt {}"]
        llm = "evil.gguf"
        catalogue = "models.toml"
        [indexes.notes]
        roots = ["notes", "more"]
        include = ["*.md"]
        description = "What we know"
        [indexes.secrets]
        roots = ["notes/../../secrets"]
    "#;

    #[test]
    fn a_trusted_file_sets_everything_and_paths_are_relative_to_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("evil.gguf"), "").unwrap();
        let file = read(folder.path(), EVERYTHING, Standing::Trusted).unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        assert_eq!(file.options["llm"], [at("evil.gguf")]);
        assert_eq!(file.options["index"], [at("kept")]);
        assert_eq!(file.options["top-k"], ["7"]);
        assert_eq!(file.options["reader"], ["odg=odg2txt {}"]);
        assert_eq!(file.indexes["notes"].roots[1], folder.path().join("more"));
        assert!(file.held_back.is_empty() && file.indexes.len() == 2);
        for llm in ["qwen3-8b-q4_k_m", "hf:a/b:c.gguf", "openai:http://h/v1#m"] {
            let file = read(folder.path(), &format!("llm = {llm:?}"), Standing::Trusted).unwrap();
            assert_eq!(file.options["llm"], [llm]);
        }
    }

    #[test]
    fn one_that_is_not_trusted_names_no_program_no_model_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let file = read(folder.path(), EVERYTHING, Standing::NotTrusted).unwrap();
        assert_eq!(file.held_back, ["catalogue", "llm", "reader", "indexes.secrets"]);
        let kept: Vec<&str> = file.options.keys().map(String::as_str).collect();
        assert_eq!(kept, ["extractive", "index", "profile", "top-k"]);
        for index in ["/tmp", "../x", "milvus://host/x", "@other", "~/x"] {
            let text = format!("index = {index:?}\n[indexes.own]\nroots = [\".\"]");
            let file = read(folder.path(), &text, Standing::NotTrusted).unwrap();
            assert_eq!(file.held_back, ["index"], "{index}");
        }
        let own = "index = \"@own\"\n[indexes.own]\nroots = [\".\"]";
        assert!(read(folder.path(), own, Standing::NotTrusted).unwrap().held_back.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let text = "index = \"link/new\"\n[indexes.a]\nroots = [\"link\"]";
        let file = read(folder.path(), text, Standing::NotTrusted).unwrap();
        assert_eq!(file.held_back, ["index", "indexes.a"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_file_the_key_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        for (text, parts) in [
            ("topk = 3", ["`topk`", "did you mean `top-k`?"]),
            ("top-k = 0", ["`top-k`", "number from 1 to 1000"]),
            ("top-k = [1, 2]", ["`top-k`", "expected one value"]),
            ("extractive = 1", ["`extractive`", "true or false"]),
            ("device = \"gpu\"", ["`device`", "gpu"]),
            ("profile = {}", ["`profile`", "expected a text"]),
            ("= 3", ["TOML", "line 1"]),
            ("[indexes.a]\nroots = []", ["`indexes.a`", "no file or folder"]),
            ("[indexes.a]\nroot = [\"x\"]", ["`indexes.a`", "unknown field"]),
            ("indexes = 3", ["`indexes`", "[indexes.notes]"]),
        ] {
            let error = read(folder.path(), text, Standing::Trusted).unwrap_err();
            for part in parts.into_iter().chain([".rag-query.toml"]) {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}
