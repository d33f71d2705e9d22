//! Finds sentences of a generated answer that the passages do not support.
//!
//! Support is judged by shared words and by embedding similarity. That catches claims about things
//! the passages do not mention, but not a wrong number in an otherwise correct sentence;
//! docs/prompt.md has the figures.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::citations::{cited, spans, without_citations};
use super::refusal::is_refusal;
use crate::chunks::sentences;
use crate::embedding::{Embedder, Tokens, dot};
use crate::index::{Index, Passage};
use crate::models::catalogue::SupportThresholds;
use crate::text::analyze::{TermKind, terms};
use crate::text::language::Language;

/// Shorter sentences are not judged: "Yes." claims nothing on its own.
const MIN_CLAIM_WORDS: usize = 3;
/// Coverage of a sentence's idf weight that counts as support whatever the embeddings say.
const SUFFICIENT_COVERAGE: f32 = 0.5;
/// Coverage threshold where words alone decide: no calibrated embedder, and both texts in the same
/// language.
const MIN_COVERAGE_BY_WORDS: f32 = 0.2;

/// A sentence that no passage supports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// The sentence, including citations.
    pub text: String,
    /// Byte offset of its start in the answer.
    pub start: usize,
    /// Byte offset of its end.
    pub end: usize,
}

/// What the passages say for an answer.
pub struct Support {
    /// Its sentences that are not supported by the passages they cite, or, if they cite none, by any
    /// passage.
    pub unsupported: Vec<Unsupported>,
    /// For each sentence without a citation, the number of the passage that supports it best; in the
    /// order of the sentences, each once.
    pub supporting: Vec<usize>,
}

/// Compares each sentence of `answer` with the passages.
pub fn judge(
    answer: &str,
    passages: &[Passage],
    index: &dyn Index,
    embedder: &Embedder,
    thresholds: Option<SupportThresholds>,
) -> Result<Support> {
    let mut judge = Judge::new(index, embedder, thresholds);
    let mut support = Support { unsupported: Vec::new(), supporting: Vec::new() };
    for span in statements(answer) {
        let text = &answer[span.clone()];
        let statement = without_citations(text);
        if !claims(&statement) {
            continue;
        }
        let (mut numbers, _) = cited(text, passages.len());
        let cites_none = numbers.is_empty();
        if cites_none {
            numbers = (1..=passages.len()).collect();
        }
        match judge.supporting(&statement, &numbers, passages)? {
            Verdict::Unsupported => {
                let (start, end) = (span.start, span.end);
                support.unsupported.push(Unsupported { text: text.to_owned(), start, end });
            }
            Verdict::SupportedBy(number) if cites_none && !support.supporting.contains(&number) => {
                support.supporting.push(number);
            }
            Verdict::SupportedBy(_) | Verdict::NotJudged => {}
        }
    }
    Ok(support)
}

/// What the passages say for a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The number of the passage that supports it best.
    SupportedBy(usize),
    Unsupported,
    /// Nothing tells.
    NotJudged,
}

/// Compares sentences with passages, and caches the passages' embeddings.
pub struct Judge<'a> {
    index: &'a dyn Index,
    embedder: &'a Embedder,
    thresholds: Option<SupportThresholds>,
    /// Sentence vectors of each passage embedded so far, by passage number.
    embedded: BTreeMap<usize, Vec<Vec<f32>>>,
}

impl<'a> Judge<'a> {
    /// Embeds nothing yet.
    pub fn new(
        index: &'a dyn Index,
        embedder: &'a Embedder,
        thresholds: Option<SupportThresholds>,
    ) -> Self {
        Self { index, embedder, thresholds, embedded: BTreeMap::new() }
    }

    /// Which of the passages in `numbers` supports the statement best, if any does. Embeds only if
    /// word overlap does not decide.
    fn supporting(
        &mut self,
        statement: &str,
        numbers: &[usize],
        passages: &[Passage],
    ) -> Result<Verdict> {
        let lexical = self.index.lexical(statement)?;
        let coverage: Vec<(usize, f32)> = numbers
            .iter()
            .map(|&number| (number, lexical.coverage(&passages[number - 1].text_to_embed())))
            .collect();
        if let Some((number, _)) = best(&coverage, SUFFICIENT_COVERAGE) {
            return Ok(Verdict::SupportedBy(number));
        }
        let language = Language::of(statement).code();
        let same = |number: usize| {
            language.is_some() && Language::of(&passages[number - 1].text).code() == language
        };
        let Some(thresholds) = self.thresholds else {
            if coverage.iter().any(|&(number, _)| !same(number)) {
                return Ok(Verdict::NotJudged);
            }
            let found = best(&coverage, MIN_COVERAGE_BY_WORDS);
            return Ok(
                found.map_or(Verdict::Unsupported, |(number, _)| Verdict::SupportedBy(number))
            );
        };
        let Some(vector) = self.embed(vec![statement.to_owned()])?.pop() else {
            // Too long to embed, and not really a sentence.
            return Ok(Verdict::NotJudged);
        };
        let mut margins = Vec::new();
        for &(number, coverage) in &coverage {
            let cosine = self.nearest(&vector, number, &passages[number - 1])?;
            let threshold =
                if same(number) { thresholds.same_language } else { thresholds.across_languages };
            margins.push((number, coverage + cosine - threshold));
        }
        let found = best(&margins, 0.0);
        Ok(found.map_or(Verdict::Unsupported, |(number, _)| Verdict::SupportedBy(number)))
    }

