//! A single request to a single server.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ureq::tls::RootCerts;

use super::chat::{self, NoPiece};
use super::connection::{Connection, Failure, Head, Incoming, NothingCame, Target};
use super::error::NoText;
use super::mask::Mask;
use super::reading::{Amount, Ending, Reading, Unusable};
use super::request::Form;
use super::sse::{Event, Events};
use super::{Endpoint, Key, PoolEvent, RemoteError, ServerMessage, estimate};
use crate::generation::local::{SamplingOptions, Stop};
use crate::generation::thinking;
use crate::prompt::Messages;
use crate::support::proxy::Via;

/// How much of an error body is read, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;
/// How much is read of a response that is no stream, in bytes.
const MAX_WHOLE_BYTES: usize = 4 << 20;
/// Time limit for reading an error body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Time to the first text or reasoning.
    pub first: Duration,
    /// Time from there to the end.
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

/// What is learnt about a server while it answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// The form of request that it takes.
    form: Form,
    /// Whether its model writes reasoning without an opening mark.
    lacks_opening: bool,
}

/// A server, with the credentials and settings for requests to it.
pub(crate) struct Server<'a> {
    pub endpoint: &'a Endpoint,
    /// Absent if it may not be sent to this server.
    pub key: Option<&'a Key>,
    /// Hides every key, whether or not it was sent to this server.
    pub mask: &'a Mask,
    /// Trusted certificate authorities.
    pub roots: &'a RootCerts,
    /// The proxy on the way.
    pub via: Option<&'a Via>,
    pub habits: &'a Mutex<Habits>,
    /// How long the server may be silent.
    pub patience: Duration,
}

/// An error, and what the server said if that may be about the form of the request.
struct Obstacle {
    error: Box<RemoteError>,
    said: Option<String>,
}

impl From<RemoteError> for Obstacle {
    fn from(error: RemoteError) -> Self {
        Self { error: Box::new(error), said: None }
    }
}

