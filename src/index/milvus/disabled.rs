//! Without the feature `milvus`: the same functions, which say so.

use super::Address;
use crate::index::{Index, IndexError, IndexWriter, Notify, Settings, Shard, Start};

/// Fails.
pub fn open(_: &Address, _: &Notify) -> Result<Box<dyn Index>, IndexError> {
    Err(IndexError::NoMilvus)
}

/// Fails.
pub fn verify(_: &Address, _: &Notify) -> Result<Box<dyn Index>, IndexError> {
    Err(IndexError::NoMilvus)
}

/// Fails.
pub fn write(
    _: &Address,
    _: &Notify,
    _: &Settings,
    _: Start,
    _: Shard,
) -> Result<Box<dyn IndexWriter>, IndexError> {
    Err(IndexError::NoMilvus)
}

/// Fails.
pub fn write_existing(_: &Address, _: &Notify) -> Result<Box<dyn IndexWriter>, IndexError> {
    Err(IndexError::NoMilvus)
}
