//! Without Unix sockets every command answers by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;

use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, Event};
use crate::index::Selection;
use crate::retrieval::Retrieval;
use crate::server::{Asked, Service};

/// A server that is running: there is none.
pub enum Client {}

impl Client {
    pub fn find(_: &Path, _: &str) -> Option<Self> {
        None
    }

    pub fn ask(
        &self,
        _: Asked,
        _: &AtomicBool,
        _: &mut dyn FnMut(Event),
    ) -> Result<(Answer, Dialogue)> {
        match *self {}
    }

    pub fn search(&self, _: &str, _: usize, _: &Selection) -> Result<Retrieval> {
        match *self {}
    }
}

/// Nothing is listened on.
pub struct Listener;

#[expect(clippy::unnecessary_wraps, reason = "where there are sockets, listening can fail")]
pub fn listen(_: &Arc<Service>, _: &Path, _: &str) -> Result<Listener> {
    Ok(Listener)
}
