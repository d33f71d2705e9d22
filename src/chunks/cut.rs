//! Cuts a document into chunks that fit an embedder, along its structure.
//!
//! A section's text becomes a row of *pieces* (sentences, lines, or parts of them if these are too
//! long), and chunks are runs of pieces, chosen by [`divide`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::division::{Cut, Header, Piece, divide};
use super::headings::{HeadingFit, each_section, put_name_above};
use super::sentence::{breaks, trim};
use super::{Chunk, with_header};
use crate::documents::Document;
use crate::documents::section::{Block, BlockKind};
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
/// Every non-whitespace byte outside front matter is in the span or in the headings of at least one
/// chunk: a heading with no text below it becomes text. No chunk crosses a heading that has text, and
/// a chunk within a section repeats the last whole sentences of its predecessor (up to
/// [`ChunkSettings::overlap_tokens`]), or, if it begins inside a table, the table's header row.
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
    let fit = HeadingFit { limit: settings.max_heading_tokens, count_tokens };
    let mut lines = LineCounter::new(&document.text);
    let mut chunks = Vec::new();
    each_section(document, &fit, &mut |headings, blocks| {
        chunker.cut(blocks, &mut |Part { span, header }| {
            let place = document.structure.places.of(&span, &mut lines);
            let headings = headings.to_vec();
            chunks.push(Chunk { span, header, headings, name: None, place });
        });
    });
    put_name_above(document, &fit, &mut chunks);
    chunks
}

struct Chunker<'a> {
    text: &'a str,
    max_tokens: usize,
    overlap_tokens: usize,
    count_tokens: &'a dyn Fn(&str) -> usize,
}

/// A chunk's text: a trimmed span, and the header row that is repeated before it.
struct Part {
    span: Range<usize>,
    header: Option<Range<usize>>,
}

/// Pieces that are divided at once. Only sections of megabytes have more; the chunks at the end of
/// one batch are divided again with the next.
const BATCH: usize = 1 << 16;
const DIVIDED_AGAIN: usize = 8;

/// The pieces of a section that are in no chunk yet, and those before them that may be repeated.
struct Batch<'c, 'a> {
    chunker: &'c Chunker<'a>,
    pieces: Vec<Piece>,
    /// The first piece of the last chunk so far.
    previous: Option<usize>,
    /// The first piece that is in no chunk.
    next: usize,
    /// As many pieces are divided.
    full: usize,
    found: &'c mut dyn FnMut(Part),
}

impl Batch<'_, '_> {
    fn add(&mut self, piece: Piece) {
        self.pieces.push(piece);
        if self.pieces.len() >= self.full {
            self.divide(DIVIDED_AGAIN);
            let kept = self.previous.unwrap_or(0);
            self.pieces.drain(..kept);
            self.previous = self.previous.map(|previous| previous - kept);
            self.next -= kept;
            self.full = self.pieces.len() + BATCH;
        }
    }

    /// Makes chunks of the pieces, but for the last `left` chunks.
    fn divide(&mut self, left: usize) {
        let Chunker { max_tokens, .. } = *self.chunker;
        let overlaps: Vec<usize> =
            (0..self.pieces.len()).map(|at| self.chunker.overlap(&self.pieces, at)).collect();
        let mut runs = divide(&self.pieces, &overlaps, self.next, max_tokens);
        runs.truncate(runs.len().saturating_sub(left));
        for new in runs {
            // The first piece of the previous chunk is never repeated.
            let first = self.previous.map_or(new.start, |start| overlaps[new.start].max(start + 1));
            (self.previous, self.next) = (Some(new.start), new.end);
            self.chunker.push(&self.pieces, first.min(new.start), new, self.found);
        }
    }
}

