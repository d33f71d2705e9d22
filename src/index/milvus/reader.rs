//! Reading: the server finds candidates, and the client scores them as for a directory index.
//!
//! The server reports how well a chunk matches all terms of a question, but not each term's
//! document frequency. So the same round trip also asks for the best chunk for each term alone. Its
//! BM25 score is the term's idf times a factor that depends only on the chunk's text; dividing by
//! it gives the idf, and from that the document frequency.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use milvus::v2::error::Result as Answered;
use milvus::v2::request::dql::SearchRequest;
use milvus::v2::types::{ConsistencyLevel, SearchVectors};

use super::address::Address;
use super::bm25;
use super::chunks::{self, ChunkRow, SCORED, TokenVectors};
use super::error::MilvusError;
use super::keys::document_key;
use super::names::CollectionNames;
use super::requests::one_of;
use super::server::Server;
use super::statistics::Statistics;
use super::terms::{KINDS, word};
use crate::embedding::codes::Coder;
use crate::embedding::dot;
use crate::index::api::best_first;
use crate::index::lexical::QuestionTerms;
use crate::index::{
    ChunkId, Index, IndexError, Ledger, LexicalQuery, Notify, Passage, Searched, Settings, Shard,
    StoredChunk,
};
use crate::text::analyze::{TermKind, terms};

/// Terms per message.
const MAX_WORDS: usize = 256;
/// Rows cached for later questions; when exceeded, the cache is cleared.
const MAX_KEPT: usize = 4096;
/// HNSW's `ef`, the breadth of the graph search; never below the number of hits. docs/milvus.md
/// cites the recall published for this value.
const MIN_EF: usize = 256;
/// Documents named in one filter: about 160 KB of text. More are asked about in several searches.
const MAX_SELECTED: usize = 8192;

/// Opens the index at `address` for reading.
pub fn open(address: &Address, notify: &Notify) -> Result<Box<dyn Index>, IndexError> {
    Ok(Box::new(MilvusIndex::open(address, notify)?))
}

/// An index on a server, opened for reading.
pub struct MilvusIndex {
    pub server: Server,
    pub names: CollectionNames,
    settings: Settings,
    coder: Option<Coder>,
    chunks: usize,
    statistics: Statistics,
    selected: Option<Selected>,
    rows: Mutex<HashMap<i64, Arc<ChunkRow>>>,
}

/// The part of an index that is searched.
struct Selected {
    /// Keys of its documents.
    documents: HashSet<i64>,
    /// Filters that between them take every chunk of it once.
    filters: Vec<String>,
    chunks: usize,
}

impl MilvusIndex {
    /// Connects and reads the index's settings.
    pub fn open(address: &Address, notify: &Notify) -> Result<Self, IndexError> {
        let server = Server::connect(address, notify)?;
        let (names, settings) = server.existing()?;
        server.load(&names, Some(&settings))?;
        let chunks = server.chunk_count(&names)?;
        let statistics = match server.statistics(&names)? {
            Some(statistics) => statistics,
            // The first writer is still running, or was stopped early.
            None => Statistics::sample(&server, &names, &settings)?,
        };
        let coder = server.coder(&settings)?;
        let (selected, rows) = (None, Mutex::default());
        Ok(Self { server, names, settings, coder, chunks, statistics, selected, rows })
    }

    /// The rows of `chunks`; those not cached are fetched from the server.
    fn rows(&self, chunks: &[ChunkId]) -> Result<Vec<Arc<ChunkRow>>, IndexError> {
        let id = |chunk: &ChunkId| chunk.key.cast_signed();
        let missing: Vec<i64> = {
            let kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            chunks.iter().map(id).filter(|id| !kept.contains_key(id)).collect()
        };
        if !missing.is_empty() {
            self.keep(self.server.chunks(&self.names, &missing)?);
        }
        let kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |chunk| {
            kept.get(&id(chunk)).cloned().ok_or_else(|| {
                self.server.damaged(format!("chunk {} was removed in the meantime", chunk.key))
            })
        };
        chunks.iter().map(row).collect()
    }

    /// Clears the row cache if it has grown too large. Called only between questions, so that a
    /// question's rows stay cached until it is answered.
    fn limit_kept(&self) {
        let mut kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() > MAX_KEPT {
            kept.clear();
        }
    }

    fn keep(&self, rows: Vec<ChunkRow>) {
        let mut kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(rows.into_iter().map(|row| (row.id, Arc::new(row))));
    }

    /// The nearest chunks to a vector or text among those selected: at least the `limit` best.
    async fn nearest_selected(
        &self,
        field: &str,
        vectors: &SearchVectors,
        limit: usize,
    ) -> Result<Vec<ChunkRow>, MilvusError> {
        let everything = [String::new()];
        let filters = self.selected.as_ref().map_or(&everything[..], |it| &it.filters);
        let mut found = Vec::new();
        for filter in filters {
            found.extend(self.nearest(field, vectors, filter, limit).await?.into_iter().flatten());
        }
        Ok(found.into_iter().map(|(row, _)| row).collect())
    }

