//! The words of a question, and how much each weighs: BM25 without a search engine.
//!
//! How often terms occur in an index is the backend's to say; from there on all backends score
//! alike.

use std::collections::BTreeSet;

use crate::text::analyze::{TermKind, is_unmarked, terms};

/// BM25's k1, as tantivy has it (Robertson and Zaragoza 2009, 3.1); b is 0.75.
pub(crate) const K1: f32 = 1.2;

/// Distinct terms that a question may ask for; the rest is ignored.
const MAX_QUERY_TERMS: usize = 1024;

/// The distinct terms of a question, in order, before anyone has counted them.
pub(crate) struct QuestionTerms {
    pub terms: Vec<(TermKind, String)>,
    /// How single words are compared.
    words: TermKind,
}

impl QuestionTerms {
    pub(crate) fn of(question: &str) -> Self {
        // A question typed without marks is compared without marks.
        let words = if is_unmarked(question) { TermKind::Folded } else { TermKind::Exact };
        let unique = |kind| terms(question, kind).into_iter().collect::<BTreeSet<String>>();
        let of_kind = |kind| unique(kind).into_iter().map(move |text| (kind, text));
        let terms = of_kind(words).chain(of_kind(TermKind::Pairs)).take(MAX_QUERY_TERMS).collect();
        Self { terms, words }
    }

    /// The query for an index of `chunks` chunks, of which `doc_freqs` contain each term, in the
    /// order of [`Self::terms`].
    pub(crate) fn weighed(self, doc_freqs: &[u64], chunks: u64) -> LexicalQuery {
        let terms = self.terms.into_iter().zip(doc_freqs);
        let terms = terms
            .map(|((kind, text), &doc_freq)| {
                let idf = idf(doc_freq, chunks);
                QueryTerm { kind, text, doc_freq, idf }
            })
            .collect();
        LexicalQuery { terms, words: self.words }
    }
}

/// ln(1 + (N − n + ½) / (n + ½)), as tantivy's BM25 has it.
fn idf(doc_freq: u64, chunks: u64) -> f32 {
    let x = ((chunks - doc_freq) as f32 + 0.5) / (doc_freq as f32 + 0.5);
    (1.0 + x).ln()
}

/// A term of a question, weighed.
pub(crate) struct QueryTerm {
    pub kind: TermKind,
    pub text: String,
    /// Number of chunks that contain it.
    pub doc_freq: u64,
    pub idf: f32,
}

/// A question as BM25 sees it.
pub struct LexicalQuery {
    /// Sorted and unique: the same question gives the same sum, bit for bit.
    pub(crate) terms: Vec<QueryTerm>,
    /// How single words are compared.
    pub(crate) words: TermKind,
}

impl LexicalQuery {
    /// A BM25 score that no text exceeds for this question: Σ idf · (k1 + 1).
    ///
    /// A score as a share of it says how much of the question's weight the text covers. It is
    /// near zero where the words do not occur, so in a fusion it steps back by itself when
    /// question and documents are in different languages.
    pub fn best_possible(&self) -> f32 {
        self.terms.iter().map(|term| term.idf * (K1 + 1.0)).sum()
    }

    /// Inverse document frequency of `word`'s first term; 0 for a word that the question lacks.
    pub fn word_idf(&self, word: &str) -> f32 {
        let Some(text) = terms(word, self.words).into_iter().next() else { return 0.0 };
        let found = self.terms.iter().find(|term| term.kind == self.words && term.text == text);
        found.map_or(0.0, |term| term.idf)
    }

    /// The share of the question's idf weight whose words and pairs occur in `text`, 0 to 1.
    pub fn coverage(&self, text: &str) -> f32 {
        let [words, pairs] =
            [self.words, TermKind::Pairs].map(|kind| BTreeSet::from_iter(terms(text, kind)));
        let (mut covered, mut total) = (0.0, 0.0);
        for term in &self.terms {
            let present = if term.kind == TermKind::Pairs { &pairs } else { &words };
            total += term.idf;
            if present.contains(&term.text) {
                covered += term.idf;
            }
        }
        if total > 0.0 { covered / total } else { 0.0 }
    }
}
