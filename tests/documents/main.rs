//! Documents of every format, from the file to chunks with their places.
#![allow(clippy::unwrap_used)]

#[path = "../fixtures/pdf_file.rs"]
mod pdf_file;
mod properties;
mod random;
