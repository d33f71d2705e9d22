//! What a line of Markdown begins with.

use super::style::{Look, Style};

/// Bytes after the indentation in which every marker is over.
const ENOUGH: usize = 12;
/// Longest line that is held back because it may open or close a block of code, in bytes.
const MAX_HELD: usize = 100;
/// Digits of the number of a list item.
const MAX_DIGITS: usize = 9;

/// How a line is to be shown, once enough of it is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// Text, after `read` bytes for which `prefix` is shown, and below which further lines are
    /// indented by `hanging`.
    Text { read: usize, prefix: String, hanging: String, style: Style },
    /// A line that must not be wrapped: code, or a row of a table.
    Raw { style: Style },
    /// A line of its own that opens or closes a block of code, or both.
    Fence,
    /// A line across the answer.
    Rule,
}

/// The mark of a block of code, and how many of it opened the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    mark: char,
    length: usize,
}

impl Fence {
    /// The fence that a line opens.
    pub fn opened_by(line: &str) -> Option<Self> {
        let line = line.trim();
        let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
        let info = line.trim_start_matches(mark);
        let length = line.len() - info.len();
        (length >= 3 && !info.contains('`')).then_some(Self { mark, length })
    }

    /// Whether a line of the block's code ends it.
    pub fn is_closed_by(self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.length && line.chars().all(|c| c == self.mark)
    }
}

impl Start {
    /// Reads the start of a line inside `fence`, or outside of any; `None` if what follows decides.
    /// `line` has no line break; `ended` says that one follows, or the end of the text.
    pub fn of(line: &str, ended: bool, fence: Option<Fence>, look: Look) -> Option<Self> {
        let text = line.trim_start_matches(' ');
        let first = text.chars().next();
        let is_uniform = text.trim_end().chars().all(|c| Some(c) == first);
        let may_wait = !ended && line.len() <= MAX_HELD;
        if let Some(fence) = fence {
            return match ended && fence.is_closed_by(line) {
                true => Some(Self::Fence),
                false if may_wait && (is_uniform && first.is_none_or(|c| c == fence.mark)) => None,
                false => Some(Self::Raw { style: Style::CODE }),
            };
        }
        let opens = Fence::opened_by(line).is_some();
        let is_rule = is_uniform && matches!(first, Some('-' | '_' | '*')) && text.len() >= 3;
        if may_wait && (text.len() < ENOUGH || opens || is_uniform) {
            return None;
        }
        Some(match first {
            _ if ended && opens => Self::Fence,
            _ if ended && is_rule && look != Look::Source => Self::Rule,
            Some('|') => Self::Raw { style: Style::PLAIN },
            _ => Self::text(text, line.len() - text.len(), look),
        })
    }

