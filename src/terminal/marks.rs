//! Marks in a text what somebody looks for.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::text::analyze::{TermKind, exact, fold, is_unmarked, words};
use crate::text::background;

/// Words that weigh less, such as "what" and "là", are in every text, and nobody looks for them. ("hợp"
/// and "đồng", a contract, weigh 2.1 and 1.9.)
const LEAST_WEIGHT: f32 = 1.8;

/// Reverse video is no colour, and any terminal has it.
const MARK: (&str, &str) = ("\u{1b}[7m", "\u{1b}[27m");

/// What to mark, however it is written.
pub struct Marks {
    kind: TermKind,
    words: BTreeSet<String>,
    /// Words that follow one another.
    quotations: Vec<Vec<String>>,
}

impl Marks {
    /// The words of `question` that say something, and those of `quotations` that stand in the text word
    /// for word.
    pub fn of(question: &str, quotations: &[&str]) -> Self {
        // Who types without marks means the words with them too.
        let kind = if is_unmarked(question) { TermKind::Folded } else { TermKind::Exact };
        let all = |text: &str| -> Vec<String> {
            words(text).into_iter().map(|(_, word)| form(word, kind)).collect()
        };
        let mut wanted: BTreeSet<String> = all(question).into_iter().collect();
        wanted.retain(|word| background::weight(word, kind) >= LEAST_WEIGHT);
        let mut quotations: Vec<Vec<String>> = quotations.iter().map(|text| all(text)).collect();
        quotations.retain(|quotation| !quotation.is_empty());
        Self { kind, words: wanted, quotations }
    }

    /// A text for a terminal, with its marks.
    pub fn apply(&self, text: &str) -> String {
        let words: Vec<(Range<usize>, String)> = words(text)
            .into_iter()
            .map(|(start, word)| (start..start + word.len(), form(word, self.kind)))
            .collect();
        let mut marked = String::with_capacity(text.len());
        let mut written = 0;
        let mut at = 0;
        while at < words.len() {
            let count = self.begins(&words[at..]);
            if count == 0 {
                at += 1;
                continue;
            }
            let (start, end) = (words[at].0.start, words[at + count - 1].0.end);
            marked.push_str(&text[written..start]);
            push_marked(&text[start..end], &mut marked);
            written = end;
            at += count;
        }
        marked + &text[written..]
    }

    /// How many of these words, from the first on, belong to one mark.
    fn begins(&self, words: &[(Range<usize>, String)]) -> usize {
        let is_here = |quotation: &&Vec<String>| {
            quotation.len() <= words.len()
                && quotation.iter().zip(words).all(|(wanted, (_, word))| wanted == word)
        };
        let quoted = self.quotations.iter().filter(is_here).map(Vec::len).max();
        quoted.unwrap_or_else(|| usize::from(self.words.contains(&words[0].1)))
    }
}

fn form(word: &str, kind: TermKind) -> String {
    let word = exact(word);
    if kind == TermKind::Folded { fold(&word) } else { word }
}

/// Each line has marks of its own, as pagers want it.
fn push_marked(text: &str, marked: &mut String) {
    for line in text.split_inclusive('\n') {
        let shown = line.trim();
        let start = line.len() - line.trim_start().len();
        marked.push_str(&line[..start]);
        if !shown.is_empty() {
            marked.extend([MARK.0, shown, MARK.1]);
        }
        marked.push_str(&line[start + shown.len()..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(question: &str, quotations: &[&str], text: &str) -> String {
        Marks::of(question, quotations).apply(text).replace(MARK.0, "<").replace(MARK.1, ">")
    }

    #[test]
    fn words_that_say_something_are_marked_however_they_are_written() {
        let text = "Tokenization splits a text; TOKENIZATION\nis what it is.";
        let expected = "<Tokenization> splits a text; <TOKENIZATION>\nis what it is.";
        assert_eq!(marked("What is tokenization?", &[], text), expected);
        let text = "Đây là hợp đồng thuê nhà là hợp dong.";
        let expected = "Đây là <hợp> <đồng> thuê nhà là <hợp> dong.";
        assert_eq!(marked("hợp đồng là gì", &[], text), expected);
        let expected = "Đây là <hợp> đồng <thuê> nhà là <hợp> dong.";
        assert_eq!(marked("hop thue", &[], text), expected);
        assert_eq!(marked("", &[""], text), text);
    }

    #[test]
    fn a_quotation_is_marked_as_a_whole_on_each_of_its_lines() {
        let text = "Tea is here. The desk\n   opens at 8.\n\nThe desk is old.";
        let expected = "Tea is here. <The desk>\n   <opens at 8>.\n\nThe desk is old.";
        assert_eq!(marked("", &["The desk opens at 8."], text), expected);
        assert_eq!(marked("", &["The desk opens at nine"], text), text);
    }
}
