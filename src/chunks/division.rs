//! Where to cut a section, chosen as a typesetter breaks a paragraph into lines: of all divisions
//! whose chunks fit, the one of least total cost, where extra chunks, cuts within a block and uneven
//! sizes cost. So blocks stay whole where they can, and no crumbs are left over.

use std::ops::Range;

/// A chunk with fewer new tokens than this is a poor one.
const TINY_TOKENS: usize = 20;

// What a division into chunks costs. A chunk's unused share, squared, comes on top (0 to 1).
const COST_CHUNK: f64 = 1.0;
const COST_TINY_CHUNK: f64 = 1.0;
const COST_CUT_IN_BLOCK: f64 = 1.0;
const COST_CUT_IN_SENTENCE: f64 = 2.0;

/// A part of a section that is not cut further.
pub(super) struct Piece {
    pub span: Range<usize>,
    /// At least 1.
    pub tokens: usize,
    /// What a cut before the piece cuts.
    pub cut: Cut,
    /// The header of the table that the piece is a row of, or part of a row.
    pub header: Option<Header>,
}

/// The header row of a table, which is repeated before a chunk that begins further below.
#[derive(Clone)]
pub(super) struct Header {
    pub span: Range<usize>,
    pub tokens: usize,
}

impl Piece {
    /// The tokens of the header that a chunk beginning with this piece repeats.
    pub fn header_tokens(&self) -> usize {
        self.header.as_ref().map_or(0, |header| header.tokens)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    BetweenBlocks,
    InBlock,
    InSentence,
}

impl Cut {
    fn cost(self) -> f64 {
        match self {
            Self::BetweenBlocks => 0.0,
            Self::InBlock => COST_CUT_IN_BLOCK,
            Self::InSentence => COST_CUT_IN_SENTENCE,
        }
    }
}

/// The cheapest division of a section's first pieces into chunks.
#[derive(Clone, Copy)]
struct Division {
    cost: f64,
    /// The first new piece of the last chunk.
    last_start: usize,
}

/// The cheapest division of `pieces`, from the one at `from` on, into chunks of at most `max_tokens`:
/// the new pieces of each. A chunk whose first new piece is `at` also repeats the pieces from
/// `overlaps[at]` on, and the header above them.
///
/// As every piece counts as at least one token, a chunk has at most `max_tokens` pieces, and the time
/// is linear in the number of pieces.
pub(super) fn divide(
    pieces: &[Piece],
    overlaps: &[usize],
    from: usize,
    max_tokens: usize,
) -> Vec<Range<usize>> {
    let mut sums = vec![0];
    sums.extend(pieces.iter().scan(0, |sum, piece| {
        // A piece that is too long is alone in its chunk, however long it is.
        *sum += piece.tokens.min(max_tokens.saturating_add(1));
        Some(*sum)
    }));
    // What a chunk repeats before its first new piece.
    let repeated: Vec<usize> = (from..pieces.len())
        .map(|at| sums[at] - sums[overlaps[at]] + pieces[overlaps[at]].header_tokens())
        .collect();
    let mut best = vec![Division { cost: 0.0, last_start: from }];
    for end in from + 1..=pieces.len() {
        let mut cheapest = Division { cost: f64::INFINITY, last_start: end - 1 };
        for start in (from..end).rev() {
            let alone = start == end - 1;
            let new = sums[end] - sums[start];
            if new > max_tokens && !alone {
                break;
            }
            let tokens = new + repeated[start - from];
            if tokens > max_tokens && !alone {
                continue;
            }
            let mut cost = best[start - from].cost + COST_CHUNK;
            if start > from {
                cost += pieces[start].cut.cost();
            }
            if new < TINY_TOKENS {
                cost += COST_TINY_CHUNK;
            }
            let unused = max_tokens.saturating_sub(tokens) as f64;
            cost += (unused / max_tokens as f64).powi(2);
            if cost < cheapest.cost {
                cheapest = Division { cost, last_start: start };
            }
        }
        best.push(cheapest);
    }
    let mut runs = Vec::new();
    let mut end = pieces.len();
    while end > from {
        let start = best[end - from].last_start;
        runs.push(start..end);
        end = start;
    }
    runs.reverse();
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cheapest division by trying all of them, without overlaps.
    fn by_trying(pieces: &[Piece], max_tokens: usize) -> f64 {
        let Some(last) = pieces.len().checked_sub(1) else { return 0.0 };
        let mut cheapest = f64::INFINITY;
        for cuts in 0..1_u32 << last {
            let mut cost = 0.0;
            let mut start = 0;
            for end in 1..=pieces.len() {
                if end < pieces.len() && cuts & (1 << (end - 1)) == 0 {
                    continue;
                }
                let tokens: usize = pieces[start..end].iter().map(|piece| piece.tokens).sum();
                if tokens > max_tokens && end - start > 1 {
                    cost = f64::INFINITY;
                }
                cost += chunk_cost(&pieces[start..end], start > 0, tokens, max_tokens);
                start = end;
            }
            cheapest = cheapest.min(cost);
        }
        cheapest
    }

    fn chunk_cost(pieces: &[Piece], is_cut: bool, tokens: usize, max_tokens: usize) -> f64 {
        let cut = if is_cut { pieces[0].cut.cost() } else { 0.0 };
        let tiny = if tokens < TINY_TOKENS { COST_TINY_CHUNK } else { 0.0 };
        let unused = max_tokens.saturating_sub(tokens) as f64 / max_tokens as f64;
        COST_CHUNK + cut + tiny + unused.powi(2)
    }

    #[test]
    fn no_division_is_cheaper() {
        let mut random = crate::support::random::SplitMix64::new(3);
        for _ in 0..100 {
            let pieces: Vec<Piece> = (0..random.below(10))
                .map(|at| Piece {
                    span: at..at + 1,
                    tokens: 1 + random.below(40),
                    cut: [Cut::BetweenBlocks, Cut::InBlock, Cut::InSentence][random.below(3)],
                    header: None,
                })
                .collect();
            let overlaps: Vec<usize> = (0..pieces.len()).collect();
            let chosen: f64 = divide(&pieces, &overlaps, 0, 60)
                .into_iter()
                .map(|run| {
                    let pieces = &pieces[run.clone()];
                    let tokens = pieces.iter().map(|piece| piece.tokens).sum();
                    chunk_cost(pieces, run.start > 0, tokens, 60)
                })
                .sum();
            assert!((chosen - by_trying(&pieces, 60)).abs() < 1e-9);
        }
    }
}
