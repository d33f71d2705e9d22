//! `rag-query search`: lists passages for a question, without answering it.

use std::io;

use anyhow::Result;
use serde::Serialize;

use super::args::SamplingArgs;
use super::lines::{self, Input};
use super::refresh;
use super::respondent::Backend;
use super::setup::Setup;
use crate::answer::AnswerOptions;
use crate::documents::Place;
use crate::index::{Passage, file_of};
use crate::retrieval::{Hit, Scores};
use crate::terminal::exit::Exit;
use crate::terminal::{Named, Terminal, document_name, in_index, print_named, shown_name};
use crate::text::question;

/// Other places of a text that are shown to people; `--json` has them all.
const MAX_SHOWN_COPIES: usize = 4;

/// A hit, as `--json` prints it.
#[derive(Serialize)]
struct JsonHit<'a> {
    /// As it was given, byte for byte.
    question: &'a str,
    /// What was searched for, if that is not the same.
    searched: Option<&'a str>,
    rank: usize,
    document: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    heading: String,
    #[serde(flatten)]
    place: Option<Place>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recognized: bool,
    score: f32,
    scores: Scores,
    relevance: f32,
    text: &'a str,
    /// Other places of the same text.
    copies: Vec<JsonCopy>,
}

#[derive(Serialize)]
struct JsonCopy {
    document: String,
    heading: String,
    #[serde(flatten)]
    place: Option<Place>,
}

pub fn run(setup: &Setup, sampling: &SamplingArgs, query: Option<&str>) -> Result<Exit> {
    // Reject bad input before loading anything.
    query.map(question::normalize).transpose()?;
    let models = setup.models()?;
    if let Some(exit) = refresh::run(setup, &models) {
        return Ok(exit);
    }
    // A template that cannot be used is no matter of a search.
    let top_k = setup.global.top_k;
    let options = setup.answer_options(sampling);
    let options = options.unwrap_or_else(|_| AnswerOptions { top_k, ..AnswerOptions::default() });
    let backend = Backend::find(setup, &models, &options)?;
    let who = backend.respondent(setup, &models, options)?;
    let search = |input: &Input| -> Result<Exit> {
        let question = input.question.as_str();
        let searched = question::normalize(question)?;
        let retrieval = who.search(&searched)?;
        let lang = setup.terminal.lang;
        let relevance = retrieval.relevance.probability;
        setup.terminal.say(&lang.searched(retrieval.embed + retrieval.search));
        if models.reranker.is_some() {
            setup.terminal.say(&lang.reranked(retrieval.rerank));
        }
        for (i, hit) in retrieval.hits.iter().enumerate() {
            if setup.global.json {
                let hit = json_hit(question, &searched, i + 1, hit, relevance);
                setup.terminal.print_json(&input.with_id(&hit))?;
            } else {
                print(setup.terminal, i + 1, hit)?;
            }
        }
        Ok(if retrieval.hits.is_empty() { Exit::NotInDocuments } else { Exit::Answered })
    };
    match query {
        Some(query) => search(&Input::of(query)),
        None => lines::each_question(None, setup.terminal, setup.global.json, search),
    }
}

fn json_hit<'a>(
    question: &'a str,
    searched: &'a str,
    rank: usize,
    hit: &'a Hit,
    relevance: f32,
) -> JsonHit<'a> {
    let copy = |copy: &Passage| JsonCopy {
        document: document_name(&copy.document),
        heading: copy.heading(),
        place: copy.place,
    };
    JsonHit {
        question,
        searched: Some(searched).filter(|searched| *searched != question),
        rank,
        document: document_name(&hit.passage.document),
        index: hit.passage.index.as_deref(),
        heading: hit.passage.heading(),
        place: hit.passage.place,
        recognized: hit.passage.recognized,
        score: hit.score,
        scores: hit.scores,
        relevance,
        text: &hit.passage.text,
        copies: hit.copies.iter().map(copy).collect(),
    }
}

/// Prints a hit for people.
pub fn print(terminal: Terminal, rank: usize, hit: &Hit) -> io::Result<()> {
    let passage = &hit.passage;
    let document = shown_name(&passage.document);
    let place = terminal.lang.place(passage.place) + terminal.lang.recognized(passage.recognized);
    let heading = passage.heading();
    let heading = if heading.is_empty() { heading } else { format!(" — {heading}") };
    let text: Vec<String> = passage.text.lines().map(|line| format!("   {line}\n")).collect();
    let text = text.concat();
    let shown = hit.copies.iter().take(MAX_SHOWN_COPIES);
    let copies: Vec<String> = shown
        .map(|copy| format!("{}{}", shown_name(&copy.document), terminal.lang.place(copy.place)))
        .collect();
    let also = if copies.is_empty() {
        String::new()
    } else {
        let more = hit.copies.len() - copies.len();
        format!("   {}\n", terminal.lang.also_in(&copies.join(", "), more))
    };
    let line = Named {
        before: String::new(),
        name: format!("{rank}. {document}"),
        after: format!("{heading}{place}{} {:.4}", in_index(passage.index.as_deref()), hit.score),
        file: file_of(&passage.document).to_owned(),
    };
    print_named(&[line])?;
    terminal.print(&format!("{also}{text}\n"))
}
