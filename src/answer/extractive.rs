//! Extractive answers: the passages' own best sentences, verbatim and cited, without an LLM.

use anyhow::Result;

use crate::chunks::sentences;
use crate::embedding::{Embedder, Tokens, dot};
use crate::index::{LexicalQuery, Passage};

/// Sentences in an answer.
const MAX_SENTENCES: usize = 3;
/// Passages that they are taken from.
const MAX_PASSAGES: usize = 3;
/// Sentences that are compared; a passage has about ten.
const MAX_CANDIDATES: usize = 48;
/// A sentence this much below the best one adds nothing to the answer.
const MARGIN: f32 = 0.12;
/// Weight of the share of the question that a sentence covers against its cosine.
const COVERAGE_WEIGHT: f32 = 0.2;
/// What each rank of its passage costs a sentence: the first is the likeliest to be right.
const RANK_COST: f32 = 0.02;
/// A shorter sentence, in characters, says little by itself.
const MIN_CHARACTERS: usize = 20;

/// A sentence of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// As the document has it, without markup.
    pub text: String,
    /// The passage it is from, from 1.
    pub passage: usize,
}

/// The sentences of `passages` (best first) that answer the question best, in reading order. The
/// question is `query`, `[dim]`, to the embedder, and `lexical` to BM25.
pub fn select(
    query: &[f32],
    lexical: &LexicalQuery,
    passages: &[Passage],
    embedder: &Embedder,
) -> Result<Vec<Sentence>> {
    let candidates = candidates(passages);
    // The heading says what a sentence that begins with "It" is about.
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
        // No sentence is short enough to be judged by itself: the best passage is the answer.
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

/// The sentences of the best passages that are long enough, or all if none is.
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
