//! An index in a local directory.
//!
//! `manifest.json` holds the settings and names the current generation, a sub-directory with the
//! data:
//!
//! | file | contents |
//! |---|---|
//! | `lexical/` | tantivy: terms for BM25, and each chunk's text and source |
//! | `vectors.i8` | one row per chunk: its embedding, the high bytes of 12-bit values |
//! | `vectors.low` | their low bits |
//! | `chunks.bin` | one record per row: a hash of the embedded text, and its range of token rows |
//! | `tokens.codes` | one row per token: its contextual vector in codes, only if the reranker needs it; `tokens.i8` with codes of 8 bits |
//! | `documents-N.log` | the ledger of files and documents |
//!
//! All files except tantivy's are append-only. New data is synced first; then tantivy commits, with
//! a payload that records the valid length of each file. That single commit makes the data part of
//! the index, so a crash at any point leaves the previous state readable. A rebuild or a compaction
//! writes a new generation and then renames its manifest over the old one. Every byte is covered by
//! a checksum, which [`verify()`] checks.

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
mod token_file;
mod vector_file;
mod verify;
mod writer;

pub use contained::is_contained;
pub use manifest::{Manifest, Sizes, sizes};
pub use reader::DirectoryIndex;
pub use verify::verify;
pub use writer::DirectoryWriter;
