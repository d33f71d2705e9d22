//! Where sentences begin and end, in any script (Unicode's rules, UAX 29), adapted to documents.
//!
//! To the Unicode rules every line break ends a sentence, and `**` or `1.` mean nothing. Here a line
//! break within a paragraph is a space, and lines that open a block (list items, headings, table
//! rows) open a sentence.

use std::ops::Range;

use icu_segmenter::SentenceSegmenter;
use icu_segmenter::options::SentenceBreakInvariantOptions;

/// Short forms that stand before a name, and do not end a sentence although a capital follows.
const ABBREVIATIONS: [&str; 16] = [
    "TP", "Tp", "GS", "PGS", "TS", "ThS", "BS", "KS", "CN", "ĐH", "Mr", "Mrs", "Ms", "Dr", "Prof",
    "St",
];

/// The sentences of plain text or Markdown source, in order, as byte ranges without surrounding
/// whitespace and without the markers of list items, quotes and headings.
///
/// A range never spans two paragraphs, items, headings or table rows. Text without a letter or digit
/// (rules, fences) is in no range. To show a range of Markdown, pass its text through
/// [`Markup::readable`](crate::documents::Markup::readable).
#[must_use]
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut paragraph: Option<Range<usize>> = None;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        let end = position + line.len();
        let (marker, kind) = classify(line);
        if kind != LineKind::Continues
            && let Some(paragraph) = paragraph.take()
        {
            push_sentences(text, paragraph, &mut found);
        }
        match kind {
            LineKind::Separates => {}
            LineKind::Alone => push_sentences(text, position + marker..end, &mut found),
            LineKind::Opens => paragraph = Some(position + marker..end),
            LineKind::Continues => match &mut paragraph {
                Some(paragraph) => paragraph.end = end,
                None => paragraph = Some(position..end),
            },
        }
        position = end;
    }
    if let Some(paragraph) = paragraph {
        push_sentences(text, paragraph, &mut found);
    }
    found
}

fn push_sentences(text: &str, paragraph: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = paragraph.start;
    for end in breaks(&text[paragraph.clone()]) {
        let end = paragraph.start + end;
        let range = trim(text, start..end);
        if text[range.clone()].contains(char::is_alphanumeric) {
            found.push(range);
        }
        start = end;
    }
}

/// `range` without whitespace at both ends.
pub(crate) fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineKind {
    /// Blank, or mere decoration.
    Separates,
    /// A block of one line: heading, table row.
    Alone,
    /// The first line of a list item.
    Opens,
    /// Goes on with the paragraph, if there is one.
    Continues,
}

/// A line's kind, and the length of the marker at its start in bytes.
fn classify(line: &str) -> (usize, LineKind) {
    if !line.contains(char::is_alphanumeric) {
        return (0, LineKind::Separates);
    }
    let content = line.trim_start_matches(|c: char| c.is_whitespace() || c == '>');
    let indent = line.len() - content.len();
    let quoted = line[..indent].contains('>');
    let word = content.split(char::is_whitespace).next().unwrap_or_default();
    let number = word.trim_end_matches(['.', ')']);
    // Up to three digits: "1991." at the start of a line is the end of a sentence.
    let is_number = (1..=3).contains(&number.len())
        && number.len() + 1 == word.len()
        && number.bytes().all(|byte| byte.is_ascii_digit());
    if word.starts_with("```") || word.starts_with("~~~") {
        (0, LineKind::Separates)
    } else if matches!(word, "#" | "##" | "###" | "####" | "#####" | "######") {
        (indent + word.len(), LineKind::Alone)
    } else if word.starts_with('|') {
        (indent, LineKind::Alone)
    } else if matches!(word, "-" | "*" | "+" | "•" | "–") || is_number {
        (indent + word.len(), LineKind::Opens)
    } else {
        // The marker on a quote's first line is dropped; within its paragraph it is like a space.
        (if quoted { indent } else { 0 }, LineKind::Continues)
    }
}

