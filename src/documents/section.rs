//! The structure that chunks follow, whatever the format: sections made of blocks.

use std::ops::Range;

/// A run of text between two headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Headings above the text, outermost first.
    pub headings: Vec<String>,
    /// Where the innermost of them is written, if it is the section's own. It is before the blocks,
    /// and in none of them. A heading that is in no chunk's headings, because no text follows it,
    /// becomes text itself.
    pub heading: Option<Range<usize>>,
    /// In order, without overlap. Together they hold every non-whitespace byte of the section. There
    /// are none if the next heading follows directly.
    pub blocks: Vec<Block>,
}

impl Section {
    /// The section once `bytes` are put before the document's text.
    #[must_use]
    pub fn shifted(mut self, bytes: usize) -> Self {
        let shift = |span: &mut Range<usize>| *span = span.start + bytes..span.end + bytes;
        self.heading.iter_mut().for_each(shift);
        self.blocks.iter_mut().for_each(|block| shift(&mut block.span));
        self
    }
}

/// A paragraph, a list item, a table, a code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Bytes of the document, up to the next block: blank lines at the end are included.
    pub span: Range<usize>,
    pub kind: BlockKind,
}

/// Where a block may be cut if it is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// After sentences. A line break is a space.
    Prose,
    /// After lines: code, HTML.
    Lines,
    /// After lines, each of which is a row of a table, of any number. Its first `header` bytes are
    /// the header row (or several), with the line end: every later piece begins with a copy of it,
    /// unless it is longer than half a chunk. Zero if there is none.
    Table { header: usize },
}

/// The headings above a position in the document.
#[derive(Debug, Default)]
pub(crate) struct HeadingPath(Vec<(usize, String)>);

impl HeadingPath {
    /// A heading of this level (1 is the outermost) follows, and ends those of its level and below.
    pub fn enter(&mut self, level: usize, title: Option<String>) {
        while self.0.last().is_some_and(|(above, _)| *above >= level) {
            self.0.pop();
        }
        self.0.extend(title.map(|title| (level, title)));
    }

    /// Outermost first.
    pub fn titles(&self) -> Vec<String> {
        self.0.iter().map(|(_, title)| title.clone()).collect()
    }
}

/// Blocks of a section of plain text. They are held in memory, and a file may be nothing but line
/// breaks.
const MAX_PLAIN_BLOCKS: usize = 1 << 16;

/// Plain text: sections without headings, whose blocks are the paragraphs between blank lines. It is
/// one section, unless there are very many paragraphs.
pub(crate) fn plain(text: &str, kind: BlockKind) -> impl Iterator<Item = Section> {
    let mut lines = text.split_inclusive('\n');
    let mut position = 0;
    let mut after_blank = true;
    let mut opened: Option<Block> = None;
    std::iter::from_fn(move || {
        let mut blocks: Vec<Block> = opened.take().into_iter().collect();
        for line in lines.by_ref() {
            let end = position + line.len();
            let blank = line.trim().is_empty();
            let begins = !blank && (after_blank || blocks.is_empty());
            let block = Block { span: position..end, kind };
            after_blank = blank;
            position = end;
            if begins && blocks.len() == MAX_PLAIN_BLOCKS {
                opened = Some(block);
                break;
            } else if begins {
                blocks.push(block);
            } else if let Some(last) = blocks.last_mut() {
                last.span.end = end;
            }
        }
        let section = Section { headings: Vec::new(), heading: None, blocks };
        (!section.blocks.is_empty()).then_some(section)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_blocks() {
        let text = "\n \nmột\nhai\n \n\nba\r\n\r\nbốn";
        let sections: Vec<Section> = plain(text, BlockKind::Prose).collect();
        let blocks: Vec<&str> = sections[0].blocks.iter().map(|b| &text[b.span.clone()]).collect();
        assert_eq!(blocks, ["một\nhai\n \n\n", "ba\r\n\r\n", "bốn"]);
        assert_eq!(plain(" \n\t\n", BlockKind::Prose).count(), 0);
        assert_eq!(plain("", BlockKind::Prose).count(), 0);
    }

    #[test]
    fn very_many_paragraphs_are_several_sections() {
        let text = "a\n\n".repeat(2 * MAX_PLAIN_BLOCKS + 1);
        let sections: Vec<Section> = plain(&text, BlockKind::Prose).collect();
        assert_eq!(sections.len(), 3);
        let blocks: Vec<&Block> = sections.iter().flat_map(|section| &section.blocks).collect();
        assert_eq!(blocks.len(), 2 * MAX_PLAIN_BLOCKS + 1);
        assert!(blocks.windows(2).all(|pair| pair[0].span.end == pair[1].span.start));
    }
}
