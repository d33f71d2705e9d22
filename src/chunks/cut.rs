//! Cuts a document into chunks that fit an embedder, along its structure.
//!
//! A section's text becomes a row of *pieces* (sentences, lines, or parts of them if these are too
//! long), and chunks are runs of pieces. Where to cut is chosen as a typesetter breaks a paragraph
//! into lines: of all ways that fit, the one of least total cost, where extra chunks, cuts within a
//! block and uneven sizes cost. So blocks stay whole where they can and no crumbs are left behind.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Chunk;
use super::sentence::{breaks, trim};
use crate::documents::formats::markdown;
use crate::documents::section::{self, BlockKind, Section};
use crate::documents::structure::LineCounter;
use crate::documents::{Document, Markup};

/// How to cut. An index remembers it, since chunks cut otherwise are not comparable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSettings {
    /// Most tokens of a chunk's text, without headings: at least 1.
    pub max_tokens: usize,
    /// Most tokens that a chunk repeats from the one before it in its section; half of
    /// `max_tokens` at most.
    pub overlap_tokens: usize,
    /// Most tokens of a chunk's headings together, each with one more for a separator.
    pub max_heading_tokens: usize,
}

impl Default for ChunkSettings {
    /// 320 + 64 tokens and a prefix: well within the 512 of the e5 and `MiniLM` models.
    fn default() -> Self {
        Self { max_tokens: 320, overlap_tokens: 40, max_heading_tokens: 64 }
    }
}

/// More bytes a token than any text has on average (it is about 4). What is longer counts as more
/// tokens: to `WordPiece` a megabyte without spaces is *one* unknown token, and whitespace is none.
/// It also saves tokenizing megabytes only to learn that they are too much.
const MAX_BYTES_PER_TOKEN: usize = 32;

/// Fewer new tokens than this make a poor chunk.
const TINY_TOKENS: usize = 20;

// What a division into chunks costs. A chunk's unused share, squared, comes on top (0 to 1).
const COST_CHUNK: f64 = 1.0;
const COST_TINY_CHUNK: f64 = 1.0;
const COST_CUT_IN_BLOCK: f64 = 1.0;
const COST_CUT_IN_SENTENCE: f64 = 2.0;

