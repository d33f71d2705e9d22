//! The text that a reader has put down so far, its sections, and where its parts stand in the file.

use std::borrow::Cow;
use std::ops::Range;

use crate::documents::clean::clean;
use crate::documents::contents::Extract;
use crate::documents::embedded::LeftOut;
use crate::documents::section::{Block, BlockKind, HeadingPath, Section, plain};
use crate::documents::structure::{Marks, Places, Structure};

/// What separates a block from the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// Between the items of a list.
    Line,
    Blank,
}

/// A text, and the lines or pages that its parts are from.
#[derive(Default)]
pub(super) struct Marked {
    pub text: String,
    pub marks: Marks,
}

impl Marked {
    /// What follows is from this line or page.
    pub fn mark(&mut self, number: u32) {
        if self.marks.last().is_none_or(|&(_, last)| last != number) {
            self.marks.push((self.text.len(), number));
        }
    }

    /// Puts `text` before the rest, on the same line or page.
    pub fn prefix(&mut self, text: &str) {
        self.text.insert_str(0, text);
        self.marks.iter_mut().skip(1).for_each(|mark| mark.0 += text.len());
    }

    pub fn drop_leading_newlines(&mut self) {
        let blank = self.text.len() - self.text.trim_start_matches('\n').len();
        self.text.drain(..blank);
        self.marks.iter_mut().for_each(|mark| mark.0 = mark.0.saturating_sub(blank));
    }

    /// Adds `other`, cleaned.
    pub fn append(&mut self, other: &Self) {
        let start = self.text.len();
        let cleaned = clean(&other.text);
        let is_as_it_was = matches!(cleaned, Cow::Borrowed(_));
        self.text.push_str(&cleaned);
        // Where a line or page begins once what is before it is clean.
        let (mut before, mut at) = (0, start);
        for &(mark, number) in &other.marks {
            let mark = other.text.floor_char_boundary(mark);
            let part = &other.text[before..mark];
            at += if is_as_it_was { part.len() } else { clean(part).len() };
            before = mark;
            if self.marks.last().is_none_or(|&(_, last)| last != number) {
                self.marks.push((at, number));
            }
        }
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Output {
    document: Marked,
    sections: Vec<Section>,
    /// Where the heading of the current section is, and its blocks.
    heading: Option<Range<usize>>,
    blocks: Vec<Block>,
    path: HeadingPath,
    pub first_heading: Option<String>,
    /// Embedded data that was not put down.
    pub data: LeftOut,
}

impl Output {
    pub fn push_block(&mut self, kind: BlockKind, block: &Marked, gap: Gap) {
        if block.text.trim().is_empty() {
            return;
        }
        self.separate(gap);
        let start = self.document.text.len();
        self.document.append(block);
        if !self.document.text[start..].trim().is_empty() {
            self.blocks.push(Block { span: start..self.document.text.len(), kind });
        }
    }

    /// Ends the current section. The heading's own text is in no block.
    pub fn push_heading(&mut self, level: usize, title: String, text: &Marked) {
        self.close_section();
        self.separate(Gap::Blank);
        let start = self.document.text.len();
        self.document.append(text);
        self.heading = Some(start..self.document.text.len());
        self.path.enter(level, Some(title.clone()));
        self.first_heading.get_or_insert(title);
    }

    /// Takes over a text with its sections, below the headings so far and on this page.
    pub fn push_extract(&mut self, extract: &Extract, number: Option<u32>) {
        if extract.text.trim().is_empty() {
            return;
        }
        self.data.add(extract.data);
        self.close_section();
        self.separate(Gap::Blank);
        if let Some(number) = number {
            self.document.mark(number);
        }
        let start = self.document.text.len();
        self.document.text.push_str(&extract.text);
        let sections = extract.structure.sections.clone();
        let plain = || plain(&extract.text, BlockKind::Prose).collect();
        for section in sections.unwrap_or_else(plain) {
            let mut section = section.shifted(start);
            section.headings.splice(0..0, self.path.titles());
            self.sections.push(section);
        }
    }

    /// What follows is under no heading.
    pub fn leave_headings(&mut self) {
        self.close_section();
        self.path = HeadingPath::default();
    }

    fn separate(&mut self, gap: Gap) {
        let text = &mut self.document.text;
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            text.push_str(if gap == Gap::Line { "\n" } else { "\n\n" });
        }
    }

    fn close_section(&mut self) {
        let (heading, blocks) = (self.heading.take(), std::mem::take(&mut self.blocks));
        if !blocks.is_empty() || heading.is_some() {
            self.sections.push(Section { headings: self.path.titles(), heading, blocks });
        }
    }

    pub fn finish(mut self, places: impl FnOnce(Marks) -> Places) -> Extract {
        self.close_section();
        let structure = Structure {
            sections: Some(self.sections),
            places: places(self.document.marks),
            ..Structure::default()
        };
        Extract { text: self.document.text, structure, data: self.data, ..Extract::default() }
    }
}
