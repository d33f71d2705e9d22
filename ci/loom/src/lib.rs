//! Loom's proof of the thread pool's protocol: `ci/loom/run`.
//!
//! What loom cannot show: it takes relaxed loads that read stale values into account, but not that a
//! compiler reorders what is not atomic.

#[path = "../../../src/compute/pool/protocol.rs"]
pub mod protocol;
pub mod sync;

#[cfg(test)]
mod tests;
