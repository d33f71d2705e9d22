//! The terms of a question and their BM25 weights, independent of the search engine.
//!
//! Document frequencies come from the backend; from there on, all backends score alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::text::analyze::{TermKind, fold, is_unmarked, terms, words_of_pair};

/// BM25's k1, as in tantivy (Robertson and Zaragoza 2009, 3.1); b is 0.75.
pub(crate) const K1: f32 = 1.2;

/// Limit on distinct terms per question; the rest is ignored.
const MAX_QUERY_TERMS: usize = 1024;

/// The distinct terms of a question, sorted, before document frequencies are known.
pub(crate) struct QuestionTerms {
    pub terms: Vec<(TermKind, String)>,
    /// Whether single words are matched with or without diacritics.
    words: TermKind,
}

impl QuestionTerms {
    pub(crate) fn of(question: &str) -> Self {
        // A question typed without diacritics is matched without them.
        let words = if is_unmarked(question) { TermKind::Folded } else { TermKind::Exact };
        let unique = |kind| terms(question, kind).into_iter().collect::<BTreeSet<String>>();
        let of_kind = |kind| unique(kind).into_iter().map(move |text| (kind, text));
        let terms = of_kind(words).chain(of_kind(TermKind::Pairs)).take(MAX_QUERY_TERMS).collect();
        Self { terms, words }
    }

    /// Builds the query for an index of `chunks` chunks; `doc_freqs` are in the order of
    /// [`Self::terms`].
    pub(crate) fn weighed(self, doc_freqs: &[u64], chunks: u64) -> LexicalQuery {
        let terms = self.terms.into_iter().zip(doc_freqs);
        let terms = terms
            .map(|((kind, text), &doc_freq)| {
                let idf = idf(doc_freq, chunks);
                QueryTerm { kind, text, doc_freq, tokens: 0, idf }
            })
            .collect();
        LexicalQuery { terms, words: self.words, chunks }
    }
}

/// ln(1 + (N − n + ½) / (n + ½)), as in tantivy's BM25.
fn idf(doc_freq: u64, chunks: u64) -> f32 {
    let x = ((chunks - doc_freq) as f32 + 0.5) / (doc_freq as f32 + 0.5);
    (1.0 + x).ln()
}

/// A weighted term of a question.
pub(crate) struct QueryTerm {
    pub kind: TermKind,
    pub text: String,
    /// Number of chunks that contain the term.
    pub doc_freq: u64,
    /// Terms of its kind in all chunks, by which BM25 knows the mean length; 0 if the backend does not
    /// need to be told.
    pub tokens: u64,
    pub idf: f32,
}

/// A question as weighted BM25 terms.
pub struct LexicalQuery {
    /// Sorted and unique, so that sums are reproducible bit for bit.
    pub(crate) terms: Vec<QueryTerm>,
    /// Whether single words are matched with or without diacritics.
    pub(crate) words: TermKind,
    /// Chunks that the document frequencies are of.
    pub(crate) chunks: u64,
}

impl LexicalQuery {
    /// The same question asked of several indexes as if they were one: their document frequencies and
    /// sizes add up. `None` if there are none.
    pub(crate) fn joined(queries: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut queries = queries.into_iter();
        let mut joined = queries.next()?;
        for other in queries {
            joined.chunks += other.chunks;
            for (term, other) in joined.terms.iter_mut().zip(other.terms) {
                term.doc_freq += other.doc_freq;
                term.tokens += other.tokens;
            }
        }
        for term in &mut joined.terms {
            term.idf = idf(term.doc_freq.min(joined.chunks), joined.chunks);
        }
        Some(joined)
    }

    /// An upper bound on the question's BM25 score for any text: Σ idf · (k1 + 1).
    ///
    /// The ratio of a score to this bound measures how much of the question's weight a text covers.
    /// It is near zero if the words do not occur, so in a fusion the lexical score fades out when
    /// question and documents are in different languages.
    pub fn best_possible(&self) -> f32 {
        self.terms.iter().map(|term| term.idf * (K1 + 1.0)).sum()
    }

    /// The same terms with other weights: those that `idf` has for the words, and for a pair that of
    /// its rarer word. `idf` is told whether words are matched without diacritics.
    pub fn weighed_by(&self, idf: &dyn Fn(&str, TermKind) -> f32) -> Self {
        let mut folded: BTreeMap<String, f32> = BTreeMap::new();
        for term in self.terms.iter().filter(|term| term.kind == self.words) {
            let own = idf(&term.text, self.words);
            let known = folded.entry(fold(&term.text)).or_insert(own);
            *known = known.max(own);
        }
        let weight = |term: &QueryTerm| match term.kind {
            TermKind::Pairs => words_of_pair(&term.text)
                .map(|word| {
                    folded.get(word).copied().unwrap_or_else(|| idf(word, TermKind::Folded))
                })
                .fold(0.0, f32::max),
            kind => idf(&term.text, kind),
        };
        let weighed = |term: &QueryTerm| QueryTerm {
            kind: term.kind,
            text: term.text.clone(),
            doc_freq: term.doc_freq,
            tokens: term.tokens,
            idf: weight(term),
        };
        let terms = self.terms.iter().map(weighed).collect();
        Self { terms, words: self.words, chunks: self.chunks }
    }

    /// The idf of `word`'s first term; 0 if the question does not contain it.
    pub fn word_idf(&self, word: &str) -> f32 {
        let Some(text) = terms(word, self.words).into_iter().next() else { return 0.0 };
        let found = self.terms.iter().find(|term| term.kind == self.words && term.text == text);
        found.map_or(0.0, |term| term.idf)
    }

    /// Share of the question's idf weight whose words and pairs occur in `text`, 0 to 1.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A question to an index of one chunk that has all of its words.
    fn one_topic(question: &str) -> LexicalQuery {
        let terms = QuestionTerms::of(question);
        let doc_freqs = vec![1; terms.terms.len()];
        terms.weighed(&doc_freqs, 1)
    }

    #[test]
    fn a_pair_weighs_as_much_as_its_rarer_word() {
        let idf = |word: &str, kind: TermKind| match (word, kind) {
            ("của", TermKind::Exact) => 0.5,
            ("chung", TermKind::Exact) => 3.0,
            ("cư", TermKind::Exact) => 7.0,
            other => panic!("{other:?} is no word of the question"),
        };
        let query = one_topic("của chung cư").weighed_by(&idf);
        let weights: Vec<(&str, f32)> =
            query.terms.iter().map(|term| (term.text.as_str(), term.idf)).collect();
        let pairs = [("chung\u{1f}cu", 7.0), ("cua\u{1f}chung", 3.0)];
        assert_eq!(weights[..3], [("chung", 3.0), ("cư", 7.0), ("của", 0.5)]);
        assert_eq!(weights[3..], pairs);
        assert_eq!(query.word_idf("Chung"), 3.0);
        // "chung", "cư" and their pair, of 20.5 together.
        assert!((query.coverage("Chung cư Hoa Sen") - 17.0 / 20.5).abs() < 1e-6);
    }

    #[test]
    fn a_question_without_marks_is_weighed_without_them() {
        let mut kinds = BTreeSet::new();
        let seen = std::cell::RefCell::new(&mut kinds);
        let query = one_topic("chung cu").weighed_by(&|_, kind| {
            seen.borrow_mut().insert(kind);
            2.0
        });
        assert!(query.terms.iter().all(|term| term.idf == 2.0));
        assert_eq!(kinds, BTreeSet::from([TermKind::Folded]));
    }
}
