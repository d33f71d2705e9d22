//! Answers on a terminal: lines that break between words, and Markdown as it is meant, while the
//! text arrives.
//!
//! What has been written is never rewritten, so nothing flickers and the scrollback is whole.
//! Instead, text is held back for as long as what follows can change how it looks: a word until it is
//! complete, an opening mark until it is closed (or is none), the start of a line until it is clear
//! what kind of line it is. That is the work of [`start`], [`inline`] and [`wrap`].

mod inline;
mod start;
mod style;
mod wrap;

use unicode_width::UnicodeWidthStr;

use start::{Fence, Start};
pub use style::Look;
use style::Style;
use wrap::Wrapper;

/// Longest lines of text, in columns: beyond, the eye loses the next line's start.
const MAX_WIDTH: usize = 100;
const RULE: &str = "────────────";

/// Text on its way to a terminal.
pub struct Prose {
    look: Look,
    wrapper: Wrapper,
    /// Text that has not been passed on yet.
    held: String,
    line: Line,
    fence: Option<Fence>,
    /// The last character that was passed on.
    before: Option<char>,
}

/// Where in a line we are.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// At its start, whose kind is not known yet.
    Start,
    /// In its text.
    Text(Style),
    /// In text that keeps its line.
    Raw(Style),
    /// In a line that is not shown.
    Hidden,
}

/// A paragraph below the end of its `prefix`, in lines of `width` columns; the last stays open.
pub fn paragraph(prefix: &str, text: &str, width: usize) -> String {
    let mut wrapper = Wrapper::new(Look::Source);
    let hanging = " ".repeat(prefix.width());
    wrapper.begin(width.min(MAX_WIDTH), prefix, &hanging);
    wrapper.push(text, Style::PLAIN);
    wrapper.flush();
    wrapper.take()
}

impl Prose {
    pub fn new(look: Look) -> Self {
        Self {
            look,
            wrapper: Wrapper::new(look),
            held: String::new(),
            line: Line::Start,
            fence: None,
            before: None,
        }
    }

    /// Takes more text, and returns what can be written to a terminal of `width` columns.
    pub fn push(&mut self, text: &str, width: usize) -> String {
        self.held.push_str(text);
        self.advance(width, false);
        self.wrapper.take()
    }

    /// Ends the text and returns the rest of it. Its last line stays open.
    pub fn finish(mut self, width: usize) -> String {
        self.advance(width, true);
        self.wrapper.flush();
        self.wrapper.take()
    }

    /// Passes on what is certain of the text that is held.
    fn advance(&mut self, width: usize, finished: bool) {
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_str();
        while !rest.is_empty() {
            let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
            let ended = finished || line.len() < rest.len();
            if matches!(self.line, Line::Start) {
                let Some(start) = Start::of(line, ended, self.fence, self.look) else { break };
                rest = &rest[self.begin(start, line, width.min(MAX_WIDTH))..];
                continue;
            }
            let read = self.show(line, ended);
            rest = &rest[read..];
            let Some(next) = rest.strip_prefix('\n') else { break };
            rest = next;
            self.end_line();
        }
        self.held.push_str(rest);
    }

    /// Passes on what is certain of a line whose start is known, and returns how many bytes of it.
    fn show(&mut self, line: &str, ended: bool) -> usize {
        match self.line {
            Line::Text(style) => {
                let (read, pieces) = inline::pieces(line, self.before, ended, self.look);
                for (text, marked) in pieces {
                    self.wrapper.push(&text, style.with(marked));
                }
                self.before = line[..read].chars().next_back().or(self.before);
                read
            }
            Line::Raw(style) => {
                self.wrapper.push_raw(line, style);
                line.len()
            }
            Line::Start | Line::Hidden => line.len(),
        }
    }

    fn end_line(&mut self) {
        if !matches!(self.line, Line::Hidden) {
            self.wrapper.end_line();
        }
        self.line = Line::Start;
        self.before = None;
    }

