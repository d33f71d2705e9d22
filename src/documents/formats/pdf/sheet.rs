//! A page of a PDF as its blocks: what the worker sends.

use serde::{Deserialize, Serialize};
use unpdf::model::{Block, Page, Paragraph, TableCell};

/// A page with fewer letters than this has no text.
pub(super) const MIN_LETTERS: usize = 16;
/// On a page that a picture covers, text of fewer letters is a stamp's.
const MIN_LETTERS_BESIDE_A_STAMP: usize = 250;
/// Running heads are no longer.
const MAX_RUNNING_CHARS: usize = 90;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sheet {
    pub parts: Vec<Part>,
    pub letters: usize,
    pub is_picture: bool,
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
        let parts: Vec<Part> = page.elements.into_iter().filter_map(part).collect();
        let letters: usize = parts.iter().map(Part::letters).sum();
        let is_covered = page.image_coverage > 0.5;
        let is_picture = (is_covered && letters < MIN_LETTERS_BESIDE_A_STAMP)
            || (page.image_op_count > 0 && letters < MIN_LETTERS);
        Self { parts, letters, is_picture }
    }
}

impl Sheet {
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.texts().map(str::len).sum::<usize>()).sum()
    }

    pub fn has_text(&self) -> bool {
        !self.is_picture && self.letters >= MIN_LETTERS
    }

    /// Whether the part at this index is the first or the last of the page.
    pub fn is_edge(&self, at: usize) -> bool {
        at == 0 || at + 1 == self.parts.len()
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
