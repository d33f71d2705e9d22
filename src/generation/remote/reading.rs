//! An answer as it comes in.

use std::time::Instant;

use super::PoolEvent;
use super::chat::{Finish, Other, Piece, Usage};
use super::error::NoText;
use super::mask::{Mask, Masked};
use crate::generation::local::Stop;
use crate::generation::thinking::{Part, Splitter};

/// Upper bound on a token's length in bytes: longer text must exceed the requested number of
/// tokens.
const MAX_TOKEN_BYTES: usize = 256;
/// Events without text allowed even for a short answer: reasoning has events of its own.
const MAX_SILENT_EVENTS: usize = 10_000;
/// Tokens of the prompt that are not from us: the chat format, and what a server adds.
const MAX_ADDED_TOKENS: usize = 16 << 10;
/// Reasoning that a server counts without sending it, where it takes no limit.
const MAX_HIDDEN_TOKENS: usize = 64 << 10;
/// What servers count beyond the limit that they were given.
const MAX_EXCESS_TOKENS: usize = 16;

/// The state of an answer in progress.
pub struct Reading<'a> {
    watch: &'a mut dyn FnMut(PoolEvent),
    masked_text: Masked<'a>,
    masked_thinking: Masked<'a>,
    splitter: Splitter,
    text: String,
    /// Whether part of the answer has been shown.
    is_shown: bool,
    /// When the first text or reasoning arrived.
    first: Option<Instant>,
    finish: Option<Finish>,
    /// Whether text came after a finish reason, which then means nothing.
    goes_on_after_finish: bool,
    other: Option<Other>,
    usage: Option<Usage>,
    has_thought: bool,
    /// Events with text or reasoning, and all.
    pieces: usize,
    events: usize,
    /// Of text and reasoning.
    bytes: usize,
    max_tokens: usize,
}

/// Whether a server has sent no more than requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// And whether this event brought the answer forward.
    Expected(bool),
    TooMuchText,
    TooManyEvents,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With `[DONE]`, or as a whole completion.
    Announced,
    /// Closed, broken or silent.
    Closed,
}

/// Why an answer that ended cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Nothing says that it is whole.
    Cut,
    /// The server ended it, in its own word.
    Aborted(String),
    /// It has no text.
    NoText(NoText),
}

impl<'a> Reading<'a> {
    /// `holds_all` is for a model that writes its reasoning without an opening mark.
    pub fn new(
        max_tokens: usize,
        mask: &'a Mask,
        holds_all: bool,
        watch: &'a mut dyn FnMut(PoolEvent),
    ) -> Self {
        Self {
            watch,
            masked_text: mask.stream(),
            masked_thinking: mask.stream(),
            splitter: Splitter::new(holds_all),
            text: String::new(),
            is_shown: false,
            first: None,
            finish: None,
            goes_on_after_finish: false,
            other: None,
            usage: None,
            has_thought: false,
            pieces: 0,
            events: 0,
            bytes: 0,
            max_tokens,
        }
    }

    /// Counts an event without a part of the answer.
    pub fn pass_over(&mut self) -> Amount {
        self.events += 1;
        if self.events > self.max_bytes().saturating_add(MAX_SILENT_EVENTS) {
            Amount::TooManyEvents
        } else {
            Amount::Expected(false)
        }
    }

    pub fn add(&mut self, piece: Piece) -> Amount {
        let Piece { text, thinking, other, finish, usage } = piece;
        let is_empty = text.is_empty() && thinking.is_empty();
        let brings_forward = !is_empty || other.is_some() || finish.is_some();
        self.usage = usage.or(self.usage);
        self.other = other.or(self.other.take());
        if !is_empty {
            self.goes_on_after_finish |= self.finish.is_some();
            self.first.get_or_insert_with(Instant::now);
            self.pieces += 1;
            self.bytes += text.len() + thinking.len();
        }
        self.finish = finish.or(self.finish.take());
        if !thinking.is_empty() {
            self.has_thought = true;
            let shown = self.masked_thinking.push(&thinking);
            (self.watch)(PoolEvent::Thinking(&shown));
        }
        if !text.is_empty() {
            let shown = self.masked_text.push(&text);
            self.sort(&shown, false);
        }
        match self.pass_over() {
            Amount::Expected(_) if self.bytes > self.max_bytes() => Amount::TooMuchText,
            Amount::Expected(_) => Amount::Expected(brings_forward),
            amount => amount,
        }
    }

