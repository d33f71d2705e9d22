//! Which projects' files the user trusts: by path and content, so that a file that changes has to be
//! trusted again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::file::{ConfigFile, Standing};
use super::{Config, project_file};
use crate::models::data_dir;
use crate::support::{bounded, whole};
use crate::terminal::Terminal;
use crate::terminal::exit::Exit;

const MAX_BYTES: u64 = 1 << 20;

/// The files that the user trusts.
#[derive(Debug, Default)]
pub struct Trusted(BTreeMap<PathBuf, String>);

impl Trusted {
    /// An unreadable list trusts nothing.
    pub fn of_user() -> Self {
        let list = place().and_then(|path| Ok(bounded::read(&path, MAX_BYTES)?));
        let list = list.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self(list.unwrap_or_default())
    }

    pub fn standing(&self, path: &Path, content: &[u8]) -> Standing {
        let listed = path.canonicalize().ok().and_then(|path| self.0.get(&path).cloned());
        match listed {
            Some(hash) if hash == hash_of(content) => Standing::Trusted,
            _ => Standing::NotTrusted,
        }
    }

    fn save(&self) -> Result<()> {
        let path = place()?;
        let folder = path.parent().context("the data folder has no path")?;
        let unwritable = || format!("cannot write {}", path.display());
        fs::create_dir_all(folder).with_context(unwritable)?;
        whole::write(&path, &serde_json::to_vec_pretty(&self.0)?).with_context(unwritable)
    }
}

fn place() -> Result<PathBuf> {
    Ok(data_dir()?.join("trusted.json"))
}

fn hash_of(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// `rag-query trust`: trusts the project's file as it is now, or with `revoke` no longer.
pub fn change_trust(terminal: Terminal, config: &Config, revoke: bool) -> Result<Exit> {
    let working = std::env::current_dir().context("the working folder is gone")?;
    let Some(path) = project_file(&working) else {
        bail!("there is no .rag-query.toml in {} or above it", working.display())
    };
    let content = bounded::read(&path, MAX_BYTES)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let real = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let mut trusted = Trusted::of_user();
    if revoke {
        trusted.0.remove(&real);
    } else {
        trusted.0.insert(real, hash_of(&content));
    }
    trusted.save()?;
    let held: &[String] = config.project.as_ref().map_or(&[], |file: &ConfigFile| &file.held_back);
    terminal.say(&terminal.lang.trusted(&path, revoke, held));
    Ok(Exit::Answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_in_the_content_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".rag-query.toml");
        fs::write(&path, "llm = 'a'").unwrap();
        let mut trusted = Trusted::default();
        assert_eq!(trusted.standing(&path, b"llm = 'a'"), Standing::NotTrusted);
        trusted.0.insert(path.canonicalize().unwrap(), hash_of(b"llm = 'a'"));
        assert_eq!(trusted.standing(&path, b"llm = 'a'"), Standing::Trusted);
        assert_eq!(trusted.standing(&path, b"llm = 'b'"), Standing::NotTrusted);
        assert_eq!(
            trusted.standing(&folder.path().join("other"), b"llm = 'a'"),
            Standing::NotTrusted
        );
    }
}
