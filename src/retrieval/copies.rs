//! Texts rather than chunks: copies of a file are common, and would fill the list of hits with one
//! text.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Result;

use super::retriever::{Candidates, MAX_CANDIDATES};
use super::{Retrieval, Retriever, Scores};
use crate::index::{ChunkId, Passage};

/// Candidates per search beyond which no more texts are looked for: with more copies than that of
/// the nearest texts, the list stays short.
const MAX_BREADTH: usize = MAX_CANDIDATES << 6;

impl Retriever<'_> {
    /// The `limit` best texts for a question: a hit for each, with its other places in
    /// [`Hit::copies`](super::Hit::copies).
    pub fn retrieve_texts(&self, question: &str, limit: usize) -> Result<Retrieval> {
        let mut breadth = MAX_CANDIDATES;
        let (candidates, texts) = loop {
            let candidates = self.search(question, breadth)?;
            let (texts, farthest) = self.texts(&candidates)?;
            // With fewer candidates than asked for, these are all that there are.
            let is_all = candidates.fused.len() < breadth || breadth >= MAX_BREADTH;
            // Copies are equally near, so none is missing if another text is farther.
            let is_enough = texts.len() >= limit && farthest.is_none_or(|text| text >= limit);
            if is_all || is_enough {
                break (candidates, texts);
            }
            breadth *= 4;
        };
        let start = Instant::now();
        let first: Vec<(ChunkId, Scores)> = texts.iter().map(|text| text.first).collect();
        let (mut hits, relevance) = self.best(question, &candidates, &first, limit)?;
        let mut copies: HashMap<ChunkId, Vec<Passage>> =
            texts.into_iter().map(|text| (text.first.0, text.copies)).collect();
        for hit in &mut hits {
            hit.copies = copies.remove(&hit.chunk).unwrap_or_default();
        }
        Ok(candidates.into_retrieval(hits, relevance, start.elapsed()))
    }

    /// The candidates by text, best first, and which of the texts is that of the farthest candidate of
    /// the dense search. Line breaks do not tell texts apart.
    fn texts(&self, candidates: &Candidates) -> Result<(Vec<Text>, Option<usize>)> {
        let mut texts: Vec<Text> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut farthest = None;
        for &candidate in &candidates.fused {
            let passage = self.index().passage(candidate.0)?;
            let words = passage.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let text = *known.entry(words).or_insert(texts.len());
            if text == texts.len() {
                texts.push(Text { first: candidate, copies: Vec::new() });
            } else {
                texts[text].copies.push(passage);
            }
            if candidates.nearest.last().is_some_and(|&(chunk, _)| chunk == candidate.0) {
                farthest = Some(text);
            }
        }
        Ok((texts, farthest))
    }
}

/// A text that was found.
struct Text {
    /// Its best candidate.
    first: (ChunkId, Scores),
    /// Its other places.
    copies: Vec<Passage>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::fixture::Notes;

    #[test]
    fn a_text_is_found_once_however_often_it_stands_there() {
        let mut texts = vec!["The lease of the flat runs for three years."; 120];
        texts.push("The lease of the flat was changed to four years.");
        texts.push("The coffee machine is cleaned every Friday.");
        let notes = Notes::of(&texts);
        let retriever = Retriever::new(&notes.index, &notes.embedder, None, None).unwrap();
        let retrieval = retriever.retrieve_texts("How long is the lease of the flat?", 2).unwrap();
        let found: Vec<(&str, usize)> = retrieval
            .hits
            .iter()
            .map(|hit| (hit.passage.text.as_str(), hit.copies.len()))
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&(texts[120], 0)), "{found:?}");
        assert!(found.contains(&(texts[0], 119)), "{found:?}");
        let copies = retrieval.hits.iter().flat_map(|hit| &hit.copies);
        let places: std::collections::BTreeSet<&str> =
            copies.map(|copy| copy.document.as_str()).collect();
        assert_eq!(places.len(), 119);
    }
}
