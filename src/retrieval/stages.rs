//! The ranking of every stage for one question, so that each can be measured by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::fuse::normalized_bm25;
use super::retriever::{Candidates, MAX_CANDIDATES};
use super::{Hit, Retrieval, Retriever, Scores};
use crate::index::ChunkId;

/// The documents that a stage found.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Their ids, best first; a document ranks where the first of its chunks does.
    pub documents: Vec<String>,
    /// Time from the question to this ranking, the stages before it included.
    pub took: Duration,
}

/// A chunk that one of the searches found.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The id of the document that it comes from.
    pub document: String,
    /// Stage by stage; the reranker's is absent below the candidates that it looked at.
    pub scores: Scores,
    /// BM25 as a share of the highest that the question could reach.
    pub normalized_bm25: f32,
}

/// One question, stage by stage.
#[derive(Debug, Clone)]
pub struct Stages {
    /// The lexical search alone.
    pub bm25: Ranking,
    /// The embeddings alone.
    pub dense: Ranking,
    /// Both, fused.
    pub fused: Ranking,
    /// After the reranker; absent without one.
    pub reranked: Option<Ranking>,
    /// What both searches found, in the fused order; empty unless asked for.
    pub candidates: Vec<Candidate>,
    /// What [`Retriever::retrieve`] returns.
    pub retrieval: Retrieval,
}

impl Retriever<'_> {
    /// Does what [`Retriever::retrieve`] does with the same `limit`, and keeps what each stage
    /// found on the way; `with_candidates`, also everything that it chose from.
    pub fn stages(&self, question: &str, limit: usize, with_candidates: bool) -> Result<Stages> {
        let found = self.search(question)?;
        let start = Instant::now();
        let (mut hits, relevance) = self.best(question, &found, limit.max(MAX_CANDIDATES))?;
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

    /// The candidates with all their scores; those of the reranker are on the hits.
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

    /// The documents of some chunks, each once, in order of first occurrence.
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
