//! Extractive answers: the best sentences of the passages, verbatim and cited, without an LLM.
//!
//! A sentence that introduces a list brings the items that answer, and an item brings the sentence
//! that introduces it.

mod blocks;

use std::collections::BTreeSet;

use anyhow::Result;

use crate::embedding::{Embedder, Tokens, dot};
use crate::index::{LexicalQuery, Passage};
use blocks::{Block, blocks, items};

/// Maximum sentences in an answer; a list counts as one.
const MAX_SENTENCES: usize = 3;
/// Passages that sentences are taken from.
pub const MAX_PASSAGES: usize = 3;
/// Maximum sentences compared; a passage has about ten.
const MAX_CANDIDATES: usize = 64;
/// Sentences that score this far below the best one are left out.
const MARGIN: f32 = 0.12;
/// Maximum items of a list in an answer.
const MAX_ITEMS: usize = 8;
/// Items that score this far below the best of their list are left out.
const ITEM_MARGIN: f32 = 0.06;
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

/// A sentence or an item that may be selected.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    sentence: Sentence,
    /// The number of its list and its role there.
    list: Option<(usize, Role)>,
    /// Whether it says something on its own.
    is_whole: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Role {
    Introduction,
    /// With the text of its introduction.
    Item(String),
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
    let window = embedder.passage_window();
    let fits = |text: &String| embedder.count_tokens(text) <= window;
    let in_context = candidates.iter().map(|candidate| in_context(candidate, passages));
    let in_context: Vec<String> = in_context.collect();
    let (candidates, in_context): (Vec<_>, Vec<_>) =
        candidates.into_iter().zip(in_context).filter(|(_, text)| fits(text)).unzip();
    if candidates.is_empty() {
        // Every sentence is too long to embed: fall back to the whole best passage.
        let whole = |passage: &Passage| Sentence { text: passage.text.clone(), passage: 1 };
        return Ok(passages.first().map(whole).into_iter().collect());
    }
    let embeddings = embedder.embed_passages(&in_context, Tokens::Dropped)?;
    let scores: Vec<f32> = embeddings
        .iter()
        .zip(candidates.iter().zip(&in_context))
        .map(|(embedding, (candidate, text))| {
            let cosine = dot(&embedding.vector, query);
            let rank = (candidate.sentence.passage - 1) as f32;
            cosine + COVERAGE_WEIGHT * lexical.coverage(text) - RANK_COST * rank
        })
        .collect();
    let chosen = choose(&candidates, &scores);
    Ok(chosen.into_iter().map(|i| candidates[i].sentence.clone()).collect())
}

/// What is embedded for a candidate. The heading resolves what a sentence beginning with "It" is
/// about, and the introduction what an item is one of.
fn in_context(candidate: &Candidate, passages: &[Passage]) -> String {
    let Sentence { text, passage } = &candidate.sentence;
    let passage = &passages[passage - 1];
    let heading = passage.headings.last().or(passage.name.as_ref()).map_or("", String::as_str);
    match &candidate.list {
        Some((_, Role::Item(introduction))) => format!("{heading}\n{introduction} {text}"),
        _ => format!("{heading}\n{text}"),
    }
}

/// The best candidates, in reading order.
fn choose(candidates: &[Candidate], scores: &[f32]) -> BTreeSet<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let best = order.first().map_or(0.0, |&i| scores[i]);
    let mut chosen = BTreeSet::new();
    let mut sentences = 0;
    for i in order {
        if sentences == MAX_SENTENCES || scores[i] < best - MARGIN {
            break;
        }
        if chosen.contains(&i) {
            continue;
        }
        match candidates[i].list {
            None => drop(chosen.insert(i)),
            Some((list, _)) if chosen.iter().any(|&other| is_of(&candidates[other], list)) => {
                continue;
            }
            Some((list, _)) => chosen.extend(of_list(list, candidates, scores)),
        }
        sentences += 1;
    }
    chosen
}

fn is_of(candidate: &Candidate, list: usize) -> bool {
    candidate.list.as_ref().is_some_and(|&(of, _)| of == list)
}

/// The introduction of a list, and those of its items that answer about as well as the best of them.
fn of_list(list: usize, candidates: &[Candidate], scores: &[f32]) -> Vec<usize> {
    let members = (0..candidates.len()).filter(|&i| is_of(&candidates[i], list));
    let (mut chosen, mut items): (Vec<usize>, Vec<usize>) =
        members.partition(|&i| matches!(candidates[i].list, Some((_, Role::Introduction))));
    items.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let best = items.first().map_or(0.0, |&i| scores[i]);
    chosen.extend(items.into_iter().take(MAX_ITEMS).filter(|&i| scores[i] >= best - ITEM_MARGIN));
    chosen
}

