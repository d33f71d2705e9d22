//! What is reported while a server is being waited for.

use std::fmt;
use std::sync::Arc;

/// A call that failed and will be repeated.
#[derive(Debug, Clone)]
pub struct Retry {
    /// The server, without secrets.
    pub address: String,
    /// What went wrong.
    pub error: String,
    /// Number of the next attempt, from 1.
    pub attempt: u32,
    /// Number of attempts after which it is given up.
    pub attempts: u32,
}

/// Why an index on a server takes longer.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A call failed and will be repeated.
    Retry(Retry),
    /// Another writer seems to have died; that will be certain in some seconds.
    Waiting {
        /// The server, without secrets.
        address: String,
        /// The other writer.
        writer: String,
    },
}

/// Called with every [`Notice`].
#[derive(Clone)]
pub struct Notify(pub Arc<dyn Fn(&Notice) + Send + Sync>);

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}
