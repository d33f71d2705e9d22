//! Cuts a document into chunks that fit an embedder, along its structure.
//!
//! A section's text becomes a row of *pieces* (sentences, lines, or parts of them if these are too
//! long), and chunks are runs of pieces, chosen by [`divide`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Chunk;
use super::division::{Cut, Piece, divide};
use super::sentence::{breaks, trim};
use crate::documents::Document;
use crate::documents::section::{BlockKind, Section};
use crate::documents::structure::LineCounter;

/// How to cut. An index remembers it, since chunks that were cut in another way are not comparable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSettings {
    /// Of a chunk's text, without headings; at least 1.
    pub max_tokens: usize,
    /// How many tokens a chunk may repeat from the one before it in its section; at most half of
    /// `max_tokens`.
    pub overlap_tokens: usize,
    /// Of a chunk's headings together, each with one more for a separator.
    pub max_heading_tokens: usize,
}

impl Default for ChunkSettings {
    /// 320 + 64 tokens and a prefix are well within the 512 of the e5 and `MiniLM` models.
    fn default() -> Self {
        Self { max_tokens: 320, overlap_tokens: 40, max_heading_tokens: 64 }
    }
}

/// More bytes per token than any text has on average (it is about 4). Longer text counts as more
/// tokens: to `WordPiece` a megabyte without spaces is *one* unknown token, and whitespace is none.
/// It also saves tokenizing megabytes only to learn that they are too much.
pub(super) const MAX_BYTES_PER_TOKEN: usize = 32;

/// Cuts `document` into chunks of at most [`ChunkSettings::max_tokens`] by `count_tokens`, in the
/// document's order. Empty documents and sections give none.
///
/// `count_tokens` is the embedder's own count for a text, without special tokens. It is called about
/// twice for each part of the text, a few times more for text without sentence ends, and never on
/// long text, so the time is linear. Only a single character that counts as more than `max_tokens`
/// is not cut further.
///
/// Every non-whitespace byte outside headings and front matter is in at least one chunk, no chunk
/// crosses a heading, and a chunk within a section repeats the last whole sentences of its
/// predecessor (up to [`ChunkSettings::overlap_tokens`]).
pub fn chunk(
    document: &Document,
    settings: &ChunkSettings,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Chunk> {
    let max_tokens = settings.max_tokens.max(1);
    let chunker = Chunker {
        text: &document.text,
        max_tokens,
        overlap_tokens: settings.overlap_tokens.min(max_tokens / 2),
        count_tokens,
    };
    let mut lines = LineCounter::new(&document.text);
    let mut chunks = Vec::new();
    for section in document.sections().iter() {
        // Many notes repeat their title as the first heading.
        let title = document.title.as_ref().filter(|title| section.headings.first() != Some(title));
        let path = title.into_iter().chain(&section.headings);
        let headings = chunker.fit_headings(path, settings.max_heading_tokens);
        for span in chunker.spans(section) {
            let place = document.structure.places.of(&span, &mut lines);
            chunks.push(Chunk { span, headings: headings.clone(), place });
        }
    }
    chunks
}

struct Chunker<'a> {
    text: &'a str,
    max_tokens: usize,
    overlap_tokens: usize,
    count_tokens: &'a dyn Fn(&str) -> usize,
}

