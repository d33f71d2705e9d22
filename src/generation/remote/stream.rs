//! One question to one server.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ureq::tls::RootCerts;

use super::chat::{self, NoPiece, Request};
use super::connection::{Connection, Failure, Head, Incoming, NothingCame};
use super::sse::Events;
use super::{Endpoint, Key, RemoteError, Said};
use crate::generation::local::{SamplingOptions, Stop};
use crate::prompt::Messages;

/// What is read of an error's body, in bytes.
const MAX_BODY: usize = 64 << 10;
/// The longest wait for it.
const BODY: Duration = Duration::from_secs(10);
/// No token is longer, so an answer that is has more tokens than were asked for; in bytes.
const LONGEST_TOKEN: usize = 256;

/// Events without text that a short answer may have.
const MORE_EVENTS: usize = 10_000;

/// An answer, as far as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `host:port`.
    pub server: String,
    /// The model that was asked for.
    pub model: String,
    /// The text.
    pub text: String,
    /// Tokens of the prompt; 0 where the server does not tell.
    pub prompt_tokens: usize,
    /// Tokens of the answer; where the server does not tell, pieces of it.
    pub tokens: usize,
    /// Time to the first text.
    pub first: Duration,
    /// Time from there to the end.
    pub rest: Duration,
    /// Why it ended.
    pub stop: Stop,
}

impl Reply {
    /// Interrupted before anything came from `endpoint`.
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

/// A server and what may be sent to it.
pub(crate) struct Server<'a> {
    pub endpoint: &'a Endpoint,
    /// Nothing where it may not have it.
    pub key: Option<&'a Key>,
    /// Whom it may be vouched for by, where it is encrypted.
    pub roots: &'a RootCerts,
    /// How long it may be silent.
    pub patience: Duration,
}

