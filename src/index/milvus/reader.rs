//! Reading: the server brings candidates, and they are scored here, as those of a directory are.
//!
//! A server says how well a chunk matches all words of a question, and not how rare each word is.
//! That is asked as well, in the same round trip: each word alone, for its best chunk. BM25 of one
//! word is its idf times what that chunk's text alone decides, so that the idf follows, and from it
//! the number of chunks that have the word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use milvus::v2::error::Result as Answered;
use milvus::v2::request::dql::SearchRequest;
use milvus::v2::types::{ConsistencyLevel, SearchVectors};

use super::address::Address;
use super::schema::{self, B, K1, Names, Row, SCORED, Statistics, unpack};
use super::server::Server;
use super::terms::{KINDS, word};
use crate::embedding::dot;
use crate::index::directory::nearest::best_first;
use crate::index::lexical::asked;
use crate::index::{
    ChunkId, Index, IndexError, Ledger, LexicalQuery, Notify, Passage, Searched, Settings,
    StoredChunk,
};
use crate::text::analyze::{TermKind, terms};

/// Words that are asked about in one message.
const WORDS: usize = 256;
/// Rows that are kept for the questions to come; more are forgotten.
const KEPT: usize = 4096;
/// Chunks whose text is measured, and chunks whose token vectors are, for the statistics.
const SAMPLE: (usize, usize) = (512, 64);
/// How thoroughly the graph of vectors is searched: at least the number of hits.
const EF: usize = 256;

/// Opens the index at `address` for reading.
pub fn open(address: &Address, notify: &Notify) -> Result<Box<dyn Index>, IndexError> {
    Ok(Box::new(MilvusIndex::open(address, notify)?))
}

/// An index on a server.
pub struct MilvusIndex {
    pub server: Server,
    pub names: Names,
    settings: Settings,
    chunks: usize,
    statistics: Statistics,
    rows: Mutex<HashMap<i64, Arc<Row>>>,
}

impl MilvusIndex {
    /// Connects, and reads what the index was built with.
    pub fn open(address: &Address, notify: &Notify) -> Result<Self, IndexError> {
        let server = Server::connect(address, notify)?;
        let (names, settings) = server.existing()?;
        server.load(&names, Some(&settings))?;
        let chunks = server.chunk_count(&names)?;
        let statistics = match server.statistics(&names)? {
            Some(statistics) => statistics,
            // Its first writer is still at work, or was stopped.
            None => sample(&server, &names, &settings)?,
        };
        Ok(Self { server, names, settings, chunks, statistics, rows: Mutex::default() })
    }

    /// Rows by chunk, those that are not here yet from the server.
    fn rows(&self, chunks: &[ChunkId]) -> Result<Vec<Arc<Row>>, IndexError> {
        let id = |chunk: &ChunkId| chunk.0.cast_signed();
        let lacking: Vec<i64> = {
            let kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            chunks.iter().map(id).filter(|id| !kept.contains_key(id)).collect()
        };
        if !lacking.is_empty() {
            self.keep(self.server.chunks(&self.names, &lacking)?, false);
        }
        let kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |chunk| {
            kept.get(&id(chunk)).cloned().ok_or_else(|| {
                self.server.damaged(format!("chunk {} was removed in the meantime", chunk.0))
            })
        };
        chunks.iter().map(row).collect()
    }

    fn keep(&self, rows: Vec<Row>, may_forget: bool) {
        let mut kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if may_forget && kept.len() > KEPT {
            kept.clear();
        }
        kept.extend(rows.into_iter().map(|row| (row.id, Arc::new(row))));
    }

    /// The nearest chunks to each vector or text, with the server's scores.
    async fn nearest(
        &self,
        field: &str,
        vectors: &SearchVectors,
        limit: usize,
    ) -> Result<Vec<Vec<(Row, f32)>>, IndexError> {
        let collection = &self.names.chunks();
        let params: HashMap<String, String> = match field {
            "dense" => HashMap::from([("ef".to_owned(), EF.max(limit).to_string())]),
            _ => HashMap::new(),
        };
        let params = &params;
        self.server
            .answer_from(collection, "search", |client| async move {
                let request = SearchRequest::builder()
                    .collection_name(collection)
                    .vector_field(field)
                    .vectors(vectors.clone())
                    .output_fields(SCORED)
                    .limit(i64::try_from(limit.max(1)).unwrap_or(i64::MAX))
                    .extra_params(params.clone())
                    .consistency_level(ConsistencyLevel::Bounded)
                    .build()?;
                let found = client.search(request).await?;
                let rows = found.results().iter().map(|hits| {
                    let rows = schema::rows(hits.get_output_fields())?;
                    Ok(rows.into_iter().zip(hits.get_scores().iter().copied()).collect())
                });
                rows.collect::<Answered<Vec<Vec<(Row, f32)>>>>()
            })
            .await
    }

