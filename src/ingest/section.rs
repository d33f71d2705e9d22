//! The structure that chunks follow, whatever the format: sections made of blocks.

use std::ops::Range;

/// A run of text between two headings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Headings above the text, outermost first.
    pub headings: Vec<String>,
    /// In order, without overlap. Together they hold every non-whitespace byte of the section.
    pub blocks: Vec<Block>,
}

/// A paragraph, a list item, a table, a code block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Bytes of the document, up to the next block: blank lines at the end are included.
    pub span: Range<usize>,
    pub kind: BlockKind,
}

/// Where a block may be cut if it is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// After sentences. A line break is a space.
    Prose,
    /// After lines: code, tables, HTML.
    Lines,
}

/// Plain text: one section without headings, whose blocks are the paragraphs between blank lines.
pub(super) fn plain(text: &str) -> Vec<Section> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut position = 0;
    let mut after_blank = true;
    for line in text.split_inclusive('\n') {
        let end = position + line.len();
        let blank = line.trim().is_empty();
        match blocks.last_mut() {
            Some(block) if blank || !after_blank => block.span.end = end,
            None if blank => {}
            _ => blocks.push(Block { span: position..end, kind: BlockKind::Prose }),
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
        let sections = plain(text);
        let blocks: Vec<&str> = sections[0].blocks.iter().map(|b| &text[b.span.clone()]).collect();
        assert_eq!(blocks, ["một\nhai\n \n\n", "ba\r\n\r\n", "bốn"]);
        assert_eq!(plain(" \n\t\n"), []);
        assert_eq!(plain(""), []);
    }
}
