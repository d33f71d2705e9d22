//! Available models, the location of their files, and their verification.
//!
//! [`catalogue`] is data: profiles and models. A [`ModelStore`] resolves a catalogue entry to paths
//! and downloads missing files from a hub. [`verify`] rehashes the files. Nothing here reads
//! weights, and a model's files are not touched until that model is requested.

pub mod catalogue;
mod digest;
mod download;
mod error;
mod files;
mod hub;
pub mod hub_llm;
mod hub_settings;
pub mod json;
mod lazy;
mod lockfile;
mod missing;
mod prepared;
pub mod safetensors;
mod store;
pub mod tokenizer;
mod transfer;
pub mod verify;

pub use catalogue::{Catalogue, CatalogueError, ModelEntry, Profile};
pub use download::Download;
pub use error::ModelError;
pub use files::ModelFiles;
pub use hub_settings::HubSettings;
pub use lazy::LazyModel;
pub(crate) use missing::Found;
pub use store::{ModelStore, data_dir};
pub use transfer::DownloadProgress;
