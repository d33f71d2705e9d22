//! `index copy`: copies an index without embedding its passages again.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::cli::interrupt::{self, Interruptible};
use crate::cli::setup::{Setup, location};
use crate::index::{Start, update};
use crate::models;
use crate::terminal::exit::Exit;
use crate::terminal::time;

pub fn run(setup: &Setup, source: &Path, target: &Path) -> Result<Exit> {
    #[derive(Serialize)]
    struct Copied {
        documents: usize,
        chunks: usize,
        /// Documents that the target already had.
        unchanged: usize,
        interrupted: bool,
    }
    let begun = Instant::now();
    let data = models::data_dir()?;
    let source = location(source, setup.config, &data, setup.terminal)?.open()?;
    let target = location(target, setup.config, &data, setup.terminal)?;
    let writer = target.write(source.settings().clone().with_new_terms(), Start::Update)?;
    interrupt::install();
    let busy = Interruptible::begin();
    let bar = setup.terminal.bar(source.chunk_count() as u64, false);
    let copied = update::copy(source.as_ref(), writer, busy.interrupted(), &mut |chunks| {
        bar.set_position(chunks as u64);
    });
    bar.finish_and_clear();
    let update::Copied { documents, chunks, unchanged, interrupted } = copied?;
    if setup.global.json {
        setup.terminal.print_json(&Copied { documents, chunks, unchanged, interrupted })?;
    }
    let (lang, took) = (setup.terminal.lang, time(begun.elapsed()));
    setup.terminal.say(&lang.copied(documents, chunks, unchanged, &took, &target.to_string()));
    Ok(if interrupted { Exit::Interrupted } else { Exit::Answered })
}
