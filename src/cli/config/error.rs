//! What is wrong with a file of settings.

use std::path::PathBuf;

use thiserror::Error;

/// Why a file of settings cannot be used.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct ConfigError {
    pub path: PathBuf,
    pub problem: Problem,
}

#[derive(Debug, Error)]
pub enum Problem {
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("this is not TOML: {0}")]
    Syntax(String),
    #[error("there is no setting `{key}`{}; `rag-query config show` lists all", suggested(suggestion.as_ref()))]
    Unknown { key: String, suggestion: Option<String> },
    #[error("`{key}`: {reason}")]
    Value { key: String, reason: String },
    #[error("`indexes.{name}`: {reason}")]
    Index { name: String, reason: String },
}

fn suggested(name: Option<&String>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
