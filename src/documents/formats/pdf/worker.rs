//! Reads the pages of a PDF file as a job for a process of its own: the library that knows PDF is
//! careful, but it follows nested objects by recursion.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unpdf::parser::backend::{PageId, PdfBackend, RawBackend};
use unpdf::parser::raw::{PdfDict, PdfObject, RawDocument};
use unpdf::{Error, PageStreamOptions, ParseEvent, PdfParser};

use super::annotations::{Annotations, insert};
use super::copy::{Copy, PageCopy, dict, name, stream};
use super::runs::{CARET_FONT, letters};
use super::sheet::Part;
use super::text_string::text_string;
use super::{MAX_TEXT, Sheet, title};
use crate::documents::limits::MAX_PDF_BYTES;
use crate::support::worker::{Job, Output};

/// What the job tells, in this order: a title, pages, and how it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Title(Option<String>),
    Page(Sheet),
    /// There is a form in XML, which is not read.
    HasXfa,
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
    // Of the largest books 100 pages take a second.
    cpu: Some(Duration::from_mins(3)),
    run: read,
};

/// Pages that are read together. What one needs of the file (fonts) is often shared, and the time for
/// a page grows with their number.
const PAGES_AT_ONCE: usize = 64;

/// Reads pages and tells them, until nobody listens.
fn read(bytes: &[u8], output: &mut Output) {
    let end = match File::of(bytes) {
        Ok(file) => file.read(output),
        Err(error) => ControlFlow::Continue(error),
    };
    if let ControlFlow::Continue(message) = end {
        let _ = output.send(&message);
    }
}

/// What is known of a page before the library reads it.
#[derive(Default)]
struct Known {
    /// The share of the page that its letters take.
    letters: f32,
    notes: Vec<String>,
}

impl Known {
    fn add_to(self, mut sheet: Sheet) -> Sheet {
        // A stamp takes less, a slide with a background more.
        sheet.is_picture &= self.letters < 0.02;
        sheet.parts.extend(self.notes.into_iter().map(Part::Text));
        sheet
    }
}

/// An open file: its objects, and what the library makes of their text.
struct File {
    document: RawDocument,
    backend: RawBackend,
}

impl File {
    fn of(bytes: &[u8]) -> Result<Self, Message> {
        let reason = |error: Error| match error {
            Error::Encrypted | Error::InvalidPassword => Message::Encrypted,
            error => Message::Damaged(error.to_string()),
        };
        let document = RawDocument::load(bytes).map_err(reason)?;
        Ok(Self { document, backend: RawBackend::load_bytes(bytes).map_err(reason)? })
    }

    /// Tells everything but how it ended.
    fn read(&self, output: &mut Output) -> ControlFlow<(), Message> {
        output.send(&Message::Title(self.title().as_deref().and_then(title)))?;
        if self.has_xfa() {
            output.send(&Message::HasXfa)?;
        }
        let pages: Vec<PageId> = self.document.pages().into_values().collect();
        if pages.is_empty() {
            return ControlFlow::Continue(Message::Damaged("it has no pages".to_owned()));
        }
        for pages in pages.chunks(PAGES_AT_ONCE) {
            self.read_pages(pages, output)?;
        }
        ControlFlow::Continue(Message::Done)
    }

    fn title(&self) -> Option<String> {
        let properties = self.document.trailer().get(b"Info".as_slice());
        let properties = properties.and_then(|found| self.document.resolve(found).as_dict());
        let title = properties.and_then(|properties| properties.get(b"Title".as_slice()));
        match title.and_then(|title| self.document.resolve(title).as_str_bytes()) {
            // The library takes this byte order for letters.
            Some(bytes @ [0xff, 0xfe, ..]) => Some(text_string(bytes)),
            _ => self.backend.metadata().title,
        }
    }

    /// Whether it has a form in XML, beside or instead of fields.
    fn has_xfa(&self) -> bool {
        let form =
            self.document.catalog().ok().and_then(|catalog| catalog.get(b"AcroForm".as_slice()));
        let form = form.and_then(|form| self.document.resolve(form).as_dict());
        form.is_some_and(|form| form.contains_key(b"XFA".as_slice()))
    }

