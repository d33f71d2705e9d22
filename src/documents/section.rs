//! The structure that chunks follow, whatever the format: sections made of blocks.

use std::ops::Range;

/// A run of text between two headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Headings above the text, outermost first.
    pub headings: Vec<String>,
    /// In order, without overlap. Together they hold every non-whitespace byte of the section.
    pub blocks: Vec<Block>,
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
    /// After lines: code, tables, HTML.
    Lines,
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

/// Plain text: one section without headings, whose blocks are the paragraphs between blank lines.
pub(crate) fn plain(text: &str, kind: BlockKind) -> Vec<Section> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut position = 0;
    let mut after_blank = true;
    for line in text.split_inclusive('\n') {
        let end = position + line.len();
        let blank = line.trim().is_empty();
        match blocks.last_mut() {
            Some(block) if blank || !after_blank => block.span.end = end,
            None if blank => {}
            _ => blocks.push(Block { span: position..end, kind }),
        }
        after_blank = blank;
        position = end;
    }
    if blocks.is_empty() { Vec::new() } else { vec![Section { headings: Vec::new(), blocks }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_blocks() {
        let text = "\n \nmột\nhai\n \n\nba\r\n\r\nbốn";
        let sections = plain(text, BlockKind::Prose);
        let blocks: Vec<&str> = sections[0].blocks.iter().map(|b| &text[b.span.clone()]).collect();
        assert_eq!(blocks, ["một\nhai\n \n\n", "ba\r\n\r\n", "bốn"]);
        assert_eq!(plain(" \n\t\n", BlockKind::Prose), []);
        assert_eq!(plain("", BlockKind::Prose), []);
    }
}
