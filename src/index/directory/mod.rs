//! The index in a directory of this machine.
//!
//! `manifest.json` says what the index was built with and names the generation, a sub-directory
//! with the data:
//!
//! | file | what it holds |
//! |---|---|
//! | `lexical/` | tantivy: terms for BM25, and each chunk's text and place |
//! | `vectors.i8` | one row per chunk: its embedding, the high bytes of 12-bit values |
//! | `vectors.low` | their low bits |
//! | `chunks.bin` | one record per row: the hash of what was embedded, and which tokens it has |
//! | `tokens.i8` | one row per token: its contextual vector, only where the reranker needs it |
//! | `documents-N.log` | which files and documents were read, and what they held |
//!
//! All files but tantivy's are only appended to. New data is synced first, then tantivy commits
//! with a note of how much of each file is valid: that one commit makes it part of the index, and
//! a crash at any moment leaves the previous state readable. A rebuild or a compaction writes a new
//! generation and then renames its manifest over the old one. Every byte has a checksum, which
//! [`verify()`] compares.

mod bm25;
mod chunk_table;
mod committed;
mod contained;
mod errors;
mod fields;
mod flat;
mod lexical;
mod log;
mod manifest;
mod nearest;
mod reader;
mod sealed;
mod vector_file;
mod verify;
mod writer;

pub use contained::is_contained;
pub use manifest::{Manifest, size};
pub use reader::DirectoryIndex;
pub use verify::verify;
pub use writer::DirectoryWriter;
