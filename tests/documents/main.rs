//! Documents of every format, from the file to chunks with their places.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod coverage;
#[path = "../fixtures/pdf_file.rs"]
mod pdf_file;
mod properties;
mod random;
