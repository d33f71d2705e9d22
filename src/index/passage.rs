//! A chunk as stored in the index.

use serde::{Deserialize, Serialize};

use crate::documents::{Markup, Place};

/// Identifies a chunk within one open index; meaningless in any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub u64);

/// The part of a chunk that is shown to the user and given to the LLM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Absolute path, or `path#id` for a line of a JSONL file.
    pub document: String,
    /// Headings above the chunk, outermost first.
    pub headings: Vec<String>,
    /// Lines, pages, rows, …, if the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Byte span in the document's text.
    pub span: (usize, usize),
    /// The text of that span. If it is the later part of a table, the table's header row is above it.
    pub text: String,
    /// Markup of the text.
    pub format: Markup,
}

impl Passage {
    /// The headings in one line, `A > B`.
    pub fn heading(&self) -> String {
        self.headings.join(" > ")
    }

    /// The text of [`Self::span`] alone, without a header row that is repeated above it.
    pub fn text_of_span(&self) -> &str {
        let repeated = self.text.len().saturating_sub(self.span.1.saturating_sub(self.span.0));
        self.text.get(repeated..).unwrap_or(&self.text)
    }

    /// Input of the embedder and the reranker: the headings in one line, then the text.
    pub fn text_to_embed(&self) -> String {
        match self.headings.is_empty() {
            true => self.text.clone(),
            false => format!("{}\n{}", self.heading(), self.text),
        }
    }
}
