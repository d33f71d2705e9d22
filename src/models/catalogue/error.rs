//! What can be wrong with a catalogue, or with a name looked up in it.

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
        /// The user's catalogue.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, or not in the form of a catalogue.
    #[error(
        "the model catalogue {origin} is not valid: {reason}; correct it, models/catalogue.toml shows the form"
    )]
    Parse {
        /// The file, or "built in".
        origin: String,
        /// What the parser says, with the line if it knows it.
        reason: String,
    },
    /// An entry contradicts itself or names something unsafe.
    #[error(
        "the model catalogue's entry `{model}` is not valid: {reason}; correct it, models/catalogue.toml shows the form"
    )]
    Model {
        /// The entry's key.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no profile of this name.
    #[error("there is no profile `{name}`; choose one of: {}", known.join(", "))]
    UnknownProfile {
        /// The name looked up.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// There is no model with this key.
    #[error("there is no model `{name}`; choose one of: {}", known.join(", "))]
    UnknownModel {
        /// The key looked up.
        name: String,
        /// All keys.
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
