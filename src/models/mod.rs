//! Which models there are, where their files lie, and whether they are what they claim to be.
//!
//! [`catalogue`] is data: profiles and models. A [`ModelStore`] turns a catalogue entry into paths, and
//! downloads from a hub what is missing. [`verify`] hashes the files again. Nothing here reads weights,
//! and no file of a model is touched before somebody asks for that very model.

pub mod catalogue;
mod digest;
mod error;
mod files;
mod hub;
mod hub_settings;
pub mod json;
mod lazy;
mod lockfile;
mod prepared;
pub mod safetensors;
mod store;
mod transfer;
pub mod verify;

pub use catalogue::{Catalogue, CatalogueError, ModelEntry, Profile};
pub use error::ModelError;
pub use files::ModelFiles;
pub use hub_settings::HubSettings;
pub use lazy::LazyModel;
pub use store::{ModelStore, data_dir};
pub use transfer::DownloadProgress;
