//! Documents → chunks: passages small enough for an embedder, cut where the text itself has joints.

mod cut;
mod division;
mod sentence;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use cut::{ChunkSettings, chunk};
pub use sentence::sentences;

use crate::documents::Place;

/// A passage of a document, small enough for an embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of [`Document::text`](crate::documents::Document::text). Never cuts a character, never
    /// starts or ends with whitespace.
    pub span: Range<usize>,
    /// The document's title, if it has one, and the headings above the chunk, outermost first. Cut to
    /// [`ChunkSettings::max_heading_tokens`]: the innermost ones stay.
    pub headings: Vec<String>,
    /// `None` in files that have nothing to count, such as lines or pages.
    pub place: Option<Place>,
}