impl Chunker<'_> {
    /// The tokens of a text, at least 1. Exact up to `limit`; above it, perhaps too low.
    fn tokens(&self, text: &str, limit: usize) -> usize {
        let floor = (text.len() / MAX_BYTES_PER_TOKEN).max(1);
        if floor > limit { floor } else { (self.count_tokens)(text).max(floor) }
    }

    /// Finds the chunks of a section with these blocks.
    fn cut(&self, blocks: &mut dyn Iterator<Item = &Block>, found: &mut dyn FnMut(Part)) {
        let mut batch = Batch {
            chunker: self,
            pieces: Vec::new(),
            previous: None,
            next: 0,
            full: BATCH,
            found,
        };
        for Block { span, kind } in blocks {
            match *kind {
                BlockKind::Prose => {
                    let ends = breaks(&self.text[span.clone()]);
                    self.parts(span, ends.into_iter(), &mut batch);
                }
                BlockKind::Lines => {
                    self.parts(span, line_ends(&self.text[span.clone()]), &mut batch);
                }
                BlockKind::Table { header } => self.rows(span, header, &mut batch),
            }
        }
        batch.divide(0);
    }

    /// Adds the sentences or lines of a block, which end at `ends` in it.
    fn parts(&self, block: &Range<usize>, ends: impl Iterator<Item = usize>, batch: &mut Batch) {
        let mut cut = Cut::BetweenBlocks;
        let mut start = block.start;
        for end in ends {
            let end = block.start + end;
            self.split(start..end, cut, None, batch);
            start = end;
            cut = Cut::InBlock;
        }
    }

    /// Adds the rows of a table whose first `header` bytes are its header.
    fn rows(&self, table: &Range<usize>, header: usize, batch: &mut Batch) {
        let rows = table.start + self.text[table.clone()].floor_char_boundary(header);
        let span = trim(self.text, table.start..rows);
        if span.is_empty() {
            self.parts(table, line_ends(&self.text[table.clone()]), batch);
            return;
        }
        // With a longer one, little room would be left for the rows.
        let limit = self.max_tokens / 2;
        let tokens = self.tokens(&self.text[span.clone()], limit);
        let repeated = (tokens <= limit).then_some(Header { span, tokens });
        self.split(table.start..rows, Cut::BetweenBlocks, None, batch);
        // A header alone says nothing, so a cut below it is worse than one between other rows.
        let mut cut = Cut::InSentence;
        let mut start = rows;
        for end in line_ends(&self.text[rows..table.end]) {
            let end = rows + end;
            self.split(start..end, cut, repeated.as_ref(), batch);
            start = end;
            cut = Cut::InBlock;
        }
    }

    /// Adds a sentence, line or row as one piece, or, if it is over the limit, as pieces of an eighth
    /// of the limit: small enough to fill chunks and to make overlaps.
    fn split(&self, span: Range<usize>, cut: Cut, header: Option<&Header>, batch: &mut Batch) {
        if trim(self.text, span.clone()).is_empty() {
            return;
        }
        let max_tokens = self.max_tokens - header.map_or(0, |header| header.tokens);
        let tokens = self.tokens(&self.text[span.clone()], max_tokens);
        if tokens <= max_tokens {
            // Counts the whitespace that follows too, as far as it counts. Tokenizers split at
            // whitespace first, so the tokens of pieces add up to those of their chunk; `push`
            // checks, for tokenizers that don't.
            batch.add(Piece { span, tokens, cut, header: header.cloned() });
        } else {
            let mut cut = cut;
            self.halve(span, (self.max_tokens / 8).max(1), &mut |span, tokens| {
                batch.add(Piece { span, tokens, cut, header: header.cloned() });
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
    /// sentence within `overlap_tokens`, so that the new piece still fits. Rows of a table that has a
    /// header are not repeated: what they are about is in the header.
    fn overlap(&self, pieces: &[Piece], at: usize) -> usize {
        let room = self.max_tokens.saturating_sub(pieces[at].tokens).min(self.overlap_tokens);
        let mut tokens = 0;
        let mut best = at;
        if pieces[at].header.is_some() {
            return at;
        }
        for candidate in (0..at).rev() {
            tokens += pieces[candidate].tokens;
            if tokens > room || pieces[candidate].header.is_some() {
                break;
            }
            if pieces[candidate].cut != Cut::InSentence {
                best = candidate;
            }
        }
        best
    }

    /// Adds the chunk of the pieces `new`, preceded by those from `first` as overlap, or by the
    /// header of their table.
    ///
    /// Counts the chunk as a whole. If that is over the limit although the sum was not, the overlap
    /// is dropped first, and then the chunk is halved.
    fn push(&self, pieces: &[Piece], first: usize, new: Range<usize>, found: &mut dyn FnMut(Part)) {
        let span = trim(self.text, pieces[first].span.start..pieces[new.end - 1].span.end);
        let header = pieces[first].header.as_ref().map(|header| header.span.clone());
        if self.fits(header.as_ref(), &span) {
            found(Part { span, header });
        } else if first < new.start {
            self.push(pieces, new.start, new, found);
        } else if new.len() > 1 {
            let middle = new.start.midpoint(new.end);
            self.push(pieces, new.start, new.start..middle, found);
            self.push(pieces, middle, middle..new.end, found);
        } else {
            self.halve(span, self.max_tokens, &mut |span, _| found(Part { span, header: None }));
        }
    }

    fn fits(&self, header: Option<&Range<usize>>, span: &Range<usize>) -> bool {
        let tokens = match header {
            Some(_) => self.tokens(&with_header(self.text, header, span), self.max_tokens),
            None => self.tokens(&self.text[span.clone()], self.max_tokens),
        };
        tokens <= self.max_tokens
    }
}

/// Where the lines of a text end, in bytes.
fn line_ends(text: &str) -> impl Iterator<Item = usize> {
    let mut end = 0;
    text.split_inclusive('\n').map(move |line| {
        end += line.len();
        end
    })
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
