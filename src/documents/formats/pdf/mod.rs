//! PDF: paragraphs, headings and tables as the library infers them from where the letters stand, each
//! with its page.
//!
//! What letters there are is taken. A page that is a picture may have some too, of a signature's stamp
//! or of its title, so that its text is in the picture all the same, and such pages are told.

mod annotations;
mod contents_list;
mod copy;
mod hyphens;
#[cfg(test)]
#[path = "../../../../tests/fixtures/pdf_file.rs"]
mod pdf_file;
mod running;
mod runs;
mod sheet;
#[cfg(test)]
mod tests;
mod text_string;
mod worker;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::flow::Flow;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::{MAX_PDF_BYTES, MAX_UNPACKED_BYTES};
use crate::documents::ocr::{NoOcr, Ocr, paragraphs};
use crate::documents::structure::Places;
use crate::documents::title::tidy_title;
use crate::support::bounded;
use crate::support::worker::{Input, Silence, Worker};
use running::RunningHeads;
use sheet::{Part, Sheet};
pub use worker::JOB;
use worker::Message;

/// For one page, or for what comes before the first. Real pages take milliseconds.
const MAX_PAGE_TIME: Duration = Duration::from_secs(30);
/// The largest books have a few thousand.
const MAX_PAGES: usize = 50_000;
const MAX_TEXT: usize = MAX_UNPACKED_BYTES;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let length = file.metadata().map_err(ReadError::io(path))?.len();
    if length > MAX_PDF_BYTES as u64 {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit: MAX_PDF_BYTES });
    }
    let worker = Worker::start(&JOB, Input::File(file)).map_err(ReadError::io(path))?;
    let patience = JOB.time(length as usize).unwrap_or(Duration::MAX);
    let pages = receive(&worker, path, patience)?;
    if !pages.sheets.iter().any(|page| page.is_picture) {
        return Ok(Contents::One(extract(pages, Vec::new(), NoOcr::Off, path)?));
    }
    let path = path.to_owned();
    Ok(Contents::Pictures(Box::new(move |ocr| with_pictures(pages, ocr, &path))))
}

/// The document, with the text in pictures as far as it can be recognized.
fn with_pictures(
    mut pages: Pages,
    ocr: Result<&Ocr, NoOcr>,
    path: &Path,
) -> Result<Extract, ReadError> {
    let numbers = (1..).zip(&pages.sheets).filter(|(_, page)| page.is_picture);
    let numbers: Vec<u32> = numbers.map(|(number, _)| number).collect();
    let texts = match ocr {
        Ok(ocr) => {
            let bytes = bounded::read(path, MAX_PDF_BYTES as u64).map_err(ReadError::io(path))?;
            ocr.pages(&bytes, &numbers, path)
        }
        Err(why) => Err(why),
    };
    let (mut recognized, mut why) = (Vec::new(), None);
    match texts {
        Ok(texts) => {
            for (number, text) in numbers.into_iter().zip(texts) {
                let page = &mut pages.sheets[number as usize - 1];
                match text {
                    Ok(text) => {
                        page.is_picture = false;
                        page.parts.extend(paragraphs(&text).into_iter().map(Part::Text));
                        recognized.push(number);
                    }
                    Err(error) => why = why.or(Some(NoOcr::Failed(error))),
                }
            }
        }
        Err(error) => why = Some(error),
    }
    extract(pages, recognized, why.unwrap_or(NoOcr::Off), path)
}

/// The document. Some pages were `recognized`; `why` says why those that are still pictures were not.
fn extract(
    pages: Pages,
    recognized: Vec<u32>,
    why: NoOcr,
    path: &Path,
) -> Result<Extract, ReadError> {
    let Pages { title, mut sheets, mut omitted } = pages;
    let pages = sheets.len();
    let without = sheets.iter().filter(|page| page.is_picture).count();
    let first = sheets.iter().position(|page| page.is_picture).map_or(1, |at| at + 1);
    let scanned = ReadError::Scanned { path: path.to_owned(), without, pages, first, why };
    if recognized.is_empty() && !sheets.iter().any(Sheet::has_text) {
        // What could not be read counts more than that there is nothing else.
        return Err(omitted.into_iter().next().unwrap_or(scanned));
    }
    // A cover or two are not worth a word.
    if without > 0 && (without == pages || (without >= 3 && without * 10 >= pages)) {
        omitted.push(scanned);
    }
    hyphens::mend(&mut sheets);
    contents_list::leave_out(&mut sheets);
    let mut extract = Extract { title, omitted, ..write(&sheets) };
    extract.structure.recognized = recognized;
    Ok(extract)
}

