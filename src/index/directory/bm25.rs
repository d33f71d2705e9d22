//! BM25 scoring of a question with tantivy.

use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, EnableScoring, Query, TermQuery, Weight,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocSet, Searcher, TERMINATED, Term};

use super::fields::Fields;
use crate::index::LexicalQuery;
use crate::index::lexical::{QueryTerm, QuestionTerms};

/// Looks up the document frequency of each term of a question.
pub(crate) fn weigh(
    searcher: &Searcher,
    fields: &Fields,
    question: &str,
) -> tantivy::Result<LexicalQuery> {
    let question = QuestionTerms::of(question);
    let chunks = chunks(searcher);
    let doc_freqs: Vec<u64> = question
        .terms
        .iter()
        .map(|(kind, text)| {
            let term = Term::from_field_text(fields.of_kind(*kind), text);
            Ok(searcher.doc_freq(&term)?.min(chunks))
        })
        .collect::<tantivy::Result<_>>()?;
    let mut query = question.weighed(&doc_freqs, chunks);
    for term in &mut query.terms {
        term.tokens = searcher.total_num_tokens(fields.of_kind(term.kind))?;
    }
    Ok(query)
}

/// The `limit` best chunks with their BM25 scores, best first, of those that are wanted.
pub(crate) fn top(
    searcher: &Searcher,
    fields: &Fields,
    query: &LexicalQuery,
    limit: usize,
    is_wanted: impl Fn(DocAddress) -> bool,
) -> tantivy::Result<Vec<(f32, DocAddress)>> {
    let mut best: Vec<(f32, DocAddress)> = Vec::with_capacity(limit + 1);
    if query.terms.is_empty() || limit == 0 {
        return Ok(best);
    }
    let weight = weight(searcher, fields, query)?;
    // Carried across segments: later hits must beat those found so far.
    let mut floor = f32::MIN;
    for (ordinal, segment) in (0..).zip(searcher.segment_readers()) {
        let alive = segment.alive_bitset();
        weight.for_each_pruning(floor, segment, &mut |doc, score| {
            let is_alive = |doc| alive.is_none_or(|alive| alive.is_alive(doc));
            let address = DocAddress::new(ordinal, doc);
            if score > floor && is_alive(doc) && is_wanted(address) {
                // After equal scores, to keep index order on ties.
                let at = best.partition_point(|&(other, _)| other >= score);
                best.insert(at, (score, address));
                best.truncate(limit);
                if best.len() == limit {
                    floor = best[limit - 1].0;
                }
            }
            floor
        })?;
    }
    Ok(best)
}

/// BM25 scores of `chunks`, in the same order; 0 if no term occurs.
pub(crate) fn scores(
    searcher: &Searcher,
    fields: &Fields,
    query: &LexicalQuery,
    chunks: &[DocAddress],
) -> tantivy::Result<Vec<f32>> {
    let mut scores = vec![0.0; chunks.len()];
    if query.terms.is_empty() {
        return Ok(scores);
    }
    let weight = weight(searcher, fields, query)?;
    // A segment's scorer only moves forward.
    let mut order: Vec<usize> = (0..chunks.len()).collect();
    order.sort_by_key(|&i| chunks[i]);
    for group in order.chunk_by(|&a, &b| chunks[a].segment_ord == chunks[b].segment_ord) {
        let segment = searcher.segment_reader(chunks[group[0]].segment_ord);
        let mut cursor = weight.scorer(segment, 1.0)?;
        for &i in group {
            let wanted = chunks[i].doc_id;
            let mut at = cursor.doc();
            if at < wanted {
                at = cursor.seek(wanted);
            }
            if at == TERMINATED {
                break;
            }
            if at == wanted {
                scores[i] = cursor.score();
            }
        }
    }
    Ok(scores)
}

fn weight(
    searcher: &Searcher,
    fields: &Fields,
    query: &LexicalQuery,
) -> tantivy::Result<Box<dyn Weight>> {
    let counted = |term: &QueryTerm| Counted {
        term: Term::from_field_text(fields.of_kind(term.kind), &term.text),
        doc_freq: term.doc_freq,
        tokens: term.tokens,
    };
    let terms: Vec<Counted> = query.terms.iter().map(counted).collect();
    let clause = |counted: &Counted| -> Box<dyn Query> {
        Box::new(TermQuery::new(counted.term.clone(), IndexRecordOption::WithFreqs))
    };
    let union = BooleanQuery::union(terms.iter().map(clause).collect());
    let counts = Counts { searcher, terms: &terms, chunks: query.chunks };
    union.weight(EnableScoring::enabled_from_statistics_provider(&counts, searcher))
}

/// A term of the query, with what was counted for it.
struct Counted {
    term: Term,
    doc_freq: u64,
    tokens: u64,
}

/// Statistics for BM25 as they were counted for the query: of this index, or of several that are asked
/// as one.
struct Counts<'a> {
    searcher: &'a Searcher,
    terms: &'a [Counted],
    chunks: u64,
}

impl Bm25StatisticsProvider for Counts<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let counted = self.terms.iter().find(|counted| counted.term.field() == field);
        counted.map_or_else(|| self.searcher.total_num_tokens(field), |counted| Ok(counted.tokens))
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.chunks)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let counted = self.terms.iter().find(|counted| counted.term == *term);
        counted.map_or_else(|| self.searcher.doc_freq(term), |counted| Ok(counted.doc_freq))
    }
}

/// Includes deleted chunks until their segment is merged, like tantivy's document frequencies.
fn chunks(searcher: &Searcher) -> u64 {
    searcher.segment_readers().iter().map(|segment| u64::from(segment.max_doc())).sum()
}
