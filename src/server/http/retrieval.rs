//! `POST /v1/search`, `/v1/rerank` and `/v1/source`: passages without an answer.

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::chat_request::MAX_TOP_K;
use super::failed::Failed;
use super::request::{Body, Wanted};
use crate::answer::document_name;
use crate::retrieval::Hit;
use crate::support::milliseconds;
use crate::text::question;

/// Most texts to rerank in a request.
const MAX_TEXTS: usize = 1000;

#[derive(Debug, Deserialize)]
pub struct SearchRequest {
    query: String,
    #[serde(default)]
    top_k: Option<usize>,
    #[serde(flatten)]
    wanted: Wanted,
}

pub async fn search(
    State(shared): State<Shared>,
    Body(request): Body<SearchRequest>,
) -> Result<Response, Failed> {
    let own = &shared.service.options.answers;
    let (below, top_k) = (own.names_below.clone(), request.top_k.unwrap_or(own.top_k));
    if !(1..=MAX_TOP_K).contains(&top_k) {
        return Err(Failed::bad_request("`top_k` has to be from 1 to 100"));
    }
    let selection = request.wanted.selection()?;
    let found = shared.work(move |service| {
        let question = question::normalize(&request.query)?;
        service.search(&question, top_k, &selection)
    });
    let found = found.await?;
    let hit = |(i, hit): (usize, &Hit)| {
        let name = |document: &str| document_name(document, below.as_deref());
        let passage = &hit.passage;
        let mut json = json!({
            "rank": i + 1,
            "document": name(&passage.document),
            "document_id": passage.document,
            "heading": passage.heading(),
            "score": hit.score,
            "scores": hit.scores,
            "text": passage.text,
            "copies": hit.copies.iter().map(|copy| name(&copy.document)).collect::<Vec<_>>(),
        });
        add_place(&mut json, passage.place);
        json
    };
    let hits: Vec<Value> = found.hits.iter().enumerate().map(hit).collect();
    let timings = json!({
        "embed": milliseconds::of(found.embed),
        "search": milliseconds::of(found.search),
        "rerank": milliseconds::of(found.rerank),
    });
    let relevance = found.relevance.probability;
    Ok(Json(json!({"hits": hits, "relevance": relevance, "timings_ms": timings})).into_response())
}

/// `lines`, `pages`, … beside the other fields, as in the command line's JSON.
fn add_place(json: &mut Value, place: Option<crate::documents::Place>) {
    let place = serde_json::to_value(place).unwrap_or_default();
    if let (Some(json), Value::Object(place)) = (json.as_object_mut(), place) {
        json.extend(place);
    }
}

#[derive(Debug, Deserialize)]
pub struct RerankRequest {
    query: String,
    documents: Vec<Document>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected texts, or objects with a `text`")]
enum Document {
    Bare(String),
    Object { text: String },
}

impl Document {
    fn into_text(self) -> String {
        match self {
            Self::Bare(text) | Self::Object { text } => text,
        }
    }
}

pub async fn rerank(
    State(shared): State<Shared>,
    Body(request): Body<RerankRequest>,
) -> Result<Response, Failed> {
    let own = shared.service.options.reranker_name.clone();
    check_model(request.model.as_deref(), &own)?;
    let texts: Vec<String> = request.documents.into_iter().map(Document::into_text).collect();
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        return Err(Failed::bad_request(format!("`documents` has to have 1 to {MAX_TEXTS} texts")));
    }
    let query = question::normalize(&request.query).map_err(anyhow::Error::from)?;
    let (texts, scores) = shared
        .work(move |service| {
            let scores = service.rerank(&query, &texts)?;
            Ok((texts, scores))
        })
        .await?;
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(request.top_n.unwrap_or(texts.len()));
    let results: Vec<Value> = order
        .into_iter()
        .map(|index| {
            let mut result = json!({"index": index, "relevance_score": scores[index]});
            if request.return_documents {
                result["document"] = json!({"text": texts[index]});
            }
            result
        })
        .collect();
    Ok(Json(json!({"model": own, "results": results})).into_response())
}

/// # Errors
/// The request names another model than the server's.
pub fn check_model(asked: Option<&str>, own: &str) -> Result<(), Failed> {
    match asked.filter(|asked| *asked != own && *asked != super::chat_request::MODEL) {
        Some(other) => {
            Err(Failed::not_found(format!("there is no model {other:?} for this, only {own}")))
        }
        None => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
pub struct SourceRequest {
    document_id: String,
}

/// A document as it is in the index, passage by passage. No file is read.
pub async fn source(
    State(shared): State<Shared>,
    Body(request): Body<SourceRequest>,
) -> Result<Response, Failed> {
    let id = request.document_id;
    let known = id.clone();
    let passages = shared.work(move |service| Ok(service.document(&known).ok())).await?;
    let passages = passages.ok_or_else(|| Failed::not_found("the index has no such document"))?;
    let below = shared.service.options.answers.names_below.as_deref();
    let passages: Vec<Value> = passages
        .iter()
        .map(|passage| {
            let mut json = json!({"heading": passage.heading(), "text": passage.text});
            add_place(&mut json, passage.place);
            json
        })
        .collect();
    Ok(Json(json!({"document": document_name(&id, below), "passages": passages})).into_response())
}