    /// How many chunks have each term.
    async fn holding(&self, terms: &[(TermKind, String)]) -> Result<Vec<u64>, IndexError> {
        let mut holding = Vec::with_capacity(terms.len());
        for asked in terms.chunks(WORDS) {
            let words = asked.iter().map(|(kind, term)| word(*kind, term)).collect();
            let found = self.nearest("sparse", &SearchVectors::EmbeddedText(words), 1).await?;
            let mut found = found.into_iter();
            for (kind, term) in asked {
                let best = found.next().and_then(|hits| hits.into_iter().next());
                holding.push(
                    best.map_or(0, |(row, score)| {
                        self.holding_by(*kind, term, &row.passage, score)
                    }),
                );
            }
        }
        Ok(holding)
    }

    /// How many chunks have a term, given the one with the best score for it.
    fn holding_by(&self, kind: TermKind, term: &str, best: &Passage, score: f32) -> u64 {
        let text = best.text_to_embed();
        let occurrences = count(&terms(&text, kind), term);
        let length: usize = KINDS.iter().map(|&kind| terms(&text, kind).len()).sum();
        let mean: f32 = self.statistics.lengths.iter().sum();
        // milvus-lite gives distances, which fall as scores rise.
        let idf = score.abs() / saturation(occurrences, length, mean).max(f32::MIN_POSITIVE);
        holding_of(idf, self.chunks as u64)
    }

    /// BM25 of a text.
    fn score(&self, query: &LexicalQuery, text: &str) -> f32 {
        query.score(text, |kind| {
            let at = KINDS.iter().position(|&other| other == kind).unwrap_or(0);
            self.statistics.lengths[at]
        })
    }
}

/// How many of `chunks` have a term with this idf: ln(1 + x), x = (N − n + ½) / (n + ½).
fn holding_of(idf: f32, chunks: u64) -> u64 {
    let x = f64::from(idf).exp_m1();
    let holding = (chunks as f64 + 0.5 - 0.5 * x) / (1.0 + x);
    (holding.round() as u64).clamp(1, chunks.max(1))
}

fn count(terms: &[String], term: &str) -> usize {
    terms.iter().filter(|other| *other == term).count()
}

/// BM25's factor for a term that occurs `occurrences` times in a text of `length` terms.
fn saturation(occurrences: usize, length: usize, mean: f32) -> f32 {
    let occurrences = occurrences as f32;
    let norm = if mean > 0.0 { length as f32 / mean } else { 1.0 };
    occurrences * (K1 + 1.0) / (occurrences + K1 * (1.0 - B + B * norm))
}

/// Statistics from the chunks that come first: keys are hashes, so that these are any chunks.
pub fn sample(
    server: &Server,
    names: &Names,
    settings: &Settings,
) -> Result<Statistics, IndexError> {
    let chunks = server.chunk_count(names)?;
    let rows = server.first_chunks(names, SAMPLE.0)?;
    let mut lengths = [0f32; 3];
    for row in &rows {
        let text = row.passage.text_to_embed();
        for (sum, kind) in lengths.iter_mut().zip(KINDS) {
            *sum += terms(&text, kind).len() as f32;
        }
    }
    for sum in &mut lengths {
        *sum /= rows.len().max(1) as f32;
    }
    let dim = settings.embedder.dimension;
    let mut mean_token = vec![0f32; if settings.token_vectors { dim } else { 0 }];
    let with_tokens = rows.iter().filter(|row| row.token_bytes > 0).take(SAMPLE.1);
    let with_tokens: Vec<(i64, usize)> = with_tokens.map(|row| (row.id, row.token_bytes)).collect();
    let mut tokens = 0;
    for bytes in server.tokens_of(names, &with_tokens)? {
        for token in unpack(&bytes, dim) {
            for (sum, value) in mean_token.iter_mut().zip(token) {
                *sum += value;
            }
            tokens += 1;
        }
    }
    for sum in &mut mean_token {
        *sum /= tokens.max(1) as f32;
    }
    Ok(Statistics { lengths, mean_token, chunks })
}

impl Index for MilvusIndex {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn chunk_count(&self) -> usize {
        self.chunks
    }

    fn document_count(&self) -> Result<usize, IndexError> {
        self.server.document_count(&self.names)
    }

    fn ledger(&self) -> Result<Ledger, IndexError> {
        self.server.ledger(&self.names)
    }

