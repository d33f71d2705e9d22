//! BM25 of texts found by the server, and document frequencies recovered from its scores.

use std::collections::HashMap;

use crate::index::LexicalQuery;
use crate::index::lexical::K1;
use crate::index::lexical::QueryTerm;
use crate::text::analyze::{TermKind, terms};

/// BM25's b, as in tantivy.
pub const B: f32 = 0.75;

/// BM25 of a single text; `mean` gives the average number of terms of a kind per chunk. Matches a
/// directory index except that tantivy rounds lengths.
pub fn score(query: &LexicalQuery, text: &str, mean: impl Fn(TermKind) -> f32) -> f32 {
    let counted = [query.words, TermKind::Pairs].map(|kind| {
        let mut counts: HashMap<String, u32> = HashMap::new();
        let terms = terms(text, kind);
        let norm = if mean(kind) > 0.0 { terms.len() as f32 / mean(kind) } else { 1.0 };
        for term in terms {
            *counts.entry(term).or_default() += 1;
        }
        (counts, K1 * (1.0 - B + B * norm))
    });
    let score = |term: &QueryTerm| {
        let (counts, norm) = &counted[usize::from(term.kind == TermKind::Pairs)];
        let occurrences = counts.get(&term.text).map_or(0.0, |&count| count as f32);
        term.idf * occurrences * (K1 + 1.0) / (occurrences + norm)
    };
    query.terms.iter().map(score).sum()
}

/// BM25's factor for a term that occurs `occurrences` times in a text of `length` terms.
pub fn saturation(occurrences: usize, length: usize, mean: f32) -> f32 {
    let occurrences = occurrences as f32;
    let norm = if mean > 0.0 { length as f32 / mean } else { 1.0 };
    occurrences * (K1 + 1.0) / (occurrences + K1 * (1.0 - B + B * norm))
}

/// How many of `chunks` contain a term with this idf: inverts ln(1 + x), x = (N − n + ½) / (n + ½).
pub fn doc_freq(idf: f32, chunks: u64) -> u64 {
    let x = f64::from(idf).exp_m1();
    let doc_freq = (chunks as f64 + 0.5 - 0.5 * x) / (1.0 + x);
    (doc_freq.round() as u64).clamp(1, chunks.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_chunks_with_a_term_follows_from_its_idf() {
        for chunks in [1u64, 10, 1000, 100_000] {
            for expected in [1, 2, 7, chunks / 2, chunks] {
                let expected = expected.clamp(1, chunks);
                let x = ((chunks - expected) as f32 + 0.5) / (expected as f32 + 0.5);
                let found = doc_freq(x.ln_1p(), chunks);
                assert!(
                    found.abs_diff(expected) <= expected / 1000,
                    "{found}, not {expected} of {chunks}"
                );
            }
        }
        assert_eq!(doc_freq(f32::INFINITY, 5), 1);
        assert_eq!(doc_freq(0.0, 5), 5);
        assert_eq!(doc_freq(1.0, 0), 1);
    }
}
