//! Where an index is, as the user names it.

use std::fmt;
use std::path::PathBuf;

use super::{
    DirectoryIndex, DirectoryWriter, Index, IndexError, IndexWriter, Manifest, Settings, Start,
};

/// A place for an index.
#[derive(Debug, Clone)]
pub enum Location {
    /// A directory on this machine.
    Directory(PathBuf),
}

impl Location {
    /// Opens the index for reading.
    pub fn open(&self) -> Result<Box<dyn Index>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryIndex::open(dir)?)),
        }
    }

    /// What the index was built with, where that can be told before it is opened.
    pub fn peek(&self) -> Option<Settings> {
        match self {
            Self::Directory(dir) => Manifest::read(dir).ok().map(|manifest| manifest.settings),
        }
    }

    /// Opens the index for writing, or starts one with `settings`.
    pub fn write(
        &self,
        settings: Settings,
        start: Start,
    ) -> Result<Box<dyn IndexWriter>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryWriter::open(dir, settings, start)?)),
        }
    }

    /// Opens the index, which exists, for writing with the settings that it has.
    pub fn write_existing(&self) -> Result<Box<dyn IndexWriter>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryWriter::open_existing(dir)?)),
        }
    }

    /// Bytes that it takes, where that can be told.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Directory(dir) => Some(super::size_of(dir)),
        }
    }

    /// Checks the index whole. The first thing that is wrong is the error.
    pub fn verify(&self) -> Result<Box<dyn Index>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(super::verify(dir)?)),
        }
    }
}

/// As it may be shown: without secrets.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(f),
        }
    }
}
