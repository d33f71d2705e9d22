//! The characters of a Word file: pieces of its main stream, in the order of the text ([MS-DOC]
//! 2.4.1).

use super::file::{Part, Positions, WordFile};
use crate::documents::formats::compound::{u16_at, u32_at};
use crate::documents::formats::rtf::Letters;

/// The letters of a piece are one byte each.
const ONE_BYTE: u32 = 0x4000_0000;

/// The text, as far as the file has it.
pub(super) struct Text {
    pieces: Vec<Piece>,
    /// How bytes are read.
    letters: Letters,
}

/// A run of text.
struct Piece {
    /// Its first character, and the one after its last.
    first: u32,
    end: u32,
    /// Where it begins in the main stream.
    offset: usize,
    /// Bytes of a character.
    width: usize,
}

/// A character, and where it is: its properties are found by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Character {
    pub unit: char,
    /// In the text.
    pub position: u32,
    /// In the main stream.
    pub offset: u32,
}

impl Text {
    pub fn of(word: &WordFile) -> Self {
        let letters = Letters::of_code_page(1252);
        if !word.is_old() {
            let pieces = pieces(word.part(Part::Pieces), word.document.len());
            return Self { pieces, letters };
        }
        let letters = Letters::of_language(word.language());
        let pieces = if let Some(offset) = word.old_text() {
            let (first, end) = word.story(super::file::Story::Main);
            vec![Piece { first, end, offset, width: 1 }]
        } else {
            let mut pieces = pieces(word.old_pieces(), word.document.len());
            for piece in &mut pieces {
                piece.width = 1;
            }
            pieces
        };
        Self { pieces, letters }
    }

    /// The characters of a range, as far as there are any.
    pub fn characters<'t>(
        &'t self,
        word: &'t WordFile,
        (first, end): (u32, u32),
    ) -> impl Iterator<Item = Character> + 't {
        let start = self.pieces.partition_point(|piece| piece.end <= first);
        let pieces = self.pieces[start..].iter().take_while(move |piece| piece.first < end);
        pieces.flat_map(move |piece| {
            let from = piece.first.max(first);
            let until = piece.end.min(end).max(from);
            let start =
                piece.offset.saturating_add((from - piece.first.min(from)) as usize * piece.width);
            let rest = word.document.get(start..).unwrap_or_default();
            let bytes = &rest[..rest.len().min((until - from) as usize * piece.width)];
            self.decode(bytes, piece.width, start, from)
        })
    }

    fn decode<'t>(
        &self,
        bytes: &'t [u8],
        width: usize,
        start: usize,
        first: u32,
    ) -> Box<dyn Iterator<Item = Character> + 't> {
        if width == 1 {
            let letters = self.letters;
            return Box::new(bytes.iter().zip(0_u32..).map(move |(byte, at)| {
                let unit = match byte {
                    0..0x80 => char::from(*byte),
                    _ => letters.decode(&[*byte]).chars().next().unwrap_or(' '),
                };
                Character { unit, position: first + at, offset: start as u32 + at }
            }));
        }
        let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        let mut at = 0_u32;
        Box::new(char::decode_utf16(units).map(move |unit| {
            let unit = unit.unwrap_or('\u{fffd}');
            let character = Character { unit, position: first + at, offset: start as u32 + 2 * at };
            at += unit.len_utf16() as u32;
            character
        }))
    }
}

/// The table of pieces stands after changes of properties that are of no use here. All pieces
/// together have at most one character a byte of the stream.
fn pieces(table: &[u8], mut room: usize) -> Vec<Piece> {
    let mut rest = table;
    while rest.first() == Some(&1) {
        let length = 3 + usize::from(u16_at(rest, 1).unwrap_or(0));
        rest = rest.get(length..).unwrap_or_default();
    }
    if rest.first() != Some(&2) {
        return Vec::new();
    }
    let positions = Positions::new(rest.get(5..).unwrap_or_default(), 8);
    let mut pieces = Vec::new();
    for at in 0..positions.len() {
        let (Some((first, end)), Some(place)) =
            (positions.range(at), u32_at(positions.data(at), 2))
        else {
            break;
        };
        let is_small = place & ONE_BYTE != 0;
        let offset = (place & !ONE_BYTE & 0x7fff_ffff) as usize;
        let offset = if is_small { offset / 2 } else { offset };
        let Some(left) = room.checked_sub(end.saturating_sub(first) as usize) else { break };
        room = left;
        if pieces.last().is_none_or(|last: &Piece| last.end <= first) {
            pieces.push(Piece { first, end, offset, width: if is_small { 1 } else { 2 } });
        }
    }
    pieces
}
