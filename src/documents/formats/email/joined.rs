//! One document out of several: a message and what is attached to it.

use crate::documents::Document;
use crate::documents::clean::clean;
use crate::documents::contents::Extract;
use crate::documents::section::{Block, BlockKind, Section};
use crate::documents::structure::{Places, Structure};

#[derive(Default)]
pub(super) struct Joined {
    text: String,
    sections: Vec<Section>,
}

impl Joined {
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Plain text under these headings: paragraphs between blank lines.
    pub fn add_text(&mut self, text: &str, kind: BlockKind, headings: &[String]) {
        let text = clean(text);
        let mut start = self.separate();
        let mut blocks: Vec<Block> = Vec::new();
        let mut after_blank = true;
        self.text.push_str(&text);
        for line in text.split_inclusive('\n') {
            let end = start + line.len();
            let is_blank = line.trim().is_empty();
            match blocks.last_mut() {
                Some(block) if is_blank || !after_blank => block.span.end = end,
                None if is_blank => {}
                _ => blocks.push(Block { span: start..end, kind }),
            }
            after_blank = is_blank;
            start = end;
        }
        if !blocks.is_empty() {
            self.sections.push(Section { headings: headings.to_vec(), heading: None, blocks });
        }
    }

    /// A document of its own, with its headings below these.
    pub fn add(&mut self, extract: Extract, headings: &[String]) {
        let start = self.separate();
        self.text.push_str(&extract.text);
        let Extract { title, text, markup, structure, .. } = extract;
        let document = Document { title, text, format: markup, structure, ..Document::default() };
        for section in document.sections() {
            let mut section = section.into_owned().shifted(start);
            let above = headings.iter().chain(&document.title).cloned();
            section.headings = above.chain(section.headings).collect();
            self.sections.push(section);
        }
    }

    /// Where the next text begins.
    fn separate(&mut self) -> usize {
        if !self.text.is_empty() {
            let end = self.text.trim_end().len();
            self.text.truncate(end);
            self.text.push_str("\n\n");
            // A block holds no more than the text does.
            for block in self.sections.iter_mut().rev().take(1).flat_map(|it| &mut it.blocks) {
                block.span.end = block.span.end.min(end);
            }
        }
        self.text.len()
    }

    pub fn finish(self) -> Extract {
        let structure = Structure {
            sections: Some(self.sections),
            places: Places::Nowhere,
            ..Structure::default()
        };
        Extract { text: self.text, structure, ..Extract::default() }
    }
}
