//! Stubs for builds without the `milvus` feature; each returns an error that says so.

use super::{Address, MilvusError};
use crate::index::{Index, IndexError, IndexWriter, Notify, Settings, Shard, Start};

pub fn open(_: &Address, _: &Notify) -> Result<Box<dyn Index>, IndexError> {
    Err(MilvusError::NotBuilt.into())
}

pub fn verify(_: &Address, _: &Notify) -> Result<Box<dyn Index>, IndexError> {
    Err(MilvusError::NotBuilt.into())
}

pub fn write(
    _: &Address,
    _: &Notify,
    _: &Settings,
    _: Start,
    _: Shard,
) -> Result<Box<dyn IndexWriter>, IndexError> {
    Err(MilvusError::NotBuilt.into())
}

pub fn write_existing(_: &Address, _: &Notify) -> Result<Box<dyn IndexWriter>, IndexError> {
    Err(MilvusError::NotBuilt.into())
}
