//! Extractive answers: the best sentences of the passages, verbatim and cited, without an LLM.

use anyhow::Result;

use crate::chunks::sentences;
use crate::embedding::{Embedder, Tokens, dot};
use crate::index::{LexicalQuery, Passage};

/// Maximum sentences in an answer.
const MAX_SENTENCES: usize = 3;
/// Passages that sentences are taken from.
const MAX_PASSAGES: usize = 3;
/// Maximum sentences compared; a passage has about ten.
const MAX_CANDIDATES: usize = 48;
/// Sentences that score this far below the best one are left out.
const MARGIN: f32 = 0.12;
/// Weight of the question coverage relative to the cosine.
const COVERAGE_WEIGHT: f32 = 0.2;
/// Penalty per rank of the passage: higher-ranked passages are more likely to be right.
const RANK_COST: f32 = 0.02;
/// Shorter sentences, in characters, say little on their own.
const MIN_CHARACTERS: usize = 20;

/// A sentence selected for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// As in the document, without markup.
    pub text: String,
    /// Number of its passage, from 1.
    pub passage: usize,
}

/// Selects the sentences of `passages` (best first) that best answer the question, in reading
/// order. `query` is the question's embedding, `[dim]`; `lexical` its BM25 terms.
pub fn select(
    query: &[f32],
    lexical: &LexicalQuery,
    passages: &[Passage],
    embedder: &Embedder,
) -> Result<Vec<Sentence>> {
    let candidates = candidates(passages);
    // The heading resolves what a sentence beginning with "It" is about.
    let in_context = candidates.iter().map(|sentence| {
        let heading = passages[sentence.passage - 1].headings.last();
        format!("{}\n{}", heading.map_or("", String::as_str), sentence.text)
    });
    let window = embedder.passage_window();
    let fits = |text: &String| embedder.count_tokens(text) <= window;
    let in_context: Vec<String> = in_context.collect();
    let (candidates, in_context): (Vec<_>, Vec<_>) =
        candidates.into_iter().zip(in_context).filter(|(_, text)| fits(text)).unzip();
    if candidates.is_empty() {
        // Every sentence is too long to embed: fall back to the whole best passage.
        let whole = |passage: &Passage| Sentence { text: passage.text.clone(), passage: 1 };
        return Ok(passages.first().map(whole).into_iter().collect());
    }
    let embeddings = embedder.embed_passages(&in_context, Tokens::Dropped)?;
    let mut scored: Vec<(f32, usize)> = embeddings
        .iter()
        .enumerate()
        .map(|(i, embedding)| {
            let cosine = dot(&embedding.vector, query);
            let coverage = lexical.coverage(&in_context[i]);
            let rank = (candidates[i].passage - 1) as f32;
            (cosine + COVERAGE_WEIGHT * coverage - RANK_COST * rank, i)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let best = scored.first().map_or(0.0, |&(score, _)| score);
    let mut chosen: Vec<usize> = scored
        .into_iter()
        .take(MAX_SENTENCES)
        .filter(|&(score, _)| score >= best - MARGIN)
        .map(|(_, i)| i)
        .collect();
    chosen.sort_unstable();
    Ok(chosen.into_iter().map(|i| candidates[i].clone()).collect())
}

/// Sentences of the best passages that are long enough; all sentences if none is.
fn candidates(passages: &[Passage]) -> Vec<Sentence> {
    let mut candidates = Vec::new();
    for (rank, passage) in passages.iter().take(MAX_PASSAGES).enumerate() {
        for span in sentences(&passage.text) {
            let text = passage.format.readable(&passage.text[span]);
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if !text.is_empty() {
                candidates.push(Sentence { text, passage: rank + 1 });
            }
        }
    }
    let long = |sentence: &Sentence| sentence.text.chars().count() >= MIN_CHARACTERS;
    if candidates.iter().any(long) {
        candidates.retain(long);
    }
    candidates.truncate(MAX_CANDIDATES);
    candidates
}
