//! What the front matter of Markdown says about its document besides the title: other names, tags, a
//! description.

/// The keys whose values are words about the document.
const KEYS: [&str; 14] = [
    "alias",
    "aliases",
    "tag",
    "tags",
    "keyword",
    "keywords",
    "description",
    "summary",
    "subtitle",
    "subject",
    "category",
    "categories",
    "author",
    "authors",
];

/// At most this many bytes are taken.
const MAX_BYTES: usize = 1024;

/// The values of [`KEYS`], with commas between them: as lists in brackets, lists of lines, or text, as
/// note-taking tools write them.
pub(super) fn keywords(yaml: &str) -> String {
    let mut found = String::new();
    let mut is_wanted = false;
    for line in yaml.lines() {
        let is_nested = line.starts_with([' ', '\t', '-']);
        let value = match line.split_once(':') {
            _ if is_nested && is_wanted => line,
            Some((key, value)) if !is_nested => {
                is_wanted = KEYS.iter().any(|wanted| key.trim().eq_ignore_ascii_case(wanted));
                value
            }
            _ => continue,
        };
        if is_wanted {
            push_values(value, &mut found);
        }
        if found.len() >= MAX_BYTES {
            found.truncate(found.floor_char_boundary(MAX_BYTES));
            break;
        }
    }
    found
}

/// Appends what a line of a value says: its signs of YAML are left out.
fn push_values(line: &str, found: &mut String) {
    let line = line.trim().trim_start_matches("- ");
    let line = line.split(" #").next().unwrap_or(line);
    if matches!(line, ">" | "|" | ">-" | "|-" | ">+" | "|+") {
        return;
    }
    let values = line.trim_start_matches('[').trim_end_matches(']').split(',');
    let values = values.map(|value| value.trim().trim_matches(['"', '\'', '#']).trim());
    for value in values.filter(|value| value.contains(char::is_alphanumeric)) {
        if !found.is_empty() {
            found.push_str(", ");
        }
        found.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_way_of_writing_them() {
        for (yaml, expected) in [
            ("aliases: [HĐTN, \"Hợp đồng\"]\ntags: [thuê nhà]", "HĐTN, Hợp đồng, thuê nhà"),
            ("tags:\n  - a/b\n  - '#c'\nother: x\n  y", "a/b, c"),
            ("tags:\n- a\n- b: c\ntitle: d", "a, b: c"),
            ("Description: >-\n  hai dòng\n  liền nhau", "hai dòng, liền nhau"),
            ("keywords: một, hai # ghi chú", "một, hai"),
            ("aliases: [a,\n  b]", "a, b"),
            ("title: x\ndate: 2024-01-01", ""),
            ("tags: []\naliases:", ""),
        ] {
            assert_eq!(keywords(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn what_is_taken_is_bounded() {
        let yaml = format!("tags: [{}]", "ế, ".repeat(1 << 16));
        assert!(keywords(&yaml).len() <= MAX_BYTES);
    }
}
