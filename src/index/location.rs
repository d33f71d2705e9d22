//! Where an index is, as the user names it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::milvus::{self, Address};
use super::{
    DirectoryIndex, DirectoryWriter, Index, IndexError, IndexWriter, Manifest, Settings, Shard,
    Start,
};

/// A place for an index.
#[derive(Debug, Clone)]
pub enum Location {
    /// A directory on this machine.
    Directory(PathBuf),
    /// A collection on a Milvus server, and who is told when it has to be asked again.
    Milvus(Address, Notify),
}

/// A call that failed and is made again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// The server, without secrets.
    pub address: String,
    /// What went wrong.
    pub error: String,
    /// Number of the attempt to come, and of all that there may be.
    pub attempt: u32,
    /// See above.
    pub attempts: u32,
}

/// What whoever waits is told.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A call failed and is made again.
    Retry(Retry),
    /// Another writer seems to have been stopped, and some seconds will tell.
    Waiting {
        /// The server, without secrets.
        address: String,
        /// Who that is.
        writer: String,
    },
}

/// Is told of every [`Notice`].
#[derive(Clone)]
pub struct Notify(pub Arc<dyn Fn(&Notice) + Send + Sync>);

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}

impl Location {
    /// Reads `milvus://…`; anything else is a directory.
    pub fn parse(index: &Path, notify: Notify) -> Result<Self, IndexError> {
        match index.to_str().filter(|index| milvus::is_address(index)) {
            None => Ok(Self::Directory(index.to_owned())),
            Some(_) if cfg!(not(feature = "milvus")) => Err(IndexError::NoMilvus),
            Some(address) => {
                let address = Address::parse(address).map_err(IndexError::BadAddress)?;
                Ok(Self::Milvus(address, notify))
            }
        }
    }

    /// Opens the index for reading.
    pub fn open(&self) -> Result<Box<dyn Index>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryIndex::open(dir)?)),
            Self::Milvus(address, notify) => milvus::open(address, notify),
        }
    }

    /// What the index was built with, where that can be told before it is opened.
    pub fn peek(&self) -> Option<Settings> {
        match self {
            Self::Directory(dir) => Manifest::read(dir).ok().map(|manifest| manifest.settings),
            Self::Milvus(..) => None,
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
            Self::Milvus(address, notify) => {
                milvus::write(address, notify, &settings, start, Shard::WHOLE)
            }
        }
    }

    /// The same for one of several writers, who takes the files in `shard`: those of the others
    /// are nothing to it.
    pub fn write_shard(
        &self,
        settings: Settings,
        shard: Shard,
    ) -> Result<Box<dyn IndexWriter>, IndexError> {
        match self {
            Self::Directory(_) if shard.is_whole() => self.write(settings, Start::Update),
            Self::Directory(dir) => Err(IndexError::NotShared(dir.clone())),
            Self::Milvus(address, notify) => {
                milvus::write(address, notify, &settings, Start::Update, shard)
            }
        }
    }

    /// Opens the index, which exists, for writing with the settings that it has.
    pub fn write_existing(&self) -> Result<Box<dyn IndexWriter>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryWriter::open_existing(dir)?)),
            Self::Milvus(address, notify) => milvus::write_existing(address, notify),
        }
    }

    /// Bytes that it takes, where that can be told.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Directory(dir) => Some(super::size_of(dir)),
            Self::Milvus(..) => None,
        }
    }

    /// Checks the index whole. The first thing that is wrong is the error.
    pub fn verify(&self) -> Result<Box<dyn Index>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(super::directory::verify(dir)?)),
            Self::Milvus(address, notify) => milvus::verify(address, notify),
        }
    }
}

/// As it may be shown: without secrets.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(f),
            Self::Milvus(address, _) => address.fmt(f),
        }
    }
}
