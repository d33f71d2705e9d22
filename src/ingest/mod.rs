//! Documents in, chunks out: the first stage of the pipeline.
//!
//! [`walk`] finds the files under the given paths, [`read`] turns a file into [`Document`]s, and
//! [`chunk`] cuts a document into [`Chunk`]s that an embedder can take. Everything that a file may
//! do wrong ends in an [`IngestError`] that names the file, and the other files go on.
//!
//! Text is normalized once, here: NFC, `\n` line ends, no byte order mark. Every later stage points
//! into [`Document::text`] with byte spans and never searches for a chunk's text again.

mod chunk;
mod error;
mod front_matter;
mod markdown;
mod plain_text;
mod read;
mod section;
mod sentence;
mod walk;

use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

pub use chunk::{ChunkSettings, chunk};
pub use error::{IngestError, LineError};
pub use plain_text::plain_text;
pub use read::{Documents, MAX_DOCUMENT_BYTES, MAX_LINE_BYTES, read};
pub use sentence::sentences;
pub use walk::{Filter, Walk, walk};

/// Version of the way from a file to its chunks. Raised when that changes, so that indexes take in
/// anew what they have read the old way.
pub const READER: u32 = 1;

/// How a document's text is marked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `CommonMark` with tables, task lists and footnotes.
    Markdown,
    /// Paragraphs between blank lines.
    Plain,
}

impl Format {
    /// `text` as people read it, without markup.
    pub fn readable(self, text: &str) -> String {
        match self {
            Self::Markdown => plain_text(text),
            Self::Plain => text.to_owned(),
        }
    }
}

/// One document: what a whole `.md` or `.txt` file, or one line of a `.jsonl` file, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The absolute path of the file, or `absolute/path.jsonl#line-id`.
    pub id: String,
    /// `title` of a JSON line or of a Markdown file's front matter.
    pub title: Option<String>,
    /// UTF-8 in NFC with `\n` line ends. Chunk spans point into it.
    pub text: String,
    /// The markup of `text`.
    pub format: Format,
}

/// A passage of a document, small enough for an embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of [`Document::text`]; never cuts a character, never starts or ends with whitespace.
    pub span: Range<usize>,
    /// The headings above the chunk, outermost first; the document's title, if any, comes before.
    /// Cut to [`ChunkSettings::max_heading_tokens`]: the innermost ones stay.
    pub headings: Vec<String>,
    /// First and last line, counted from 1: of the file, or, for JSON lines, of their `text`.
    pub lines: RangeInclusive<u32>,
}