    /// Ends the text: nothing is held back any more.
    pub fn flush(&mut self) {
        let rest = self.masked_thinking.finish();
        if !rest.is_empty() {
            (self.watch)(PoolEvent::Thinking(&rest));
        }
        let rest = self.masked_text.finish();
        self.sort(&rest, true);
    }

    fn sort(&mut self, piece: &str, is_end: bool) {
        let Self { splitter, text, is_shown, watch, .. } = self;
        let mut take = |part: Part| {
            part.add_to(text);
            *is_shown |= matches!(part, Part::Text(part) if !part.trim().is_empty());
            watch(part.into());
        };
        splitter.push(piece, &mut take);
        if is_end {
            splitter.finish(&mut take);
        }
    }

    /// Why the answer ended. One whose end nobody announced was cut off.
    pub fn end(&mut self, ending: Ending) -> Result<Stop, Unusable> {
        self.flush();
        let finish = self.finish.as_ref().filter(|finish| {
            !self.goes_on_after_finish || ending == Ending::Announced || **finish != Finish::Stop
        });
        let has_text = !self.text.trim().is_empty();
        match finish {
            Some(Finish::Aborted(word)) => Err(Unusable::Aborted(word.clone())),
            Some(Finish::ToolCall) if has_text => {
                Err(Unusable::Aborted("it went on to call a tool".to_owned()))
            }
            _ if !has_text => Err(self.without_text(finish)),
            Some(Finish::Length) => Ok(Stop::MaxTokens),
            Some(Finish::Filter) => Ok(Stop::Filtered),
            Some(Finish::Stop | Finish::ToolCall) => Ok(Stop::EndOfText),
            None if ending == Ending::Announced => Ok(Stop::EndOfText),
            None => Err(Unusable::Cut),
        }
    }

    fn without_text(&self, finish: Option<&Finish>) -> Unusable {
        let what = match (&self.other, finish) {
            (Some(Other::Refusal(said)), _) => NoText::Refusal(said.clone()),
            (Some(Other::ToolCall), _) | (_, Some(Finish::ToolCall)) => NoText::ToolCall,
            (Some(Other::Completion), _) => NoText::Completion,
            (None, Some(Finish::Filter)) => NoText::Filter,
            (None, _) if self.has_thought() => NoText::Reasoning(self.tokens().1),
            (None, Some(Finish::Length)) => NoText::Reasoning(self.tokens().1),
            (None, Some(_)) => NoText::Nothing,
            (None, None) => return Unusable::Cut,
        };
        Unusable::NoText(what)
    }

    fn has_thought(&self) -> bool {
        self.has_thought || self.splitter.has_thought()
    }

    /// Tokens of the prompt (0 if not reported) and of the answer (if not reported, its pieces).
    /// Reports that cannot be true count as none.
    fn tokens(&self) -> (usize, usize) {
        let Usage { prompt, answer, .. } = self.usage.unwrap_or_default();
        let is_possible = answer > 0 && answer <= self.most_tokens();
        (prompt, if is_possible { answer } else { self.pieces })
    }

    fn most_tokens(&self) -> usize {
        let limited = self.max_tokens.saturating_add(MAX_EXCESS_TOKENS);
        limited.max(self.bytes).saturating_add(MAX_HIDDEN_TOKENS.min(self.max_tokens))
    }

    /// What the server reports, as far as it can be true of a prompt of `prompt_bytes`.
    pub fn usage(&self, prompt_bytes: usize) -> Usage {
        let (prompt, answer) = self.tokens();
        let cached = self.usage.map_or(0, |usage| usage.cached);
        let most = prompt_bytes.saturating_add(MAX_ADDED_TOKENS);
        let believed = |tokens: usize| if tokens <= most { tokens } else { 0 };
        Usage { prompt: believed(prompt), cached: believed(cached), answer }
    }

    /// Whether part of the answer has been shown.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Whether the server has said why the answer ended.
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether any event was one of a chat completion.
    pub fn has_begun(&self) -> bool {
        self.pieces > 0 || self.finish.is_some() || self.other.is_some()
    }

    /// Whether the model leaves out the opening mark of its reasoning.
    pub fn lacks_opening(&self) -> bool {
        self.splitter.lacks_opening()
    }

    /// When the first text or reasoning arrived.
    pub fn first(&self) -> Option<Instant> {
        self.first
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn max_bytes(&self) -> usize {
        self.max_tokens.saturating_mul(MAX_TOKEN_BYTES)
    }
}
