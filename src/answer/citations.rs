//! Citations `[n]` in an answer, checked against the passages that were provided.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// The valid passage numbers (from 1) cited by `answer`, in order of first mention, and whether it
/// also cites numbers that do not exist.
pub fn cited(answer: &str, passages: usize) -> (Vec<usize>, bool) {
    let (mut found, mut invented) = (Vec::new(), false);
    let mut seen = BTreeSet::new();
    for bracket in answer.split('[').skip(1) {
        let Some((inside, _)) = bracket.split_once(']') else { continue };
        // "[1]", "[1, 3]"
        let numbers: Option<Vec<usize>> =
            inside.split(',').map(|n| n.trim().parse().ok()).collect();
        for number in numbers.unwrap_or_default() {
            if !(1..=passages).contains(&number) {
                invented = true;
            } else if seen.insert(number) {
                found.push(number);
            }
        }
    }
    (found, invented)
}

/// Byte ranges of the citations in `text`, such as `[1]` and `[1, 3]`.
pub(crate) fn spans(text: &str) -> Vec<Range<usize>> {
    let opened = text.match_indices('[').map(|(start, _)| start);
    let number = |c: char| c.is_ascii_digit() || matches!(c, ',' | ' ');
    let closed = opened.filter_map(|start| {
        let length = text[start + 1..].find(|c| !number(c))?;
        let end = start + 1 + length;
        (length > 0 && text[end..].starts_with(']')).then_some(start..end + 1)
    });
    closed.collect()
}

/// Strips citations from `text`.
pub fn without_citations(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut start = 0;
    for span in spans(text) {
        plain.push_str(&text[start..span.start]);
        start = span.end;
    }
    plain.push_str(&text[start..]);
    plain
}

/// A document's display name: relative to `folder` if it lies inside it.
pub fn document_name(document: &str, folder: Option<&Path>) -> String {
    let relative =
        folder.and_then(|folder| Path::new(document).strip_prefix(folder).ok()?.to_str());
    relative.unwrap_or(document).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_found_once_each_in_order() {
        assert_eq!(cited("A [2]. B [1][2]. C [1, 3].", 3), (vec![2, 1, 3], false));
        assert_eq!(cited("no citation, f[x], [not], [", 3), (vec![], false));
    }

    #[test]
    fn citations_of_nothing_are_noticed() {
        assert_eq!(cited("A [7] and B [1] and [0].", 3), (vec![1], true));
        assert_eq!(cited("[99999999999999999999999]", 3), (vec![], false));
    }

    #[test]
    fn documents_are_named_relative_to_the_folder_that_they_are_in() {
        let name = |document| document_name(document, Some(Path::new("/notes")));
        assert_eq!(name("/notes/a/b.jsonl#c/d"), "a/b.jsonl#c/d");
        assert_eq!(name("/notes-2/a.md"), "/notes-2/a.md");
        assert_eq!(document_name("/notes/a.md", None), "/notes/a.md");
    }

    #[test]
    fn brackets_that_cite_nothing_stay() {
        assert_eq!(without_citations("a [x] b[2] [ c"), "a [x] b [ c");
    }
}
