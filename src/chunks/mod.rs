//! Documents → chunks: passages small enough for an embedder, cut where the text itself has joints.

mod cut;
mod division;
mod headings;
mod sentence;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use cut::{ChunkSettings, chunk};
pub use sentence::sentences;

use crate::documents::{Document, Place};

/// A passage of a document, small enough for an embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of [`Document::text`](crate::documents::Document::text). Never cuts a character, never
    /// starts or ends with whitespace.
    pub span: Range<usize>,
    /// The header row of the table that the chunk begins in the middle of: bytes before
    /// [`Self::span`], not adjoining it. They are part of the chunk's text and count towards its
    /// tokens, but not of the place that is cited.
    pub header: Option<Range<usize>>,
    /// The document's title, if it has one, and the headings above the chunk, outermost first. Cut to
    /// [`ChunkSettings::max_heading_tokens`]: the innermost ones stay.
    pub headings: Vec<String>,
    /// The name of the file in words, if the document has no title of its own and there is room for it
    /// above the headings.
    pub name: Option<String>,
    /// `None` in files that have nothing to count, such as lines or pages.
    pub place: Option<Place>,
}

impl Chunk {
    /// What is embedded, searched and shown: the repeated header row, if there is one, on lines of
    /// its own, and the text of the span.
    #[must_use]
    pub fn text(&self, document: &Document) -> String {
        with_header(&document.text, self.header.as_ref(), &self.span)
    }
}

fn with_header(text: &str, header: Option<&Range<usize>>, span: &Range<usize>) -> String {
    let header = header.map_or("", |header| &text[header.clone()]);
    let line_end = if header.is_empty() { "" } else { "\n" };
    [header, line_end, &text[span.clone()]].concat()
}
