//! A chunk as the index keeps it.

use serde::{Deserialize, Serialize};

use crate::documents::{Markup, Place};

/// A chunk of an open index. Numbers of one index mean nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub u64);

/// What the index keeps of a chunk, to show it and to give it to the LLM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Absolute path, or `path#id` for a line of a JSONL file.
    pub document: String,
    /// Headings above the chunk, outermost first.
    pub headings: Vec<String>,
    /// Lines or pages, where the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Byte span in the document's text.
    pub span: (usize, usize),
    /// The text itself.
    pub text: String,
    /// How the text is marked up.
    pub format: Markup,
}

impl Passage {
    /// The heading path in one line, `A > B`.
    pub fn heading(&self) -> String {
        self.headings.join(" > ")
    }

    /// What the embedder and the reranker read: the headings in one line, then the text.
    pub fn text_to_embed(&self) -> String {
        match self.headings.is_empty() {
            true => self.text.clone(),
            false => format!("{}\n{}", self.heading(), self.text),
        }
    }
}
