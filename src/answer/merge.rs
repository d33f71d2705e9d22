//! Merges passages that overlap or adjoin, so that neither the LLM nor the reader sees a text twice
//! or in fragments.

use crate::index::Passage;
use crate::retrieval::Hit;

/// Adjacent chunks of a section are at most this many bytes apart, all whitespace: a paragraph
/// break.
const MAX_GAP: usize = 4;

/// A passage to answer from, with the best score of the hits merged into it.
#[derive(Debug, Clone)]
pub struct Source {
    pub passage: Passage,
    /// Comparable only within one question.
    pub score: f32,
}

/// Merges hits of the same document that overlap or adjoin; keeps the order, best first.
pub fn merge(hits: &[Hit]) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for hit in hits {
        let mut new = Source { passage: hit.passage.clone(), score: hit.score };
        // A new passage may close the gap between two existing ones.
        let mut place = sources.len();
        while let Some(i) = sources.iter().position(|source| {
            overlap(&source.passage, &new.passage) || touch(&source.passage, &new.passage)
        }) {
            let old = sources.remove(i);
            new = Source {
                passage: union(old.passage, new.passage),
                score: old.score.max(new.score),
            };
            place = place.min(i);
        }
        sources.insert(place.min(sources.len()), new);
    }
    sources
}

/// Whether two passages share any bytes of their document.
pub(crate) fn overlap(a: &Passage, b: &Passage) -> bool {
    a.document == b.document && a.span.0 < b.span.1 && b.span.0 < a.span.1
}

/// Whether two passages adjoin within a section. Chunks cover a section except for the whitespace
/// between them, so a small gap omits no text.
fn touch(a: &Passage, b: &Passage) -> bool {
    let gap = a.span.0.max(b.span.0).saturating_sub(a.span.1.min(b.span.1));
    a.document == b.document && a.headings == b.headings && gap <= MAX_GAP
}

/// The text spanning both passages.
fn union(a: Passage, b: Passage) -> Passage {
    let (mut first, second) = if a.span.0 <= b.span.0 { (a, b) } else { (b, a) };
    if second.span.1 > first.span.1 {
        // Both spans index the same text, so the overlap has the same length in each.
        let gap = second.span.0.saturating_sub(first.span.1);
        first.text.push_str(&"\n".repeat(gap));
        first.span.1 += gap;
        if let Some(rest) = second.text_of_span().get(first.span.1 - second.span.0..) {
            first.text.push_str(rest);
            first.span.1 = second.span.1;
            first.recognized |= second.recognized;
            first.place = first.place.zip(second.place).map(|(start, end)| start.to(end));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{Markup, Place};
    use crate::index::ChunkId;
    use crate::retrieval::Scores;

    const TEXT: &str = "một hai ba bốn năm sáu bảy tám chín mười";

    fn hit(document: &str, start: usize, end: usize, score: f32) -> Hit {
        let passage = Passage {
            document: document.to_owned(),
            headings: Vec::new(),
            place: Some(Place::Lines(1, 1)),
            span: (start, end),
            text: TEXT[start..end].to_owned(),
            format: Markup::Plain,
            recognized: false,
            ..Passage::default()
        };
        let scores = Scores { dense: 0.0, bm25: 0.0, fused: 0.0, rerank: None };
        Hit { chunk: ChunkId::new(0), passage, score, scores, copies: Vec::new() }
    }

    #[test]
    fn overlapping_passages_become_one_text() {
        let word = |w: &str| TEXT.find(w).unwrap();
        let (two, four, six) = (word("hai"), word("bốn"), word("sáu"));
        let sources =
            merge(&[hit("a", four, TEXT.len(), 3.0), hit("b", 0, 4, 2.0), hit("a", two, six, 1.0)]);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].passage.text, TEXT[two..]);
        assert_eq!(sources[0].passage.span, (two, TEXT.len()));
        assert!((sources[0].score - 3.0).abs() < f32::EPSILON);
        assert_eq!(sources[1].passage.document, "b");
    }

    #[test]
    fn passages_that_follow_on_each_other_become_one_text() {
        let hit = |start: usize, text: &str, heading: &str| {
            let mut hit = hit("a", 0, 1, 1.0);
            hit.passage.span = (start, start + text.len());
            hit.passage.text = text.to_owned();
            hit.passage.headings = vec![heading.to_owned()];
            hit
        };
        let sources = merge(&[hit(7, "Hai.", "H"), hit(100, "Xa.", "H"), hit(0, "Một.", "H")]);
        let texts: Vec<&str> = sources.iter().map(|source| &*source.passage.text).collect();
        // "Một." is six bytes, which leaves a gap of one.
        assert_eq!(texts, ["Một.\nHai.", "Xa."]);
        assert_eq!(sources[0].passage.span, (0, 11));
        // Text under another heading belongs to a different section.
        assert_eq!(merge(&[hit(7, "Hai.", "H"), hit(0, "Một.", "G")]).len(), 2);
    }

    #[test]
    fn one_passage_can_join_two_others() {
        let bounds: Vec<usize> =
            TEXT.char_indices().filter(|(_, c)| *c == ' ').map(|(i, _)| i).collect();
        let sources = merge(&[
            hit("a", 0, bounds[2], 3.0),
            hit("a", bounds[4], bounds[7], 2.0),
            hit("a", bounds[1], bounds[5], 1.0),
        ]);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].passage.text, TEXT[..bounds[7]]);
    }
}
