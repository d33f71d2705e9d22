//! A single request to a single server.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ureq::tls::RootCerts;

use super::chat::{self, NoPiece, Piece, Request};
use super::connection::{Connection, Failure, Head, Incoming, NothingCame};
use super::sse::Events;
use super::{Endpoint, Key, RemoteError, ServerMessage};
use crate::generation::local::{SamplingOptions, Stop};
use crate::prompt::Messages;

/// How much of an error body is read, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Time limit for reading it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Upper bound on a token's length in bytes: longer text must exceed the requested number of
/// tokens.
const MAX_TOKEN_BYTES: usize = 256;
/// Events without text allowed even for a short answer: reasoning, which is not shown, has events
/// of its own.
const MAX_SILENT_EVENTS: usize = 10_000;

/// An answer, possibly partial.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `host:port`.
    pub server: String,
    /// The requested model.
    pub model: String,
    pub text: String,
    /// Tokens in the prompt; 0 if the server does not report it.
    pub prompt_tokens: usize,
    /// Tokens in the answer; the number of pieces if the server does not report it.
    pub tokens: usize,
    /// Time to the first text.
    pub first: Duration,
    /// Time from the first text to the end.
    pub rest: Duration,
    /// Why generation stopped.
    pub stop: Stop,
}

impl Reply {
    /// The user interrupted before `endpoint` sent anything.
    pub(crate) fn interrupted(endpoint: &Endpoint) -> Self {
        Self {
            server: endpoint.host().to_owned(),
            model: endpoint.model().to_owned(),
            text: String::new(),
            prompt_tokens: 0,
            tokens: 0,
            first: Duration::ZERO,
            rest: Duration::ZERO,
            stop: Stop::Interrupted,
        }
    }
}

/// A server, with the credentials and settings for requests to it.
pub(crate) struct Server<'a> {
    pub endpoint: &'a Endpoint,
    /// Absent if it may not be sent to this server.
    pub key: Option<&'a Key>,
    /// Trusted certificate authorities.
    pub roots: &'a RootCerts,
    /// How long the server may be silent.
    pub patience: Duration,
}