/// Cuts `document` into chunks of at most [`ChunkSettings::max_tokens`] by `count_tokens`, in the
/// document's order. Empty documents and sections give none.
///
/// `count_tokens` is the embedder's own count for a text, without special tokens. It is called
/// about twice for each part of the text, a few times more for text without sentence ends, and
/// never on long text, so the time is linear. A single character that
/// counts as more than `max_tokens` is the one thing that is not cut further.
///
/// Every non-whitespace byte outside of headings and front matter is in at least one chunk, no
/// chunk crosses a heading, and a chunk within a section repeats the last whole sentences of its
/// predecessor (up to [`ChunkSettings::overlap_tokens`]).
pub fn chunk(
    document: &Document,
    settings: &ChunkSettings,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Chunk> {
    let found;
    let sections = if let Some(sections) = &document.structure.sections {
        sections
    } else {
        found = match document.format {
            Markup::Markdown => markdown::sections(&document.text),
            Markup::Plain => section::plain(&document.text, BlockKind::Prose),
            Markup::Code => section::plain(&document.text, BlockKind::Lines),
        };
        &found
    };
    let max_tokens = settings.max_tokens.max(1);
    let chunker = Chunker {
        text: &document.text,
        max_tokens,
        overlap_tokens: settings.overlap_tokens.min(max_tokens / 2),
        count_tokens,
    };
    let mut lines = LineCounter::new(&document.text);
    let mut chunks = Vec::new();
    for section in sections {
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

/// A part of a section that is not cut further.
struct Piece {
    span: Range<usize>,
    tokens: usize,
    /// What a cut before the piece cuts.
    cut: Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    BetweenBlocks,
    InBlock,
    InSentence,
}

/// The cheapest way to divide a section's first pieces into chunks.
#[derive(Clone, Copy)]
struct Division {
    cost: f64,
    /// The first new piece of the last chunk.
    last_start: usize,
}

struct Chunker<'a> {
    text: &'a str,
    max_tokens: usize,
    overlap_tokens: usize,
    count_tokens: &'a dyn Fn(&str) -> usize,
}

impl Chunker<'_> {
    /// Tokens of a text, at least 1. Exact only up to `limit`, above it perhaps too low.
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
        for new in self.divide(&pieces, &overlaps) {
            // At least the first piece of the previous chunk stays its own.
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
            // With the whitespace that follows, as far as it counts. Tokenizers split at
            // whitespace first, so the tokens of pieces add up to those of their chunk. `push`
            // looks again, for those that don't.
            pieces.push(Piece { span, tokens, cut });
        } else {
            let mut cut = cut;
            self.halve(span, (self.max_tokens / 8).max(1), &mut |span, tokens| {
                pieces.push(Piece { span, tokens, cut });
                cut = Cut::InSentence;
            });
        }
    }

    /// Halves a span until its parts are within `limit` tokens, at whitespace if there is some.
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

    /// Divides the pieces into chunks at the least cost: each chunk's run of new pieces.
    ///
    /// As every piece counts at least one token, a chunk has at most `max_tokens` pieces and the
    /// time is linear in the number of pieces.
    fn divide(&self, pieces: &[Piece], overlaps: &[usize]) -> Vec<Range<usize>> {
        let mut sums = vec![0];
        sums.extend(pieces.iter().scan(0, |sum, piece| {
            // A piece that is too long is alone in its chunk, however long it is.
            *sum += piece.tokens.min(self.max_tokens.saturating_add(1));
            Some(*sum)
        }));
        let mut best = vec![Division { cost: 0.0, last_start: 0 }];
        for end in 1..=pieces.len() {
            let mut cheapest = Division { cost: f64::INFINITY, last_start: end - 1 };
            for start in (0..end).rev() {
                let alone = start == end - 1;
                let new = sums[end] - sums[start];
                if new > self.max_tokens && !alone {
                    break;
                }
                let tokens = sums[end] - sums[overlaps[start]];
                if tokens > self.max_tokens && !alone {
                    continue;
                }
                let mut cost = best[start].cost + COST_CHUNK;
                if start > 0 {
                    cost += match pieces[start].cut {
                        Cut::BetweenBlocks => 0.0,
                        Cut::InBlock => COST_CUT_IN_BLOCK,
                        Cut::InSentence => COST_CUT_IN_SENTENCE,
                    };
                }
                if new < TINY_TOKENS {
                    cost += COST_TINY_CHUNK;
                }
                let unused = self.max_tokens.saturating_sub(tokens) as f64;
                cost += (unused / self.max_tokens as f64).powi(2);
                if cost < cheapest.cost {
                    cheapest = Division { cost, last_start: start };
                }
            }
            best.push(cheapest);
        }
        let mut runs = Vec::new();
        let mut end = pieces.len();
        while end > 0 {
            let start = best[end].last_start;
            runs.push(start..end);
            end = start;
        }
        runs.reverse();
        runs
    }

    /// Adds the chunk of the pieces `new`, preceded by those from `first` as overlap.
    ///
    /// Counts the chunk as a whole. If that is over the limit although the sum was not, the
    /// overlap goes, and then the chunk is halved.
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

    /// The innermost headings that fit into `limit` tokens: they say the most about the text. Of
    /// the first that does not fit, as much as does, if it would be the only one.
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

/// The last character boundary at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Where to halve a trimmed text: at the whitespace nearest to the middle, if the middle half has
/// some, else at the character boundary there. `None` for a single character.
///
/// Both parts have about a quarter at least, which bounds the depth of halving.
fn middle(text: &str) -> Option<usize> {
    let centre = boundary(text, text.len() / 2);
    let low = boundary(text, text.len() / 4);
    let high = boundary(text, text.len() - text.len() / 4);
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fmt::Write;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::chunks::sentences;
    use crate::documents::Place;
    use crate::documents::plain_text;
    use crate::documents::structure::Structure;

    /// Like a real tokenizer: words of up to four letters, longer ones in parts.
    fn count(text: &str) -> usize {
        text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum()
    }

    fn document(text: &str, format: Markup) -> Document {
        Document {
            id: "/a".into(),
            title: None,
            text: text.into(),
            format,
            structure: Structure::default(),
        }
    }

    fn small(max_tokens: usize, overlap_tokens: usize) -> ChunkSettings {
        ChunkSettings { max_tokens, overlap_tokens, max_heading_tokens: 16 }
    }

    fn texts<'d>(document: &'d Document, settings: &ChunkSettings) -> Vec<&'d str> {
        let chunks = chunk(document, settings, &count);
        chunks.iter().map(|chunk| &document.text[chunk.span.clone()]).collect()
    }

    /// What must hold for any document, settings and counter. Returns the chunks.
    fn check(
        document: &Document,
        settings: &ChunkSettings,
        count: &dyn Fn(&str) -> usize,
    ) -> Vec<Chunk> {
        let text = &document.text;
        let chunks = chunk(document, settings, count);
        let mut covered = vec![false; text.len()];
        let mut last_start = 0;
        for chunk in &chunks {
            let part = &text[chunk.span.clone()];
            assert_eq!(part, part.trim());
            assert!(!part.is_empty());
            assert!(
                count(part) <= settings.max_tokens.max(1) || part.chars().count() == 1,
                "{} tokens: {part:?}",
                count(part)
            );
            assert!(part.len() < MAX_BYTES_PER_TOKEN * (settings.max_tokens.max(1) + 1));
            assert!(chunk.span.start >= last_start);
            last_start = chunk.span.start;
            covered[chunk.span.clone()].fill(true);
            let line = |at: usize| text[..at].matches('\n').count() as u32 + 1;
            if text.len() < 1 << 16 {
                let lines = Place::Lines(line(chunk.span.start), line(chunk.span.end));
                assert_eq!(chunk.place, Some(lines));
            }
            let heading_tokens: usize = chunk.headings.iter().map(|h| count(h) + 1).sum();
            assert!(heading_tokens <= settings.max_heading_tokens);
        }
        if document.format == Markup::Plain || !text.contains(['#', '=', '-']) {
            for (at, character) in text.char_indices() {
                assert!(covered[at] || character.is_whitespace(), "byte {at} is in no chunk");
            }
        }
        chunks
    }

    #[test]
    fn small_sections_are_chunks_of_their_own() {
        let text = "# A\r\nmột\r\n\r\nhai\r\n## B\r\n- ba\r\n- bốn\r\n\r\n# C\r\n# D\r\nnăm\r\n";
        let mut document = document(text, Markup::Markdown);
        document.title = Some("Tựa".into());
        let chunks = check(&document, &ChunkSettings::default(), &count);
        let found: Vec<_> = chunks
            .iter()
            .map(|c| (&text[c.span.clone()], c.headings.join(" > "), c.place))
            .collect();
        assert_eq!(
            found,
            [
                ("một\r\n\r\nhai", "Tựa > A".to_owned(), Some(Place::Lines(2, 4))),
                ("- ba\r\n- bốn", "Tựa > A > B".to_owned(), Some(Place::Lines(6, 7))),
                ("năm", "Tựa > D".to_owned(), Some(Place::Lines(11, 11))),
            ]
        );
    }

    #[test]
    fn the_title_is_not_repeated_as_heading() {
        let mut document = document("# Tựa\n## A\nx", Markup::Markdown);
        document.title = Some("Tựa".into());
        let chunks = chunk(&document, &ChunkSettings::default(), &count);
        assert_eq!(chunks[0].headings, ["Tựa", "A"]);
    }

    #[test]
    fn only_headings_give_no_chunk() {
        let deep: String = (0..10_000).fold(String::new(), |mut text, n| {
            writeln!(text, "{} {n}", "#".repeat(n % 7 + 1)).unwrap();
            text
        });
        // Seven `#` are no heading.
        let chunks = check(&document(&deep, Markup::Markdown), &ChunkSettings::default(), &count);
        assert!(chunks.iter().all(|chunk| chunk.headings.len() <= 6));
        assert_eq!(chunks.len(), 10_000 / 7);
        for text in ["", "# A", "# A\n## B\n", "\n\n", "---\ntitle: x\n---\n"] {
            let document = document(text, Markup::Markdown);
            assert_eq!(chunk(&document, &ChunkSettings::default(), &count), []);
        }
    }

    #[test]
    fn blocks_stay_whole_where_they_can() {
        let text = "a a a. b b b.\n\nc c c. d d d.\n\ne e e e. f f f f.";
        let document = document(text, Markup::Plain);
        let settings = small(15, 0);
        check(&document, &settings, &count);
        assert_eq!(
            texts(&document, &settings),
            ["a a a. b b b.\n\nc c c. d d d.", "e e e e. f f f f."]
        );
    }

    #[test]
    fn a_long_paragraph_is_cut_between_sentences_and_overlaps() {
        let sentence = |n: usize| format!("Câu số {n} có sáu từ.");
        let text = (10..40).map(sentence).collect::<Vec<_>>().join(" ");
        let document = document(&text, Markup::Plain);
        let settings = small(50, 14);
        let chunks = check(&document, &settings, &count);
        assert!(chunks.len() > 3);
        for pair in chunks.windows(2) {
            assert!(text[pair[0].span.clone()].ends_with('.'));
            let shared = &text[pair[1].span.start..pair[0].span.end];
            // Two sentences of six tokens each are within 14, three are not.
            assert_eq!(shared.matches("Câu").count(), 2, "{shared:?}");
            assert!(shared.starts_with("Câu"));
        }
        let without = check(&document, &small(50, 0), &count);
        assert!(without.windows(2).all(|pair| pair[0].span.end < pair[1].span.start));
    }

    #[test]
    fn sections_do_not_overlap() {
        let text = "# A\nmột. Hai.\n# B\nba.";
        let document = document(text, Markup::Markdown);
        assert_eq!(texts(&document, &small(10, 5)), ["một. Hai.", "ba."]);
    }

    #[test]
    fn no_crumb_is_left_at_the_end() {
        // 105 sentences of 3 tokens: 315, then one more paragraph of 9.
        let text = format!("{}\n\n{}", "Một hai ba. ".repeat(105).trim(), "x ".repeat(9));
        let document = document(&text, Markup::Plain);
        let chunks = check(&document, &ChunkSettings::default(), &count);
        assert_eq!(chunks.len(), 2);
        let tokens = chunks.iter().map(|c| count(&text[c.span.clone()]));
        assert!(tokens.min() > Some(100));
    }

    #[test]
    fn code_is_cut_between_lines() {
        let text = format!("```\n{}```\n", "let a = 1 ;\n".repeat(20));
        let document = document(&text, Markup::Markdown);
        let chunks = check(&document, &small(24, 0), &count);
        assert!(chunks.len() > 3);
        assert!(chunks[1..].iter().all(|c| text[c.span.clone()].starts_with("let a")));
    }

    #[test]
    fn headings_keep_to_their_tokens_innermost_first() {
        let text = "# một hai ba\n## bốn năm\n### sáu\nx\n# a b c d e f g h\ny";
        let document = document(text, Markup::Markdown);
        let settings = ChunkSettings { max_heading_tokens: 6, ..ChunkSettings::default() };
        let chunks = check(&document, &settings, &count);
        assert_eq!(chunks[0].headings, ["bốn năm", "sáu"]);
        assert_eq!(chunks[1].headings, ["a b c d e"]);
        let none = ChunkSettings { max_heading_tokens: 0, ..ChunkSettings::default() };
        assert!(check(&document, &none, &count).iter().all(|c| c.headings.is_empty()));
    }

    #[test]
    fn no_counter_and_no_settings_break_the_rules() {
        let vietnamese = "Tie\u{302}\u{301}ng Vie\u{323}\u{302}t la\u{300} ngôn ngữ. Đơn lập! ";
        let text =
            format!("{}\n\n- {}\n\n{}", vietnamese.repeat(30), "x".repeat(999), "。".repeat(99));
        let characters = |text: &str| text.chars().count();
        // More for the whole than for the parts together.
        let squared = |text: &str| text.len() * text.len() / 64;
        let odd = |text: &str| if text.len().is_multiple_of(7) { 9999 } else { 1 };
        let counters: [&dyn Fn(&str) -> usize; 6] =
            [&count, &characters, &squared, &odd, &|_| 0, &|_| usize::MAX];
        for format in [Markup::Markdown, Markup::Plain] {
            let text =
                if format == Markup::Markdown { text.replace('-', "+") } else { text.clone() };
            let document = document(&text, format);
            for (max, overlap) in [(0, 0), (1, 9), (7, 3), (40, 39), (320, 40), (320, usize::MAX)] {
                for counter in counters {
                    check(&document, &small(max, overlap), counter);
                }
            }
        }
    }

    #[test]
    fn hostile_text_ends_in_linear_time() {
        const SIZE: usize = 1 << 20;
        let fill = |part: &str| part.repeat(SIZE / part.len());
        let texts = [
            fill("x"),
            fill("ế"),
            fill("\u{301}"),
            fill("a\n\n"),
            fill("a. "),
            fill("A. "),
            fill("1? "),
            fill("1?"),
            fill("**"),
            fill("> "),
            fill("- "),
            fill("- a\n"),
            fill("[a]: b\n"),
            fill("[^a]: b\n"),
            fill("# a\nb\n"),
            fill("a\n---\n"),
            fill("|a"),
            fill("|a|b|\n|-|-|\n"),
            fill("`"),
            fill("![["),
            fill("<a "),
            fill("<!--"),
            fill("$$a"),
            format!("```\n{}", fill("x y\n")),
            format!("---\n{}", fill("a: b\n")),
            format!("a{}b", " ".repeat(SIZE)),
            (0..500).flat_map(|depth| [" ".repeat(depth * 2), "- x\n".to_owned()]).collect(),
        ];
        for text in &texts {
            for format in [Markup::Markdown, Markup::Plain] {
                let bytes = Cell::new(0);
                let counter = |text: &str| {
                    bytes.set(bytes.get() + text.len());
                    count(text)
                };
                let begin = Instant::now();
                chunk(&document(text, format), &ChunkSettings::default(), &counter);
                let _ = (sentences(text), plain_text(text));
                let sample: String = text.chars().take(12).collect();
                let took = begin.elapsed();
                assert!(bytes.get() < 8 * SIZE, "{sample:?}: counted {} bytes", bytes.get());
                assert!(took < Duration::from_secs(20), "{sample:?}: {took:?}");
            }
        }
    }

    #[test]
    fn markdown_is_covered_but_for_headings_and_front_matter() {
        let text = "---\ntitle: x\n---\nmở [a]\n\n[a]: http://b\n\n# H {#id}\n\
                    > trích\n> > sâu\n\n1. một\n\n   hai\n   * ba\n\n<p>\nhtml\n</p>\n\n***\n\n\
                    | a |\n|---|\n| b |\n\nchú[^1]\n\n[^1]: thích\n\n[x]: y\n";
        let document = document(text, Markup::Markdown);
        for max in [3, 10, 320] {
            let mut covered = vec![false; text.len()];
            for chunk in chunk(&document, &small(max, 0), &count) {
                covered[chunk.span].fill(true);
            }
            let left: String = text
                .char_indices()
                .filter(|&(at, character)| !covered[at] && !character.is_whitespace())
                .map(|(_, character)| character)
                .collect();
            assert_eq!(left, "---title:x---#H{#id}");
        }
    }
}
