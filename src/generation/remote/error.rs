//! What can go wrong with a server; every error names the next step.

use thiserror::Error;

/// Why a server did not answer. Servers are named by their address, which holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No connection, or it broke before anything was answered.
    #[error(
        "the LLM server {server} cannot be reached: {reason}; start it, or correct its address in `--llm`"
    )]
    Unreachable {
        server: String,
        /// The transport's own words.
        reason: String,
    },
    /// Nobody who is trusted signed its certificate, or it is for another address.
    #[error(
        "the certificate of the LLM server {server} is not trusted: {reason}; if an authority of your own signed it, name a file with that authority's certificate in SSL_CERT_FILE"
    )]
    Untrusted {
        server: String,
        /// The verifier's own words.
        reason: String,
    },
    /// Nothing came for too long.
    #[error(
        "the LLM server {server} has been silent for {seconds} s; look at its log and its load, or allow more with `--llm-timeout`"
    )]
    Silent {
        server: String,
        /// For how long.
        seconds: u64,
    },
    /// 401 or 403.
    #[error("the LLM server {server} refuses (HTTP {status}): {}; set RAG_QUERY_LLM_KEY to a key of this server", key_state(*sent_from))]
    Unauthorized {
        server: String,
        /// 401 or 403.
        status: u16,
        /// The variable that the key came from; `None` where no key was sent.
        sent_from: Option<&'static str>,
    },
    /// 404, or an error that says the same.
    #[error(
        "the LLM server {server} does not know the model `{model}`, or has no chat at this address{message}; `rag-query doctor` lists its models, and the address mostly ends with /v1"
    )]
    NoModel {
        server: String,
        /// The model asked for.
        model: String,
        /// What the server says about it.
        message: ServerMessage,
    },
    /// Prompt and answer are longer than the model's context.
    #[error(
        "the prompt does not fit into the model's context on the LLM server {server}{message}; name the model's context with `--context`, ask a shorter question, or allow a smaller `--max-tokens`"
    )]
    ContextExceeded {
        server: String,
        /// What the server says about it.
        message: ServerMessage,
    },
    /// It redirects. Neither documents nor key follow.
    #[error(
        "the LLM server {server} redirects to {to}, which is not followed; name that address in `--llm` if it is the right one"
    )]
    Redirected {
        server: String,
        /// The target without its query.
        to: String,
    },
    /// Any other status.
    #[error("the LLM server {server} answered HTTP {status}{message}; {}", next_step(*status))]
    Status {
        server: String,
        status: u16,
        /// What the server says about it.
        message: ServerMessage,
        /// Seconds that the server asks us to wait.
        retry_after: Option<u64>,
    },
    /// An error instead of the answer's text.
    #[error("the LLM server {server} failed{message}; look at its log")]
    Failed {
        server: String,
        /// What the server says about it.
        message: ServerMessage,
    },
    /// No stream of chat completions.
    #[error(
        "the LLM server {server} gave an answer that cannot be used: {what}; check that its address is that of an OpenAI-compatible API, mostly ending with /v1"
    )]
    BadAnswer {
        server: String,
        /// What is wrong with it.
        what: String,
    },
    /// The answer began and did not end. It is not asked for again, because a part of it was shown.
    #[error(
        "the LLM server {server} broke off in mid-answer ({reason}); what was written is not the whole answer: ask again, and look at the server's log if it happens twice"
    )]
    BrokenOff {
        server: String,
        /// What happened.
        reason: String,
    },
    /// The answer ended before it began.
    #[error(
        "the LLM server {server} closed the stream before the answer began; its log says why. If the prompt is too long for it, name its context with `--context`"
    )]
    NothingCame { server: String },
    /// An option that servers do not have.
    #[error("an LLM on a server has no {0}; leave it out")]
    Unsupported(String),
    /// The command needs the LLM's files.
    #[error("this measures an LLM on this machine; leave out `--llm openai:…`")]
    NotHere,
}

impl RemoteError {
    /// Whether another server, or the same one a little later, may do better.
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

    /// Whether it is worth asking the same server again soon. A silent one was given enough time.
    pub(crate) fn is_worth_repeating(&self) -> bool {
        let lasts =
            matches!(self, Self::Untrusted { .. } | Self::Silent { .. } | Self::BadAnswer { .. });
        self.may_pass() && !lasts
    }
}

/// What a server says about an error, as errors quote it; may be empty.
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

fn next_step(status: u16) -> &'static str {
    match status {
        429 => "it has too much to do: try again later, or name more servers",
        500.. => "look at its log, or try again later",
        _ => "look at its log",
    }
}
