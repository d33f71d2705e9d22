//! Reads the pages of a PDF file as a job for a process of its own: the library that knows PDF is
//! careful, but it follows nested objects by recursion.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use unpdf::{Error, PageStreamOptions, ParseEvent, ParseOptions, PdfParser};

use super::{MAX_TEXT, Sheet, title};
use crate::documents::limits::MAX_PDF_BYTES;
use crate::support::worker::{Job, Output};

/// What the job tells, in this order: a title, pages, and how it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Title(Option<String>),
    Page(Sheet),
    /// A page that cannot be read; the others can.
    Failed,
    Done,
    Encrypted,
    Damaged(String),
}

/// Reads a PDF file; see [`Message`].
pub static JOB: Job = Job {
    name: "pdf",
    max_input_bytes: MAX_PDF_BYTES as u64,
    // As much as the text may have, with room for what JSON adds to it.
    max_output_bytes: 8 * MAX_TEXT as u64,
    memory: 2 << 30,
    memory_per_input_byte: 8,
    // Each page has a time-out instead.
    cpu: None,
    run: read,
};

/// Reads pages and tells them, until nobody listens.
fn read(bytes: &[u8], output: &mut Output) {
    let reason = |error: Error| match error {
        Error::Encrypted | Error::InvalidPassword => Message::Encrypted,
        error => Message::Damaged(error.to_string()),
    };
    let parser = match PdfParser::from_bytes_with_options(bytes, ParseOptions::default()) {
        Ok(parser) => parser,
        Err(error) => {
            let _ = output.send(&reason(error));
            return;
        }
    };
    // On this thread, with its stack; files are read side by side elsewhere.
    let options = PageStreamOptions { parallel: false, ..PageStreamOptions::default() };
    let end = parser.for_each_page(options, |event| match event {
        ParseEvent::DocumentStart { metadata, .. } => {
            output.send(&Message::Title(metadata.title.as_deref().and_then(title)))
        }
        ParseEvent::PageParsed(page) => output.send(&Message::Page(Sheet::from(page))),
        ParseEvent::PageFailed { .. } => output.send(&Message::Failed),
        _ => ControlFlow::Continue(()),
    });
    let _ = output.send(&end.map_or_else(reason, |_| Message::Done));
}
