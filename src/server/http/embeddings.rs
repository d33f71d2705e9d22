//! `POST /v1/embeddings`: the vectors of texts.

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::failed::Failed;
use super::request::{Body, Texts};

/// Most texts in a request.
const MAX_TEXTS: usize = 2048;

#[derive(Debug, Deserialize)]
pub struct EmbeddingsRequest {
    input: Texts,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<usize>,
    /// `query` or `passage`: embedders tell them apart.
    #[serde(default)]
    input_type: Option<String>,
}

pub async fn embed(
    State(shared): State<Shared>,
    Body(request): Body<EmbeddingsRequest>,
) -> Result<Response, Failed> {
    let own = shared.service.options.embedder_name.clone();
    super::retrieval::check_model(request.model.as_deref(), &own)?;
    let texts = request.input.0;
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        return Err(Failed::bad_request(format!("`input` has to have 1 to {MAX_TEXTS} texts")));
    }
    if request.dimensions.is_some() {
        return Err(Failed::bad_request(
            "`dimensions`: the vectors of this model cannot be shortened",
        ));
    }
    let is_base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Failed::bad_request("`encoding_format` has to be float or base64")),
    };
    let is_query = match request.input_type.as_deref() {
        None | Some("passage" | "document") => false,
        Some("query") => true,
        Some(_) => return Err(Failed::bad_request("`input_type` has to be query or passage")),
    };
    let (vectors, tokens) = shared
        .work(move |service| {
            let tokens = service.count_tokens(&texts)?;
            let vectors = match is_query {
                true => service.embed_questions(&texts)?,
                false => service.embed_passages(&texts)?,
            };
            Ok((vectors, tokens))
        })
        .await?;
    let data: Vec<Value> = vectors
        .into_iter()
        .enumerate()
        .map(|(index, vector)| {
            let embedding: Value = if is_base64 { encoded(&vector).into() } else { vector.into() };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let body = json!({"object": "list", "data": data, "model": own, "usage": usage});
    Ok(Json(body).into_response())
}

/// Little-endian 32-bit floats in base64, as OpenAI's client decodes them.
fn encoded(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
