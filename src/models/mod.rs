//! Which models there are, where their files lie, and whether they are what they claim to be.
//!
//! [`catalogue`] is data: profiles and models. [`files`] turns a catalogue entry into paths, through
//! [`hub`] where they must be downloaded. [`verify`] hashes them again. Nothing here reads weights,
//! and no file of a model is touched before somebody asks for that very model.

pub mod catalogue;
mod digest;
mod error;
pub mod files;
pub mod hub;
pub mod json;
mod lazy;
mod lockfile;
mod prepared;
pub mod safetensors;
mod transfer;
pub mod verify;

pub use catalogue::{Catalogue, CatalogueError, ModelEntry, Profile};
pub use error::{ModelError, RemoteFile};
pub use files::{ModelFiles, ModelStore};
pub use hub::HubSettings;
pub use lazy::LazyModel;
