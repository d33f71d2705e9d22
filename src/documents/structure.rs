//! What the text of a document does not show: its sections, and where they stand in the file.

use std::ops::Range;

use super::Place;
use super::section::Section;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Structure {
    /// `None` if the text's own markup or its blank lines show them.
    pub sections: Option<Vec<Section>>,
    pub places: Places,
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
    /// The file has neither.
    Nowhere,
}

/// Where in a text each line or page of the file begins: byte and number, both ascending.
pub(crate) type Marks = Vec<(usize, u32)>;

impl Places {
    /// The place of a span; `None` if the file has no places. `lines` counts those of the text.
    pub fn of(&self, span: &Range<usize>, lines: &mut LineCounter) -> Option<Place> {
        let numbers = |marks: &Marks| {
            let before = |at: usize| marks.partition_point(|&(start, _)| start <= at);
            let number = |count: usize| marks.get(count.saturating_sub(1)).map_or(1, |mark| mark.1);
            let last = before(span.end.saturating_sub(1).max(span.start));
            (number(before(span.start)), number(last))
        };
        match self {
            Self::TextLines => Some(lines.lines(span)),
            Self::Lines(marks) => {
                let (first, last) = numbers(marks);
                Some(Place::Lines(first, last))
            }
            Self::Pages(marks) => {
                let (first, last) = numbers(marks);
                Some(Place::Pages(first, last))
            }
            Self::Nowhere => None,
        }
    }
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
        let none = Places::Lines(Vec::new()).of(&(3..5), &mut LineCounter::new(""));
        assert_eq!(none, Some(Place::Lines(1, 1)));
    }
}
