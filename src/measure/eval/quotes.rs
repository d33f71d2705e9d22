//! Finds the passages of a document that say what a label quotes, however the document is cut.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use crate::index::{IndexError, Passage};

/// The byte span of a passage in its document.
type Span = (usize, usize);
/// Reads the passages of a document, in its order.
type Passages<'a> = dyn Fn(&str) -> Result<Vec<Passage>, IndexError> + 'a;

/// Finds quotes in documents, of which it keeps the text once it has read them.
pub struct Quotes<'a> {
    passages: Box<Passages<'a>>,
    read: HashMap<String, Text>,
}

impl<'a> Quotes<'a> {
    pub fn new(passages: impl Fn(&str) -> Result<Vec<Passage>, IndexError> + 'a) -> Self {
        Self { passages: Box::new(passages), read: HashMap::new() }
    }

    /// The passages of `document` that say `quote`, wherever it occurs; if it was cut everywhere, those
    /// with the most of it. Case, white space and composition make no difference.
    pub fn find(&mut self, document: &str, quote: &str) -> Result<BTreeSet<Span>, IndexError> {
        if !self.read.contains_key(document) {
            let text = Text::new(&(self.passages)(document)?);
            self.read.insert(document.to_owned(), text);
        }
        let quote = plain(quote);
        let text = self.read.get(document).filter(|_| !quote.is_empty());
        Ok(text.map_or_else(BTreeSet::new, |text| text.find(&quote)))
    }
}

/// A document in plain form.
struct Text {
    /// Each passage, in order.
    passages: Vec<(String, Span)>,
    /// All of them as one, without what they repeat of each other.
    whole: String,
    /// Where in `whole` each passage is.
    parts: Vec<Range<usize>>,
}

impl Text {
    fn new(passages: &[Passage]) -> Self {
        let mut text = Self { passages: Vec::new(), whole: String::new(), parts: Vec::new() };
        let mut end: usize = 0;
        for passage in passages {
            let own = passage.text_of_span();
            text.passages.push((plain(own), passage.span));
            let overlap = end.saturating_sub(passage.span.0);
            let new = own.get(overlap..).unwrap_or_default();
            // A word that is too long for one passage is cut inside.
            let in_a_word = end >= passage.span.0 && !new.starts_with(char::is_whitespace);
            if !in_a_word && !text.whole.ends_with(' ') {
                text.whole.push(' ');
            }
            let start = text.whole.len();
            text.whole.push_str(&plain(new));
            text.parts.push(start..text.whole.len());
            if new.ends_with(char::is_whitespace) {
                text.whole.push(' ');
            }
            end = end.max(passage.span.1);
        }
        text
    }

    fn find(&self, quote: &str) -> BTreeSet<Span> {
        let saying = self.passages.iter().filter(|(text, _)| text.contains(quote));
        let saying: BTreeSet<Span> = saying.map(|(_, span)| *span).collect();
        match saying.is_empty() {
            true => self.find_cut(quote),
            false => saying,
        }
    }

    /// Looks across the ends of passages.
    fn find_cut(&self, quote: &str) -> BTreeSet<Span> {
        let with_most = |(start, quote): (usize, &str)| {
            let end = start + quote.len();
            let shared =
                |part: &Range<usize>| part.end.min(end).saturating_sub(part.start.max(start));
            let most = self.parts.iter().enumerate().max_by_key(|(_, part)| shared(part));
            most.map(|(at, _)| self.passages[at].1)
        };
        self.whole.match_indices(quote).filter_map(with_most).collect()
    }
}

/// Composed, in lower case, with single spaces.
fn plain(text: &str) -> String {
    let composed: String = text.nfc().flat_map(char::to_lowercase).collect();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(span: Span, text: &str) -> Passage {
        Passage { span, text: text.to_owned(), ..Passage::default() }
    }

    /// Cuts a text before each `|`, as passages would be.
    fn find(cut: &str, quote: &str) -> Vec<usize> {
        let mut quotes = Quotes::new(|_| {
            let mut start = 0;
            let passage = |text: &str| {
                let span = (start, start + text.len());
                start = span.1;
                part(span, text)
            };
            Ok(cut.split('|').map(passage).collect())
        });
        quotes.find("d", quote).unwrap().into_iter().map(|(start, _)| start).collect()
    }

    #[test]
    fn a_quote_is_found_whatever_its_case_spaces_and_composition() {
        let decomposed: String = "Số\n thứ  nhất".nfd().collect();
        assert_eq!(find("Đầu. |Đây là số thứ nhất.", &decomposed), [8]);
        assert_eq!(find("one |two |three", "four"), [0; 0]);
        assert_eq!(find("one |two", "  "), [0; 0]);
    }

    #[test]
    fn a_quote_that_was_cut_is_where_most_of_it_is() {
        assert_eq!(find("a |b c|c d e|f", "cc d e"), [5]);
        assert_eq!(find("one two| three four five |six", "two three four"), [7]);
        assert_eq!(find("a long word|that goes on", "long wordthat"), [0]);
    }

    #[test]
    fn every_passage_that_says_a_quote_counts() {
        assert_eq!(find("the end |of one |the END", "the end"), [0, 15]);
        // Passages may overlap.
        let at = |start: usize, text: &str| part((start, start + text.len()), text);
        let parts = vec![at(0, "one two three"), at(8, "three four"), at(14, "four five six")];
        let mut quotes = Quotes::new(|_| Ok(parts.clone()));
        let mut starts = |quote| {
            let found = quotes.find("d", quote).unwrap();
            found.into_iter().map(|(start, _)| start).collect::<Vec<_>>()
        };
        assert_eq!(starts("three"), [0, 8]);
        assert_eq!(starts("two three four five six"), [0]);
        assert_eq!(starts("three four five six"), [14]);
    }

    /// Later parts of a table repeat its head, which is no part of what they say.
    #[test]
    fn a_repeated_header_is_in_the_first_part_alone() {
        let part =
            |span: Span, text: &str| Passage { span, text: text.to_owned(), ..Passage::default() };
        let mut quotes = Quotes::new(|_| {
            Ok(vec![part((0, 12), "|n|m|\n|1|2|\n"), part((12, 18), "|n|m|\n|3|4|\n")])
        });
        assert_eq!(quotes.find("d", "|n|m|").unwrap(), BTreeSet::from([(0, 12)]));
        assert_eq!(quotes.find("d", "|3|4|").unwrap(), BTreeSet::from([(12, 18)]));
    }
}
