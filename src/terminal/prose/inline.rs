//! Bold, italics, code and links within a line of Markdown, as far as they are certain.
//!
//! A mark counts only as a pair, and only where it cannot be an operator, a wildcard or a part of a
//! name: text with single marks comes out as it was written. This is stricter than `CommonMark`, in
//! which `2*3*4` loses its signs.

use super::style::{Look, Style};

/// Longest text between two marks, in bytes: one that stays open for longer is no mark, so that little
/// is held back, and a line full of marks costs no more than its length.
const MAX_MARKED: usize = 400;

/// Text in one style.
pub type Piece = (String, Style);

/// Splits `line`, which follows `before`, into pieces. Returns how many bytes of it they stand for:
/// all of them if the line has `ended`, otherwise those to which nothing that follows can matter.
pub fn pieces(line: &str, before: Option<char>, ended: bool, look: Look) -> (usize, Vec<Piece>) {
    let mut reader = Reader { line, before, ended, look, pieces: Vec::new() };
    let read = if look == Look::Source {
        reader.add(line, Style::PLAIN);
        line.len()
    } else {
        reader.read(Style::PLAIN)
    };
    (read, reader.pieces)
}

struct Reader<'a> {
    line: &'a str,
    before: Option<char>,
    ended: bool,
    look: Look,
    pieces: Vec<Piece>,
}

/// What stands at a place of the line.
enum Found<'a> {
    /// A pair of marks with `inner` between them, `whole` bytes in all.
    Marked { inner: &'a str, style: Style, whole: usize },
    /// `[text](address)`.
    Link { text: &'a str, address: &'a str, whole: usize },
    /// A mark that is meant literally, after a backslash.
    Escaped(&'a str),
    /// This many bytes of text.
    Text(usize),
    /// What follows decides.
    Open,
}

impl<'a> Reader<'a> {
    fn read(&mut self, style: Style) -> usize {
        let mut at = 0;
        while at < self.line.len() {
            match self.find(at, style) {
                Found::Open => break,
                Found::Text(length) => {
                    self.add(&self.line[at..at + length], style);
                    at += length;
                }
                Found::Escaped(mark) => {
                    self.add(mark, style);
                    at += 1 + mark.len();
                }
                Found::Marked { inner, style: Style::CODE, whole } => {
                    // Without colours, only the marks show what is code.
                    let is_shown = self.look == Look::Colored;
                    let text = if is_shown { inner } else { &self.line[at..at + whole] };
                    self.add(text, style.with(Style::CODE));
                    at += whole;
                }
                Found::Marked { inner, style: marked, whole } => {
                    self.within(inner, style.with(marked));
                    at += whole;
                }
                Found::Link { text, address, whole } => {
                    self.within(text, style.with(Style::LINK));
                    if text != address {
                        self.add(&format!(" ({address})"), style);
                    }
                    at += whole;
                }
            }
        }
        at
    }

    /// Reads text between marks, which is complete.
    fn within(&mut self, line: &'a str, style: Style) {
        let pieces = std::mem::take(&mut self.pieces);
        let mut inner = Reader { line, before: None, ended: true, look: self.look, pieces };
        inner.read(style);
        self.pieces = inner.pieces;
    }

    fn add(&mut self, text: &str, style: Style) {
        match self.pieces.last_mut() {
            Some((last, same)) if *same == style => last.push_str(text),
            _ => self.pieces.push((text.to_owned(), style)),
        }
    }

    /// What begins at a place inside text of a style.
    fn find(&self, at: usize, style: Style) -> Found<'a> {
        let rest = &self.line[at..];
        let Some(mark) = rest.chars().next() else { return Found::Open };
        match mark {
            '\\' => match rest[1..].chars().next() {
                Some(next @ ('*' | '_' | '`')) => Found::Escaped(&rest[1..=next.len_utf8()]),
                None if !self.ended => Found::Open,
                _ => Found::Text(1),
            },
            '`' => self.code(rest),
            '*' | '_' => self.emphasis(at, mark, style),
            '[' if !style.contains(Style::LINK) => self.link(rest),
            '[' => Found::Text(1),
            _ => {
                let is_mark = |c: char| matches!(c, '\\' | '`' | '*' | '_' | '[');
                Found::Text(rest.find(is_mark).unwrap_or(rest.len()))
            }
        }
    }

    /// `length` bytes of text, if what would give them a meaning can no longer come.
    fn unless_open(&self, length: usize, rest: &str) -> Found<'a> {
        if self.ended || rest.len() > MAX_MARKED { Found::Text(length) } else { Found::Open }
    }

    fn code(&self, rest: &'a str) -> Found<'a> {
        let run = run_of(rest, '`');
        let mut from = run;
        while let Some(next) = next_mark(rest, from, '`') {
            let closing = run_of(&rest[next..], '`');
            let is_whole = self.ended || next + closing < rest.len();
            if closing == run && is_whole {
                let inner = &rest[run..next];
                // As in CommonMark: spaces that only keep backticks apart are no part of the code.
                let spaced = inner.strip_prefix(' ').and_then(|inner| inner.strip_suffix(' '));
                let inner = spaced.filter(|inner| inner.contains('`')).unwrap_or(inner);
                return Found::Marked { inner, style: Style::CODE, whole: next + closing };
            }
            from = next + closing;
        }
        self.unless_open(run, rest)
    }

    fn emphasis(&self, at: usize, mark: char, around: Style) -> Found<'a> {
        let rest = &self.line[at..];
        let run = run_of(rest, mark);
        let before = self.line[..at].chars().next_back().or(self.before);
        let Some(first) = rest[run..].chars().next() else { return self.unless_open(run, rest) };
        let style = match (mark, run) {
            (_, 1) => Style::ITALIC,
            ('*', 2) => Style::BOLD,
            ('*', 3) => Style::BOLD.with(Style::ITALIC),
            // `__init__` is a name far more often than it is bold.
            _ => return Found::Text(run),
        };
        // Nothing is bold twice: that also bounds how deep marks nest.
        if around.contains(style) || first.is_whitespace() || before.is_some_and(|c| joins(c, run))
        {
            return Found::Text(run);
        }
        let mut from = run;
        while let Some(next) = next_mark(rest, from, mark) {
            let closing = run_of(&rest[next..], mark);
            let inner = &rest[run..next];
            let after = rest[next + closing..].chars().next();
            if after.is_none() && !self.ended {
                return self.unless_open(run, rest);
            }
            let ends_a_word = !inner.ends_with([' ', '\t', '\\']);
            if closing == run && ends_a_word && !after.is_some_and(|c| joins(c, run)) {
                return Found::Marked { inner, style, whole: next + closing };
            }
            from = next + closing;
        }
        self.unless_open(run, rest)
    }

    fn link(&self, rest: &'a str) -> Found<'a> {
        let Some(close) = next_mark(rest, 1, ']') else { return self.unless_open(1, rest) };
        let text = &rest[1..close];
        let after = &rest[close + 1..];
        if after.is_empty() && !self.ended {
            return self.unless_open(1, rest);
        }
        let Some(target) = after.strip_prefix('(').filter(|_| !text.is_empty()) else {
            return Found::Text(1);
        };
        match next_mark(target, 0, ')') {
            Some(end) if !target[..end].trim().is_empty() => {
                let address = &target[..end];
                Found::Link { text, address, whole: close + 2 + end + 1 }
            }
            Some(_) => Found::Text(1),
            None => self.unless_open(1, rest),
        }
    }
}

