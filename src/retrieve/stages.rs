//! The ranking of every stage for one question, so that each can be measured by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{CANDIDATES, Retrieval, Retriever};
use crate::index::ChunkId;

/// The documents that a stage found.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Their ids, best first: a document stands where the first of its chunks does.
    pub documents: Vec<String>,
    /// Time from the question to this ranking, that of the stages before it included.
    pub took: Duration,
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
    /// What [`Retriever::retrieve`] returns.
    pub retrieval: Retrieval,
}

impl Retriever<'_> {
    /// Does what [`Retriever::retrieve`] does with the same `limit`, and keeps what each stage
    /// found on the way.
    pub fn stages(&self, question: &str, limit: usize) -> Result<Stages> {
        let start = Instant::now();
        let embedding = self.embed(question)?;
        let embed = start.elapsed();
        let start = Instant::now();
        let nearest = self.index.nearest(&embedding.vector, CANDIDATES);
        let near = start.elapsed();
        let start = Instant::now();
        let lexical = self.index.lexical(question)?;
        let matching = self.index.bm25(&lexical, CANDIDATES)?;
        let bm25 = start.elapsed();
        let start = Instant::now();
        let candidates = self.fuse(&embedding.vector, &lexical, &nearest, &matching)?;
        let relevance = self.relevance(&lexical, &candidates)?;
        let search = near + bm25 + start.elapsed();
        let fused: Vec<ChunkId> = candidates.iter().map(|&(chunk, _)| chunk).collect();
        let start = Instant::now();
        let mut hits =
            self.best(question, &embedding, &lexical, candidates, limit.max(CANDIDATES))?;
        let rerank = start.elapsed();

        let ids = |hits: &[(ChunkId, f32)]| hits.iter().map(|&(chunk, _)| chunk).collect();
        let rank = |chunks: Vec<ChunkId>, took| {
            Ok::<_, anyhow::Error>(Ranking { documents: self.documents(&chunks)?, took })
        };
        let reranked = match self.reranker {
            Some(_) => {
                Some(rank(hits.iter().map(|hit| hit.chunk).collect(), embed + search + rerank)?)
            }
            None => None,
        };
        hits.truncate(limit);
        Ok(Stages {
            bm25: rank(ids(&matching), bm25)?,
            dense: rank(ids(&nearest), embed + near)?,
            fused: rank(fused, embed + search)?,
            reranked,
            retrieval: Retrieval {
                hits,
                relevance,
                question: embedding.vector,
                embed,
                search,
                rerank,
            },
        })
    }

    /// The documents of some chunks, each once, in order of first occurrence.
    fn documents(&self, chunks: &[ChunkId]) -> Result<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut documents = Vec::new();
        for &chunk in chunks {
            let document = self.index.passage(chunk)?.document;
            if seen.insert(document.clone()) {
                documents.push(document);
            }
        }
        Ok(documents)
    }
}