/// Where the sentences of one paragraph end, in bytes: the last offset is the text's length. Empty
/// for an empty text.
pub(crate) fn breaks(paragraph: &str) -> Vec<usize> {
    // Same length, so the offsets hold.
    let line = paragraph.replace(['\n', '\r'], " ");
    let segmenter = SentenceSegmenter::new(SentenceBreakInvariantOptions::default());
    let mut ends = Vec::new();
    let (mut start, mut has_letter) = (0, false);
    for end in segmenter.segment_str(&line) {
        // Closing emphasis belongs to the sentence that it closes: `**Một.** Hai.`
        let rest = line[end..].trim_start_matches(['*', '_', '`', '~']);
        let closes = rest.is_empty() || rest.starts_with(char::is_whitespace);
        let end = if closes { line.len() - rest.len() } else { end };
        // Looks at each part once, and not again at what is pending, which would be quadratic.
        let part = &line[start..end];
        has_letter |= part.contains(char::is_alphabetic);
        start = end;
        if !part.is_empty() && (end == line.len() || (has_letter && !ends_in_abbreviation(part))) {
            ends.push(end);
            has_letter = false;
        }
    }
    ends
}

/// True for what only the Unicode rules take for the end of a sentence: `TP. `, `J. `
fn ends_in_abbreviation(part: &str) -> bool {
    let word = part.trim_end().rsplit(char::is_whitespace).next().unwrap_or_default();
    let Some(word) = word.strip_suffix('.') else { return false };
    let word = word.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let mut letters = word.chars();
    let is_initial = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
    is_initial || ABBREVIATIONS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn sentences_of_several_scripts() {
        let text = "NLP là gì? Là 3.14 phần  của AI!\nMột\ncâu dài. 我们走吧。好。 ใช่ Hết";
        assert_eq!(
            split(text),
            [
                "NLP là gì?",
                "Là 3.14 phần  của AI!",
                "Một\ncâu dài.",
                "我们走吧。",
                "好。",
                "ใช่ Hết"
            ]
        );
    }

    #[test]
    fn titles_initials_and_numbers_do_not_end_one() {
        let text =
            "GS. TS. Nguyễn Văn A. ở TP. Hồ Chí Minh. Ông J. R. Firth nói (Ths. không). 1. Rồi.";
        assert_eq!(
            split(text),
            [
                "GS. TS. Nguyễn Văn A. ở TP. Hồ Chí Minh.",
                "Ông J. R. Firth nói (Ths. không).",
                "1. Rồi."
            ]
        );
    }

    #[test]
    fn markdown_blocks_are_separate() {
        let text = "\
# Tiêu đề
Mở đầu:
- **Một.** Hai
  tiếp theo
- ba
1. bốn
> trích dẫn
> tiếp

Tên
===
| a | b |
|---|---|
```rust
mã
```
* * *
1991. Hết.
";
        let expected = [
            "Tiêu đề",
            "Mở đầu:",
            "**Một.**",
            "Hai\n  tiếp theo",
            "ba",
            "bốn\n> trích dẫn\n> tiếp",
            "Tên",
            "| a | b |",
            "mã",
            "1991. Hết.",
        ];
        assert_eq!(split(text), expected);
    }

    #[test]
    fn nothing_gives_nothing() {
        for text in ["", "\n\n", " … ", "---\n***\n", "```\n```"] {
            assert_eq!(split(text), Vec::<&str>::new(), "{text:?}");
        }
        assert!(breaks("").is_empty());
        assert_eq!(breaks("\r\n"), [2]);
    }

    #[test]
    fn every_letter_of_hostile_text_is_in_a_sentence_in_order() {
        let texts = [
            "a".repeat(1 << 20),
            ". ".repeat(1 << 19),
            "1. ".repeat(1 << 18),
            "x.*".repeat(1 << 18),
            "\u{301}ế\u{301}. Ế\u{0}\u{2028}ok\u{85}?".repeat(1 << 12),
            "A. ".repeat(1 << 18),
            "> ".repeat(1 << 19),
        ];
        for text in texts {
            let mut end = 0;
            for range in sentences(&text) {
                assert!(range.start >= end && range.end > range.start);
                assert!(!text[end..range.start].contains(char::is_alphabetic));
                end = range.end;
            }
            assert!(!text[end..].contains(char::is_alphabetic));
        }
    }
}
