//! Runs both searches, fuses them and reranks the best candidates.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::rerank::{CrossEncoder, LateInteraction, MaxSim, QueryToken, Reranker};
use super::{Hit, Relevance, Retrieval, Scores, Signals, fuse, relevance};
use crate::compute::pool;
use crate::embedding::{Embedder, Embedding, Tokens};
use crate::index::{ChunkId, Index, LexicalQuery, Passage, Searched};
use crate::models::LazyModel;
use crate::models::catalogue::Calibration;
use crate::text::analyze::words;
use crate::text::background;

/// Candidates per search.
pub(super) const MAX_CANDIDATES: usize = 50;
/// Candidates scored by a cross-encoder.
const MAX_CROSS_ENCODED: usize = 30;
/// Candidates scored by late interaction, at about 1 % of a cross-encoder's cost.
const MAX_LATE_INTERACTION: usize = 50;
/// Of these, compared by what is embedded anew if the codes in the index are too coarse.
const MAX_EMBEDDED: usize = 10;
/// Top candidates used to measure question coverage.
const COVERAGE_CANDIDATES: usize = 5;

/// Searches one index.
pub struct Retriever<'a> {
    index: &'a dyn Index,
    embedder: &'a LazyModel<Embedder>,
    reranker: Option<&'a Reranker>,
    calibration: Option<&'a Calibration>,
    /// Mean token vector of the corpus, `[dim]`; empty without late interaction.
    mean_token: Vec<f32>,
}

/// Search results before reranking.
pub(super) struct Candidates {
    embedding: Embedding,
    /// By cosine, best first.
    pub nearest: Vec<(ChunkId, f32)>,
    pub lexical: LexicalQuery,
    /// By BM25, best first.
    pub matching: Vec<(ChunkId, f32)>,
    /// The union of both, by fused score, best first.
    pub fused: Vec<(ChunkId, Scores)>,
    /// Whether the question is Vietnamese typed without diacritics.
    unmarked: bool,
    pub timings: Timings,
}

/// Time taken by each step.
pub(super) struct Timings {
    pub embed: Duration,
    pub dense: Duration,
    pub bm25: Duration,
    fuse: Duration,
}

impl Timings {
    /// Both searches and their fusion.
    pub fn search(&self) -> Duration {
        self.dense + self.bm25 + self.fuse
    }
}

impl Candidates {
    pub fn into_retrieval(
        self,
        hits: Vec<Hit>,
        relevance: Relevance,
        rerank: Duration,
    ) -> Retrieval {
        Retrieval {
            hits,
            relevance,
            question: self.embedding.vector,
            embed: self.timings.embed,
            search: self.timings.search(),
            rerank,
        }
    }
}

/// A candidate that is being ranked.
struct Ranked {
    chunk: ChunkId,
    /// Loaded after ranking, unless the reranker needs it earlier.
    passage: Option<Passage>,
    score: f32,
    scores: Scores,
}

impl<'a> Retriever<'a> {
    /// Loads no model. Without a `calibration` no question is refused.
    ///
    /// # Errors
    /// The index has terms of another analyzer, or it cannot be read.
    pub fn new(
        index: &'a dyn Index,
        embedder: &'a LazyModel<Embedder>,
        reranker: Option<&'a Reranker>,
        calibration: Option<&'a Calibration>,
    ) -> Result<Self> {
        index.settings().check_analyzer()?;
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

    /// The embedder, loading it if necessary.
    pub fn embedder(&self) -> Result<&'a Embedder> {
        self.embedder.get()
    }

