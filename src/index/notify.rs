//! Notices reported while waiting for a server.

use std::fmt;
use std::sync::Arc;

/// A failed call that will be retried.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Address of the server, without secrets.
    pub address: String,
    /// What went wrong.
    pub error: String,
    /// Number of the next attempt, from 1.
    pub attempt: u32,
    /// Number of attempts before giving up.
    pub attempts: u32,
}

/// Why an operation on a server is taking longer.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A call failed and will be retried.
    Retry(Retry),
    /// Another writer seems to be dead; this takes a few seconds to confirm.
    Waiting {
        /// Address of the server, without secrets.
        address: String,
        /// Host and process id of the other writer.
        writer: String,
    },
}

/// Callback for every [`Notice`].
#[derive(Clone)]
pub struct Notify(pub Arc<dyn Fn(&Notice) + Send + Sync>);

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}