    fn search(&self, question: &str, query: &[f32], limit: usize) -> Result<Searched, IndexError> {
        let (asked, kind) = asked(question);
        let words: Vec<String> = asked.iter().map(|(kind, term)| word(*kind, term)).collect();
        let dense = SearchVectors::Float(vec![query.to_vec()]);
        let text = SearchVectors::EmbeddedText(vec![words.join(" ")]);
        let start = Instant::now();
        let limit = if self.chunks == 0 { 0 } else { limit };
        let lexical = async {
            if words.is_empty() {
                return Ok(Vec::new());
            }
            self.nearest("sparse", &text, limit).await
        };
        // One round trip: all three are under way at once.
        let (near, matching, holding) = self.server.wait(async {
            tokio::join!(self.nearest("dense", &dense, limit), lexical, self.holding(&asked))
        });
        let took = start.elapsed();
        let lexical = LexicalQuery::counted(asked, kind, &holding?, self.chunks as u64);
        let take = |found: Vec<Vec<(Row, f32)>>| -> Vec<ChunkId> {
            let rows: Vec<Row> = found.into_iter().flatten().map(|(row, _)| row).collect();
            let ids = rows.iter().map(|row| ChunkId(row.id.cast_unsigned())).collect();
            self.keep(rows, false);
            ids
        };
        self.keep(Vec::new(), true);
        let (near, matching) = (take(near?), take(matching?));
        let cosines = self.cosines(&near, query)?;
        let scores = self.bm25_of(&lexical, &matching)?;
        Ok(Searched {
            nearest: best(near, cosines, limit),
            matching: best(matching, scores, limit),
            lexical,
            dense: took,
            // Within that of the other.
            bm25: Duration::ZERO,
        })
    }

    fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError> {
        let (asked, kind) = asked(question);
        let holding = self.server.wait(self.holding(&asked))?;
        Ok(LexicalQuery::counted(asked, kind, &holding, self.chunks as u64))
    }

    fn bm25_of(&self, query: &LexicalQuery, chunks: &[ChunkId]) -> Result<Vec<f32>, IndexError> {
        let rows = self.rows(chunks)?;
        Ok(rows.iter().map(|row| self.score(query, &row.passage.text_to_embed())).collect())
    }

    fn cosines(&self, chunks: &[ChunkId], query: &[f32]) -> Result<Vec<f32>, IndexError> {
        let cosine = |row: &Arc<Row>| dot(&row.vector, query);
        Ok(self.rows(chunks)?.iter().map(cosine).collect())
    }

    fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError> {
        Ok(self.rows(&[chunk])?[0].passage.clone())
    }

    fn token_vectors(
        &self,
        chunks: &[ChunkId],
        take: &mut dyn FnMut(Vec<Vec<f32>>),
    ) -> Result<(), IndexError> {
        let rows = self.rows(chunks)?;
        let sizes: Vec<(i64, usize)> = rows.iter().map(|row| (row.id, row.token_bytes)).collect();
        let packed = self.server.tokens_of(&self.names, &sizes)?;
        for tokens in packed {
            take(unpack(&tokens, self.settings.embedder.dimension));
        }
        Ok(())
    }

    fn mean_token_vector(&self) -> Result<Vec<f32>, IndexError> {
        let mut mean = self.statistics.mean_token.clone();
        mean.resize(self.settings.embedder.dimension, 0.0);
        Ok(mean)
    }

    fn each_chunk(
        &self,
        take: &mut dyn FnMut(StoredChunk) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let dim = self.settings.embedder.dimension;
        self.server.each_page(&self.names, &mut |rows| {
            let sizes: Vec<(i64, usize)> =
                rows.iter().map(|row| (row.id, row.token_bytes)).collect();
            let tokens = self.server.tokens_of(&self.names, &sizes)?;
            for (row, tokens) in rows.into_iter().zip(tokens) {
                let tokens = unpack(&tokens, dim);
                take(StoredChunk { passage: row.passage, vector: row.vector, tokens })?;
            }
            Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_chunks_with_a_term_follows_from_its_idf() {
        for chunks in [1u64, 10, 1000, 100_000] {
            for holding in [1, 2, 7, chunks / 2, chunks] {
                let holding = holding.clamp(1, chunks);
                let x = ((chunks - holding) as f32 + 0.5) / (holding as f32 + 0.5);
                let found = holding_of(x.ln_1p(), chunks);
                assert!(found.abs_diff(holding) <= holding / 1000, "{found} {holding} of {chunks}");
            }
        }
        assert_eq!(holding_of(f32::INFINITY, 5), 1);
        assert_eq!(holding_of(0.0, 5), 5);
        assert_eq!(holding_of(1.0, 0), 1);
    }
}