    fn read_pages(&self, pages: &[PageId], output: &mut Output) -> ControlFlow<()> {
        let mut copy = Copy::of(&self.document);
        let known: Vec<Known> = pages.iter().map(|&page| self.copy_page(page, &mut copy)).collect();
        let mut known = known.into_iter();
        let mut next = |sheet: Sheet| known.next().unwrap_or_default().add_to(sheet);
        let mut told = 0;
        let mut end = ControlFlow::Continue(());
        let result = PdfParser::from_bytes(&copy.finish()).and_then(|parser| {
            // On this thread, with its stack; files are read side by side elsewhere.
            let options = PageStreamOptions {
                parallel: false,
                // It drops the text layers of scans that it takes for noise, and knows few languages.
                suppress_low_confidence_ocr: false,
                ..PageStreamOptions::default()
            };
            parser.for_each_page(options, |event| {
                let sheet = match event {
                    ParseEvent::PageParsed(page) => Sheet::from(page),
                    ParseEvent::PageFailed { error, .. } => Sheet::failed(&error.to_string()),
                    _ => return ControlFlow::Continue(()),
                };
                told += 1;
                end = output.send(&Message::Page(next(sheet)));
                end
            })
        });
        end?;
        let why = result.map_or_else(|error| error.to_string(), |_| "it is not there".to_owned());
        for _ in told..pages.len() {
            output.send(&Message::Page(next(Sheet::failed(&why))))?;
        }
        ControlFlow::Continue(())
    }

    /// Copies a page with its letters put right and its fields filled in.
    fn copy_page(&self, page: PageId, copy: &mut Copy) -> Known {
        let document = &self.document;
        let annotations = Annotations::of(document, page);
        let mut resources = self.resources(page);
        annotations.add_resources(document, &mut resources, copy);
        let mut contents = Vec::new();
        if !annotations.content.is_empty() {
            contents.push(stream(PdfDict::new(), annotations.content.into_bytes()));
        }
        let letters = letters(&self.backend, page);
        if let Some(content) = letters.mended {
            insert(document, &mut resources, "Font", CARET_FONT, caret_font());
            contents.push(stream(PdfDict::new(), content));
        } else if let Some(content) =
            document.get_dict(page).ok().and_then(|page| page.get(b"Contents".as_slice()))
        {
            match document.resolve(content) {
                PdfObject::Array(parts) => contents.extend(parts.iter().cloned()),
                _ => contents.push(content.clone()),
            }
        }
        let backend = &self.backend;
        let (visible, rotation) = (backend.crop_box(page), backend.page_rotation(page));
        copy.add_page(PageCopy { visible, rotation, resources, contents });
        Known { letters: letters.area / visible.area().max(1.0), notes: annotations.notes }
    }

    /// A page's resources, which it may have from the lists that it is in.
    fn resources(&self, page: PageId) -> PdfDict {
        /// Lists inside each other; more are a circle.
        const MAX_LISTS: usize = 64;
        let mut entries = self.document.get_dict(page).ok();
        for _ in 0..MAX_LISTS {
            let Some(found) = entries else { break };
            if let Some(resources) = found.get(b"Resources".as_slice()) {
                return self.document.resolve(resources).as_dict().cloned().unwrap_or_default();
            }
            let parent = found.get(b"Parent".as_slice());
            entries = parent.and_then(|parent| self.document.resolve(parent).as_dict());
        }
        PdfDict::new()
    }
}

/// See [`CARET_FONT`].
fn caret_font() -> PdfObject {
    let code = || PdfObject::Integer(i64::from(b'^'));
    dict([
        ("Type", name("Font")),
        ("Subtype", name("Type1")),
        ("BaseFont", name("Helvetica")),
        ("Encoding", name("WinAnsiEncoding")),
        ("FirstChar", code()),
        ("LastChar", code()),
        ("Widths", PdfObject::Array(vec![PdfObject::Integer(1)])),
    ])
}
