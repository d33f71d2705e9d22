//! What can go wrong between a path and its documents. Each message says what happened, where, and
//! what to do next.

use std::io;
use std::path::{Path, PathBuf};

use super::Place;
use super::limits::{MAX_ID_BYTES, MAX_LINE_BYTES};
use super::ocr::NoOcr;

const MIB: usize = 1 << 20;

/// Why a path, a file, or a part of a file gave no document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing exists at the path.
    #[error("`{}` does not exist; check the spelling and the current folder", .path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// Neither a regular file nor a folder: a device, a pipe or a socket.
    #[error("`{}` is not a regular file; name a file or a folder", .path.display())]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A file in no format that has a reader.
    #[error(
        "`{}` has no supported format ({supported}); convert it, or rename it if it is plain text",
        .path.display()
    )]
    Unsupported {
        /// The path as it was given.
        path: PathBuf,
        /// The formats that have one.
        supported: String,
    },
    /// The ids of documents are text, so paths have to be.
    #[error("the name of `{}` is not valid Unicode; rename it", .path.display())]
    PathNotUnicode {
        /// The offending path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot read `{}` ({source}); check that it is there and that you may read it", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A folder could not be listed.
    #[error("cannot list the folder `{}` ({source}); check its permissions", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// What a folder's ignore file keeps out is unknown, so nothing in the folder is taken.
    #[error(
        "cannot read `{}` ({source}), so its folder was left out as a whole; mend or remove the file",
        .path.display()
    )]
    IgnoreFile {
        /// The ignore file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A line of an ignore file that is no pattern.
    #[error("`{}`, line {line}: {why}; the other lines hold", .path.display())]
    IgnoreLine {
        /// The ignore file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The file is larger than a file of its kind may be.
    #[error("`{}` is larger than {} MiB; split it", .path.display(), limit / MIB)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// In bytes.
        limit: usize,
    },
    /// Not UTF-8, nor any other encoding that can be recognized.
    #[error(
        "`{}` is not valid UTF-8 at byte {offset}, and its encoding cannot be told; save it as UTF-8",
        .path.display()
    )]
    UnknownEncoding {
        /// The file.
        path: PathBuf,
        /// The first offending byte, counted from 0 at the start of the file.
        offset: usize,
    },
    /// A few bytes of a text that are none: a cut download, a quote in another encoding. They were
    /// read as U+FFFD.
    #[error(
        "`{}`, line {line}: {} at byte {offset}, read as `\u{fffd}`; the rest was read; check these places and save the file as UTF-8",
        .path.display(), places_of("not valid text", *.places)
    )]
    WrongBytes {
        /// The file.
        path: PathBuf,
        /// In how many places they are.
        places: usize,
        /// The first line with some, counted from 1.
        line: u32,
        /// The first of them, counted from 0 at the start of the file.
        offset: usize,
    },
    /// Zeros in a text, as a crash leaves them. They were dropped.
    #[error(
        "`{}`, line {line}: {} at byte {offset}, which were left out; the rest was read; text may be missing there",
        .path.display(), places_of("NUL bytes", *.places)
    )]
    ZeroBytes {
        /// The file.
        path: PathBuf,
        /// In how many places they are.
        places: usize,
        /// The first line with some, counted from 1.
        line: u32,
        /// The first of them, counted from 0 at the start of the file.
        offset: usize,
    },
    /// Pictures in `data:` URIs and the like. The rest was read.
    #[error("{}", embedded(.path, *.places, *.bytes, *.first))]
    Embedded {
        /// The file.
        path: PathBuf,
        /// In how many places they were.
        places: usize,
        /// Altogether.
        bytes: usize,
        /// Where the first was.
        first: Option<Place>,
    },
    /// A message as Outlook keeps it, for which there is no reader yet.
    #[error(
        "`{}` is an Outlook message, which is not read; save it as EML (Thunderbird: Save As; Outlook on the web: Download)",
        .path.display()
    )]
    OutlookMessage {
        /// The file.
        path: PathBuf,
    },
    /// Protected with a password.
    #[error("`{}` is encrypted; save a copy without a password", .path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// Not what its name says, or broken.
    #[error("`{}` cannot be read ({why}); open it in its program and save it again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        why: String,
    },
    /// A part of a file, such as a book's chapter. The rest of the file was read.
    #[error(
        "`{}` was read without {part} ({why}); open it in its program and save it again",
        .path.display()
    )]
    Part {
        /// The file.
        path: PathBuf,
        /// Which of its parts, in words.
        part: String,
        /// The reader's reason.
        why: String,
    },
    /// Protected against copying, by a key that only some reading programs have.
    #[error("`{}` is protected against copying (DRM); use a copy without protection", .path.display())]
    Protected {
        /// The file.
        path: PathBuf,
    },
    /// All pages of a PDF, or some of them, have their text in pictures, or none.
    #[error("{}", scanned(.path, *.without, *.pages, *.first, .why))]
    Scanned {
        /// The file.
        path: PathBuf,
        /// Pages that are pictures with little text on them, or none; 0 if there is no picture either.
        without: usize,
        /// All pages of the file.
        pages: usize,
        /// The first of these pages, from 1.
        first: usize,
        /// Why their text was not recognized.
        why: NoOcr,
    },
    /// A picture file whose text was not recognized.
    #[error("`{}` is a picture; {why}", .path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why its text was not recognized.
        why: NoOcr,
    },
    /// A program that the user named as the reader failed.
    #[error("cannot read `{}`: {why}; check the command given with --reader", .path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// What is wrong with the program, which is named.
        why: String,
    },
    /// Once unpacked, more text than a document may have.
    #[error("`{}` unpacks to more than {} MiB of text; split it", .path.display(), limit / MIB)]
    Unpacked {
        /// The file.
        path: PathBuf,
        /// In bytes.
        limit: usize,
    },
    /// A UTF-16 byte order mark.
    #[error("`{}` is encoded as UTF-16; save it as UTF-8", .path.display())]
    Utf16 {
        /// The file.
        path: PathBuf,
    },
    /// A NUL byte, which text never has.
    #[error(
        "`{}` has a NUL byte at byte {offset}, so it is a binary file or not UTF-8; leave it out or save it as UTF-8 text",
        .path.display()
    )]
    Binary {
        /// The file.
        path: PathBuf,
        /// The first NUL byte, counted from 0 at the start of the file.
        offset: u64,
    },
    /// One line of a JSONL file; the lines after it are still read.
    #[error("`{}`, line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        reason: LineError,
    },
}

