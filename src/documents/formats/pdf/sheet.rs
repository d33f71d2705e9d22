//! A page of a PDF as its blocks: what the worker sends.

use serde::{Deserialize, Serialize};
use unpdf::model::{Block, InlineContent, Page, Paragraph, TableCell};

/// On a page that a picture covers, a text of fewer letters may be a stamp's.
const MIN_LETTERS_ON_A_PICTURE: usize = 250;
/// Running heads are no longer.
const MAX_RUNNING_CHARS: usize = 90;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sheet {
    pub parts: Vec<Part>,
    /// A picture with hardly any text on it, so that the text may be in the picture.
    pub is_picture: bool,
    /// Why some of its text is missing.
    pub missing: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// Level and text.
    Heading(usize, String),
    Text(String),
    /// Depth, marker and text.
    Item(usize, String, String),
    /// Rows of cells.
    Table(Vec<Vec<String>>),
    Code(String),
}

impl From<Page> for Sheet {
    fn from(page: Page) -> Self {
        let missing = if page.undecodable_content_streams > 0 {
            Some("a part of it cannot be unpacked".to_owned())
        } else {
            (page.suppressed_text_runs > 0).then(|| {
                let mut fonts = page.unreadable_fonts.iter().map(|font| font.name.as_str());
                format!(
                    "its font {} does not say which letters it draws",
                    fonts.next().unwrap_or("?")
                )
            })
        };
        let parts: Vec<Part> = page.elements.into_iter().filter_map(part).collect();
        let letters: usize = parts.iter().map(Part::letters).sum();
        // The letters that a program has recognized in a scan are there to be found, not seen.
        let is_recognized = page.invisible_text_chars > page.painted_text_chars;
        let is_picture = match letters {
            0 => page.image_op_count > 0,
            _ => page.image_coverage > 0.5 && !is_recognized && letters < MIN_LETTERS_ON_A_PICTURE,
        };
        Self { parts, is_picture, missing }
    }
}

impl Sheet {
    /// A page that cannot be read.
    pub fn failed(why: &str) -> Self {
        Self { missing: Some(why.to_owned()), ..Self::default() }
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.texts().map(str::len).sum::<usize>()).sum()
    }

    pub fn has_text(&self) -> bool {
        self.parts.iter().any(|part| part.letters() > 0)
    }

    /// Whether the part at this index is the first or the last of the page.
    pub fn is_edge(&self, at: usize) -> bool {
        at == 0 || at + 1 == self.parts.len()
    }
}

impl Part {
    pub fn texts(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Heading(_, text) | Self::Text(text) | Self::Item(.., text) | Self::Code(text) => {
                Box::new(std::iter::once(text.as_str()))
            }
            Self::Table(rows) => Box::new(rows.iter().flatten().map(String::as_str)),
        }
    }

    pub fn texts_mut(&mut self) -> Box<dyn Iterator<Item = &mut String> + '_> {
        match self {
            Self::Heading(_, text) | Self::Text(text) | Self::Item(.., text) | Self::Code(text) => {
                Box::new(std::iter::once(text))
            }
            Self::Table(rows) => Box::new(rows.iter_mut().flatten()),
        }
    }

    fn letters(&self) -> usize {
        self.texts().map(|text| text.chars().filter(|c| c.is_alphanumeric()).count()).sum()
    }

    /// Whether the last word is a number, as a page's is.
    pub fn ends_in_number(&self) -> bool {
        let last = self.texts().last().and_then(|text| text.split_whitespace().next_back());
        last.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// What a running head has in common from page to page: everything but its numbers. `None` for
    /// a part that cannot be one.
    pub fn running_head(&self) -> Option<String> {
        let (Self::Heading(_, text) | Self::Text(text)) = self else { return None };
        let is_number = |word: &&str| {
            word.chars().all(|c| c.is_ascii_digit() || "ivxlcIVXLC.-–—|/".contains(c))
        };
        let words: Vec<&str> = text.split_whitespace().filter(|word| !is_number(word)).collect();
        (text.chars().count() <= MAX_RUNNING_CHARS).then(|| words.join(" "))
    }
}

fn part(block: Block) -> Option<Part> {
    Some(match block {
        Block::Paragraph(mut paragraph) => {
            mark_powers(&mut paragraph);
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

/// Tells raised numbers from the ones that they stand behind, where the library has found them itself.
fn mark_powers(paragraph: &mut Paragraph) {
    let mut is_first = true;
    for inline in &mut paragraph.content {
        let InlineContent::Text(run) = inline else { continue };
        let digits = run.text.trim_start_matches(['-', '−', '–', '+']);
        if run.style.superscript && !is_first && digits.starts_with(char::is_numeric) {
            run.text.insert(0, '^');
        }
        is_first = false;
    }
}

fn without_marker(mut paragraph: Paragraph) -> String {
    paragraph.style.list_info = None;
    paragraph.plain_text()
}

#[cfg(test)]
mod tests {
    use unpdf::model::{TextRun, TextStyle};

    use super::*;

    #[test]
    fn raised_numbers_are_powers() {
        let raised = |text: &str| TextRun {
            text: text.to_owned(),
            style: TextStyle { superscript: true, ..TextStyle::default() },
        };
        let mut paragraph = Paragraph::with_text("10");
        paragraph.add_run(raised("6"));
        paragraph.add_text(" m, the 2");
        paragraph.add_run(raised("nd"));
        mark_powers(&mut paragraph);
        assert_eq!(paragraph.plain_text(), "10^6 m, the 2nd");
    }
}
