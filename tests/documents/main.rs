//! Documents of every format, from the file to chunks with their places.
#![allow(clippy::unwrap_used)]

mod properties;
mod random;
mod real;