/// Why a line of a JSONL file is not a document.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// Longer than a line may be.
    #[error("longer than {} MiB; split the document", MAX_LINE_BYTES / MIB)]
    TooLong,
    /// Bytes that are not UTF-8.
    #[error("not valid UTF-8 at byte {offset} of the line; save the file as UTF-8")]
    NotUtf8 {
        /// The first offending byte, counted from 0 at the start of the line.
        offset: usize,
    },
    /// A few bytes that are no text in a line that was read.
    #[error("{} at byte {offset} of the line; the rest was read; save the file as UTF-8", places_of("not valid text", *.places))]
    WrongBytes {
        /// In how many places they are.
        places: usize,
        /// The first of them, counted from 0 at the start of the line.
        offset: usize,
    },
    /// Not JSON, or not an object with the expected fields.
    #[error(
        "{why} (column {column}); expected {{\"id\": …, \"title\": \"…\", \"text\": \"…\"}}, where title is optional"
    )]
    Json {
        /// The JSON reader's reason.
        why: String,
        /// Counted from 1, in bytes.
        column: usize,
    },
    /// `id` is there, but cannot name a document.
    #[error("`id` is not a string or a number of at most {MAX_ID_BYTES} bytes; give a short one")]
    Id,
    /// An earlier line has the same `id`.
    #[error("the id `{id}` is already used on line {first}; make ids unique")]
    Duplicate {
        id: String,
        /// The line that used it first.
        first: u64,
    },
}

/// Of a file with pictures, what letters there are is taken all the same.
fn scanned(path: &Path, without: usize, pages: usize, first: usize, why: &NoOcr) -> String {
    let path = path.display();
    let count = if pages == 1 { "1 page".to_owned() } else { format!("{pages} pages") };
    match without {
        0 => format!(
            "`{path}` has no text ({count}: empty, or with letters drawn as lines); recognize its \
             text first, for example with `ocrmypdf -l vie`"
        ),
        _ if without == pages => {
            format!(
                "`{path}` has no text, or little, beside the pictures on {count} (a scan?); {why}"
            )
        }
        _ => format!(
            "`{path}`: {without} of {count}, from page {first} on, are pictures without text, or \
             with little beside, and what is written in pictures is not read; {why}"
        ),
    }
}

/// `NUL bytes`, or how many there are.
fn places_of(what: &str, places: usize) -> String {
    match places {
        1 => what.to_owned(),
        more => format!("{what} in {more} places, the first"),
    }
}

fn embedded(path: &Path, places: usize, bytes: usize, first: Option<Place>) -> String {
    let at = match first {
        Some(Place::Lines(line, _)) => format!(", line {line}"),
        Some(Place::Pages(page, _)) => format!(", page {page}"),
        Some(Place::Slides(slide, _)) => format!(", slide {slide}"),
        _ => String::new(),
    };
    let more =
        if places > 1 { format!(" and in {} more places", places - 1) } else { String::new() };
    format!(
        "`{}`{at}{more}: {bytes} bytes of a picture, other encoded data or minified code were left \
         out; if they are text, put them into a file of their own, in lines",
        path.display()
    )
}

impl ReadError {
    /// For `map_err`: names the path, and tells a missing one from an unreadable one.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }
}
