//! Responses that come in pieces, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::failed::Failed;
use super::request::Leaving;

/// How long a response may stay without a status, to see whether it fails before it begins.
const BEFORE_STATUS: Duration = Duration::from_secs(3);

/// What a stream is made of: a text for each event, or the error that ends it.
pub type Piece = Result<String, Failed>;

/// An event for each piece that comes, until there are no more. If the first is an error that comes at
/// once, it is the whole response, with its status. `leaving` is dropped with the stream: when the client
/// has left, the answer stops. Nothing is lost if that is slow: an answer is bounded.
pub async fn streamed(mut pieces: UnboundedReceiver<Piece>, leaving: Leaving) -> Response {
    let first = match timeout(BEFORE_STATUS, pieces.recv()).await {
        Ok(Some(Err(failed))) => return failed.into_response(),
        Ok(first) => first,
        Err(_) => None,
    };
    let pieces = tokio_stream::iter(first).chain(UnboundedReceiverStream::new(pieces));
    let events = pieces.map(move |piece| {
        let _ = &leaving;
        let text = piece.unwrap_or_else(|failed| failed.body().to_string());
        Ok::<_, Infallible>(Event::default().data(text))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
