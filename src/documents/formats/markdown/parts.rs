//! A long text in parts that are parsed one after the other, because the parser takes some sixty
//! times as much memory as it is given text.

use std::iter;
use std::ops::Range;

/// Bytes from which on a part may end, and by which it has to. Nearly all documents are one part.
const MIN_PART: usize = 2 << 20;
const MAX_PART: usize = 2 * MIN_PART;

/// The parts of a text from `start` on. A part ends where a paragraph or list item begins; if there
/// is no such place, after a line.
pub(super) fn parts(text: &str, mut start: usize) -> impl Iterator<Item = Range<usize>> {
    iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = if rest.len() > MAX_PART { part_end(rest) } else { rest.len() };
        let part = start..start + length;
        start = part.end;
        Some(part)
    })
}

fn part_end(text: &str) -> usize {
    let mut fence: Option<&str> = None;
    let mut after_blank = false;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        if position > MAX_PART {
            break;
        }
        let begins = after_blank && fence.is_none() && !line.starts_with([' ', '\t']);
        if begins && position >= MIN_PART {
            return position;
        }
        let content = line.trim();
        after_blank = content.is_empty();
        match fence {
            Some(open)
                if content.starts_with(open) && content.trim_matches(['`', '~']).is_empty() =>
            {
                fence = None;
            }
            None => fence = fence_of(content),
            Some(_) => {}
        }
        position += line.len();
    }
    let text = &text[..text.floor_char_boundary(MAX_PART)];
    text.rfind('\n').map_or(text.len(), |line_end| line_end + 1)
}

/// The fence that a line of code begins with.
fn fence_of(line: &str) -> Option<&str> {
    let sign = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(sign).len();
    (length >= 3).then(|| &line[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<usize> {
        let mut end = 0;
        let found = parts(text, 0).map(|part| {
            assert_eq!(part.start, end);
            end = part.end;
            part.len()
        });
        let found = found.collect();
        assert_eq!(end, text.len());
        found
    }

    #[test]
    fn parts_end_between_paragraphs_outside_of_code() {
        assert!(lengths("").is_empty());
        assert_eq!(lengths("a\n\nb"), [4]);
        let text = "một hai\n\n".repeat(MAX_PART / 8);
        let found = lengths(&text);
        assert!(found.len() > 1 && found[..found.len() - 1].iter().all(|n| n.is_multiple_of(11)));
        let code = format!("````\n{}\n````\n\nsau", "```\n\nx\n\n".repeat(MIN_PART / 8));
        let text = format!("{code}{}", "y\n".repeat(MAX_PART));
        assert_eq!(lengths(&text)[0], code.find("sau").unwrap());
        // Nothing but a paragraph, and not even a line end.
        assert_eq!(lengths(&"a\n".repeat(MAX_PART))[0], MAX_PART);
        assert!(lengths(&"ế".repeat(MAX_PART)).iter().all(|&length| length <= MAX_PART));
    }
}