    /// Begins a line, and returns how many bytes of it that took.
    fn begin(&mut self, start: Start, line: &str, width: usize) -> usize {
        match start {
            Start::Text { read, prefix, hanging, style } => {
                self.wrapper.begin(width, &prefix, &hanging);
                self.line = Line::Text(style);
                read
            }
            Start::Raw { style } => {
                self.line = Line::Raw(style);
                0
            }
            Start::Rule => {
                self.wrapper.push_raw(RULE, Style::PLAIN);
                self.line = Line::Raw(Style::PLAIN);
                line.len()
            }
            Start::Fence => {
                self.fence = match self.fence {
                    Some(_) => None,
                    None => Fence::opened_by(line),
                };
                // In colours, code is known by them.
                let is_shown = self.look != Look::Colored;
                self.line = if is_shown { Line::Raw(Style::PLAIN) } else { Line::Hidden };
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::random::SplitMix64;

    fn shown(text: &str, look: Look, width: usize) -> String {
        let mut prose = Prose::new(look);
        prose.push(text, width) + &prose.finish(width)
    }

    const ANSWER: &str = "# Trả lời\n\nNLP là **xử lý ngôn ngữ tự nhiên** [1], gồm:\n\n\
        1. *Phân tích* câu bằng `cargo run`, xem [trang này](https://a.vn/b) để biết thêm về nó\n\
        \x20  - một mục con dài hơn một dòng của màn hình hẹp [2][3]\n\
        > trích dẫn\n\n\
        ```rust\nlet x = 1; // **not bold**, and longer than any line of the terminal here\n```\n\
        | a | b |\n---\nHết.";

    #[test]
    fn an_answer_is_shown_as_it_is_meant() {
        let start = "␛[0;1mTrả lời␛[0m\n\n\
            NLP là ␛[0;1mxử lý ngôn ngữ tự nhiên␛[0m [1], gồm:\n\n";
        let list = "␛[0;4mtrang này␛[0m (https://a.vn/b) để biết\n   thêm về nó\n   \
            • một mục con dài hơn một dòng của\n     màn hình hẹp [2][3]\n\
            │ trích dẫn\n\n";
        let code = "let x = 1; // **not bold**, and longer than any line of the terminal here";
        let end = "| a | b |\n────────────\nHết.";
        let escaped = |look| shown(ANSWER, look, 40).replace('\u{1b}', "␛");
        assert_eq!(
            escaped(Look::Styled),
            format!(
                "{start}1. ␛[0;3mPhân tích␛[0m câu bằng `cargo run`, xem\n   {list}```rust\n{code}\n```\n{end}"
            )
        );
        assert_eq!(
            escaped(Look::Colored),
            format!(
                "{start}1. ␛[0;3mPhân tích␛[0m câu bằng ␛[0;36mcargo run␛[0m, xem\n   {list}␛[0;36m{code}␛[0m\n{end}"
            )
        );
    }

    #[test]
    fn without_styles_only_the_line_breaks_change() {
        let wrapped = shown(ANSWER, Look::Source, 40);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&wrapped), words(ANSWER));
        assert_eq!(shown(ANSWER, Look::Source, 1000), ANSWER);
    }

    #[test]
    fn what_is_shown_does_not_depend_on_how_the_text_arrives() {
        let mut random = SplitMix64::new(7);
        let parts = [
            "**",
            "*",
            "_",
            "`",
            "[",
            "](",
            ")",
            "```",
            "\n",
            "\n- ",
            "# ",
            "> ",
            "1. ",
            "| ",
            " ",
            " ",
            "từ",
            "word",
            "漢字",
            "\\",
            "e\u{301}",
            "---",
            "~~~",
            "\n\n",
            "long_name",
        ];
        for round in 0..3000 {
            let text: String =
                (0..random.below(60)).map(|_| parts[random.below(parts.len())]).collect();
            let look = [Look::Source, Look::Styled, Look::Colored][round % 3];
            let width = 14 + random.below(60);
            let at_once = shown(&text, look, width);
            let mut prose = Prose::new(look);
            let mut piece_by_piece = String::new();
            let mut start = 0;
            while start < text.len() {
                let end = text.ceil_char_boundary(start + 1 + random.below(9));
                piece_by_piece += &prose.push(&text[start..end], width);
                start = end;
            }
            piece_by_piece += &prose.finish(width);
            assert_eq!(piece_by_piece, at_once, "{text:?}");
            nothing_is_lost(&text, &at_once, width);
        }
    }

    fn nothing_is_lost(text: &str, shown: &str, width: usize) {
        let mut plain = String::new();
        let mut in_sequence = false;
        for c in shown.chars() {
            in_sequence |= c == '\u{1b}';
            if !in_sequence {
                plain.push(c);
            }
            in_sequence &= c != 'm';
        }
        // The name of a language after ``` is the only word that Markdown does not show.
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
        if !text.contains("```") && !text.contains("~~~") {
            assert_eq!(letters(&plain), letters(text), "{text:?}");
            let is_raw = |line: &str| line.trim_start().starts_with('|');
            let fits = |line: &str| line.width() <= width || is_raw(line);
            assert!(plain.lines().all(fits), "{text:?}: {plain}");
        }
    }

    #[test]
    fn a_paragraph_hangs_below_the_end_of_its_prefix() {
        let text = paragraph("/set  ", "show the options of answers", 26);
        assert_eq!(text, "/set  show the options of\n      answers");
        assert_eq!(paragraph("/set  ", "show", 26), "/set  show");
    }

    #[test]
    fn a_hostile_line_takes_no_longer_than_its_length() {
        for marks in ["*_", "**", "[", "`x", "[](", "***a "] {
            let text = marks.repeat(50_000 / marks.len());
            assert!(!shown(&text, Look::Colored, 80).is_empty());
        }
    }
}
