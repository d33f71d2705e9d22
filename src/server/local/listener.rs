//! The server's side of the socket.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::wire::{MAX_LINE, Reply, Request, Said, is_private, socket};
use crate::server::Service;
use crate::support::bounded::{self, Line};
use crate::terminal::exit::Failure;
use crate::text::question;

/// Clients at once; more are told to come again.
const MAX_CLIENTS: usize = 256;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to read a line.
const MAX_WRITE: Duration = Duration::from_secs(30);

/// A socket that is listened on, until this is dropped.
pub struct Listener {
    path: PathBuf,
    /// Locked while the server runs.
    _lock: File,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves `service` on the socket of the configuration with this key, in threads of their own.
///
/// # Errors
/// Another server has it, or the socket cannot be made.
pub fn listen(service: &Arc<Service>, folder: &Path, key: &str) -> Result<Listener> {
    let path = socket(folder, key);
    let failed = || format!("cannot listen on {}", path.display());
    own_folder(folder).with_context(failed)?;
    let lock = File::create(path.with_extension("lock")).with_context(failed)?;
    ensure!(
        lock.try_lock().is_ok(),
        "a server with this index and configuration is running already; its socket is {}",
        path.display()
    );
    // Left by a server that was killed: its lock is gone.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(failed)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(failed)?;
    let service = Arc::clone(service);
    thread::spawn(move || {
        let clients = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Too many open files, most likely: some will be closed.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let (service, clients) = (Arc::clone(&service), Arc::clone(&clients));
            thread::spawn(move || {
                let is_one_too_many = clients.fetch_add(1, Ordering::SeqCst) >= MAX_CLIENTS;
                if let Err(error) = serve(&service, &stream, is_one_too_many) {
                    tracing::debug!("a client left: {error}");
                }
                let _ = stream.shutdown(Shutdown::Both);
                clients.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(Listener { path, _lock: lock })
}

/// A folder that nobody else can look into.
fn own_folder(folder: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::symlink_metadata(folder)?.mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    ensure!(is_private(folder), "the folder is not this user's own");
    Ok(())
}

/// Serves one client.
fn serve(service: &Service, stream: &UnixStream, is_one_too_many: bool) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(MAX_WRITE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    if bounded::read_line(&mut reader, MAX_LINE, &mut line)? != Line::Whole {
        return Ok(());
    }
    let failed = |message: String| Said::Failed(Failure { message, hint: None, exit: 1 });
    if is_one_too_many {
        let message = format!("the server has {MAX_CLIENTS} clients already; ask again later");
        return say(stream, &failed(message));
    }
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            return say(stream, &failed(format!("the server does not understand: {error}")));
        }
    };
    stream.set_read_timeout(None)?;
    let interrupted = service.running.begin();
    thread::scope(|scope| {
        scope.spawn(|| listen_for_stop(reader, &interrupted));
        let said = answer(service, stream, request, &interrupted);
        let written = say(stream, &said);
        // Ends the thread that listens.
        let _ = stream.shutdown(Shutdown::Read);
        written
    })
}

/// Sets the flag once the client says `stop` or leaves.
fn listen_for_stop(mut reader: BufReader<UnixStream>, interrupted: &AtomicBool) {
    let mut line = Vec::new();
    let _ = bounded::read_line(&mut reader, 64, &mut line);
    interrupted.store(true, Ordering::SeqCst);
}

fn answer(
    service: &Service,
    stream: &UnixStream,
    request: Request,
    interrupted: &AtomicBool,
) -> Said<'static> {
    let said = match request {
        Request::Ask(asked) => service
            .ask(*asked, interrupted, &mut |event| {
                if say(stream, &Said::Event(event)).is_err() {
                    interrupted.store(true, Ordering::SeqCst);
                }
            })
            .map(|(answer, dialogue)| Said::Answered(Box::new(Reply::new(answer, dialogue)))),
        Request::Search { question, top_k, selection } => question::normalize(&question)
            .map_err(Into::into)
            .and_then(|question| service.search(&question, top_k, &selection))
            .map(|found| Said::Found(Box::new(found))),
    };
    said.unwrap_or_else(|error| Said::Failed(Failure::from(&error)))
}

fn say(mut stream: &UnixStream, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    stream.write_all(&line)
}