    /// The nearest chunks to each vector or text that `filter` takes, with the server's scores.
    async fn nearest(
        &self,
        field: &str,
        vectors: &SearchVectors,
        filter: &str,
        limit: usize,
    ) -> Result<Vec<Vec<(ChunkRow, f32)>>, MilvusError> {
        let collection = &self.names.chunks();
        let params: HashMap<String, String> = match field {
            "dense" => HashMap::from([("ef".to_owned(), MIN_EF.max(limit).to_string())]),
            _ => HashMap::new(),
        };
        let params = &params;
        self.server
            .answer_from(collection, "search", |client| async move {
                let request = SearchRequest::builder()
                    .collection_name(collection)
                    .vector_field(field)
                    .vectors(vectors.clone())
                    .filter(filter)
                    .output_fields(SCORED)
                    .limit(i64::try_from(limit.max(1)).unwrap_or(i64::MAX))
                    .extra_params(params.clone())
                    .consistency_level(ConsistencyLevel::Bounded)
                    .build()?;
                let found = client.search(request).await?;
                let rows = found.results().iter().map(|hits| {
                    let rows = chunks::rows(hits.get_output_fields())?;
                    Ok(rows.into_iter().zip(hits.get_scores().iter().copied()).collect())
                });
                rows.collect::<Answered<Vec<Vec<(ChunkRow, f32)>>>>()
            })
            .await
    }

    /// Document frequency of each term.
    async fn doc_freqs(&self, terms: &[(TermKind, String)]) -> Result<Vec<u64>, MilvusError> {
        let mut doc_freqs = Vec::with_capacity(terms.len());
        for asked in terms.chunks(MAX_WORDS) {
            let words = asked.iter().map(|(kind, term)| word(*kind, term)).collect();
            let found = self.nearest("sparse", &SearchVectors::EmbeddedText(words), "", 1).await?;
            let mut found = found.into_iter();
            for (kind, term) in asked {
                let best = found.next().and_then(|hits| hits.into_iter().next());
                let doc_freq =
                    |(row, score): (ChunkRow, f32)| self.doc_freq(*kind, term, &row.passage, score);
                doc_freqs.push(best.map_or(0, doc_freq));
            }
        }
        Ok(doc_freqs)
    }

    /// Document frequency of a term, given the chunk that scores best for it.
    fn doc_freq(&self, kind: TermKind, term: &str, best: &Passage, score: f32) -> u64 {
        let text = best.text_to_search();
        let occurrences = count(&terms(&text, kind), term);
        let length: usize = KINDS.iter().map(|&kind| terms(&text, kind).len()).sum();
        let mean: f32 = self.statistics.lengths.iter().sum();
        // milvus-lite returns distances, which decrease as scores increase.
        let idf = score.abs() / bm25::saturation(occurrences, length, mean).max(f32::MIN_POSITIVE);
        bm25::doc_freq(idf, self.chunks as u64)
    }

    /// BM25 of a text.
    fn score(&self, query: &LexicalQuery, text: &str) -> f32 {
        bm25::score(query, text, |kind| {
            let at = KINDS.iter().position(|&other| other == kind).unwrap_or(0);
            self.statistics.lengths[at]
        })
    }
}

fn count(terms: &[String], term: &str) -> usize {
    terms.iter().filter(|other| *other == term).count()
}

impl Index for MilvusIndex {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn chunk_count(&self) -> usize {
        self.selected.as_ref().map_or(self.chunks, |selected| selected.chunks)
    }

    fn document_count(&self) -> Result<usize, IndexError> {
        self.server.document_count(&self.names)
    }

    fn ledger(&self) -> Result<Ledger, IndexError> {
        self.server.ledger(&self.names, Shard::WHOLE)
    }

    fn select(&mut self, documents: &[&str]) -> Result<usize, IndexError> {
        let keys: Vec<i64> = documents.iter().map(|document| document_key(document)).collect();
        let filters = keys.chunks(MAX_SELECTED).map(|keys| one_of("document_key", keys));
        let filters: Vec<String> = filters.collect();
        let count = |filter: &String| self.server.count(&self.names.chunks(), filter);
        let chunks = filters.iter().map(count).sum::<Result<usize, IndexError>>()?;
        let documents = keys.into_iter().collect();
        self.selected = Some(Selected { documents, filters, chunks });
        Ok(chunks)
    }