    fn text(text: &str, indent: usize, look: Look) -> Self {
        let marker = Marker::of(text);
        let source = &text[..marker.length];
        let (shown, hanging, style) = match (marker.kind, look) {
            (Kind::None, _) => ("", String::new(), Style::PLAIN),
            (Kind::Heading, Look::Source) => (source, String::new(), Style::PLAIN),
            (Kind::Heading, _) => ("", String::new(), Style::BOLD),
            (Kind::Quotation, Look::Source) => (source, source.to_owned(), Style::PLAIN),
            (Kind::Quotation, _) => ("│ ", "│ ".to_owned(), Style::PLAIN),
            (Kind::Bullet, Look::Styled | Look::Colored) => ("• ", "  ".to_owned(), Style::PLAIN),
            (Kind::Bullet | Kind::Number, _) => {
                (source, " ".repeat(source.chars().count()), Style::PLAIN)
            }
        };
        let margin = " ".repeat(indent);
        Self::Text {
            read: indent + marker.length,
            prefix: format!("{margin}{shown}"),
            hanging: format!("{margin}{hanging}"),
            style,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Heading,
    Quotation,
    Bullet,
    /// `1.`, `2)`, or `[3]` as in our list of sources.
    Number,
}

/// What makes a line something else than plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marker {
    kind: Kind,
    /// With the space after it, in bytes.
    length: usize,
}

impl Marker {
    /// The marker at the start of a line without its indentation.
    fn of(text: &str) -> Self {
        let none = Self { kind: Kind::None, length: 0 };
        if let Some(rest) = text.strip_prefix('>') {
            let length = 1 + usize::from(rest.starts_with(' '));
            return Self { kind: Kind::Quotation, length };
        }
        let Some((mark, _)) = text.split_once(' ') else { return none };
        let digits = |mark: &str| {
            (1..=MAX_DIGITS).contains(&mark.len()) && mark.bytes().all(|b| b.is_ascii_digit())
        };
        let bracketed = mark.strip_prefix('[').and_then(|mark| mark.strip_suffix(']'));
        let kind = match mark {
            "-" | "*" | "+" | "•" => Kind::Bullet,
            _ if (1..=6).contains(&mark.len()) && mark.bytes().all(|b| b == b'#') => Kind::Heading,
            _ if mark.strip_suffix(['.', ')']).or(bracketed).is_some_and(digits) => Kind::Number,
            _ => return none,
        };
        Self { kind, length: mark.len() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str, look: Look) -> (usize, String, String, Style) {
        match Start::of(line, true, None, look) {
            Some(Start::Text { read, prefix, hanging, style }) => (read, prefix, hanging, style),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn items_and_headings_are_shown_by_what_they_are() {
        let shown = |line| text(line, Look::Styled);
        let own = |read, prefix: &str, hanging: &str| {
            (read, prefix.to_owned(), hanging.to_owned(), Style::PLAIN)
        };
        assert_eq!(shown("- item"), own(2, "• ", "  "));
        assert_eq!(shown("   * item"), own(5, "   • ", "     "));
        assert_eq!(shown("12. item"), own(4, "12. ", "    "));
        assert_eq!(shown("  [3] a.md"), own(6, "  [3] ", "      "));
        assert_eq!(shown("> said"), own(2, "│ ", "│ "));
        assert_eq!(shown("## Title"), (3, String::new(), String::new(), Style::BOLD));
        for plain in ["#hashtag", "-5 degrees", "**bold** text", "[1], [2]", "3.14 is pi", "x"] {
            assert_eq!(shown(plain), own(0, "", ""), "{plain}");
        }
        assert_eq!(text("## Title", Look::Source).1, "## ");
        assert_eq!(text("- item", Look::Source).1, "- ");
    }

    #[test]
    fn code_and_tables_keep_their_lines() {
        let start = |line, fence| Start::of(line, true, fence, Look::Styled);
        let fence = Fence::opened_by("```rust");
        assert_eq!(start("```rust", None), Some(Start::Fence));
        assert_eq!(start("# a comment", fence), Some(Start::Raw { style: Style::CODE }));
        assert_eq!(start("````", fence), Some(Start::Fence));
        assert_eq!(start("~~~", fence), Some(Start::Raw { style: Style::CODE }));
        assert_eq!(start("| a | b |", None), Some(Start::Raw { style: Style::PLAIN }));
        assert_eq!(start("---", None), Some(Start::Rule));
        // Code within a line, not a block.
        assert!(matches!(start("```x``` is code", None), Some(Start::Text { .. })));
    }

    #[test]
    fn a_line_waits_only_while_its_start_can_still_change() {
        let waits = |line: &str, fence| Start::of(line, false, fence, Look::Styled).is_none();
        for line in ["", "#", "12", "```rust", "--------------", "- **"] {
            assert!(waits(line, None), "{line}");
        }
        assert!(!waits("a line of text", None));
        assert!(!waits(&"-".repeat(200), None));
        let fence = Fence::opened_by("```");
        assert!(waits("``", fence) && waits("", fence) && !waits("let", fence));
    }
}