impl Chunker<'_> {
    /// The tokens of a text, at least 1. Exact up to `limit`; above it, perhaps too low.
    fn tokens(&self, text: &str, limit: usize) -> usize {
        let floor = (text.len() / MAX_BYTES_PER_TOKEN).max(1);
        if floor > limit { floor } else { (self.count_tokens)(text).max(floor) }
    }

    /// The chunks of a section as trimmed spans.
    fn spans(&self, section: &Section) -> Vec<Range<usize>> {
        let pieces = self.pieces(section);
        let overlaps: Vec<usize> = (0..pieces.len()).map(|at| self.overlap(&pieces, at)).collect();
        let mut spans = Vec::new();
        let mut previous: Option<usize> = None;
        for new in divide(&pieces, &overlaps, self.max_tokens) {
            // The first piece of the previous chunk is never repeated.
            let first = previous.map_or(new.start, |start| overlaps[new.start].max(start + 1));
            previous = Some(new.start);
            self.push(&pieces, first.min(new.start), new, &mut spans);
        }
        spans
    }

    fn pieces(&self, section: &Section) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for block in &section.blocks {
            let text = &self.text[block.span.clone()];
            let ends = match block.kind {
                BlockKind::Prose => breaks(text),
                BlockKind::Lines => line_ends(text),
            };
            let mut cut = Cut::BetweenBlocks;
            let mut start = block.span.start;
            for end in ends {
                let end = block.span.start + end;
                self.split(start..end, cut, &mut pieces);
                start = end;
                cut = Cut::InBlock;
            }
        }
        pieces
    }

    /// Adds a sentence or line as one piece, or, if it is over the limit, as pieces of an eighth of
    /// the limit: small enough to fill chunks and to make overlaps.
    fn split(&self, span: Range<usize>, cut: Cut, pieces: &mut Vec<Piece>) {
        if trim(self.text, span.clone()).is_empty() {
            return;
        }
        let tokens = self.tokens(&self.text[span.clone()], self.max_tokens);
        if tokens <= self.max_tokens {
            // Counts the whitespace that follows too, as far as it counts. Tokenizers split at
            // whitespace first, so the tokens of pieces add up to those of their chunk; `push`
            // checks, for tokenizers that don't.
            pieces.push(Piece { span, tokens, cut });
        } else {
            let mut cut = cut;
            self.halve(span, (self.max_tokens / 8).max(1), &mut |span, tokens| {
                pieces.push(Piece { span, tokens, cut });
                cut = Cut::InSentence;
            });
        }
    }

    /// Halves a span, at whitespace if there is some, until its parts are within `limit` tokens.
    fn halve(&self, span: Range<usize>, limit: usize, found: &mut dyn FnMut(Range<usize>, usize)) {
        let span = trim(self.text, span);
        if span.is_empty() {
            return;
        }
        let tokens = self.tokens(&self.text[span.clone()], limit);
        match middle(&self.text[span.clone()]) {
            Some(middle) if tokens > limit => {
                self.halve(span.start..span.start + middle, limit, found);
                self.halve(span.start + middle..span.end, limit, found);
            }
            _ => found(span, tokens),
        }
    }

    /// The first piece of a chunk whose first new piece is `at`: the earliest beginning of a
    /// sentence within `overlap_tokens`, so that the new piece still fits.
    fn overlap(&self, pieces: &[Piece], at: usize) -> usize {
        let room = self.max_tokens.saturating_sub(pieces[at].tokens).min(self.overlap_tokens);
        let mut tokens = 0;
        let mut best = at;
        for candidate in (0..at).rev() {
            tokens += pieces[candidate].tokens;
            if tokens > room {
                break;
            }
            if pieces[candidate].cut != Cut::InSentence {
                best = candidate;
            }
        }
        best
    }

    /// Adds the chunk of the pieces `new`, preceded by those from `first` as overlap.
    ///
    /// Counts the chunk as a whole. If that is over the limit although the sum was not, the overlap
    /// is dropped first, and then the chunk is halved.
    fn push(
        &self,
        pieces: &[Piece],
        first: usize,
        new: Range<usize>,
        spans: &mut Vec<Range<usize>>,
    ) {
        let span = trim(self.text, pieces[first].span.start..pieces[new.end - 1].span.end);
        if self.tokens(&self.text[span.clone()], self.max_tokens) <= self.max_tokens {
            spans.push(span);
        } else if first < new.start {
            self.push(pieces, new.start, new, spans);
        } else if new.len() > 1 {
            let middle = new.start.midpoint(new.end);
            self.push(pieces, new.start, new.start..middle, spans);
            self.push(pieces, middle, middle..new.end, spans);
        } else {
            self.halve(span, self.max_tokens, &mut |span, _| spans.push(span));
        }
    }

    /// The innermost headings that fit into `limit` tokens: they say the most about the text. If not
    /// even the innermost fits, as much of it as does.
    fn fit_headings<'h>(
        &self,
        path: impl DoubleEndedIterator<Item = &'h String>,
        limit: usize,
    ) -> Vec<String> {
        let cost = |heading: &str| (self.count_tokens)(heading).saturating_add(1);
        let mut room = limit;
        let mut fitting = Vec::new();
        for heading in path.rev() {
            let tokens = cost(heading);
            if tokens <= room {
                room -= tokens;
                fitting.push(heading.clone());
                continue;
            }
            if fitting.is_empty() {
                let mut words: Vec<&str> = heading.split(' ').collect();
                while words.pop().is_some() && cost(&words.join(" ")) > limit {}
                if !words.is_empty() {
                    fitting.push(words.join(" "));
                }
            }
            break;
        }
        fitting.reverse();
        fitting
    }
}

/// Where the lines of a text end, in bytes.
fn line_ends(text: &str) -> Vec<usize> {
    let mut ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    if ends.last().copied().unwrap_or(0) < text.len() {
        ends.push(text.len());
    }
    ends
}

/// Where to halve a trimmed text: at the whitespace nearest to the middle if the middle half has
/// some, otherwise at the character boundary there. `None` for a single character.
///
/// Each part has about a quarter of the text or more, which bounds the depth of halving.
fn middle(text: &str) -> Option<usize> {
    let centre = text.floor_char_boundary(text.len() / 2);
    let low = text.floor_char_boundary(text.len() / 4);
    let high = text.floor_char_boundary(text.len() - text.len() / 4);
    let before = text[low..centre].rfind(char::is_whitespace).map(|at| low + at);
    let after = text[centre..high].find(char::is_whitespace).map(|at| centre + at);
    let nearest = before.into_iter().chain(after).min_by_key(|at| at.abs_diff(centre));
    let at = nearest.unwrap_or(centre);
    if at > 0 {
        return Some(at);
    }
    // The first character is more than half of the text.
    text.chars().next().map(char::len_utf8).filter(|&length| length < text.len())
}