    fn search(&self, question: &str, query: &[f32], limit: usize) -> Result<Searched, IndexError> {
        let question = QuestionTerms::of(question);
        let words = question.terms.iter().map(|(kind, term)| word(*kind, term));
        let words: Vec<String> = words.collect();
        let dense = SearchVectors::Float(vec![query.to_vec()]);
        let text = SearchVectors::EmbeddedText(vec![words.join(" ")]);
        let start = Instant::now();
        let limit = if self.chunk_count() == 0 { 0 } else { limit };
        let by_word = async {
            if words.is_empty() {
                return Ok(Vec::new());
            }
            self.nearest_selected("sparse", &text, limit).await
        };
        // All three concurrently, in one round trip.
        let (near, matching, doc_freqs) = self.server.wait(async {
            let by_vector = self.nearest_selected("dense", &dense, limit);
            tokio::join!(by_vector, by_word, self.doc_freqs(&question.terms))
        });
        let took = start.elapsed();
        let lexical = question.weighed(&doc_freqs?, self.chunks as u64);
        let take = |rows: Vec<ChunkRow>| -> Vec<ChunkId> {
            let ids = rows.iter().map(|row| ChunkId::new(row.id.cast_unsigned())).collect();
            self.keep(rows);
            ids
        };
        self.limit_kept();
        let (near, matching) = (take(near?), take(matching?));
        let cosines = self.cosines(&near, query)?;
        let scores = self.bm25_of(&lexical, &matching)?;
        Ok(Searched {
            nearest: best(near, cosines, limit),
            matching: best(matching, scores, limit),
            lexical,
            dense: took,
            // Included in the same round trip.
            bm25: Duration::ZERO,
        })
    }

    fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError> {
        let question = QuestionTerms::of(question);
        let doc_freqs = self.server.wait(self.doc_freqs(&question.terms))?;
        Ok(question.weighed(&doc_freqs, self.chunks as u64))
    }

    fn bm25_of(&self, query: &LexicalQuery, chunks: &[ChunkId]) -> Result<Vec<f32>, IndexError> {
        let rows = self.rows(chunks)?;
        Ok(rows.iter().map(|row| self.score(query, &row.passage.text_to_search())).collect())
    }

    fn cosines(&self, chunks: &[ChunkId], query: &[f32]) -> Result<Vec<f32>, IndexError> {
        let cosine = |row: &Arc<ChunkRow>| dot(&row.vector, query);
        Ok(self.rows(chunks)?.iter().map(cosine).collect())
    }

    fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError> {
        Ok(self.rows(&[chunk])?[0].passage.clone())
    }

    fn document(&self, id: &str) -> Result<Vec<Passage>, IndexError> {
        let chunks = self.server.chunks_of(&self.names, &[document_key(id)])?;
        let keys: Vec<i64> = chunks.into_iter().map(|(_, tokens)| tokens.chunk).collect();
        let rows = self.server.chunks(&self.names, &keys)?;
        let mut passages: Vec<Passage> = rows.into_iter().map(|row| row.passage).collect();
        passages.sort_by_key(|passage| passage.span);
        Ok(passages)
    }

    fn coder(&self) -> Option<&Coder> {
        self.coder.as_ref()
    }

    fn tokens(&self, chunks: &[ChunkId]) -> Result<Vec<Cow<'_, [u8]>>, IndexError> {
        let rows = self.rows(chunks)?;
        let tokens: Vec<TokenVectors> = rows.iter().map(|row| row.token_vectors()).collect();
        let coded = self.server.tokens_of(&self.names, &tokens)?;
        Ok(coded.into_iter().map(Cow::from).collect())
    }

    fn mean_token_vector(&self) -> Result<Vec<f32>, IndexError> {
        let mut mean = self.statistics.mean_token.clone();
        mean.resize(self.settings.embedder.dimension, 0.0);
        Ok(mean)
    }

    fn each_chunk(
        &self,
        take: &mut dyn FnMut(StoredChunk) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError> {
        let is_selected = |row: &ChunkRow| {
            self.selected.as_ref().is_none_or(|selected| selected.documents.contains(&row.document))
        };
        self.server.each_page(&self.names, &mut |mut rows| {
            rows.retain(is_selected);
            let tokens: Vec<TokenVectors> = rows.iter().map(ChunkRow::token_vectors).collect();
            let tokens = self.server.tokens_of(&self.names, &tokens)?;
            for (row, tokens) in rows.into_iter().zip(tokens) {
                let chunk = StoredChunk { passage: row.passage, vector: row.vector, tokens };
                if take(chunk)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// The `limit` best chunks with their scores, best first.
fn best(chunks: Vec<ChunkId>, scores: Vec<f32>, limit: usize) -> Vec<(ChunkId, f32)> {
    let mut hits: Vec<(ChunkId, f32)> = chunks.into_iter().zip(scores).collect();
    hits.sort_unstable_by(best_first);
    hits.truncate(limit);
    hits
}
