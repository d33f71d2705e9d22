//! Keeps the prompt's frame out of an answer.
//!
//! A small LLM copies what it was shown: it quotes its whole answer (`> `), asks the question again
//! and goes on from there, or writes the marks that end a message as text. None of that is an
//! answer. What a good answer may have stays: quotations beside other text, code, and whatever the
//! passages themselves say.

use crate::prompt::Messages;

/// Begins a line of a passage.
const QUOTE: char = '>';
/// Marks with which models end a message. They are left out at the end of an answer only.
const END_MARKS: [&str; 12] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|return|>",
    "<|end_response|>",
    "<|END_RESPONSE|>",
    "<|end_of_solution|>",
    "<end_of_turn>",
    "</answer>",
    "</s>",
];

/// What of a prompt must not appear in an answer.
#[derive(Debug, Default)]
pub struct Frame {
    /// The line that asks, such as `Question: …`; absent if it says nothing beside the question, or
    /// if a passage has it too.
    question: Option<String>,
    /// All lines that are not quoted.
    lines: Vec<String>,
}

impl Frame {
    /// The frame of the prompt that asks `question`.
    pub fn of(messages: &Messages, question: &str) -> Self {
        let (quoted, lines): (Vec<&str>, Vec<&str>) =
            messages.user.lines().map(str::trim).partition(|line| line.starts_with(QUOTE));
        let lines: Vec<String> =
            lines.into_iter().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let asks = lines.iter().rev().find(|line| line.contains(question) && *line != question);
        let is_said = |asking: &&String| quoted.iter().any(|line| line.contains(asking.as_str()));
        Self { question: asks.filter(|asking| !is_said(asking)).cloned(), lines }
    }
}

/// Takes an answer in pieces, and passes on what is no frame.
#[derive(Debug)]
pub struct Guard {
    frame: Frame,
    state: State,
    pending: String,
    /// What was passed on.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// All lines so far are quoted.
    Quoted,
    Passing,
    /// The frame was repeated: what follows belongs to it.
    Over,
}

impl Guard {
    pub fn new(frame: Frame) -> Self {
        Self { frame, state: State::Start, pending: String::new(), text: String::new() }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &str, emit: &mut dyn FnMut(&str)) {
        self.pending.push_str(piece);
        self.take(false, emit);
    }

    /// Ends the answer.
    pub fn finish(&mut self, emit: &mut dyn FnMut(&str)) {
        self.take(true, emit);
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.frame));
    }

    /// The answer so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn take(&mut self, is_end: bool, emit: &mut dyn FnMut(&str)) {
        if self.state == State::Start {
            self.start(is_end);
        }
        if self.state == State::Quoted {
            self.quoted(is_end, emit);
        }
        if self.state == State::Passing {
            self.pass(is_end, emit);
        }
        if self.state == State::Over {
            self.pending.clear();
        }
    }

    fn start(&mut self, is_end: bool) {
        let question = self.frame.question.clone().unwrap_or_default();
        loop {
            let start = self.pending.trim_start();
            if start.is_empty() {
                return;
            }
            // The question alone, before its answer.
            let repeated = start.strip_prefix(&*question).filter(|_| !question.is_empty());
            let Some(rest) = repeated else { break };
            if rest.is_empty() && !is_end {
                return;
            }
            if !rest.is_empty() && !rest.starts_with('\n') {
                break;
            }
            self.pending = rest.to_owned();
        }
        let start = self.pending.trim_start();
        if !is_end && question.starts_with(start) {
            return;
        }
        self.state = if start.starts_with(QUOTE) { State::Quoted } else { State::Passing };
    }

    /// Holds lines back as long as all of them are quoted.
    fn quoted(&mut self, is_end: bool, emit: &mut dyn FnMut(&str)) {
        let asked =
            self.frame.question.as_ref().and_then(|question| self.pending.find(&**question));
        if let Some(at) = asked {
            self.pending.truncate(at);
        }
        let is_over = is_end || asked.is_some();
        let ends_line = self.pending.ends_with('\n');
        let count = self.pending.lines().count();
        let is_other = self.pending.lines().enumerate().any(|(at, line)| {
            let line = line.trim();
            let is_whole = is_over || ends_line || at + 1 < count;
            let fits = |frame: &String| frame == line || !is_whole && frame.starts_with(line);
            !line.is_empty() && !line.starts_with(QUOTE) && !self.frame.lines.iter().any(fits)
        });
        if is_other {
            self.state = State::Passing;
            return;
        }
        if is_over {
            let lines =
                self.pending.lines().map(str::trim).filter_map(|line| match line.is_empty() {
                    true => Some(line),
                    false => line.strip_prefix(QUOTE).map(str::trim),
                });
            let lines: Vec<&str> = lines.collect();
            let text = lines.join("\n");
            self.pending.clear();
            self.show(without_end_marks(text.trim(), ""), emit);
            self.state = State::Over;
        }
    }

    fn pass(&mut self, is_end: bool, emit: &mut dyn FnMut(&str)) {
        if let Some(at) = self.asks_again(is_end) {
            let text = self.pending[..at].trim_end().to_owned();
            self.show(&text, emit);
            self.state = State::Over;
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        if is_end {
            self.show(without_end_marks(&pending, &self.text), emit);
            return;
        }
        let held = self.may_be_frame(&pending);
        self.show(&pending[..held], emit);
        pending[held..].clone_into(&mut self.pending);
    }

    /// Where the line that asks is repeated, on a line of its own.
    fn asks_again(&self, is_end: bool) -> Option<usize> {
        let question = self.frame.question.as_ref()?;
        let found = self.pending.match_indices(&**question).find(|(at, _)| {
            let before = self.pending[..*at].rsplit('\n').next().unwrap_or_default();
            let begins_line = before.trim().is_empty()
                && (self.pending[..*at].contains('\n') || self.text.ends_with('\n'));
            let after = &self.pending[at + question.len()..];
            let ends_line = after.starts_with('\n') || after.is_empty() && is_end;
            begins_line && ends_line
        });
        found.map(|(at, _)| at)
    }

    /// From where on the text may be the line that asks, or a mark at the end.
    fn may_be_frame(&self, text: &str) -> usize {
        let asking = self.frame.question.as_deref().unwrap_or_default();
        let may_be = |rest: &str| {
            let rest = rest.trim_start();
            let ends = END_MARKS.iter().any(|mark| {
                mark.starts_with(rest.trim_end())
                    || (rest.starts_with(mark) && rest.trim_end() == *mark)
            });
            ends || asking.starts_with(rest)
        };
        // White space belongs to what may follow it.
        let mut starts = text.char_indices().filter(|&(at, c)| {
            let after_break =
                text[..at].chars().next_back().map_or(self.text.ends_with('\n'), |c| c == '\n');
            c == '<' || c.is_whitespace() || after_break
        });
        starts.find(|&(at, _)| may_be(&text[at..])).map_or(text.len(), |(at, _)| at)
    }

    fn show(&mut self, text: &str, emit: &mut dyn FnMut(&str)) {
        if !text.is_empty() {
            self.text.push_str(text);
            emit(text);
        }
    }
}

