//! Errors of LLM servers; each names the next step.

use thiserror::Error;

/// Why a server did not answer. Servers are identified by address, which contains no credentials.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Connecting failed, or the connection broke before any response.
    #[error(
        "the LLM server {server} cannot be reached: {reason}; start it, or correct its address in `--llm`"
    )]
    Unreachable {
        server: String,
        /// The transport's error message.
        reason: String,
    },
    /// Its certificate is not signed by a trusted authority, or is for another host.
    #[error(
        "the certificate of the LLM server {server} is not trusted: {reason}; if an authority of your own signed it, name a file with that authority's certificate in SSL_CERT_FILE"
    )]
    Untrusted {
        server: String,
        /// The verifier's error message.
        reason: String,
    },
    /// The server sent nothing within the timeout.
    #[error(
        "the LLM server {server} has been silent for {seconds} s; look at its log and its load, or allow more with `--llm-timeout`"
    )]
    Silent {
        server: String,
        /// The timeout in seconds.
        seconds: u64,
    },
    /// 401 or 403.
    #[error("the LLM server {server} refuses (HTTP {status}): {}; set RAG_QUERY_LLM_KEY to a key of this server", key_state(*sent_from))]
    Unauthorized {
        server: String,
        /// 401 or 403.
        status: u16,
        /// The environment variable the key came from; `None` if no key was sent.
        sent_from: Option<&'static str>,
    },
    /// 404 or 405, not about the model.
    #[error(
        "the LLM server {server} has nothing at {path} (HTTP {status}){message}; {}. If the address is right, the server may not know the model `{model}`: `rag-query doctor` lists its models",
        right_path(path)
    )]
    NoPath {
        server: String,
        /// Of the request.
        path: String,
        /// 404 or 405.
        status: u16,
        /// The requested model.
        model: String,
        /// The server's error message.
        message: ServerMessage,
    },
    /// An error that says that there is no such model.
    #[error(
        "the LLM server {server} does not know the model `{model}`{message}; `rag-query doctor` lists its models"
    )]
    NoModel {
        server: String,
        /// The requested model.
        model: String,
        /// The server's error message.
        message: ServerMessage,
    },
    /// Prompt plus answer exceed the model's context.
    #[error(
        "the prompt does not fit into the model's context on the LLM server {server}{message}; name the model's context with `--context`, ask a shorter question, or allow a smaller `--max-tokens`"
    )]
    ContextExceeded {
        server: String,
        /// The server's error message.
        message: ServerMessage,
    },
    /// The server redirects. Neither documents nor key are sent there.
    #[error(
        "the LLM server {server} redirects to {to}, which is not followed; name that address in `--llm` if it is the right one"
    )]
    Redirected {
        server: String,
        /// The redirect target, without its query.
        to: String,
    },
    /// Any other HTTP status.
    #[error("the LLM server {server} answered HTTP {status}{message}; {}", next_step(*status, message))]
    Status {
        server: String,
        status: u16,
        /// The server's error message.
        message: ServerMessage,
        /// The server's `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// The stream contained an error instead of text.
    #[error("the LLM server {server} failed{message}; look at its log")]
    Failed {
        server: String,
        /// The server's error message.
        message: ServerMessage,
    },
    /// The response is not a stream of chat completions.
    #[error(
        "the LLM server {server} gave an answer that cannot be used: {what}; check that its address is that of an OpenAI-compatible API, mostly ending with /v1"
    )]
    BadAnswer {
        server: String,
        /// What is wrong with it.
        what: String,
    },
    /// The answer was cut off. It is not retried, because part of it has already been shown.
    #[error(
        "the LLM server {server} broke off in mid-answer ({reason}); what was written is not the whole answer: ask again, and look at the server's log if it happens twice"
    )]
    BrokenOff {
        server: String,
        /// The cause.
        reason: String,
    },
    /// The stream ended before the answer began.
    #[error(
        "the LLM server {server} closed the stream before the answer began; its log says why. If the prompt is too long for it, name its context with `--context`"
    )]
    NothingCame { server: String },
    /// The answer ended without any text.
    #[error("the LLM server {server} ended its answer without text: {what}")]
    NoText {
        server: String,
        /// What came instead.
        what: NoText,
    },
    /// A sampling option that the protocol does not support.
    #[error("an LLM on a server has no {0}; leave it out")]
    Unsupported(String),
    /// The command needs a local LLM.
    #[error("this measures an LLM on this machine; leave out `--llm openai:…`")]
    NotHere,
}

impl RemoteError {
    /// Whether another server, or the same one a little later, may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Silent { .. }
            | Self::BadAnswer { .. }
            | Self::Failed { .. }
            | Self::NothingCame { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// Whether to retry the same server soon. One that timed out had enough time.
    pub(crate) fn is_worth_repeating(&self) -> bool {
        let lasts =
            matches!(self, Self::Untrusted { .. } | Self::Silent { .. } | Self::BadAnswer { .. });
        self.may_pass() && !lasts
    }
}

/// A server's error message, as quoted in errors, without the key; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerMessage(pub String);

impl std::fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (it says: {})", self.0) }
    }
}

fn key_state(sent_from: Option<&'static str>) -> String {
    match sent_from {
        Some(variable) => format!("the key in {variable} is not one of its keys"),
        None => "no key was sent".to_owned(),
    }
}

/// What an answer without text has instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoText {
    /// This many tokens of it.
    #[error(
        "all of its {0} tokens went into reasoning; raise `--max-tokens`, or turn reasoning off on the server"
    )]
    Reasoning(usize),
    /// With the model's explanation.
    #[error("the model refuses (it says: {0}); ask in another way, or name another model")]
    Refusal(String),
    #[error(
        "the model called a tool (a function), though it was given none; name a model that answers in text"
    )]
    ToolCall,
    /// Plain text completion instead of chat.
    #[error(
        "it sent a text completion, not one of a chat; the address in `--llm` has to be that of chat completions, mostly ending with /v1"
    )]
    Completion,
    #[error("its content filter withheld it; ask in another way, or name another server")]
    Filter,
    #[error("the model wrote nothing; ask again, or name another model")]
    Nothing,
}

/// What to do about a path that a server does not have.
fn right_path(path: &str) -> String {
    match path.trim_end_matches("/chat/completions") {
        "" => "add /v1 to the address in `--llm`".to_owned(),
        base if base.ends_with("/v1") => {
            format!("check the address in `--llm`: not every server has its API at {base}")
        }
        base => {
            format!("the address in `--llm` mostly ends with /v1, and this one ends with {base}")
        }
    }
}

fn next_step(status: u16, message: &ServerMessage) -> &'static str {
    let options = [
        ("max_tokens", "allow a smaller `--max-tokens`"),
        ("max_completion_tokens", "allow a smaller `--max-tokens`"),
        ("temperature", "name another `--temperature`"),
        ("top_p", "name another `--top-p`"),
        ("seed", "name another `--seed`"),
    ];
    let option = options.iter().find(|(field, _)| message.0.to_lowercase().contains(field));
    match (status, option) {
        (429, _) => "it has too much to do: try again later, or name more servers",
        (400..500, Some((_, advice))) => advice,
        (500.., _) => "look at its log, or try again later",
        _ => "look at its log",
    }
}
