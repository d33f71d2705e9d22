//! The ranking after each stage of retrieval, so that stages can be measured separately.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::fuse::normalized_bm25;
use super::retriever::{Candidates, MAX_CANDIDATES};
use super::{Hit, Retrieval, Retriever, Scores};
use crate::index::ChunkId;

/// The chunks found by one stage.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Best first.
    pub chunks: Vec<ChunkId>,
    /// Time from the question to this ranking, including earlier stages.
    pub took: Duration,
}

/// A chunk found by either search.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The id of its document.
    pub document: String,
    /// The rerank score is absent for candidates that were not reranked.
    pub scores: Scores,
    /// BM25 as a fraction of the highest score possible for the question.
    pub normalized_bm25: f32,
}

/// The results of each stage for one question.
#[derive(Debug, Clone)]
pub struct Stages {
    /// Lexical search alone.
    pub bm25: Ranking,
    /// Dense search alone.
    pub dense: Ranking,
    /// Both searches, fused.
    pub fused: Ranking,
    /// After reranking; absent without a reranker.
    pub reranked: Option<Ranking>,
    /// The results of both searches, best fused score first; empty unless requested.
    pub candidates: Vec<Candidate>,
    /// What [`Retriever::retrieve`] returns.
    pub retrieval: Retrieval,
}

impl Retriever<'_> {
    /// Same as [`Retriever::retrieve`], but keeps the ranking of every stage, and all candidates if
    /// `with_candidates`.
    pub fn stages(&self, question: &str, limit: usize, with_candidates: bool) -> Result<Stages> {
        let found = self.search(question, MAX_CANDIDATES)?;
        let start = Instant::now();
        let (mut hits, relevance) =
            self.best(question, &found, &found.fused, limit.max(MAX_CANDIDATES))?;
        let rerank = start.elapsed();

        let candidates = match with_candidates {
            true => self.scored(&found, &hits)?,
            false => Vec::new(),
        };
        let ids = |hits: &[(ChunkId, f32)]| hits.iter().map(|&(chunk, _)| chunk).collect();
        let timings = &found.timings;
        let to_fused = timings.embed + timings.search();
        let reranked = self.reranks().then(|| Ranking {
            chunks: hits.iter().map(|hit| hit.chunk).collect(),
            took: to_fused + rerank,
        });
        hits.truncate(limit);
        Ok(Stages {
            bm25: Ranking { chunks: ids(&found.matching), took: timings.bm25 },
            dense: Ranking { chunks: ids(&found.nearest), took: timings.embed + timings.dense },
            fused: Ranking {
                chunks: found.fused.iter().map(|&(chunk, _)| chunk).collect(),
                took: to_fused,
            },
            reranked,
            candidates,
            retrieval: found.into_retrieval(hits, relevance, rerank),
        })
    }

    /// The candidates with all their scores; rerank scores are taken from the hits.
    fn scored(&self, found: &Candidates, hits: &[Hit]) -> Result<Vec<Candidate>> {
        let reranked: BTreeMap<ChunkId, Scores> =
            hits.iter().map(|hit| (hit.chunk, hit.scores)).collect();
        let candidate = |&(chunk, scores): &(ChunkId, Scores)| {
            Ok(Candidate {
                document: self.index().passage(chunk)?.document,
                scores: reranked.get(&chunk).copied().unwrap_or(scores),
                normalized_bm25: normalized_bm25(scores.bm25, found.lexical.best_possible()),
            })
        };
        found.fused.iter().map(candidate).collect()
    }
}