/// What a worker tells of a file.
#[derive(Default)]
struct Pages {
    title: Option<String>,
    sheets: Vec<Sheet>,
    /// What is missing, and why.
    omitted: Vec<ReadError>,
}

impl Pages {
    fn omit(&mut self, path: &Path, part: String, why: &str) {
        self.omitted.push(ReadError::Part { path: path.to_owned(), part, why: why.to_owned() });
    }
}

fn receive(worker: &Worker, path: &Path, patience: Duration) -> Result<Pages, ReadError> {
    let begin = Instant::now();
    let mut pages = Pages::default();
    let mut bytes = 0;
    // Reasons, with the first page of each and how many there are.
    let mut missing: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let end = loop {
        let page = pages.sheets.len() + 1;
        let sheet = match worker.next(MAX_PAGE_TIME.min(patience.saturating_sub(begin.elapsed()))) {
            Ok(Message::Title(found)) => {
                pages.title = found;
                continue;
            }
            Ok(Message::Page(sheet)) => sheet,
            Ok(Message::HasXfa) => {
                let why = "its XML is not read, only fields are";
                pages.omit(path, "its XFA form".to_owned(), why);
                continue;
            }
            Ok(Message::Done) => break None,
            Ok(Message::Encrypted) => {
                return Err(ReadError::Encrypted { path: path.to_owned() });
            }
            Ok(Message::Damaged(why)) => break Some(why),
            Err(Silence::TimedOut) if begin.elapsed() < patience => {
                break Some(format!("page {page} takes longer than {MAX_PAGE_TIME:?}"));
            }
            Err(Silence::TimedOut) => break Some(format!("it takes longer than {patience:?}")),
            Err(Silence::Ended) => break Some(format!("its reader failed at page {page}")),
        };
        if let Some(why) = &sheet.missing {
            missing.entry(why.clone()).or_insert((page, 0)).1 += 1;
        }
        bytes += sheet.bytes();
        pages.sheets.push(sheet);
        if bytes > MAX_TEXT || page > MAX_PAGES {
            return Err(ReadError::Unpacked { path: path.to_owned(), limit: MAX_TEXT });
        }
    };
    for (why, (first, count)) in missing {
        let part = match count {
            1 => format!("text on page {first}"),
            _ => format!("text on {count} pages, from page {first} on,"),
        };
        pages.omit(path, part, &why);
    }
    if let Some(why) = end {
        if !pages.sheets.iter().any(Sheet::has_text) {
            return Err(ReadError::Damaged { path: path.to_owned(), why });
        }
        let part = format!("page {} and what follows", pages.sheets.len() + 1);
        pages.omit(path, part, &why);
    }
    Ok(pages)
}

/// The title in the file's properties, unless a program put a file name there.
fn title(title: &str) -> Option<String> {
    let title = tidy_title(&clean(title))?;
    let lower = title.to_lowercase();
    let extensions = [".doc", ".docx", ".pdf", ".tex", ".dvi", ".indd", ".qxd", ".ppt", ".pptx"];
    let is_file = extensions.iter().any(|extension| lower.ends_with(extension))
        || lower.starts_with("microsoft word -")
        || lower == "untitled";
    (!is_file).then_some(title)
}

/// The text of all pages, without running heads.
fn write(pages: &[Sheet]) -> Extract {
    let running = RunningHeads::of(pages);
    let mut flow = Flow::default();
    for (number, page) in (1..).zip(pages) {
        flow.at(number);
        for (at, part) in page.parts.iter().enumerate() {
            if !(page.is_edge(at) && running.contains(part)) {
                write_part(part, &mut flow);
            }
        }
    }
    flow.finish(Places::Pages)
}

fn write_part(part: &Part, flow: &mut Flow) {
    match part {
        Part::Heading(level, text) => {
            flow.begin_heading(*level);
            flow.text(text);
            flow.end_heading();
        }
        Part::Text(text) => {
            flow.text(text);
            flow.end_block();
        }
        Part::Item(depth, marker, text) => {
            flow.begin_item(*depth, marker);
            flow.text(text);
            flow.end_item();
        }
        Part::Table(rows) => {
            flow.begin_table();
            for row in rows {
                for cell in row {
                    flow.begin_cell();
                    flow.text(cell);
                }
                flow.end_row();
            }
            flow.end_table();
        }
        Part::Code(text) => {
            flow.begin_verbatim();
            flow.text(text);
            flow.end_verbatim();
        }
    }
}
