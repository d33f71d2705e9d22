//! Separates an LLM's reasoning from its answer where both come in one text.
//!
//! Reasoning stands between marks such as `<think>` and `</think>`, at the beginning or on lines of
//! its own. Some servers cut the opening mark off, so that only the closing one tells what the text
//! before it was. That text may already have been shown, so what begins as reasoning does, or comes
//! from a model that reasons by its name, is held back until the mark or the end: an answer that is
//! held back is shown late, but never changed.

mod beginnings;
mod marks;

use beginnings::Beginning;
pub use beginnings::is_reasoning_model;
use marks::Mark;

/// Part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Of the answer.
    Text(&'a str),
    /// Of the reasoning.
    Thinking(&'a str),
    /// The answer so far was reasoning.
    Retracted,
}

impl Part<'_> {
    /// Adds it to the answer so far.
    pub fn add_to(&self, answer: &mut String) {
        match self {
            Self::Text(text) => answer.push_str(text),
            Self::Thinking(_) => {}
            Self::Retracted => answer.clear(),
        }
    }
}

/// Takes a text in pieces, and sorts it into reasoning and answer.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    /// Whether to hold back whatever has no mark.
    holds_all: bool,
    /// What has come and is not sorted yet.
    pending: String,
    /// How much of `pending` is known to have no mark.
    searched: usize,
    /// The answer so far.
    answer: String,
    has_thought: bool,
    /// Whether an opening mark was missing.
    lacks_opening: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the answer, where marks may be.
    Beginning,
    /// In what may be reasoning without an opening mark.
    Held,
    Thinking(&'static Mark),
    Answer,
}

impl Splitter {
    /// `holds_all` is for a model that is known to leave out the opening mark.
    pub fn new(holds_all: bool) -> Self {
        Self {
            state: State::Beginning,
            holds_all,
            pending: String::new(),
            searched: 0,
            answer: String::new(),
            has_thought: false,
            lacks_opening: false,
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &str, emit: &mut dyn FnMut(Part)) {
        self.pending.push_str(piece);
        while self.step(false, emit) {}
    }

    /// Ends the text.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Part)) {
        while self.step(true, emit) {}
    }

    /// Whether there was any reasoning.
    pub fn has_thought(&self) -> bool {
        self.has_thought
    }

    /// Whether there was reasoning without an opening mark, as there will be in the next answer.
    pub fn lacks_opening(&self) -> bool {
        self.lacks_opening
    }

    /// Sorts what it can; true if there may be more to do.
    fn step(&mut self, is_end: bool, emit: &mut dyn FnMut(Part)) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        match self.state {
            State::Beginning => self.begin(is_end),
            State::Held => self.hold(is_end, emit),
            State::Thinking(mark) => self.think(mark, is_end, emit),
            State::Answer => self.answer(is_end, emit),
        }
    }

    fn begin(&mut self, is_end: bool) -> bool {
        let blank = self.pending.len() - self.pending.trim_start().len();
        if blank == self.pending.len() {
            return false;
        }
        let start = &self.pending[blank..];
        let (length, state) = match marks::at(start) {
            marks::At::Opens(mark, length) => (length, State::Thinking(mark)),
            marks::At::Closes(length) => (length, State::Beginning),
            marks::At::Frames(length) if self.has_thought || start.starts_with("<|") => {
                (length, State::Beginning)
            }
            marks::At::Begun if !is_end => return false,
            _ => match beginnings::of(start) {
                _ if self.has_thought => (0, State::Answer),
                Beginning::Unclear if !is_end => return false,
                Beginning::OfReasoning => (0, State::Held),
                _ if self.holds_all => (0, State::Held),
                _ => (0, State::Answer),
            },
        };
        self.has_thought |= matches!(state, State::Thinking(_));
        self.drop(blank + length);
        self.state = state;
        true
    }

    fn hold(&mut self, is_end: bool, emit: &mut dyn FnMut(Part)) -> bool {
        match marks::closing(&self.pending, self.searched) {
            Ok((start, end)) => {
                emit(Part::Thinking(&self.pending[..start]));
                self.has_thought = true;
                self.lacks_opening = true;
                self.drop(end);
                self.state = State::Beginning;
                true
            }
            Err(searched) => {
                self.searched = searched;
                self.state = if is_end { State::Answer } else { State::Held };
                is_end
            }
        }
    }

    fn think(&mut self, mark: &Mark, is_end: bool, emit: &mut dyn FnMut(Part)) -> bool {
        match mark.end(&self.pending) {
            Ok((start, end)) => {
                emit(Part::Thinking(&self.pending[..start]));
                self.drop(end);
                self.state = State::Beginning;
                true
            }
            Err(searched) => {
                let end = if is_end { self.pending.len() } else { searched };
                if end > 0 {
                    emit(Part::Thinking(&self.pending[..end]));
                }
                self.drop(end);
                false
            }
        }
    }

    fn answer(&mut self, is_end: bool, emit: &mut dyn FnMut(Part)) -> bool {
        let mut next = None;
        for (start, _) in self.pending.match_indices(marks::FIRST) {
            let found = marks::at(&self.pending[start..]);
            let before = || format!("{}{}", self.answer, &self.pending[..start]);
            match found {
                marks::At::Begun if !is_end => {}
                marks::At::Closes(_) if !marks::is_quoted(&before()) => {}
                marks::At::Opens(mark, _)
                    if mark.may_interrupt && marks::is_own_line(&before()) => {}
                _ => continue,
            }
            next = Some((start, found));
            break;
        }
        let Some((start, found)) = next else {
            let all = self.pending.len();
            self.show(all, emit);
            return false;
        };
        match found {
            marks::At::Opens(mark, length) => {
                self.show(start, emit);
                self.drop(length);
                self.has_thought = true;
                self.state = State::Thinking(mark);
            }
            marks::At::Closes(length) if self.has_thought => {
                // A second closing mark.
                self.show(start, emit);
                self.drop(length);
            }
            marks::At::Closes(length) => {
                if !self.answer.is_empty() {
                    emit(Part::Retracted);
                    self.answer.clear();
                }
                self.has_thought = true;
                self.lacks_opening = true;
                self.drop(start + length);
                self.state = State::Beginning;
            }
            marks::At::Begun | marks::At::Frames(_) | marks::At::None => {
                self.show(start, emit);
                return false;
            }
        }
        true
    }

    /// Passes on the first bytes of what is pending as part of the answer.
    fn show(&mut self, length: usize, emit: &mut dyn FnMut(Part)) {
        if length > 0 {
            emit(Part::Text(&self.pending[..length]));
            self.answer.push_str(&self.pending[..length]);
            self.drop(length);
        }
    }

    fn drop(&mut self, length: usize) {
        self.pending.drain(..length);
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests;