impl Server<'_> {
    /// Sends the request and passes each piece of the answer to `on_text` as it arrives. After the
    /// first piece, every error is a [`RemoteError::BrokenOff`].
    pub fn ask(
        &self,
        messages: &Messages,
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Reply, RemoteError> {
        let request = Request::new(self.endpoint.model(), messages, options);
        let json = serde_json::to_vec(&request).map_err(|error| self.bad(error.to_string()))?;
        let start = Instant::now();
        let url = self.endpoint.url("chat/completions");
        let mut connection = Connection::post(&url, self.key, self.roots, json);
        let mut reply = Reply::interrupted(self.endpoint);
        match self.head(&mut connection, interrupted)? {
            Some(head) => self.check(head, &mut connection, interrupted)?,
            None => return Ok(reply),
        }
        let mut reading = Reading::new(options.max_tokens, on_text);
        let read = self.read(&mut connection, interrupted, &mut reading);
        reply.stop = read.map_err(|error| match reading.first_text {
            // Part of the answer has been shown: a retry would show two answers.
            Some(_) => self.broken_off(&error),
            None => error,
        })?;
        let first_text = reading.first_text.unwrap_or_else(Instant::now);
        reply.first = first_text - start;
        reply.rest = first_text.elapsed();
        (reply.prompt_tokens, reply.tokens) = reading.usage.unwrap_or((0, reading.pieces));
        reply.text = reading.text;
        Ok(reply)
    }

    /// The names of the server's models.
    pub fn models(&self, interrupted: &AtomicBool) -> Result<Vec<String>, RemoteError> {
        let url = self.endpoint.url("models");
        let mut connection = Connection::get(&url, self.key, self.roots);
        let Some(head) = self.head(&mut connection, interrupted)? else { return Ok(Vec::new()) };
        if head.status != 200 {
            return Err(self.refusal(&head, &mut connection, interrupted));
        }
        let body = body(&mut connection, interrupted);
        chat::models(&body).ok_or_else(|| self.bad("it lists no models".to_owned()))
    }

    /// The head of the response; `None` if the user interrupts.
    fn head(
        &self,
        connection: &mut Connection,
        interrupted: &AtomicBool,
    ) -> Result<Option<Head>, RemoteError> {
        match connection.next(interrupted, Instant::now() + self.patience) {
            Ok(Incoming::Head(head)) => Ok(Some(head)),
            Ok(Incoming::Failed(failure)) => Err(self.unreachable(failure)),
            Ok(Incoming::Bytes(_) | Incoming::End) => {
                Err(RemoteError::NothingCame { server: self.name() })
            }
            Err(NothingCame::Interrupted) => Ok(None),
            Err(NothingCame::Silent) => Err(self.silent()),
        }
    }

    fn check(
        &self,
        head: Head,
        connection: &mut Connection,
        interrupted: &AtomicBool,
    ) -> Result<(), RemoteError> {
        if head.status != 200 {
            return Err(self.refusal(&head, connection, interrupted));
        }
        match head.content_type {
            Some(kind) if !kind.to_ascii_lowercase().starts_with("text/event-stream") => {
                Err(self.bad(format!("{} instead of a stream of events", self.message(&kind).0)))
            }
            _ => Ok(()),
        }
    }

    /// Reads events until the answer is complete, and returns why it ended.
    fn read(
        &self,
        connection: &mut Connection,
        interrupted: &AtomicBool,
        reading: &mut Reading,
    ) -> Result<Stop, RemoteError> {
        let mut events = Events::default();
        // Only events extend it: a server that sends nothing but comments counts as silent.
        let mut deadline = Instant::now() + self.patience;
        loop {
            let bytes = match connection.next(interrupted, deadline) {
                Ok(Incoming::Bytes(bytes)) => bytes,
                Ok(Incoming::Head(_) | Incoming::End) => return self.end(reading, Ending::Closed),
                Err(NothingCame::Interrupted) => return Ok(Stop::Interrupted),
                // The answer is complete once the server has sent a finish reason; ignore later
                // failures.
                Ok(Incoming::Failed(_)) | Err(NothingCame::Silent)
                    if reading.finish_reason.is_some() =>
                {
                    return self.end(reading, Ending::Closed);
                }
                Ok(Incoming::Failed(failure)) => return Err(self.unreachable(failure)),
                Err(NothingCame::Silent) => return Err(self.silent()),
            };
            let endless = |_| self.bad("an event without an end".to_owned());
            for data in events.push(&bytes).map_err(endless)? {
                deadline = Instant::now() + self.patience;
                if let Some(stop) = self.handle(&data, reading)? {
                    return Ok(stop);
                }
            }
            if Instant::now() >= deadline {
                return Err(self.silent());
            }
        }
    }

    /// Processes one event; returns why the answer ended if it was the last.
    fn handle(&self, data: &str, reading: &mut Reading) -> Result<Option<Stop>, RemoteError> {
        let piece = match chat::piece(data) {
            Ok(piece) => piece,
            Err(NoPiece::Done) => return self.end(reading, Ending::Announced).map(Some),
            Err(NoPiece::Error(_)) if chat::is_context_exceeded(data) => {
                return Err(self.context_exceeded(data));
            }
            Err(NoPiece::Error(_)) => {
                let message = self.message(data);
                return Err(RemoteError::Failed { server: self.name(), message });
            }
            Err(NoPiece::Malformed) => {
                return Err(self.bad("an event that is no chat completion".to_owned()));
            }
        };
        match reading.add(piece) {
            Amount::Expected => Ok(None),
            Amount::TooMuchText => Ok(Some(Stop::MaxTokens)),
            Amount::TooManyEvents => Err(self.bad("events without an end".to_owned())),
        }
    }

    /// Why the answer ended. A stream without a finish reason was cut off, unless it has text and
    /// ends with `[DONE]`.
    fn end(&self, reading: &Reading, ending: Ending) -> Result<Stop, RemoteError> {
        match (reading.finish_reason.as_deref(), ending) {
            (Some("length"), _) => Ok(Stop::MaxTokens),
            (Some(_), _) => Ok(Stop::EndOfText),
            (None, Ending::Announced) if reading.first_text.is_some() => Ok(Stop::EndOfText),
            (None, _) => Err(RemoteError::NothingCame { server: self.name() }),
        }
    }

    /// The error for a status other than 200.
    fn refusal(
        &self,
        head: &Head,
        connection: &mut Connection,
        interrupted: &AtomicBool,
    ) -> RemoteError {
        let (server, status) = (self.name(), head.status);
        if (300..400).contains(&status) {
            let to = head.location.as_deref().unwrap_or("nowhere");
            let to = self.message(to.split(['?', '#']).next().unwrap_or_default()).0;
            return RemoteError::Redirected { server, to };
        }
        let body = body(connection, interrupted);
        let message = self.message(&body);
        match status {
            401 | 403 => {
                RemoteError::Unauthorized { server, status, sent_from: self.key.map(Key::variable) }
            }
            400..=499 if chat::is_context_exceeded(&body) => self.context_exceeded(&body),
            404 => {
                RemoteError::NoModel { server, model: self.endpoint.model().to_owned(), message }
            }
            400..=499 if chat::is_unknown_model(&body) => {
                RemoteError::NoModel { server, model: self.endpoint.model().to_owned(), message }
            }
            _ => RemoteError::Status { server, status, message, retry_after: head.retry_after },
        }
    }

    fn name(&self) -> String {
        self.endpoint.to_string()
    }

    /// A server message on one line, without the key.
    fn message(&self, body: &str) -> ServerMessage {
        // Redact before truncating, or part of the key could remain.
        let body = self.key.map_or_else(|| body.to_owned(), |key| key.redact(body));
        ServerMessage(chat::error_message(&body))
    }

    fn context_exceeded(&self, body: &str) -> RemoteError {
        RemoteError::ContextExceeded { server: self.name(), message: self.message(body) }
    }

    fn unreachable(&self, Failure { reason, untrusted }: Failure) -> RemoteError {
        let server = self.name();
        if untrusted {
            RemoteError::Untrusted { server, reason }
        } else {
            RemoteError::Unreachable { server, reason }
        }
    }

    fn silent(&self) -> RemoteError {
        RemoteError::Silent { server: self.name(), seconds: self.patience.as_secs() }
    }

    fn bad(&self, what: String) -> RemoteError {
        RemoteError::BadAnswer { server: self.name(), what }
    }

    fn broken_off(&self, error: &RemoteError) -> RemoteError {
        let reason = match error {
            RemoteError::Unreachable { reason, .. } => reason.clone(),
            RemoteError::Silent { seconds, .. } => format!("silent for {seconds} s"),
            RemoteError::BadAnswer { what, .. } => what.clone(),
            RemoteError::Failed { message, .. } | RemoteError::ContextExceeded { message, .. } => {
                message.0.clone()
            }
            _ => "the connection was closed".to_owned(),
        };
        RemoteError::BrokenOff { server: self.name(), reason }
    }
}

