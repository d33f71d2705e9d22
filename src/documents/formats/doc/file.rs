//! The streams of a Word file, and where in them its parts are ([MS-DOC] 2.5, the file information
//! block).

use std::io::{Read, Seek};
use std::path::Path;

use crate::documents::error::ReadError;
use crate::documents::formats::compound::{CompoundFile, u16_at, u32_at};
use crate::documents::limits::MAX_UNPACKED_BYTES;

/// How the block begins: since Word 97, and before.
const WORD_97: u16 = 0xa5ec;
const WORD_6: u16 = 0xa5dc;
/// Versions below this are Word 6 and 95, whatever the beginning says.
const FIRST_VERSION: u16 = 0xc0;
const ENCRYPTED: u16 = 0x0100;
const SECOND_TABLE: u16 = 0x0200;
/// The text of Word 6 is in pieces.
const COMPLEX: u16 = 0x0004;

/// A part of the table stream, by its number in the block.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Styles = 1,
    FootnoteMarks = 2,
    Footnotes = 3,
    CommentMarks = 4,
    Comments = 5,
    Headers = 11,
    CharacterPages = 12,
    ParagraphPages = 13,
    Fonts = 15,
    Pieces = 33,
    Shapes = 40,
    EndnoteMarks = 46,
    Endnotes = 47,
    Boxes = 56,
    Lists = 73,
    ListUses = 74,
}

/// The texts of a document, in the order in which they follow one another.
#[derive(Clone, Copy)]
pub(super) enum Story {
    Main = 0,
    Footnotes = 1,
    Headers = 2,
    // The third is Word's own, of no use.
    Comments = 4,
    Endnotes = 5,
    Boxes = 6,
    HeaderBoxes = 7,
}

const STORIES: usize = 8;

/// An open Word file.
pub(super) struct WordFile {
    pub document: Vec<u8>,
    pub table: Vec<u8>,
    /// Characters of each story.
    stories: [u32; STORIES],
    /// Of the parts' positions, where they begin; `None` in files of Word 6 and 95.
    parts: Option<usize>,
    flags: u16,
}

impl WordFile {
    pub fn open<R: Read + Seek>(
        file: &mut CompoundFile<R>,
        path: &Path,
    ) -> Result<Self, ReadError> {
        let damaged = |why: &str| ReadError::Damaged { path: path.to_owned(), why: why.to_owned() };
        let mut stream = |name: &str| {
            let stream = file.stream(name, MAX_UNPACKED_BYTES).map_err(ReadError::io(path));
            stream.map(Option::unwrap_or_default)
        };
        let document = stream("WordDocument")?;
        let (Some(begin), Some(version), Some(flags)) =
            (u16_at(&document, 0), u16_at(&document, 2), u16_at(&document, 10))
        else {
            return Err(damaged("its text is missing"));
        };
        if begin != WORD_97 && begin != WORD_6 {
            return Err(damaged("it does not begin as Word's files do"));
        }
        if flags & ENCRYPTED != 0 {
            return Err(ReadError::Encrypted { path: path.to_owned() });
        }
        let table = stream(if flags & SECOND_TABLE == 0 { "0Table" } else { "1Table" })?;
        let mut word = Self { document, table, stories: [0; STORIES], parts: None, flags };
        if begin == WORD_97 && version >= FIRST_VERSION {
            word.find_parts().ok_or_else(|| damaged("its text is missing"))?;
        } else {
            word.stories[0] = u32_at(&word.document, 52).unwrap_or(0);
        }
        Ok(word)
    }

    /// Three lists follow the fixed part, each after the number of its elements.
    fn find_parts(&mut self) -> Option<()> {
        let words = 32 + 2 + 2 * usize::from(u16_at(&self.document, 32)?);
        let numbers = words + 2;
        let parts = numbers + 4 * usize::from(u16_at(&self.document, words)?);
        for (at, story) in self.stories.iter_mut().enumerate() {
            *story = u32_at(&self.document, numbers + 4 * (3 + at))?;
        }
        self.parts = Some(parts + 2);
        Some(())
    }

    pub fn is_old(&self) -> bool {
        self.parts.is_none()
    }

    /// Where a part begins in the table stream, and how long it is.
    fn extent(&self, part: Part) -> Option<(usize, usize)> {
        let at = self.parts? + 8 * part as usize;
        Some((u32_at(&self.document, at)? as usize, u32_at(&self.document, at + 4)? as usize))
    }

    /// A part; empty if it is not there, as far as it goes if it is cut off.
    pub fn part(&self, part: Part) -> &[u8] {
        let Some((start, length)) = self.extent(part) else { return &[] };
        let rest = self.table.get(start..).unwrap_or_default();
        &rest[..length.min(rest.len())]
    }

    /// What begins with a part and goes on after it.
    pub fn part_and_more(&self, part: Part) -> &[u8] {
        let extent = self.extent(part).filter(|&(_, length)| length > 0);
        extent.and_then(|(start, _)| self.table.get(start..)).unwrap_or_default()
    }

    /// The first character of a story, and the one after its last.
    pub fn story(&self, story: Story) -> (u32, u32) {
        let number = story as usize;
        let before =
            self.stories[..number].iter().fold(0, |sum: u32, next| sum.saturating_add(*next));
        (before, before.saturating_add(self.stories[number]))
    }

    /// Which bytes hold the text of Word 6, if it is not in pieces.
    pub fn old_text(&self) -> Option<usize> {
        let start = u32_at(&self.document, 24)? as usize;
        (self.is_old() && self.flags & COMPLEX == 0).then_some(start)
    }

    /// The table of the pieces of Word 6.
    pub fn old_pieces(&self) -> &[u8] {
        let start = u32_at(&self.document, 0x160).unwrap_or(0) as usize;
        let length = u32_at(&self.document, 0x164).unwrap_or(0) as usize;
        let rest = self.document.get(start..).unwrap_or_default();
        &rest[..length.min(rest.len())]
    }

    /// The language that the program was in, which tells the code page of Word 6.
    pub fn language(&self) -> u16 {
        u16_at(&self.document, 6).unwrap_or(0)
    }
}

/// A table of positions, each but the last with so many bytes of data ([MS-DOC] 2.2.2).
pub(super) struct Positions<'f> {
    bytes: &'f [u8],
    data_bytes: usize,
    count: usize,
}

impl<'f> Positions<'f> {
    pub fn new(bytes: &'f [u8], data_bytes: usize) -> Self {
        let count = bytes.len().saturating_sub(4) / (4 + data_bytes);
        Self { bytes, data_bytes, count }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// The range of an element.
    pub fn range(&self, at: usize) -> Option<(u32, u32)> {
        if at >= self.count {
            return None;
        }
        Some((self.position(at)?, self.position(at + 1)?))
    }

    /// The ranges of all elements, up to one that does not come after the one before it: there the
    /// table is damaged.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        let ranges = (0..self.count).map_while(|at| self.range(at));
        ranges.scan(0, |last, (start, end)| {
            let ascends = *last <= start && start <= end;
            *last = end;
            ascends.then_some((start, end))
        })
    }

    pub fn position(&self, at: usize) -> Option<u32> {
        u32_at(self.bytes, 4 * at)
    }

    pub fn data(&self, at: usize) -> &'f [u8] {
        let start = 4 * (self.count + 1) + at * self.data_bytes;
        self.bytes.get(start..start + self.data_bytes).unwrap_or_default()
    }
}
