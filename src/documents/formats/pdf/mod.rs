//! PDF: paragraphs, headings and tables as the library infers them from where the letters stand, each
//! with its page.
//!
//! A page that is a picture has no letters, or only those of a signature's stamp, so what counts is
//! the text of each page, not whether the file has any.

#[cfg(test)]
#[path = "../../../../tests/fixtures/pdf_file.rs"]
mod pdf_file;
mod running;
mod sheet;
mod worker;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::flow::Flow;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::{MAX_PDF_BYTES, MAX_UNPACKED_BYTES};
use crate::documents::structure::Places;
use crate::documents::title::tidy_title;
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
    Ok(Contents::One(extract(&worker, path)?))
}

fn extract(worker: &Worker, path: &Path) -> Result<Extract, ReadError> {
    let (title, pages) = receive(worker, path)?;
    let scanned = |without: usize, first: usize| ReadError::Scanned {
        path: path.to_owned(),
        without,
        pages: pages.len(),
        first,
    };
    if !pages.iter().any(Sheet::has_text) {
        return Err(scanned(pages.len(), 1));
    }
    let pictures = pages.iter().filter(|page| page.is_picture).count();
    let first = pages.iter().position(|page| page.is_picture).map_or(1, |at| at + 1);
    // A cover or two are not worth a word.
    let are_many = pictures >= 3 && pictures * 10 >= pages.len();
    let omitted = are_many.then(|| scanned(pictures, first)).into_iter().collect();
    Ok(Extract { title, omitted, ..write(&pages) })
}

/// The title and the pages that a worker sends.
fn receive(worker: &Worker, path: &Path) -> Result<(Option<String>, Vec<Sheet>), ReadError> {
    let damaged = |why: String| ReadError::Damaged { path: path.to_owned(), why };
    let mut title = None;
    let mut pages: Vec<Sheet> = Vec::new();
    let mut bytes = 0;
    loop {
        let page = pages.len() + 1;
        match worker.next(MAX_PAGE_TIME) {
            Ok(Message::Title(found)) => title = found,
            Ok(Message::Page(sheet)) => {
                bytes += sheet.bytes();
                pages.push(sheet);
                if bytes > MAX_TEXT || pages.len() > MAX_PAGES {
                    return Err(ReadError::Unpacked { path: path.to_owned(), limit: MAX_TEXT });
                }
            }
            Ok(Message::Failed) => pages.push(Sheet::default()),
            Ok(Message::Done) => return Ok((title, pages)),
            Ok(Message::Encrypted) => {
                return Err(ReadError::Encrypted { path: path.to_owned() });
            }
            Ok(Message::Damaged(why)) => return Err(damaged(why)),
            Err(Silence::TimedOut) => {
                return Err(damaged(format!("page {page} takes longer than {MAX_PAGE_TIME:?}")));
            }
            Err(Silence::Ended) => {
                return Err(damaged(format!("its reader failed at page {page}")));
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::time::Instant;

    use super::pdf_file::Font;
    use super::*;
    use crate::chunks::{ChunkSettings, chunk};
    use crate::documents::{Document, Markup, Place};
    use crate::support::random::SplitMix64;

    /// What a test page shows.
    enum Shows<'t> {
        Lines(&'t [&'t str]),
        /// A picture over the whole page, and a line of text on it.
        Picture(&'t str),
    }

    /// A PDF file whose font names its letters in a `ToUnicode` map, as most programs write it.
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
        let kids: Vec<String> = (0..pages.len()).map(|n| format!("{} 0 R", 8 + 2 * n)).collect();
        let mut objects = vec![
            "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
            format!("<</Type/Pages/Count {}/Kids[{}]>>", pages.len(), kids.join(" ")),
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

    fn read_bytes(bytes: Vec<u8>) -> Result<Extract, ReadError> {
        let worker = Worker::start(&JOB, Input::Bytes(bytes)).unwrap();
        extract(&worker, Path::new("/a.pdf"))
    }

    fn read_pages(pages: &[Shows]) -> Result<Extract, ReadError> {
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
        assert!(read.omitted.is_empty());
        assert!(read.text.contains(LINE), "{}", read.text);
        let document = Document {
            id: "/a.pdf".into(),
            title: None,
            text: read.text,
            format: Markup::Plain,
            structure: read.structure,
        };
        let settings = ChunkSettings { max_tokens: 12, overlap_tokens: 0, max_heading_tokens: 0 };
        let chunks = chunk(&document, &settings, &|text| text.split_whitespace().count());
        let places: Vec<_> = chunks.iter().map(|chunk| chunk.place).collect();
        assert_eq!(places.first(), Some(&Some(Place::Pages(1, 1))));
        assert_eq!(places.last(), Some(&Some(Place::Pages(2, 2))));
    }

    #[test]
    fn scans_are_named_even_with_a_stamp() {
        let error = read_pages(&[Shows::Picture(""), Shows::Picture(STAMP)]).err().unwrap();
        assert!(matches!(error, ReadError::Scanned { without: 2, pages: 2, .. }), "{error}");
        let error = read_pages(&[Shows::Lines(&[])]).err().unwrap();
        assert!(matches!(error, ReadError::Scanned { .. }), "{error}");
        // A cover does not make a scan; of four pages, three do, and the fourth is read.
        let read = read_pages(&[Shows::Picture(""), Shows::Lines(&[LINE])]).unwrap();
        assert!(read.omitted.is_empty());
        let pages =
            [Shows::Lines(&[LINE]), Shows::Picture(""), Shows::Picture(""), Shows::Picture(STAMP)];
        let read = read_pages(&pages).unwrap();
        assert!(read.text.contains("Tiếng Việt"));
        assert!(
            matches!(read.omitted[..], [ReadError::Scanned { without: 3, pages: 4, first: 2, .. }]),
            "{:?}",
            read.omitted
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
        let Extract { text, structure, .. } = write(&pages);
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
        let mut random = SplitMix64::new(7);
        let begin = Instant::now();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes.truncate(at.max(8)),
                    _ => {
                        let part = bytes[at..(at + random.below(64)).min(bytes.len())].to_vec();
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
    fn file_names_are_not_titles() {
        assert_eq!(title("Sổ  tay\n"), Some("Sổ tay".to_owned()));
        assert_eq!(title("Microsoft Word - BaoCao"), None);
        assert_eq!(title("luan-van.TEX"), None);
        assert_eq!(title(" "), None);
    }
}
