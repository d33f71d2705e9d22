//! `POST /v1/chat/completions`: an answer from the documents, whole or as it is written.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Shared;
use super::chat_request::{ChatRequest, MODEL};
use super::citing;
use super::failed::Failed;
use super::request::{Body, Leaving};
use super::streamed::{Piece, streamed};
use crate::answer::{Answer, Event, Reason};
use crate::server::{Asked, Service};
use crate::terminal::Lang;
use crate::text::language::Language;

/// What all pieces of an answer have in common.
#[derive(Clone)]
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn new(model: Option<String>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("chatcmpl-{:x}-{number:x}", now.as_nanos());
        let model = model.unwrap_or_else(|| MODEL.to_owned());
        Self { id, created: now.as_secs(), model }
    }

    /// An object with this head.
    fn object(&self, kind: &str, rest: Value) -> Value {
        let mut object = json!({
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
        });
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        object
    }

    fn chunk(&self, delta: &Value) -> Value {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": null}]);
        self.object("chat.completion.chunk", json!({ "choices": choices }))
    }
}

pub async fn complete(
    State(shared): State<Shared>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, Failed> {
    let service = Arc::clone(&shared.service);
    let head = Head::new(request.model.clone());
    let is_stream = request.stream;
    let with_usage = request.stream_options.as_ref().is_some_and(|options| options.include_usage);
    let llm = service.options.llm_name.clone();
    let asked = request.asked(&service.options.answers, &[MODEL, &llm])?;
    match is_stream {
        true => Ok(stream(service, asked, head, with_usage).await),
        false => whole(service, asked, &head).await,
    }
}

async fn whole(service: Arc<Service>, asked: Asked, head: &Head) -> Result<Response, Failed> {
    let lang = lang_of(&asked.question);
    let interrupted = service.running.begin();
    let leaving = Leaving(Arc::clone(&interrupted));
    let answering =
        tokio::task::spawn_blocking(move || service.ask(asked, &interrupted, &mut |_| {}));
    let answered = answering.await?;
    drop(leaving);
    let (answer, _) = answered?;
    let text = text_of(&answer, lang);
    let sources = citing::sources(&answer, lang);
    let message = json!({
        "role": "assistant",
        "content": format!("{text}{sources}"),
        "refusal": null,
        "annotations": citing::annotations(&answer, &text),
    });
    let choices = json!([{"index": 0, "message": message, "finish_reason": finish(&answer), "logprobs": null}]);
    let rest = json!({"choices": choices, "usage": usage(&answer), "rag_query": answer});
    Ok(Json(head.object("chat.completion", rest)).into_response())
}

async fn stream(service: Arc<Service>, asked: Asked, head: Head, with_usage: bool) -> Response {
    let (sender, receiver) = unbounded_channel::<Piece>();
    let interrupted = service.running.begin();
    let leaving = Leaving(Arc::clone(&interrupted));
    tokio::task::spawn_blocking(move || {
        let writing = Writing { head, sender, has_begun: Cell::new(false) };
        let lang = lang_of(&asked.question);
        let answered = service.ask(asked, &interrupted, &mut |event| writing.tell(&event, lang));
        match answered {
            Ok((answer, _)) => writing.finish(&answer, lang, with_usage),
            Err(error) => drop(writing.sender.send(Err(Failed::from(error)))),
        }
        let _ = writing.sender.send(Ok("[DONE]".to_owned()));
    });
    streamed(receiver, leaving).await
}

/// An answer on its way to a client.
struct Writing {
    head: Head,
    sender: UnboundedSender<Piece>,
    has_begun: Cell<bool>,
}

impl Writing {
    /// Sends an object. Whether the client is still there is told by its flag.
    fn send(&self, object: &Value) {
        // Who speaks is told with the first text: until then, an error can still be the response.
        if !self.has_begun.replace(true) {
            self.send(&self.head.chunk(&json!({"role": "assistant", "content": ""})));
        }
        let _ = self.sender.send(Ok(object.to_string()));
    }

    fn text(&self, text: &str) {
        self.send(&self.head.chunk(&json!({ "content": text })));
    }

    fn tell(&self, event: &Event, lang: Lang) {
        match event {
            Event::Text { text } => self.text(text),
            Event::Thinking { text } => {
                self.send(&self.head.chunk(&json!({ "reasoning_content": text })));
            }
            // What was sent cannot be taken back.
            Event::Retracted => self.text(&format!("\n\n({})\n\n", lang.retracted())),
            _ => {}
        }
    }

    fn finish(&self, answer: &Answer, lang: Lang, with_usage: bool) {
        if answer.answer.is_empty() {
            self.text(&text_of(answer, lang));
        }
        let sources = citing::sources(answer, lang);
        let annotations = citing::annotations(answer, &answer.answer);
        let delta = json!({ "content": sources, "annotations": annotations });
        self.send(&self.head.chunk(&delta));
        let choices = json!([{"index": 0, "delta": {}, "finish_reason": finish(answer)}]);
        let rest = json!({ "choices": choices, "rag_query": answer });
        self.send(&self.head.object("chat.completion.chunk", rest));
        if with_usage {
            let rest = json!({ "choices": [], "usage": usage(answer) });
            self.send(&self.head.object("chat.completion.chunk", rest));
        }
    }
}

/// The language in which a client is told why there is no answer.
fn lang_of(question: &str) -> Lang {
    match Language::of(question) {
        Language::Vietnamese => Lang::Vi,
        Language::English | Language::Other => Lang::En,
    }
}

/// The answer, or why there is none, in words.
fn text_of(answer: &Answer, lang: Lang) -> String {
    match (answer.answer.as_str(), answer.reason) {
        ("", Some(Reason::Interrupted)) => lang.interrupted().trim().to_owned(),
        ("", Some(reason)) => lang.refused(reason).trim().to_owned(),
        (text, _) => text.to_owned(),
    }
}

fn finish(answer: &Answer) -> &'static str {
    match answer.reason {
        Some(Reason::MaxTokens) => "length",
        Some(Reason::ContentFilter) => "content_filter",
        _ => "stop",
    }
}

fn usage(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.generated,
        "total_tokens": tokens.prompt + tokens.generated,
    })
}
