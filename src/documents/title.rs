//! Titles and headings as they are shown: one short line.

/// Titles are cut to this length; a "heading" that is longer is body text.
pub(crate) const MAX_TITLE_CHARS: usize = 256;

/// One line, without control characters, of at most [`MAX_TITLE_CHARS`]; `None` if nothing is left.
pub(crate) fn tidy_title(title: &str) -> Option<String> {
    let mut tidy = String::new();
    for word in title.split(|c: char| c.is_whitespace() || c.is_control()) {
        if tidy.len() > 4 * MAX_TITLE_CHARS {
            break;
        }
        if !word.is_empty() {
            let space = if tidy.is_empty() { "" } else { " " };
            tidy.push_str(space);
            tidy.extend(word.chars().take(MAX_TITLE_CHARS));
        }
    }
    let tidy: String = tidy.chars().take(MAX_TITLE_CHARS).collect();
    (!tidy.is_empty()).then_some(tidy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_short_single_lines() {
        assert_eq!(tidy_title(" a\n\tb\u{1b}[31m ").as_deref(), Some("a b [31m"));
        assert_eq!(tidy_title(" \n"), None);
        assert_eq!(tidy_title(&"ế".repeat(1 << 20)).unwrap().chars().count(), MAX_TITLE_CHARS);
        assert_eq!(tidy_title(&"ế ".repeat(1 << 20)).unwrap().chars().count(), MAX_TITLE_CHARS);
    }
}
