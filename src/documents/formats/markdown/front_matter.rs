//! The front matter of Markdown notes: where it ends, and the title in it.
//!
//! A YAML parser would be a large dependency for one field.

use crate::documents::title::tidy_title;

/// The YAML block at the very start of a document: the lines between `---` and `---` (or `...`).
pub(crate) struct FrontMatter<'t> {
    yaml: &'t str,
    /// Where the document's body begins, in bytes.
    pub end: usize,
}

/// The front matter of a Markdown document, if it has one.
pub(crate) fn front_matter(text: &str) -> Option<FrontMatter<'_>> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().filter(|line| line.trim_end() == "---")?;
    let mut position = first.len();
    for line in lines {
        let start = position;
        position += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return Some(FrontMatter { yaml: &text[first.len()..start], end: position });
        }
        // A document may open with a rule too: only `key: value` makes the lines after it YAML.
        if start == first.len() && !line.starts_with('#') && !line.contains(':') {
            return None;
        }
    }
    None
}

/// The `title:` of the front matter: one plain or quoted line, as note-taking tools write it.
pub(crate) fn title(text: &str) -> Option<String> {
    let yaml = front_matter(text)?.yaml;
    let value = yaml.lines().find_map(|line| line.strip_prefix("title:"))?.trim();
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = quoted('"') {
        tidy_title(&inner.replace("\\\"", "\"").replace("\\\\", "\\"))
    } else if let Some(inner) = quoted('\'') {
        tidy_title(&inner.replace("''", "'"))
    } else if value.starts_with(['|', '>', '[', '{', '&', '*', '!', '#']) {
        None
    } else {
        tidy_title(value.split(" #").next().unwrap_or(value))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn titles() {
        let title = |value: &str| super::title(&format!("---\nx: 1\n{value}\n---\n"));
        assert_eq!(
            title("title: Học máy: nhập môn # chú thích").as_deref(),
            Some("Học máy: nhập môn")
        );
        assert_eq!(title("title: 'C''est'").as_deref(), Some("C'est"));
        assert_eq!(title("title: \"a \\\"b\\\"\"").as_deref(), Some("a \"b\""));
        assert_eq!(title("title: |\n  nhiều dòng"), None);
        assert_eq!(title("title:"), None);
        assert_eq!(title("title: \""), Some("\"".to_owned()));
        assert_eq!(title("  title: nested"), None);
        assert_eq!(super::title("title: x"), None);
    }
}