    /// How candidates are reranked.
    pub(super) fn reranker(&self) -> Option<&'a Reranker> {
        self.reranker
    }

    /// The mean token vector of the corpus, `[dim]`; empty without late interaction.
    pub(super) fn mean_token(&self) -> &[f32] {
        &self.mean_token
    }

    /// Whether candidates are reranked.
    pub fn reranks(&self) -> bool {
        self.reranker.is_some()
    }

    /// The `limit` best passages for a question.
    pub fn retrieve(&self, question: &str, limit: usize) -> Result<Retrieval> {
        let candidates = self.search(question, MAX_CANDIDATES)?;
        let start = Instant::now();
        let (hits, relevance) = self.best(question, &candidates, &candidates.fused, limit)?;
        Ok(candidates.into_retrieval(hits, relevance, start.elapsed()))
    }

    /// Runs both searches for a question, for up to `breadth` candidates each, and fuses them.
    pub(super) fn search(&self, question: &str, breadth: usize) -> Result<Candidates> {
        let start = Instant::now();
        let embedding = self.embed(question)?;
        let embed = start.elapsed();
        let searched = self.index.search(question, &embedding.vector, breadth)?;
        let Searched { nearest, lexical, matching, dense, bm25 } = searched;
        let start = Instant::now();
        let fused = self.fuse(&embedding.vector, &lexical, &nearest, &matching)?;
        let timings = Timings { embed, dense, bm25, fuse: start.elapsed() };
        let unmarked = relevance::is_unmarked_vietnamese(question);
        Ok(Candidates { embedding, nearest, lexical, matching, fused, unmarked, timings })
    }

    fn embed(&self, question: &str) -> Result<Embedding> {
        let tokens = match self.reranker {
            Some(Reranker::LateInteraction) => Tokens::Kept,
            Some(Reranker::CrossEncoder(_)) | None => Tokens::Dropped,
        };
        self.embedder()?.embed_query(question, tokens)
    }

    /// The union of both searches with both scores for each candidate, best fused score first.
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
                let normalized = fuse::normalized_bm25(bm25, lexical.best_possible());
                let fused = fuse::fused(dense, normalized);
                (chunk, Scores { dense, bm25, fused, rerank: None })
            })
            .collect();
        candidates.sort_by(|a, b| b.1.fused.total_cmp(&a.1.fused).then(a.0.cmp(&b.0)));
        Ok(candidates)
    }

    /// The `limit` best of the `eligible` candidates, reranked if there is a reranker, and their
    /// relevance.
    pub(super) fn best(
        &self,
        question: &str,
        candidates: &Candidates,
        eligible: &[(ChunkId, Scores)],
        limit: usize,
    ) -> Result<(Vec<Hit>, Relevance)> {
        let reranked = match self.reranker {
            None => 0,
            Some(Reranker::CrossEncoder(_)) => MAX_CROSS_ENCODED,
            Some(Reranker::LateInteraction) => MAX_LATE_INTERACTION,
        };
        let mut ranked: Vec<Ranked> = eligible
            .iter()
            .take(reranked.max(limit).max(COVERAGE_CANDIDATES))
            .map(|&(chunk, scores)| Ranked { chunk, passage: None, score: scores.fused, scores })
            .collect();
        // Candidates that are not reranked stay below those that are.
        let reranked = reranked.min(ranked.len());
        // Judged by what words weigh in general: in an index about one thing, its words weigh nothing.
        let general = candidates.lexical.weighed_by(&background::weight);
        let maxsim = self.rerank(question, candidates, &general, &mut ranked[..reranked])?;
        ranked[..reranked].sort_by(|a, b| b.score.total_cmp(&a.score).then(a.chunk.cmp(&b.chunk)));
        let mut hits = ranked
            .into_iter()
            .take(limit.max(COVERAGE_CANDIDATES))
            .map(|Ranked { chunk, passage, score, scores }| {
                let passage = passage.map_or_else(|| self.index.passage(chunk), Ok)?;
                Ok(Hit { chunk, passage, score, scores, copies: Vec::new() })
            })
            .collect::<Result<Vec<Hit>>>()?;
        let relevance = self.relevance(question, candidates, &general, &hits, maxsim);
        hits.truncate(limit);
        Ok((hits, relevance))
    }

    /// Sets the candidates' rerank scores, if there is a reranker. If that is late interaction,
    /// returns the highest score by which relevance is judged, with the words weighed as in `general`.
    fn rerank(
        &self,
        question: &str,
        candidates: &Candidates,
        general: &LexicalQuery,
        ranked: &mut [Ranked],
    ) -> Result<Option<f32>> {
        match self.reranker {
            None => Ok(None),
            Some(Reranker::CrossEncoder(model)) => {
                self.cross_encode(model.get()?, question, ranked)?;
                Ok(None)
            }
            Some(Reranker::LateInteraction) => {
                self.compare_tokens(question, candidates, general, ranked).map(Some)
            }
        }
    }

    fn cross_encode(
        &self,
        model: &CrossEncoder,
        question: &str,
        ranked: &mut [Ranked],
    ) -> Result<()> {
        let texts = self.texts_to_embed(ranked)?;
        let scores = model.score(question, &texts)?;
        for (one, score) in ranked.iter_mut().zip(scores) {
            one.scores.rerank = Some(score);
            one.score = score;
        }
        Ok(())
    }

    /// Sets the late-interaction scores by which candidates are ranked, and returns the highest of those
    /// by which relevance is judged.
    fn compare_tokens(
        &self,
        question: &str,
        candidates: &Candidates,
        general: &LexicalQuery,
        ranked: &mut [Ranked],
    ) -> Result<f32> {
        let lexical = &candidates.lexical;
        let weights = |word: &str| [lexical.word_idf(word), general.word_idf(word)];
        let tokens = query_tokens(question, &candidates.embedding, &weights);
        let Some(coder) = self.index.coder() else { return Ok(0.0) };
        let late_interaction = LateInteraction::new(coder.clone(), &self.mean_token, &tokens);
        let chunks: Vec<ChunkId> = ranked.iter().map(|one| one.chunk).collect();
        let passages = self.index.tokens(&chunks)?;
        let compared = pool::map(passages.len(), |i| late_interaction.maxsim(&passages[i]));
        let rank = |one: &mut Ranked, maxsim: MaxSim| {
            one.scores.rerank = Some(maxsim.centred);
            // Without diacritics the embedder's token vectors are too poor to rank by.
            if !candidates.unmarked {
                let bm25 = fuse::normalized_bm25(one.scores.bm25, lexical.best_possible());
                one.score = fuse::with_maxsim(one.scores.dense, bm25, maxsim.centred);
            }
        };
        ranked.iter_mut().zip(&compared).for_each(|(one, maxsim)| rank(one, *maxsim));
        if !coder.is_coarse() {
            return Ok(highest(&compared));
        }
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.chunk.cmp(&b.chunk)));
        let nearest = ranked.len().min(MAX_EMBEDDED);
        let compared = self.compare_anew(&tokens, &mut ranked[..nearest])?;
        ranked.iter_mut().zip(&compared).for_each(|(one, maxsim)| rank(one, *maxsim));
        Ok(highest(&compared))
    }

    /// Compares passages by token vectors that are embedded for it.
    fn compare_anew(&self, query: &[QueryToken], ranked: &mut [Ranked]) -> Result<Vec<MaxSim>> {
        let embedded =
            self.embedder()?.embed_passages(&self.texts_to_embed(ranked)?, Tokens::Kept)?;
        let late_interaction = LateInteraction::with_embedded(&self.mean_token, query);
        Ok(embedded.iter().map(|passage| late_interaction.maxsim_of(passage)).collect())
    }

    /// The texts of candidates as models read them; their passages are kept.
    fn texts_to_embed(&self, ranked: &mut [Ranked]) -> Result<Vec<String>> {
        let text = |one: &mut Ranked| {
            let passage = self.index.passage(one.chunk)?;
            Ok(one.passage.insert(passage).text_to_embed())
        };
        ranked.iter_mut().map(text).collect()
    }

    /// `maxsim` is the highest late-interaction score.
    fn relevance(
        &self,
        question: &str,
        candidates: &Candidates,
        general: &LexicalQuery,
        hits: &[Hit],
        maxsim: Option<f32>,
    ) -> Relevance {
        let covered = |hit: &Hit| general.coverage(&hit.passage.text_to_search());
        let coverage = hits.iter().take(COVERAGE_CANDIDATES).map(covered).fold(0.0, f32::max);
        let first = hits.first().map_or("", |hit| hit.passage.text.as_str());
        let signals = Signals {
            cosine: candidates.fused.iter().map(|(_, scores)| scores.dense).fold(0.0, f32::max),
            coverage,
            maxsim,
            unmarked: candidates.unmarked,
            across_languages: relevance::across_languages(question, first, coverage),
            chunks: self.index.chunk_count(),
        };
        Relevance::new(signals, self.calibration)
    }
}

/// The highest score by which relevance is judged; at least 0.
fn highest(compared: &[MaxSim]) -> f32 {
    compared.iter().map(|maxsim| maxsim.plain).fold(0.0, f32::max)
}

/// The question's tokens, each with the two weights of the word it belongs to: its idf, and what it
/// says in general.
pub(super) fn query_tokens(
    question: &str,
    embedding: &Embedding,
    weights: &dyn Fn(&str) -> [f32; 2],
) -> Vec<QueryToken> {
    let words: Vec<(usize, &str, [f32; 2])> =
        words(question).into_iter().map(|(start, word)| (start, word, weights(word))).collect();
    embedding
        .tokens
        .iter()
        .filter_map(|token| {
            // The word containing the token's last byte; punctuation belongs to none.
            let end = token.span.end;
            let word =
                words.iter().find(|(start, word, _)| *start < end && end <= start + word.len());
            word.map(|&(_, _, [weight, general_weight])| QueryToken {
                vector: token.vector.clone(),
                weight,
                general_weight,
            })
        })
        .collect()
}
