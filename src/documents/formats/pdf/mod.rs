//! PDF: paragraphs, headings and tables as the reader infers them from where the letters stand, each
//! with its page.
//!
//! A page that is a picture has no letters, or only those of a signature's stamp, so what counts is
//! the text of each page, not whether the file has any.

#[cfg(test)]
#[path = "../../../../tests/fixtures/pdf_file.rs"]
mod pdf_file;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unpdf::model::{Block, Page, Paragraph, TableCell};

use super::flow::Flow;
use crate::documents::error::ReadError;
use crate::documents::read::tidy_title;
use crate::documents::structure::{Places, Structure};
pub use worker::main;
use worker::{Message, Worker};

/// Most time for one page, and for what comes before the first. Real pages take milliseconds.
const MAX_PAGE_TIME: Duration = Duration::from_secs(30);
/// Most pages. The largest books have a few thousand.
const MAX_PAGES: usize = 50_000;
/// Most text, in bytes.
const MAX_TEXT: usize = 128 << 20;
/// A page whose letters are fewer has none; where a picture covers it, those of a stamp do not count.
const FEW_LETTERS: usize = 16;
const LETTERS_OF_A_STAMP: usize = 250;
/// Pages on which a short line at the top or bottom has to be for it to be a running head.
const RUNNING_PAGES: usize = 3;
const RUNNING_CHARS: usize = 90;

/// What is read of a file, and what of it could not be.
pub(crate) struct Pdf {
    pub title: Option<String>,
    pub text: String,
    pub structure: Structure,
    /// Some pages are pictures, but not all.
    pub problem: Option<ReadError>,
}

/// Reads a PDF file.
pub(crate) fn read(path: &Path) -> Result<Pdf, ReadError> {
    let worker = Worker::start(path).map_err(ReadError::io(path))?;
    collect(&worker, path)
}

