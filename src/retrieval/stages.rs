//! The ranking after each stage of retrieval, so that stages can be measured separately.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::fuse::normalized_bm25;
use super::retriever::{Candidates, MAX_CANDIDATES};
use super::{Hit, Retrieval, Retriever, Scores};
use crate::index::ChunkId;

/// The documents found by one stage.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Document ids, best first; a document ranks where its best chunk does.
    pub documents: Vec<String>,
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
        let rank = |chunks: Vec<ChunkId>, took| {
            Ok::<_, anyhow::Error>(Ranking { documents: self.documents(&chunks)?, took })
        };
        let timings = &found.timings;
        let to_fused = timings.embed + timings.search();
        let reranked = match self.reranks() {
            true => Some(rank(hits.iter().map(|hit| hit.chunk).collect(), to_fused + rerank)?),
            false => None,
        };
        hits.truncate(limit);
        Ok(Stages {
            bm25: rank(ids(&found.matching), timings.bm25)?,
            dense: rank(ids(&found.nearest), timings.embed + timings.dense)?,
            fused: rank(found.fused.iter().map(|&(chunk, _)| chunk).collect(), to_fused)?,
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

    /// The documents of `chunks`, deduplicated, in order of first occurrence.
    fn documents(&self, chunks: &[ChunkId]) -> Result<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut documents = Vec::new();
        for &chunk in chunks {
            let document = self.index().passage(chunk)?.document;
            if seen.insert(document.clone()) {
                documents.push(document);
            }
        }
        Ok(documents)
    }
}
