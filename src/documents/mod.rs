//! Documents in, chunks out: the first stage of the pipeline.
//!
//! [`walk`] finds the files under the given paths, [`read`] turns a file into [`Document`]s, and
//! [`chunk`] cuts a document into [`Chunk`]s that an embedder can take. Everything that a file may
//! do wrong ends in an [`ReadError`] that names the file, and the other files go on.
//!
//! Text is normalized once, here: NFC, `\n` line ends, nothing invisible. Every later stage points
//! into [`Document::text`] with byte spans and never searches for a chunk's text again.

mod clean;
mod encoding;
mod error;
pub(crate) mod formats;
mod kind;
mod read;
pub(crate) mod section;
pub(crate) mod structure;
mod vietnamese;
mod walk;

use serde::{Deserialize, Serialize};

pub(crate) use clean::clean;
pub use error::{LineError, ReadError};
pub use formats::pdf::main as pdf_worker;
pub use formats::plain_text::plain_text;
pub use read::{Documents, MAX_DOCUMENT_BYTES, MAX_LINE_BYTES, read};
pub use walk::{Filter, Walk, walk};

/// Version of the way from a file to its chunks. Raised when that changes, so that indexes take in
/// anew what they have read the old way.
pub const READER: u32 = 1;

/// How a document's text is marked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Markup {
    /// `CommonMark` with tables, task lists and footnotes.
    Markdown,
    /// Paragraphs between blank lines.
    Plain,
    /// Lines that mean something: source code.
    Code,
}

impl Markup {
    /// `text` as people read it, without markup.
    pub fn readable(self, text: &str) -> String {
        match self {
            Self::Markdown => plain_text(text),
            Self::Plain | Self::Code => text.to_owned(),
        }
    }
}

/// Where a passage stands in its file, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// First and last line, counted from 1: of the file, or, for JSON lines, of their `text`.
    Lines(u32, u32),
    /// First and last page, counted from 1 as viewers count them.
    Pages(u32, u32),
}

impl Place {
    /// The place that begins where `self` does and ends where `other` does.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        match (self, other) {
            (Self::Lines(first, last), Self::Lines(_, end)) => Self::Lines(first, last.max(end)),
            (Self::Pages(first, last), Self::Pages(_, end)) => Self::Pages(first, last.max(end)),
            _ => self,
        }
    }
}

/// One document: what a whole file, or one line of a `.jsonl` file, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The absolute path of the file, or `absolute/path.jsonl#line-id`.
    pub id: String,
    /// `title` of a JSON line, of a Markdown file's front matter, or of a page or book.
    pub title: Option<String>,
    /// UTF-8 in NFC with `\n` line ends. Chunk spans point into it.
    pub text: String,
    /// The markup of `text`.
    pub format: Markup,
    /// Structure and places that `text` does not show.
    pub(crate) structure: structure::Structure,
}
