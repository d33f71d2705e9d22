//! Several indexes asked as one.
//!
//! Every index finds its own candidates, and all are scored alike: cosines are comparable as they are,
//! and words weigh what they weigh in all indexes together.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use super::api::best_first;
use super::{
    ChunkId, Index, IndexError, Ledger, LexicalQuery, Passage, Searched, Settings, StoredChunk,
};
use crate::embedding::codes::Coder;

/// Most indexes in one question.
const MAX_INDEXES: usize = 64;

/// Indexes of the same settings, each with its name.
pub struct Several(Vec<(Arc<str>, Box<dyn Index>)>);

impl Several {
    /// # Errors
    /// There are none, too many, or they were built with different settings.
    pub fn new(indexes: Vec<(Arc<str>, Box<dyn Index>)>) -> Result<Self, IndexError> {
        let Some(((_, first), rest)) = indexes.split_first() else {
            return Err(IndexError::TooMany(MAX_INDEXES));
        };
        if indexes.len() > MAX_INDEXES {
            return Err(IndexError::TooMany(MAX_INDEXES));
        }
        for (_, other) in rest {
            other.settings().check(first.settings())?;
            first.settings().check(other.settings())?;
            first.settings().check_codes(other.settings())?;
        }
        Ok(Self(indexes))
    }

    fn each(&self) -> impl Iterator<Item = (u8, &dyn Index)> {
        (0..).zip(self.0.iter().map(|(_, index)| index.as_ref()))
    }

    fn of(&self, chunk: ChunkId) -> (&str, &dyn Index, ChunkId) {
        let (name, index) = &self.0[usize::from(chunk.index)];
        (name, index.as_ref(), ChunkId::new(chunk.key))
    }

    /// Asks each index for its own of the chunks, and returns what they say in the order of `chunks`.
    fn ask_each<'a, T: Clone>(
        &'a self,
        chunks: &[ChunkId],
        mut ask: impl FnMut(&'a dyn Index, &[ChunkId]) -> Result<Vec<T>, IndexError>,
    ) -> Result<Vec<T>, IndexError> {
        let mut said: Vec<Option<T>> = vec![None; chunks.len()];
        for (number, index) in self.each() {
            let own = |(_, chunk): &(usize, &ChunkId)| chunk.index == number;
            let places: Vec<usize> =
                chunks.iter().enumerate().filter(own).map(|(i, _)| i).collect();
            let ids: Vec<ChunkId> = places.iter().map(|&i| self.of(chunks[i]).2).collect();
            for (i, one) in places.into_iter().zip(ask(index, &ids)?) {
                said[i] = Some(one);
            }
        }
        Ok(said.into_iter().flatten().collect())
    }
}

fn numbered(index: u8, chunk: ChunkId) -> ChunkId {
    ChunkId { index, ..chunk }
}

impl Index for Several {
    fn settings(&self) -> &Settings {
        self.0[0].1.settings()
    }

    fn chunk_count(&self) -> usize {
        self.each().map(|(_, index)| index.chunk_count()).sum()
    }

    fn document_count(&self) -> Result<usize, IndexError> {
        self.each().map(|(_, index)| index.document_count()).sum()
    }

    fn changed(&self) -> Option<SystemTime> {
        self.each().filter_map(|(_, index)| index.changed()).max()
    }

    fn ledger(&self) -> Result<Ledger, IndexError> {
        let mut ledger = Ledger::default();
        for (_, index) in self.each() {
            ledger.join(index.ledger()?);
        }
        Ok(ledger)
    }

    fn select(&mut self, documents: &[&str]) -> Result<usize, IndexError> {
        self.0.iter_mut().map(|(_, index)| index.select(documents)).sum()
    }

    fn search(&self, question: &str, query: &[f32], limit: usize) -> Result<Searched, IndexError> {
        let lexical = self.lexical(question)?;
        let (mut nearest, mut matching) = (Vec::new(), Vec::new());
        let (mut dense, mut bm25) = Default::default();
        for (number, index) in self.each() {
            let found = index.search(question, query, limit)?;
            let own = |(chunk, score): (ChunkId, f32)| (numbered(number, chunk), score);
            nearest.extend(found.nearest.into_iter().map(own));
            matching.extend(found.matching.into_iter().map(|(chunk, _)| numbered(number, chunk)));
            (dense, bm25) = (dense + found.dense, bm25 + found.bm25);
        }
        let scores = self.bm25_of(&lexical, &matching)?;
        let mut matching: Vec<(ChunkId, f32)> = matching.into_iter().zip(scores).collect();
        for found in [&mut nearest, &mut matching] {
            found.sort_unstable_by(best_first);
            found.truncate(limit);
        }
        Ok(Searched { nearest, lexical, matching, dense, bm25 })
    }

    fn lexical(&self, question: &str) -> Result<LexicalQuery, IndexError> {
        let queries: Vec<LexicalQuery> =
            self.each().map(|(_, index)| index.lexical(question)).collect::<Result<_, _>>()?;
        Ok(LexicalQuery::joined(queries).expect("there is an index"))
    }

    fn bm25_of(&self, query: &LexicalQuery, chunks: &[ChunkId]) -> Result<Vec<f32>, IndexError> {
        self.ask_each(chunks, |index, own| index.bm25_of(query, own))
    }

    fn cosines(&self, chunks: &[ChunkId], query: &[f32]) -> Result<Vec<f32>, IndexError> {
        self.ask_each(chunks, |index, own| index.cosines(own, query))
    }

    fn passage(&self, chunk: ChunkId) -> Result<Passage, IndexError> {
        let (name, index, own) = self.of(chunk);
        Ok(Passage { index: Some(name.to_owned()), ..index.passage(own)? })
    }

    fn document(&self, id: &str) -> Result<Vec<Passage>, IndexError> {
        for (_, index) in self.each() {
            let passages = index.document(id)?;
            if !passages.is_empty() {
                return Ok(passages);
            }
        }
        Ok(Vec::new())
    }

    fn coder(&self) -> Option<&Coder> {
        self.0[0].1.coder()
    }

    fn tokens(&self, chunks: &[ChunkId]) -> Result<Vec<Cow<'_, [u8]>>, IndexError> {
        self.ask_each(chunks, |index, own| index.tokens(own))
    }

    fn mean_token_vector(&self) -> Result<Vec<f32>, IndexError> {
        // Each index counts as much as it has chunks.
        let total = self.chunk_count().max(1) as f32;
        let mut mean = vec![0f32; self.settings().embedder.dimension];
        for (_, index) in self.each() {
            let share = index.chunk_count() as f32 / total;
            let own = index.mean_token_vector()?;
            mean.iter_mut().zip(own).for_each(|(sum, value)| *sum += share * value);
        }
        Ok(mean)
    }

    fn each_chunk(
        &self,
        take: &mut dyn FnMut(StoredChunk) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError> {
        let mut is_over = false;
        for (_, index) in self.each() {
            index.each_chunk(&mut |chunk| {
                let flow = take(chunk)?;
                is_over |= flow.is_break();
                Ok(flow)
            })?;
            if is_over {
                break;
            }
        }
        Ok(())
    }
}
