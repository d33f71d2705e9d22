//! E-mail: who wrote to whom, when, about what; the text; and what is attached, each by the reader of
//! its own format.

mod joined;
mod message;
mod text;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::documents::bytes::bytes_of;
use crate::documents::contents::{Contents, Record};
use crate::documents::error::ReadError;
use crate::documents::formats::TextHead;
use crate::documents::limits::MAX_DOCUMENT_BYTES;
use crate::support::bounded;

/// Bytes of a line in a mailbox, beyond which it is read as several.
const MAX_LINE: u64 = 1 << 20;

/// One message (`.eml`).
pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    Ok(Contents::One(message::extract(&bytes_of(file, path, MAX_DOCUMENT_BYTES)?, path)?))
}

/// A message as Outlook keeps it, for which there is no reader: it is named, not passed over.
pub(crate) fn refuse_outlook(_file: File, path: &Path) -> Result<Contents, ReadError> {
    Err(ReadError::OutlookMessage { path: path.to_owned() })
}

/// One message of Apple Mail: its length on the first line, and properties after it.
pub(crate) fn read_emlx(file: File, path: &Path) -> Result<Contents, ReadError> {
    let bytes = bytes_of(file, path, MAX_DOCUMENT_BYTES)?;
    let line = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let length = std::str::from_utf8(&bytes[..line]).ok().and_then(|it| it.trim().parse().ok());
    let message = length.map_or(&bytes[..], |length: usize| {
        let begin = (line + 1).min(bytes.len());
        &bytes[begin..begin.saturating_add(length).min(bytes.len())]
    });
    Ok(Contents::One(message::extract(message, path)?))
}

/// A mailbox (`.mbox`): one document a message.
#[expect(clippy::unnecessary_wraps, reason = "the signature of all readers")]
pub(crate) fn read_mailbox(file: File, path: &Path) -> Result<Contents, ReadError> {
    Ok(Contents::Many(Box::new(Mailbox {
        path: path.to_owned(),
        reader: BufReader::with_capacity(1 << 16, file),
        line: Vec::new(),
        message: Vec::new(),
        number: 0,
        has_begun: false,
        is_at_end: false,
    })))
}

/// Whether a text begins as a mailbox does: `From an@example.com Thu Mar  5 14:07:09 2026`.
pub(crate) fn is_mailbox(head: &TextHead) -> bool {
    let line = head.start.lines().next().unwrap_or_default();
    line.starts_with("from ") && line.matches(':').count() == 2
}

/// Whether a text begins as a message does.
pub(crate) fn is_message(head: &TextHead) -> bool {
    let first = head.start.split(':').next().unwrap_or_default();
    let begins = [
        "received",
        "return-path",
        "delivered-to",
        "mime-version",
        "message-id",
        "x-mozilla-status",
    ];
    begins.contains(&first)
        && ["\nfrom:", "\nsubject:", "\nto:", "\ndate:", "\nby ", "\n\t"]
            .iter()
            .any(|name| head.start.contains(name))
}

struct Mailbox {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    message: Vec<u8>,
    /// Of the current message, from 1.
    number: u64,
    /// Whether a message has begun.
    has_begun: bool,
    is_at_end: bool,
}

impl Iterator for Mailbox {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.is_at_end {
                return None;
            }
            match self.next_message() {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    self.is_at_end = true;
                    return Some(Err(ReadError::io(&self.path)(error)));
                }
            }
            self.number += 1;
            let message = std::mem::take(&mut self.message);
            let extract = if message.len() > MAX_DOCUMENT_BYTES {
                Err(ReadError::TooLarge { path: self.path.clone(), limit: MAX_DOCUMENT_BYTES })
            } else {
                message::extract(&message, &self.path)
            };
            // The other messages are read all the same.
            let unreadable = |error: ReadError| ReadError::Part {
                path: self.path.clone(),
                part: format!("message {}", self.number),
                why: error.to_string(),
            };
            let record = |extract| Record { id: self.number.to_string(), extract };
            return Some(extract.map(record).map_err(unreadable));
        }
    }
}

impl Mailbox {
    /// Reads lines up to the next `From `; whether a message ended there.
    fn next_message(&mut self) -> std::io::Result<bool> {
        let mut after_blank = true;
        let mut goes_on = false;
        loop {
            let found = bounded::read_line(&mut self.reader, MAX_LINE, &mut self.line)?;
            if found == bounded::Line::End {
                self.is_at_end = true;
                return Ok(self.has_begun && !self.message.is_empty());
            }
            let begins = after_blank && !goes_on && self.line.starts_with(b"From ");
            if begins && is_separator(&self.line) {
                let ended = std::mem::replace(&mut self.has_begun, true);
                return Ok(ended && !self.message.is_empty());
            }
            after_blank = !goes_on && self.line.iter().all(u8::is_ascii_whitespace);
            // `>From ` is a line that began with `From `, quoted once more.
            let quotes = self.line.iter().take_while(|&&byte| byte == b'>').count();
            let is_quoted = quotes > 0 && !goes_on && self.line[quotes..].starts_with(b"From ");
            goes_on = found == bounded::Line::TooLong;
            if self.has_begun && self.message.len() <= MAX_DOCUMENT_BYTES {
                self.message.extend_from_slice(&self.line[usize::from(is_quoted)..]);
            }
        }
    }
}

/// `From ` and a sender, and a date with a time, unlike a sentence that begins with `From `.
fn is_separator(line: &[u8]) -> bool {
    let has_time = line
        .windows(3)
        .any(|part| part[1] == b':' && part[0].is_ascii_digit() && part[2].is_ascii_digit());
    // Some programs write `From -` and no more.
    has_time || line.trim_ascii() == b"From -" || line.trim_ascii() == b"From"
}

#[cfg(test)]
mod tests;
