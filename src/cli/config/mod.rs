//! Settings in files: defaults for the options, below the command line and the environment.
//!
//! A file uses the options' own names, and what it says becomes their default value, so that an option
//! means the same and is validated in the same way wherever it is set. The project's file,
//! `.rag-query.toml` in the working folder or above it, goes before the user's own. It may have come
//! with somebody else's folder, so it sets only harmless things until the user trusts it.

mod error;
mod file;
mod options;
mod show;
mod trust;

use std::path::{Path, PathBuf};

use clap::{ArgAction, Command};

pub use error::ConfigError;
pub use file::NamedIndex;
use file::{ConfigFile, Standing};
pub use options::suggestion_of;
pub use show::show;
use trust::Trusted;
pub use trust::change_trust;

/// Name of a project's file.
const PROJECT_FILE: &str = ".rag-query.toml";

/// The settings of all files.
#[derive(Debug, Default)]
pub struct Config {
    pub project: Option<ConfigFile>,
    pub user: Option<ConfigFile>,
}

impl Config {
    /// Reads the user's file and that of the project around `working`.
    ///
    /// # Errors
    /// A file cannot be read, is not TOML, or has an unknown key or an impossible value.
    pub fn read(working: &Path) -> Result<Self, ConfigError> {
        let user = user_file().filter(|path| path.is_file());
        let user = user.map(|path| ConfigFile::read(&path, |_| Standing::Trusted)).transpose()?;
        let project = project_file(working);
        let read = |path: PathBuf| {
            let standing = |bytes: &[u8]| Trusted::of_user().standing(&path, bytes);
            let mut file = ConfigFile::read(&path, standing)?;
            let folder = path.parent().map(Path::to_owned);
            file.indexes.values_mut().for_each(|index| index.project.clone_from(&folder));
            Ok(file)
        };
        let project = project.map(read).transpose()?;
        Ok(Self { project, user })
    }

    /// Lower priority first.
    fn files(&self) -> impl DoubleEndedIterator<Item = &ConfigFile> {
        self.user.iter().chain(&self.project)
    }

    /// The command line with the files' values as defaults.
    pub fn apply(&self, mut command: Command) -> Command {
        for (name, values) in self.files().flat_map(|file| &file.options) {
            let Some(id) = options::id(&command, name) else { continue };
            let values = values.clone();
            command = command.mut_arg(id, |arg| match arg.get_action() {
                // A flag that a file sets can be unset: `--extractive=false`.
                ArgAction::SetTrue => arg
                    .action(ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .default_values(values),
                _ => arg.default_values(values),
            });
        }
        command
    }

    /// The file that sets an option, if one does.
    fn origin(&self, option: &str) -> Option<&Path> {
        let file = self.files().rev().find(|file| file.options.contains_key(option));
        file.map(|file| file.path.as_path())
    }

    /// The definition of a named index. A project's own hides the user's.
    pub fn index(&self, name: &str) -> Option<&NamedIndex> {
        self.files().rev().find_map(|file| file.indexes.get(name))
    }

    /// The names of all indexes that the project defines, or else the user.
    pub fn index_names(&self) -> Vec<&str> {
        let file = self.files().rev().find(|file| !file.indexes.is_empty());
        file.map_or_else(Vec::new, |file| file.indexes.keys().map(String::as_str).collect())
    }
}

/// The user's own file, whether or not it exists.
pub fn user_file() -> Option<PathBuf> {
    dirs::config_dir().map(|folder| folder.join("rag-query").join("config.toml"))
}

/// The file of the project that a folder is in. It is not looked for at and above the home folder.
pub fn project_file(working: &Path) -> Option<PathBuf> {
    let home = dirs::home_dir();
    working
        .ancestors()
        .take_while(|folder| Some(*folder) != home.as_deref())
        .map(|folder| folder.join(PROJECT_FILE))
        .find(|path| path.is_file())
}