impl Server<'_> {
    /// Sends the request and reports each piece of the answer as it arrives. A part of the request
    /// that the server refuses is left out and remembered. After the first piece of text, every
    /// error is a [`RemoteError::BrokenOff`].
    pub fn ask(
        &self,
        messages: &Messages,
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(PoolEvent),
    ) -> Result<Reply, RemoteError> {
        loop {
            let form = self.habits().form;
            let Obstacle { error, said } =
                match self.ask_in(form, messages, options, interrupted, watch) {
                    Ok(reply) => return Ok(reply),
                    Err(obstacle) => obstacle,
                };
            // Each step leaves something out, so this ends.
            let Some((form, field)) = said.and_then(|said| form.adapted(&said)) else {
                return Err(*error);
            };
            self.habits().form = form;
            watch(PoolEvent::Adapted { server: self.endpoint.host(), field });
        }
    }

    fn ask_in(
        &self,
        form: Form,
        messages: &Messages,
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(PoolEvent),
    ) -> Result<Reply, Obstacle> {
        let request = form.request(self.endpoint.model(), messages, options);
        let json = serde_json::to_vec(&request).map_err(|error| self.bad(error.to_string()))?;
        let start = Instant::now();
        let url = self.endpoint.url("chat/completions");
        let mut connection = Connection::post(self.target(&url), json);
        let mut reply = Reply::interrupted(self.endpoint);
        let Some(head) = self.head(&mut connection, interrupted)? else { return Ok(reply) };
        self.check(&head, &mut connection, interrupted)?;

        let holds_all =
            self.habits().lacks_opening || thinking::is_reasoning_model(self.endpoint.model());
        let mut reading = Reading::new(options.max_tokens, self.mask, holds_all, watch);
        let read = self.read(&head, &mut connection, interrupted, &mut reading);
        self.habits().lacks_opening |= reading.lacks_opening();
        reply.stop = match read {
            Ok(stop) => stop,
            // Part of the answer has been shown: a retry would show two answers.
            Err(obstacle) if reading.is_shown() => {
                reading.flush();
                return Err(self.broken_off(&obstacle.error).into());
            }
            Err(obstacle) => return Err(obstacle),
        };
        let first = reading.first().unwrap_or_else(Instant::now);
        reply.first = first - start;
        reply.rest = first.elapsed();
        let usage = reading.usage(messages.system.len() + messages.user.len());
        (reply.prompt_tokens, reply.tokens) = (usage.prompt, usage.answer);
        reply.text = reading.into_text();
        if estimate::is_cut(messages, usage.prompt.saturating_add(usage.cached)) {
            let (server, read) = (self.endpoint.host(), usage.prompt);
            watch(PoolEvent::PromptCut { server, read, estimated: estimate::estimate(messages) });
        }
        Ok(reply)
    }

    /// The names of the server's models.
    pub fn models(&self, interrupted: &AtomicBool) -> Result<Vec<String>, RemoteError> {
        let url = self.endpoint.url("models");
        let mut connection = Connection::get(self.target(&url));
        let Some(head) = self.head(&mut connection, interrupted)? else { return Ok(Vec::new()) };
        if head.status != 200 {
            let body = body(&mut connection, interrupted);
            return Err(self.refusal(&head, "/models", &body));
        }
        let body = body(&mut connection, interrupted);
        let models =
            chat::models(&body).ok_or_else(|| self.bad("it lists no models".to_owned()))?;
        Ok(models.iter().map(|model| self.mask.hide(model)).collect())
    }

    fn target<'a>(&'a self, url: &'a str) -> Target<'a> {
        Target { url, key: self.key, roots: self.roots, via: self.via }
    }

    fn habits(&self) -> std::sync::MutexGuard<'_, Habits> {
        self.habits.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        head: &Head,
        connection: &mut Connection,
        interrupted: &AtomicBool,
    ) -> Result<(), Obstacle> {
        if head.status != 200 {
            let said = body(connection, interrupted);
            let error = self.refusal(head, "/chat/completions", &said);
            let may_be_form = matches!(error, RemoteError::Status { status, .. } if status != 429);
            return Err(Obstacle {
                error: Box::new(error),
                said: Some(said).filter(|_| may_be_form),
            });
        }
        let kind = head.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("text/html") { Err(self.not_a_stream(head).into()) } else { Ok(()) }
    }

    /// Reads events until the answer is complete, and returns why it ended. A response that is no
    /// stream is read as one completion.
    fn read(
        &self,
        head: &Head,
        connection: &mut Connection,
        interrupted: &AtomicBool,
        reading: &mut Reading,
    ) -> Result<Stop, Obstacle> {
        let mut events = Events::default();
        // What has come as long as it is no event.
        let mut whole = Some(Vec::new());
        // Only what brings the answer forward extends it: a server that sends nothing but comments,
        // heartbeats or empty pieces counts as silent.
        let mut deadline = Instant::now() + self.patience;
        loop {
            let bytes = match connection.next(interrupted, deadline) {
                Ok(Incoming::Bytes(bytes)) => bytes,
                Ok(Incoming::Head(_) | Incoming::End) => {
                    let whole = whole.filter(|whole| whole.trim_ascii_start().starts_with(b"{"));
                    return match whole {
                        Some(whole) => self.whole(&String::from_utf8_lossy(&whole), reading),
                        None => self.closed(head, reading),
                    };
                }
                Err(NothingCame::Interrupted) => return Ok(Stop::Interrupted),
                // The answer is complete once the server has sent a finish reason; ignore later
                // failures.
                Ok(Incoming::Failed(_)) | Err(NothingCame::Silent) if reading.is_finished() => {
                    return self.end(reading, Ending::Closed);
                }
                Ok(Incoming::Failed(failure)) => return Err(self.unreachable(failure).into()),
                Err(NothingCame::Silent) => return Err(self.silent().into()),
            };
            let endless = |_| self.bad("an event without an end".to_owned());
            let found = events.push(&bytes).map_err(endless)?;
            whole = whole.filter(|whole| found.is_empty() && whole.len() < MAX_WHOLE_BYTES);
            if let Some(whole) = &mut whole {
                whole.extend_from_slice(&bytes);
            }
            for event in found {
                match self.handle(&event, reading)? {
                    Step::End(stop) => return Ok(stop),
                    Step::Forward => deadline = Instant::now() + self.patience,
                    Step::Nothing => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(self.silent().into());
            }
        }
    }

    /// Processes one event.
    fn handle(&self, event: &Event, reading: &mut Reading) -> Result<Step, Obstacle> {
        let data = &event.data;
        let piece = if event.is_error { Err(NoPiece::Error) } else { chat::piece(data) };
        let amount = match piece {
            Ok(piece) => reading.add(piece),
            Err(NoPiece::Done) => return self.end(reading, Ending::Announced).map(Step::End),
            Err(NoPiece::Nothing) => reading.pass_over(),
            Err(NoPiece::Error) => return Err(self.failed(data)),
            Err(NoPiece::Malformed) => {
                return Err(self.bad("an event that is no chat completion".to_owned()).into());
            }
        };
        match amount {
            Amount::Expected(true) => Ok(Step::Forward),
            Amount::Expected(false) => Ok(Step::Nothing),
            Amount::TooMuchText => {
                reading.flush();
                match reading.is_shown() {
                    true => Ok(Step::End(Stop::MaxTokens)),
                    false => self.end(reading, Ending::Closed).map(Step::End),
                }
            }
            Amount::TooManyEvents => Err(self.bad("events without an end".to_owned()).into()),
        }
    }

    /// Reads a response that is one completion, from a server that does not stream.
    fn whole(&self, data: &str, reading: &mut Reading) -> Result<Stop, Obstacle> {
        match chat::piece(data) {
            Ok(piece) => {
                reading.add(piece);
                self.end(reading, Ending::Announced)
            }
            Err(NoPiece::Error) => Err(self.failed(data)),
            Err(_) => Err(self.bad("JSON that is no chat completion".to_owned()).into()),
        }
    }

    /// The stream was closed.
    fn closed(&self, head: &Head, reading: &mut Reading) -> Result<Stop, Obstacle> {
        let kind = head.content_type.as_deref().unwrap_or("text/event-stream");
        let is_stream = kind.to_ascii_lowercase().starts_with("text/event-stream");
        if !is_stream && !reading.has_begun() {
            return Err(self.not_a_stream(head).into());
        }
        self.end(reading, Ending::Closed)
    }

    fn end(&self, reading: &mut Reading, ending: Ending) -> Result<Stop, Obstacle> {
        let server = self.name();
        let unusable = match reading.end(ending) {
            Ok(stop) => return Ok(stop),
            Err(unusable) => unusable,
        };
        Err(match unusable {
            Unusable::Cut => RemoteError::NothingCame { server },
            Unusable::Aborted(word) => {
                let message = ServerMessage(self.mask.hide(&word));
                RemoteError::Failed { server, message }
            }
            Unusable::NoText(NoText::Refusal(said)) => {
                let what = NoText::Refusal(self.message(&said).0);
                RemoteError::NoText { server, what }
            }
            Unusable::NoText(what) => RemoteError::NoText { server, what },
        }
        .into())
    }

    /// The error for an error within a stream.
    fn failed(&self, data: &str) -> Obstacle {
        if chat::is_context_exceeded(data) {
            return self.context_exceeded(data).into();
        }
        let error = RemoteError::Failed { server: self.name(), message: self.message(data) };
        Obstacle { error: Box::new(error), said: Some(data.to_owned()) }
    }

    /// The error for a status other than 200, in response to a request for `method`.
    fn refusal(&self, head: &Head, method: &str, body: &str) -> RemoteError {
        let (server, status) = (self.name(), head.status);
        if (300..400).contains(&status) {
            let to = head.location.as_deref().unwrap_or("nowhere");
            let to = self.message(to.split(['?', '#']).next().unwrap_or_default()).0;
            return RemoteError::Redirected { server, to };
        }
        let message = self.message(body);
        let model = self.endpoint.model().to_owned();
        match status {
            401 | 403 => {
                RemoteError::Unauthorized { server, status, sent_from: self.key.map(Key::variable) }
            }
            400..=499 if chat::is_context_exceeded(body) => self.context_exceeded(body),
            400..=499 if chat::is_unknown_model(body) => {
                RemoteError::NoModel { server, model, message }
            }
            404 | 405 => {
                let path = format!("{}{method}", self.endpoint.path());
                RemoteError::NoPath { server, path, status, model, message }
            }
            _ => RemoteError::Status { server, status, message, retry_after: head.retry_after },
        }
    }

    fn name(&self) -> String {
        self.endpoint.to_string()
    }

    /// A server message on one line, without the key.
    fn message(&self, body: &str) -> ServerMessage {
        // Hidden before it is cut short, or part of the key could remain; and again after escapes
        // are resolved.
        ServerMessage(self.mask.hide(&chat::error_message(&self.mask.hide(body))))
    }

    fn context_exceeded(&self, body: &str) -> RemoteError {
        RemoteError::ContextExceeded { server: self.name(), message: self.message(body) }
    }

    fn unreachable(&self, Failure { reason, untrusted }: Failure) -> RemoteError {
        let server = self.name();
        let reason = self.mask.hide(&reason);
        match self.via {
            _ if untrusted => RemoteError::Untrusted { server, reason },
            Some(Via { host, variable, .. }) => {
                let reason = format!("through the proxy {host} ({variable}): {reason}");
                RemoteError::Unreachable { server, reason }
            }
            None => RemoteError::Unreachable { server, reason },
        }
    }

    fn silent(&self) -> RemoteError {
        RemoteError::Silent { server: self.name(), seconds: self.patience.as_secs() }
    }

    fn bad(&self, what: String) -> RemoteError {
        RemoteError::BadAnswer { server: self.name(), what }
    }

    fn not_a_stream(&self, head: &Head) -> RemoteError {
        let kind = self.message(head.content_type.as_deref().unwrap_or("nothing known")).0;
        self.bad(format!("{kind} instead of a stream of events"))
    }

    fn broken_off(&self, error: &RemoteError) -> RemoteError {
        let reason = match error {
            RemoteError::Unreachable { reason, .. } => reason.clone(),
            RemoteError::Silent { seconds, .. } => format!("silent for {seconds} s"),
            RemoteError::BadAnswer { what, .. } => what.clone(),
            RemoteError::Failed { message, .. } | RemoteError::ContextExceeded { message, .. } => {
                message.0.clone()
            }
            RemoteError::NoText { what, .. } => what.to_string(),
            _ => "the connection was closed".to_owned(),
        };
        RemoteError::BrokenOff { server: self.name(), reason }
    }
}

/// What an event does.
enum Step {
    /// It brings the answer forward.
    Forward,
    Nothing,
    End(Stop),
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
