//! The records of a `PowerPoint` file ([MS-PPT] 2.3.1): each is text, or holds other records.

use crate::documents::formats::compound::{u16_at, u32_at};

const HEAD: usize = 8;

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'f> {
    pub kind: u16,
    /// Tells records of a kind apart.
    pub instance: u16,
    /// It holds records.
    pub is_container: bool,
    pub content: &'f [u8],
}

impl<'f> Record<'f> {
    /// The record at a place of a stream, as far as the stream has it.
    pub fn at(stream: &'f [u8], offset: usize) -> Option<Self> {
        let bytes = stream.get(offset..)?;
        let head = u16_at(bytes, 0)?;
        let length = u32_at(bytes, 4)? as usize;
        let content = bytes.get(HEAD..)?;
        Some(Self {
            kind: u16_at(bytes, 2)?,
            instance: head >> 4,
            is_container: head & 0x0f == 0x0f,
            content: &content[..length.min(content.len())],
        })
    }

    pub fn records(self) -> Records<'f> {
        Records { rest: self.content }
    }
}

/// Records one after the other.
pub(super) struct Records<'f> {
    rest: &'f [u8],
}

impl<'f> Records<'f> {
    pub fn of(stream: &'f [u8]) -> Self {
        Self { rest: stream }
    }
}

impl<'f> Iterator for Records<'f> {
    type Item = Record<'f>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = Record::at(self.rest, 0)?;
        self.rest = &self.rest[HEAD + record.content.len()..];
        Some(record)
    }
}
