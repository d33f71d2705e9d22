//! An LLM named by its repository: `hf:OWNER/NAME[@REVISION]:FILE.gguf`.

use thiserror::Error;

use super::catalogue::{
    LlmFormat, LlmSpec, ModelEntry, ModelSource, ModelSpec, RequiredFile, is_relative_file,
    is_repository,
};

const PREFIX: &str = "hf:";
/// Most parts of a split model.
const MAX_PARTS: usize = 999;

/// Why a text names no LLM of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HubLlmError {
    /// It has not the right form.
    #[error(
        "`{0}` is not of the form `hf:OWNER/NAME:FILE.gguf` (or `hf:OWNER/NAME@REVISION:FILE.gguf`)"
    )]
    Form(String),
    /// A repository has many files.
    #[error("`{text}` does not say which file; add one, as in `{text}:FILE.gguf`{}", among(.there))]
    NoFile {
        /// What was given.
        text: String,
        /// GGUF files of the repository; empty if that is not known.
        there: Vec<String>,
    },
}

fn among(there: &[String]) -> String {
    if there.is_empty() { String::new() } else { format!(": it has {}", there.join(", ")) }
}

/// Whether `--llm` names a repository and not a file or a server.
#[must_use]
pub fn is_meant(llm: &str) -> bool {
    llm.starts_with(PREFIX)
}

/// What `--llm hf:…` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubLlm<'a> {
    /// The whole text.
    pub text: &'a str,
    /// `owner/name`.
    pub repo: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
    /// The GGUF file; absent if none is named.
    pub file: Option<&'a str>,
}

impl<'a> HubLlm<'a> {
    /// Parses the text.
    ///
    /// # Errors
    /// It has not the right form.
    pub fn parse(text: &'a str) -> Result<Self, HubLlmError> {
        let form = || HubLlmError::Form(text.to_owned());
        let named = text.strip_prefix(PREFIX).ok_or_else(form)?;
        let (repository, file) = match named.split_once(':') {
            Some((repository, file)) => (repository, Some(file)),
            None => (named, None),
        };
        let (repo, revision) = repository.split_once('@').unwrap_or((repository, "main"));
        let is_gguf = |file: &str| is_relative_file(file) && is_gguf(file);
        let is_valid = repo.contains('/')
            && is_repository(repo)
            && is_relative_file(revision)
            && file.is_none_or(is_gguf);
        if is_valid { Ok(Self { text, repo, revision, file }) } else { Err(form()) }
    }

    /// The catalogue's entry for an LLM that the catalogue does not have. `list` is asked which files
    /// the repository has if none is named.
    ///
    /// # Errors
    /// No file is named.
    pub fn entry(self, list: impl FnOnce() -> Vec<String>) -> Result<ModelEntry, HubLlmError> {
        let Self { text, repo, revision, file } = self;
        let Some(file) = file else {
            let there = list().into_iter().filter(|name| is_gguf(name)).collect();
            return Err(HubLlmError::NoFile { text: text.to_owned(), there });
        };
        Ok(ModelEntry {
            measured: None,
            id: text.to_owned(),
            name: file.rsplit('/').next().unwrap_or(file).to_owned(),
            licence: format!("see {repo}"),
            languages: Vec::new(),
            source: Some(ModelSource::Hub {
                repo: repo.to_owned(),
                revision: revision.to_owned(),
                files: parts(file).iter().map(|part| RequiredFile::named(part)).collect(),
            }),
            spec: ModelSpec::Llm(LlmSpec {
                format: LlmFormat::Gguf,
                context: None,
                answers_in: None,
                passages: None,
                stop: Vec::new(),
                judges: true,
                judge: None,
            }),
        })
    }
}

fn is_gguf(file: &str) -> bool {
    file.to_ascii_lowercase().ends_with(".gguf")
}

/// All parts of a model that is split into `NAME-00001-of-00003.gguf` and so on; or the file itself.
fn parts(file: &str) -> Vec<String> {
    let split = || {
        let (stem, end) = file.split_at_checked(file.len().checked_sub(".gguf".len())?)?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (name, number) = rest.rsplit_once('-')?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(number) || !is_number(count) {
            return None;
        }
        let count: usize = count.parse().ok().filter(|count| (1..=MAX_PARTS).contains(count))?;
        Some((1..=count).map(|part| format!("{name}-{part:05}-of-{count:05}{end}")).collect())
    };
    split().unwrap_or_else(|| vec![file.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Result<ModelEntry, HubLlmError> {
        HubLlm::parse(text)?.entry(Vec::new)
    }

    #[test]
    fn a_repository_with_a_file_is_an_llm() {
        let entry =
            entry("hf:bartowski/Qwen2.5-7B-Instruct-GGUF@v1:Qwen2.5-7B-Q4_K_M.gguf").unwrap();
        let Some(ModelSource::Hub { repo, revision, files }) = &entry.source else { panic!() };
        assert_eq!(
            (repo.as_str(), revision.as_str()),
            ("bartowski/Qwen2.5-7B-Instruct-GGUF", "v1")
        );
        assert_eq!(files, &[RequiredFile::named("Qwen2.5-7B-Q4_K_M.gguf")]);
        assert_eq!(entry.name, "Qwen2.5-7B-Q4_K_M.gguf");
        assert!(entry.llm().is_ok_and(|llm| llm.judges && llm.answers_in.is_none()));
    }

    #[test]
    fn a_split_model_needs_all_its_parts() {
        let names = parts("q8/m-00002-of-00003.gguf");
        assert_eq!(names, [1, 2, 3].map(|n| format!("q8/m-0000{n}-of-00003.gguf")));
        for single in ["m.gguf", "m-1-of-3.gguf", "m-00001-of-99999.gguf", "of-.gguf"] {
            assert_eq!(parts(single), [single]);
        }
    }

    #[test]
    fn what_names_no_file_says_what_is_missing() {
        assert!(matches!(entry("hf:owner/name"), Err(HubLlmError::NoFile { .. })));
        for bad in [
            "hf:",
            "hf:name:x.gguf",
            "hf:o/n:x.bin",
            "hf:o/n:../x.gguf",
            "hf:o/n@:x.gguf",
            "hf:../n:x.gguf",
            "hf:o/n/m:x.gguf",
            "hf:o/n:",
        ] {
            assert!(matches!(entry(bad), Err(HubLlmError::Form(_))), "{bad}");
        }
    }
}
