//! What answers a question: documents, or the passages that say certain words.

use std::collections::BTreeSet;

use crate::index::{ChunkId, Passage};

/// One thing that answers a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// Any passage of this document, by its id.
    Document(String),
    /// A passage of `document` that says `quote`.
    Passage {
        document: String,
        quote: String,
        /// Of the passages that do.
        spans: BTreeSet<(usize, usize)>,
    },
}

impl Label {
    /// The id of its document.
    pub fn document(&self) -> &str {
        match self {
            Self::Document(document) | Self::Passage { document, .. } => document,
        }
    }

    /// Whether the passage is what is meant, or a part of it.
    pub fn means(&self, passage: &Passage) -> bool {
        self.document() == passage.document
            && match self {
                Self::Document(_) => true,
                Self::Passage { spans, .. } => spans.contains(&passage.span),
            }
    }
}

/// What has a rank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// The label of this number.
    Label(usize),
    /// A document that no label names.
    Document(String),
    /// A passage that no label means.
    Passage(ChunkId),
}

/// All that is relevant.
pub fn relevant(labels: &[Label]) -> BTreeSet<Unit> {
    (0..labels.len()).map(Unit::Label).collect()
}

/// A ranking in the units that the labels speak of: each has the rank of its first passage. If labels
/// name documents alone, so are the others that rank beside them.
pub fn units<'a>(
    ranking: impl Iterator<Item = (ChunkId, &'a Passage)>,
    labels: &[Label],
) -> Vec<Unit> {
    let by_passage = labels.iter().any(|label| matches!(label, Label::Passage { .. }));
    let (mut seen, mut units) = (BTreeSet::new(), Vec::new());
    for (chunk, passage) in ranking {
        let mut meant: Vec<Unit> =
            (0..labels.len()).filter(|&at| labels[at].means(passage)).map(Unit::Label).collect();
        if meant.is_empty() {
            meant.push(match by_passage {
                true => Unit::Passage(chunk),
                false => Unit::Document(passage.document.clone()),
            });
        }
        units.extend(meant.into_iter().filter(|unit| seen.insert(unit.clone())));
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(document: &str, start: usize) -> Passage {
        Passage { document: document.to_owned(), span: (start, start + 9), ..Passage::default() }
    }

    fn ranked(labels: &[Label]) -> Vec<Unit> {
        let found = [("a", 0), ("b", 0), ("a", 10), ("b", 10), ("b", 20)]
            .map(|(document, start)| passage(document, start));
        units((0..).map(ChunkId::new).zip(&found), labels)
    }

    fn quote(document: &str, starts: &[usize]) -> Label {
        let spans = starts.iter().map(|&start| (start, start + 9)).collect();
        Label::Passage { document: document.to_owned(), quote: "…".to_owned(), spans }
    }

    #[test]
    fn documents_rank_where_their_first_passage_does() {
        let labels = [Label::Document("b".to_owned())];
        assert_eq!(ranked(&labels), [Unit::Document("a".to_owned()), Unit::Label(0)]);
    }

    #[test]
    fn a_quote_means_its_passages_and_no_other_of_the_document() {
        let passage = |at| Unit::Passage(ChunkId::new(at));
        assert_eq!(
            ranked(&[quote("b", &[10, 20])]),
            [passage(0), passage(1), passage(2), Unit::Label(0)]
        );
        let both = [quote("b", &[10]), Label::Document("a".to_owned())];
        assert_eq!(
            ranked(&both),
            [Unit::Label(1), passage(1), Unit::Label(0), passage(4)],
            "a document counts once beside a passage, too"
        );
        assert_eq!(relevant(&both), BTreeSet::from([Unit::Label(0), Unit::Label(1)]));
    }
}
