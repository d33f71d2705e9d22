//! The location of an index, as given by the user.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::directory::{self, DirectoryIndex, DirectoryWriter, Manifest, Sizes};
use super::milvus::{self, Address, MilvusError};
use super::several::Several;
use super::{Index, IndexError, IndexWriter, Notify, Settings, Shard, Start};

/// Where an index is stored.
#[derive(Debug, Clone)]
pub enum Location {
    /// A local directory.
    Directory(PathBuf),
    /// A collection on a Milvus server, and the callback for notices while waiting for it.
    Milvus(Address, Notify),
    /// Several, asked as one, each with the name that the user gave it.
    Several(Vec<(Arc<str>, Location)>),
}

/// The state of an index at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The generation of each index, and when that was committed last.
    generations: Vec<(PathBuf, SystemTime)>,
}

impl Location {
    /// Parses `milvus://…`; anything else is a directory.
    pub fn parse(index: &Path, notify: Notify) -> Result<Self, IndexError> {
        match index.to_str().filter(|index| milvus::is_address(index)) {
            None => Ok(Self::Directory(index.to_owned())),
            Some(_) if cfg!(not(feature = "milvus")) => Err(MilvusError::NotBuilt.into()),
            Some(address) => {
                let address = Address::parse(address).map_err(MilvusError::BadAddress)?;
                Ok(Self::Milvus(address, notify))
            }
        }
    }

    /// Opens the index for reading.
    pub fn open(&self) -> Result<Box<dyn Index>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryIndex::open(dir)?)),
            Self::Milvus(address, notify) => milvus::open(address, notify),
            Self::Several(all) => {
                let open = |(name, one): &(Arc<str>, Self)| Ok((Arc::clone(name), one.open()?));
                let opened = all.iter().map(open).collect::<Result<_, IndexError>>()?;
                Ok(Box::new(Several::new(opened)?))
            }
        }
    }

    /// What changes whenever the index does, without opening it; `None` if nothing tells.
    pub fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Directory(dir) => {
                let manifest = Manifest::read(dir).ok()?;
                let changed = manifest.changed(dir)?;
                Some(Stamp { generations: vec![(manifest.data(dir), changed)] })
            }
            Self::Milvus(..) => None,
            Self::Several(all) => {
                let stamps: Option<Vec<Stamp>> = all.iter().map(|(_, one)| one.stamp()).collect();
                let generations = stamps?.into_iter().flat_map(|stamp| stamp.generations);
                Some(Stamp { generations: generations.collect() })
            }
        }
    }

    /// The settings the index was built with, if available without opening it.
    pub fn peek(&self) -> Option<Settings> {
        match self {
            Self::Directory(dir) => Manifest::read(dir).ok().map(|manifest| manifest.settings),
            Self::Milvus(..) => None,
            Self::Several(all) => all.first()?.1.peek(),
        }
    }

    /// Opens the index for writing, or creates one with `settings`.
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
            Self::Several(_) => Err(self.is_not_one()),
        }
    }

    /// Same as [`Self::write`] for one of several writers, which sees and changes only the files in
    /// `shard`.
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
            Self::Several(_) => Err(self.is_not_one()),
        }
    }

    /// Opens an existing index for writing, with its own settings.
    pub fn write_existing(&self) -> Result<Box<dyn IndexWriter>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(DirectoryWriter::open_existing(dir)?)),
            Self::Milvus(address, notify) => milvus::write_existing(address, notify),
            Self::Several(_) => Err(self.is_not_one()),
        }
    }

    fn is_not_one(&self) -> IndexError {
        IndexError::NotOne(self.to_string())
    }

    /// Whether the index has terms of an earlier analyzer and can be given new ones where it is.
    pub fn has_old_terms(&self) -> bool {
        match self {
            Self::Several(all) => all.iter().any(|(_, one)| one.has_old_terms()),
            one => one.peek().is_some_and(|settings| settings.has_old_terms()),
        }
    }

    /// Takes the terms of all passages again. Embeds nothing.
    pub fn renew_terms(&self) -> Result<(), IndexError> {
        match self {
            Self::Several(all) => all
                .iter()
                .filter(|(_, one)| one.has_old_terms())
                .try_for_each(|(_, one)| one.renew_terms()),
            one => one.write_existing()?.compact(),
        }
    }

    /// Whether a writer with these settings will code the token vectors anew, because they are as they
    /// were before there was a choice.
    pub fn has_old_codes(&self, wanted: &Settings) -> bool {
        match self {
            Self::Directory(dir) => {
                Manifest::read(dir).is_ok_and(|manifest| manifest.other_codes(wanted).is_some())
            }
            Self::Milvus(..) | Self::Several(_) => false,
        }
    }

    /// What its parts take, if known.
    pub fn sizes(&self) -> Option<Sizes> {
        match self {
            Self::Directory(dir) => Some(directory::sizes(dir)),
            Self::Milvus(..) => None,
            Self::Several(all) => all.iter().map(|(_, one)| one.sizes()).sum(),
        }
    }

    /// Verifies the index completely. Fails on the first fault found.
    pub fn verify(&self) -> Result<Box<dyn Index>, IndexError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(directory::verify(dir)?)),
            Self::Milvus(address, notify) => milvus::verify(address, notify),
            Self::Several(_) => Err(self.is_not_one()),
        }
    }
}

/// Omits secrets, so that it is safe to display.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(f),
            Self::Milvus(address, _) => address.fmt(f),
            Self::Several(all) => {
                let names: Vec<&str> = all.iter().map(|(name, _)| &**name).collect();
                f.write_str(&names.join(" + "))
            }
        }
    }
}
