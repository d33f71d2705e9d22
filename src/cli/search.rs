//! `rag-query search`: lists passages for a question, without answering it.

use std::io;

use anyhow::Result;
use serde::Serialize;

use super::exit::Exit;
use super::lines;
use super::refresh;
use super::setup::Setup;
use crate::documents::Place;
use crate::retrieval::{Hit, Scores};
use crate::terminal::{Terminal, document_name, shown_name};
use crate::text::question;

/// A hit, as `--json` prints it.
#[derive(Serialize)]
struct JsonHit<'a> {
    question: &'a str,
    rank: usize,
    document: String,
    heading: String,
    #[serde(flatten)]
    place: Option<Place>,
    score: f32,
    scores: Scores,
    relevance: f32,
    text: &'a str,
}

pub fn run(setup: &Setup, query: Option<&str>) -> Result<Exit> {
    let query = query.map(question::normalize).transpose()?;
    let models = setup.models()?;
    if let Some(exit) = refresh::run(setup, &models) {
        return Ok(exit);
    }
    let (index, _) = setup.open_index(&models)?;
    let retriever = models.retriever(index.as_ref())?;
    let search = |question: &str| -> Result<Exit> {
        let retrieval = retriever.retrieve(question, setup.global.top_k)?;
        let lang = setup.terminal.lang;
        setup.terminal.say(&lang.searched(retrieval.embed + retrieval.search));
        if models.reranker.is_some() {
            setup.terminal.say(&lang.reranked(retrieval.rerank));
        }
        for (i, hit) in retrieval.hits.iter().enumerate() {
            if setup.global.json {
                setup.terminal.print_json(&json_hit(
                    question,
                    i + 1,
                    hit,
                    retrieval.relevance.probability,
                ))?;
            } else {
                print(setup.terminal, i + 1, hit)?;
            }
        }
        Ok(if retrieval.hits.is_empty() { Exit::NotInDocuments } else { Exit::Answered })
    };
    match query {
        Some(query) => search(&query),
        None => lines::each_question(setup.terminal, search),
    }
}

fn json_hit<'a>(question: &'a str, rank: usize, hit: &'a Hit, relevance: f32) -> JsonHit<'a> {
    JsonHit {
        question,
        rank,
        document: document_name(&hit.passage.document),
        heading: hit.passage.heading(),
        place: hit.passage.place,
        score: hit.score,
        scores: hit.scores,
        relevance,
        text: &hit.passage.text,
    }
}

fn print(terminal: Terminal, rank: usize, hit: &Hit) -> io::Result<()> {
    let passage = &hit.passage;
    let document = shown_name(&passage.document);
    let place = terminal.lang.place(passage.place);
    let heading = passage.heading();
    let heading = if heading.is_empty() { heading } else { format!(" — {heading}") };
    let text: Vec<String> = passage.text.lines().map(|line| format!("   {line}\n")).collect();
    let text = text.concat();
    terminal.print(&format!("{rank}. {document}{heading}{place} {:.4}\n{text}\n", hit.score))
}
