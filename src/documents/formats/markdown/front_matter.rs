//! The front matter of Markdown notes: where it ends, and the title in it.
//!
//! A YAML parser would be a large dependency for one field.

use std::ops::Range;

use crate::documents::title::tidy_title;

/// The YAML block at the very start of a document: the lines between `---` and `---` (or `...`).
pub(crate) struct FrontMatter {
    /// The lines between the fences, in bytes.
    pub yaml: Range<usize>,
    /// Where the document's body begins, in bytes.
    pub end: usize,
}

/// The front matter of a Markdown document, if it has one. A document may open with a rule too, so
/// what follows has to be YAML throughout.
pub(crate) fn front_matter(text: &str) -> Option<FrontMatter> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().filter(|line| line.trim_end() == "---")?;
    let mut mapping = Mapping::default();
    let mut position = first.len();
    for line in lines {
        let start = position;
        position += line.len();
        let line = line.trim_end();
        if matches!(line, "---" | "...") {
            let is_matter = mapping.has_name || text[first.len()..start].trim().is_empty();
            return is_matter.then_some(FrontMatter { yaml: first.len()..start, end: position });
        }
        if !mapping.goes_on_with(line) {
            return None;
        }
    }
    None
}

/// Words of a key. More are the beginning of a sentence.
const MAX_KEY_WORDS: usize = 4;
/// Keys that are also written with a capital.
const NAMES: [&str; 6] = ["title", "tags", "aliases", "author", "categories", "layout"];

/// A YAML mapping as front matter is written, line by line.
#[derive(Default)]
struct Mapping {
    has_key: bool,
    /// The last key's value may be a list that is not indented.
    takes_items: bool,
    /// A key is a name such as programs give: `title`, `cssClass`. `Note: …` is what a person writes.
    has_name: bool,
}

impl Mapping {
    fn goes_on_with(&mut self, line: &str) -> bool {
        if line.is_empty() || line.starts_with('#') {
            return true;
        }
        if line.starts_with([' ', '\t', ']', '}']) {
            return self.has_key;
        }
        if line == "-" || line.starts_with("- ") {
            return self.takes_items;
        }
        let Some((key, value)) =
            line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))
        else {
            return false;
        };
        let key = key.trim_end();
        let quoted = |quote| key.strip_prefix(quote).and_then(|key| key.strip_suffix(quote));
        let key = quoted('"').or_else(|| quoted('\'')).unwrap_or(key);
        let is_key = |c: char| c.is_alphanumeric() || " _-./@".contains(c);
        if key.split(' ').count() > MAX_KEY_WORDS || !key.chars().all(is_key) {
            return false;
        }
        self.has_key = true;
        self.takes_items = value.trim().is_empty();
        let is_name = key.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && key.bytes().all(|byte| byte.is_ascii_graphic());
        self.has_name |= is_name || NAMES.contains(&&*key.to_ascii_lowercase());
        true
    }
}

/// The `title:` of the front matter: one plain or quoted line, as note-taking tools write it.
pub(crate) fn title(text: &str) -> Option<String> {
    let yaml = &text[front_matter(text)?.yaml];
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
    use super::front_matter;

    fn is_front_matter(lines: &str) -> bool {
        front_matter(&format!("---\n{lines}\n---\nrest")).is_some()
    }

    #[test]
    fn yaml_is_front_matter() {
        for yaml in [
            "",
            "title: x",
            "title: x\nngày tạo: 2024\n\"khóa khác\": 1",
            "# Feel free to add content.\n\nlayout: home",
            "tags:\n- a\n- b\naliases: [a,\n  b\n]",
            "description: >\n  một câu. Hai câu.\n\n  ba\nauthor:\n  - name: A",
            "Title: x\nDate: 2024-01-01",
            "kanban-plugin: board",
            "dc.title: x\n...",
        ] {
            assert!(is_front_matter(yaml), "{yaml:?}");
        }
    }

    #[test]
    fn prose_between_rules_is_text() {
        for text in [
            "Ghi chú: họp ngày 5/3\n\n# Kết luận\nNgân sách là 12 tỷ đồng.\n",
            "Địa điểm: tòa A\nAnh Nam nói sẽ trả.",
            "Địa điểm: tòa A\nThời gian: 9 giờ",
            "**Công ty ABC** – Tel: 123\n\nHợp đồng 77.\n",
            "Tel: 123",
            "Việc cần làm:\n- mua sữa",
            "# Biên bản\n\nNội dung.\n",
            "# Một\n## Hai",
            "title: x\nAnh Nam nói với cả phòng: trả.",
            "see http://a.b",
            "- title: a list",
            "  indented: text",
        ] {
            assert!(!is_front_matter(text), "{text:?}");
        }
    }

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
