//! Retrieval: a question → the passages that may answer it, best first.
//!
//! Dense and lexical candidates are fused by their scores, and the best of them reranked. Every
//! stage's score stays on the hit.

#[cfg(test)]
pub(crate) mod fixture;
mod fuse;
mod relevance;
pub mod rerank;
mod stages;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use anyhow::Result;
pub use relevance::{Relevance, Signals};
use serde::Serialize;
pub use stages::{Candidate, Ranking, Stages};

use crate::embedding::{Embedder, Embedding, Tokens};
use crate::index::{ChunkId, Index, LexicalQuery, Passage, Searched};
use crate::models::LazyModel;
use crate::models::catalogue::Calibration;
use rerank::{LateInteraction, QueryToken, Reranker};

/// Candidates that each of the two searches brings.
const CANDIDATES: usize = 50;
/// Candidates that a cross-encoder reads.
const READ: usize = 30;
/// Candidates that late interaction compares, which costs a hundredth of that.
const COMPARED: usize = 50;
/// Candidates among which the words of the question are looked for.
const COVERING: usize = 5;

/// The scores of a hit, stage by stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// Cosine of question and passage, −1 to 1.
    pub dense: f32,
    /// BM25.
    pub bm25: f32,
    /// See [`fuse::fused`].
    pub fused: f32,
    /// The reranker's; absent where there was none, or where it did not look that far.
    pub rerank: Option<f32>,
}

/// A passage found for a question.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its text and place.
    pub passage: Passage,
    /// What it is ranked by; comparable within one question only.
    pub score: f32,
    /// How it came to that.
    pub scores: Scores,
}

/// A candidate on its way to a hit.
struct Ranked {
    chunk: ChunkId,
    /// Read when its rank is known, unless the reranker needs it.
    passage: Option<Passage>,
    score: f32,
    scores: Scores,
}

/// What a question found.
#[derive(Debug, Clone)]
pub struct Retrieval {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How probable it is that the documents answer.
    pub relevance: Relevance,
    /// The question's own embedding, `[dim]`.
    pub question: Vec<f32>,
    /// Time to embed the question.
    pub embed: Duration,
    /// Time of both searches and their fusion.
    pub search: Duration,
    /// Time to rerank.
    pub rerank: Duration,
}

/// What the searches found, before any reranking.
struct Found {
    embedding: Embedding,
    /// By cosine, best first.
    nearest: Vec<(ChunkId, f32)>,
    lexical: LexicalQuery,
    /// By BM25, best first.
    matching: Vec<(ChunkId, f32)>,
    /// Both, fused, best first.
    candidates: Vec<(ChunkId, Scores)>,
    /// Whether the question is Vietnamese without its marks.
    unmarked: bool,
    took: Took,
}

/// How long each part took.
struct Took {
    embed: Duration,
    dense: Duration,
    bm25: Duration,
    fuse: Duration,
}

impl Took {
    /// Both searches and their fusion.
    fn search(&self) -> Duration {
        self.dense + self.bm25 + self.fuse
    }
}

impl Found {
    fn retrieval(self, hits: Vec<Hit>, relevance: Relevance, rerank: Duration) -> Retrieval {
        Retrieval {
            hits,
            relevance,
            question: self.embedding.vector,
            embed: self.took.embed,
            search: self.took.search(),
            rerank,
        }
    }
}

/// Searches one index.
pub struct Retriever<'a> {
    index: &'a dyn Index,
    embedder: &'a LazyModel<Embedder>,
    reranker: Option<&'a Reranker>,
    calibration: Option<&'a Calibration>,
    /// Mean token vector of the corpus, `[dim]`; empty without late interaction.
    mean_token: Vec<f32>,
}

impl<'a> Retriever<'a> {
    /// Prepares to search `index`; loads no model. Without a `calibration` nothing is refused.
    pub fn new(
        index: &'a dyn Index,
        embedder: &'a LazyModel<Embedder>,
        reranker: Option<&'a Reranker>,
        calibration: Option<&'a Calibration>,
    ) -> Result<Self> {
        let mean_token = match reranker {
            Some(Reranker::LateInteraction) => index.mean_token_vector()?,
            _ => Vec::new(),
        };
        Ok(Self { index, embedder, reranker, calibration, mean_token })
    }

