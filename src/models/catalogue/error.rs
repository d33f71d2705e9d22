//! Errors in a catalogue, or in looking up a name in it.

use std::io;
use std::path::PathBuf;

use super::role::Role;

/// Why a catalogue, or a name looked up in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The user's catalogue could not be read.
    #[error("cannot read the model catalogue {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// Path of the user's catalogue.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// Not valid TOML, or not structured as a catalogue.
    #[error(
        "the model catalogue {origin} is not valid: {reason}; correct it, models/catalogue.toml shows the form"
    )]
    Parse {
        /// The file, or "built in".
        origin: String,
        /// The parser's message, with the line if known.
        reason: String,
    },
    /// An entry is inconsistent or contains an unsafe name.
    #[error(
        "the model catalogue's entry `{model}` is not valid: {reason}; correct it, models/catalogue.toml shows the form"
    )]
    Model {
        /// Key of the entry.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Its token vectors can only be stored in four or eight bits a value.
    #[error(
        "the embedder `{0}` has no book for compact token vectors; leave `--token-vectors` out, or use \
         `4-bit`"
    )]
    NoBook(String),
    /// No profile has this name.
    #[error("there is no profile `{name}`; choose one of: {}", known.join(", "))]
    UnknownProfile {
        /// The name that was looked up.
        name: String,
        /// All profile names.
        known: Vec<String>,
    },
    /// No model has this key.
    #[error("there is no model `{name}`; choose one of: {}", known.join(", "))]
    UnknownModel {
        /// The key that was looked up.
        name: String,
        /// All model keys.
        known: Vec<String>,
    },
    /// A model is used in a place that requires another role.
    #[error(
        "the model `{model}` is {found}, but {wanted} is needed here; change the profile or the model's `role`"
    )]
    WrongRole {
        /// Key of the model.
        model: String,
        /// The role its entry declares.
        found: Role,
        /// The required role.
        wanted: Role,
    },
}