/// Where the next mark is that may close what begins at the start of the text.
fn next_mark(text: &str, from: usize, mark: char) -> Option<usize> {
    let end = text.floor_char_boundary(MAX_MARKED);
    text.get(from..end)?.find(mark).map(|next| from + next)
}

/// How many of the same mark stand at the start of a text, in bytes.
fn run_of(text: &str, mark: char) -> usize {
    text.len() - text.trim_start_matches(mark).len()
}

/// Whether a mark beside this character is part of a word or a formula. Scripts that do not put
/// spaces between words may have bold text within them.
fn joins(c: char, run: usize) -> bool {
    if run == 1 { c.is_alphanumeric() } else { c.is_ascii_alphanumeric() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Styled text between angle brackets: `<b:bold>`.
    fn shown(line: &str) -> String {
        let (read, pieces) = pieces(line, None, true, Look::Colored);
        assert_eq!(read, line.len());
        let names = [
            (Style::BOLD, "b"),
            (Style::ITALIC, "i"),
            (Style::BOLD.with(Style::ITALIC), "bi"),
            (Style::CODE, "c"),
            (Style::BOLD.with(Style::CODE), "bc"),
            (Style::LINK, "l"),
        ];
        let show = |(text, style): &Piece| {
            let name = names.iter().find(|(named, _)| named == style);
            name.map_or(text.clone(), |(_, name)| format!("<{name}:{text}>"))
        };
        pieces.iter().map(show).collect()
    }

    #[test]
    fn marks_become_styles() {
        assert_eq!(shown("a **bold *and* more** b"), "a <b:bold ><bi:and><b: more> b");
        assert_eq!(shown("*x*, _y_ and ***z***"), "<i:x>, <i:y> and <bi:z>");
        assert_eq!(shown("run `a * b` or **`c`**"), "run <c:a * b> or <bc:c>");
        assert_eq!(shown("``a ` b``"), "<c:a ` b>");
        assert_eq!(shown("これは**重要**です"), "これは<b:重要>です");
        assert_eq!(
            shown("see [the page](https://a.b/c_d) [1]"),
            "see <l:the page> (https://a.b/c_d) [1]"
        );
    }

    #[test]
    fn what_is_no_pair_of_marks_stays_as_it_was_written() {
        for text in [
            "2*3*4 = 24, x**2 + y**2",
            "f(*args, **kwargs)",
            "__init__ and __name__",
            "a * b * c",
            "snake_case_name and __init__.py",
            "**never closed",
            "a ` b",
            "*.md and *.txt",
            "[1][2] [x] [y]() []",
            "C:\\temp\\new",
            "****",
            "nghĩa là * như sau",
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown(r"\*not\* \_x\_"), "*not* _x_");
    }

    #[test]
    fn what_may_still_become_a_mark_is_held_back() {
        let held = |line: &str| {
            let (read, _) = pieces(line, None, false, Look::Colored);
            line[read..].to_owned()
        };
        for open in ["**", "**bold", "**bold**", "*x", "`code", "[1]", "[text](http", "_a_", "\\"] {
            assert_eq!(held(&format!("a {open}")), open);
        }
        assert_eq!(held("a **bold** b"), "");
        assert_eq!(held("a [1]. b"), "");
        assert_eq!(held(&format!("**{}", "x ".repeat(300))), "");
    }
}
