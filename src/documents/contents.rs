//! What a reader gets from a file.

use std::fs::File;
use std::path::Path;

use super::Markup;
use super::embedded::LeftOut;
use super::error::ReadError;
use super::ocr::{NoOcr, Ocr};
use super::structure::Structure;

/// Turns the bytes of an open file into text with places. The path is for messages, and for readers
/// that leave the reading to another process.
pub(crate) type Reader = fn(File, &Path) -> Result<Contents, ReadError>;

/// What a file holds.
#[expect(clippy::large_enum_variant, reason = "one a file, and mostly the large one")]
pub(crate) enum Contents {
    /// One document.
    One(Extract),
    /// One document, some or all of whose text is in pictures.
    Pictures(Finish),
    /// One document a record, each read when it is asked for. After a [`ReadError::Line`] the next
    /// records follow; any other error is the end.
    Many(Box<dyn Iterator<Item = Result<Record, ReadError>> + Send>),
}

impl Contents {
    /// The same, but for pictures without what is in them; `why` says why.
    pub fn without_pictures(self, why: NoOcr) -> Result<Self, ReadError> {
        match self {
            Self::Pictures(finish) => finish(Err(why)).map(Self::One),
            contents => Ok(contents),
        }
    }
}

/// Reads the pictures of a document, if there is something to recognize text with, and finishes it.
pub(crate) type Finish = Box<dyn FnOnce(Result<&Ocr, NoOcr>) -> Result<Extract, ReadError> + Send>;

/// One of the documents in a file.
pub(crate) struct Record {
    /// Tells it from the others in its file.
    pub id: String,
    pub extract: Extract,
}

/// The text of a document, and what its reader knows about it.
#[derive(Debug, Default)]
pub(crate) struct Extract {
    pub title: Option<String>,
    /// Other names, tags and the like, which are searched but are no text.
    pub keywords: String,
    pub tags: Vec<String>,
    /// As [`clean`](super::clean::clean) leaves it.
    pub text: String,
    pub markup: Markup,
    pub structure: Structure,
    /// What the reader left out, and why. It is reported after the document.
    pub omitted: Vec<ReadError>,
    /// Data that was no text. It is reported too.
    pub data: LeftOut,
}
