//! The lexical side: tantivy's schema, and BM25 for one question.

use std::collections::BTreeSet;

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, EnableScoring, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};
use tantivy::{DocAddress, DocSet, Searcher, TERMINATED, Term};

use super::analyze::{Marks, TermTokenizer, is_unmarked, terms};

/// BM25's k1, as tantivy has it (Robertson and Zaragoza 2009, 3.1); b is 0.75.
const K1: f32 = 1.2;

/// A question asks for no more different terms than this; the rest is ignored.
const MAX_QUERY_TERMS: usize = 1024;

/// Handles of the schema's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// Identity of the document that the chunk is part of.
    pub document: Field,
    /// Heading and text, marks kept.
    pub exact: Field,
    /// Heading and text, marks folded.
    pub folded: Field,
    /// Row of the chunk in the vector file.
    pub row: Field,
    /// The [`super::Passage`] as JSON.
    pub passage: Field,
}

pub(super) fn schema() -> (Schema, Fields) {
    let text = |tokenizer: &str| {
        TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer(tokenizer)
                .set_index_option(IndexRecordOption::WithFreqs),
        )
    };
    let mut schema = Schema::builder();
    let fields = Fields {
        document: schema.add_text_field("document", STRING),
        exact: schema.add_text_field("exact", text("exact")),
        folded: schema.add_text_field("folded", text("folded")),
        row: schema.add_u64_field("row", FAST),
        passage: schema.add_text_field("passage", STORED),
    };
    (schema.build(), fields)
}

pub(super) fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register("exact", TextAnalyzer::from(TermTokenizer(Marks::Kept)));
    manager.register("folded", TextAnalyzer::from(TermTokenizer(Marks::Folded)));
    manager
}

/// A question as BM25 sees it.
pub struct LexicalQuery {
    query: BooleanQuery,
    field: Field,
    marks: Marks,
    searcher: Searcher,
    best_possible: f32,
}

impl LexicalQuery {
    pub(super) fn new(
        searcher: Searcher,
        fields: &Fields,
        question: &str,
    ) -> tantivy::Result<Self> {
        // A question typed without marks is compared without marks.
        let (field, marks) = if is_unmarked(question) {
            (fields.folded, Marks::Folded)
        } else {
            (fields.exact, Marks::Kept)
        };
        // Sorted and unique: the same question gives the same sum, bit for bit.
        let unique: BTreeSet<String> = terms(question, marks).into_iter().collect();
        let mut clauses: Vec<Box<dyn Query>> = Vec::new();
        let mut best_possible = 0.0;
        for term in unique.iter().take(MAX_QUERY_TERMS) {
            let term = Term::from_field_text(field, term);
            best_possible += idf(&searcher, &term)? * (K1 + 1.0);
            clauses.push(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)));
        }
        Ok(Self { query: BooleanQuery::union(clauses), field, marks, searcher, best_possible })
    }

    /// The `limit` best chunks and their BM25 scores, best first.
    pub(super) fn top(&self, limit: usize) -> tantivy::Result<Vec<(f32, DocAddress)>> {
        if self.query.clauses().is_empty() {
            return Ok(Vec::new());
        }
        self.searcher.search(&self.query, &TopDocs::with_limit(limit).order_by_score())
    }

    /// BM25 scores of the given chunks, in their order; 0 where no term occurs.
    pub(super) fn scores(&self, chunks: &[DocAddress]) -> tantivy::Result<Vec<f32>> {
        let mut scores = vec![0.0; chunks.len()];
        if self.query.clauses().is_empty() {
            return Ok(scores);
        }
        let weight = self.query.weight(EnableScoring::enabled_from_searcher(&self.searcher))?;
        let mut order: Vec<usize> = (0..chunks.len()).collect();
        order.sort_by_key(|&i| chunks[i]);
        for group in order.chunk_by(|&a, &b| chunks[a].segment_ord == chunks[b].segment_ord) {
            let segment = self.searcher.segment_reader(chunks[group[0]].segment_ord);
            let mut scorer = weight.scorer(segment, 1.0)?;
            for &i in group {
                let wanted = chunks[i].doc_id;
                let mut at = scorer.doc();
                if at < wanted {
                    at = scorer.seek(wanted);
                }
                if at == TERMINATED {
                    break;
                }
                if at == wanted {
                    scores[i] = scorer.score();
                }
            }
        }
        Ok(scores)
    }

    /// The highest BM25 score that any text could reach for this question: Σ idf · (k1 + 1).
    ///
    /// A score as a share of it says how much of the question's weight the text covers. It is
    /// near zero where the words do not occur, so in a fusion it steps back by itself when
    /// question and documents are in different languages.
    pub fn best_possible(&self) -> f32 {
        self.best_possible
    }

    /// Inverse document frequency of `word`'s first term in the field that the question uses.
    pub fn word_idf(&self, word: &str) -> f32 {
        let Some(term) = terms(word, self.marks).into_iter().next() else { return 0.0 };
        idf(&self.searcher, &Term::from_field_text(self.field, &term)).unwrap_or(0.0)
    }

    /// The share of the question's idf weight whose words and pairs occur in `text`, 0 to 1.
    pub fn coverage(&self, question: &str, text: &str) -> f32 {
        let present: BTreeSet<String> = terms(text, self.marks).into_iter().collect();
        let asked: BTreeSet<String> = terms(question, self.marks).into_iter().collect();
        let (mut covered, mut total) = (0.0, 0.0);
        for term in asked.iter().take(MAX_QUERY_TERMS) {
            let weight =
                idf(&self.searcher, &Term::from_field_text(self.field, term)).unwrap_or(0.0);
            total += weight;
            if present.contains(term) {
                covered += weight;
            }
        }
        if total > 0.0 { covered / total } else { 0.0 }
    }
}

/// ln(1 + (N − n + ½) / (n + ½)), as tantivy's BM25 has it.
fn idf(searcher: &Searcher, term: &Term) -> tantivy::Result<f32> {
    // Deleted chunks count until their segment is merged, as they do in tantivy's own scores.
    let chunks: u64 = searcher.segment_readers().iter().map(|s| u64::from(s.max_doc())).sum();
    let holding = searcher.doc_freq(term)?;
    let x = (chunks.saturating_sub(holding) as f32 + 0.5) / (holding as f32 + 0.5);
    Ok((1.0 + x).ln())
}