impl Server<'_> {
    /// Asks, and hands each piece of the answer to `on_text` as it comes. After that any error is
    /// [`RemoteError::BrokenOff`].
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
        let mut connection = Connection::open(&url, self.key, self.roots, Some(json));
        let mut reply = Reply::interrupted(self.endpoint);
        let most = options.max_tokens.saturating_mul(LONGEST_TOKEN);
        match self.head(&mut connection, interrupted)? {
            Some(head) => self.check(head, &mut connection, interrupted)?,
            None => return Ok(reply),
        }
        let mut reading =
            Reading { first: None, finish: None, usage: None, pieces: 0, events: 0, most };
        let read = self.read(&mut connection, interrupted, &mut reading, &mut reply.text, on_text);
        reply.stop = read.map_err(|error| match reading.first {
            // A part of the answer was shown: asking again would show two answers.
            Some(_) => self.broken_off(&error),
            None => error,
        })?;
        let first = reading.first.unwrap_or_else(Instant::now);
        reply.first = first - start;
        reply.rest = first.elapsed();
        (reply.prompt_tokens, reply.tokens) = reading.usage.unwrap_or((0, reading.pieces));
        Ok(reply)
    }

    /// The names of the server's models.
    pub fn models(&self, interrupted: &AtomicBool) -> Result<Vec<String>, RemoteError> {
        let url = self.endpoint.url("models");
        let mut connection = Connection::open(&url, self.key, self.roots, None);
        let Some(head) = self.head(&mut connection, interrupted)? else { return Ok(Vec::new()) };
        if head.status != 200 {
            return Err(self.refusal(&head, &mut connection, interrupted));
        }
        let body = body(&mut connection, interrupted);
        chat::models(&body).ok_or_else(|| self.bad("it lists no models".to_owned()))
    }

    /// The head of the answer; nothing where it is not wanted any more.
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
                Err(self.bad(format!("{} instead of a stream of events", self.said(&kind))))
            }
            _ => Ok(()),
        }
    }

    fn read(
        &self,
        connection: &mut Connection,
        interrupted: &AtomicBool,
        reading: &mut Reading,
        text: &mut String,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Stop, RemoteError> {
        let mut events = Events::default();
        // Reasoning, which is not shown, takes events of its own.
        let most_events = reading.most.saturating_add(MORE_EVENTS);
        // Comments do not count: a server that sends nothing else is silent too.
        let mut deadline = Instant::now() + self.patience;
        loop {
            let bytes = match connection.next(interrupted, deadline) {
                Ok(Incoming::Bytes(bytes)) => bytes,
                // What comes after the answer's last piece does not matter.
                Ok(Incoming::Failed(_)) | Err(NothingCame::Silent) if reading.finish.is_some() => {
                    return self.end(reading, false);
                }
                Ok(Incoming::Failed(failure)) => return Err(self.unreachable(failure)),
                Ok(Incoming::Head(_) | Incoming::End) => return self.end(reading, false),
                Err(NothingCame::Interrupted) => return Ok(Stop::Interrupted),
                Err(NothingCame::Silent) => return Err(self.silent()),
            };
            let endless = |_| self.bad("an event without an end".to_owned());
            for data in events.push(&bytes).map_err(endless)? {
                deadline = Instant::now() + self.patience;
                let piece = match chat::piece(&data) {
                    Ok(piece) => piece,
                    Err(NoPiece::Done) => return self.end(reading, true),
                    Err(NoPiece::Error(_)) if chat::is_context_exceeded(&data) => {
                        return Err(self.context_exceeded(&data));
                    }
                    Err(NoPiece::Error(_)) => {
                        let said = Said(self.said(&data));
                        return Err(RemoteError::Failed { server: self.name(), said });
                    }
                    Err(NoPiece::Malformed) => {
                        return Err(self.bad("an event that is no chat completion".to_owned()));
                    }
                };
                reading.usage = piece.usage.or(reading.usage);
                reading.finish = piece.finish.or(reading.finish.take());
                reading.events += 1;
                if reading.events > most_events {
                    return Err(self.bad("events without an end".to_owned()));
                }
                if piece.text.is_empty() {
                    continue;
                }
                reading.first.get_or_insert_with(Instant::now);
                reading.pieces += 1;
                text.push_str(&piece.text);
                on_text(&piece.text);
                if text.len() > reading.most {
                    return Ok(Stop::MaxTokens);
                }
            }
            if Instant::now() >= deadline {
                return Err(self.silent());
            }
        }
    }

    /// The stream is over. Without a reason, or `[DONE]` after some text, it was cut.
    fn end(&self, reading: &Reading, done: bool) -> Result<Stop, RemoteError> {
        match reading.finish.as_deref() {
            Some("length") => Ok(Stop::MaxTokens),
            Some(_) => Ok(Stop::EndOfText),
            None if done && reading.first.is_some() => Ok(Stop::EndOfText),
            None => Err(RemoteError::NothingCame { server: self.name() }),
        }
    }

    /// What a status other than 200 means.
    fn refusal(
        &self,
        head: &Head,
        connection: &mut Connection,
        interrupted: &AtomicBool,
    ) -> RemoteError {
        let (server, status) = (self.name(), head.status);
        if (300..400).contains(&status) {
            let to = head.location.as_deref().unwrap_or("nowhere");
            let to = self.said(to.split(['?', '#']).next().unwrap_or_default());
            return RemoteError::Redirected { server, to };
        }
        let body = body(connection, interrupted);
        let said = Said(self.said(&body));
        match status {
            401 | 403 => {
                RemoteError::Unauthorized { server, status, sent_from: self.key.map(Key::variable) }
            }
            400..=499 if chat::is_context_exceeded(&body) => self.context_exceeded(&body),
            404 => RemoteError::NoModel { server, model: self.endpoint.model().to_owned(), said },
            400..=499 if chat::is_unknown_model(&body) => {
                RemoteError::NoModel { server, model: self.endpoint.model().to_owned(), said }
            }
            _ => RemoteError::Status { server, status, said, retry_after: head.retry_after },
        }
    }

    fn name(&self) -> String {
        self.endpoint.to_string()
    }

    /// The server's own words, in one line, without the key.
    fn said(&self, body: &str) -> String {
        // The key goes first: a part of it is as bad.
        let body = self.key.map_or_else(|| body.to_owned(), |key| key.redact(body));
        chat::said(&body)
    }

    fn context_exceeded(&self, body: &str) -> RemoteError {
        RemoteError::ContextExceeded { server: self.name(), said: Said(self.said(body)) }
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
            RemoteError::Failed { said, .. } | RemoteError::ContextExceeded { said, .. } => {
                said.0.clone()
            }
            _ => "the connection was closed".to_owned(),
        };
        RemoteError::BrokenOff { server: self.name(), reason }
    }
}

/// What has come so far, beside the text.
struct Reading {
    first: Option<Instant>,
    finish: Option<String>,
    usage: Option<(usize, usize)>,
    pieces: usize,
    events: usize,
    /// Bytes of text that are more than was asked for.
    most: usize,
}

/// The beginning of a body.
fn body(connection: &mut Connection, interrupted: &AtomicBool) -> String {
    let deadline = Instant::now() + BODY;
    let mut body = Vec::new();
    while body.len() < MAX_BODY {
        match connection.next(interrupted, deadline) {
            Ok(Incoming::Bytes(bytes)) if Instant::now() < deadline => {
                body.extend_from_slice(&bytes);
            }
            _ => break,
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}
