//! Joins the letters of a word to tokens, by whatever rule.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::table::NONE;

/// A token in a word that is being encoded.
#[derive(Clone, Copy)]
pub struct Symbol {
    pub id: u32,
    /// Where it begins in the word.
    pub start: u32,
    /// 0: it has become part of another.
    pub bytes: u32,
    /// Positions of the neighbours, or [`NONE`].
    previous: u32,
    next: u32,
}

impl Symbol {
    /// A letter.
    pub fn new(id: u32, start: usize, bytes: usize) -> Self {
        Self { id, start: start as u32, bytes: bytes as u32, previous: NONE, next: NONE }
    }
}

/// That two neighbours become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Join {
    /// The lowest is applied first.
    pub rank: u32,
    /// The token that they become.
    pub id: u32,
}

/// Says which neighbours may become one.
pub trait Joins {
    fn join(&self, left: &Symbol, right: &Symbol) -> Option<Join>;

    /// Whether `join` is what it was: one of the two may have become part of another since.
    fn still_joins(&self, join: Join, left: &Symbol, right: &Symbol) -> bool {
        self.join(left, right) == Some(join)
    }
}

/// Joins neighbours, the lowest rank first, of equal ones the leftmost, until none is left, in a time
/// in proportion to the word's length times its logarithm.
pub fn join(joins: &impl Joins, symbols: &mut Vec<Symbol>) {
    let count = symbols.len() as u32;
    for (at, symbol) in (0..count).zip(symbols.iter_mut()) {
        symbol.previous = at.checked_sub(1).unwrap_or(NONE);
        symbol.next = if at + 1 < count { at + 1 } else { NONE };
    }
    let candidate = |symbols: &[Symbol], at: u32| {
        let left = symbols.get(at as usize)?;
        let right = symbols.get(left.next as usize)?;
        let Join { rank, id } = joins.join(left, right)?;
        Some(Reverse((rank, at, id)))
    };
    let mut waiting: BinaryHeap<_> = (0..count).filter_map(|at| candidate(symbols, at)).collect();
    while let Some(Reverse((rank, at, id))) = waiting.pop() {
        let left = symbols[at as usize];
        let Some(&right) = symbols.get(left.next as usize) else { continue };
        if left.bytes == 0 || !joins.still_joins(Join { rank, id }, &left, &right) {
            continue;
        }
        let joined = &mut symbols[at as usize];
        (joined.id, joined.bytes, joined.next) = (id, left.bytes + right.bytes, right.next);
        symbols[left.next as usize].bytes = 0;
        if let Some(following) = symbols.get_mut(right.next as usize) {
            following.previous = at;
        }
        waiting.extend(candidate(symbols, left.previous));
        waiting.extend(candidate(symbols, at));
    }
    symbols.retain(|symbol| symbol.bytes > 0);
}

/// Counts what joining asks.
#[cfg(test)]
pub struct Counted<J>(J, std::cell::Cell<usize>);

#[cfg(test)]
impl<J> Counted<J> {
    pub fn new(joins: J) -> Self {
        Self(joins, std::cell::Cell::new(0))
    }

    pub fn steps(&self) -> usize {
        self.1.get()
    }
}

#[cfg(test)]
impl<J: Joins> Joins for Counted<J> {
    fn join(&self, left: &Symbol, right: &Symbol) -> Option<Join> {
        self.1.set(self.1.get() + 1);
        self.0.join(left, right)
    }

    fn still_joins(&self, join: Join, left: &Symbol, right: &Symbol) -> bool {
        self.1.set(self.1.get() + 1);
        self.0.still_joins(join, left, right)
    }
}