    /// The highest cosine between `statement` and a sentence of the passage; 0 if it has none.
    pub fn nearest(&mut self, statement: &[f32], number: usize, passage: &Passage) -> Result<f32> {
        if !self.embedded.contains_key(&number) {
            let spans = sentences(&passage.text).into_iter();
            let texts = spans.map(|span| passage.format.readable(&passage.text[span])).collect();
            let vectors = self.embed(texts)?;
            self.embedded.insert(number, vectors);
        }
        let cosine = |vector: &Vec<f32>| dot(vector, statement);
        Ok(self.embedded[&number].iter().map(cosine).fold(0.0, f32::max))
    }

    /// Embeds `texts`, skipping those that are empty or too long for the embedder.
    pub fn embed(&self, mut texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        let window = self.embedder.passage_window();
        texts.retain(|text| !text.is_empty() && self.embedder.count_tokens(text) <= window);
        let embeddings = self.embedder.embed_passages(&texts, Tokens::Dropped)?;
        Ok(embeddings.into_iter().map(|embedding| embedding.vector).collect())
    }
}

/// The highest of the scores, if it is at least `least`; the first of equal ones.
fn best(scores: &[(usize, f32)], least: f32) -> Option<(usize, f32)> {
    let fitting = scores.iter().copied().filter(|&(_, score)| score >= least);
    fitting.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// Byte ranges of an answer's sentences. Citations after a full stop belong to the sentence before.
fn statements(answer: &str) -> Vec<Range<usize>> {
    let citations = spans(answer);
    // The sentence splitter trips over "[1]" but not over spaces, so blank out citations first.
    let mut blanked = answer.to_owned();
    for span in &citations {
        blanked.replace_range(span.clone(), &" ".repeat(span.len()));
    }
    let mut found = sentences(&blanked);
    for i in 0..found.len() {
        let next = found.get(i + 1).map_or(answer.len(), |next| next.start);
        let after = found[i].end..next;
        let line = answer[after.clone()].find('\n').map_or(after.end, |end| after.start + end);
        let last = citations.iter().rfind(|span| (after.start..line).contains(&span.start));
        found[i].end = last.map_or(after.start, |span| span.end.max(after.start));
    }
    found
}

/// Whether a sentence makes a claim that can be checked.
fn claims(statement: &str) -> bool {
    let statement = statement.trim_end();
    let leads_or_asks = statement.ends_with([':', '?']);
    !leads_or_asks
        && terms(statement, TermKind::Exact).len() >= MIN_CLAIM_WORDS
        && !is_refusal(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(answer: &str) -> Vec<&str> {
        statements(answer).into_iter().map(|span| &answer[span]).collect()
    }

    #[test]
    fn a_citation_belongs_to_the_sentence_that_it_follows() {
        for (answer, expected) in [
            (
                "It is big. [1] That is small [2]. All is well. [1][3]",
                &["It is big. [1]", "That is small [2].", "All is well. [1][3]"][..],
            ),
            (
                "NLP là gì đó [1].\n\n- Một ý. [2]\n- Hai ý",
                &["NLP là gì đó [1].", "Một ý. [2]", "Hai ý"],
            ),
            ("[1] A is B.", &["A is B."]),
            ("A is B.\n- [1] C is D.", &["A is B.", "C is D."]),
            ("[1]", &[]),
            ("", &[]),
        ] {
            assert_eq!(texts(answer), expected, "{answer}");
        }
    }

    #[test]
    fn only_what_claims_something_is_judged() {
        for statement in [
            "BERT was published by Google.",
            "Máy pha cà phê được vệ sinh vào thứ Sáu.",
            "The text does not mention the price, but it is 30 dollars.",
            "Water does not contain alcohol.",
            "Công ty không có chi nhánh ở Huế.",
        ] {
            assert!(claims(statement), "{statement}");
        }
        for statement in [
            "Yes.",
            "Here are the steps:",
            "Would you like to know more?",
            "The passages do not contain the answer to this question.",
            "There is no information about the price in the provided documents.",
            "The documents don’t mention it.",
            "I cannot find the answer in the text.",
            "Các đoạn văn không chứa câu trả lời.",
            "Tài liệu không đề cập đến giá vé.",
            "Tôi không tìm thấy thông tin về vấn đề này.",
            "Không có thông tin về điều đó trong các đoạn đã cho.",
        ] {
            assert!(!claims(statement), "{statement}");
        }
    }
}
