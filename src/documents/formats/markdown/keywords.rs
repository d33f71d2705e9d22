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

/// Those of them whose values are tags.
const TAG_KEYS: [&str; 6] = ["tag", "tags", "keyword", "keywords", "category", "categories"];

/// At most this many bytes are taken.
const MAX_BYTES: usize = 1024;

/// The values of [`KEYS`], with commas between them: as lists in brackets, lists of lines, or text, as
/// note-taking tools write them.
pub(super) fn keywords(yaml: &str) -> String {
    let mut keywords = values(yaml, &KEYS).join(", ");
    keywords.truncate(keywords.floor_char_boundary(MAX_BYTES));
    keywords
}

/// The values of [`TAG_KEYS`].
pub(super) fn tags(yaml: &str) -> Vec<String> {
    values(yaml, &TAG_KEYS)
}

/// The values of the keys, until there are more than enough.
fn values(yaml: &str, keys: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_wanted = false;
    for line in yaml.lines() {
        let is_nested = line.starts_with([' ', '\t', '-']);
        let value = match line.split_once(':') {
            _ if is_nested && is_wanted => line,
            Some((key, value)) if !is_nested => {
                is_wanted = keys.iter().any(|wanted| key.trim().eq_ignore_ascii_case(wanted));
                value
            }
            _ => continue,
        };
        if is_wanted {
            push_values(value, &mut found);
        }
    }
    let mut room = MAX_BYTES;
    found.retain(|value: &String| {
        let fits = room > 0;
        room = room.saturating_sub(value.len());
        fits
    });
    found
}

/// Appends what a line of a value says: its signs of YAML are left out.
fn push_values(line: &str, found: &mut Vec<String>) {
    let line = line.trim().trim_start_matches("- ");
    let line = line.split(" #").next().unwrap_or(line);
    if matches!(line, ">" | "|" | ">-" | "|-" | ">+" | "|+") {
        return;
    }
    let values = line.trim_start_matches('[').trim_end_matches(']').split(',');
    let values = values.map(|value| value.trim().trim_matches(['"', '\'', '#']).trim());
    for value in values.filter(|value| value.contains(char::is_alphanumeric)) {
        found.push(value.to_owned());
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
    fn tags_are_not_the_other_words() {
        let yaml = "aliases: [HĐ]\ntags: [Thuê nhà, '#2024']\nauthor: An\ncategory: luật";
        assert_eq!(tags(yaml), ["Thuê nhà", "2024", "luật"]);
        assert!(tags("title: x").is_empty());
    }

    #[test]
    fn what_is_taken_is_bounded() {
        let yaml = format!("tags: [{}]", "ế, ".repeat(1 << 16));
        assert!(keywords(&yaml).len() <= MAX_BYTES);
        assert!(tags(&yaml).len() <= MAX_BYTES);
    }
}
