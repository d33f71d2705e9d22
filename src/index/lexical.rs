//! The lexical side: tantivy's schema, and BM25 for one question.

use std::collections::BTreeSet;
#[cfg(feature = "milvus")]
use std::collections::HashMap;

use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, EnableScoring, Query, TermQuery, Weight,
};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};
use tantivy::{DocAddress, DocSet, Searcher, TERMINATED, Term};

use crate::text::analyze::{TermKind, TermTokenizer, is_unmarked, terms};

/// BM25's k1, as tantivy has it (Robertson and Zaragoza 2009, 3.1); b is 0.75.
const K1: f32 = 1.2;

/// A question asks for no more different terms than this; the rest is ignored.
const MAX_QUERY_TERMS: usize = 1024;

/// Handles of the schema's fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// Identity of the document that the chunk is part of.
    pub document: Field,
    /// Words of heading and text, marks kept.
    pub exact: Field,
    /// The same, marks folded.
    pub folded: Field,
    /// Pairs of them, marks folded.
    pub pairs: Field,
    /// Row of the chunk in the vector file.
    pub row: Field,
    /// The [`super::Passage`] as JSON.
    pub passage: Field,
}

pub(crate) fn schema() -> (Schema, Fields) {
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
        pairs: schema.add_text_field("pairs", text("pairs")),
        row: schema.add_u64_field("row", FAST),
        passage: schema.add_text_field("passage", STORED),
    };
    (schema.build(), fields)
}

pub(crate) fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    for (name, kind) in
        [("exact", TermKind::Exact), ("folded", TermKind::Folded), ("pairs", TermKind::Pairs)]
    {
        manager.register(name, TextAnalyzer::from(TermTokenizer(kind)));
    }
    manager
}

/// A question as BM25 sees it.
pub struct LexicalQuery {
    /// Sorted and unique: the same question gives the same sum, bit for bit.
    terms: Vec<AskedTerm>,
    /// What the words are compared as.
    words: TermKind,
    /// How tantivy scores it; absent where something else does.
    tantivy: Option<Tantivy>,
}

struct Tantivy {
    weight: Box<dyn Weight>,
    searcher: Searcher,
}

/// A term of a question.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct AskedTerm {
    kind: TermKind,
    text: String,
    /// Chunks that have it, of all.
    holding: u64,
    chunks: u64,
}

/// The different terms of a question, in order, and what its words are compared as.
pub(crate) fn asked(question: &str) -> (Vec<(TermKind, String)>, TermKind) {
    // A question typed without marks is compared without marks.
    let words = if is_unmarked(question) { TermKind::Folded } else { TermKind::Exact };
    let unique = |kind| terms(question, kind).into_iter().collect::<BTreeSet<String>>();
    let of_kind = |kind| unique(kind).into_iter().map(move |text| (kind, text));
    (of_kind(words).chain(of_kind(TermKind::Pairs)).take(MAX_QUERY_TERMS).collect(), words)
}

impl AskedTerm {
    /// ln(1 + (N − n + ½) / (n + ½)), as tantivy's BM25 has it.
    fn idf(&self) -> f32 {
        let x = ((self.chunks - self.holding) as f32 + 0.5) / (self.holding as f32 + 0.5);
        (1.0 + x).ln()
    }
}

/// The counts that BM25 asks for, each looked up once.
struct Statistics<'a> {
    searcher: &'a Searcher,
    counts: Vec<(&'a Term, u64)>,
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.searcher.total_num_tokens(field)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(chunks(self.searcher))
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let counted = self.counts.iter().find(|(counted, _)| *counted == term);
        counted.map_or_else(|| self.searcher.doc_freq(term), |&(_, holding)| Ok(holding))
    }
}

/// Deleted chunks count until their segment is merged, as they do in the counts of terms.
fn chunks(searcher: &Searcher) -> u64 {
    searcher.segment_readers().iter().map(|segment| u64::from(segment.max_doc())).sum()
}