/// `text`, the end of an answer that began with `before`, without marks at its end. One that closes
/// what the answer opened (`<s>`) stays.
fn without_end_marks<'a>(text: &'a str, before: &str) -> &'a str {
    let mut text = text;
    while let Some(rest) = END_MARKS.iter().find_map(|mark| {
        let opening = mark.replace("</", "<");
        let is_closing = opening != *mark && (before.contains(&opening) || text.contains(&opening));
        text.trim_end().strip_suffix(mark).filter(|_| !is_closing)
    }) {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(answer: &str, size: usize) -> String {
        let user =
            "[1] NLP > What is it?\n> NLP is a field.\n>\n> It has uses.\n\nQuestion: What is NLP?";
        let messages = Messages { system: String::new(), user: user.to_owned() };
        let mut guard = Guard::new(Frame::of(&messages, "What is NLP?"));
        let mut shown = String::new();
        let letters: Vec<char> = answer.chars().collect();
        for piece in letters.chunks(size) {
            guard.push(&piece.iter().collect::<String>(), &mut |text| shown.push_str(text));
        }
        guard.finish(&mut |text| shown.push_str(text));
        assert_eq!(shown, guard.text());
        shown.trim().to_owned()
    }

    #[track_caller]
    fn becomes(answer: &str, expected: &str) {
        for size in [1, 2, 5, 1000] {
            assert_eq!(guarded(answer, size), expected, "{answer:?} in pieces of {size}");
        }
    }

    #[test]
    fn a_copied_frame_is_no_part_of_an_answer() {
        for answer in [
            "> NLP is a field [1].",
            "> NLP is a field [1].\n\nQuestion: What is NLP?",
            "> NLP is a field [1]. Question: What is NLP?\n> NLP",
            "> NLP is a field [1].\n\n[1] NLP > What is it?\n",
            ">NLP is a field [1].",
            "NLP is a field [1].\n\nQuestion: What is NLP?\n\nNLP is a field.",
            "NLP is a field [1].\nQuestion: What is NLP?",
            "Question: What is NLP?\n\nNLP is a field [1].",
            "NLP is a field [1].<|im_end|>",
            "NLP is a field [1]. </s>\n",
        ] {
            becomes(answer, "NLP is a field [1].");
        }
        becomes("> One.\n>\n> Two.", "One.\n\nTwo.");
    }

    #[test]
    fn a_good_answer_is_never_changed() {
        for answer in [
            "NLP is a field [1].",
            "> NLP is a field.\n\nThat is what the passage says [1].",
            "It says:\n\n> NLP is a field.\n\n[1]",
            "```\n> print(1)\n1\n```",
            "a > b, and x => y",
            "The question is: What is NLP? It is a field [1].",
            "Question: What is NLP? is asked often.",
            "Use <b>bold</b> and <s>old</s>",
            "The mark <|im_end|> ends a message [1].",
            "Question: What",
            "1. One\n2. Two <",
        ] {
            becomes(answer, answer);
        }
    }

    #[test]
    fn what_the_passages_say_themselves_may_be_said() {
        let user = "[1] FAQ\n> Question: What is NLP?\n> A field.\n\nQuestion: What is NLP?";
        let messages = Messages { system: String::new(), user: user.to_owned() };
        assert_eq!(Frame::of(&messages, "What is NLP?").question, None);
        let bare = Messages { system: String::new(), user: "> x\n\nWhat is NLP?".to_owned() };
        assert_eq!(Frame::of(&bare, "What is NLP?").question, None);
    }

    #[test]
    fn text_is_passed_on_at_once() {
        let mut guard = Guard::new(Frame::default());
        let mut shown = Vec::new();
        for piece in ["Tok", "ens are", " [1", "]. More"] {
            guard.push(piece, &mut |text| shown.push(text.to_owned()));
        }
        assert_eq!(shown.concat(), "Tokens are [1]. More");
    }
}
