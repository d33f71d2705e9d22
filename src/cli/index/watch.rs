//! `index --watch`: keeps the index up to date until it is interrupted.
//!
//! The index is locked only while a change is taken in, and readers go on with what was published
//! before.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::{Event, EventKind, RecursiveMode, Watcher};

use crate::cli::args::IndexArgs;
use crate::cli::setup::Setup;
use crate::index::Location;
use crate::index::update::is_current;
use crate::terminal::exit::Exit;

/// Programs save in several steps: a change is taken in once nothing has happened for this long,
const QUIET: Duration = Duration::from_millis(700);
/// but even a folder that never rests is looked at this often.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// After this long everything is looked at again: network drives do not tell of changes.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// Indexes, then waits for changes and indexes again. Ends only with a signal, or if the first run
/// fails.
pub fn run(setup: &Setup, args: &IndexArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    let (sender, changes) = channel();
    let mut watcher = notify::recommended_watcher(sender).context("cannot watch files")?;
    // Before the first run, so that no change goes unseen meanwhile.
    for path in &args.paths {
        watcher
            .watch(path, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", path.display()))?;
    }
    let own = match &setup.index {
        Location::Directory(path) => path.canonicalize().ok(),
        Location::Milvus(..) | Location::Several(_) => None,
    };
    let mut exit = super::update(setup, args)?;
    while exit != Exit::Interrupted {
        terminal.say(lang.watching());
        while !wait(&changes, own.as_deref()) || is_up_to_date(setup, args) {}
        exit = super::update(setup, args).unwrap_or_else(|error| {
            // Another writer, or a drive that is gone: the next change tries again.
            terminal.warn(&lang.not_refreshed(&error));
            Exit::Error
        });
    }
    Ok(exit)
}

/// Waits until something has changed and it is quiet again. Returns whether to look.
fn wait(changes: &Receiver<notify::Result<Event>>, own: Option<&Path>) -> bool {
    let is_change = |event: &notify::Result<Event>| match event {
        // Reading is no change, and neither is what this program writes.
        Ok(event) => {
            !matches!(event.kind, EventKind::Access(_))
                && !event.paths.iter().all(|path| own.is_some_and(|own| path.starts_with(own)))
        }
        // Events were lost, so anything may have changed.
        Err(_) => true,
    };
    match changes.recv_timeout(LOOK_AGAIN) {
        Ok(event) if !is_change(&event) => return false,
        Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_AGAIN),
    }
    let begun = Instant::now();
    while begun.elapsed() < MAX_WAIT && changes.recv_timeout(QUIET).is_ok() {}
    true
}

/// Whether the index has all that the files say; `false` if that cannot be told.
fn is_up_to_date(setup: &Setup, args: &IndexArgs) -> bool {
    let ledger = setup.index.open().and_then(|index| index.ledger());
    super::walk(args, &setup.global.reading.readers())
        .ok()
        .zip(ledger.ok())
        .is_some_and(|(walk, ledger)| is_current(&walk, &ledger))
}
