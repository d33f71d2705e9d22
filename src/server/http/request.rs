//! Reading requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Shared;
use super::failed::Failed;
use crate::index::{Selection, since};

/// How long a client may take to send its body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// A body of JSON; fields that are not known are ignored.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Failed> {
        let reading = Bytes::from_request(request, shared);
        let read = tokio::time::timeout(BODY_PATIENCE, reading).await.map_err(|_| {
            let message =
                format!("the request did not arrive within {} s", BODY_PATIENCE.as_secs());
            Failed::new(StatusCode::REQUEST_TIMEOUT, message)
        })?;
        let bytes = read.map_err(|error| Failed::new(error.status(), error.body_text()))?;
        let body = serde_json::from_slice(&bytes);
        body.map(Self)
            .map_err(|error| Failed::bad_request(format!("the request cannot be read: {error}")))
    }
}

/// Sets its flag when it is dropped: when a client has left, or has its answer.
pub struct Leaving(pub Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Which documents to ask, as a request says it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    #[serde(rename = "in")]
    within: Texts,
    #[serde(rename = "type")]
    extensions: Texts,
    #[serde(rename = "tag")]
    tags: Texts,
    since: Option<String>,
}

impl Wanted {
    /// # Errors
    /// The date is none.
    pub fn selection(self) -> Result<Selection, Failed> {
        let since = self.since.as_deref().map(since).transpose();
        let since = since.map_err(|error| Failed::bad_request(format!("`since`: {error}")))?;
        let Self { within, extensions, tags, .. } = self;
        Ok(Selection { within: within.0, extensions: extensions.0, tags: tags.0, since })
    }
}

/// One text, or a list of them.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Texts(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Texts {
    fn from(texts: OneOrMany) -> Self {
        Self(match texts {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        })
    }
}
