//! From paths to documents: the first stage.
//!
//! [`walk()`] finds the files under the given paths, and [`read()`] turns a file into [`Document`]s.
//! Whatever is wrong with a file becomes a [`ReadError`] that names it, and the other files are read
//! all the same.
//!
//! Text is normalized once, here: NFC, `\n` line ends, nothing invisible. Every later stage points
//! into [`Document::text`] with byte spans and never searches for a chunk's text again.

mod bytes;
mod charset;
mod clean;
mod contents;
mod embedded;
mod encoding;
mod error;
mod formats;
mod limits;
mod name;
pub(crate) mod ocr;
mod place;
mod process;
mod programs;
mod read;
mod recognize;
mod record;
#[cfg(test)]
mod samples;
pub(crate) mod section;
pub(crate) mod structure;
mod title;
mod walk;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub(crate) use clean::clean;
pub use error::ReadError;
use formats::markdown;
pub use formats::pdf::JOB as PDF_JOB;
pub use formats::sheets::JOB as WORKBOOK_JOB;
pub(crate) use name::FileName;
pub use ocr::{JOB as OCR_JOB, LANGUAGES as OCR_LANGUAGES, NoOcr, Ocr, Watch as OcrWatch};
pub use place::Place;
pub(crate) use place::PlaceWords;
pub use programs::{NoProgramReader, ProgramReader, Programs};
pub use read::{read, read_with, reader_of};
pub use recognize::is_text;
pub(crate) use record::RECORD_MARKS;
pub use record::file_of;
use section::{BlockKind, Section};
pub(crate) use walk::composed;
pub use walk::{Filter, Group, Reason, Walk, locate, look_at, walk};

/// Version of the way from a file to its chunks. It is raised when that changes, so that indexes
/// read again what they read the old way.
pub const READER: u32 = 3;

/// How a document's text is marked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Markup {
    /// `CommonMark` with tables, task lists and footnotes.
    Markdown,
    /// Paragraphs between blank lines.
    #[default]
    Plain,
    /// Lines that mean something: source code.
    Code,
}

impl Markup {
    /// `text` as people read it, without markup.
    pub fn readable(self, text: &str) -> String {
        match self {
            Self::Markdown => markdown::readable(text),
            Self::Plain | Self::Code => text.to_owned(),
        }
    }
}

/// One document: what a whole file, or one line of a `.jsonl` file, says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The absolute path of the file, or `absolute/path.jsonl#line-id`.
    pub id: String,
    /// From a JSON line, a Markdown file's front matter, a page, or a file's properties.
    pub title: Option<String>,
    /// The name of its file, if that holds nothing else.
    pub(crate) name: FileName,
    /// What the file says about the document outside its text: other names, tags, a description.
    pub(crate) keywords: String,
    /// The tags among these.
    pub(crate) tags: Vec<String>,
    /// UTF-8 in NFC with `\n` line ends. Chunk spans point into it.
    pub text: String,
    /// The markup of `text`.
    pub format: Markup,
    /// Sections and places that `text` itself does not show.
    pub(crate) structure: structure::Structure,
}

impl Document {
    /// The sections of the text, as its reader found them or as its markup shows them.
    pub(crate) fn sections(&self) -> Box<dyn Iterator<Item = Cow<'_, Section>> + '_> {
        let text = &self.text;
        match (&self.structure.sections, self.format) {
            (Some(sections), _) => Box::new(sections.iter().map(Cow::Borrowed)),
            (None, Markup::Markdown) => Box::new(markdown::sections(text).map(Cow::Owned)),
            (None, Markup::Plain) => {
                Box::new(section::plain(text, BlockKind::Prose).map(Cow::Owned))
            }
            (None, Markup::Code) => {
                Box::new(section::plain(text, BlockKind::Lines).map(Cow::Owned))
            }
        }
    }
}