impl LexicalQuery {
    pub(crate) fn new(
        searcher: Searcher,
        fields: &Fields,
        question: &str,
    ) -> tantivy::Result<Self> {
        let (asked, words) = asked(question);
        let chunks = chunks(&searcher);
        let term = |&(kind, ref text): &(TermKind, String)| {
            let field = match kind {
                TermKind::Exact => fields.exact,
                TermKind::Folded => fields.folded,
                TermKind::Pairs => fields.pairs,
            };
            Term::from_field_text(field, text)
        };
        let tantivy_terms: Vec<Term> = asked.iter().map(term).collect();
        let holding: Vec<u64> = tantivy_terms
            .iter()
            .map(|term| Ok(searcher.doc_freq(term)?.min(chunks)))
            .collect::<tantivy::Result<_>>()?;
        let clause = |term: &Term| -> Box<dyn Query> {
            Box::new(TermQuery::new(term.clone(), IndexRecordOption::WithFreqs))
        };
        let query = BooleanQuery::union(tantivy_terms.iter().map(clause).collect());
        let counts = tantivy_terms.iter().zip(holding.iter().copied()).collect();
        let statistics = Statistics { searcher: &searcher, counts };
        let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &searcher);
        let weight = query.weight(scoring)?;
        let tantivy = Some(Tantivy { weight, searcher });
        Ok(Self { tantivy, ..Self::counted(asked, words, &holding, chunks) })
    }

    /// A query for an index that is not tantivy's: `asked` and `words` are [`asked`]'s, `holding`
    /// how many of the `chunks` have each term.
    pub(crate) fn counted(
        asked: Vec<(TermKind, String)>,
        words: TermKind,
        holding: &[u64],
        chunks: u64,
    ) -> Self {
        let counted = asked.into_iter().zip(holding);
        let terms = counted
            .map(|((kind, text), &holding)| AskedTerm { kind, text, holding, chunks })
            .collect();
        Self { terms, words, tantivy: None }
    }

    /// The `limit` best chunks and their BM25 scores, best first.
    pub(crate) fn top(&self, limit: usize) -> tantivy::Result<Vec<(f32, DocAddress)>> {
        let mut best: Vec<(f32, DocAddress)> = Vec::with_capacity(limit + 1);
        let Some(Tantivy { weight, searcher }) = &self.tantivy else { return Ok(best) };
        if self.terms.is_empty() || limit == 0 {
            return Ok(best);
        }
        // What one segment has found is what the next has to beat.
        let mut floor = f32::MIN;
        for (ordinal, segment) in (0..).zip(searcher.segment_readers()) {
            let alive = segment.alive_bitset();
            weight.for_each_pruning(floor, segment, &mut |doc, score| {
                if score > floor && alive.is_none_or(|alive| alive.is_alive(doc)) {
                    // Behind its equals: they are earlier in the index.
                    let at = best.partition_point(|&(other, _)| other >= score);
                    best.insert(at, (score, DocAddress::new(ordinal, doc)));
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

    /// BM25 scores of the given chunks, in their order; 0 where no term occurs.
    pub(crate) fn scores(&self, chunks: &[DocAddress]) -> tantivy::Result<Vec<f32>> {
        let mut scores = vec![0.0; chunks.len()];
        let Some(Tantivy { weight, searcher }) = &self.tantivy else { return Ok(scores) };
        if self.terms.is_empty() {
            return Ok(scores);
        }
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

    /// BM25 of a text by itself; `mean` tells how many terms of a kind a chunk has. The same as
    /// [`Self::scores`], whose lengths are rounded.
    #[cfg(feature = "milvus")]
    pub(crate) fn score(&self, text: &str, mean: impl Fn(TermKind) -> f32) -> f32 {
        const B: f32 = 0.75;
        let counted = [self.words, TermKind::Pairs].map(|kind| {
            let mut counts: HashMap<String, u32> = HashMap::new();
            let terms = terms(text, kind);
            let norm = if mean(kind) > 0.0 { terms.len() as f32 / mean(kind) } else { 1.0 };
            terms.into_iter().for_each(|term| *counts.entry(term).or_default() += 1);
            (counts, K1 * (1.0 - B + B * norm))
        });
        let score = |asked: &AskedTerm| {
            let (counts, norm) = &counted[usize::from(asked.kind == TermKind::Pairs)];
            let occurrences = counts.get(&asked.text).map_or(0.0, |&count| count as f32);
            asked.idf() * occurrences * (K1 + 1.0) / (occurrences + norm)
        };
        self.terms.iter().map(score).sum()
    }

    /// A BM25 score that no text exceeds for this question: Σ idf · (k1 + 1).
    ///
    /// A score as a share of it says how much of the question's weight the text covers. It is
    /// near zero where the words do not occur, so in a fusion it steps back by itself when
    /// question and documents are in different languages.
    pub fn best_possible(&self) -> f32 {
        self.terms.iter().map(|asked| asked.idf() * (K1 + 1.0)).sum()
    }

    /// Inverse document frequency of `word`'s first term; 0 for a word that the question lacks.
    pub fn word_idf(&self, word: &str) -> f32 {
        let Some(term) = terms(word, self.words).into_iter().next() else { return 0.0 };
        let asked = self.terms.iter().find(|asked| asked.kind == self.words && asked.text == term);
        asked.map_or(0.0, AskedTerm::idf)
    }

    /// The share of the question's idf weight whose words and pairs occur in `text`, 0 to 1.
    pub fn coverage(&self, text: &str) -> f32 {
        let [words, pairs] =
            [self.words, TermKind::Pairs].map(|kind| BTreeSet::from_iter(terms(text, kind)));
        let (mut covered, mut total) = (0.0, 0.0);
        for asked in &self.terms {
            let present = if asked.kind == TermKind::Pairs { &pairs } else { &words };
            total += asked.idf();
            if present.contains(&asked.text) {
                covered += asked.idf();
            }
        }
        if total > 0.0 { covered / total } else { 0.0 }
    }
}
