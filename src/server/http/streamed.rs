//! Responses that come in pieces, as server-sent events.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::request::Leaving;

/// An event for each text that comes, until there are no more. `leaving` is dropped with the stream: when
/// the client has left, the answer stops. Nothing is lost if that is slow: an answer is bounded.
pub fn streamed(texts: UnboundedReceiver<String>, leaving: Leaving) -> Response {
    let events = UnboundedReceiverStream::new(texts).map(move |text| {
        let _ = &leaving;
        Ok::<_, Infallible>(Event::default().data(text))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