/// How a stream ended.
#[derive(Clone, Copy)]
enum Ending {
    /// With `[DONE]`.
    Announced,
    /// Closed, broken or silent.
    Closed,
}

/// The state of an answer in progress.
struct Reading<'a> {
    on_text: &'a mut dyn FnMut(&str),
    text: String,
    /// When the first text arrived.
    first_text: Option<Instant>,
    /// `stop`, `length` and so on, once received. Only the usage should follow.
    finish_reason: Option<String>,
    /// Prompt and answer tokens.
    usage: Option<(usize, usize)>,
    /// Events with text.
    pieces: usize,
    events: usize,
    /// Longer text must exceed the requested number of tokens.
    max_bytes: usize,
}

/// Whether a server has sent no more than requested.
enum Amount {
    Expected,
    TooMuchText,
    TooManyEvents,
}

impl<'a> Reading<'a> {
    fn new(max_tokens: usize, on_text: &'a mut dyn FnMut(&str)) -> Self {
        Self {
            on_text,
            text: String::new(),
            first_text: None,
            finish_reason: None,
            usage: None,
            pieces: 0,
            events: 0,
            max_bytes: max_tokens.saturating_mul(MAX_TOKEN_BYTES),
        }
    }

    fn add(&mut self, piece: Piece) -> Amount {
        self.usage = piece.usage.or(self.usage);
        self.finish_reason = piece.finish.or(self.finish_reason.take());
        self.events += 1;
        if self.events > self.max_bytes.saturating_add(MAX_SILENT_EVENTS) {
            return Amount::TooManyEvents;
        }
        if piece.text.is_empty() {
            return Amount::Expected;
        }
        self.first_text.get_or_insert_with(Instant::now);
        self.pieces += 1;
        self.text.push_str(&piece.text);
        (self.on_text)(&piece.text);
        if self.text.len() > self.max_bytes { Amount::TooMuchText } else { Amount::Expected }
    }
}

/// The beginning of a body; invalid UTF-8 becomes replacement characters.
fn body(connection: &mut Connection, interrupted: &AtomicBool) -> String {
    let deadline = Instant::now() + BODY_TIMEOUT;
    let mut body = Vec::new();
    while body.len() < MAX_BODY_BYTES {
        match connection.next(interrupted, deadline) {
            Ok(Incoming::Bytes(bytes)) if Instant::now() < deadline => {
                body.extend_from_slice(&bytes);
            }
            _ => break,
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}