    /// The index that is searched.
    pub fn index(&self) -> &'a dyn Index {
        self.index
    }

    /// The embedder, loaded now if it was not before.
    pub fn embedder(&self) -> Result<&'a Embedder> {
        self.embedder.get()
    }

    /// Whether candidates are reranked.
    pub fn reranks(&self) -> bool {
        self.reranker.is_some()
    }

    /// The `limit` best passages for a question.
    pub fn retrieve(&self, question: &str, limit: usize) -> Result<Retrieval> {
        let found = self.search(question)?;
        let start = Instant::now();
        let (hits, relevance) = self.best(question, &found, limit)?;
        Ok(found.retrieval(hits, relevance, start.elapsed()))
    }

    /// Both searches for a question, and their fusion.
    fn search(&self, question: &str) -> Result<Found> {
        let start = Instant::now();
        let embedding = self.embed(question)?;
        let embed = start.elapsed();
        let searched = self.index.search(question, &embedding.vector, CANDIDATES)?;
        let Searched { nearest, lexical, matching, dense, bm25 } = searched;
        let start = Instant::now();
        let candidates = self.fuse(&embedding.vector, &lexical, &nearest, &matching)?;
        let took = Took { embed, dense, bm25, fuse: start.elapsed() };
        let unmarked = relevance::is_unmarked_vietnamese(question);
        Ok(Found { embedding, nearest, lexical, matching, candidates, unmarked, took })
    }

    fn embed(&self, question: &str) -> Result<Embedding> {
        let tokens = if self.compares_tokens() { Tokens::Kept } else { Tokens::Dropped };
        self.embedder()?.embed_query(question, tokens)
    }

    /// Whether the reranker is late interaction.
    fn compares_tokens(&self) -> bool {
        matches!(self.reranker, Some(Reranker::LateInteraction))
    }

    /// The `limit` best candidates, reranked where there is a reranker, and what they promise.
    fn best(&self, question: &str, found: &Found, limit: usize) -> Result<(Vec<Hit>, Relevance)> {
        let seen = match self.reranker {
            None => 0,
            Some(Reranker::CrossEncoder(_)) => READ,
            Some(Reranker::LateInteraction) => COMPARED,
        };
        let mut ranked: Vec<Ranked> = found
            .candidates
            .iter()
            .take(seen.max(limit).max(COVERING))
            .map(|&(chunk, scores)| Ranked { chunk, passage: None, score: scores.fused, scores })
            .collect();
        // What the reranker did not look at keeps its place behind what it did.
        let seen = seen.min(ranked.len());
        self.rerank(question, found, &mut ranked[..seen])?;
        ranked[..seen].sort_by(|a, b| b.score.total_cmp(&a.score).then(a.chunk.cmp(&b.chunk)));
        let late = self
            .compares_tokens()
            .then(|| ranked.iter().filter_map(|one| one.scores.rerank).fold(0.0, f32::max));
        let mut hits = ranked
            .into_iter()
            .take(limit.max(COVERING))
            .map(|Ranked { chunk, passage, score, scores }| {
                let passage = passage.map_or_else(|| self.index.passage(chunk), Ok)?;
                Ok(Hit { chunk, passage, score, scores })
            })
            .collect::<Result<Vec<Hit>>>()?;
        let relevance = self.relevance(question, found, &hits, late);
        hits.truncate(limit);
        Ok((hits, relevance))
    }

    /// The union of both searches, each candidate with both scores, best fused score first.
    fn fuse(
        &self,
        query: &[f32],
        lexical: &LexicalQuery,
        nearest: &[(ChunkId, f32)],
        matching: &[(ChunkId, f32)],
    ) -> Result<Vec<(ChunkId, Scores)>> {
        let mut chunks: Vec<ChunkId> =
            nearest.iter().chain(matching).map(|&(chunk, _)| chunk).collect();
        chunks.sort_unstable();
        chunks.dedup();
        let bm25 = self.index.bm25_of(lexical, &chunks)?;
        let cosines = self.index.cosines(&chunks, query)?;
        let mut candidates: Vec<(ChunkId, Scores)> = chunks
            .into_iter()
            .zip(bm25.into_iter().zip(cosines))
            .map(|(chunk, (bm25, dense))| {
                let fused = fuse::fused(dense, fuse::share(bm25, lexical.best_possible()));
                (chunk, Scores { dense, bm25, fused, rerank: None })
            })
            .collect();
        candidates.sort_by(|a, b| b.1.fused.total_cmp(&a.1.fused).then(a.0.cmp(&b.0)));
        Ok(candidates)
    }

    /// What the candidates promise, best first; `late` is the best score of late interaction.
    fn relevance(
        &self,
        question: &str,
        found: &Found,
        hits: &[Hit],
        late: Option<f32>,
    ) -> Relevance {
        let covered = |hit: &Hit| found.lexical.coverage(&hit.passage.text_to_embed());
        let coverage = hits.iter().take(COVERING).map(covered).fold(0.0, f32::max);
        let first = hits.first().map_or("", |hit| hit.passage.text.as_str());
        let signals = Signals {
            cosine: found.candidates.iter().map(|(_, scores)| scores.dense).fold(0.0, f32::max),
            coverage,
            late,
            unmarked: found.unmarked,
            across_languages: relevance::across_languages(question, first, coverage),
        };
        Relevance::new(signals, self.calibration)
    }

    /// Gives candidates their reranking scores, if there is a reranker.
    fn rerank(&self, question: &str, found: &Found, ranked: &mut [Ranked]) -> Result<()> {
        match self.reranker {
            None => {}
            Some(Reranker::CrossEncoder(model)) => {
                let text = |one: &mut Ranked| {
                    let passage = self.index.passage(one.chunk)?;
                    Ok(one.passage.insert(passage).text_to_embed())
                };
                let texts = ranked.iter_mut().map(text).collect::<Result<Vec<String>>>()?;
                let scores = model.get()?.score(question, &texts)?;
                for (one, score) in ranked.iter_mut().zip(scores) {
                    one.scores.rerank = Some(score);
                    one.score = score;
                }
            }
            Some(Reranker::LateInteraction) => {
                let lexical = &found.lexical;
                let weigh = |word: &str| lexical.word_idf(word);
                let tokens = query_tokens(question, &found.embedding, &weigh);
                let late = LateInteraction::new(&self.mean_token, tokens);
                let chunks: Vec<ChunkId> = ranked.iter().map(|one| one.chunk).collect();
                let mut ranked = ranked.iter_mut();
                self.index.token_vectors(&chunks, &mut |tokens| {
                    let Some(one) = ranked.next() else { return };
                    let score = late.score(tokens);
                    let share = fuse::share(one.scores.bm25, lexical.best_possible());
                    one.scores.rerank = Some(score);
                    // Of a question without marks the embedder understands so little that its tokens
                    // mislead.
                    if !found.unmarked {
                        one.score = fuse::with_late_interaction(one.scores.dense, share, score);
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// The question's tokens, each with the idf of the word that it is part of.
fn query_tokens(
    question: &str,
    embedding: &Embedding,
    idf: &dyn Fn(&str) -> f32,
) -> Vec<QueryToken> {
    let words: Vec<(usize, &str, f32)> = crate::text::analyze::words(question)
        .into_iter()
        .map(|(start, word)| (start, word, idf(word)))
        .collect();
    embedding
        .tokens
        .iter()
        .filter_map(|token| {
            // The word that the token's last byte is in; a token of punctuation is in none.
            let end = token.span.end;
            let word =
                words.iter().find(|(start, word, _)| *start < end && end <= start + word.len());
            word.map(|(_, _, weight)| QueryToken { vector: token.vector.clone(), weight: *weight })
        })
        .collect()
}
