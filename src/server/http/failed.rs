//! Errors as HTTP responses, in the shape that OpenAI's clients read.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinError;

use crate::generation::QueueFull;
use crate::generation::local::placement::gpu::GpuError;
use crate::index::IndexError;
use crate::terminal::exit::Failure;
use crate::text::question::QuestionError;

/// Seconds after which a client should ask again, where too many wait.
const RETRY_AFTER: &str = "5";

/// An error with its status.
#[derive(Debug)]
pub struct Failed {
    status: StatusCode,
    failure: Failure,
}

/// The body of an error.
#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    code: u16,
    hint: Option<&'a str>,
    /// The exit code that the command line would have.
    exit: u8,
}

impl Failed {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let exit = if status.is_client_error() { 2 } else { 1 };
        Self { status, failure: Failure { message: message.into(), hint: None, exit } }
    }

    /// The client asked for what cannot be.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn wrong_method() -> Self {
        let message = "this address takes another method; see docs/server.md";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// The error as JSON.
    pub fn body(&self) -> serde_json::Value {
        let kind = match self.status.as_u16() {
            401 | 403 => "authentication_error",
            400..500 => "invalid_request_error",
            503 => "unavailable_error",
            _ => "server_error",
        };
        let Failure { message, hint, exit } = &self.failure;
        let (code, hint) = (self.status.as_u16(), hint.as_deref());
        json!({"error": Body { message, kind, code, hint, exit: *exit }})
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        let has = |is: &dyn Fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(is);
        let status = if has(&|cause| cause.is::<QuestionError>()) {
            StatusCode::BAD_REQUEST
        } else if has(&|cause| {
            cause.is::<QueueFull>() || cause.is::<GpuError>() || cause.is::<IndexError>()
        }) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self { status, failure: Failure::from(&error) }
    }
}

/// Work on a thread of its own panicked.
impl From<JoinError> for Failed {
    fn from(error: JoinError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = axum::http::HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert("retry-after", seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert("www-authenticate", scheme);
        }
        response
    }
}
