//! `POST /v1/answer`: an answer with everything that happens on the way, for the page and for programs
//! that show more than text.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::Shared;
use super::chat_request::Options;
use super::failed::Failed;
use super::request::{Body, Leaving};
use super::streamed::{Piece, streamed};
use super::told;
use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, Event};
use crate::terminal::Lang;

#[derive(Debug, Deserialize)]
pub struct AnswerRequest {
    question: String,
    /// What was asked and answered before, oldest first.
    #[serde(default)]
    history: Vec<Turn>,
    /// Of notices: `vi` or `en`.
    #[serde(default)]
    lang: Option<String>,
    #[serde(flatten)]
    options: Options,
}

#[derive(Debug, Deserialize)]
struct Turn {
    question: String,
    #[serde(default)]
    answer: String,
}

pub async fn answer(
    State(shared): State<Shared>,
    Body(request): Body<AnswerRequest>,
) -> Result<Response, Failed> {
    let service = Arc::clone(&shared.service);
    let AnswerRequest { question, history, lang, options } = request;
    let lang = match lang.as_deref() {
        Some("vi") => Lang::Vi,
        Some("en") => Lang::En,
        _ => service.terminal.lang,
    };
    let turns = history.iter().map(|turn| (turn.question.as_str(), turn.answer.as_str()));
    let asked = options.asked(question, Dialogue::after(turns), &service.options.answers)?;
    let (sender, receiver) = unbounded_channel::<Piece>();
    let interrupted = service.running.begin();
    let leaving = Leaving(Arc::clone(&interrupted));
    tokio::task::spawn_blocking(move || {
        let send = |object: Value| drop(sender.send(Ok(object.to_string())));
        let answered = service.ask(asked, &interrupted, &mut |event| {
            if let Some(notice) = told::notice(&event, lang, &service.options.llm_name) {
                send(json!({"event": "notice", "text": notice}));
            }
            send(as_json(&event));
        });
        send(match answered {
            Ok((answer, _)) => json!({"event": "done", "answer": with_ids(&answer)}),
            Err(error) => {
                let error = Failed::from(error).body();
                let mut error = error["error"].clone();
                error["event"] = "error".into();
                error
            }
        });
    });
    Ok(streamed(receiver, leaving).await)
}

/// An event, with the speed where there is one.
fn as_json(event: &Event) -> Value {
    let mut json = serde_json::to_value(event).unwrap_or_default();
    if let Event::Answered { pace: Some(pace), .. } = event {
        json["tokens"] = pace.tokens.into();
        json["tokens_per_second"] = pace.rate().into();
    }
    json
}

/// An answer, with the ids by which sources can be opened.
fn with_ids(answer: &Answer) -> Value {
    let mut json = serde_json::to_value(answer).unwrap_or_default();
    for (i, passage) in answer.passages.iter().enumerate() {
        json["passages"][i]["document_id"] = passage.source.document_id.as_str().into();
    }
    json
}
