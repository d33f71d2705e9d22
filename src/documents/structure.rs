//! What the text of a document does not show: its sections, and where they stand in the file.

use std::ops::Range;

use super::Place;
use super::section::Section;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Structure {
    /// `None` if the text's own markup or its blank lines show them.
    pub sections: Option<Vec<Section>>,
    pub places: Places,
    /// Pages whose text was recognized in a picture, ascending; the only one of a file without pages
    /// is 1.
    pub recognized: Vec<u32>,
}

impl Structure {
    /// Whether something at this place was recognized in a picture.
    pub fn is_recognized(&self, place: Option<Place>) -> bool {
        match place {
            Some(Place::Pages(first, last)) => {
                let at = self.recognized.partition_point(|&page| page < first);
                self.recognized.get(at).is_some_and(|&page| page <= last)
            }
            _ => !self.recognized.is_empty(),
        }
    }
}

/// How positions in the text are shown to people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Places {
    /// The lines of the text are those of the file.
    #[default]
    TextLines,
    /// Lines of the file; see [`Marks`].
    Lines(Marks),
    /// Pages of the file; see [`Marks`].
    Pages(Marks),
    /// Rows of a sheet, which begin anew with each; see [`Marks`].
    Rows(Marks),
    /// Slides; see [`Marks`].
    Slides(Marks),
    /// The seconds in which what is said begins and ends; see [`Marks`].
    Seconds { from: Marks, until: Marks },
    /// The file has none of these.
    Nowhere,
}

/// Where in a text each line, page or other unit of the file begins: byte, ascending, and number.
pub(crate) type Marks = Vec<(usize, u32)>;

impl Places {
    /// The place of a span; `None` if the file has no places. `lines` counts those of the text.
    pub fn of(&self, span: &Range<usize>, lines: &mut LineCounter) -> Option<Place> {
        let last = span.end.saturating_sub(1).max(span.start);
        let place = |place: fn(u32, u32) -> Place, from: &Marks, until: &Marks| {
            Some(place(number(from, span.start), number(until, last)))
        };
        match self {
            Self::TextLines => Some(lines.lines(span)),
            Self::Lines(marks) => place(Place::Lines, marks, marks),
            Self::Pages(marks) => place(Place::Pages, marks, marks),
            Self::Rows(marks) => place(Place::Rows, marks, marks),
            Self::Slides(marks) => place(Place::Slides, marks, marks),
            Self::Seconds { from, until } => place(Place::Seconds, from, until),
            Self::Nowhere => None,
        }
    }
}

impl Places {
    /// The place of this number, such as a line.
    pub fn at(&self, number: u32) -> Option<Place> {
        match self {
            Self::TextLines | Self::Lines(_) => Some(Place::Lines(number, number)),
            Self::Pages(_) => Some(Place::Pages(number, number)),
            Self::Rows(_) => Some(Place::Rows(number, number)),
            Self::Slides(_) => Some(Place::Slides(number, number)),
            Self::Seconds { .. } => Some(Place::Seconds(number, number)),
            Self::Nowhere => None,
        }
    }
}

/// The number of the unit that a byte of the text is in.
fn number(marks: &Marks, at: usize) -> u32 {
    let before = marks.partition_point(|&(start, _)| start <= at);
    marks.get(before.saturating_sub(1)).map_or(1, |mark| mark.1)
}

/// The number of line breaks in a text, counted in chunks whose counts fit a byte, so that the loop
/// becomes vector code.
pub(crate) fn newlines(text: &[u8]) -> u32 {
    let count = |chunk: &[u8]| {
        let breaks = chunk.iter().fold(0_u8, |sum, &byte| sum + u8::from(byte == b'\n'));
        u32::from(breaks)
    };
    text.chunks(255).map(count).fold(0, u32::saturating_add)
}

/// Turns byte spans into line numbers. Spans come in the order of their starts, so each line break
/// is counted about once and no table of lines is needed.
pub(crate) struct LineCounter<'t> {
    text: &'t str,
    position: usize,
    line: u32,
}

impl<'t> LineCounter<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, position: 0, line: 1 }
    }

    fn lines(&mut self, span: &Range<usize>) -> Place {
        let breaks = |span: Range<usize>| newlines(&self.text.as_bytes()[span]);
        debug_assert!(span.start >= self.position, "spans come in order");
        self.line = self.line.saturating_add(breaks(self.position..span.start));
        self.position = span.start;
        Place::Lines(self.line, self.line.saturating_add(breaks(span.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_give_places() {
        let pages = Places::Pages(vec![(0, 1), (10, 2), (10, 3), (20, 4)]);
        let of = |span| pages.of(&span, &mut LineCounter::new(""));
        assert_eq!(of(0..10), Some(Place::Pages(1, 1)));
        assert_eq!(of(0..11), Some(Place::Pages(1, 3)));
        assert_eq!(of(12..99), Some(Place::Pages(3, 4)));
        let times = Places::Seconds {
            from: vec![(0, 0), (10, 4), (20, 9)],
            until: vec![(0, 3), (10, 8), (20, 12)],
        };
        assert_eq!(times.of(&(2..15), &mut LineCounter::new("")), Some(Place::Seconds(0, 8)));
        let none = Places::Lines(Vec::new()).of(&(3..5), &mut LineCounter::new(""));
        assert_eq!(none, Some(Place::Lines(1, 1)));
    }
}