/// Sentences and lists of the best passages. Headings, fragments, and what is too short to say
/// something are left out unless there is nothing else.
fn candidates(passages: &[Passage]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (rank, passage) in passages.iter().take(MAX_PASSAGES).enumerate() {
        let blocks = blocks(passage);
        // Notes without full stops are made of nothing but such sentences.
        let unfinished = blocks.iter().filter(|block| block.is_unfinished()).count();
        let has_full_stops = 2 * unfinished <= blocks.len();
        let mut rest = blocks.as_slice();
        while let Some((block, after)) = rest.split_first() {
            let count = if block.introduces() { items(block, after) } else { 0 };
            let (listed, after) = after.split_at(count);
            push_block(block, has_full_stops, rank + 1, &mut candidates);
            if !listed.is_empty() {
                push_list(listed, rank + 1, &mut candidates);
            }
            rest = after;
        }
    }
    if candidates.iter().any(|candidate| candidate.is_whole) {
        candidates.retain(|candidate| candidate.is_whole);
    }
    candidates.truncate(MAX_CANDIDATES);
    candidates
}

/// Adds the sentences of a block.
fn push_block(block: &Block, has_full_stops: bool, passage: usize, found: &mut Vec<Candidate>) {
    let last = block.sentences.len() - 1;
    for (at, text) in block.sentences.iter().enumerate() {
        let is_fragment =
            at == last && (block.introduces() || has_full_stops && block.is_unfinished());
        let is_long = text.chars().count() >= MIN_CHARACTERS;
        found.push(Candidate {
            sentence: Sentence { text: text.clone(), passage },
            list: None,
            is_whole: is_long && !is_fragment,
        });
    }
}

/// Makes the last candidate the introduction of a list, and adds the items.
fn push_list(items: &[Block], passage: usize, found: &mut Vec<Candidate>) {
    let list = found.len();
    let Some(introduction) = found.last_mut() else { return };
    introduction.list = Some((list, Role::Introduction));
    introduction.is_whole = true;
    let introduction = introduction.sentence.text.clone();
    found.extend(items.iter().map(|item| Candidate {
        sentence: Sentence { text: item.as_item(), passage },
        list: Some((list, Role::Item(introduction.clone()))),
        is_whole: true,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: &str = "Điều 25. Thời gian thử việc\n\nThời gian thử việc do hai bên thỏa thuận và \
        bảo đảm điều kiện sau đây:\n\n1. Không quá 180 ngày đối với người quản lý;\n\n2. Không quá \
        06 ngày đối với công việc khác.\n\nĐiều 26. Tiền lương thử việc\n\nTiền lương ít nhất phải \
        bằng 85% mức lương của công việc đó.";

    fn of(text: &str) -> Vec<Candidate> {
        candidates(&[Passage { text: text.to_owned(), ..Passage::default() }])
    }

    fn texts(candidates: &[Candidate], chosen: &BTreeSet<usize>) -> Vec<String> {
        chosen.iter().map(|&i| candidates[i].sentence.text.clone()).collect()
    }

    #[test]
    fn headings_are_no_sentences_where_sentences_have_full_stops() {
        let found = of(LAW);
        assert!(!found.iter().any(|candidate| candidate.sentence.text.contains("Tiền lương thử")));
        assert_eq!(found.len(), 4, "{found:?}");
        let notes = of("Mật khẩu wifi của văn phòng là abc\n\nPhòng họp ở tầng hai của toà nhà");
        assert_eq!(notes.len(), 2);
        assert!(of("Thử việc").len() == 1, "there is nothing else");
    }

    #[test]
    fn an_introduction_brings_its_items_and_an_item_its_introduction() {
        let found = of(LAW);
        let chosen = choose(&found, &[0.9, 0.8, 0.79, 0.2]);
        let introduced = texts(&found, &chosen);
        assert_eq!(introduced.len(), 3);
        assert!(introduced[1].starts_with("1. Không quá 180"), "{introduced:?}");
        let chosen = choose(&found, &[0.5, 0.6, 0.9, 0.2]);
        let one = texts(&found, &chosen);
        assert!(one[0].ends_with("sau đây:") && one[1].starts_with("2. Không quá 06"), "{one:?}");
        assert_eq!(one.len(), 2);
    }

    #[test]
    fn a_list_counts_once_and_what_introduces_nothing_does_not_answer() {
        let text = format!(
            "{LAW}\n\nMột câu khác đứng ở đây. Một câu nữa đứng ở đây.\n\nCòn lại gồm có những:"
        );
        let found = of(&text);
        assert!(!found.iter().any(|candidate| candidate.sentence.text.contains("Còn lại")));
        let chosen = choose(&found, &vec![0.9; found.len()]);
        assert_eq!(texts(&found, &chosen).len(), 5, "the list of three and two sentences");
    }
}
