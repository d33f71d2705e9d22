//! The index in a directory of this machine.

mod contained;
mod flat;
pub(crate) mod manifest;
pub(crate) mod nearest;
pub(crate) mod reader;
pub(crate) mod rows;
mod sealed;
mod table;
pub(crate) mod verify;
pub(crate) mod writer;

pub use manifest::{EmbedderIdentity, Manifest, Settings};
pub use reader::DirectoryIndex;
pub use verify::verify;
pub use writer::{DirectoryWriter, Start};
