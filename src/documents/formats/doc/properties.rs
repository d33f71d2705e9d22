//! What a Word file says about its paragraphs and letters: lists of changes to what is usual
//! ([MS-DOC] 2.6), in pages of 512 bytes that are found by where the text is in the main stream.

use super::file::{Part, Positions, WordFile};
use crate::documents::formats::compound::{u16_at, u32_at};

const PAGE: usize = 512;

/// Of a paragraph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Paragraph {
    pub style: u16,
    /// How many tables it is in.
    pub tables: u32,
    /// It ends a row of the outermost table, and says which cells the row has.
    pub ends_row: bool,
    /// 1 for the outermost heading; `Some(0)` for body text.
    pub heading: Option<usize>,
    /// The use of a list, from 1; `Some(0)` for none.
    pub list: Option<u16>,
    pub level: Option<usize>,
    pub cells: Vec<Cell>,
}

/// Of a cell: how it is merged with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// It is part of the one before it.
    pub is_covered: bool,
    pub goes_down: bool,
    /// It is part of the one above it.
    pub is_below: bool,
}

/// Of letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Letter {
    pub is_deleted: bool,
    /// Above the line, or below it.
    pub is_raised: Option<bool>,
    pub font: Option<u16>,
    /// A sign of a font of signs.
    pub sign: Option<(u16, u16)>,
}

/// What holds for parts of the main stream.
pub(super) struct Runs<T>(Vec<(u32, u32, T)>);

impl<T> Runs<T> {
    pub fn at(&self, offset: u32) -> Option<&T> {
        let after = self.0.partition_point(|(start, ..)| *start <= offset);
        let (_, end, value) = self.0.get(after.checked_sub(1)?)?;
        (offset < *end).then_some(value)
    }

    /// `read` gets a page, the number of its runs and that of one of them.
    fn read(word: &WordFile, part: Part, read: impl Fn(&[u8], usize, usize) -> Option<T>) -> Self {
        let positions = Positions::new(word.part(part), 4);
        let mut runs = Vec::new();
        // Each page is there once.
        for at in 0..positions.len().min(word.document.len() / PAGE + 1) {
            let number = u32_at(positions.data(at), 0).unwrap_or(0) & 0x003f_ffff;
            let start = number as usize * PAGE;
            let Some(page) = word.document.get(start..start + PAGE) else { continue };
            let count = usize::from(page[PAGE - 1]);
            for run in 0..count {
                let (Some(start), Some(end)) = (u32_at(page, 4 * run), u32_at(page, 4 * run + 4))
                else {
                    break;
                };
                if let Some(value) = read(page, count, run) {
                    runs.push((start, end, value));
                }
            }
        }
        runs.sort_by_key(|(start, ..)| *start);
        Self(runs)
    }
}

impl Runs<Paragraph> {
    pub fn paragraphs(word: &WordFile) -> Self {
        Self::read(word, Part::ParagraphPages, |page, count, run| {
            let place = usize::from(*page.get(4 * (count + 1) + 13 * run)?) * 2;
            if place == 0 {
                return Some(Paragraph::default());
            }
            // Its length in words, or, after a zero, in the next byte.
            let (start, length) = match usize::from(*page.get(place)?) {
                0 => (place + 2, 2 * usize::from(*page.get(place + 1)?)),
                words => (place + 1, 2 * words - 1),
            };
            let properties = page.get(start..start + length)?;
            let mut paragraph = Paragraph { style: u16_at(properties, 0)?, ..Paragraph::default() };
            paragraph.apply(properties.get(2..)?);
            Some(paragraph)
        })
    }
}

impl Runs<Letter> {
    pub fn letters(word: &WordFile) -> Self {
        Self::read(word, Part::CharacterPages, |page, count, run| {
            let place = usize::from(*page.get(4 * (count + 1) + run)?) * 2;
            let length = usize::from(*page.get(place)?);
            let mut letter = Letter::default();
            if place > 0 {
                letter.apply(page.get(place + 1..place + 1 + length)?);
            }
            (letter != Letter::default()).then_some(letter)
        })
    }
}

impl Paragraph {
    /// Takes over what a list of changes says.
    pub fn apply(&mut self, changes: &[u8]) {
        for (change, value) in Changes(changes) {
            let first = value.first().copied().unwrap_or(0);
            match change {
                0x2416 if first != 0 => self.tables = self.tables.max(1),
                0x2417 => self.ends_row = first != 0,
                0x6649 => self.tables = u32_at(value, 0).unwrap_or(0),
                0x2640 => self.heading = Some(if first < 9 { usize::from(first) + 1 } else { 0 }),
                0x260a => self.level = Some(usize::from(first)),
                0x460b => self.list = u16_at(value, 0),
                0xd608 => self.cells = cells(value),
                0xd62b => self.merge_down(value),
                _ => {}
            }
        }
    }
}

impl Paragraph {
    /// One cell's number, and how it is merged with those above and below it.
    fn merge_down(&mut self, value: &[u8]) {
        if let [cell, merge, ..] = *value
            && let Some(cell) = self.cells.get_mut(usize::from(cell))
        {
            (cell.is_below, cell.goes_down) = (merge == 1, merge == 3);
        }
    }
}

impl Letter {
    pub fn apply(&mut self, changes: &[u8]) {
        for (change, value) in Changes(changes) {
            let first = value.first().copied().unwrap_or(0);
            match change {
                0x0800 => self.is_deleted = matches!(first, 1 | 0x81),
                0x2a48 => self.is_raised = (first > 0).then_some(first == 1),
                0x4a4f => self.font = u16_at(value, 0),
                0x6a09 => self.sign = u16_at(value, 0).zip(u16_at(value, 2)),
                _ => {}
            }
        }
    }
}

/// The cells of a row: their edges, then 20 bytes for each.
fn cells(definition: &[u8]) -> Vec<Cell> {
    let count = usize::from(definition.first().copied().unwrap_or(0)).min(64);
    let flags = |at: usize| u16_at(definition, 1 + 2 * (count + 1) + 20 * at).unwrap_or(0);
    let cell = |flags: u16| Cell {
        is_covered: flags & 0x03 == 0x01,
        goes_down: flags & 0x60 == 0x60,
        is_below: flags & 0x60 == 0x20,
    };
    (0..count).map(|at| cell(flags(at))).collect()
}

/// Changes of properties: a number that tells how long its value is, and the value.
pub(super) struct Changes<'f>(pub &'f [u8]);

impl<'f> Iterator for Changes<'f> {
    type Item = (u16, &'f [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let change = u16_at(self.0, 0)?;
        let (start, length) = match change >> 13 {
            0 | 1 => (2, 1),
            2 | 4 | 5 => (2, 2),
            3 => (2, 4),
            7 => (2, 3),
            // The one whose length takes two bytes, of which it counts one.
            _ if change == 0xd608 => (4, usize::from(u16_at(self.0, 2)?).saturating_sub(1)),
            _ => (3, usize::from(*self.0.get(2)?)),
        };
        let value = self.0.get(start..start + length)?;
        self.0 = &self.0[start + length..];
        Some((change, value))
    }
}