/// What a reader tells of a file.
fn collect(worker: &Worker, path: &Path) -> Result<Pdf, ReadError> {
    let damaged = |why: String| ReadError::Damaged { path: path.to_owned(), why };
    let mut title = None;
    let mut pages: Vec<Sheet> = Vec::new();
    let mut text = 0;
    loop {
        match worker.messages.recv_timeout(MAX_PAGE_TIME) {
            Ok(Message::Title(found)) => title = found,
            Ok(Message::Page(sheet)) => {
                text += sheet.bytes();
                pages.push(sheet);
                if text > MAX_TEXT || pages.len() > MAX_PAGES {
                    return Err(ReadError::Unpacked { path: path.to_owned(), limit: MAX_TEXT });
                }
            }
            Ok(Message::Failed) => pages.push(Sheet::default()),
            Ok(Message::Done) => break,
            Ok(Message::Encrypted) => {
                return Err(ReadError::Encrypted { path: path.to_owned() });
            }
            Ok(Message::Damaged(why)) => return Err(damaged(why)),
            Err(RecvTimeoutError::Timeout) => {
                let page = pages.len() + 1;
                return Err(damaged(format!("page {page} takes longer than {MAX_PAGE_TIME:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let page = pages.len() + 1;
                return Err(damaged(format!("its reader failed at page {page}")));
            }
        }
    }
    let pictures: Vec<usize> = pages
        .iter()
        .enumerate()
        .filter(|(_, page)| page.is_picture)
        .map(|(at, _)| at + 1)
        .collect();
    let scanned = |pages_without: &[usize]| ReadError::Scanned {
        path: path.to_owned(),
        without: pages_without.len(),
        pages: pages.len(),
        first: pages_without.first().copied().unwrap_or(1),
    };
    let letters = |page: &&Sheet| !page.is_picture && page.letters >= FEW_LETTERS;
    if !pages.iter().any(|page| letters(&page)) {
        let all: Vec<usize> = (1..=pages.len()).collect();
        return Err(scanned(&all));
    }
    // A cover or two are no news.
    let many = pictures.len() >= 3 && pictures.len() * 10 >= pages.len();
    let problem = many.then(|| scanned(&pictures));
    let (text, structure) = write(&pages);
    Ok(Pdf { title, text, structure, problem })
}

/// The title in the file's properties, unless a program put a file name there.
fn title(title: &str) -> Option<String> {
    let title = tidy_title(&crate::documents::clean::clean(title))?;
    let lower = title.to_lowercase();
    let extensions = [".doc", ".docx", ".pdf", ".tex", ".dvi", ".indd", ".qxd", ".ppt", ".pptx"];
    let is_file = extensions.iter().any(|extension| lower.ends_with(extension))
        || lower.starts_with("microsoft word -")
        || lower == "untitled";
    (!is_file).then_some(title)
}

/// A page as its blocks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sheet {
    parts: Vec<Part>,
    letters: usize,
    is_picture: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Part {
    Heading(usize, String),
    Text(String),
    Item(usize, String, String),
    Table(Vec<Vec<String>>),
    Code(String),
}

impl From<Page> for Sheet {
    fn from(page: Page) -> Self {
        let parts: Vec<Part> = page.elements.into_iter().filter_map(part).collect();
        let letters: usize = parts.iter().map(Part::letters).sum();
        let is_covered = page.image_coverage > 0.5;
        let is_picture = (is_covered && letters < LETTERS_OF_A_STAMP)
            || (page.image_op_count > 0 && letters < FEW_LETTERS);
        Self { parts, letters, is_picture }
    }
}

impl Sheet {
    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.texts().map(str::len).sum::<usize>()).sum()
    }
}

impl Part {
    fn texts(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Heading(_, text) | Self::Text(text) | Self::Item(.., text) | Self::Code(text) => {
                Box::new(std::iter::once(text.as_str()))
            }
            Self::Table(rows) => Box::new(rows.iter().flatten().map(String::as_str)),
        }
    }

    fn letters(&self) -> usize {
        self.texts().map(|text| text.chars().filter(|c| c.is_alphanumeric()).count()).sum()
    }

    /// Whether the last word is a number, as of a page.
    fn ends_in_number(&self) -> bool {
        let last = self.texts().last().and_then(|text| text.split_whitespace().next_back());
        last.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// What a running head has in common from page to page: all but its numbers.
    fn running(&self) -> Option<String> {
        let (Self::Heading(_, text) | Self::Text(text)) = self else { return None };
        let is_number = |word: &&str| {
            word.chars().all(|c| c.is_ascii_digit() || "ivxlcIVXLC.-–—|/".contains(c))
        };
        let words: Vec<&str> = text.split_whitespace().filter(|word| !is_number(word)).collect();
        (text.chars().count() <= RUNNING_CHARS).then(|| words.join(" "))
    }
}

fn part(block: Block) -> Option<Part> {
    Some(match block {
        Block::Paragraph(paragraph) => {
            let level = paragraph.style.heading_level.map(usize::from);
            let list = paragraph.style.list_info.as_ref().map(|list| usize::from(list.level) + 1);
            let printed = paragraph.plain_text();
            let text = without_marker(paragraph);
            match (level, list) {
                (Some(level), _) => Part::Heading(level, text),
                (None, Some(depth)) => {
                    let marker = printed.strip_suffix(&text).map_or("", str::trim);
                    // Bullets are letters of many fonts.
                    let is_number = marker.contains(char::is_alphanumeric);
                    let marker = if is_number { marker } else { "-" };
                    Part::Item(depth, marker.to_owned(), text)
                }
                (None, None) => Part::Text(text),
            }
        }
        Block::Table(table) => Part::Table(
            table
                .rows
                .iter()
                .map(|row| row.cells.iter().map(TableCell::plain_text).collect())
                .collect(),
        ),
        Block::Code { content } => Part::Code(content),
        Block::Raw { content } => Part::Text(content),
        _ => return None,
    })
}

fn without_marker(mut paragraph: Paragraph) -> String {
    paragraph.style.list_info = None;
    paragraph.plain_text()
}

/// The text of all pages, without running heads.
fn write(pages: &[Sheet]) -> (String, Structure) {
    let edges = |page: &Sheet| [0, page.parts.len().saturating_sub(1)];
    let mut running: HashMap<String, usize> = HashMap::new();
    for page in pages {
        let lines = edges(page).map(|at| page.parts.get(at).and_then(Part::running));
        for line in BTreeSet::from(lines).into_iter().flatten() {
            *running.entry(line).or_default() += 1;
        }
    }
    let headings: BTreeSet<String> = pages
        .iter()
        .flat_map(|page| page.parts.iter().enumerate().filter(|(at, _)| !edges(page).contains(at)))
        .filter(|(_, part)| matches!(part, Part::Heading(..)))
        .filter_map(|(_, part)| part.running())
        .collect();
    let mut flow = Flow::default();
    for (number, page) in (1..).zip(pages) {
        flow.at(number);
        for (at, part) in page.parts.iter().enumerate() {
            let is_edge = edges(page).contains(&at);
            // A heading of this page or another, with a page number behind it.
            let is_running = |line: String| {
                running.get(&line).is_some_and(|pages| *pages >= RUNNING_PAGES)
                    || (headings.contains(&line) && part.ends_in_number())
            };
            if is_edge && part.running().is_some_and(is_running) {
                continue;
            }
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
    }
    flow.finish(Places::Pages)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::time::Instant;

    use super::pdf_file::Font;
    use super::*;
    use crate::chunks::{ChunkSettings, chunk};
    use crate::documents::{Document, Place};

    /// What a test page shows.
    enum Shows<'t> {
        Lines(&'t [&'t str]),
        /// A picture over the whole page, and a line of text on it.
        Picture(&'t str),
    }

    /// A PDF file whose font tells its letters by a `ToUnicode` map, as most programs write it.
    fn pdf(pages: &[Shows], trailer: &str) -> Vec<u8> {
        let mut font = Font::default();
        let mut contents = Vec::new();
        for page in pages {
            let mut content = String::new();
            let lines = match page {
                Shows::Lines(lines) => lines.to_vec(),
                Shows::Picture(line) => {
                    content.push_str("q 600 0 0 800 0 0 cm /I Do Q ");
                    vec![*line]
                }
            };
            for (at, line) in lines.iter().enumerate() {
                let y = 700 - 40 * at;
                let codes = font.codes(line);
                write!(content, "BT /F 12 Tf 72 {y} Td <{codes}> Tj ET ").unwrap();
            }
            contents.push(content);
        }
        let kids: String = (0..pages.len()).map(|n| format!("{} 0 R ", 8 + 2 * n)).collect();
        let mut objects = vec![
            "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
            format!("<</Type/Pages/Count {}/Kids[{kids}]>>", pages.len()),
        ];
        objects.extend(font.objects());
        objects.push("<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>stream\nx\nendstream".to_owned());
        for (n, content) in contents.iter().enumerate() {
            objects.push(format!(
                "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {} 0 R/Resources<</Font<</F 3 0 R>>/XObject<</I 7 0 R>>>>>>",
                9 + 2 * n
            ));
            objects.push(pdf_file::stream(content));
        }
        pdf_file::file(&objects, trailer).into_bytes()
    }

    fn read_bytes(bytes: Vec<u8>) -> Result<Pdf, ReadError> {
        collect(&Worker::thread(bytes).unwrap(), Path::new("/a.pdf"))
    }

    fn read_pages(pages: &[Shows]) -> Result<Pdf, ReadError> {
        read_bytes(pdf(pages, ""))
    }

    const STAMP: &str = "Người ký: CỔNG THÔNG TIN ĐIỆN TỬ CHÍNH PHỦ";
    const LINE: &str = "Tiếng Việt có sáu thanh điệu, viết bằng dấu trên hay dưới nguyên âm.";

    #[test]
    fn tone_marks_and_pages() {
        let pages = [
            Shows::Lines(&[LINE]),
            Shows::Lines(&["Trang thứ hai nói về chữ quốc ngữ và lịch sử."]),
        ];
        let read = read_pages(&pages).unwrap();
        assert!(read.problem.is_none());
        assert!(read.text.contains(LINE), "{}", read.text);
        let document = Document {
            id: "/a.pdf".into(),
            title: None,
            text: read.text,
            format: crate::documents::Markup::Plain,
            structure: read.structure,
        };
        let settings = ChunkSettings { max_tokens: 12, overlap_tokens: 0, max_heading_tokens: 0 };
        let chunks = chunk(&document, &settings, &|text| text.split_whitespace().count());
        let places: Vec<_> = chunks.iter().map(|chunk| chunk.place).collect();
        assert_eq!(places.first(), Some(&Some(Place::Pages(1, 1))));
        assert_eq!(places.last(), Some(&Some(Place::Pages(2, 2))));
    }

    #[test]
    fn scans_are_named_also_with_a_stamp() {
        let error = read_pages(&[Shows::Picture(""), Shows::Picture(STAMP)]).err().unwrap();
        assert!(matches!(error, ReadError::Scanned { without: 2, pages: 2, .. }), "{error}");
        let error = read_pages(&[Shows::Lines(&[])]).err().unwrap();
        assert!(matches!(error, ReadError::Scanned { .. }), "{error}");
        // A cover is no scan; three of four pages are one, and the fourth is read.
        let read = read_pages(&[Shows::Picture(""), Shows::Lines(&[LINE])]).unwrap();
        assert!(read.problem.is_none());
        let pages =
            [Shows::Lines(&[LINE]), Shows::Picture(""), Shows::Picture(""), Shows::Picture(STAMP)];
        let read = read_pages(&pages).unwrap();
        assert!(read.text.contains("Tiếng Việt"));
        let problem = read.problem.unwrap();
        assert!(
            matches!(problem, ReadError::Scanned { without: 3, pages: 4, first: 2, .. }),
            "{problem}"
        );
    }

    #[test]
    fn running_heads_are_left_out() {
        let sheet = |number: usize, heading: bool| {
            let head = Part::Text(format!("{number} Sổ tay chữ viết"));
            let chapter = Part::Text(format!("1.2 Dấu thanh {number}"));
            let mut parts = vec![if number > 4 { chapter } else { head }];
            parts.extend(heading.then(|| Part::Heading(1, "1.2 Dấu thanh".to_owned())));
            parts.extend([Part::Text(LINE.to_owned()), Part::Text(format!("- {number} -"))]);
            Sheet { parts, letters: 100, is_picture: false }
        };
        let pages: Vec<Sheet> = (1..=6).map(|number| sheet(number, number == 3)).collect();
        let (text, structure) = write(&pages);
        let left = text.replace(LINE, "x").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(left, "x x 1.2 Dấu thanh x x x x");
        let Places::Pages(marks) = structure.places else { panic!("a PDF has pages") };
        assert_eq!(marks.iter().map(|mark| mark.1).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_password_is_needed() {
        let key = "0123456789abcdef".repeat(4);
        let trailer = format!(
            "/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/Length 40/O<{key}>/U<{key}>>>"
        );
        let error = read_bytes(pdf(&[Shows::Lines(&[LINE])], &trailer)).err().unwrap();
        assert!(matches!(error, ReadError::Encrypted { .. }), "{error}");
    }

    #[test]
    fn damaged_files_end_in_an_error_or_in_text() {
        let whole = pdf(&[Shows::Lines(&[LINE, LINE]), Shows::Picture(STAMP)], "");
        let mut random = 7_u64;
        let mut next = move |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let begin = Instant::now();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..=next(8) {
                let at = next(bytes.len());
                match next(3) {
                    0 => bytes[at] = next(256) as u8,
                    1 => bytes.truncate(at.max(8)),
                    _ => {
                        let part = bytes[at..(at + next(64)).min(bytes.len())].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            let _ = read_bytes(bytes);
        }
        for bytes in [&b""[..], b"%PDF-1.7", b"%PDF-1.7\n%%EOF", &[0; 4096]] {
            assert!(read_bytes(bytes.to_vec()).is_err());
        }
        assert!(begin.elapsed().as_secs() < 60);
    }

    #[test]
    fn titles_that_are_file_names_are_none() {
        assert_eq!(title("Sổ  tay\n"), Some("Sổ tay".to_owned()));
        assert_eq!(title("Microsoft Word - BaoCao"), None);
        assert_eq!(title("luan-van.TEX"), None);
        assert_eq!(title(" "), None);
    }
}
