//! Which headings stand above the chunks of a section, and which become text.
//!
//! A heading is found by way of the chunks below it. One that has none, or that is too long to be
//! repeated above them, is text that the author wrote like any other, so it is cut like any other.

use std::borrow::Cow;

use super::Chunk;
use crate::documents::Document;
use crate::documents::section::{Block, BlockKind, Section};

/// How headings are fitted into the room that chunks have for them.
pub(super) struct HeadingFit<'a> {
    /// Tokens of a chunk's headings together, each with one more for a separator.
    pub limit: usize,
    pub count_tokens: &'a dyn Fn(&str) -> usize,
}

/// The headings of a path that fit.
struct Fitting {
    /// Outermost first. The outermost may be cut.
    headings: Vec<String>,
    /// How many of the outermost headings of the path are not whole in `headings`.
    lost: usize,
}

impl HeadingFit<'_> {
    /// The innermost headings that fit: they say the most about the text. If not even the innermost
    /// fits, as much of it as does.
    fn fit(&self, path: &[&String]) -> Fitting {
        let cost = |heading: &str| (self.count_tokens)(heading).saturating_add(1);
        let mut room = self.limit;
        let mut headings: Vec<String> = Vec::new();
        let mut lost = path.len();
        for heading in path.iter().rev() {
            let tokens = cost(heading);
            if tokens > room {
                break;
            }
            room -= tokens;
            lost -= 1;
            headings.push((*heading).clone());
        }
        if headings.is_empty()
            && let Some(innermost) = path.last()
        {
            let mut words: Vec<&str> = innermost.split(' ').collect();
            while words.pop().is_some() && cost(&words.join(" ")) > self.limit {}
            if !words.is_empty() {
                headings.push(words.join(" "));
            }
        }
        headings.reverse();
        Fitting { headings, lost }
    }
}

/// A section, and its whole path: the document's title and the section's headings.
struct Fitted<'d> {
    section: Cow<'d, Section>,
    fitting: Fitting,
    depth: usize,
}

/// Receives headings and the blocks below them.
type Found<'f> = &'f mut dyn FnMut(&[String], &mut dyn Iterator<Item = &Block>);

/// Goes through the sections of a document that have text, headings that become text among it: the
/// headings above each, and its blocks.
pub(super) fn each_section(document: &Document, fit: &HeadingFit, found: Found) {
    let mut lone = LoneHeadings::default();
    let mut sections = document.sections();
    let mut next = sections.next().map(|section| fitted(section, document, fit));
    while let Some(Fitted { section, fitting, depth }) = next {
        next = sections.next().map(|section| fitted(section, document, fit));
        let is_lost = fitting.lost >= depth;
        let heading = section.heading.clone().map(|span| Block { span, kind: BlockKind::Prose });
        if !section.blocks.is_empty() {
            lone.flush(document, fit, found);
            let mut blocks = heading.iter().filter(|_| is_lost).chain(&section.blocks);
            found(&fitting.headings, &mut blocks);
        } else if let Some(heading) = heading {
            let is_below = |next: &&Fitted| {
                let headings = &next.section.headings;
                headings.len() > section.headings.len() && headings.starts_with(&section.headings)
            };
            // The chunks below have it among their headings, if these fit.
            let is_repeated =
                next.as_ref().filter(is_below).is_some_and(|next| next.fitting.lost < depth);
            if is_repeated && !is_lost {
                lone.flush(document, fit, found);
            } else {
                let parents = &section.headings[..section.headings.len().saturating_sub(1)];
                if parents != lone.parents {
                    lone.flush(document, fit, found);
                    lone.parents = parents.to_vec();
                }
                lone.blocks.push(heading);
            }
        }
    }
    lone.flush(document, fit, found);
}

fn fitted<'d>(section: Cow<'d, Section>, document: &Document, fit: &HeadingFit) -> Fitted<'d> {
    let path = path(document, &section.headings);
    Fitted { fitting: fit.fit(&path), depth: path.len(), section }
}

/// Many notes repeat their title as the first heading.
fn path<'d>(document: &'d Document, headings: &'d [String]) -> Vec<&'d String> {
    let title = document.title.as_ref().filter(|title| headings.first() != Some(title));
    title.into_iter().chain(headings).collect()
}

/// Puts the name of the file above the chunks of a document that has neither a title nor one first
/// heading above all of its text, where the headings leave room for it.
pub(super) fn put_name_above(document: &Document, fit: &HeadingFit, chunks: &mut [Chunk]) {
    let first = chunks.first().and_then(|chunk| chunk.headings.first());
    let is_headed = first.is_some() && chunks.iter().all(|chunk| chunk.headings.first() == first);
    let name = &document.name;
    if !name.is_title || document.title.is_some() || is_headed {
        return;
    }
    let cost = |heading: &String| (fit.count_tokens)(heading).saturating_add(1);
    let Some(room) = fit.limit.checked_sub(cost(&name.words)) else { return };
    for chunk in chunks {
        if chunk.headings.iter().map(cost).sum::<usize>() <= room {
            chunk.name = Some(name.words.clone());
        }
    }
}

/// Headings without text that follow on each other under the same parents: to their author, the
/// items of a list.
#[derive(Default)]
struct LoneHeadings {
    parents: Vec<String>,
    blocks: Vec<Block>,
}

impl LoneHeadings {
    fn flush(&mut self, document: &Document, fit: &HeadingFit, found: Found) {
        if !self.blocks.is_empty() {
            let headings = fit.fit(&path(document, &self.parents)).headings;
            found(&headings, &mut self.blocks.iter());
            self.blocks.clear();
        }
    }
}
