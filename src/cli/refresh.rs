//! `--refresh`: brings the index up to date with the files and folders that it follows, before it is
//! asked.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use super::index::{Run, watched};
use super::interrupt;
use super::setup::Setup;
use crate::documents::{Filter, walk};
use crate::index::update::{Indexer, absent, followed, is_current};
use crate::index::{Ledger, RootState, Start};
use crate::profile::Models;
use crate::terminal::exit::Exit;
use crate::terminal::time;

/// Updates the index, if the options ask for it. Returns an exit code if the user interrupted that. An
/// index that cannot be updated answers as it is, with a warning.
pub fn run(setup: &Setup, models: &Models) -> Option<Exit> {
    if !setup.global.refresh {
        return None;
    }
    interrupt::install();
    // Without an index there is nothing to refresh; opening it for the question says so.
    let ledger = setup.index.open().and_then(|index| index.ledger()).ok()?;
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    for absent in absent(&ledger) {
        terminal.warn(&lang.emptied(&absent));
    }
    for (state, roots) in followed(&ledger) {
        match update(setup, models, &ledger, &state, &roots) {
            Ok(true) => return Some(Exit::Interrupted),
            Ok(false) => {}
            Err(error) => terminal.warn(&lang.not_refreshed(&error)),
        }
    }
    None
}

/// Updates what lies under `roots`. Returns whether the user interrupted.
fn update(
    setup: &Setup,
    models: &Models,
    ledger: &Ledger,
    RootState { include, exclude }: &RootState,
    roots: &[PathBuf],
) -> Result<bool> {
    let begun = Instant::now();
    let filter = Filter::new(include, exclude)?.with_readers(&setup.global.reading.readers());
    let walk = walk(roots, &filter)?;
    if is_current(&walk, ledger) {
        return Ok(false);
    }
    setup.renew_codes(&models.index_settings)?;
    let writer = setup.index.write(models.index_settings.clone(), Start::Update)?;
    let embedder = models.embedder.get()?;
    let summary = watched(setup, |Run { stop, programs, watch }| {
        Indexer::new(writer, embedder, Start::Update, stop, watch)
            .reading_with(programs)
            .update(&walk)
    })?;
    if summary.indexed + summary.removed > 0 {
        let (terminal, took) = (setup.terminal, time(begun.elapsed()));
        terminal.say(&terminal.lang.indexed(&summary, &took, &setup.index.to_string()));
    }
    Ok(summary.interrupted)
}
