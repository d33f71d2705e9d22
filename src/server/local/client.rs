//! The client's side of the socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::wire::{MAX_LINE, Request, Said, is_private, socket};
use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, Event};
use crate::index::Selection;
use crate::retrieval::Retrieval;
use crate::server::Asked;

/// How often the client looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// A server that is running.
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// The server with this key, if one is running.
    pub fn find(folder: &Path, key: &str) -> Option<Self> {
        if !is_private(folder) {
            return None;
        }
        let path = socket(folder, key);
        UnixStream::connect(&path).ok()?;
        Some(Self { path })
    }

    /// As [`Service::ask`](crate::server::Service::ask).
    ///
    /// # Errors
    /// The server's ([`Failure`](crate::terminal::exit::Failure)), or it has ended.
    pub fn ask(
        &self,
        asked: Asked,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(Answer, Dialogue)> {
        match self.request(&Request::Ask(Box::new(asked)), interrupted, watch)? {
            Said::Answered(reply) => Ok(reply.into_parts()),
            Said::Failed(failure) => Err(failure.into()),
            Said::Event(_) | Said::Found(_) => {
                bail!("the server does not answer what it was asked")
            }
        }
    }

    /// As [`Service::search`](crate::server::Service::search).
    ///
    /// # Errors
    /// The server's ([`Failure`](crate::terminal::exit::Failure)), or it has ended.
    pub fn search(&self, question: &str, top_k: usize, selection: &Selection) -> Result<Retrieval> {
        let (question, selection) = (question.to_owned(), selection.clone());
        let request = Request::Search { question, top_k, selection };
        match self.request(&request, &AtomicBool::new(false), &mut |_| {})? {
            Said::Found(found) => Ok(*found),
            Said::Failed(failure) => Err(failure.into()),
            Said::Event(_) | Said::Answered(_) => {
                bail!("the server does not answer what it was asked")
            }
        }
    }

    /// Sends a request, passes events to `watch`, and returns what is no event.
    fn request(
        &self,
        request: &Request,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Said<'static>> {
        let lost = "the server that was asked has ended; ask again, or with `--no-server`";
        let mut stream = UnixStream::connect(&self.path).context(lost)?;
        stream.set_read_timeout(Some(LOOK))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).context(lost)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut is_stopping = false;
        loop {
            line.clear();
            loop {
                // Also while lines come one after the other.
                if interrupted.load(Ordering::SeqCst) && !is_stopping {
                    is_stopping = true;
                    stream.write_all(b"stop\n").context(lost)?;
                }
                if read_on(&mut reader, &mut line).context(lost)? {
                    break;
                }
            }
            match serde_json::from_slice(&line).context("the server cannot be understood")? {
                Said::Event(event) => watch(event),
                said => return Ok(said),
            }
        }
    }
}

/// Reads on in a line; returns whether it is whole.
///
/// # Errors
/// The connection has ended, or the line is too long.
fn read_on(reader: &mut BufReader<UnixStream>, line: &mut Vec<u8>) -> io::Result<bool> {
    let room = MAX_LINE.saturating_sub(line.len() as u64);
    match reader.by_ref().take(room).read_until(b'\n', line) {
        Ok(_) if line.ends_with(b"\n") => Ok(true),
        Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
